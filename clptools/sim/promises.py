"""The promises that the simulator checks, how it reports broken ones, how long groups were away.

The one source of their sentences: `clpsim` prints them, `docs/rules.md` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from clptools.core.model.actions import RunResource
from clptools.core.model.words import Operation

if TYPE_CHECKING:
    from clptools.sim.host import Host
    from clptools.sim.world import World

PROMISES = {
    "I1": "a failover group is never active on two servers",
    "AUTH": "no two coordinators have authority at one instant",
    "I2": "restarts and failovers of a recovery stay within their configured counts",
    "I3": "an incident leads to one final action at most, and to none on the last server that runs",
    "I4": "every change of a group or a monitor has a record that names it and says why",
    "I5": "nothing recovers, fences or starts by itself while the cluster is suspended",
    "I6": "the end of a hardware event closes exactly that event",
    "I7": "a trap that comes twice acts once",
    "I8": "once every fault is mended, the cluster settles in time and every group runs",
    "I9": "the journal, replayed, leads to the same decisions byte for byte",
    "I10": "a group that some server may run, by proof that can be had, runs there in time",
    "I11": "a healthy server that is heard does not stop its group without a reason",
    "I12": "no server is powered off by one that had heard it for more than a second",
    "I13": "no two servers power each other off, and servers do not until none is left",
    "I14": "a group starts and stops in its order, and never beside one it is kept apart from",
    "STORM": "the servers do not answer each other without end",
    "CRASH": "the agent's decisions raise no error of their own",
}


def named(invariant: str) -> str:
    """The number with its sentence, as people are shown it."""
    return f"{invariant} ({PROMISES[invariant]})" if invariant in PROMISES else invariant


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that was broken."""

    seed: int
    invariant: str
    time_s: float
    group: str = ""
    servers: tuple[str, ...] = ()
    text: str = ""

    def line(self) -> str:
        """One line for the story."""
        return f"{self.invariant}{self._where()}"

    def told(self) -> str:
        """One line for people, with what was promised."""
        return f"{named(self.invariant)}{self._where()}"

    def _where(self) -> str:
        group = f" {self.group}" if self.group else ""
        servers = f" on {', '.join(self.servers)}" if self.servers else ""
        return f"{group}{servers} at {self.time_s:.3f} s: {self.text}"


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
    """How long each group of one world was out of service, as its users see it.

    A gap begins when a group that ran is no longer whole on any server, unless an operator asked
    for that; it ends when every resource of it is up somewhere.
    """

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
                self._world.check.order.ends(group)
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
