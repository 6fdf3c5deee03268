"""What the cases install: Debian systems without a network, and packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys

from clptools.version import VERSION
from lab import bundle, package, rpm
from lab.places import SOURCE, missing, run, say
from lab.roots.root import trees

NEEDED = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "rpmbuild": "rpm",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ipmi_sim": "openipmi",
}
"""Programs of this machine, and the Debian packages that have them."""
MIRROR = "http://deb.debian.org/debian"
MINIMAL = ("systemd-sysv", "dbus", "apt-utils")
"""What every server has; the bundle brings the rest."""
SERVER = (*MINIMAL, "python3", "iproute2", "kmod", "rpm", "man-db", "procps")
FIRST, FIRST_COMMIT = "0.1.0", "3175683"
"""The release before this one, and its commit (tag v0.1.0)."""


class Made:
    """The packages of this source tree, made once for all cases; KEEP=1 takes those there are."""

    def __init__(self) -> None:
        kept = sorted(trees().glob("made-*")) if os.environ.get("KEEP") else []
        self.folder = kept[-1] if kept else trees() / f"made-{_mark()}"
        self.bundle = self.folder / f"clptools-{VERSION}-2.run"
        self.deb = self.folder / f"debs/clptools_{VERSION}-2_amd64.deb"
        self.newer = self.folder / f"clptools_{VERSION}-3_amd64.deb"
        self.first = trees() / f"clptools_{FIRST}-1_amd64.deb"
        self.rpms = tuple(self.folder / f"clptools-{VERSION}-{n}.x86_64.rpm" for n in (2, 3))

    def make(self) -> None:
        """Builds what is missing.  Raises Trouble."""
        if not self.rpms[-1].exists():
            for old in self.folder.parent.glob("made-*"):
                shutil.rmtree(old)
            say("building the packages")
            bundle.build(self.folder, "2")
            run("sh", self.bundle, "--extract", self.folder)
            (self.folder / "rpm" / self.rpms[0].name).rename(self.rpms[0])
            work = self.folder / "work"
            work.mkdir()
            run("dpkg-deb", "-x", self.deb, work / "tree")
            shutil.copytree(work / "tree", work / "rpm-tree", symlinks=True)
            package.pack(work / "tree", self.folder, "3")
            rpm.pack(work / "rpm-tree", work, self.folder, "3")
            shutil.rmtree(work)
        if not self.first.exists():
            say(f"building the package of {FIRST}")
            source = self.folder / "first"
            source.mkdir()
            archive = source / "source.tar"
            run("git", "-C", SOURCE, "archive", "-o", archive, FIRST_COMMIT)
            run("tar", "-xf", archive, "-C", source)
            program = "import sys; from pathlib import Path; from lab import package; "
            program += "package.build(Path('out'), '1')"
            run(sys.executable, "-c", program, cwd=source)
            next((source / "out").glob("*.deb")).rename(self.first)
            shutil.rmtree(source)


def _mark() -> str:
    files = [*sorted((SOURCE / "lab/maintainer").iterdir()), SOURCE / "lab/clptools.spec"]
    files += [SOURCE / "lab" / name for name in ("bundle.py", "rpm.py")]
    own = b"".join(path.read_bytes() for path in files)
    return package.fingerprint() + hashlib.sha256(own).hexdigest()[:6]


def prepare() -> Made:
    """Makes what needs a network.  Raises Trouble."""
    lacking = sorted({NEEDED[name] for name in missing(tuple(NEEDED))})
    if lacking:
        say(f"installing {' '.join(lacking)}")
        run("apt-get", "update", "-q")
        quiet = ("env", "DEBIAN_FRONTEND=noninteractive")
        run(*quiet, "apt-get", "install", "-y", "-q", "--no-install-recommends", *lacking)
    for name, packages in (("minimal", MINIMAL), ("server", SERVER)):
        tree = trees() / name
        mark = trees() / f"{name}.of"
        if mark.exists() and mark.read_text() == " ".join(packages):
            continue
        say(f"fetching Debian 12 ({name})")
        shutil.rmtree(tree, ignore_errors=True)
        tree.parent.mkdir(exist_ok=True)
        include = f"--include={','.join(packages)}"
        run("debootstrap", "--variant=minbase", include, "bookworm", tree, MIRROR)
        run("chroot", tree, "apt-get", "clean")
        # A mirror that nobody can reach is no mirror.
        (tree / "etc/apt/sources.list").write_text("")
        mark.write_text(" ".join(packages))
    made = Made()
    made.make()
    return made
