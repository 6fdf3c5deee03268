"""The systemd units: understood by systemd, and safe for what it must keep."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from clptools.faults import ExitCode

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
    assert keys["OOMPolicy"] == "continue", "an application of a group does not end the agent"
    assert keys["RuntimeDirectoryPreserve"] == "yes"


def test_an_invalid_configuration_is_told_once_not_ten_times_a_second() -> None:
    keys = service()
    assert keys["Restart"] == "on-failure"
    assert int(keys["RestartPreventExitStatus"]) == ExitCode.INVALID_CONFIG


def lines(name: str) -> list[str]:
    """All values of a key that is there more than once."""
    found = (line.partition("=") for line in UNIT.read_text().splitlines())
    return [value for key, _, value in found if key == name]


def test_nothing_hides_a_scripts_mounts_or_rights() -> None:
    keys = service()
    confining = (
        "Protect",
        "Private",
        "Restrict",
        "ReadOnly",
        "Inaccessible",
        "Device",
        "IPAddress",
    )
    used = {key for key in keys if key.startswith(confining)}
    assert used == {"ProtectHostname", "RestrictAddressFamilies"}
    assert not {"NoNewPrivileges", "MemoryDenyWriteExecute", "SystemCallArchitectures"} & set(keys)


def test_what_is_taken_away_is_named_and_everything_else_stays() -> None:
    for name in ("CapabilityBoundingSet", "SystemCallFilter", "RestrictAddressFamilies"):
        assert lines(name) and all(value.startswith("~") for value in lines(name))
    taken = " ".join(lines("CapabilityBoundingSet"))
    for needed in ("ADMIN", "NET_RAW", "MODULE", "BOOT", "RAWIO", "SYSLOG", "SETUID", "IPC_LOCK"):
        assert f"CAP_SYS_{needed} " not in f"{taken} " and f"CAP_{needed} " not in f"{taken} "


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_its_exposure_is_no_longer_rated_unsafe(tmp_path: Path) -> None:
    unit = tmp_path / "clpnode.service"
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/clpnode", "/bin/true"))
    # The threshold is ten times the exposure.
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=89", str(unit)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-200:]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("name", ["clpnode", "clpwitnessd"])
def test_systemd_understands_it(name: str, tmp_path: Path) -> None:
    unit = tmp_path / f"{name}.service"
    text = (UNIT.parent / unit.name).read_text().replace(f"/usr/local/bin/{name}", "/bin/true")
    # Whether the manual is installed is not its concern.
    lines = [line for line in text.splitlines() if not line.startswith("Documentation=")]
    unit.write_text("\n".join(lines))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert done.returncode == 0 and name not in done.stderr, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_the_witness_is_confined(tmp_path: Path) -> None:
    unit = tmp_path / "clpwitnessd.service"
    text = (UNIT.parent / unit.name).read_text()
    unit.write_text(text.replace("/usr/local/bin/clpwitnessd", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-200:]


def test_units_are_no_more_exposed_than_the_page_says() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("SKIPPED LOUDLY: no systemd-analyze")
    page = " ".join((UNIT.parents[2] / "docs/security.md").read_text().split())
    for unit in (UNIT, UNIT.with_name("clpwitnessd.service")):
        told = re.search(rf"`{unit.stem}` (\d+\.\d)", page)
        assert told
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        level = re.search(r"Overall exposure level for \S+: (\d+\.\d)", done.stdout)
        assert level, done.stderr
        assert float(level[1]) <= float(told[1])
