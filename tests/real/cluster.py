"""Real agents in network namespaces: the harness of the tests in this folder.

Each server is a namespace with one veth into each interconnect's bridge; the bridges and the
BMCs' addresses are in a namespace of their own.  Nothing touches the host's network.  Names
begin with `clp<pid>x`; what a killed test run left behind is removed by the next.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from clptools.cli.registry import COMMANDS
from clptools.intake.rehearsal import pet_event
from tests.conftest import LIMIT_S
from tests.real.bmc import PASSWORD as BMC_PASSWORD
from tests.releases import unpacked

NEEDED = ("ip", "setpriv", "nft")
_PREFIX = "clp"
FATAL = "07h/6F/0"
"""Row of the class table: processor, internal error (IERR)."""
_counter = itertools.count()
T = TypeVar("T")


def require() -> None:
    """Skip, loudly, where namespaces cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: needs root for network namespaces")
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"NOT TESTED: not installed: {', '.join(missing)}")


def until(what: str, condition: Callable[[], T], timeout_s: float = LIMIT_S) -> T:
    """Poll `condition` until it is true; fails with `what` and its last value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what} (last: {value!r})")
        time.sleep(0.05)


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


def _ip_batch(namespace: str, lines: list[str]) -> None:
    done = subprocess.run(
        ["ip", "-n", namespace, "-batch", "-"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stderr}\n{lines}"


def _namespaces() -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(os.listdir("/run/netns"))
    return []


def _remove(namespace: str) -> None:
    found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True)
    for pid in found.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _ip("netns", "del", namespace, check=False)


def sweep() -> None:
    """Remove namespaces of test runs that are no more."""
    for name in _namespaces():
        pid, _, rest = name.removeprefix(_PREFIX).partition("x")
        ours = name.startswith(_PREFIX) and rest and pid.isdecimal()
        if ours and not os.path.exists(f"/proc/{pid}"):
            _remove(name)


class Node:
    """One server: its namespace, its files, its agent."""

    def __init__(self, cluster: Cluster, name: str, number: int) -> None:
        self.cluster = cluster
        self.name = name
        self.number = number
        self.namespace = cluster.prefix + name
        self.root = cluster.folder / name
        self.agent: subprocess.Popen[bytes] | None = None
        self.agents = 0
        self.bmc: subprocess.Popen[str] | None = None
        self.release = ""
        """The earlier release that is installed here; empty: this source tree."""
        for folder in ("etc/clptools", "run", "var/lib", "var/log"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self.write_key(cluster.authkey)

    @property
    def config(self) -> Path:
        """The configuration folder."""
        return self.root / "etc/clptools"

    def write_key(self, key: bytes) -> None:
        """Give this server a shared secret."""
        path = self.config / "authkey"
        path.unlink(missing_ok=True)
        path.write_bytes(key)
        path.chmod(0o400)

    def write_config(self, text: str) -> None:
        """Put `clp.toml` and the cluster's scripts in place."""
        (self.config / "clp.toml").write_text(text)
        (self.config / "clp.toml").chmod(0o640)

    def script(self, path: str, text: str) -> None:
        """Write an executable below `scripts/`."""
        file = self.config / "scripts" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o750)

    def environment(self) -> dict[str, str]:
        """What every command on this server sees."""
        source = unpacked(self.release) if self.release else Path(__file__).parents[2]
        return {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PYTHONPATH": str(source),
            "CLP_ROOT": str(self.root),
            "CLP_SERVER": self.name,
            "LANG": "C.UTF-8",
            "COLUMNS": "80",
        }

    @property
    def bin(self) -> Path:
        """The folder of the commands that are installed here."""
        return self.cluster.commands(self.release)

    def within(self, *words: str) -> list[str]:
        """The command, run in this server's namespace."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def run(self, command: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """A shell command on this server."""
        return subprocess.run(
            self.within("sh", "-c", command),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def ok(self, command: str, timeout_s: float = 30.0) -> str:
        """A shell command that must succeed; returns what it printed."""
        done = self.run(command, timeout_s)
        assert done.returncode == 0, (
            f"{self.name}$ {command} -> {done.returncode}\n{done.stdout}{done.stderr}\n"
            + self.story()
        )
        return done.stdout

    def start(self, *options: str, wrap: tuple[str, ...] = (), name: str = "") -> None:
        """Start the agent (under another name, where given); it dies with the test run."""
        self.agents += 1
        log = open(self.root / f"agent{self.agents}.log", "wb")  # noqa: SIM115  # the child's
        self.agent = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL"),
                *self.within(*wrap, str(self.bin / "clpnode"), *options),
            ],
            env=self.environment() | ({"CLP_SERVER": name} if name else {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Else the kernel shares out one server's time to all servers and the tests themselves
            # (autogroup, sched(7)), and a heartbeat waits for them.
            start_new_session=True,
        )
        log.close()

    def prepare_bmc(self) -> list[str]:
        """What a BMC of this server needs; returns the command that is the machine."""
        boot = self.root / "boot.sh"
        boot.write_text(
            # What a boot forgets: addresses that the cluster gave, and /run.
            "#!/bin/sh\nip addr flush to 192.168.0.100 2>/dev/null\n"
            f"{self._kernel_answers(True)}\n"
            f"rm -rf {self.root}/run/clptools\n"
            f"mkdir -p {self.root}/proc/sys/kernel/random\n"
            "cat /proc/sys/kernel/random/uuid "
            f"> {self.root}/proc/sys/kernel/random/boot_id\nexec clpnode\n"
        )
        boot.chmod(0o755)
        # The kernel of a namespace outlives the power that its BMC takes away.
        off = self.root / "bmc/off"
        off.parent.mkdir(exist_ok=True)
        off.write_text(
            f"#!/bin/sh\n{self._kernel_answers(False)}\n"
            f"ip -n {self.namespace} addr flush to 192.168.0.100\n"
        )
        off.chmod(0o755)
        for node in self.cluster:
            path = node.config / "bmc" / self.name
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text(BMC_PASSWORD)
            path.chmod(0o400)
        return self.within(str(boot))

    def power_on(self) -> None:
        """Give this server its BMC, which runs the agent as long as the power is on."""
        machine = self.prepare_bmc()
        self.bmc = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "TERM"),
                *("ip", "netns", "exec", self.cluster.wires),
                *(sys.executable, "-m", "tests.real.bmc", str(self.root / "bmc")),
                *(self.cluster.bmc(self.number), *machine),
            ],
            cwd=Path(__file__).parents[2],
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.bmc.stdout is not None
        line = self.bmc.stdout.readline()
        assert line == "ready\n", line + self.bmc.stdout.read()

    def _kernel_answers(self, yes: bool) -> str:
        key = "net.ipv4.icmp_echo_ignore_all"
        return f"ip netns exec {self.namespace} sysctl -qw {key}={0 if yes else 1}"

    def press(self, word: str) -> str:
        """A person at the server: `off`, `on`, or its BMC hangs: `freeze`, `thaw`."""
        assert self.bmc is not None
        assert self.bmc.stdin is not None
        assert self.bmc.stdout is not None
        self.bmc.stdin.write(word + "\n")
        self.bmc.stdin.flush()
        return self.bmc.stdout.readline().strip()

    def log(self) -> str:
        """What the newest agent wrote on its standard output and error."""
        if self.bmc is not None:
            return (self.root / "bmc/machine.log").read_text()
        return (self.root / f"agent{self.agents}.log").read_text()

    def alerts(self) -> str:
        """The alert log."""
        with contextlib.suppress(FileNotFoundError):
            return (self.root / "var/log/clptools/alert.log").read_text()
        return ""

    def story(self) -> str:
        """Everything a failed test wants to know of this server."""
        log = self.log() if self.agents or self.bmc else ""
        parts = [f"--- {self.name}: agent", log, "--- alerts"]
        return "\n".join([*parts, self.alerts()[-6000:]])

    def kill(self, sign: int = signal.SIGKILL) -> int:
        """Send a signal that ends the agent, and wait for its end; returns its exit status."""
        assert self.agent is not None
        self.agent.send_signal(sign)
        return self.agent.wait(timeout=60)

    def status(self) -> dict[str, Any]:
        """`clpstat --json`, or {} while no agent answers."""
        done = self.run("clpstat --json")
        if done.returncode != 0:
            return {}
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    def ready(self) -> bool:
        """Whether the agent answers."""
        return bool(self.status())

    def addresses(self) -> str:
        """Addresses in this server's namespace."""
        return self.run("ip -o addr show").stdout

    def small_disk(self, folder: str, size: str) -> None:
        """Put a folder of this server on a file system of that size."""
        words = ("-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(self.root / folder))
        subprocess.run(["mount", *words], check=True)

    def fill(self, folder: str) -> None:
        """Leave no byte free there."""
        with contextlib.suppress(OSError), open(self.root / folder / "ballast", "ab") as file:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        with contextlib.suppress(OSError), open(self.root / folder / "ballast", "ab") as file:
            while True:
                file.write(b"x")
                file.flush()

    def empty(self, folder: str) -> None:
        """Give the room back."""
        (self.root / folder / "ballast").unlink()

    def link(self, lan: int, up: bool) -> None:
        """Pull or plug the cable of interconnect `lan` (from 1)."""
        _ip(
            *("-n", self.cluster.wires, "link", "set", f"{self.name}l{lan}"),
            "up" if up else "down",
        )

    def drop(self, percent: int) -> None:
        """Lose that share of all packets that arrive here; 0 ends it."""
        rules = "table inet lossy\ndelete table inet lossy\n"
        if percent:
            rules += (
                "table inet lossy {\n chain in {\n  type filter hook input priority 0\n"
                f"  numgen random mod 100 < {percent} drop\n }}\n}}\n"
            )
        self.nft(rules)

    def nft(self, rules: str) -> None:
        """Load these rules on this server."""
        subprocess.run(self.within("nft", "-f", "-"), input=rules, text=True, check=True)


class Cluster:
    """Servers, wires and BMC addresses; use it in a `with` block."""

    def __init__(self, servers: int = 2, lans: int = 2, name: str = "cluster") -> None:
        require()
        sweep()
        self.prefix = f"{_PREFIX}{os.getpid()}x{next(_counter)}"
        self.wires = self.prefix + "wires"
        self.folder = Path(tempfile.mkdtemp(prefix=self.prefix + "-"))
        self.name = name
        self.lans = lans
        self.authkey = os.urandom(32)
        self.sequence = 100
        self.diary = self.folder / "diary"
        """Resource scripts write `begin`/`end`, server and group here, in one order."""
        self.diary.touch()
        self.bin = self.commands()
        self.nodes = [Node(self, f"server{n}", n) for n in range(1, servers + 1)]
        atexit.register(self.close)
        try:
            self._wire()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is not None and not isinstance(error, pytest.skip.Exception):
            for node in self.nodes:
                print(node.story())
        self.close()

    def close(self) -> None:
        """Remove everything."""
        atexit.unregister(self.close)
        for node in self.nodes:
            if node.bmc is not None:
                node.bmc.terminate()
            _remove(node.namespace)
            if node.agent is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    node.agent.wait(timeout=LIMIT_S)
        _remove(self.wires)
        _umount(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, number: int) -> Node:
        """Servers count from 1, as their names do."""
        return self.nodes[number - 1]

    def other(self, node: Node) -> Node:
        """Of two servers, the one that is not this one."""
        return self[3 - node.number]

    def address(self, lan: int, number: int) -> str:
        """Address of a server on an interconnect, both from 1."""
        return f"192.168.0.{number}" if lan == 1 else f"10.0.{lan}.{number}"

    def bmc(self, number: int) -> str:
        """Address of a server's BMC."""
        return f"192.168.0.{10 + number}"

    def commands(self, release: str = "") -> Path:
        """The commands of this source tree, or of an earlier release, whatever is installed
        beside the interpreter."""
        folder = self.folder / f"bin{release}"
        if folder.exists():
            return folder
        folder.mkdir()
        main = "clptools.cli.main" if release == "0.1.0" else "clptools.launcher"
        for name, module in (
            ("clpnode", "clptools.agent.main"),
            *((name, main) for name in COMMANDS),
        ):
            file = folder / name
            file.write_text(
                f"#!{sys.executable}\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
            )
            file.chmod(0o755)
        return folder

    def _wire(self) -> None:
        _ip("netns", "add", self.wires)
        lines = ["link set lo up"]
        for lan in range(1, self.lans + 1):
            lines += [f"link add br{lan} type bridge forward_delay 0", f"link set br{lan} up"]
        for node in self.nodes:
            # The BMCs answer from the first bridge itself: sources of traps, targets of IPMI.
            lines.append(f"addr add {self.bmc(node.number)}/24 dev br1")
        _ip_batch(self.wires, lines)
        for node in self.nodes:
            self.plug(node)

    def plug(self, node: Node) -> None:
        """Make the server's namespace with its cables."""
        _ip("netns", "add", node.namespace)
        inside, outside = ["link set lo up"], []
        for lan in range(1, self.lans + 1):
            wire = f"{node.name}l{lan}"
            _ip(
                *("-n", self.wires, "link", "add", wire, "type", "veth"),
                *("peer", "name", f"eth{lan}", "netns", node.namespace),
            )
            outside += [f"link set {wire} master br{lan} up"]
            inside += [
                f"addr add {self.address(lan, node.number)}/24 dev eth{lan}",
                f"link set eth{lan} up",
            ]
        _ip_batch(self.wires, outside)
        _ip_batch(node.namespace, inside)

    def unplug(self, node: Node) -> None:
        """The server is gone at once, with everything that ran on it."""
        _remove(node.namespace)

    def wires_run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command where the bridges and BMC addresses are."""
        return subprocess.run(
            ["ip", "netns", "exec", self.wires, *words],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    def toml(
        self,
        *,
        servers: int = 0,
        cluster: str = "",
        group: str = "",
        resources: str | None = None,
        monitor: str = "",
        recovery: str = "",
        userw: str = 'method = "none"',
        more: str = "",
    ) -> str:
        """The guide's sample cluster for these servers (or the first `servers` of them); extra
        lines go into its tables."""
        nodes = self.nodes[: servers or None]
        names = [node.name for node in nodes]
        parts = [f'[cluster]\nname = "{self.name}"\n{cluster}']
        parts += [
            f'[[server]]\nname = "{node.name}"\n[server.bmc]\n'
            f'address = "{self.bmc(node.number)}"\nuser = "clp"'
            for node in nodes
        ]
        for lan in range(1, self.lans + 1):
            kind = "lankhb" if lan == 1 else "lanhb"
            there = ", ".join(f'{n.name} = "{self.address(lan, n.number)}"' for n in nodes)
            parts.append(f'[[interconnect]]\ntype = "{kind}"\naddress = {{ {there} }}')
        parts.append(
            f'[[group]]\nname = "failover1"\ntype = "failover"\nservers = {json.dumps(names)}\n'
            + group
        )
        parts.append(
            '[[group.resource]]\ntype = "exec"\nname = "exec1"\ntimeout = 60\n'
            '[[group.resource]]\ntype = "fip"\nname = "fip1"\naddress = "192.168.0.100/24"\n'
            "announcements = 1\nduplicate_check = false\n"
            if resources is None
            else resources
        )
        on = ", ".join(f'{n.name} = "{self.address(1, n.number)}"' for n in nodes)
        parts.append(
            '[[monitor]]\ntype = "mrw"\nname = "mrw1"\ncategory = "BMCNOTICE"\n'
            f"keyword_on = {{ {on} }}\nstall_on_predictive_failure = true\n"
            f'community = ["public"]\n{monitor}\n'
            '[monitor.recovery]\naction = "failover"\ntarget = "failover1"\n' + recovery
        )
        parts.append(f'[[monitor]]\ntype = "userw"\nname = "userw"\n{userw}')
        return "\n\n".join([*parts, more]) + "\n"

    def configure(self, text: str = "") -> None:
        """Put the configuration and the scripts of failover1 on every server."""
        for node in self.nodes:
            node.write_config(text or self.toml())
            self.diary_scripts(node, "failover1", "exec1")

    def diary_scripts(self, node: Node, group: str, resource: str) -> None:
        """Start and stop scripts that write into the common diary."""
        for op, word in (("start", "begin"), ("stop", "end")):
            node.script(
                f"{group}/{resource}/{op}.sh",
                f'#!/bin/sh\necho "{word} {node.name} {group} $CLP_EVENT $CLP_FACTOR '
                f'$(cut -d" " -f1 /proc/uptime)" >> {self.diary}\n',
            )

    def start(self) -> None:
        """Start every agent, and wait until each answers."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            until(f"{node.name} answers", node.ready)

    def online(self, group: str = "failover1", timeout_s: float = 20.0) -> Node:
        """Wait until the group is online somewhere, as every running server sees it."""

        def where() -> str:
            seen = set()
            for node in self.nodes:
                if node.bmc is None and (node.agent is None or node.agent.poll() is not None):
                    continue
                status = node.status()
                if node.bmc is not None and not status:
                    continue  # it is switched off
                found = {g["name"]: g for g in status.get("groups", ())}.get(group, {})
                online = found.get("status") == "Online"
                seen.add(str(found.get("current")) if online else "")
            return seen.pop() if len(seen) == 1 else ""

        name = until(f"{group} is online", where, timeout_s)
        return next(node for node in self.nodes if node.name == name)

    def trap(
        self,
        target: Node,
        row: str = FATAL,
        *,
        deasserted: bool = False,
        sequence: int = 0,
        program: str = "snmptrap",
        options: str = "-v2c -c public",
        source: int = 0,
    ) -> None:
        """A PET by net-snmp's own program, from the address of `target`'s BMC (or `source`'s)."""
        if shutil.which(program) is None:
            pytest.skip(f"NOT TESTED: {program} is not installed")
        self.sequence += 1
        event = pet_event(row, deasserted=deasserted, sequence=sequence or self.sequence)
        pet = "1.3.6.1.4.1.3183.1.1"
        done = self.wires_run(
            *(program, *options.split(), f"--clientaddr={self.bmc(source or target.number)}"),
            f"udp:{self.address(1, target.number)}:162",
            *("", f"{pet}.0.{event.specific}", f"{pet}.1", "x", event.octets().hex()),
        )
        assert done.returncode == 0, done.stderr

    def assert_never_two(self) -> list[str]:
        """Reads the diary: no group began where another server had not ended."""
        lines = self.diary.read_text().splitlines()
        active: dict[str, str] = {}
        for line in lines:
            word, server, group = line.split()[:3]
            if word == "begin":
                assert active.get(group, server) == server, "two copies:\n" + "\n".join(lines)
                active[group] = server
            elif active.get(group) == server:
                del active[group]
        return lines


def _umount(folder: Path) -> None:
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        below = [line.split()[1] for line in mounts if line.split()[1].startswith(f"{folder}/")]
    for mount in reversed(below):
        subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
