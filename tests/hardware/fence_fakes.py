"""Fence agents of the tests' own: small programs that keep their outlet's state in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from clptools.core.model.settings import FenceAgent

METADATA = """<?xml version="1.0" ?>
<resource-agent name="{name}" shortdesc="Fake">
<parameters>
<parameter name="action" unique="0" required="1">
<content type="string" default="reboot"/></parameter>
<parameter name="ip" unique="0" required="1" obsoletes="ipaddr"><content type="string"/></parameter>
<parameter name="ipaddr" unique="0" required="1" deprecated="1"><content type="string"/></parameter>
<parameter name="plug" unique="0" required="1" obsoletes="port"><content type="string"/></parameter>
<parameter name="port" unique="0" required="1" deprecated="1"><content type="string"/></parameter>
<parameter name="password" unique="0" required="0"><content type="string"/></parameter>
<parameter name="power_wait" unique="0" required="0">
<content type="second" default="0"/></parameter>
<parameter name="ssl" unique="0" required="0"><content type="boolean"/></parameter>
<parameter name="method" unique="0" required="0"><content type="select" default="onoff">
<option value="onoff"/><option value="cycle"/></content></parameter>
</parameters>
<actions><action name="on" automatic="0"/><action name="off"/><action name="reboot"/>
<action name="status"/><action name="metadata"/></actions>
</resource-agent>
"""

_SCRIPT = """#!/bin/sh
here='{here}'
if [ "$1" = -o ]; then cat "$here/metadata"; exit 0; fi
[ $# = 0 ] || {{ echo "argv: $*" >> "$here/argv"; }}
text=$(cat)
printf '%s\\n--\\n' "$text" >> "$here/stdin"
env > "$here/environ"
action=$(printf '%s\\n' "$text" | sed -n 's/^action=//p')
plug=$(printf '%s\\n' "$text" | sed -n 's/^plug=//p')
{before}
case "$action" in
off) echo off > "$here/plug$plug"; echo 'Success: Powered OFF'; exit 0;;
on) echo on > "$here/plug$plug"; echo 'Success: Powered ON'; exit 0;;
status) if grep -q off "$here/plug$plug" 2>/dev/null; then echo 'Status: OFF'; exit 2; fi
  echo 'Status: ON'; exit 0;;
*) echo rebooted >> "$here/rebooted"; echo 'Success: Rebooted'; exit 0;;
esac
"""


class Fake:
    """One installed fake; its `on` switches plug 1 without being told where that is."""

    def __init__(self, root: Path, name: str, before: str = "") -> None:
        self.name = name
        self.here = root / "state" / name
        self.here.mkdir(parents=True)
        (self.here / "metadata").write_text(METADATA.format(name=name))
        self.path = root / "usr" / "sbin" / name
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.behave(before)

    def behave(self, before: str) -> None:
        """What it does before what it is asked for, in the shell's words; `$action`, `$here`."""
        self.path.write_text(_SCRIPT.format(here=self.here, before=before))
        self.path.chmod(0o755)

    def calls(self) -> list[list[str]]:
        """The lines of each call's standard input."""
        file = self.here / "stdin"
        text = file.read_text() if file.exists() else ""
        return [call.strip("\n").split("\n") for call in text.split("--\n")[:-1]]

    def actions(self) -> list[str]:
        return [line for call in self.calls() for line in call if line.startswith("action=")]

    def fence(self, **more: object) -> FenceAgent:
        values = {
            "name": self.name.removeprefix("fence_"),
            "agent": self.name,
            "parameters": {"ip": "192.0.2.1", "plug": "1"},
            "timeout_ms": 20_000,
        } | more
        return FenceAgent(**values)  # type: ignore[arg-type]  # a test names its own


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node of its own, with a folder for agents."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    return tmp_path
