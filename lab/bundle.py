"""One file that installs clptools where there is no registry: `python -m lab.bundle`.

A shell script with an archive behind it: the Debian package, the RPM, and Debian 12's own packages
that a minimal server may lack (Python, iproute2), as a folder that apt reads like a mirror.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from clptools.version import VERSION
from lab import package, rpm
from lab.places import SOURCE, Trouble, cache, missing, run

FROM_DEBIAN = ("python3", "iproute2", "systemd", "kmod", "logrotate")
SUITE = "bookworm"
MARGIN_KB = 40_000
"""Beside the package's own files: what apt unpacks meanwhile, and Debian's packages."""


def build(folder: Path, revision: str = "1") -> Path:
    """Builds `clptools-VERSION-REVISION.run` in `folder`.  Raises Trouble."""
    if missing(("rpmbuild", "debootstrap")):
        raise Trouble("rpmbuild and debootstrap are needed: apt-get install rpm debootstrap")
    with tempfile.TemporaryDirectory(prefix="clptools-bundle.") as temporary:
        work = Path(temporary)
        tree = work / "tree"
        package.fill(tree, work)
        shutil.copytree(tree, work / "rpm-tree", symlinks=True)
        content = work / "content"
        (content / "debs").mkdir(parents=True)
        package.pack(tree, content / "debs", revision)
        rpm.pack(work / "rpm-tree", work, content / "rpm", revision)
        for deb in debian_packages().glob("*.deb"):
            shutil.copy(deb, content / "debs")
        index(content / "debs")
        size = sum(path.stat().st_size for path in tree.rglob("*") if not path.is_symlink())
        return pack(content, folder, revision, size // 1024 + MARGIN_KB)


def pack(content: Path, folder: Path, revision: str, kilobytes: int) -> Path:
    """The one file with everything in `content`; `kilobytes` have to be free where it installs."""
    archive = content.parent / "content.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(content, ".", filter=_of_root)
    name = f"clptools-{VERSION}-{revision}.run"
    script = (SOURCE / "lab/maintainer/bundle.sh").read_text()
    for word, value in {
        "@NAME@": name,
        "@VERSION@": VERSION,
        "@DEB_VERSION@": f"{VERSION}-{revision}",
        "@KILOBYTES@": str(kilobytes),
        "@SHA256@": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "@LINES@": str(script.count("\n") + 1),
    }.items():
        script = script.replace(word, value)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{name}.new"
    unfinished.write_bytes(script.encode() + archive.read_bytes())
    unfinished.chmod(0o755)
    return unfinished.rename(folder / name)


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def debian_packages() -> Path:
    """The folder of Debian 12's packages that a minimal server may lack; fetched once."""
    folder = cache() / f"debs-{hashlib.sha256(repr(FROM_DEBIAN).encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    if f"VERSION_CODENAME={SUITE}" not in Path("/etc/os-release").read_text():
        raise Trouble("Debian's packages are fetched by apt: build the bundle on Debian 12")
    with tempfile.TemporaryDirectory(prefix="clptools-debs.") as temporary:
        words = ("--print-debs", "--variant=minbase", SUITE, Path(temporary) / "root")
        base = run("debootstrap", *words).split()
        nothing = Path(temporary) / "status"
        nothing.write_text("")
        # What lies in the cache of this machine would not be named.
        (Path(temporary) / "archives/partial").mkdir(parents=True)
        found = run(
            *("apt-get", "install", "-q", "-q", "--print-uris", "--no-install-recommends"),
            *("-o", f"Dir::State::status={nothing}"),
            *("-o", f"Dir::Cache::archives={temporary}/archives", *base, *FROM_DEBIAN),
        )
        # 'URI' FILE SIZE HASH, one a line; files are named PACKAGE_VERSION_ARCHITECTURE.deb
        files = [line.split()[1] for line in found.splitlines() if line.startswith("'")]
        wanted = [file for file in files if file.partition("_")[0] not in base]
        names = [f"{name}={version}" for name, version in map(_named, wanted)]
        unfinished = folder.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        run("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *names, cwd=unfinished)
        return unfinished.rename(folder)


def _named(file: str) -> tuple[str, str]:
    """Name and version of a file that apt names; a colon of a version is escaped there."""
    name, version, _ = file.split("_")
    return name, version.replace("%3a", ":")


def index(folder: Path) -> None:
    """Writes `Packages`, by which apt knows what is in the folder."""
    entries = []
    for deb in sorted(folder.glob("*.deb")):
        said = subprocess.run(["dpkg-deb", "-f", deb], capture_output=True, text=True, check=True)
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        # apt asks for the file as the name says, and `%` begins an escape in a file: address.
        plain = deb.rename(deb.with_name(deb.name.replace("%3a", ".")))
        entries.append(
            f"{said.stdout.strip()}\nFilename: ./{plain.name}\n"
            f"Size: {plain.stat().st_size}\nSHA256: {digest}\n"
        )
    (folder / "Packages").write_text("\n".join(entries))


if __name__ == "__main__":
    os.umask(0o022)
    print(build(SOURCE / "dist"))
