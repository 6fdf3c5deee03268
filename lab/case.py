"""What a case has in its hands: the servers, the faults, and what must come true.

A case is a module in `lab/cases/`: its docstring is its title, `run(lab)` does it, and an
optional `CONFIG` is the configuration it needs.  Every step lands in the time line.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from lab import network
from lab.cluster import GROUP, Cluster
from lab.collector import Collector, Word
from lab.delivery import renumbered, shelf
from lab.guestagent import GuestGone
from lab.machine import BOOTS_WITHIN_S, Machine
from lab.places import say

T = TypeVar("T")
POLL_S = 0.1


class Wrong(AssertionError):
    """What the case promised did not come true."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the time line."""

    at: float
    who: str
    """`lab`, `client`, or the server whose alert log says it."""
    text: str


class Lab:
    """One case at its work."""

    def __init__(self, cluster: Cluster, collector: Collector, package: Path) -> None:
        self.cluster = cluster
        self.package = package
        """The package that is installed on all servers."""
        self.collector = collector
        self.begun = time.monotonic()
        self.fault_at: float | None = None
        self.steps: list[Step] = []
        self.proof = ""
        self.gap_s: float | None = None
        """The gap, where a case measures it itself; None: the longest silence in it."""
        self.figures: dict[str, str] = {}
        """Measured beside the gap: name and value with its unit."""

    # ---- who is who ----

    @property
    def servers(self) -> list[Machine]:
        """All servers of the cluster."""
        return self.cluster.servers

    def holder(self) -> Machine:
        """The server that the client hears."""
        return self.cluster[self.until("the client hears the group", self.collector.speaker, 30)]

    def other(self, than: Machine) -> Machine:
        """The next server."""
        return next(each for each in self.servers if each is not than)

    # ---- what happens ----

    def note(self, text: str) -> None:
        """A line in the time line."""
        self.steps.append(Step(at=time.monotonic(), who="lab", text=text))
        say(f"  {time.monotonic() - (self.fault_at or self.begun):7.1f} s  {text}")

    def fault(self, text: str, action: Callable[[], object]) -> None:
        """Breaks something; times count from the first of them."""
        if self.fault_at is None:
            self.fault_at = time.monotonic()
        self.note(text)
        action()

    def cut(self, server: Machine, *networks: str) -> None:
        """Pulls cables of a server."""
        for name in networks:
            network.link(server.number, name, False)

    def install(self, server: Machine, newer: bool) -> None:
        """The package anew as the administrator does, as a newer version or as it was."""
        made = renumbered(self.package, "9") if newer else self.package
        fetch = "import sys, urllib.request as r; r.urlretrieve(sys.argv[1], sys.argv[2])"
        with shelf(made.parent) as url:
            server.sh(f"python3 -c '{fetch}' {url}/{made.name} /root/clptools.deb", within_s=120)
        self.note(f"{server.name}: dpkg -i {made.name}")
        server.sh("dpkg -i /root/clptools.deb", within_s=400)

    def acknowledge(self, server: Machine) -> None:
        """The operator closes its open hardware events: the part was replaced."""
        line = "clpmonctrl --acknowledge -m mrw1"
        self.until(line, lambda: server.alive() and server.try_sh(line)[0] == 0, 120)
        self.note(f"{server.name}: {line}")

    # ---- what must come true ----

    def until(self, what: str, condition: Callable[[], T], within_s: float = 60.0) -> T:
        """Waits for it.  Raises Wrong."""
        deadline = time.monotonic() + within_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise Wrong(f"not within {within_s:g} s: {what} (last: {value!r})")
            time.sleep(POLL_S)
        return value

    def expect(self, what: str, condition: Callable[[], T], within_s: float = 60.0) -> T:
        """Waits for it, and it gets its line with the time.  Raises Wrong."""
        value = self.until(what, condition, within_s)
        self.note(what)
        return value

    def serves(self, server: Machine, within_s: float = 60.0) -> None:
        """The client hears the group from this server since the fault.  Raises Wrong."""

        def heard() -> bool:
            since = self.fault_at or self.begun
            new = [w for w in self.words() if w.at > since and w.server == server.name]
            return bool(new)

        self.expect(f"{GROUP} is heard from {server.name}", heard, within_s)

    def serves_elsewhere(self, than: Machine, within_s: float = 60.0) -> Machine:
        """The client hears the group from another server since the fault: from this one.

        Raises Wrong.
        """

        def heard() -> str:
            new = self.words_since(self.fault_at or self.begun)
            return next((word.server for word in new if word.server != than.name), "")

        server = self.cluster[self.until(f"{GROUP} is not on {than.name}", heard, within_s)]
        self.note(f"{GROUP} is heard from {server.name}")
        return server

    def stays(self, server: Machine, for_s: float) -> None:
        """The group goes on there all that time, and nowhere else.  Raises Wrong."""
        deadline = time.monotonic() + for_s
        while time.monotonic() < deadline:
            time.sleep(0.5)
            speaker = self.collector.speaker(5.0)
            if speaker != server.name:
                raise Wrong(f"{GROUP} is heard from {speaker or 'nobody'}, not {server.name}")
        self.note(f"{GROUP} stayed on {server.name} for {for_s:g} s")

    def waits(self, on: Machine, for_s: float) -> None:
        """Nobody runs the group, and that server says what it waits for.  Raises Wrong."""
        waiting = self.until(
            "it waits for proof", lambda: self.cluster.group(on).get("waiting_for"), 60
        )
        self.note(f"{GROUP} waits: {_text(waiting)}")
        asked = time.monotonic()
        time.sleep(for_s)
        if self.words_since(asked):
            raise Wrong(f"{GROUP} was to wait and runs")

    def proven(self, on: Machine, *proofs: str, of: Machine | None = None) -> None:
        """The group's last start was cleared by one of these; `of` which server, where there are
        several others.  Raises Wrong.
        """
        name = of.name if of is not None else r"\S+"
        said = " ".join(on.sh(f"clpstat --explain {GROUP}", within_s=30).split())
        found = re.findall(rf"{name} is proven not to run {GROUP}: ([^.]*)\.", said)
        # A coordinator that itself gave the group up needs no proof of others.
        own = "released" if "released epoch" in said else "not told"
        self.proof = found[-1] if found else own
        if proofs and self.proof not in proofs:
            raise Wrong(
                f"the proof was to be {' or '.join(proofs)}, clpstat --explain says: {said}"
            )

    def rebooted(self, server: Machine, before: str, within_s: float = BOOTS_WITHIN_S) -> None:
        """It has started anew and is up.  Raises Wrong."""

        def anew() -> bool:
            try:
                return server.on and self.cluster.since_boot(server) != before
            except GuestGone:
                return False

        self.expect(f"{server.name} has booted again", anew, within_s)

    def boot_of(self, server: Machine) -> str:
        """For `rebooted`."""
        return self.cluster.since_boot(server)

    # ---- what was heard ----

    def words(self) -> list[Word]:
        """All words of the workload in this case."""
        return self.collector.words(self.begun)

    def words_since(self, at: float) -> list[Word]:
        """The words since then."""
        return self.collector.words(at)

    def take_alerts(self) -> None:
        """The servers' own records of this time become part of the time line."""
        for server in self.servers:
            try:
                asked = time.monotonic()
                clock = float(server.sh("date +%s.%N", within_s=20))
                offset = (asked + time.monotonic()) / 2 - clock
                said = server.sh("clpstat --events --json 2>/dev/null || true", within_s=30)
            except (GuestGone, ValueError):
                continue
            for line in said.splitlines():
                step = _record(line, server.name, offset)
                if step is not None and step.at >= self.begun and step not in self.steps:
                    self.steps.append(step)


def _record(line: str, asked: str, offset: float) -> Step | None:
    """A record of that server itself, from `clpstat --events`."""
    try:
        record = json.loads(line)
        if record["server"] != asked:
            return None
        return Step(at=float(record["time"]) + offset, who=asked, text=record["text"])
    except (ValueError, KeyError, TypeError):
        return None


def _text(waiting: object) -> str:
    return str(waiting.get("text", waiting)) if isinstance(waiting, dict) else str(waiting)
