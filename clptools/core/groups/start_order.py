"""Groups that start after other groups: for which ones a group waits, and for how long.

Only policy: it puts a start off, and gives none.  A group waits for what is not online, whatever
the reason; nothing stops it once it runs.  After `start_wait` people are told, and it waits on: it
starts as soon as it can, or at once where a person forces it.
"""

from __future__ import annotations

from clptools.core.cluster.authority import Authority
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.holders import Holders
from clptools.core.groups.selection import Selection
from clptools.core.model.group_state import OfficeState, OrderState, OrderWait
from clptools.core.model.messages import Intent
from clptools.core.model.settings import Group
from clptools.core.model.states import GroupState
from clptools.core.notices import groups as notices
from clptools.core.step import Change, Step


class StartOrder:
    """Which groups must be online before a group is started."""

    def __init__(
        self,
        step: Step,
        state: OrderState,
        office: OfficeState,
        peers: Peers,
        policy: SharedPolicy,
        authority: Authority,
        holders: Holders,
        selection: Selection,
    ) -> None:
        self.step = step
        self.state = state
        self.office = office
        self.peers = peers
        self.policy = policy
        self.authority = authority
        self.holders = holders
        self.selection = selection

    # ------------------------------------------------------------------ questions

    def awaited(self, group: Group, target: str) -> tuple[str, ...]:
        """Groups that are not online and must be before it starts on `target`."""
        if not group.start_after and not group.start_after_same_server:
            return ()
        found = [name for name in group.start_after if self._is_awaited(name)]
        found += [
            name
            for name in group.start_after_same_server
            if name not in found and self._is_awaited(name) and self._goes_to(name, target)
        ]
        return tuple(found)

    def held_up(self, group: Group, target: str) -> tuple[str, ...]:
        """Those of them that nothing starts now: if it were stopped, it might stay so for long."""
        awaited = self.awaited(group, target)
        return tuple(name for name in awaited if self._is_held_up(name)) if awaited else ()

    def is_over(self, group: str) -> tuple[str, ...]:
        """For what it has waited as long as configured; empty: it has not."""
        wait, configured = self.state.starts.get(group), self.step.settings.group(group)
        if wait is None or configured is None:
            return ()
        return wait.groups if self.step.now - wait.since >= configured.start_wait_ms else ()

    def _is_awaited(self, name: str) -> bool:
        """Whether a group is configured, and not online on a server that takes part."""
        if self.step.settings.group(name) is None:
            return False
        server, state = self.holders.where(name)
        return state != GroupState.ONLINE or not self.peers.is_online(server)

    def _goes_to(self, name: str, target: str) -> bool:
        """Whether a group that is not online is on this server, or starts there next."""
        server, _ = self.holders.where(name)
        if server and self.peers.is_online(server):
            return server == target
        grant = self.office.grants.get(name)
        if grant is not None:
            return grant.server == target
        group, intent = self.step.settings.group(name), self.policy.intent_of(name)
        if group is None or not intent.wanted:
            return False
        return self.selection.choose(group, intent)[0] == target

    def _is_held_up(self, name: str) -> bool:
        group, intent = self.step.settings.group(name), self.policy.intent_of(name)
        if group is None or not intent.wanted or self.selection.exhausted(group, intent):
            return True
        wait = self.state.starts.get(name)
        if wait is not None and any(self._is_held_up(other) for other in wait.groups):
            return True
        return name in self.office.waiting

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Notes what groups wait for; as coordinator, tells of it.

        Every server does, so that each can show it, and the next coordinator knows since when.
        """
        for group in self.step.settings.groups:
            if group.start_after or group.start_after_same_server:
                self._look(group)
        known = self.step.settings.group
        for gone in [name for name in self.state.starts if known(name) is None]:
            del self.state.starts[gone]

    def _look(self, group: Group) -> None:
        step, waits = self.step, self.state.starts
        intent, shared = self.policy.intent_of(group.name), self.policy.shared
        idle = intent.wanted and not intent.force and not self.holders.of(group.name)
        idle = idle and not shared.suspended and not shared.closing
        awaited = self.awaited(group, self._target(group, intent)) if idle else ()
        wait = waits.get(group.name)
        if not awaited:
            if wait is not None:
                del waits[group.name]
                step.changed(Change.REPORT)
            return
        if wait is None:
            if not self.authority.coordinator():
                return  # nothing would start it anyway
            wait = waits[group.name] = OrderWait(groups=awaited, since=step.now)
            step.changed(Change.REPORT)
        wait.groups = awaited
        waited_ms = step.now - wait.since
        if not self.authority.in_office():
            return
        if not wait.told and waited_ms > step.times.lease_ms // 2:
            wait.told = True
            step.notice(notices.WaitsToStart(group.name, awaited))
        if not wait.over and waited_ms >= group.start_wait_ms:
            wait.over = True
            step.notice(notices.StartWaitOver(group.name, awaited, group.start_wait_ms))

    def _target(self, group: Group, intent: Intent) -> str:
        """Where it would start now; asked only where it matters."""
        return self.selection.choose(group, intent)[0] if group.start_after_same_server else ""

    def begin_anew(self, group: str) -> None:
        """An operator starts it: what it waited before does not count."""
        self.state.starts.pop(group, None)
