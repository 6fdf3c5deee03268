"""What BMCs say of their servers, and when they are asked (`design.md`: *Out*, *Proof*).

All are asked in their turn, and one whose server misses two beats at once: "off" clears it long
before the time-out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core import sentences as say
from clptools.core.actions import ReadPower
from clptools.core.events import PowerRead
from clptools.core.quorum import NEVER

if TYPE_CHECKING:
    from clptools.core.node import Node

_READ_STUCK_MS = 60_000
_READ_OWN_MS = 10_000
_HURRY_MS = 700
"""How much earlier than its turn a BMC is asked again while its server misses beats."""


class Power:
    """The chassis power of all servers, as far as their BMCs say it."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def read(self, event: PowerRead) -> None:
        """A BMC answered.  "Off" counts only if nothing was heard since it was asked."""
        node = self.node
        p = node.state.peers.get(event.server)
        if p is None and event.server != node.me:
            return
        bmc = node.state.bmc if p is None else p.bmc
        bmc.asked_at = NEVER
        bmc.latency_ms = event.latency_ms
        bmc.error = event.error
        if event.beat:
            bmc.beat_read_at = node.now
        if event.beat and event.beat != bmc.beat:
            bmc.beat = event.beat
            bmc.beat_at = node.now
        if event.power != bmc.power:
            bmc.change_at = node.now
            node.changed = True
        bmc.power = event.power
        if event.power != "unknown":
            bmc.at = node.now
        if p is None:
            return
        if event.power == "off" and p.any_heard_at < event.asked_at:
            fresh = not node.membership.is_out(event.server)
            p.off_asked_at = max(p.off_asked_at, event.asked_at)
            if fresh:
                node.record("nm", 2, "WARN", (event.server,), say.reads_off(event.server))
        if event.power == "on" and event.powered_on_at is not None:
            mark = (event.asked_at, event.powered_on_at)
            p.marks = [p.marks[0], mark] if p.marks else [mark]
        # Of one that is heard, "on" again and again is nothing that decisions hang on.
        heard = node.now - p.heard_at <= node.times.missed_ms
        if not heard or event.power == "off" or node.membership.is_out(event.server):
            node.changed = True

    def ask_due(self) -> None:
        """Asks the BMC of every server that misses two beats, and of all in their turn."""
        node = self.node
        now = node.now
        for server in node.settings.servers:
            if server.bmc is None:
                continue
            p = node.state.peers.get(server.name)
            bmc = node.state.bmc if p is None else p.bmc
            if bmc.asked_at != NEVER and now - bmc.asked_at < _READ_STUCK_MS:
                continue
            missed = p is not None and now - p.heard_at > node.times.missed_ms
            if now >= bmc.next_at - (_HURRY_MS if missed else 0):
                self.ask(server.name)

    def ask(self, name: str) -> None:
        """Begins one read of a server's BMC."""
        p = self.node.state.peers.get(name)
        bmc = self.node.state.bmc if p is None else p.bmc
        bmc.asked_at = self.node.now
        bmc.next_at = self.node.now + (_READ_OWN_MS if p is None else self.interval_ms())
        self.node.emit(ReadPower(server=name))

    def interval_ms(self) -> int:
        """The interval of the `bmchb` interconnect, or 1 s."""
        links = self.node.settings.interconnects
        return next((i.interval_ms for i in links if i.type == "bmchb"), 1_000)
