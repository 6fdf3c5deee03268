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
from lab.places import SOURCE, cache, run

HOME = "usr/lib/clptools"
PYTHON = f"#!/{HOME}/bin/python3 -I\n"

CONTROL = """\
Package: clptools
Version: {version}
Architecture: amd64
Maintainer: {maintainer}
Installed-Size: {kilobytes}
Depends: python3 (>= 3.11), python3 (<< 3.12), libc6, iproute2, systemd
Recommends: logrotate
Suggests: ipmitool, openipmi, resource-agents, fence-agents
Section: admin
Priority: optional
Description: high-availability clusters for Linux servers with a BMC
 Two and more servers run each group of applications on one of them, and take it over
 when hardware or software fails: what the BMC reports decides first, and no group starts
 anywhere before it is proven to be stopped everywhere else.
"""

# The agent is enabled, and starts once there is a key (ConditionPathExists of the unit).
# On an upgrade it is restarted in place: with the cluster suspended it leaves the groups as they
# are and finds them again, so an upgrade moves nothing.
POSTINST = """\
#!/bin/sh
set -e
getent group clptools >/dev/null || groupadd --system clptools
install -d -m 0750 -g clptools /etc/clptools
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --quiet clpnode.service
    if [ -e /run/clptools/upgrade-starts ]; then
        rm -f /run/clptools/upgrade-starts
        systemctl start clpnode.service
    fi
    if [ -e /run/clptools/upgrade-resumes ]; then
        rm -f /run/clptools/upgrade-resumes
        # It has to hear the others first.
        for second in $(seq 60); do
            ! /usr/sbin/clpcl --resume >/dev/null 2>&1 || break
            sleep 1
        done
    fi
elif [ "$1" = configure ]; then
    systemctl enable --quiet clpnode.service 2>/dev/null || true
fi
"""
PRERM = """\
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -e /opt/nec/clusterpro/.clptools ]; then
    # The links that clpcompat made would lead nowhere.
    /usr/sbin/clpcompat --remove || true
fi
[ -d /run/systemd/system ] || exit 0
case "$1" in
upgrade)
    if systemctl --quiet is-active clpnode.service; then
        # A cluster that its operator suspended stays so afterwards.
        if /usr/sbin/clpstat --json 2>/dev/null | grep -q '"suspended": *false'; then
            ! /usr/sbin/clpcl --suspend >/dev/null 2>&1 || : >/run/clptools/upgrade-resumes
        fi
        systemctl stop clpnode.service
        : >>/run/clptools/upgrade-starts
    fi ;;
remove) systemctl disable --quiet --now clpnode.service || true ;;
esac
"""
POSTRM = """\
#!/bin/sh
set -e
if [ "$1" = purge ]; then
    rm -rf /etc/clptools /var/lib/clptools /var/log/clptools /var/cache/clptools
fi
[ ! -d /run/systemd/system ] || systemctl daemon-reload
"""
LOGROTATE = """\
/var/log/clptools/*.log {
    weekly
    rotate 8
    compress
    delaycompress
    missingok
    notifempty
}
"""


def project() -> dict[str, object]:
    """The `[project]` table of pyproject.toml."""
    table: dict[str, object] = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    return table


def fingerprint() -> str:
    """Changes with everything that goes into the package."""
    digest = hashlib.sha256()
    files = [SOURCE / "pyproject.toml", Path(__file__)]
    for folder in ("clptools", "man", "completions", "examples"):
        files += sorted(p for p in (SOURCE / folder).rglob("*") if p.is_file())
    for path in files:
        if "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(SOURCE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def build(folder: Path, revision: str = "1") -> Path:
    """Builds `clptools_VERSION-REVISION_amd64.deb` in `folder`.  Raises Trouble."""
    version = f"{VERSION}-{revision}"
    made = folder / f"clptools_{version}_amd64.deb"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="clptools-deb.") as temporary:
        tree = Path(temporary) / "tree"
        _interpreter(tree, Path(temporary))
        _commands(tree)
        _documents(tree)
        _control(tree, version)
        run("dpkg-deb", "--root-owner-group", "-Zzstd", "--build", tree, made)
    return made


def _interpreter(tree: Path, temporary: Path) -> None:
    """/usr/lib/clptools: Debian's Python with clptools and what it needs, compiled."""
    home = tree / HOME
    (home / "bin").mkdir(parents=True)
    (home / "bin/python3").symlink_to("/usr/bin/python3")
    (home / "pyvenv.cfg").write_text(
        "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n"
    )
    site = home / "lib/python3.11/site-packages"
    shutil.copytree(_wheels(), site)
    source = temporary / "source"
    shutil.copytree(
        SOURCE / "clptools", source / "clptools", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(SOURCE / "pyproject.toml", source)
    readme = SOURCE / "README.md"
    (source / "README.md").write_text(readme.read_text() if readme.exists() else "clptools\n")
    _pip("--no-deps", "--target", str(site), str(source))
    for name in ("bin", "share"):
        shutil.rmtree(site / name, ignore_errors=True)
    # Named as on the server, and never compared with the sources there.
    mode = ("--invalidation-mode", "unchecked-hash")
    run(sys.executable, "-m", "compileall", "-q", *mode, "-s", tree, "-p", "/", site)


def _wheels() -> Path:
    """The wheels that clptools needs, unpacked; fetched once for each list of them."""
    wanted = project()["dependencies"]
    assert isinstance(wanted, list)
    name = hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]
    folder = cache() / f"wheels-{name}"
    if not folder.exists():
        unfinished = cache() / f"wheels-{name}.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        _pip("--only-binary", ":all:", "--target", str(unfinished), *wanted)
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
    """Unit, manual, completions, examples."""
    unit = (SOURCE / "examples/systemd/clpnode.service").read_text()
    units = tree / "lib/systemd/system"
    units.mkdir(parents=True)
    (units / "clpnode.service").write_text(unit.replace("/usr/local/bin/", "/usr/sbin/"))
    for page in sorted((SOURCE / "man").glob("*.[1-9]")):
        manual = tree / "usr/share/man" / f"man{page.suffix[1:]}"
        manual.mkdir(parents=True, exist_ok=True)
        (manual / f"{page.name}.gz").write_bytes(gzip.compress(page.read_bytes(), mtime=0))
    share = tree / "usr/share"
    for source, target in (
        ("clptools.bash", "bash-completion/completions/clptools"),
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
    shutil.copytree(SOURCE / "examples", share / "doc/clptools/examples")
    shutil.copy(SOURCE / "LICENSE", share / "doc/clptools/copyright")
    rotation = tree / "etc/logrotate.d"
    rotation.mkdir(parents=True)
    (rotation / "clptools").write_text(LOGROTATE)


def _control(tree: Path, version: str) -> None:
    folder = tree / "DEBIAN"
    folder.mkdir()
    # Sources may be kept more privately than a package's files are to be.
    for path in tree.rglob("*"):
        if not path.is_symlink():
            executable = path.is_dir() or os.access(path, os.X_OK)
            path.chmod(0o755 if executable else 0o644)
    size = sum(p.stat().st_size for p in tree.rglob("*") if p.is_file() and not p.is_symlink())
    maintainer = "clptools <root@localhost>"
    (folder / "control").write_text(
        CONTROL.format(version=version, maintainer=maintainer, kilobytes=size // 1024)
    )
    (folder / "conffiles").write_text("/etc/logrotate.d/clptools\n")
    for name, text in (("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


if __name__ == "__main__":
    print(build(SOURCE / "dist"))
