"""Who gets a heartbeat at the end of this step, because what it said wants an answer now."""

from __future__ import annotations

from clptools.core.cluster.peers import Peers
from clptools.core.step import Step


class Answers:
    """Peers that are answered before the next interval."""

    def __init__(self, step: Step, peers: Peers) -> None:
        self.step = step
        self.peers = peers
        self.due: list[str] = []

    def at_once(self, name: str, *, first: bool = False) -> None:
        """Answers one peer now instead of at the next interval (not in a flood).

        `first`: the first answer to something that comes once a term or incarnation.  It is never
        held back: an election is three such answers within a few milliseconds.
        """
        p = self.peers[name]
        recent = self.step.now - p.urgent_at < self.step.times.interval_ms // 8
        if recent and not first:
            return
        p.urgent_at = self.step.now
        if name not in self.due:
            self.due.append(name)
