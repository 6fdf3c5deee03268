"""Host actions: logged, handed on, refused where a node must leave its machine alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from clptools.core.model.events import HostActionDone
from clptools.core.model.words import HOST_ACTIONS
from clptools.faults import ClpError, ExitCode
from clptools.hardware import host as module
from clptools.hardware.host import Host, Sysrq, trigger

ON_HOST = [name for name in HOST_ACTIONS if not name.startswith("bmc-")]


@pytest.fixture(autouse=True)
def below_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here may ever reach the machine: commands and sysrq are stand-ins, too."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setattr(module, "COMMANDS", {})


def perform(host: Host, action: str) -> HostActionDone:
    return asyncio.run(host.perform(action, "monitor mrw1 is in error"))


def never(command: Sysrq) -> None:
    raise AssertionError(f"sysrq {command} reached the machine")


@pytest.mark.parametrize("action", ON_HOST)
def test_a_node_below_a_root_leaves_its_machine_alone(action: str) -> None:
    lines: list[str] = []
    done = perform(Host("server1", log=lines.append, press=never), action)
    assert not done.ok and "action_command" in done.text
    assert lines[0] == f"{action} of server1: monitor mrw1 is in error" and len(lines) == 2


@pytest.mark.parametrize("action", ON_HOST)
def test_the_action_command_gets_action_and_server(action: str, tmp_path: Path) -> None:
    command = tmp_path / "act"
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/told\n')
    command.chmod(0o755)
    done = perform(Host("server1", command=str(command), press=never), action)
    assert done.ok and str(command) in done.text
    assert (tmp_path / "told").read_text() == f"{action} server1\n"


def test_a_failing_or_unsafe_action_command_is_an_error(tmp_path: Path) -> None:
    command = tmp_path / "act"
    command.write_text("#!/bin/sh\necho 'no such switch' >&2; exit 4\n")
    command.chmod(0o755)
    done = perform(Host("server1", command=str(command), press=never), "reboot")
    assert not done.ok and "exit status 4: no such switch" in done.text
    if os.geteuid() == 0:
        command.chmod(0o757)
        done = perform(Host("server1", command=str(command), press=never), "reboot")
        assert not done.ok and "chmod o-w" in done.text


def test_on_a_real_host_the_best_way_is_taken_and_sysrq_is_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLP_ROOT")
    pressed: list[Sysrq] = []
    host = Host("server1", press=pressed.append)
    failing, working = tmp_path / "systemctl", tmp_path / "shutdown"
    for path, body in ((failing, "exit 1"), (working, f"touch {tmp_path}/down")):
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    ways = (("/no/such/command",), (str(failing), "reboot"), (str(working), "-r", "now"))
    monkeypatch.setattr(module, "COMMANDS", {"reboot": ways})
    done = perform(host, "reboot")
    assert done.ok and "shutdown -r now" in done.text and (tmp_path / "down").exists()
    assert pressed == []
    monkeypatch.setattr(module, "COMMANDS", {"reboot": ways[:2]})
    assert perform(host, "reboot").ok and pressed == [Sysrq.REBOOT]
    for action in ("sysrq-panic", "keepalive-panic", "keepalive-reset", "shutdown"):
        assert perform(host, action).ok
    assert pressed[1:] == [Sysrq.CRASH, Sysrq.CRASH, Sysrq.REBOOT, Sysrq.POWER_OFF]


def test_sysrq_writes_one_letter(tmp_path: Path) -> None:
    path = tmp_path / "sysrq-trigger"
    path.touch()
    trigger(Sysrq.CRASH, str(path))
    assert path.read_text() == "c"


class Bmc:
    async def act(self, action: str) -> str:
        if action == "bmc-nmi":
            raise ClpError(ExitCode.FAILED, "10.0.0.1: no answer", "is it reachable?")
        return f"{action} accepted"


def test_bmc_actions_go_to_the_bmc_even_below_a_root() -> None:
    assert perform(Host("server1", bmc=Bmc()), "bmc-reset").ok
    failed = perform(Host("server1", bmc=Bmc()), "bmc-nmi")
    assert not failed.ok and "no answer (is it reachable?)" in failed.text
    assert "has no BMC" in perform(Host("server1"), "bmc-reset").text
