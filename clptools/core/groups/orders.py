"""What a coordinator grants and orders this server: checked, then carried out."""

from __future__ import annotations

from clptools.core.cluster.authority import Authority
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.mirrors import Mirrors
from clptools.core.groups.runs import GroupRuns
from clptools.core.model.messages import Grant, Order
from clptools.core.model.monitor_state import Events, Windows, in_window
from clptools.core.model.state import Phase
from clptools.core.model.states import GroupState, group_why
from clptools.core.safety.lease import Lease
from clptools.core.step import Step


class Orders:
    """The holder's side of grants and of orders to stop."""

    def __init__(
        self,
        step: Step,
        authority: Authority,
        lease: Lease,
        groups: GroupRuns,
        lifecycle: Lifecycle,
        mirrors: Mirrors,
        events: Events,
        windows: Windows,
    ) -> None:
        self.step = step
        self.authority = authority
        self.lease = lease
        self.groups = groups
        self.lifecycle = lifecycle
        self.mirrors = mirrors
        self.events = events
        self.windows = windows

    def take(self, grant: Grant) -> None:
        """Takes a grant, or ignores it: one that is refused once would be refused again."""
        step = self.step
        group = step.settings.group(grant.group)
        if group is None or step.life.phase is not Phase.RUNNING:
            return
        run = self.groups.run(grant.group)
        if self.mirrors.behind(group, step.me)[0]:
            return
        if grant.incarnation != step.life.incarnation or step.life.newcomer or not step.life.noted:
            return
        if grant.epoch.term != self.authority.state.term or grant.epoch <= run.seen or run.held:
            return
        if not grant.sent_at <= step.now < grant.sent_at + step.times.holder_ms:
            return
        self.lease.answered(grant.sent_at)
        self.lifecycle.begin(grant.group, grant.epoch, grant.event, grant.previous, grant.off)

    def stop(self, order: Order) -> None:
        """Stops a group of ours, if it is still held by the epoch of the order."""
        run = self.groups.runs.get(order.group)
        if run is None or not run.held or run.seen != order.epoch:
            return
        if order.term < self.authority.state.term:
            return
        if run.state is GroupState.STOPPING and not run.migrations:
            return
        if order.planned and not self._is_due(order.planned):
            return
        self.lifecycle.stop(
            order.group,
            group_why(order.why),
            order.factor,
            migrate=bool(order.planned),
            reason=order.reason,
        )

    def _is_due(self, number: int) -> bool:
        """Whether the event behind a planned move is open, and its quiet window, too."""
        found = next((e for e in self.events.values() if e.id == number), None)
        return found is not None and in_window(self.windows, found.monitor, self.step.now)
