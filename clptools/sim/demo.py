"""The demonstration: a throw-away cluster, a BMC's trap, a failover, the explanation.

Every step is a real part: agents as processes, heartbeats and the trap through UDP sockets, the
operator's commands as an operator runs them.  Only the BMCs are simulated, and what the servers
run is a pair of scripts that write down the time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec

from clptools.core.model.settings import Cluster
from clptools.core.model.timing import times
from clptools.faults import ClpError, ExitCode
from clptools.sim.loopback import LoopbackCluster, LoopbackServer, last_words

GROUP = "failover1"
ONLINE_WITHIN_S = 30.0
FAILOVER_WITHIN_S = 20.0

Tell = Callable[[str], None]


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took, from the moment the trap was sent; by the scripts' own time stamps."""

    stop_begun_ms: float
    start_begun_ms: float
    online_ms: float
    """Until a command saw the group online on the other server."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the demonstration showed, for programs."""

    bmc: str
    """What played the BMCs: `ipmi_sim` or `pyghmi`."""
    folder: str
    """Where it happened; empty: it was removed."""
    before: Any
    """`clpstat --json` before the trap."""
    trap: Any
    """`clptrap decode --json`."""
    explain: Any
    after: Any
    timings: Timings
    first_online_s: float
    """From the start of the agents until the group was online."""


class Demo:
    """One run.  `make_trap` gives the datagram that the BMC of server1 sends."""

    def __init__(
        self, cluster: LoopbackCluster, make_trap: Callable[[], bytes], tell: Tell
    ) -> None:
        self._cluster = cluster
        self._make_trap = make_trap
        self._tell = tell
        self._first, self._second = cluster.nodes[:2]

    def run(self, keep: bool) -> Told:
        """Plays it.  Raises ClpError when a step does not come true in time."""
        self._introduce()
        first_online_s = self._start()
        self._head("2", "Before")
        before = self._status()
        self._head("3", f"The BMC of {self._first.name} is about to send this trap")
        datagram = self._make_trap()
        trap = self._show(self._first, "clptrap", "decode", datagram.hex())
        self._head("4", f"It is sent from {self._first.bmc.address}; {GROUP} fails over")
        timings = self._fail_over(datagram)
        self._head("5", "Why it is where it is now")
        explain = self._show(self._second, "clpstat", "--explain", GROUP)
        self._head("6", "After")
        after = self._status()
        self._tell(
            f"\nThat was it: {GROUP} went from {self._first.name} to {self._second.name} "
            f"in {timings.online_ms:.0f} ms."
        )
        return Told(
            bmc=self._first.bmc.kind,
            folder=str(self._cluster.folder) if keep else "",
            before=before,
            trap=trap,
            explain=explain,
            after=after,
            timings=timings,
            first_online_s=round(first_online_s, 1),
        )

    def _introduce(self) -> None:
        self._tell("A cluster of two servers on this machine's loopback addresses, without root.")
        self._tell(f"  Files      {self._cluster.folder}")
        for node in self._cluster.nodes:
            host, port = self._cluster.trap_address(node)
            self._tell(
                f"  {node.name}    heartbeats {' and '.join(node.lans)}, port {self._cluster.port}"
            )
            self._tell(
                f"             BMC {node.bmc.address}:{node.bmc.port} ({node.bmc.kind}), "
                f"traps to {host}:{port}"
            )
        self._tell(f"  {GROUP}  one exec resource; mrw1 fails it over when a BMC says FATAL")

    def _start(self) -> float:
        self._head("1", "Two agents start")
        begun = time.monotonic()
        self._cluster.start()
        silence_s = times(Cluster()).silence_ms / 1000
        self._tell(
            f"An agent that starts votes only after {silence_s:.1f} s: a vote that it gave before\n"
            "a restart has run out by then, so no two servers can ever be elected at once."
        )
        for node in self._cluster.nodes:
            self._wait(node, f"group {GROUP} online on {self._first.name}", ONLINE_WITHIN_S)
        self._wait(self._first, "cluster normal", ONLINE_WITHIN_S)
        took_s = time.monotonic() - begun
        self._tell(f"{GROUP} is online on {self._first.name} after {took_s:.1f} s.")
        return took_s

    def _fail_over(self, datagram: bytes) -> Timings:
        there = f"group {GROUP} online on {self._second.name}"
        with self._cluster.watch(self._second, there, FAILOVER_WITHIN_S) as watch:
            sent_ns = self._cluster.send_trap(self._first, datagram)
            seen_ns = watch()
        self._wait(self._first, there, FAILOVER_WITHIN_S)
        stamps = self._stamps(sent_ns)
        try:
            timings = Timings(
                stop_begun_ms=stamps[self._first.name, "stop"],
                start_begun_ms=stamps[self._second.name, "start"],
                online_ms=round((seen_ns - sent_ns) / 1e6, 1),
            )
        except KeyError as missing:
            name, op = missing.args[0]
            raise ClpError(
                ExitCode.FAILED,
                f"the {op} script of {GROUP} was not run on {name}",
                last_words(self._cluster[name]),
            ) from None
        for took_ms, what in (
            (0.0, "trap sent"),
            (timings.stop_begun_ms, f"stop script runs on {self._first.name}"),
            (timings.start_begun_ms, f"start script runs on {self._second.name}"),
            (timings.online_ms, f"{GROUP} is seen online on {self._second.name} (clpwait)"),
        ):
            self._tell(f"{took_ms:8.1f} ms  {what}")
        return timings

    def _stamps(self, since_ns: int) -> dict[tuple[str, str], float]:
        """(server, `start` or `stop`) -> milliseconds from `since_ns` to its script's run."""
        found: dict[tuple[str, str], float] = {}
        for line in self._cluster.times.read_text().splitlines():
            at, server, op = line.split()
            if int(at) > since_ns:
                found[server, op] = round((int(at) - since_ns) / 1e6, 1)
        return found

    def _wait(self, node: LoopbackServer, condition: str, timeout_s: float) -> None:
        self._cluster.wait(node, condition, timeout_s)

    def _status(self) -> Any:
        return self._show(self._first, "clpstat", "-s")

    def _head(self, number: str, text: str) -> None:
        self._tell(f"\n{number}. {text}\n")

    def _show(self, node: LoopbackServer, *words: str) -> Any:
        """Runs a command for people to see, and again for programs."""
        shown = node.run(*words)
        self._tell(f"{node.name}$ {_shortened(words)}")
        self._tell(shown.stdout.strip("\n"))
        for_programs = node.run(*(word for word in words if word != "-s"), "--json")
        status = shown.returncode or for_programs.returncode
        if status:
            why = shown.stderr.strip() or for_programs.stdout.strip()
            raise ClpError(
                ExitCode.FAILED,
                f"{words[0]} on {node.name} ended with {status}: {why}",
                last_words(node),
            )
        return json.loads(for_programs.stdout)


def _shortened(words: tuple[str, ...]) -> str:
    """The command line, a long datagram cut so that it fits a line."""
    return " ".join(word if len(word) <= 48 else f"{word[:40]}...{word[-8:]}" for word in words)
