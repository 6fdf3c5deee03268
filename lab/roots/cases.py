"""What an administrator does with the packages."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from clptools.sim.demo_bmc import IPMI_SIM, SimulatedBmc
from clptools.version import VERSION
from lab import alone, package
from lab.network import BMC_BASE
from lab.places import SOURCE, run, say
from lab.roots.made import Made
from lab.roots.pair import CONFIG, pair
from lab.roots.root import Root, check, until


def _dpkg(file: Path) -> Callable[[Root], None]:
    def install(root: Root) -> None:
        root.sh(f"dpkg -i {root.take(file)}")

    return install


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
    two = pair(_dpkg(made.first))
    for file in (made.deb, made.first, made.deb, made.newer):
        for root in two.roots:
            _dpkg(file)(root)
            two.normal()
            two.undisturbed()
    two.roots[0].sh("dpkg -r clptools")
    check(two.roots[0].try_sh("test -e /run/worker")[0] != 0, "a removal stops the group")


def upgrade_page(made: Made) -> None:
    """docs/upgrading.md, as written there: server by server to this version, and back."""
    page = (SOURCE / "docs/upgrading.md").read_text()
    lines = re.findall(r"^    ([a-z].*)$", page, re.M)
    check([line.split()[0] for line in lines] == ["sh", "clpstat", "sh"], f"its lines: {lines}")
    two = pair(_dpkg(made.first))
    for typed in (lines[:2], lines[2:]):
        for root in two.roots:
            for line in typed:
                if line.startswith("clpstat"):
                    root.sh("clpstat -s")
                elif "--downgrade" in line:
                    check("or: dpkg -i clptools_" in line, line)
                    _dpkg(made.first)(root)
                else:
                    root.sh(f"sh {root.take(made.bundle)}")
            two.normal()
            two.undisturbed()
            if typed == lines[:2] and root is two.roots[0]:
                told = " ".join(root.sh("clpstat -s").split())
                check(f"{VERSION} on server1" in told, f"versions differ: {told}")


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

    two = pair(install)
    for root in two.roots:
        agent = "systemctl show -P MainPID clpnode"
        before = root.sh(agent)
        said = root.sh(f"dpkg -i {root.take(made.deb)}")
        check("clpnode still runs from /usr/local/bin/clpnode" in said, f"it is told: {said}")
        check(root.sh(agent) == before, "the agent goes on")
        told = [line.removeprefix("clptools:   ") for line in said.splitlines()]
        lines = [line for line in told if line.startswith(("clpcl", "systemctl enable"))]
        root.sh("\n".join(lines))
        root.sh("rm /usr/local/bin/clp*")
        two.normal()
        two.undisturbed()
        program = root.sh(f"tr '\\0' ' ' </proc/$({agent})/cmdline")
        check("/usr/sbin/clpnode" in program, f"the package's agent runs: {program}")


def full_disk(made: Made) -> None:
    """The disk is full in the middle of an upgrade: the old version runs on, then the new one."""

    def install(root: Root) -> None:
        place = f"/{package.HOME}"
        root.sh(f"mkdir -p {place} && mount -t tmpfs -o size=110m,mode=755 tmpfs {place}")
        _dpkg(made.deb)(root)

    two = pair(install)
    root = two.roots[0]
    root.sh(
        f"fallocate -l $(df -B1 --output=avail /{package.HOME} | tail -1) /{package.HOME}/fill"
        f" && truncate -s -8M /{package.HOME}/fill"
    )
    status, said = root.try_sh(f"dpkg -i {root.take(made.newer)}")
    check(status != 0 and "No space left" in said, f"dpkg runs out of space: {said[-500:]}")
    check("-2" in root.sh("dpkg-query -W -f '${Version} ${Status}' clptools"), "the old one stays")
    two.normal()
    two.undisturbed()
    root.sh(f"rm /{package.HOME}/fill; mount -o remount,size=400m /{package.HOME}")
    _dpkg(made.newer)(root)
    two.normal()
    two.undisturbed()
    check(root.sh("dpkg --audit") == "", "dpkg has nothing to mend")


def rpms(made: Made) -> None:
    """The RPM: its requirements, an upgrade and a downgrade with a group that runs, its removal."""
    older, newer = made.rpms
    stub = _stub()

    def install(root: Root) -> None:
        status, said = root.try_sh(f"rpm -i {root.take(older)}")
        check(status != 0 and "/usr/bin/python3.11 is needed" in said, f"what is missing: {said}")
        root.sh(f"rpm -i {root.take(stub)} && rpm -i /root/{older.name}")

    two = pair(install)
    for root in two.roots:
        root.sh(f"rpm -U {root.take(newer)}")
        two.normal()
        two.undisturbed()
        root.sh(f"rpm -U --oldpackage /root/{older.name}")
        two.normal()
        two.undisturbed()
    first = two.roots[0]
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
        check("clptools" not in root.sh("ls /var/tmp"), "nothing is left in /var/tmp")
        check(root.try_sh("apt-get check -q")[0] == 0, "apt has nothing to mend")

    two = pair(install, "minimal")
    two.roots[0].sh("clpgrp -m app -a server2")
    two.roots[0].sh("clpwait --until 'group app online' --timeout 60")
    check(two.roots[1].try_sh("kill -0 $(cat /run/worker)")[0] == 0, "the group has moved")


def five_minutes(made: Made) -> None:
    """README's five minutes, as written there, on two minimal systems: then server1 loses power."""
    begun = time.monotonic()
    roots = [Root("minimal", 1), Root("minimal", 2)]
    bmcs = []
    for number, root in enumerate(roots, 1):
        folder = alone.folder() / f"bmc{number}"
        address = f"192.168.0.{BMC_BASE + number}"
        bmcs.append(SimulatedBmc(str(folder), address, password="README-1", kind=IPMI_SIM))
        bmcs[-1].start(on=True)
        root.boot()
        root.take(made.bundle)
    section = (
        (SOURCE / "README.md").read_text().partition("## Five minutes")[2].partition("\n## ")[0]
    )
    blocks = re.findall(r"```console\n(.*?)```", section, re.S)
    check(len(blocks) == 4, "it has four blocks")
    try:
        # On both, on server1, on both, on server1.
        for block, where in zip(blocks, (roots, roots[:1], roots, roots[:1]), strict=True):
            for root in where:
                for line in block.splitlines():
                    _typed(line.removeprefix("# ").partition("  #")[0].strip(), root, roots, made)
        say(f"README's commands took {time.monotonic() - begun:.0f} s")
        held = "ip -br address | grep -w 192.168.0.100"
        until(lambda: roots[1].try_sh(held)[0] == 0, "server2 has the floating address")
        roots[0].sh("clpgrp -m failover1 -a server1")
        until(lambda: roots[0].try_sh(held)[0] == 0, "server1 has it again")
        roots[0].end()
        bmcs[0].switch(False)
        until(lambda: roots[1].try_sh(held)[0] == 0, "server2 has it after the power loss", 30)
        told = roots[1].sh("clpstat --explain failover1")
        check("power off" in told, f"the proof is told: {told}")
    finally:
        for bmc in bmcs:
            bmc.stop()


def _typed(line: str, root: Root, roots: list[Root], made: Made) -> None:
    """Does what a person does who types a line of README."""
    place = roots[0].folder / "etc/clptools"
    match line.split()[0]:
        case "sh":
            check(line.split()[1].startswith("clptools-"), line)
            root.sh(f"sh {made.bundle.name}")
        case "scp":
            shutil.copy2(place / "authkey", roots[1].folder / "etc/clptools")
        case "vi":
            # A container has no watchdog; the addresses are the sample's.
            text = (place / "clp.toml").read_text()
            (place / "clp.toml").write_text(text.replace('"softdog"  ', '"none"     '))
        case "clpbmccnf":
            for each in line.split(" && "):
                root.sh(f"echo README-1 | {each}")
        case _:
            status, said = root.try_sh(line)
            why = root.try_sh("clpstat -s; clpstat --explain failover1")[1] if status else ""
            check(status == 0, f"{root.name}: {line}: {said}\n{why}")


ORIGINAL = "/opt/nec/clusterpro"
LATE = '[[monitor]]\ntype = "mrw"\nname = "late"\ncategory = "x"\n'


def original_places(made: Made) -> None:
    """The original's paths and units are made beside a running cluster, work, and go again."""
    two = pair(_dpkg(made.deb))
    first, second = two.roots
    looked = "find /opt /usr/bin /usr/sbin /usr/lib/systemd/system /etc/systemd /run/systemd/system"
    places = f"{looked} -xdev -printf '%p -> %l\\n' | sort"
    before = {each: each.sh(places) for each in two.roots}
    for each in two.roots:
        agent = each.sh("systemctl show -P MainPID clpnode")
        each.sh("clpcompat --install")
        each.sh(f"{ORIGINAL}/bin/clpstat -s && /usr/sbin/clpstat -g --local")
        each.sh(f"ls {ORIGINAL}/scripts/app/worker/start.sh {ORIGINAL}/log/")
        each.sh("systemctl is-active clusterpro clusterpro.service clpcompat.path")
        each.sh("systemctl restart clusterpro_webmgr clusterpro_alertsync clusterpro_evt")
        each.sh("systemctl is-active clusterpro_webmgr && systemctl enable clusterpro_evt")
        check(each.sh("systemctl show -P Id clusterpro").strip() == "clpnode.service", "one unit")
        check(each.sh("systemctl show -P MainPID clpnode") == agent, "the agent was left alone")
    exported = f"{ORIGINAL}/etc/clp.conf"
    for config, holds in ((CONFIG + LATE, True), (CONFIG, False)):
        first.write("/etc/clptools/clp.toml", config)
        first.sh("clpcfctrl --push")
        for each in two.roots:
            until(
                lambda each=each, holds=holds: (  # type: ignore[misc]
                    (each.try_sh(f"grep -q '\"late\"' {exported}")[0] == 0) is holds
                ),
                f"{each.name}: clp.conf is what is in force",
            )
    second.sh("systemctl stop clusterpro")
    check(second.try_sh("systemctl is-active clpnode")[1].strip() == "inactive", "it has stopped")
    second.sh("systemctl start clusterpro")
    two.normal()
    for each in two.roots:
        each.sh("clpcompat --remove")
        check(each.sh(places) == before[each], f"{each.name}: nothing is left or taken")
        units = "systemctl list-units --all --plain --no-legend 'clusterpro*' 'clpcompat*'"
        check(not each.sh(units).strip(), f"{each.name}: systemd knows none of the units")
    two.undisturbed()


CASES = {
    "deb": deb,
    "upgrade": upgrade,
    "upgrade-page": upgrade_page,
    "by-hand": by_hand,
    "over-pip": over_pip,
    "full-disk": full_disk,
    "rpm": rpms,
    "bundle": from_bundle,
    "five-minutes": five_minutes,
    "original-places": original_places,
}
