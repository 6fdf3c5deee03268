"""The RPM: `python -m lab.rpm` writes it to dist/ and prints its path.

The same files as in the Debian package, for distributions whose Python 3.11 is
/usr/bin/python3.11 (RHEL 9 and its kin, SLES 15, Fedora).  Debian's `rpm` builds it, too.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from clptools.version import VERSION
from lab import package
from lab.places import SOURCE, Trouble, missing, run

SCRIPTS = {"pre": "rpm-pre", "post": "rpm-post", "preun": "rpm-preun", "postun": "rpm-postun"}
"""Section of the spec, and the script in it."""
OWN_FOLDERS = ("usr/lib/clptools", "usr/share/clptools", "usr/share/doc/clptools")
"""Folders that are nobody else's: they go with the package."""
SETTINGS = {
    "_binary_payload": "w3.zstdio",
    "_build_id_links": "none",
    "__os_install_post": "%{nil}",
    "debug_package": "%{nil}",
}
"""No step of rpmbuild may change the files: byte code is made, and nothing is stripped."""


def build(folder: Path, revision: str = "1") -> Path:
    """Builds `clptools-VERSION-REVISION.x86_64.rpm` in `folder`.  Raises Trouble."""
    if missing(("rpmbuild",)):
        raise Trouble("rpmbuild is not installed: apt-get install rpm")
    with tempfile.TemporaryDirectory(prefix="clptools-rpm.") as temporary:
        tree = Path(temporary) / "tree"
        package.fill(tree, Path(temporary))
        return pack(tree, Path(temporary), folder, revision)


def pack(tree: Path, work: Path, folder: Path, revision: str) -> Path:
    """An RPM of the files in `tree`, which it changes.  Raises Trouble."""
    folder.mkdir(parents=True, exist_ok=True)
    _adapt(tree)
    (work / "files").write_text("".join(f"{line}\n" for line in _files(tree)))
    spec = work / "clptools.spec"
    spec.write_text(_spec())
    told = {
        "_topdir": work / "build",
        "clp_tree": tree,
        "clp_files": work / "files",
        "clp_version": VERSION,
        "clp_release": revision,
        **SETTINGS,
    }
    defined = [word for key, value in told.items() for word in ("--define", f"{key} {value}")]
    run("rpmbuild", "-bb", "--quiet", "--target", "x86_64-linux", *defined, spec)
    (made,) = (work / "build/RPMS").rglob("*.rpm")
    # Renamed within the folder: an interrupted build leaves no half a package.
    unfinished = folder / f"{made.name}.new"
    unfinished.write_bytes(made.read_bytes())
    return unfinished.rename(folder / made.name)


def _adapt(tree: Path) -> None:
    """From Debian's places to those of others: /lib is a link there, python3 is older."""
    units = tree / "usr/lib/systemd"
    units.mkdir(parents=True)
    (tree / "lib/systemd/system").rename(units / "system")
    (tree / "lib/systemd").rmdir()
    (tree / "lib").rmdir()
    python = tree / package.HOME / "bin/python3"
    python.unlink(missing_ok=True)
    python.parent.mkdir(parents=True, exist_ok=True)
    python.symlink_to(f"/usr/bin/python{package.ABI}")


def _files(tree: Path) -> list[str]:
    """The lines of `%files`: what the package owns."""
    # Whoever built it: the files are root's.
    lines = ["%defattr(-,root,root,-)"]
    lines += [f"%dir /{folder}" for folder in OWN_FOLDERS if (tree / folder).is_dir()]
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree)
        if path.is_dir() and not path.is_symlink():
            if any(str(name).startswith(f"{folder}/") for folder in OWN_FOLDERS):
                lines.append(f'%dir "/{name}"')
        elif f"/{name}" not in package.CONFFILES:
            lines.append(f'"/{name}"')
    return lines


def _spec() -> str:
    text = (SOURCE / "lab/clptools.spec").read_text()
    for section, script in SCRIPTS.items():
        # rpm expands macros in scripts, too.
        text += f"\n%{section}\n" + package.maintainer(script).replace("%", "%%")
    return text


if __name__ == "__main__":
    os.umask(0o022)
    print(build(SOURCE / "dist"))
