"""From one configuration to the next, while servers may run either (`docs/rules.md`, *Revisions*).

    offered --> [put in force here] --> all vote by it for L + d
       '--- the disk does not say `member` ------'
                '--- what decides holds by both --'

A push is prepared everywhere before it is put in force anywhere, and put in force on servers
that join only once all older ones have it (`joining`); but the word that puts it in force may
be lost.  So until all are known to vote by one configuration, a majority is one in
both, nobody may do anything for longer than either allows, and who boots is not admitted by time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from clptools.core import sentences as say
from clptools.core.actions import SetMember
from clptools.core.events import SettingsOffered
from clptools.core.quorum import NEVER
from clptools.core.settings import Arbiter, Cluster, InForce, Settings
from clptools.core.state import Phase
from clptools.core.timing import times, turns_step_ms

if TYPE_CHECKING:
    from clptools.core.node import Node

_TURNS_KEPT = 8
OFFER_MS = 60_000
"""A configuration that was prepared and not put in force within this never is."""


def joining(names: Iterable[str], known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Which of the servers of a push are told last, once all others have it on their disks.

    `known`: for each server, the servers of the configuration it has (none: `()`).  Those that
    no other server's configuration names come into the cluster.  Were one of them told and an
    older server not, the older one could boot, find that all it knows of are off, and rule
    beside it.  A server that is alone with its configuration is the cluster they come to.
    """
    configured = [name for name, servers in known.items() if servers]
    if len(configured) == 1:
        older = {*configured, *known[configured[0]]}
    else:
        older = {n for at, servers in known.items() for n in servers if n != at}
    return tuple(name for name in names if name not in older)


class Revision:
    """The change of servers, arbiters or lengths that is under way, if one is."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def refuses(self, settings: Settings) -> str:
        """Why who votes cannot become what `settings` say; empty: it can."""
        node = self.node
        if node.state.phase is not Phase.RUNNING or node.me not in node.settings.names:
            return ""
        for name in (node.me, *node.state.peers):
            if name not in settings.names and not self.has_gone(name):
                return say.may_not_be_removed(name)
        if node.state.revision_names and settings.voters != node.settings.voters:
            return say.change_under_way(self.behind())
        return ""

    def has_gone(self, name: str) -> bool:
        """Whether it gave up its part, or a person vouches for it.

        One that is merely off may boot with the configuration of before, while we are off.
        """
        p = self.node.state.peers.get(name)
        return p is not None and bool(p.left or p.confirmed)

    def behind(self) -> list[str]:
        """Servers that have not shown that they vote by our configuration."""
        mine = self.node.state.voters
        return [
            name
            for name, p in self.node.state.peers.items()
            if not self.has_gone(name) and (p.beat is None or p.beat.voters != mine)
        ]

    def in_force(self) -> tuple[InForce, ...]:
        """Ours, and the one before while some may still vote by it."""
        state, now = self.node.state, self.node.settings.in_force
        before = state.revision_cluster
        if not state.revision_names or before is None:
            return (now,)
        names, arbiter = state.revision_names, state.revision_arbiter
        return (
            now,
            msgspec.structs.replace(now, names=names, arbiter=arbiter, cluster=before),
        )

    def leases_bind(self) -> bool:
        """Whether the holder's lease binds: by any revision in force."""
        return any(r.leases_armed for r in self.in_force())

    def turns(self) -> tuple[InForce, ...]:
        """Ours, and those by which somebody who is not out may still take turns."""
        return (self.node.settings.in_force, *self.node.state.turns_before)

    def turns_step_ms(self) -> int:
        """The shorter step while some count by a revision before: its turns are as short."""
        return min(turns_step_ms(r.cluster) for r in self.turns())

    def before_turns(self, before: InForce) -> None:
        """Another configuration took effect: whoever has not got it takes turns by `before`."""
        state, now = self.node.state, self.node.settings.in_force
        if before == now or before in state.turns_before:
            return
        state.turns_before = [*state.turns_before, before][-_TURNS_KEPT:]
        self.node.dirty = True

    def _end_turns(self) -> None:
        node, number = self.node, self.node.settings.revision
        if not node.state.turns_before:
            return
        if all(
            (p.beat is not None and p.beat.revision == number) or node.membership.is_out(name)
            for name, p in node.state.peers.items()
        ):
            node.state.turns_before = []
            node.dirty = True

    def settle(self) -> None:
        """Ends what is through."""
        self._end_turns()
        self._end_revision()
        node = self.node
        if node.state.phase is Phase.RUNNING and node.me in node.settings.names:
            self._end_doubt()

    def begin(self, names: tuple[str, ...], arbiter: Arbiter | None, cluster: Cluster) -> None:
        """While servers, arbiters or lengths change, what decides holds by both revisions.

        `names` are the voters of the revision before, without those that are out and removed;
        `cluster` has its lengths.
        """
        node = self.node
        state = node.state
        settings = node.settings
        same = (names, arbiter) == (settings.names, settings.arbiter)
        if not names or (same and cluster.lengths == settings.cluster.lengths):
            return
        if state.offered == settings.voters:
            state.offered_at = NEVER
        if not state.revision_names:
            state.revision_names, state.revision_arbiter = names, arbiter
            state.revision_cluster = cluster
        state.revision_at = node.now
        self.doubt()
        node.retime()
        node.lease.shorten(times(cluster).holder_ms - node.times.holder_ms)
        node.dirty = True

    def offered(self, event: SettingsOffered) -> None:
        """Another configuration is prepared: from here on others may vote by it."""
        node, voters = self.node, event.settings.voters
        state = node.state
        if voters == node.settings.voters:
            return
        another = node.now < state.offered_at + OFFER_MS and state.offered != voters
        state.offered = -1 if another else voters
        state.offered_at = node.now
        self.doubt()

    def doubt(self) -> None:
        """Until all are known to vote by one configuration the disk does not say `member`.

        Who boots meanwhile may have the other one, so time alone admits it no more: it needs
        the word of every server, and those that vote by another do not give it.
        """
        node = self.node
        state = node.state
        state.doubt = True
        state.doubt_at = node.now
        node.dirty = True
        node.changed = True
        if state.member:
            state.member = False
            node.emit(SetMember(member=False))

    def _end_doubt(self) -> None:
        """It ends when every server that has not left votes by ours, for `L + d`.

        One that is merely off is waited for: it may have taken over what we have not, and rule
        by it when we boot, or boot with what we had before.
        """
        node = self.node
        state = node.state
        if not state.doubt or state.newcomer:
            return
        if self.behind() or node.now < state.offered_at + OFFER_MS:
            state.doubt_at = node.now
        elif node.now - state.doubt_at >= node.times.silence_ms:
            state.doubt = False
            state.member = True
            node.emit(SetMember(member=True))
            node.dirty = True

    def _end_revision(self) -> None:
        """The revision before ends when every server that is not out votes by ours, for `L + d`.

        Who is out does not vote, and does so again only when it has ours (`doubt`).
        """
        node = self.node
        state = node.state
        if not state.revision_names:
            return
        if any(not node.membership.is_out(name) for name in self.behind()):
            state.revision_at = node.now
        elif node.now - state.revision_at >= node.times.silence_ms:
            state.revision_names = ()
            state.revision_arbiter = None
            state.revision_cluster = None
            node.retime()
            node.lease.arm()
            node.dirty = True
            node.changed = True
