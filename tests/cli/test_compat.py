"""`clpcompat`: the original's places, made when asked for, and taken away without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clptools.cli.registry import COMMANDS
from tests.cli.conftest import Clp
from tests.conftest import LIMIT_S


@pytest.fixture
def binaries(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands of this source tree, in a folder of their own."""
    folder = tmp_path_factory.mktemp("bin")
    for name in (*COMMANDS, "clpnode", "clpwitnessd"):
        file = folder / name
        file.write_text(
            f"#!{sys.executable}\nimport sys\n"
            "from clptools.launcher import main\nsys.exit(main())\n"
        )
        file.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(folder / "clpcompat")])
    return folder


def tree(node: Path) -> dict[str, str]:
    """Everything below a folder: path -> where it leads, or what is in it."""
    found = {}
    for place, folders, files in os.walk(node):
        for name in (*folders, *files):
            path = Path(place, name)
            here = str(path.relative_to(node))
            if path.is_symlink():
                found[here] = f"-> {path.readlink()}"
            else:
                found[here] = path.read_text() if path.is_file() else "folder"
    return found


@pytest.fixture
def host(node: Path) -> Path:
    """A host on which the Debian package put its unit and one command."""
    units = node / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    (units / "clpnode.service").write_text("[Service]\n")
    (node / "usr/sbin").mkdir(parents=True)
    (node / "usr/sbin/clpstat").write_text("the package's")
    return node


def test_it_is_there_when_asked_for_and_gone_without_a_trace(
    clp: Clp, host: Path, binaries: Path
) -> None:
    before = tree(host)
    assert clp("clpcompat", "--show").out == f"{host}/opt/nec/clusterpro is not made.\n"
    assert tree(host) == before
    assert clp("clpcompat", "--install").out.endswith("Command succeeded.\n")
    assert "leads to clptools" in clp("clpcompat", "--show").out
    made = tree(host)
    assert made["opt/nec/clusterpro/bin/clpgrp"] == f"-> {binaries}/clpgrp"
    assert made["opt/nec/clusterpro/bin/clpfwctrl.sh"] == f"-> {binaries}/clpfwctrl"
    assert made["opt/nec/clusterpro/scripts"] == f"-> {host}/etc/clptools/scripts"
    assert made["opt/nec/clusterpro/log"] == f"-> {host}/var/log/clptools"
    assert made["opt/nec/clusterpro/work/trnreq"] == f"-> {host}/etc/clptools/scripts/trnreq"
    assert made["usr/sbin/clpgrp"] == f"-> {binaries}/clpgrp"
    assert made["usr/sbin/clpstat"] == "the package's"
    units = "etc/systemd/system"
    agent = f"{host}/usr/lib/systemd/system/clpnode.service"
    assert made[f"{units}/clusterpro.service"] == f"-> {agent}"
    assert "ExecStart=/bin/true" in made[f"{units}/clusterpro_webmgr.service"]
    assert clp("clpcompat", "--install").code == 0, "twice is once"
    assert tree(host) == made
    assert clp("clpcompat", "--remove").code == 0
    assert tree(host) == before
    assert clp("clpcompat", "--remove").code == 6


def test_its_clp_conf_is_fresh_and_an_edit_of_it_is_kept(
    clp: Clp, host: Path, binaries: Path
) -> None:
    before = tree(host)
    conf = host / "opt/nec/clusterpro/etc/clp.conf"
    assert clp("clpcompat", "--refresh").code == 6
    assert clp("clpcompat", "--install").code == 0
    assert not conf.exists(), "nothing is configured"
    config = host / "etc/clptools/clp.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[cluster]\nname = "one"\n[[server]]\nname = "server1"\n')
    assert clp("clpcompat", "--refresh").code == 0
    assert "<name>one</name>" in conf.read_text()
    assert conf.stat().st_mode & 0o777 == 0o640
    config.write_text(config.read_text().replace("one", "two"))
    conf.write_text(conf.read_text().replace("one", "three"))
    ran = clp("clpcompat", "--refresh")
    assert f"it is kept as {conf}.edited" in ran.out
    assert "<name>two</name>" in conf.read_text()
    assert "<name>three</name>" in Path(f"{conf}.edited").read_text()
    Path(f"{conf}.edited").unlink()
    assert clp("clpcompat", "--install").code == 0
    units = host / "etc/systemd/system"
    assert f"PathChanged={host}/etc/clptools/history\n" in (units / "clpcompat.path").read_text()
    assert (units / "multi-user.target.wants/clpcompat.path").is_symlink()
    config.unlink()
    config.parent.rmdir()
    assert clp("clpcompat", "--remove").code == 0
    assert tree(host) == before


def test_what_was_changed_or_is_of_others_stays(clp: Clp, host: Path, binaries: Path) -> None:
    assert clp("clpcompat", "--install").code == 0
    units = host / "etc/systemd/system"
    (units / "clusterpro_ib.service").write_text("edited")
    wants = units / "multi-user.target.wants"
    (wants / "clusterpro_api.service").symlink_to("/etc/systemd/system/clusterpro_api.service")
    other = host / "opt/nec/clusterpro/bin/clpgrp"
    other.unlink()
    other.symlink_to("/bin/true")
    ran = clp("clpcompat", "--remove")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        f"{other} was changed, and stays.",
        f"{units}/clusterpro_ib.service was changed, and stays.",
        "Command succeeded.",
    ]
    assert sorted(name for name in tree(host) if "clusterpro" in name) == [
        "etc/systemd/system/clusterpro_ib.service",
        "opt/nec/clusterpro",
        "opt/nec/clusterpro/bin",
        "opt/nec/clusterpro/bin/clpgrp",
    ]


def test_commands_that_moved_are_led_to_again(
    clp: Clp, host: Path, binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(host)
    assert clp("clpcompat", "--install").code == 0
    there = binaries.rename(binaries.with_name("elsewhere"))
    monkeypatch.setattr(sys, "argv", [str(there / "clpcompat")])
    assert clp("clpcompat", "--install").code == 0
    made = tree(host)
    assert made["opt/nec/clusterpro/bin/clpgrp"] == f"-> {there}/clpgrp"
    assert made["usr/sbin/clpgrp"] == f"-> {there}/clpgrp"
    assert clp("clpcompat", "--remove").code == 0
    assert tree(host) == before


def test_where_the_original_is_installed_nothing_is_made(
    clp: Clp, host: Path, binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = host / "etc/systemd/system/clusterpro_nm.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("the original's")
    before = tree(host)
    ran = clp("clpcompat", "--install")
    assert ran.code == 6 and f"{unit} is there already" in ran.err
    assert tree(host) == before
    (host / "opt/nec/clusterpro/bin").mkdir(parents=True)
    before = tree(host)
    ran = clp("clpcompat", "--install")
    assert ran.code == 6 and "EXPRESSCLUSTER may be installed here" in ran.err
    assert tree(host) == before
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest"])
    assert clp("clpcompat", "--install").code == 1


def test_scripts_find_the_commands_by_their_old_paths(clp: Clp, host: Path, binaries: Path) -> None:
    assert clp("clpcompat", "--install").code == 0
    home = host / "opt/nec/clusterpro/bin"
    for name, said in (("clplcnsc", "No licence"), ("clpfwctrl.sh", "Give one of --add")):
        line = [str(home / name), "-l"] if name == "clplcnsc" else [str(home / name)]
        ran = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S)
        assert said in ran.stdout + ran.stderr


@pytest.mark.parametrize("content", [b"garbage\n", b"\xff\xfe", b"\n\n"])
def test_a_list_that_is_damaged_is_said_to_be(
    clp: Clp, host: Path, binaries: Path, content: bytes
) -> None:
    assert clp("clpcompat", "--install").code == 0
    (host / "opt/nec/clusterpro/.clptools").write_bytes(content)
    before = tree(host / "opt/nec/clusterpro/bin")
    for option in ("--install", "--remove", "--refresh", "--show"):
        ran = clp("clpcompat", option)
        assert ran.code == 1 and "is not the list of what clpcompat made" in ran.err
    assert tree(host / "opt/nec/clusterpro/bin") == before


def test_a_folder_or_a_fifo_in_a_files_place_stays(clp: Clp, host: Path, binaries: Path) -> None:
    assert clp("clpcompat", "--install").code == 0
    units = host / "etc/systemd/system"
    for name, make in (("ib", os.mkdir), ("nm", os.mkfifo)):
        (units / f"clusterpro_{name}.service").unlink()
        make(units / f"clusterpro_{name}.service")
    ran = clp("clpcompat", "--remove")
    assert ran.code == 0 and ran.out.count("was changed, and stays") == 2
