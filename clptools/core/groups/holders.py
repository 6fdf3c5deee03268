"""Which servers hold a group, by what each said last."""

from __future__ import annotations

import msgspec

from clptools.core.cluster.holdings import holds
from clptools.core.cluster.peers import Peers
from clptools.core.model.group_state import Runs
from clptools.core.model.messages import Epoch
from clptools.core.step import Step


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What one server says of one group."""

    server: str
    seen: Epoch
    held: bool
    state: str
    why: str


class Holders:
    """What all servers say of groups."""

    def __init__(self, step: Step, group_runs: Runs, peers: Peers) -> None:
        self.step = step
        self.group_runs = group_runs
        self.peers = peers

    def reports(self, group: str) -> list[Held]:
        """What every server, out or not, last said of a group; ours first."""
        found: list[Held] = []
        run = self.group_runs.get(group)
        if run is not None:
            own = Held(
                server=self.step.me, seen=run.seen, held=run.held, state=run.state, why=run.why
            )
            found.append(own)
        for name, p in self.peers.items():
            found.extend(
                Held(server=name, seen=h.seen, held=h.held, state=h.state, why=h.why)
                for h in holds(p)
                if h.group == group
            )
        return found

    def of(self, group: str) -> list[Held]:
        """Servers that say, or last said, that they hold it and are not cleared by being out."""
        return [
            h
            for h in self.reports(group)
            if h.held and (h.server == self.step.me or not self.peers.is_out(h.server))
        ]

    def where(self, group: str) -> tuple[str, str]:
        """The server that holds a group and the state it is in there; or nothing."""
        held = self.of(group)
        if not held:
            return "", ""
        newest = max(held, key=lambda h: h.seen)
        return newest.server, newest.state
