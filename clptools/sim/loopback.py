"""A throw-away cluster on loopback: real agents, simulated BMCs, no privileges.

Every server has its own folder (`CLP_ROOT`), its own addresses in 127/8, and a simulated BMC
with power over it: the agent is the BMC's *machine*, so switching the chassis off is a power loss.
For demonstrations and measurements only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from clptools.faults import ClpError, ExitCode
from clptools.sim.demo_bmc import SimulatedBmc

TRAP_PORT_OFFSET = 1
BMC_PORT_OFFSET = 2
_TRIES = 50
_STARTS_WITHIN_S = 0.3
_LOOK_S = 0.5
_SCRIPT = """\
#!/bin/sh
echo "$(date +%s%N) {server} {op}" >>{times}
"""


class LoopbackServer:
    """One server of the cluster."""

    def __init__(self, name: str, root: Path, lans: tuple[str, ...], bmc: SimulatedBmc) -> None:
        self.name = name
        self.root = root
        self.agent_log = bmc_folder(root) / "machine.log"
        """What its agent wrote on standard output and error, all runs."""
        self.lans = lans
        """Its address on each interconnect, best first."""
        self.bmc = bmc

    @property
    def config(self) -> Path:
        """Its configuration folder."""
        return self.root / "etc/clptools"

    def agent_pid(self) -> int:
        """Process id of its agent, the BMC's machine."""
        return int((bmc_folder(self.root) / "machine.pid").read_text())

    def alive(self) -> bool:
        """Whether its agent runs."""
        try:
            status = Path(f"/proc/{self.agent_pid()}/stat").read_text()
        except OSError:
            return False
        return status.rpartition(")")[2].split()[0] not in "ZX"

    def environment(self) -> dict[str, str]:
        """What commands on this server see."""
        kept = {k: v for k, v in os.environ.items() if k != "CLP_NODE"}
        return kept | {"CLP_ROOT": str(self.root), "CLP_SERVER": self.name}

    def run(self, *words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A command of clptools on this server."""
        return subprocess.run(
            _line(*words),
            env=self.environment() | {"COLUMNS": "80", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


class LoopbackCluster:
    """Servers `server1`, `server2`, … with the group `failover1`; use it in a `with` block."""

    def __init__(
        self,
        servers: int = 2,
        lans: int = 2,
        cluster: str = "",
        recovery: str = "",
        userw: str = 'method = "none"',
        more: str = "",
        script: str = _SCRIPT,
    ) -> None:
        """`cluster`, `recovery`, `userw`: lines for these tables.  `more`: further tables.
        `script`: start and stop script; by default it writes when it ran into `times`.

        Raises ClpError where no addresses are free.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="clpdemo-"))
        self.times = self.folder / "times"
        """Default scripts: a line for each run, `NANOSECONDS SERVER start|stop`, wall clock."""
        try:
            prefix, port = _free_addresses(servers, lans)
            self.port = port
            self.nodes = tuple(
                self._server(number, prefix, lans) for number in range(1, servers + 1)
            )
            self.toml = self._toml(cluster, recovery, userw, more)
            self._write(script)
        except BaseException:
            self.remove()
            raise

    def __enter__(self) -> LoopbackCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.remove()

    def __getitem__(self, name: str) -> LoopbackServer:
        return next(node for node in self.nodes if node.name == name)

    def trap_address(self, server: LoopbackServer) -> tuple[str, int]:
        """Where its BMC sends traps: the keyword of `mrw1` there."""
        return server.lans[0], self.port + TRAP_PORT_OFFSET

    def start(self) -> None:
        """Starts BMCs and agents; returns when the BMCs answer.  Raises ClpError."""
        for node in self.nodes:
            node.bmc.start(on=True)

    def stop(self) -> None:
        """Ends every process of it, whether or not it was started altogether."""
        for node in self.nodes:
            # A machine that was never switched on has no chassis yet.
            with contextlib.suppress(FileNotFoundError, PermissionError):
                node.bmc.stop()

    def remove(self) -> None:
        """Removes its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def power_loss(self, server: LoopbackServer, bmc_too: bool = False) -> None:
        """Everything on it ends at once, and what is volatile is gone; with `bmc_too` its BMC
        answers nothing from then on."""
        if bmc_too:
            server.bmc.freeze()
        server.bmc.switch(on=False)
        shutil.rmtree(server.root / "run")
        (server.root / "run").mkdir()

    def power_on(self, server: LoopbackServer) -> None:
        """It starts again, and its BMC answers."""
        server.bmc.thaw()
        server.bmc.switch(on=True)

    def send_trap(self, server: LoopbackServer, datagram: bytes) -> int:
        """Sends a trap as the server's BMC does, from its address; returns when (wall ns)."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((server.bmc.address, 0))
            sent_ns = time.time_ns()
            sock.sendto(datagram, self.trap_address(server))
        return sent_ns

    def wait(self, server: LoopbackServer, condition: str, timeout_s: float) -> None:
        """Waits on that server until `clpwait`'s condition holds.  Raises ClpError."""
        with _clpwait(server, condition, timeout_s) as waiting:
            _follow(waiting, server, condition)

    @contextlib.contextmanager
    def watch(
        self, server: LoopbackServer, condition: str, timeout_s: float
    ) -> Iterator[Callable[[], int]]:
        """A `clpwait` that already watches; what is yielded waits for it and returns the wall
        clock (ns) at its end.  Raises ClpError as `wait` does."""
        with _clpwait(server, condition, timeout_s) as waiting:
            # No sign of it tells when it is connected; it starts within a tenth of a second.
            time.sleep(_STARTS_WITHIN_S)
            yield lambda: _follow(waiting, server, condition)

    def _server(self, number: int, prefix: str, lans: int) -> LoopbackServer:
        name = f"server{number}"
        root = self.folder / name
        for folder in ("etc/clptools/bmc", "run", "var/lib", "var/log"):
            (root / folder).mkdir(parents=True)
        agent = (
            *("env", "-u", "CLP_NODE", f"CLP_ROOT={root}", f"CLP_SERVER={name}"),
            *(sys.executable, "-P", "-m", "clptools.agent.main"),
        )
        bmc = SimulatedBmc(
            str(bmc_folder(root)),
            f"{prefix}.1.{10 + number}",
            self.port + BMC_PORT_OFFSET,
            password=secrets.token_hex(8),
            machine=agent,
        )
        addresses = tuple(f"{prefix}.{lan}.{number}" for lan in range(1, lans + 1))
        return LoopbackServer(name, root, addresses, bmc)

    def _toml(self, cluster: str, recovery: str, userw: str, more: str) -> str:
        names = ", ".join(f'"{node.name}"' for node in self.nodes)
        parts = [f'[cluster]\nname = "demo"\nport = {self.port}\n{cluster}']
        parts += [
            f'[[server]]\nname = "{node.name}"\n[server.bmc]\n'
            f'address = "{node.bmc.address}:{node.bmc.port}"\nuser = "{node.bmc.user}"'
            for node in self.nodes
        ]
        for lan in range(len(self.nodes[0].lans)):
            there = ", ".join(f'{node.name} = "{node.lans[lan]}"' for node in self.nodes)
            kind = "lankhb" if lan == 0 else "lanhb"
            parts.append(f'[[interconnect]]\ntype = "{kind}"\naddress = {{ {there} }}')
        parts.append(
            f'[[group]]\nname = "failover1"\ntype = "failover"\nservers = [{names}]\n\n'
            '[[group.resource]]\ntype = "exec"\nname = "exec1"\ntimeout = 60'
        )
        keywords = ", ".join(
            f'{node.name} = "{host}:{port}"'
            for node in self.nodes
            for host, port in (self.trap_address(node),)
        )
        parts.append(
            '[[monitor]]\ntype = "mrw"\nname = "mrw1"\ncategory = "BMCNOTICE"\n'
            f'keyword_on = {{ {keywords} }}\ncommunity = ["public"]\n\n'
            f'[monitor.recovery]\naction = "failover"\ntarget = "failover1"\n{recovery}\n\n'
            f'[[monitor]]\ntype = "userw"\nname = "userw"\n{userw}'
        )
        return "\n\n".join(filter(None, (*parts, more))) + "\n"

    def _write(self, text: str) -> None:
        key = secrets.token_bytes(32)
        for node in self.nodes:
            _put(node.config / "authkey", key, 0o400)
            _put(node.config / "clp.toml", self.toml.encode(), 0o640)
            for other in self.nodes:
                _put(node.config / "bmc" / other.name, other.bmc.password.encode(), 0o400)
            for op in ("start", "stop"):
                script = node.config / f"scripts/failover1/exec1/{op}.sh"
                script.parent.mkdir(parents=True, exist_ok=True)
                filled = text.format(server=node.name, op=op, times=self.times)
                _put(script, filled.encode(), 0o750)


def _line(*words: str) -> list[str]:
    """A command of clptools as this very source tree has it."""
    return [sys.executable, "-P", "-m", "clptools.cli.main", *words]


@contextlib.contextmanager
def _clpwait(
    server: LoopbackServer, condition: str, timeout_s: float
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        _line("clpwait", "--until", condition, "--timeout", f"{timeout_s:g}"),
        env=server.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        try:
            yield waiting
        finally:
            waiting.kill()


def _follow(waiting: subprocess.Popen[str], server: LoopbackServer, condition: str) -> int:
    """Until it ends, or the agent does; the wall clock (ns) then.  Raises ClpError."""
    while True:
        try:
            _, said = waiting.communicate(timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            if not server.alive():
                text = f"the agent of {server.name} ended while {condition!r} was waited for."
                raise ClpError(ExitCode.FAILED, text, last_words(server)) from None
            continue
        ended_ns = time.time_ns()
        if waiting.returncode != 0:
            late = waiting.returncode == ExitCode.TIMED_OUT
            why = said.strip().partition("\n")[0].removeprefix("clpwait: ")
            raise ClpError(
                ExitCode.TIMED_OUT if late else ExitCode.FAILED,
                why or f"{condition}: clpwait ended with {waiting.returncode}.",
                last_words(server),
            )
        return ended_ns


def bmc_folder(root: Path) -> Path:
    """Where the simulated BMC of the server with that folder writes."""
    return root.parent / f"bmc-of-{root.name}"


def last_words(server: LoopbackServer) -> str:
    """The last line that its agent wrote."""
    lines: list[str] = []
    with contextlib.suppress(FileNotFoundError):
        lines = server.agent_log.read_text(errors="replace").strip().splitlines()
    return f"The agent of {server.name} said last: {lines[-1]}" if lines else ""


def _put(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    path.chmod(mode)  # whatever the umask is


def _free_addresses(servers: int, lans: int) -> tuple[str, int]:
    """`127.A` and a port such that nobody uses what the cluster needs there.

    Ports are below the range from which the kernel gives ports to clients.  Raises ClpError.
    """
    for _ in range(_TRIES):
        prefix = f"127.{1 + secrets.randbelow(254)}"
        port = 21_000 + secrets.randbelow(10_000)
        on_lans = [
            f"{prefix}.{lan}.{n}" for lan in range(1, lans + 1) for n in range(1, servers + 1)
        ]
        bmcs = [f"{prefix}.1.{10 + n}" for n in range(1, servers + 1)]
        needed = [(address, port + n) for address in on_lans for n in range(2)]
        needed += [(address, port + BMC_PORT_OFFSET) for address in bmcs]
        if all(_free(address, number) for address, number in needed):
            return prefix, port
    raise ClpError(
        ExitCode.FAILED,
        "no free loopback addresses were found in 127.0.0.0/8",
        "Is the loopback interface up?  ip address show lo",
    )


def _free(address: str, port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            try:
                sock.bind((address, port))
            except OSError:
                return False
    return True
