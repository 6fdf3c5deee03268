"""Groups that stop after other groups: for which ones a stop waits, and for how long.

Only policy, and only of stops that stay: of the cluster, of a server, or of the group by command.
A move, a recovery and the end of a lease wait for nothing.  A stop goes on without what could not
be stopped, what runs on a server that is not heard, and what takes longer than `stop_wait`.
"""

from __future__ import annotations

from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.holders import Held, Holders
from clptools.core.model.group_state import OrderState, OrderWait
from clptools.core.model.settings import Group
from clptools.core.model.states import GroupState
from clptools.core.model.words import StopKind
from clptools.core.notices import groups as notices
from clptools.core.step import Change, Step


class StopOrder:
    """Which groups must have stopped before a group is stopped."""

    def __init__(
        self,
        step: Step,
        state: OrderState,
        peers: Peers,
        policy: SharedPolicy,
        holders: Holders,
    ) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self.policy = policy
        self.holders = holders

    def settle(self) -> None:
        """Forgets waits of groups that do not run any more, or are to run on."""
        for name in [n for n in self.state.stops if not self._is_to_stop(n)]:
            self.over(name)

    def _is_to_stop(self, name: str) -> bool:
        """Whether a group runs, and its stop is wanted and has not begun."""
        wanted = self.policy.intent_of(name).wanted and not self.policy.shared.closing
        if wanted and name not in self.state.leaving:
            return False
        return self.holders.where(name)[1] in (GroupState.STARTING, GroupState.ONLINE)

    def waits(self, group: Group | None, kind: StopKind, *, tells: bool) -> bool:
        """Whether the stop of a group waits for others; `tells`: it is recorded here."""
        step, waits = self.step, self.state.stops
        if group is None or kind not in group.stop_after_at:
            return False
        awaited = tuple(name for name in group.stop_after if self._is_awaited(name, kind))
        if not awaited:
            self.over(group.name)
            return False
        wait = waits.get(group.name)
        if wait is None:
            wait = waits[group.name] = OrderWait(groups=awaited, since=step.now)
            step.changed(Change.REPORT)
        wait.groups = awaited
        waited_ms = step.now - wait.since
        if waited_ms >= group.stop_wait_ms:
            if tells and not wait.over:
                step.notice(notices.StopWaitOver(group.name, awaited, group.stop_wait_ms))
            wait.over = True
            return False
        if tells and not wait.told and waited_ms > step.times.lease_ms // 2:
            wait.told = True
            command = "" if kind is StopKind.SERVER else f"clpgrp -t {group.name} -f"
            step.notice(notices.WaitsToStop(group.name, awaited, command))
        return True

    def is_waiting(self, group: str) -> bool:
        """Whether its stop waits for others now."""
        return group in self.state.stops

    def over(self, group: str) -> None:
        """A group waits for nothing any more."""
        if self.state.stops.pop(group, None) is not None:
            self.step.changed(Change.REPORT)

    def is_under_way(self, since: int) -> bool:
        """Whether some group still runs whose stop waits for others, as all servers stop.

        Until it has stopped no server leaves: the lease of its holder needs a coordinator.
        `since`: when this server began to leave; no wait is longer than `stop_wait`.
        """
        return any(
            group.stop_after
            and StopKind.CLUSTER in group.stop_after_at
            and self.step.now - since < group.stop_wait_ms
            and self._is_awaited(group.name, StopKind.CLUSTER)
            for group in self.step.settings.groups
        )

    def _is_awaited(self, name: str, kind: StopKind) -> bool:
        """Whether a group runs where its stop can be waited for."""
        held = self.holders.of(name)
        if kind is StopKind.SERVER:
            held = [h for h in held if h.server == self.step.me]
        return any(h.state != GroupState.STOP_FAILED and self._is_heard(h) for h in held)

    def _is_heard(self, held: Held) -> bool:
        p = self.peers.get(held.server)
        return p is None or self.step.now - p.heard_at <= self.step.times.lost_ms
