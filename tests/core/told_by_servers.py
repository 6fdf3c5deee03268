"""Records as several servers tell them, each by its own clock, and as one gets to know them.

The servers are real cores in the simulator, so what truly happened, and when, is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from clptools.api.messages import EventRecord
from clptools.core.model.actions import Record
from clptools.core.model.view import StatusView
from clptools.core.node import Node
from clptools.sim.clusters import sample
from clptools.sim.verbs import perform
from clptools.sim.world import World

T = 1_700_000_000.0
"""True wall clock at the beginning of the world."""
ON_ITS_WAY_S = 0.03
"""From the record to its arrival at a peer: longer than a heartbeat takes."""
CAUGHT_UP = -1.0


class True_(msgspec.Struct, frozen=True):
    """A record, and when it was made in truth (seconds since 1970)."""

    at: float
    record: EventRecord


class Servers:
    """A sample cluster; `ahead` has what each server's clock is ahead of the truth (seconds)."""

    def __init__(self, name: str = "2bmc", ahead: dict[str, float] | None = None) -> None:
        self.ahead = ahead or {}
        self.told: list[True_] = []
        self.apart: list[tuple[float, float]] = []
        """From when to when no record travelled."""
        self._counts: dict[str, int] = {}
        self.world = World(sample(name), 1, Node, Node, steady=True)
        self.world.executor.do[Record] = self._keep

    @property
    def now(self) -> float:
        """The truth, seconds since 1970."""
        return T + self.world.t / 1_000_000

    def play(self, *lines: str) -> None:
        """Lines of a scenario."""
        for line in lines:
            perform(self.world, line)

    def view(self, server: str) -> StatusView:
        """What a server shows now."""
        host = self.world.hosts[server]
        assert host.node is not None
        found: StatusView = host.node.view(host.now(self.world.t))
        return found

    def _keep(self, host: Any, action: Record, _now: int) -> None:
        run = f"{host.name}:{host.incarnation}"
        self._counts[run] = self._counts.get(run, 0) + 1
        self.told.append(
            True_(
                self.now,
                EventRecord.of(
                    action,
                    cursor=f"{run}:{self._counts[run]}",
                    time=self.now + self.ahead.get(host.name, 0.0),
                    server=host.name,
                ),
            )
        )

    def known_to(self, me: str) -> list[EventRecord]:
        """All records in the order in which `me` got to know them."""
        arrivals = sorted(self._arrivals(me), key=lambda found: found[0])
        return [record for _, record in arrivals]

    def _arrivals(self, me: str) -> Iterator[tuple[float, EventRecord]]:
        for true in self.told:
            record = true.record
            if record.server == me:
                yield true.at, record
                continue
            came = true.at + ON_ITS_WAY_S
            until = next((end for begin, end in self.apart if begin <= came < end), 0.0)
            heard = CAUGHT_UP if until else came + self.ahead.get(me, 0.0)
            yield until or came, msgspec.structs.replace(record, heard=heard)
