"""The systemd unit: understood by systemd, and safe for what it must keep."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "examples/systemd/clpnode.service"


def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


def test_state_and_scripts_outlive_a_restart() -> None:
    keys = service()
    assert keys["Type"] == "notify" and keys["WatchdogSec"]
    assert keys["KillMode"] == "process"
    assert keys["RuntimeDirectoryPreserve"] == "yes"


def test_nothing_hides_a_scripts_mounts_or_rights() -> None:
    keys = service()
    forbidden = [k for k in keys if k.startswith(("Protect", "Private", "Restrict", "ReadOnly"))]
    assert forbidden == [] and "NoNewPrivileges" not in keys


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_understands_it(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/usr/local/bin/clpnode", "/bin/true")
    # Whether the manual is installed is not its concern.
    lines = [line for line in text.splitlines() if not line.startswith("Documentation=")]
    (tmp_path / "clpnode.service").write_text("\n".join(lines))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "clpnode.service")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "clpnode" not in done.stderr, done.stderr
