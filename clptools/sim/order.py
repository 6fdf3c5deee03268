"""The order of groups, as every start and stop keeps it (I14).

What servers know of each other is a moment old, and a push reaches one after the other.  So a
start is judged by what its server and its coordinator both have in force, and by what ran within
the time for which such knowledge may be acted on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core.model.actions import RunResource
from clptools.core.model.settings import Settings
from clptools.core.model.states import GroupState, GroupWhy
from clptools.core.model.timing import times
from clptools.core.model.words import Exclusive, Operation, StopKind

if TYPE_CHECKING:
    from clptools.sim.evidence import Evidence
    from clptools.sim.host import Host
    from clptools.sim.world import World

_ON_ITS_WAY_US = 15_000_000
"""How old what a server heard may be, where datagrams are late."""
_HEARD_US = 1_000_000
_AT_ONCE_US = 1_000_000
_SAME_STOP_US = 120_000_000
"""Within this, to stop all servers is no new stop."""
_NEVER = -(10**12)


class Order:
    """Follows one world."""

    def __init__(self, world: World, evidence: Evidence, where: dict[str, str]) -> None:
        """`where`: group -> server on which it is whole."""
        self._world = world
        self._evidence = evidence
        self._where = where
        self._whole_at: dict[str, int] = {}
        """Group -> when it was last whole somewhere, where it is not now."""
        self._begun: set[tuple[str, str, int]] = set()
        """(server, group, epoch) of which something was started."""
        self._forced: set[str] = set()
        """Groups that a person started or moved with force."""
        self._stopped: set[str] = set()
        """Groups that a person stopped."""
        self._closing_at = _NEVER
        """When all servers were told to stop."""

    def closes(self) -> None:
        """All servers are told to stop."""
        if self._world.t - self._closing_at > _SAME_STOP_US:
            self._closing_at = self._world.t

    def stopped(self, group: str) -> None:
        """A person stops a group; empty: all of them."""
        self._stopped.update([group] if group else [g.name for g in self._world.settings.groups])

    def forced(self, group: str) -> None:
        """A person starts or moves a group and waits for nothing; empty: all of them."""
        self._forced.update([group] if group else [g.name for g in self._world.settings.groups])

    def ends(self, group: str) -> None:
        """A group is no longer whole anywhere."""
        self._whole_at[group] = self._world.t

    def broken(self, host: Host, action: RunResource) -> str:
        """What is wrong with a start or stop that begins; empty: nothing is."""
        if action.op == Operation.STOP:
            return self._stop(host, action)
        grant = host.name, action.group, action.epoch
        if action.op != Operation.START or grant in self._begun:
            return ""
        self._begun.add(grant)
        both = self._in_force(host, action.group)
        return self._start(host, action.group, both) or self._beside(host, action.group, both)

    def _in_force(self, host: Host, group: str) -> list[Settings]:
        """What the server and the coordinator behind its grant have; nothing: that one is gone."""
        run = host.node.state.lifecycle.runs.get(group)
        candidate = run.seen.candidate if run is not None else ""
        ruler = next((h for h in self._world.hosts.values() if h.incarnation == candidate), None)
        return [host.settings, ruler.settings] if ruler is not None else []

    def _start(self, host: Host, group: str, both: list[Settings]) -> str:
        found = [g for settings in both if (g := settings.group(group)) is not None]
        if len(found) < 2 or group in self._forced:
            return ""
        rules = times(host.settings.cluster)
        known_us = 1000 * (rules.lost_ms + rules.holder_ms) + _ON_ITS_WAY_US
        for name in found[0].start_after:
            configured = all(settings.group(name) is not None for settings in both)
            if name not in found[1].start_after or not configured or name in self._where:
                continue
            whole_at = self._whole_at.get(name)
            if whole_at is None or self._world.t - whole_at > known_us:
                return f"started, and {name} was not online"
        return ""

    def _beside(self, host: Host, group: str, both: list[Settings]) -> str:
        strictly = [
            {g for g, how in settings.apart.get(group, {}).items() if how is Exclusive.ABSOLUTE}
            for settings in both
        ]
        kept_apart = set.intersection(*strictly) if strictly else set()
        found = next((g for g, _ in host.active if g in kept_apart), "")
        return f"started beside {found}" if found else ""

    def _stop(self, host: Host, action: RunResource) -> str:
        """While all servers stop: what a group waits for."""
        group = host.settings.group(action.group)
        if group is None or StopKind.CLUSTER not in group.stop_after_at or action.forced:
            return ""
        if self._where.get(action.group) != host.name or not self._closes(host, action):
            return ""
        if self._world.t - self._closing_at >= 990 * group.stop_wait_ms:
            return ""
        for name in group.stop_after:
            if self._runs(host, name):
                return f"stopped, and {name} still runs"
        return ""

    def _closes(self, host: Host, action: RunResource) -> bool:
        """Whether it stops because all servers do: by itself, or as the coordinator orders."""
        if action.factor == "CLUSTERSTOP":
            return True
        at_once = self._world.t < self._closing_at + _AT_ONCE_US
        run = host.node.state.lifecycle.runs.get(action.group)
        ordered = run is not None and run.next_why is GroupWhy.STOPPED
        return ordered and at_once and action.group not in self._stopped

    def _runs(self, host: Host, group: str) -> bool:
        """Whether a group runs on a server that this one hears, and is to stop there."""
        return any(
            (h is host or self._evidence.audible_us(host, h.name, self._world.t) > _HEARD_US)
            and any(g == group for g, _ in h.active)
            and _is_stoppable(h, group)
            for h in self._world.hosts.values()
        )


def _is_stoppable(host: Host, group: str) -> bool:
    """Whether a server holds a group, and has not failed to stop it."""
    run = host.node.state.lifecycle.runs.get(group) if host.node is not None else None
    return run is not None and run.held and run.state is not GroupState.STOP_FAILED
