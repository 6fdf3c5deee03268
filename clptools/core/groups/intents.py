"""What is wanted of the groups: policy that all servers share, and that only an office changes.

Losing it costs comfort, never safety.  The highest version stands; whoever hears a server that
knows an older one tells it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from clptools.core import sentences as say
from clptools.core.model.actions import SendControl
from clptools.core.model.messages import Epoch, Intent, Shared
from clptools.core.model.quorum import NEVER
from clptools.core.model.state import PeerState

if TYPE_CHECKING:
    from clptools.core.node import Node

_TELL_MS = 500


class Policy:
    """The shared policy as this server knows it."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def intent(self, group: str) -> Intent:
        """What is wanted of a group; by default what its `startup` says."""
        for intent in self.node.state.shared.intents:
            if intent.group == group:
                return intent
        configured = self.node.settings.group(group)
        return Intent(group=group, wanted=configured is None or configured.startup == "auto")

    def amend(self, intent: Intent) -> None:
        """Replaces the intent for one group."""
        shared = self.node.state.shared
        others = tuple(i for i in shared.intents if i.group != intent.group)
        self.share(msgspec.structs.replace(shared, intents=(*others, intent)))

    def share(self, shared: Shared) -> None:
        """New policy under a new version, told to everybody at once."""
        state = self.node.state
        term = state.votes.office_term
        known = state.shared.version
        version = Epoch(term.number, term.candidate, known.n + 1)
        if version <= known:
            # Told late, by an office before a boot: terms began again since.
            version = Epoch(known.number + 1, term.candidate, known.n + 1)
        self.adopt(msgspec.structs.replace(shared, version=version))
        for name, p in state.peers.items():
            if self.node.membership.hears(name):
                p.told_policy_at = NEVER
                self.tell(name, p)

    def adopt(self, shared: Shared) -> None:
        """Takes policy over, ours or a coordinator's."""
        node = self.node
        state = node.state
        before, state.shared = state.shared, shared
        node.dirty = True
        if shared.suspended != before.suspended:
            state.suspended_at = node.now
            node.urgent = True
            node.record(
                "pm",
                35 if shared.suspended else 34,
                "INFO",
                (node.settings.cluster.name, node.me),
                say.suspended(node.me, shared.suspended, shared.suspended_by),
            )
        node.stretching.adopted(before)
        node.report_due = True
        node.changed = True

    def heard(self, sender: str, shared: Shared) -> None:
        """Somebody told a policy; the highest version stands."""
        node = self.node
        if shared.version <= node.state.shared.version:
            return
        p = node.state.peers.get(sender)
        if p is not None and p.incarnation == shared.version.candidate and shared.closing:
            node.state.closing = True
        self.adopt(shared)

    def behind(self) -> list[str]:
        """Servers that know a newer policy than we do: what it says may forbid what we would do.

        Whoever was told that a policy is in force was told by a majority, so one of those that
        elected us names it.  One that named it and is gone for good holds nothing up.
        """
        node = self.node
        version, lasts = node.state.shared.version, node.times.clear_by_lease_ms
        return [
            name
            for name, p in node.state.peers.items()
            if p.beat is not None
            and p.beat.policy > version
            and not node.membership.is_out(name)
            and node.now - p.heard_at <= lasts
        ]

    def tell(self, name: str, p: PeerState) -> None:
        """Tells a server that knows less what is wanted of the groups."""
        node = self.node
        if node.now - p.told_policy_at >= _TELL_MS:
            p.told_policy_at = node.now
            node.emit(SendControl(to=name, message=node.state.shared))
