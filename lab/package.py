"""The Debian package: `python -m lab.package` writes it to dist/ and prints its path.

Debian 12 lacks most of what clptools needs in the versions it needs, and a cluster server often
has no way to an index.  So the package carries the wheels itself, in an interpreter folder of
its own, /usr/lib/clptools: bin/python3 is Debian's, `pyvenv.cfg` beside it makes it find its own
site-packages and no others, and the processes that the agent starts by `sys.executable` find
them, too.  Byte code is made here, so nothing is written there on the server.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from clptools.cli.registry import COMMANDS
from clptools.cli.starters import starter
from clptools.version import VERSION
from lab.lock import ABI, KIND, LOCK, locked
from lab.places import SOURCE, Trouble, cache, run
from lab.sbom import bill, licences

HOME = "usr/lib/clptools"
PYTHON = f"#!/{HOME}/bin/python3 -I\n"

CONTROL = """\
Package: clptools
Version: {version}
Architecture: amd64
Maintainer: {maintainer}
Installed-Size: {kilobytes}
Depends: python3 (>= 3.11), python3 (<< 3.12), libc6, iproute2, systemd
Recommends: logrotate, kmod
Suggests: ipmitool, openipmi, resource-agents, fence-agents, bash-completion, man-db
Section: admin
Priority: optional
Description: high-availability clusters for Linux servers with a BMC
 Two and more servers run each group of applications on one of them, and take it over
 when hardware or software fails: what the BMC reports decides first, and no group starts
 anywhere before it is proven to be stopped everywhere else.
"""

PACKAGER = "clptools <root@localhost>"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
MAINTAINER = SOURCE / "lab/maintainer"
CONFFILES = ("/etc/logrotate.d/clptools",)


def project() -> dict[str, object]:
    """The `[project]` table of pyproject.toml."""
    table: dict[str, object] = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    return table


def fingerprint() -> str:
    """Changes with everything that goes into the package."""
    digest = hashlib.sha256()
    files = [SOURCE / name for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")]
    files += [Path(__file__), LOCK]
    for folder in ("clptools", "man", "completions", "examples", "docs", "lab/maintainer"):
        files += sorted(p for p in (SOURCE / folder).rglob("*") if p.is_file())
    for path in files:
        if "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(SOURCE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def build(folder: Path, revision: str = "1") -> Path:
    """Builds `clptools_VERSION-REVISION_amd64.deb` in `folder`.  Raises Trouble."""
    with tempfile.TemporaryDirectory(prefix="clptools-deb.") as temporary:
        tree = Path(temporary) / "tree"
        fill(tree, Path(temporary))
        return pack(tree, folder, revision)


def pack(tree: Path, folder: Path, revision: str) -> Path:
    """A Debian package of the files in `tree`, to which it adds.  Raises Trouble."""
    version = f"{VERSION}-{revision}"
    made = folder / f"clptools_{version}_amd64.deb"
    folder.mkdir(parents=True, exist_ok=True)
    control(tree, version)
    # Written beside it and renamed: an interrupted build leaves no half a package.
    unfinished = made.with_suffix(".new")
    run("dpkg-deb", "--root-owner-group", "-Zzstd", "--build", tree, unfinished)
    return unfinished.rename(made)


def fill(tree: Path, temporary: Path) -> None:
    """Every file that a package installs, whatever its form.  Raises Trouble."""
    _interpreter(tree, temporary)
    lay_out(tree)


def lay_out(tree: Path) -> None:
    """Everything but the interpreter's folder."""
    _commands(tree)
    _documents(tree)
    _host_files(tree)
    # Sources may be kept more privately than a package's files are to be.
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def _interpreter(tree: Path, temporary: Path) -> None:
    """/usr/lib/clptools: the system's Python with clptools and what it needs, compiled."""
    if sys.version_info[:2] != (3, 11):
        raise Trouble(f"the package is for Python {ABI}: build it with that, as on Debian 12")
    home = tree / HOME
    (home / "bin").mkdir(parents=True)
    (home / "bin/python3").symlink_to("/usr/bin/python3")
    (home / "pyvenv.cfg").write_text(
        "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n"
    )
    site = home / "lib/python3.11/site-packages"
    shutil.copytree(_wheels(), site)
    # From a copy: pip leaves its build folder beside the sources.
    source = temporary / "source"
    for folder in ("clptools", "man", "completions", "docs", "examples"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCE / folder, source / folder, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(SOURCE / name, source)
    _pip("--no-deps", "--target", str(site), str(source))
    for name in ("bin", "share"):
        shutil.rmtree(site / name, ignore_errors=True)
    # Named as on the server, and never compared with the sources there.
    mode = ("--invalidation-mode", "unchecked-hash")
    run(sys.executable, "-m", "compileall", "-q", *mode, "-s", tree, "-p", "/", site)


def _wheels() -> Path:
    """The wheels of the lock file, unpacked; fetched once for each lock file."""
    name = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = cache() / f"wheels-{name}"
    if not folder.exists():
        unfinished = cache() / f"wheels-{name}.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        _pip("--require-hashes", "--no-deps", *KIND, "--target", str(unfinished), "-r", str(LOCK))
        for waste in [unfinished / "bin", *unfinished.rglob("__pycache__")]:
            shutil.rmtree(waste, ignore_errors=True)
        unfinished.rename(folder)
    return folder


def _pip(*words: str) -> None:
    quiet = ("-q", "--disable-pip-version-check", "--no-compile")
    run(sys.executable, "-m", "pip", "install", *quiet, *words)


def _commands(tree: Path) -> None:
    """One starter a command, in /usr/sbin."""
    folder = tree / "usr/sbin"
    folder.mkdir(parents=True)
    scripts = project()["scripts"]
    assert isinstance(scripts, dict)
    for name, target in scripts.items():
        module, function = target.split(":")
        text = f"{PYTHON}import sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
        if name in COMMANDS:
            text = starter(f"/{HOME}/bin/python3", (f"/{HOME}/lib/python3.11/site-packages",))
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def _documents(tree: Path) -> None:
    """Manual, completions, pages, examples."""
    for page in sorted((SOURCE / "man").glob("*.[1-9]")):
        manual = tree / "usr/share/man" / f"man{page.suffix[1:]}"
        manual.mkdir(parents=True, exist_ok=True)
        (manual / f"{page.name}.gz").write_bytes(gzip.compress(page.read_bytes(), mtime=0))
    share = tree / "usr/share"
    for source, target in (
        ("clptools.bash", "bash-completion/completions/clptools"),
        ("_clptools", "zsh/site-functions/_clptools"),
        ("_clptools", "zsh/vendor-completions/_clptools"),
        ("clptools.fish", "fish/vendor_completions.d/clptools.fish"),
    ):
        (share / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / "completions" / source, share / target)
    # bash loads a completion by the command's name.
    scripts = project()["scripts"]
    assert isinstance(scripts, dict)
    for name in scripts:
        (share / "bash-completion/completions" / name).symlink_to("clptools")
    pages = share / "doc/clptools"
    shutil.copytree(SOURCE / "examples", pages / "examples")
    shutil.copytree(SOURCE / "docs", pages / "docs")
    shutil.copy(SOURCE / "README.md", pages)
    shutil.copy(SOURCE / "LICENSE", pages / "copyright")
    wheels = locked()
    (pages / "sbom.cdx.json").write_text(bill(wheels))
    (pages / "licences").write_text(licences(wheels))
    changes = (SOURCE / "CHANGELOG.md").read_bytes()
    (pages / "changelog.gz").write_bytes(gzip.compress(changes, mtime=0))


def _host_files(tree: Path) -> None:
    """What systemd, firewalld and logrotate of the host take from their own folders."""
    for source, target in (
        ("systemd/clpnode.service", "lib/systemd/system/clpnode.service"),
        ("systemd/clpwitnessd.service", "lib/systemd/system/clpwitnessd.service"),
        ("systemd/sysusers.conf", "usr/lib/sysusers.d/clptools.conf"),
        ("systemd/tmpfiles.conf", "usr/lib/tmpfiles.d/clptools.conf"),
        ("systemd/softdog.conf", "usr/share/clptools/softdog.conf"),
        ("firewall/clptools.xml", "usr/lib/firewalld/services/clptools.xml"),
        ("logrotate.conf", "etc/logrotate.d/clptools"),
    ):
        place = tree / target
        place.parent.mkdir(parents=True, exist_ok=True)
        text = (SOURCE / "examples" / source).read_text()
        place.write_text(text.replace("/usr/local/bin/", "/usr/sbin/"))


def maintainer(*names: str) -> str:
    """These scripts as one, behind what all of them use."""
    texts = [(MAINTAINER / f"{name}.sh").read_text() for name in ("common", *names)]
    return "#!/bin/sh\nset -e\n" + "".join(texts)


def control(tree: Path, version: str) -> None:
    """DEBIAN: what dpkg is to know, and what it runs."""
    folder = tree / "DEBIAN"
    folder.mkdir()
    size = sum(p.stat().st_size for p in tree.rglob("*") if p.is_file() and not p.is_symlink())
    (folder / "control").write_text(
        CONTROL.format(version=version, maintainer=PACKAGER, kilobytes=size // 1024)
    )
    (folder / "conffiles").write_text("".join(f"{name}\n" for name in CONFFILES))
    for name in SCRIPTS:
        (folder / name).write_text(maintainer(name))
        (folder / name).chmod(0o755)


if __name__ == "__main__":
    print(build(SOURCE / "dist"))
