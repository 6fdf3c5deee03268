"""What groups wait for, and since when."""

from __future__ import annotations

from clptools.core import phrases as say
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.holders import Holders
from clptools.core.model.group_state import OfficeState, OrderState, Waiting
from clptools.core.model.state import Phase
from clptools.core.notices import groups as notices
from clptools.core.notices import safety as of_safety
from clptools.core.safety.fencing import StopFailed
from clptools.core.step import Change, Step


class Waits:
    """The waits of groups; as coordinator those that placement noted."""

    def __init__(
        self,
        step: Step,
        state: OfficeState,
        order: OrderState,
        peers: Peers,
        policy: SharedPolicy,
        authority: Authority,
        holders: Holders,
    ) -> None:
        self.step = step
        self.state = state
        self.order = order
        self.peers = peers
        self.policy = policy
        self.authority = authority
        self.holders = holders

    def note(self, group: str, text: str, servers: tuple[str, ...] = ()) -> None:
        """Notes what a group waits for; recorded once it lasts longer than a round trip."""
        step = self.step
        waiting = self.state.waiting
        wait = Waiting(text=text, servers=servers)
        was, began = waiting.get(group, (None, step.now))
        if was == wait:
            if group not in self.state.waiting_told and step.now - began > step.times.lease_ms // 2:
                self.mark_recorded(group)
                step.notice(notices.GroupWaits(group, text))
            return
        waiting[group] = (wait, began)
        step.changed(Change.REPORT)

    def mark_recorded(self, group: str) -> None:
        """Marks the wait as recorded, so that it is recorded only once."""
        if group not in self.state.waiting_told:
            self.state.waiting_told = [*self.state.waiting_told, group]

    def over(self, group: str) -> int:
        """The group is granted; returns how long it waited (ms)."""
        waited = self.state.waiting.pop(group, None)
        self.state.waiting_told = [g for g in self.state.waiting_told if g != group]
        return self.step.now - waited[1] if waited else 0

    def of(self, group: str) -> tuple[Waiting, int] | None:
        """What a group waits for, and since when."""
        stop, start = self.order.stops.get(group), self.order.starts.get(group)
        if stop is not None:
            return Waiting(text=say.waits_for_stop_of(stop.groups)), stop.since
        noted = self.state.waiting.get(group) or self._for_quorum(group)
        if noted is None and start is not None:
            return Waiting(text=say.waits_for_online(start.groups)), start.since
        return noted

    def forced_by(self, group: str) -> str:
        """A command that makes a group not wait for other groups; empty: it waits for none."""
        if group in self.order.stops:
            return "" if group in self.order.leaving else f"clpgrp -t {group} -f"
        waits = group in self.order.starts and group not in self.state.waiting
        return f"clpgrp -s {group} -f" if waits else ""

    def _for_quorum(self, group: str) -> tuple[Waiting, int] | None:
        """Without a coordinator: what a group waits for that no server heard runs."""
        step = self.step
        serving = step.life.phase is Phase.RUNNING
        if self.authority.quorate() or not serving or not self.policy.intent_of(group).wanted:
            return None
        if any(self.peers.is_online(h.server) for h in self.holders.of(group)):
            return None
        # Lost, or not heard since we started: a server that boots alone waits, too.
        dark = [
            n
            for n, p in self.peers.items()
            if not self.peers.is_out(n) and (p.lost or not p.believed)
        ]
        if not dark:
            return None
        since = max(max(self.peers[n].lost_since for n in dark), step.life.started_at)
        return Waiting(text=say.waits_for_quorum(dark), servers=tuple(dark)), since

    def stop_failed(self, failed: StopFailed) -> None:
        """Records that a forced stop ended without proof, and which groups go on waiting."""
        waits = {g.name: self.of(g.name) for g in self.step.settings.groups}
        groups = tuple(
            name for name, wait in waits.items() if wait and failed.server in wait[0].servers
        )
        self.step.notice(of_safety.ForcedStopFailed(failed.server, failed.why, groups))
