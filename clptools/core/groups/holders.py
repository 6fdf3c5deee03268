"""Which servers hold a group, by what each said last."""

from __future__ import annotations

import msgspec

from clptools.core.cluster.holdings import holds
from clptools.core.cluster.peers import Peers
from clptools.core.model.group_state import Runs
from clptools.core.model.messages import Epoch, Holding
from clptools.core.step import Step


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What one server says of one group."""

    server: str
    seen: Epoch
    held: bool
    state: str
    why: str


Said = tuple[Holding, ...]
"""What one server says of all groups: never changed, only replaced."""


class Holders:
    """What all servers say of groups.

    Every group is asked for several times in each settling.  So what the others say is kept by
    group, and made anew when any of them has said something else since (`Step.moment`).
    """

    def __init__(self, step: Step, group_runs: Runs, peers: Peers) -> None:
        self.step = step
        self.group_runs = group_runs
        self.peers = peers
        self._by_group: dict[str, list[Held]] = {}
        self._made_of: list[tuple[str, Said]] = []
        self._looked_at = -1

    def reports(self, group: str) -> list[Held]:
        """What every server, out or not, last said of a group; ours first."""
        found: list[Held] = []
        run = self.group_runs.get(group)
        if run is not None:
            own = Held(
                server=self.step.me, seen=run.seen, held=run.held, state=run.state, why=run.why
            )
            found.append(own)
        found += self._others().get(group, ())
        return found

    def _others(self) -> dict[str, list[Held]]:
        """Group -> what each other server says of it."""
        if self._looked_at != self.step.moment:
            self._looked_at = self.step.moment
            said = [(name, holds(p)) for name, p in self.peers.items()]
            if not _same(said, self._made_of):
                self._made_of, self._by_group = said, _by_group(said)
        return self._by_group

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


def _same(one: list[tuple[str, Said]], other: list[tuple[str, Said]]) -> bool:
    """Whether the same servers said the very same."""
    return len(one) == len(other) and all(
        name == before and (said is was or said == was)
        for (name, said), (before, was) in zip(one, other, strict=True)
    )


def _by_group(said: list[tuple[str, Said]]) -> dict[str, list[Held]]:
    found: dict[str, list[Held]] = {}
    for name, holdings in said:
        for h in holdings:
            held = Held(server=name, seen=h.seen, held=h.held, state=h.state, why=h.why)
            found.setdefault(h.group, []).append(held)
    return found
