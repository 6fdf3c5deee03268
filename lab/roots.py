"""The packages in fresh Debian systems: `python -m lab.roots [CASE …]`; without names, all cases.

Each server is a Debian 12 in a container (systemd-nspawn) with its own systemd and network, and no
way to any mirror or registry.  All of it runs in namespaces that end with it (`alone`).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from clptools.version import VERSION
from lab import alone, bundle, package, rpm
from lab.places import SOURCE, Trouble, cache, missing, run, say

NEEDED = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "rpmbuild": "rpm",
    "ip": "iproute2",
    "nsenter": "util-linux",
}
"""Programs of this machine, and the Debian packages that have them."""
MIRROR = "http://deb.debian.org/debian"
MINIMAL = ("systemd-sysv", "dbus", "apt-utils")
"""What every server has; the bundle brings the rest."""
SERVER = (*MINIMAL, "python3", "iproute2", "kmod", "rpm", "man-db", "procps")
FIRST = "3175683"
"""The commit whose package counts as the first, 0.1.0."""
BOOTS_WITHIN_S = 120.0
COMES_WITHIN_S = 60.0

CONFIG = """\
[[server]]
name = "server1"
[[server]]
name = "server2"
[[interconnect]]
type = "lanhb"
address = { server1 = "10.0.0.1", server2 = "10.0.0.2" }
[[group]]
name = "app"
[[group.resource]]
type = "exec"
name = "worker"
[[monitor]]
type = "userw"
method = "none"
"""
START = """\
#!/bin/sh
echo start >>/var/log/worker
sleep 99999 </dev/null >/dev/null 2>&1 &
echo $! >/run/worker
"""
STOP = """\
#!/bin/sh
echo stop >>/var/log/worker
[ ! -e /run/worker ] || kill $(cat /run/worker)
rm -f /run/worker
"""

ROOTS: list[Root] = []
"""Of the case that runs: ended after it."""


class Root:
    """One server: a folder with a Debian, and its processes while it is booted."""

    def __init__(self, base: str, number: int) -> None:
        self.name = f"server{number}"
        self.number = number
        self.folder = alone.folder() / self.name
        run("cp", "-a", "--reflink=auto", _trees() / base, self.folder)
        (self.folder / "etc/hostname").write_text(f"{self.name}\n")
        (self.folder / "etc/hosts").write_text(
            "127.0.0.1 localhost\n10.0.0.1 server1\n10.0.0.2 server2\n"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._console = open(f"{self.folder}.console", "ab")  # noqa: SIM115, closed by end()
        ROOTS.append(self)

    def boot(self) -> None:
        """Starts its systemd, and waits until that is done."""
        words = ("--quiet", "--register=no", "--keep-unit", "--kill-signal=SIGRTMIN+3", "--boot")
        self._process = subprocess.Popen(
            [
                *("systemd-nspawn", *words, f"--machine={self.name}", "-D", self.folder),
                f"--network-namespace-path=/run/netns/{self.name}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
        )
        until(lambda: bool(self._first()), f"{self.name} has a first process", BOOTS_WITHIN_S)
        self._leader = self._first()
        until(
            lambda: (
                self.try_sh("systemctl is-system-running")[1].strip() in ("running", "degraded")
            ),
            f"{self.name} has booted",
            BOOTS_WITHIN_S,
        )

    def _first(self) -> int:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with contextlib.suppress(OSError, ValueError):
            return int(children.read_text().split()[0])
        return 0

    def end(self) -> None:
        """As a power loss ends it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            self._process = None
        self._console.close()

    def try_sh(self, line: str) -> tuple[int, str]:
        """Exit status and everything that a shell line says there."""
        enter = ["nsenter", "-t", str(self._leader), "-a", "env", "-i"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run(
            [*enter, path, "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb", "sh", "-c", f"cd; {line}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def sh(self, line: str) -> str:
        """What a shell line says there.  Raises Trouble if it fails."""
        status, said = self.try_sh(line)
        if status:
            raise Trouble(f"{self.name}: {line}: exit status {status}\n{said[-2000:]}")
        return said

    def take(self, file: Path) -> str:
        """Copies a file to its /root; returns the name there."""
        shutil.copy(file, self.folder / "root" / file.name)
        return f"/root/{file.name}"

    def write(self, place: str, text: str, mode: int = 0o644) -> None:
        """A file of it."""
        path = self.folder / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)


class Made:
    """The packages of this source tree, made once for all cases."""

    def __init__(self) -> None:
        self.folder = cache() / f"roots/made-{_mark()}"
        self.bundle = self.folder / f"clptools-{VERSION}-2.run"
        self.deb = self.folder / f"debs/clptools_{VERSION}-2_amd64.deb"
        self.newer = self.folder / f"clptools_{VERSION}-3_amd64.deb"
        self.first = cache() / f"roots/clptools_{VERSION}-1.{FIRST}_amd64.deb"
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
            run("git", "-C", SOURCE, "archive", "-o", archive, FIRST)
            run("tar", "-xf", archive, "-C", source)
            program = "import sys; from pathlib import Path; from lab import package; "
            program += f"package.build(Path('out'), '1.{FIRST}')"
            run(sys.executable, "-c", program, cwd=source)
            next((source / "out").glob("*.deb")).rename(self.first)
            shutil.rmtree(source)


def _mark() -> str:
    files = [*sorted((SOURCE / "lab/maintainer").iterdir()), SOURCE / "lab/clptools.spec"]
    files += [SOURCE / "lab" / name for name in ("bundle.py", "rpm.py")]
    own = b"".join(path.read_bytes() for path in files)
    return package.fingerprint() + hashlib.sha256(own).hexdigest()[:6]


def _trees() -> Path:
    return cache() / "roots"


def until(true: Callable[[], bool], what: str, within_s: float = COMES_WITHIN_S) -> None:
    """Waits until it is true.  Raises Trouble."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise Trouble(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.2)


def check(true: bool, what: str) -> None:
    """Raises Trouble unless it is true."""
    if not true:
        raise Trouble(f"not so: {what}")


# ---------------------------------------------------------------------- a cluster of two


class Pair:
    """Two booted servers with a cluster whose group runs a process."""

    def __init__(self, roots: list[Root], install: Callable[[Root], None]) -> None:
        self.roots = roots
        for each in roots:
            each.boot()
            install(each)
        self.configure()

    def configure(self) -> None:
        """The configuration on both, the agents started, the group online on server1."""
        for each in self.roots:
            each.write("/etc/clptools/clp.toml", CONFIG)
            for name, text in (("start.sh", START), ("stop.sh", STOP)):
                each.write(f"/etc/clptools/scripts/app/worker/{name}", text, 0o755)
        first, second = self.roots
        first.sh("clpcfctrl --keygen")
        key = first.folder / "etc/clptools/authkey"
        shutil.copy(key, second.folder / "etc/clptools/authkey")
        for each in self.roots:
            each.sh("systemctl start clpnode")
        self.normal()
        first.sh("clpwait --until 'group app online' --timeout 60")
        self._process = self.process()

    def process(self) -> str:
        """What the group's process is: changes when it is stopped or started anew."""
        return self.roots[0].sh("cat /run/worker; cat /var/log/worker; kill -0 $(cat /run/worker)")

    def normal(self) -> None:
        """Both agents hear each other, and nothing is suspended."""
        for each in self.roots:
            until(partial(_is_normal, each), f"{each.name} sees a normal cluster")

    def undisturbed(self) -> None:
        """The group's process is the one that it was from the beginning."""
        check(self.process() == self._process, f"the group was left alone: {self.process()}")


def _is_normal(root: Root) -> bool:
    status, said = root.try_sh("clpstat --json")
    flat = "".join(said.split())
    return status == 0 and '"suspended":false' in flat and flat.count('"status":"Online"') >= 3


def _pair(install: Callable[[Root], None], base: str = "server") -> Pair:
    return Pair([Root(base, 1), Root(base, 2)], install)


def _dpkg(file: Path) -> Callable[[Root], None]:
    def install(root: Root) -> None:
        root.sh(f"dpkg -i {root.take(file)}")

    return install


# ---------------------------------------------------------------------- the cases


def deb(made: Made) -> None:
    """The Debian package: installed, everything there; removed and purged, nothing left."""
    root = Root("server", 1)
    root.boot()
    listed = "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /root -o -path /tmp"
    listed += " -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/tmp"
    listed += " \\) -prune -o -print | sort"
    before = set(root.sh(listed).splitlines())
    _dpkg(made.deb)(root)
    for name in package.project()["scripts"]:  # type: ignore[attr-defined]
        check(VERSION in root.sh(f"{name} --version"), f"{name} --version")
    root.sh("man -w clpstat && man -w clp.toml && getent group clptools")
    check(root.sh("stat -c '%a %U %G' /etc/clptools").strip() == "750 root clptools", "its owner")
    check(root.sh("systemctl is-enabled clpnode").strip() == "enabled", "clpnode is enabled")
    check(
        root.try_sh("systemctl is-enabled clpwitnessd")[1].strip() == "disabled", "witness is not"
    )
    check(root.try_sh("clpstat")[0] == 3, "clpstat says that there is no agent")
    root.sh("systemctl start clpnode")  # no key: the condition, no fault
    check(root.try_sh("systemctl is-active clpnode")[1].strip() == "inactive", "it waits for a key")
    root.sh("clpcfctrl --keygen; systemctl enable --now clpwitnessd")
    until(lambda: "LISTEN" in root.sh("ss -Hltn sport = 29003"), "the witness listens")
    check("active" in root.sh("systemctl is-active clpwitnessd"), "the witness runs")
    root.sh("dpkg -r clptools")
    check(root.try_sh("command -v clpstat")[0] != 0, "no command is left")
    check(root.try_sh("test -e /etc/clptools/authkey")[0] == 0, "the key is left until a purge")
    root.sh("dpkg -P clptools")
    left = set(root.sh(listed).splitlines()) - before
    # The group stays, as Debian keeps users: files may belong to it.
    left -= {"/etc/group-", "/etc/gshadow-", "/etc/gshadow", "/etc/group"}
    check(not left, f"nothing is left: {sorted(left)[:9]}")
    check(root.sh("systemctl --failed --no-legend") == "", "no unit failed")


def upgrade(made: Made) -> None:
    """From the first package to this one and back, with a group that runs."""
    pair = _pair(_dpkg(made.first))
    for file in (made.deb, made.first, made.deb, made.newer):
        for root in pair.roots:
            _dpkg(file)(root)
            pair.normal()
            pair.undisturbed()
    pair.roots[0].sh("dpkg -r clptools")
    check(pair.roots[0].try_sh("test -e /run/worker")[0] != 0, "a removal stops the group")


def by_hand(made: Made) -> None:
    """An /etc/clptools that somebody made by hand stays as it is."""
    root = Root("server", 1)
    root.boot()
    root.write("/etc/clptools/clp.toml", CONFIG, 0o600)
    root.write("/etc/clptools/notes", "mine", 0o600)
    root.sh("chmod 700 /etc/clptools")
    state = "cd /etc/clptools && stat -c '%n %a %U %G' . * && cat *"
    before = root.sh(state)
    _dpkg(made.deb)(root)
    check(root.sh(state) == before, "owner, modes and contents are kept")
    root.sh("dpkg -r clptools")
    check(root.sh(state) == before, "a removal keeps them, too")
    root.sh("rm -r /etc/clptools; echo >/etc/clptools")
    status, said = root.try_sh(f"dpkg -i /root/{made.deb.name}")
    check(status != 0 and "/etc/clptools is a file" in said, f"a file there is refused: {said}")
    root.sh(f"rm /etc/clptools; dpkg -i /root/{made.deb.name}; clpstat --version")


def over_pip(made: Made) -> None:
    """Over an installation by pip that runs: it goes on, and the way over is as it is told."""

    def install(root: Root) -> None:
        home = root.folder / "opt/clptools"
        unpacked = alone.folder() / "unpacked"
        if not unpacked.exists():
            run("dpkg-deb", "-x", made.deb, unpacked)
        run("cp", "-a", unpacked / package.HOME, home)
        (root.folder / "usr/local/bin").mkdir(exist_ok=True)
        for starter in (unpacked / "usr/sbin").iterdir():
            own = starter.read_text().replace(f"/{package.HOME}", "/opt/clptools")
            root.write(f"/opt/clptools/bin/{starter.name}", own, 0o755)
            (root.folder / "usr/local/bin" / starter.name).symlink_to(
                f"/opt/clptools/bin/{starter.name}"
            )
        unit = (SOURCE / "examples/systemd/clpnode.service").read_text()
        root.write("/etc/systemd/system/clpnode.service", unit)
        root.sh("systemctl daemon-reload && systemctl enable -q clpnode")

    pair = _pair(install)
    for root in pair.roots:
        agent = "systemctl show -P MainPID clpnode"
        before = root.sh(agent)
        said = root.sh(f"dpkg -i {root.take(made.deb)}")
        check("clpnode still runs from /usr/local/bin/clpnode" in said, f"it is told: {said}")
        check(root.sh(agent) == before, "the agent goes on")
        told = [line.removeprefix("clptools:   ") for line in said.splitlines()]
        lines = [line for line in told if line.startswith(("clpcl", "systemctl enable"))]
        root.sh("\n".join(lines))
        root.sh("rm /usr/local/bin/clp*")
        pair.normal()
        pair.undisturbed()
        program = root.sh(f"tr '\\0' ' ' </proc/$({agent})/cmdline")
        check("/usr/sbin/clpnode" in program, f"the package's agent runs: {program}")


def full_disk(made: Made) -> None:
    """The disk is full in the middle of an upgrade: the old version runs on, then the new one."""

    def install(root: Root) -> None:
        place = f"/{package.HOME}"
        root.sh(f"mkdir -p {place} && mount -t tmpfs -o size=110m,mode=755 tmpfs {place}")
        _dpkg(made.deb)(root)

    pair = _pair(install)
    root = pair.roots[0]
    root.sh(
        f"fallocate -l $(df -B1 --output=avail /{package.HOME} | tail -1) /{package.HOME}/fill"
        f" && truncate -s -8M /{package.HOME}/fill"
    )
    status, said = root.try_sh(f"dpkg -i {root.take(made.newer)}")
    check(status != 0 and "No space left" in said, f"dpkg runs out of space: {said[-500:]}")
    check("-2" in root.sh("dpkg-query -W -f '${Version} ${Status}' clptools"), "the old one stays")
    pair.normal()
    pair.undisturbed()
    root.sh(f"rm /{package.HOME}/fill; mount -o remount,size=400m /{package.HOME}")
    _dpkg(made.newer)(root)
    pair.normal()
    pair.undisturbed()
    check(root.sh("dpkg --audit") == "", "dpkg has nothing to mend")


def rpms(made: Made) -> None:
    """The RPM: its requirements, an upgrade and a downgrade with a group that runs, its removal."""
    older, newer = made.rpms
    stub = _stub()

    def install(root: Root) -> None:
        status, said = root.try_sh(f"rpm -i {root.take(older)}")
        check(status != 0 and "/usr/bin/python3.11 is needed" in said, f"what is missing: {said}")
        root.sh(f"rpm -i {root.take(stub)} && rpm -i /root/{older.name}")

    pair = _pair(install)
    for root in pair.roots:
        root.sh(f"rpm -U {root.take(newer)}")
        pair.normal()
        pair.undisturbed()
        root.sh(f"rpm -U --oldpackage /root/{older.name}")
        pair.normal()
        pair.undisturbed()
    first = pair.roots[0]
    check(first.sh("rpm -V clptools") == "", "every file is as it was packed")
    first.sh("rpm -e clptools")
    check(first.try_sh("test -e /run/worker")[0] != 0, "a removal stops the group")
    check(first.try_sh("test -e /usr/lib/clptools")[0] != 0, "no folder is left")
    check(first.try_sh("test -e /etc/clptools/authkey")[0] == 0, "the configuration is left")


def _stub() -> Path:
    """An RPM that says what these Debian systems have, for rpm knows nothing of dpkg."""
    work = alone.folder() / "stub"
    work.mkdir()
    (work / "stub.spec").write_text(
        "Name: debian\nVersion: 12\nRelease: 1\nSummary: what is there\nLicense: none\n"
        "BuildArch: noarch\nProvides: /bin/sh /usr/bin/python3.11 /usr/sbin/ip systemd\n"
        "%description\n%files\n"
    )
    run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {work}", work / "stub.spec")
    return next((work / "RPMS").rglob("*.rpm"))


def from_bundle(made: Made) -> None:
    """Two minimal systems and one file: a damaged copy is refused, a whole one installs all."""

    def install(root: Root) -> None:
        check(root.try_sh("command -v python3")[0] != 0, "there is no Python yet")
        whole = made.bundle.read_bytes()
        (root.folder / "root/cut.run").write_bytes(whole[: len(whole) // 2])
        status, said = root.try_sh("sh /root/cut.run")
        check(status == 1 and "cut short: copy it again" in said, f"a cut copy: {said}")
        check(root.try_sh("sh /root/cut.run --what")[0] == 2, "an unknown option")
        name = root.take(made.bundle)
        said = root.sh(f"sh {name}")
        check("is installed" in said, said)
        root.sh(f"sh {name}")  # once more changes nothing
        check(root.sh("ls /var/tmp").strip() == "", "nothing is left in /var/tmp")
        check(root.try_sh("apt-get check -q")[0] == 0, "apt has nothing to mend")

    pair = _pair(install, "minimal")
    pair.roots[0].sh("clpgrp -m app -a server2")
    pair.roots[0].sh("clpwait --until 'group app online' --timeout 60")
    check(pair.roots[1].try_sh("kill -0 $(cat /run/worker)")[0] == 0, "the group has moved")


CASES = {
    "deb": deb,
    "upgrade": upgrade,
    "by-hand": by_hand,
    "over-pip": over_pip,
    "full-disk": full_disk,
    "rpm": rpms,
    "bundle": from_bundle,
}


# ---------------------------------------------------------------------- how they are run


def prepare() -> Made:
    """Makes what needs a network.  Raises Trouble."""
    lacking = sorted({NEEDED[name] for name in missing(tuple(NEEDED))})
    if lacking:
        say(f"installing {' '.join(lacking)}")
        run("apt-get", "update", "-q")
        quiet = ("env", "DEBIAN_FRONTEND=noninteractive")
        run(*quiet, "apt-get", "install", "-y", "-q", "--no-install-recommends", *lacking)
    for name, packages in (("minimal", MINIMAL), ("server", SERVER)):
        tree = _trees() / name
        mark = _trees() / f"{name}.of"
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


def _networks() -> None:
    """One network of both servers, in a namespace each."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    run("ip", "link", "set", "lo", "up")
    for number in (1, 2):
        run("ip", "netns", "add", f"server{number}")
    peer = ("peer", "name", "lan", "netns", "server2")
    run("ip", "link", "add", "lan", "netns", "server1", "type", "veth", *peer)
    for number in (1, 2):
        inside = ("ip", "-n", f"server{number}")
        run(*inside, "addr", "add", f"10.0.0.{number}/24", "dev", "lan")
        for name in ("lo", "lan"):
            run(*inside, "link", "set", name, "up")


def _run(names: list[str]) -> int:
    made = Made()
    _networks()
    failed = []
    for name in names:
        case = CASES[name]
        say(f"case {name}: {(case.__doc__ or '').strip()}")
        begun = time.monotonic()
        outcome = "passed"
        try:
            case(made)
        except Trouble as trouble:
            outcome = str(trouble)
            failed.append(name)
        say(f"case {name}: {outcome}; {time.monotonic() - begun:.0f} s")
        for root in ROOTS:
            root.end()
        ROOTS.clear()
        for folder in alone.folder().iterdir():
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    say(f"{len(names) - len(failed)} of {len(names)} cases passed")
    return 1 if failed else 0


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.roots", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    given = parser.parse_args()
    unknown = [name for name in given.cases if name not in CASES]
    if unknown:
        print(f"no such case: {', '.join(unknown)}; known: {', '.join(CASES)}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("the laboratory needs root: it makes namespaces and containers", file=sys.stderr)
        return 1
    try:
        if alone.inside():
            return _run(given.cases or list(CASES))
        lock = alone.take()
        prepare()
        return alone.enter(lock, "lab.roots")
    except Trouble as trouble:
        print(f"lab: {trouble}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
