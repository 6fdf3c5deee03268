"""What keeps a planned move from beginning: anything else that goes on, or is not well.

A planned move can wait: whenever something is under way or at fault, it does.
"""

from __future__ import annotations

from collections.abc import Iterator

from clptools.core import phrases as say
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.revision import Revision
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.grants import Grants
from clptools.core.groups.holders import Holders
from clptools.core.groups.placement import Placement
from clptools.core.groups.selection import Selection
from clptools.core.groups.start_order import StartOrder
from clptools.core.model.messages import Plan
from clptools.core.model.settings import Group
from clptools.core.model.states import GroupState, MonitorStatus
from clptools.core.monitors.foresight import Foresight
from clptools.core.step import Step


class Hindrances:
    """Looks for them; changes nothing.  Any server may ask, so that all show the same."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        policy: SharedPolicy,
        revision: Revision,
        selection: Selection,
        start_order: StartOrder,
        holders: Holders,
        grants: Grants,
        placement: Placement,
        foresight: Foresight,
    ) -> None:
        self.step = step
        self.peers = peers
        self.policy = policy
        self.revision = revision
        self.selection = selection
        self.start_order = start_order
        self.holders = holders
        self.grants = grants
        self.placement = placement
        self.foresight = foresight

    def first(self, plan: Plan) -> str:
        """What keeps it from moving now, but for the time; empty: nothing does."""
        return next(self._all(plan), "")

    def _all(self, plan: Plan) -> Iterator[str]:
        step = self.step
        group = step.settings.group(plan.group)
        if group is None:
            yield say.unknown_group
            return
        if self.policy.shared.suspended:
            yield say.is_suspended
        if self.policy.shared.closing:
            yield say.all_stop
        if self.revision.is_pushed():
            yield say.push_under_way
        yield from self._servers()
        if self.foresight.status(plan.server, plan.monitor) != MonitorStatus.STALL:
            yield say.no_stall(plan.monitor, plan.server)
        for other in step.settings.groups:
            if other is not group:
                yield from self._other(other)
        yield from self._own(group, plan)

    def _servers(self) -> Iterator[str]:
        """Every server must be Online, and without an open fatal event."""
        for server in self.step.settings.names:
            why = self.selection.not_eligible(server)
            if why:
                yield f"{server}: {why}"
            elif self.selection.is_barred(server):
                yield say.has_fatal_event(server)

    def _other(self, group: Group) -> Iterator[str]:
        """Another group must run, or be stopped by an operator, and not be moved."""
        intent = self.policy.intent_of(group.name)
        server, state = self.holders.where(group.name)
        moves = bool(intent.preferred) and intent.preferred != server
        if self.grants.is_under_way(group.name) or (server and intent.wanted and moves):
            yield say.is_moved(group.name)
        elif state == GroupState.STOP_FAILED or intent.failures:
            yield say.has_failed(group.name)
        elif state not in ("", GroupState.ONLINE):
            yield say.is_moved(group.name)
        elif not server and intent.wanted:
            yield say.runs_nowhere(group.name)

    def _own(self, group: Group, plan: Plan) -> Iterator[str]:
        """The group itself must run, on one server, and another must be able to take it."""
        held = self.holders.of(group.name)
        if [(h.server, h.state) for h in held] != [(plan.server, GroupState.ONLINE)]:
            yield say.not_online_on(group.name, plan.server)
        if not self.policy.intent_of(group.name).wanted:
            yield say.is_to_stop(group.name)
        if group.name in self.placement.unproven():
            yield say.nowhere_proven
        monitor = self.step.settings.monitor(plan.monitor)
        if not plan.to or not self.takes(group, plan.to):
            yield say.nowhere
        elif monitor is not None and self.foresight.stalls(plan.to, monitor):
            yield say.fails_too(plan.monitor, plan.to)
        elif awaited := self.start_order.awaited(group, plan.to):
            yield say.would_wait_for(awaited)

    def takes(self, group: Group, server: str) -> bool:
        """Whether a server would take the group as a first choice."""
        return self.selection.would_do(group, server) and self.selection.is_free(group, server)
