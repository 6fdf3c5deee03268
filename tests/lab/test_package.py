"""The package: what lies where, and what its scripts do on a host."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from clptools.cli.transactions import DEFAULT_PORT as PORT
from clptools.config.monitors import TRAP_PORT
from lab import lock, package
from lab.places import SOURCE

COMMANDS = tuple(tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]["scripts"])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("package") / "tree"
    made.mkdir()
    package.lay_out(made)
    package.control(made, "0.0-1")
    return made


def test_every_command_comes_with_its_page_and_its_completion(tree: Path) -> None:
    for name in COMMANDS:
        assert os.access(tree / "usr/sbin" / name, os.X_OK)
        assert (tree / f"usr/share/man/man8/{name}.8.gz").is_file()
        assert (tree / "usr/share/bash-completion/completions" / name).is_file()


def test_the_units_start_what_the_package_installs(tree: Path) -> None:
    for name in ("clpnode", "clpwitnessd"):
        unit = (tree / f"lib/systemd/system/{name}.service").read_text()
        started = unit.partition("ExecStart=")[2].split()[0]
        assert started == f"/usr/sbin/{name}" and (tree / started.lstrip("/")).is_file()


def test_what_an_administrator_may_edit_is_a_conffile(tree: Path) -> None:
    in_etc = {f"/{path.relative_to(tree)}" for path in (tree / "etc").rglob("*") if path.is_file()}
    assert in_etc == set((tree / "DEBIAN/conffiles").read_text().split())


def test_pip_takes_what_it_can_carry() -> None:
    wanted = tomllib.loads((SOURCE / "pyproject.toml").read_text())
    taken = {
        path
        for patterns in wanted["tool"]["setuptools"]["data-files"].values()
        for pattern in patterns
        for path in SOURCE.glob(pattern)
    }
    for folder in ("man", "completions", "examples/systemd", "examples/firewall"):
        assert set((SOURCE / folder).iterdir()) <= taken
    assert wanted["project"]["license"] == "MIT", "an SPDX expression, not a table"


# ---------------------------------------------------------------------- the scripts of dpkg


class Host:
    """A host whose programs only write down that they were called."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.tree = tree
        self.root = folder / "root"
        self.log = folder / "log"
        self.unit = folder / "unit"
        self.unit.write_text("/lib/systemd/system/clpnode.service")
        self.active = folder / "active"
        self.suspended = folder / "suspended"
        (self.root / "run/systemd/system").mkdir(parents=True)
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.program(
            "systemctl",
            f"""case "$1 $2 $3" in
"show -P "*) cat {self.unit} ;;
"--quiet is-active "*) test -e {self.active} ;;
"stop "*) rm -f {self.active} ;;
"start "*) : >{self.active} ;;
esac""",
        )
        self.program(
            "clpstat",
            f"""test -e {self.active} || exit 3
if [ -e {self.suspended} ]; then echo '{{"suspended": true}}'
else echo '{{"suspended": false}}'; fi""",
        )
        self.program(
            "clpcl",
            f"""case $1 in
--suspend) : >{self.suspended} ;;
--resume) test -e {self.active} && rm -f {self.suspended} ;;
esac""",
        )
        for name in ("systemd-sysusers", "systemd-tmpfiles"):
            self.program(name, "")

    def program(self, name: str, does: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.log}\n{does}\n')
        path.chmod(0o755)

    def run(self, script: str, *words: str, status: int = 0) -> str:
        """Runs a script of the package and returns what it told."""
        done = subprocess.run(
            [self.tree / "DEBIAN" / script, *words],
            env={
                "PATH": f"{self.bin}:/usr/bin:/bin",
                "CLP_ROOT": str(self.root),
                "CLP_RESUME_S": "1",
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stderr
        return done.stderr

    def called(self) -> list[str]:
        """What was called that changes something."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if not line.startswith(("systemctl show", "clpstat"))]


@pytest.fixture
def host(tree: Path, tmp_path: Path) -> Host:
    return Host(tree, tmp_path)


def test_an_upgrade_stops_the_agent_in_a_suspended_cluster_and_resumes_it(host: Host) -> None:
    host.active.touch()
    host.run("prerm", "upgrade", "0.0-2")
    assert host.called()[-2:] == ["clpcl --suspend", "systemctl stop clpnode.service"]
    host.run("preinst", "upgrade", "0.0-1")
    host.run("postinst", "configure", "0.0-1")
    assert host.called()[-2:] == ["systemctl start clpnode.service", "clpcl --resume"]
    assert host.active.exists() and not host.suspended.exists()


def test_an_upgrade_that_fails_half_way_starts_the_agent_again(host: Host) -> None:
    """A full disk: dpkg puts the old files back and calls the old version's abort-upgrade."""
    host.active.touch()
    host.run("prerm", "upgrade", "0.0-2")
    assert not host.active.exists()
    host.run("postinst", "abort-upgrade", "0.0-2")
    assert host.active.exists() and not host.suspended.exists()


def test_an_upgrade_leaves_what_the_operator_chose(host: Host) -> None:
    host.suspended.touch()
    host.active.touch()
    host.run("prerm", "upgrade", "0.0-2")
    host.run("postinst", "configure", "0.0-1")
    assert host.active.exists() and host.suspended.exists()
    host.active.unlink()
    host.run("prerm", "upgrade", "0.0-2")
    host.run("postinst", "configure", "0.0-1")
    assert not host.active.exists(), "an agent that was stopped stays so"
    assert not any("enable" in line for line in host.called()), "and so does one that is disabled"


def test_a_cluster_that_stays_suspended_is_told(host: Host) -> None:
    host.active.touch()
    host.run("prerm", "upgrade", "0.0-2")
    host.program("clpcl", "exit 7")
    assert "nothing fails over until: clpcl --resume" in host.run("postinst", "configure", "0.0-1")


def test_an_agent_that_does_not_start_is_told_and_no_fault_of_the_package(host: Host) -> None:
    host.active.touch()
    host.run("prerm", "upgrade", "0.0-2")
    host.program("systemctl", 'case "$1" in start) exit 1 ;; esac')
    host.program("clpcl", "exit 3")
    assert "clpnode does not start: " in host.run("postinst", "configure", "0.0-1")


def test_an_installation_enables_the_agent_and_starts_nothing(host: Host) -> None:
    host.run("preinst", "install")
    host.run("postinst", "configure", "")
    assert "systemctl enable --quiet clpnode.service" in host.called()
    assert not host.active.exists()


def test_a_unit_by_hand_goes_on_and_the_way_over_is_told(host: Host, tmp_path: Path) -> None:
    unit = tmp_path / "clpnode.service"
    unit.write_text("[Service]\nExecStart=/opt/clptools/bin/clpnode\n")
    host.unit.write_text(str(unit))
    host.active.touch()
    host.run("preinst", "install")
    told = host.run("postinst", "configure", "")
    assert "clpnode still runs from /opt/clptools/bin/clpnode" in told
    assert f"rm {unit}" in told
    host.run("prerm", "upgrade", "0.0-2")
    host.run("prerm", "remove")
    assert host.active.exists() and not any(" stop " in line for line in host.called())


def test_what_an_older_package_stopped_is_started_whoever_has_the_unit(host: Host) -> None:
    host.unit.write_text("/etc/systemd/system/clpnode.service")
    (host.root / "run/clptools").mkdir()
    (host.root / "run/clptools/upgrade-starts").touch()
    host.run("postinst", "configure", "0.0-1")
    assert host.active.exists()


def test_a_file_in_the_place_of_the_configuration_ends_the_installation(host: Host) -> None:
    (host.root / "etc").mkdir()
    (host.root / "etc/clptools").write_text("")
    told = host.run("preinst", "install", status=1)
    assert "/etc/clptools is a file" in told


# ---------------------------------------------------------------------- firewalls


def test_firewalls_are_told_the_ports_that_clptools_uses() -> None:
    wanted = {("udp", PORT), ("tcp", PORT), ("udp", TRAP_PORT)}
    service = ElementTree.parse(SOURCE / "examples/firewall/clptools.xml").getroot()
    told = {(each.get("protocol"), int(each.get("port", ""))) for each in service.iter("port")}
    assert told == wanted
    rules = (SOURCE / "examples/firewall/clptools.nft").read_text()
    accepted = re.findall(r"(udp|tcp) dport (\d+) accept", rules)
    assert {(protocol, int(port)) for protocol, port in accepted} == wanted


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nft")
def test_nftables_loads_the_example() -> None:
    file = SOURCE / "examples/firewall/clptools.nft"
    done = subprocess.run(["unshare", "-n", "nft", "-f", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_lock_file_has_a_wheel_for_every_dependency_within_its_bounds() -> None:
    locked = {wheel.name: wheel for wheel in lock.locked()}
    for line in package.project()["dependencies"]:  # type: ignore[attr-defined]
        wanted = Requirement(line)
        assert wanted.specifier.contains(locked[wanted.name].version), line
    assert {"cffi", "pyasn1"} <= set(locked), "what those need is there, too"


def test_the_package_says_what_it_carries_and_under_which_licence(tree: Path) -> None:
    folder = tree / "usr/share/doc/clptools"
    text = (folder / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    parts = {part["name"]: part for part in json.loads(text)["components"]}
    wheels = lock.locked()
    assert set(parts) == {wheel.name for wheel in wheels}
    assert parts["h11"]["licenses"][0]["license"]["id"] == "MIT"
    listed = (folder / "licences").read_text()
    for wheel in wheels:
        assert f"{wheel.name} {wheel.version}: {wheel.licence}\n" in listed
