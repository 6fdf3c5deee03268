"""The bundle and the RPM: what is refused before anything changes, and what is packed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lab import bundle, package, rpm
from lab.places import SOURCE


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    content = tmp_path / "content"
    (content / "debs").mkdir(parents=True)
    (content / "debs/Packages").write_text("Package: none\n")
    return bundle.pack(content, tmp_path / "made", "1", 1000)


def call(file: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(["sh", file, *words], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_what_it_carries_comes_out_whole(one_file: Path, tmp_path: Path) -> None:
    assert call(one_file, "--extract", str(tmp_path / "out")) == (0, "")
    assert (tmp_path / "out/debs/Packages").read_text() == "Package: none\n"


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_copy_that_was_cut_short_is_refused(one_file: Path, tmp_path: Path, kept: float) -> None:
    whole = one_file.read_bytes()
    one_file.write_bytes(whole[: int(len(whole) * kept)])
    status, told = call(one_file, "--extract", str(tmp_path / "out"))
    assert status == 1 and "copy it again" in told
    assert not (tmp_path / "out").exists()


def test_a_byte_that_changed_is_refused(one_file: Path, tmp_path: Path) -> None:
    whole = bytearray(one_file.read_bytes())
    whole[-5000] ^= 1
    one_file.write_bytes(whole)
    assert call(one_file, "--extract", str(tmp_path / "out"))[0] == 1


def test_it_says_how_it_is_used(one_file: Path) -> None:
    assert call(one_file, "--help")[0] == 0
    assert f"sh {one_file.name} --downgrade" in call(one_file, "--help")[1]
    for words in (("--what",), ("--extract",)):
        assert call(one_file, *words)[0] == 2


def test_too_small_a_disk_is_told_before_anything_changes(tmp_path: Path) -> None:
    (tmp_path / "content").mkdir()
    file = bundle.pack(tmp_path / "content", tmp_path, "1", 10**12)
    status, told = call(file)
    assert status == 1
    assert "nothing was changed" in told or "only root" in told


def test_apt_finds_each_package_by_the_index(tmp_path: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb here")
    tree = tmp_path / "tree/DEBIAN"
    tree.mkdir(parents=True)
    fields = "Package: x\nVersion: 1:2\nArchitecture: all\nMaintainer: m\nDescription: d\n"
    (tree / "control").write_text(fields)
    folder = tmp_path / "debs"
    folder.mkdir()
    # A colon of a version is escaped in the name that apt gives to the file.
    made = folder / "x_1%3a2_all.deb"
    subprocess.run(["dpkg-deb", "-b", tree.parent, made], check=True, capture_output=True)
    bundle.index(folder)
    entry = (folder / "Packages").read_text()
    (deb,) = folder.glob("*.deb")
    assert f"Filename: ./{deb.name}\n" in entry and "%" not in deb.name
    assert "Version: 1:2\n" in entry and f"Size: {deb.stat().st_size}\n" in entry


@pytest.mark.skipif(shutil.which("rpmbuild") is None, reason="no rpmbuild here")
def test_the_rpm_has_the_files_of_the_debian_package(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    package.lay_out(tree)
    (tree / package.HOME).mkdir(parents=True)
    wanted = {f"/{path.relative_to(tree)}" for path in tree.rglob("*") if not path.is_dir()}
    made = rpm.pack(tree, tmp_path, tmp_path / "made", "1")

    def asked(*words: str) -> str:
        done = subprocess.run(
            ["rpm", "--dbpath", tmp_path / "db", "-qp", *words, made],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    units = {path for path in wanted if path.startswith("/lib/systemd/")}
    moved = {f"/usr{path}" for path in units}
    own = {"/usr/lib/clptools/bin/python3"}
    assert (wanted - units) | moved | own <= set(asked("--list").split())
    assert asked("--configfiles").split() == list(package.CONFFILES)
    for script in ("pre", "post", "preun", "postun"):
        text = (SOURCE / f"lab/maintainer/rpm-{script}.sh").read_text()
        assert text.strip() in asked("--scripts"), "not a macro of rpm expanded in it"
    assert "/usr/bin/python3.11" in asked("--requires").split()


@pytest.mark.parametrize("script", sorted((SOURCE / "lab/maintainer").glob("*.sh")), ids=str)
def test_every_script_is_plain_sh(script: Path) -> None:
    checked = subprocess.run(["sh", "-n", script], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
