"""What is wanted of the groups: policy that all servers share, and that only an office changes.

Losing it costs comfort, never safety.  The highest version stands; a server that hears another one
with an older version sends it the newer one.
"""

from __future__ import annotations

import msgspec

from clptools.core.cluster.authority import Authority
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.timeout_ratio import TimeoutRatio
from clptools.core.model.actions import SendControl
from clptools.core.model.cluster_state import PeerState, PolicyState
from clptools.core.model.messages import Epoch, Intent, Shared
from clptools.core.model.timing import NEVER
from clptools.core.notices import cluster as notices
from clptools.core.step import Change, Step

_TELL_MS = 500
DAY_MS = 86_400_000


class SharedPolicy:
    """The shared policy as this server knows it."""

    def __init__(
        self,
        step: Step,
        state: PolicyState,
        peers: Peers,
        ratio: TimeoutRatio,
        authority: Authority,
    ) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self.ratio = ratio
        self.authority = authority
        self._table: tuple[tuple[Intent, ...], dict[str, Intent]] = (), {}
        """The intents and what `_intents` made of them: a tuple never changes."""

    @property
    def shared(self) -> Shared:
        """The policy in force."""
        return self.state.shared

    # ------------------------------------------------------------------ what is wanted of groups

    def intent_of(self, group: str) -> Intent:
        """What is wanted of a group; by default what its `startup` says."""
        intents = self._intents()
        if group in intents:
            return intents[group]
        configured = self.step.settings.group(group)
        return Intent(group=group, wanted=configured is None or configured.startup == "auto")

    def _intents(self) -> dict[str, Intent]:
        """Group -> the intent in force."""
        source, found = self._table
        if source is not self.shared.intents:
            source = self.shared.intents
            found = {intent.group: intent for intent in reversed(source)}
            self._table = source, found
        return found

    def amend(self, intent: Intent) -> None:
        """Replaces the intent for one group."""
        shared = self.shared
        others = tuple(i for i in shared.intents if i.group != intent.group)
        self.share(msgspec.structs.replace(shared, intents=(*others, intent)))

    # ------------------------------------------------------------------ shared and taken over

    def share(self, shared: Shared) -> None:
        """Puts new policy in force under a new version, and sends it to all servers at once."""
        term = self.authority.state.office_term
        known = self.shared.version
        version = Epoch(term.number, term.candidate, known.n + 1)
        if version <= known:
            # It was told late, from before a boot: terms have begun again since.
            version = Epoch(known.number + 1, term.candidate, known.n + 1)
        self.adopt(msgspec.structs.replace(shared, version=version))
        for name, p in self.peers.items():
            if self.peers.hears(name):
                p.told_policy_at = NEVER
                self.tell(name, p)

    def adopt(self, shared: Shared) -> None:
        """Takes a policy over, our own or a coordinator's."""
        step = self.step
        before, self.state.shared = self.shared, shared
        if shared.suspended != before.suspended:
            self.state.suspended_at = step.now
            self.state.suspended_since = step.now - shared.suspended_ms
            self.state.suspended_days = 0
            step.changed(Change.BEATS)
            changed = notices.ClusterSuspended if shared.suspended else notices.ClusterResumed
            step.notice(changed(step.settings.cluster.name, shared.suspended_by))
        self.ratio.adopted(before, shared)
        step.changed(Change.REPORT, Change.DECISIONS)

    def heard(self, sender: str, shared: Shared) -> None:
        """Another server sent a policy; the highest version stands."""
        if shared.version <= self.shared.version:
            return
        p = self.peers.get(sender)
        if p is not None and p.incarnation == shared.version.candidate and shared.closing:
            self.state.closing = True
        self.adopt(shared)

    def stretch(self, ratio: int, for_ms: int, user: str) -> None:
        """As coordinator: sets one time-out ratio for all servers, for `for_ms`."""
        shared = self.shared
        self.share(
            msgspec.structs.replace(
                shared,
                ratio=ratio,
                ratio_ms=for_ms if ratio > 1 else 0,
                ratio_by=user,
                ratio_number=shared.ratio_number + 1,
            )
        )

    def stop_begins(self) -> None:
        """All servers were told to stop the service, this incarnation among them."""
        self.state.closing = True

    def stop_is_over(self) -> None:
        """This incarnation is not part of a stop of all any more."""
        self.state.closing = False

    def behind(self) -> list[str]:
        """Servers that know a newer policy than we do: it may forbid what we would do.

        A policy is reported as in force once a majority knows it, so at least one of the servers
        that elected us names it.  A server that named one and is gone for good holds nothing up.
        """
        step = self.step
        version, lasts = self.shared.version, step.times.clear_by_lease_ms
        return [
            name
            for name, p in self.peers.items()
            if p.beat is not None
            and p.beat.policy > version
            and not self.peers.is_out(name)
            and step.now - p.heard_at <= lasts
        ]

    def tell(self, name: str, p: PeerState) -> None:
        """Sends the policy to a server that has an older one."""
        step = self.step
        if step.now - p.told_policy_at >= _TELL_MS:
            p.told_policy_at = step.now
            shared = self.shared
            if shared.suspended:
                lasts_ms = max(step.now - self.state.suspended_since, 0)
                shared = msgspec.structs.replace(shared, suspended_ms=lasts_ms)
            step.do(SendControl(to=name, message=shared))

    def remind(self) -> None:
        """In office: reminds people once a day that nothing moves by itself."""
        state = self.state
        if not self.shared.suspended:
            return
        days = (self.step.now - state.suspended_since) // DAY_MS
        if days > state.suspended_days:
            state.suspended_days = days
            if self.authority.in_office():
                user = self.shared.suspended_by
                self.step.notice(notices.ClusterStillSuspended(days * DAY_MS, user))
