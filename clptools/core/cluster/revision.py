"""From one configuration to the next, while servers may run either (`docs/rules.md`, *Revisions*).

    offered --> [put in force here] --> all vote by it for L + d
       '--- the disk does not say `member` ------'
                '--- what decides holds by both --'

A push is prepared everywhere before it is put in force anywhere, and put in force on servers
that join only once all older ones have it (`joining`); but the message that puts it in force may
be lost.  So until all are known to vote by one configuration, a majority is one in both, no server
may do anything for longer than either revision allows, and a server that boots is not admitted by
time alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from clptools.core import replies
from clptools.core.cluster.peers import Peers
from clptools.core.model.actions import SetMember
from clptools.core.model.change import Refusal
from clptools.core.model.cluster_state import RevisionState
from clptools.core.model.events import SettingsOffered
from clptools.core.model.messages import Beat
from clptools.core.model.settings import Arbiter, Cluster, InForce, Settings
from clptools.core.model.state import Phase
from clptools.core.model.timing import NEVER, times, times_of_both, turns_step_ms
from clptools.core.step import Change, Step

_TURNS_KEPT = 8
OFFER_MS = 60_000
"""A configuration that was prepared but not put in force within this time never will be."""


def joining(names: Iterable[str], known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Which servers of a push get it last, once all others have it on their disks.

    `known`: for each server, the servers of the configuration it has (none: `()`).  Those that
    no other server's configuration names come into the cluster.  If one of them had it and an
    older server did not, the older one could boot, find that all it knows of are off, and rule
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

    def __init__(self, step: Step, state: RevisionState, peers: Peers) -> None:
        self.step = step
        self.state = state
        self.peers = peers

    def refuses(self, settings: Settings) -> Refusal | None:
        """Why the voters of `settings` cannot take effect now; None: they can."""
        step = self.step
        if step.life.phase is not Phase.RUNNING or step.me not in step.settings.names:
            return None
        for name in (step.me, *self.peers):
            if name not in settings.names and not self.has_gone(name):
                return replies.may_not_be_removed(name)
        if self.state.names and settings.voters != step.settings.voters:
            return replies.change_under_way(self.behind())
        return None

    def is_pushed(self) -> bool:
        """Whether a configuration is being pushed, or not all servers that count have ours yet."""
        step = self.step
        if self.state.names or self.state.doubt or step.now < self.state.offered_at + OFFER_MS:
            return True
        return any(
            p.beat is not None and p.beat.revision != step.settings.revision
            for name, p in self.peers.items()
            if not self.peers.is_out(name)
        )

    def unready(self, settings: Settings, name: str, vouched: bool) -> str:
        """Why `settings` may not be put in force without a server; empty: they may.

        One that has left or was confirmed down is admitted after its next boot only by servers
        that have them.  One that is merely off boots as a member of the configuration that it
        has: behind a cut it is admitted by time, and votes by that one.  So it must vote alike.
        Then nothing hangs on whether it is down, and a person's word (`vouched`) is enough.
        """
        step = self.step
        p = self.peers.get(name)
        if p is None or step.life.phase is not Phase.RUNNING:
            return replies.NOT_PROVEN_DOWN
        if self.has_gone(name):
            return ""
        if settings.voters != step.settings.voters:
            return replies.votes_by_the_one_before(name)
        return "" if vouched or self.peers.is_out(name) else replies.NOT_PROVEN_DOWN

    def has_reached(self, before: tuple[str, ...] | None, asker: str) -> bool:
        """Whether all servers of the revision before (None: all) have ours, apart from the asker.

        Only then may a server that joins take it over (`joining`).
        """
        names = self.step.settings.names if before is None else before
        return all(name == asker or name not in names for name in self.behind())

    def counts(self, beat: Beat) -> bool:
        """Whether its sender may take part: it votes as we do, and has no older revision."""
        ours = self.step.settings
        return beat.voters == ours.voters and beat.revision >= ours.revision

    def hears_newer(self) -> bool:
        """Whether a server is heard that has a newer revision, which ours may not count beside."""
        ours = self.step.settings.revision
        return any(
            p.beat is not None and p.beat.revision > ours and self.peers.hears(name)
            for name, p in self.peers.items()
        )

    def has_gone(self, name: str) -> bool:
        """Whether a server has left, or a person vouches that it is down.

        One that is merely off may boot with the previous configuration while we are off.
        """
        p = self.peers.get(name)
        return p is not None and bool(p.left or p.confirmed)

    def gone(self) -> set[str]:
        """The servers for which `has_gone` holds."""
        return {name for name in self.peers if self.has_gone(name)}

    def behind(self) -> list[str]:
        """Servers that have not shown that they vote by our configuration."""
        mine = self.step.settings.voters
        return [
            name
            for name, p in self.peers.items()
            if not self.has_gone(name) and (p.beat is None or p.beat.voters != mine)
        ]

    def in_force(self) -> tuple[InForce, ...]:
        """Our revision, and the previous one while some server may still vote by it."""
        now = self.step.settings.in_force
        before = self.state.cluster
        if not self.state.names or before is None:
            return (now,)
        names, arbiter = self.state.names, self.state.arbiter
        return (
            now,
            msgspec.structs.replace(now, names=names, arbiter=arbiter, cluster=before),
        )

    def leases_bind(self) -> bool:
        """Whether the holder's lease binds: by any revision in force."""
        if not self.state.names:
            return self.step.settings.leases_armed
        return any(r.leases_armed for r in self.in_force())

    def turns(self) -> tuple[InForce, ...]:
        """Our revision, and those by which a server that is not out may still take turns."""
        return (self.step.settings.in_force, *self.state.turns_before)

    def turns_step_ms(self) -> int:
        """The step by our revision, or a shorter one while a server may count by it."""
        return min(turns_step_ms(r.cluster) for r in self.turns())

    def _before_turns(self, before: InForce) -> None:
        """Servers that do not have the new configuration yet take turns by `before`."""
        now = self.step.settings.in_force
        if before == now or before in self.state.turns_before:
            return
        self.state.turns_before = [*self.state.turns_before, before][-_TURNS_KEPT:]

    def _end_turns(self) -> None:
        number = self.step.settings.revision
        if not self.state.turns_before:
            return
        if all(
            (p.beat is not None and p.beat.revision == number) or self.peers.is_out(name)
            for name, p in self.peers.items()
        ):
            self.state.turns_before = []

    def settle(self) -> bool:
        """Ends changes that are complete; returns whether the previous revision ended."""
        self._end_turns()
        ended = self._end_revision()
        step = self.step
        if step.life.phase is Phase.RUNNING and step.me in step.settings.names:
            self._end_doubt()
        return ended

    def follows(self, before: InForce, gone: set[str]) -> int:
        """Our configuration follows `before`; `gone`: servers that had given up their part.

        Returns by how many ms that shortens a holder's lease.
        """
        names = self.step.settings.names
        voters = tuple(n for n in before.names if n not in gone or n in names)
        shorter_ms = self.begin(voters, before.arbiter, before.cluster)
        self._before_turns(before)
        return shorter_ms

    def begin(self, names: tuple[str, ...], arbiter: Arbiter | None, cluster: Cluster) -> int:
        """While servers, arbiters or lengths change, what decides holds by both revisions.

        `names` are the voters of the revision before, without those that are out and removed;
        `cluster` has its lengths.  Returns by how many ms that shortens a holder's lease.
        """
        step = self.step
        settings = step.settings
        same = (names, arbiter) == (settings.names, settings.arbiter)
        if not names or (same and cluster.lengths == settings.cluster.lengths):
            return 0
        if self.state.offered == settings.voters:
            self.state.offered_at = NEVER
        if not self.state.names:
            self.state.names, self.state.arbiter = names, arbiter
            self.state.cluster = cluster
        self.state.at = step.now
        self.doubt()
        self.retime()
        return times(cluster).holder_ms - step.times.holder_ms

    def retime(self) -> None:
        """The lengths of our configuration, or of both while another may still be in force."""
        before, now = self.state.cluster, self.step.settings.cluster
        self.step.times = times(now) if before is None else times_of_both(before, now)

    def offered(self, event: SettingsOffered) -> None:
        """Another configuration is prepared here: from now on other servers may vote by it."""
        step, voters = self.step, event.settings.voters
        if voters == step.settings.voters:
            return
        another = step.now < self.state.offered_at + OFFER_MS and self.state.offered != voters
        self.state.offered = -1 if another else voters
        self.state.offered_at = step.now
        self.doubt()

    def doubt(self) -> None:
        """Until all are known to vote by one configuration the disk does not say `member`.

        A server that boots meanwhile may have the other configuration, so time alone does not
        admit it: every other server must count it, and none that votes by another one does.
        """
        step = self.step
        self.state.doubt = True
        self.state.doubt_at = step.now
        step.changed(Change.DECISIONS)
        if step.life.member:
            step.life.member = False
            step.do(SetMember(member=False))

    def _end_doubt(self) -> None:
        """Doubt ends when every server that has not left votes by our configuration, for `L + d`.

        A server that is merely off is waited for: it may have taken over a configuration that we
        do not have, and rule by it when we boot, or boot with the one that we had before.
        """
        step = self.step
        if not self.state.doubt or step.life.newcomer:
            return
        if self.behind() or step.now < self.state.offered_at + OFFER_MS:
            self.state.doubt_at = step.now
        elif step.now - self.state.doubt_at >= step.times.silence_ms:
            self.state.doubt = False
            step.life.member = True
            step.do(SetMember(member=True))

    def _end_revision(self) -> bool:
        """The previous revision ends when every server that is not out votes by ours, for `L + d`.

        A server that is out does not vote, and does again only when it has ours (`doubt`).
        """
        step = self.step
        if not self.state.names:
            return False
        if any(not self.peers.is_out(name) for name in self.behind()):
            self.state.at = step.now
        elif step.now - self.state.at >= step.times.silence_ms:
            self.state.names = ()
            self.state.arbiter = None
            self.state.cluster = None
            self.retime()
            step.changed(Change.DECISIONS)
            return True
        return False
