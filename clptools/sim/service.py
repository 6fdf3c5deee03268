"""How long each group was out of service, as its users see it.

A gap begins when a group that ran is no longer whole on any server and nobody had asked for
that; it ends when every resource of it is up somewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from clptools.core.model.actions import RunResource
from clptools.core.model.words import Operation

if TYPE_CHECKING:
    from clptools.sim.host import Host
    from clptools.sim.world import World


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """One interruption; `end_us` is None while it lasts."""

    group: str
    begin_us: int
    end_us: int | None
    server: str
    """Where the group ran before."""

    @property
    def seconds(self) -> float:
        """Its length; 0 while it lasts."""
        return (self.end_us - self.begin_us) / 1e6 if self.end_us is not None else 0.0


class Service:
    """Follows the groups of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._whole = {
            g.name: frozenset(r.name for r in g.resources) for g in world.settings.groups
        }
        self.where: dict[str, str] = {}
        """Group -> server on which it is whole."""
        self._open: dict[str, Gap] = {}
        self._asked: set[str] = set()
        self.gaps: list[Gap] = []

    def asked(self, group: str) -> None:
        """An operator wants it stopped (empty: all of them): that is no interruption."""
        self._asked.update([group] if group else self._whole)

    def is_asked(self, group: str) -> bool:
        """Whether an operator wants it stopped."""
        return group in self._asked

    def running(self, host: Host, action: RunResource) -> None:
        """A start or stop begins."""
        group = action.group
        if action.op == Operation.START:
            self._asked.discard(group)
        self.changed(host)

    def changed(self, host: Host) -> None:
        """Look at this server again."""
        for group, resources in self._whole.items():
            up = {r for (g, r), state in host.active.items() if g == group and state == "running"}
            if up >= resources and resources:
                if self.where.get(group) != host.name:
                    self.where[group] = host.name
                    self._ends(group)
            elif self.where.get(group) == host.name:
                del self.where[group]
                if group not in self._asked:
                    self._open[group] = Gap(
                        group=group, begin_us=self._world.t, end_us=None, server=host.name
                    )

    def _ends(self, group: str) -> None:
        gap = self._open.pop(group, None)
        if gap is not None and group not in self._asked:
            self.gaps.append(msgspec.structs.replace(gap, end_us=self._world.t))

    def away_s(self) -> float:
        """How long groups were out of service altogether, until now."""
        over = sum(gap.seconds for gap in self.gaps)
        return over + sum((self._world.t - gap.begin_us) / 1e6 for gap in self._open.values())
