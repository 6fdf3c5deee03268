"""Which servers are heard, out, newcomers (`docs/rules.md`, *Words and durations*, *Out*, *State*).

An incarnation is believed only when one of its beats answers a beat of ours that was sent after
we last heard the previous one: then it lives now, and is no replay.  Only a believed incarnation,
or one that answers us in this way, counts as heard.  So an off read, "left" and `confirm-down`
follow one rule: each counts only if nothing was heard of that server since the instant that it
answers.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from clptools.core import phrases as say
from clptools.core.cluster.holdings import Holdings
from clptools.core.cluster.peers import Answers, Peers
from clptools.core.cluster.power import Power
from clptools.core.cluster.revision import Revision
from clptools.core.model.actions import SendBeat, SetMember
from clptools.core.model.cluster_state import PeersState, PeerState
from clptools.core.model.events import BeatSeen, HeartbeatRefused
from clptools.core.model.messages import Beat, Echo, Report
from clptools.core.model.state import Phase
from clptools.core.model.timing import NEVER, drift_ms
from clptools.core.model.transitions import CONTACT, ContactChange
from clptools.core.notices import cluster as notices
from clptools.core.step import Change, Step

_RETIRED_KEPT = 16
_DUPLICATE_ALERT_MS = 60_000
_REPLAY_MS = 60_000
"""A beat that is this much older than what was heard since was not late: it was replayed."""
DELAY_WARNING_PERCENT = 80
"""Of the heartbeat time-out: the reference's default delay warning rate."""


class Membership:
    """What heartbeats make of the other servers."""

    def __init__(
        self,
        step: Step,
        state: PeersState,
        peers: Peers,
        answers: Answers,
        holdings: Holdings,
        power: Power,
        revision: Revision,
    ) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self.answers = answers
        self.holdings = holdings
        self.power = power
        self.revision = revision
        self.lost_at = NEVER
        """When the next server that misses beats will be lost; computed in each settling."""

    # ------------------------------------------------------------------ what happens

    def hear(self, event: BeatSeen, in_office: Callable[[], bool]) -> PeerState | None:
        """Believes, relays or drops a heartbeat; returns the server that is heard by it.

        `in_office`: whether we are coordinator with authority; rarely asked.
        """
        step, beat = self.step, event.beat
        if beat.sender == step.me:
            if beat.incarnation != step.life.incarnation:
                self._duplicate()
            return None
        p = self.peers.get(beat.sender)
        if p is None:
            return None
        if beat.to != step.me:
            self._relay(beat)
            return None
        if beat.page:
            self.holdings.page(beat.sender, p, beat)
            return None
        beat = self._ours(beat)
        if beat.incarnation in p.retired:
            self._replayed(p, beat)
            return None
        p.newest_revision = max(p.newest_revision, beat.revision)
        if beat.left:
            self._left(p, beat)
            return None
        if beat.incarnation != p.incarnation and not self._believe(p, beat):
            self._stranger(p, beat)
            return None
        if beat.seq <= p.seq:
            self._overtaken(p, beat, event.link)
            self._replayed(p, beat)
            return None
        self._take(p, beat, event.link, in_office)
        return p

    def refused(self, event: HeartbeatRefused) -> None:
        """Datagrams of a server are refused; recorded once while nothing else is heard of it."""
        step = self.step
        p = self.peers.get(event.server)
        if p is None:
            return
        p.refused_at = step.now
        p.refused_from = event.address
        p.refused_for = event.why
        if p.refused_told or not self.peers.is_refused(event.server):
            return
        p.refused_told = True
        why = say.refused_for(event.why, event.server, step.me)
        mends = say.mends_refused(event.why, event.server, step.me)
        step.notice(notices.HeartbeatsRefused(event.server, event.address, why, mends))

    def reported(self, sender: str, report: Report) -> None:
        """A server's report of itself arrived; the newest one stands."""
        p = self.peers.get(sender)
        if p is None or report.sender != sender or report.incarnation != p.incarnation:
            return
        if p.report is None or report.number > p.report.number:
            p.report = report
            p.reported_at = self.step.now
            if report.server.macs not in ((), p.macs):
                p.macs = report.server.macs
            self.step.changed(Change.REQUESTS)

    def _take(self, p: PeerState, beat: Beat, link: str, in_office: Callable[[], bool]) -> None:
        """Its sender is heard: what the beat says of it, and what follows from hearing it."""
        step, before = self.step, p.beat
        self._compare_clocks(p, beat)
        p.any_heard_at = step.now
        p.voters = beat.voters
        p.reads_lists = beat.lists
        p.seq = beat.seq
        p.beat = beat
        self.holdings.heard(beat.sender, p, beat)
        p.echo = Echo(incarnation=beat.incarnation, sent_at=beat.sent_at)
        if step.now - p.heard_at > step.times.lost_ms // 2:
            p.again_at = step.now
        p.heard_at = step.now
        if link != "relay":
            p.direct_at = step.now
            p.link_at[link] = step.now
        self._hearing_ends_out(p, beat, in_office)
        if beat.echo is not None:
            p.echoed_at = max(p.echoed_at, beat.echo.sent_at)
            self.power.answered(beat.sender, p, beat.echo)
            if beat.counts and not p.counts_me:
                p.counts_me = True
                step.changed(Change.DECISIONS)
            self._count_turns(p, beat)
        if p.lost or before is None or _differs(before, beat):
            step.changed(Change.DECISIONS)
        if beat.authority and (before is None or not before.authority):
            self.answers.at_once(beat.sender, first=True)

    def _compare_clocks(self, p: PeerState, beat: Beat) -> None:
        """Keeps the least `now - sent_at`, with drift: that of a beat that was not delayed."""
        took_ms = self.step.now - beat.sent_at
        if p.least_ms is not None:
            took_ms = min(took_ms, p.least_ms + drift_ms(self.step.now - p.heard_at))
        p.least_ms = took_ms

    def _count_turns(self, p: PeerState, beat: Beat) -> None:
        """Turns count from the last exchange that went there and back, and from no later than a
        step after the instant from which the peer counts them (`docs/rules.md`, *Fencing*)."""
        turns_at = min(p.heard_at, p.echoed_at)
        if beat.turns_ms and p.least_ms is not None:
            peers_at = beat.sent_at - beat.turns_ms + p.least_ms
            turns_at = min(turns_at, peers_at + self.revision.turns_step_ms())
        p.turns_at = max(p.turns_at, turns_at)

    def _ours(self, beat: Beat) -> Beat:
        """Drops an answer to an earlier incarnation: our clock may have begun anew since."""
        echo = beat.echo
        if echo is None or echo.incarnation == self.step.life.incarnation:
            return beat
        return msgspec.structs.replace(beat, echo=None)

    def _stranger(self, p: PeerState, beat: Beat) -> None:
        """Answers an incarnation that we do not believe, so that it can answer us.

        Until it has, it is not heard: its beats may be recordings.
        """
        if beat.echo is not None and beat.echo.sent_at > p.any_heard_at:
            p.any_heard_at = self.step.now
        # An earlier version would not understand an answer in pages.
        p.reads_lists = beat.lists
        p.contact = CONTACT.after(p.contact, ContactChange.SPOKE)
        p.stranger = Echo(incarnation=beat.incarnation, sent_at=beat.sent_at)
        self.answers.at_once(beat.sender)

    def _overtaken(self, p: PeerState, beat: Beat, link: str) -> None:
        """A path works also if its beats arrive later than by another one, as over a witness.

        It worked as of the instant at which the same beat would have come by the faster path.
        """
        if p.beat is not None and link != "relay":
            at = p.heard_at - (p.beat.sent_at - beat.sent_at)
            p.link_at[link] = max(p.link_at.get(link, NEVER), at)

    def _replayed(self, p: PeerState, beat: Beat) -> None:
        """A beat from long ago: recorded, and otherwise ignored."""
        now = self.step.now
        if beat.incarnation in p.retired:
            old = now - p.retired_at > _REPLAY_MS
        else:
            old = p.beat is not None and p.beat.sent_at - beat.sent_at > _REPLAY_MS
        if old and now - p.replay_told_at >= _DUPLICATE_ALERT_MS:
            p.replay_told_at = now
            self.step.notice(notices.HeartbeatsReplayed(beat.sender))

    def _duplicate(self) -> None:
        if self.step.now - self.state.duplicate_at >= _DUPLICATE_ALERT_MS:
            self.state.duplicate_at = self.step.now
            self.step.notice(notices.DuplicateName())

    def _relay(self, beat: Beat) -> None:
        """Passes a heartbeat on to a server that does not hear its sender."""
        target = self.peers.get(beat.to)
        if target is not None and self.step.life.phase is Phase.RUNNING:
            self.step.do(SendBeat(beat=beat))

    def _believe(self, p: PeerState, beat: Beat) -> bool:
        """Whether a beat of another incarnation shows that this one lives now."""
        step = self.step
        echo = beat.echo
        if echo is None:
            return False
        # Also after it left: `retired` holds only the newest incarnations.
        if (p.believed or p.left) and echo.sent_at <= p.heard_at:
            return False
        if p.believed and step.now - p.heard_at <= step.times.hear_ms:
            return False
        if p.believed:
            p.retired = [*p.retired, p.incarnation][-_RETIRED_KEPT:]
            p.retired_at = step.now
        p.contact = CONTACT.after(p.contact, ContactChange.ANSWERED)
        p.incarnation = beat.incarnation
        p.believed_at = step.now
        # It learns at once that it is counted.
        self.answers.at_once(beat.sender, first=True)
        p.seq = 0
        p.beat = None
        p.least_ms = None
        p.turns_at = NEVER
        # While it did not run, nothing on its paths was late.
        p.link_at = {}
        p.late = []
        p.silent = {}
        p.counts_me = False
        p.stranger = None
        p.echo = None
        p.vote_at = NEVER
        p.pre_at = NEVER
        p.given = None
        p.report = None
        step.state.reported_at = NEVER
        step.changed(Change.DECISIONS)
        return True

    def _left(self, p: PeerState, beat: Beat) -> None:
        """ "Left" counts only if nothing was heard of it since the beat that it answers."""
        step = self.step
        echo = beat.echo
        if echo is None or p.any_heard_at >= echo.sent_at or p.left:
            return
        p.contact = CONTACT.after(p.contact, ContactChange.SAID_LEFT)
        p.left = True
        retired = {p.incarnation, beat.incarnation} - {""}
        p.retired = [*p.retired, *sorted(retired)][-_RETIRED_KEPT:]
        p.retired_at = step.now
        p.incarnation = ""
        p.beat = None
        p.report = None
        p.lost = False
        p.echo = None
        step.notice(notices.ServerLeft(beat.sender))
        self.answers.at_once(beat.sender)
        step.changed(Change.DECISIONS)

    def _hearing_ends_out(self, p: PeerState, beat: Beat, in_office: Callable[[], bool]) -> None:
        """A heard server is not out any more; a coordinator waits until all others count it."""
        if not (p.left or p.confirmed or p.off_asked_at != NEVER):
            return
        if in_office():
            counted = self.revision.counts(beat) and beat.ripe
            settled = not beat.newcomer or (counted and set(beat.lacks) <= {self.step.me})
            if not settled:
                return
        p.left = False
        p.confirmed = ""
        p.off_asked_at = NEVER
        p.out_since = NEVER
        self.step.changed(Change.DECISIONS)

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Finds which servers are out, lost, or newcomers now."""
        step = self.step
        self.lost_at = NEVER
        for name, p in self.peers.items():
            out = self.peers.is_out(name)
            if out and p.out_since == NEVER:
                p.out_since = step.now
                step.changed(Change.DECISIONS)
            elif not out:
                p.out_since = NEVER
            self._warn_of_delay(name, p)
            self._tell_of_silence(name, p)
            silent = step.now - p.heard_at > step.times.lost_ms
            if not silent and step.now - p.heard_at > step.times.missed_ms:
                lost_at = p.heard_at + step.times.lost_ms + 1
                self.lost_at = lost_at if self.lost_at == NEVER else min(self.lost_at, lost_at)
            if p.believed and silent and not p.lost:
                p.lost = True
                p.lost_since = step.now
                if p.fence.since == NEVER:
                    p.fence.text = ""  # of an earlier stop, which it has outlived
                step.changed(Change.REPORT)
                step.notice(notices.ServerLost(name, step.now - p.heard_at, sorted(p.link_at)))
            elif p.lost and not silent:
                p.lost = False
                p.fence.retry_at = 0
                step.changed(Change.REPORT)
                step.notice(notices.HeardAgain(name))
            if p.refused_told and self.peers.hears(name):
                p.refused_told = False
                step.notice(notices.HeartbeatsTaken(name))
            if p.beat is not None and p.beat.newcomer:
                self._say_if_not_counted(name, p, p.beat)
        configured = step.me in step.settings.names
        if step.life.newcomer and step.life.phase is Phase.RUNNING and configured:
            self._end_newcomer()

    def _say_if_not_counted(self, name: str, p: PeerState, beat: Beat) -> None:
        """Records a newcomer with another configuration than ours, once for each."""
        step = self.step
        ours = step.settings.revision
        alike = beat.voters == step.settings.voters
        which = ~beat.revision if alike else beat.voters
        if self.revision.counts(beat) or which == p.not_counted or step.life.newcomer:
            return
        p.not_counted = which
        if alike:
            step.notice(notices.StartedWithOlder(name, beat.revision, ours))
            return
        newer = beat.revision > ours
        kind = notices.CountsNewer if newer else notices.NotCounted
        step.notice(kind(name, beat.revision, ours))

    def _warn_of_delay(self, name: str, p: PeerState) -> None:
        """Warns early of a heartbeat path that is about to time out (lanhb/lankhb 71)."""
        step = self.step
        if not p.believed or p.lost:
            return
        limit = step.times.lost_ms * DELAY_WARNING_PERCENT // 100
        for link in step.settings.interconnects:
            delay = step.now - p.link_at.get(link.name, step.now)
            if delay <= limit:
                if link.name in p.late and link.name in p.link_at:
                    p.late = [late for late in p.late if late != link.name]
            elif link.name not in p.late:
                p.late = [*p.late, link.name]
                late = notices.HeartbeatsLate(
                    module=link.type,
                    server=name,
                    link=link.name,
                    delay_ms=delay,
                    limit_ms=step.times.lost_ms,
                    percent=delay * 100 // step.times.lost_ms,
                )
                step.notice(late)

    def _tell_of_silence(self, name: str, p: PeerState) -> None:
        """Records a path that is cut while the server is heard on another, and its return."""
        step = self.step
        if not p.believed or p.lost or step.now - p.heard_at > step.times.lost_ms:
            return
        for link in step.settings.interconnects:
            seen = p.link_at.get(link.name)
            if seen is None:
                continue
            # After it, or this agent, was silent, its paths return one after the other.
            cut = step.now - max(seen, p.again_at) > step.times.lost_ms
            if cut and link.name not in p.silent:
                p.silent = {**p.silent, link.name: seen}
                others = sorted(
                    other for other, at in p.link_at.items() if step.now - at <= step.times.hear_ms
                )
                by = say.paths(others)
                step.notice(notices.PathSilent(link.type, name, link.name, step.now - seen, by))
            elif seen > p.silent.get(link.name, seen):
                began = p.silent[link.name]
                p.silent = {other: at for other, at in p.silent.items() if other != link.name}
                step.notice(notices.PathHeard(link.type, name, link.name, seen - began))

    def _end_newcomer(self) -> None:
        step = self.step
        by_all = not self.peers.lacks()
        server = step.settings.server(step.me)
        unread = server is None or not server.has_power_control
        by_time = step.life.member and (unread or step.now >= step.times.boot_ms)
        if not (by_all or (by_time and not self.revision.hears_newer())):
            return
        step.life.newcomer = False
        step.changed(Change.DECISIONS, Change.BEATS, Change.REPORT)
        if not step.life.member and not self.revision.state.doubt:
            step.life.member = True
            step.do(SetMember(member=True))
        step.notice(notices.TakesPart(by_all))


def _differs(before: Beat, beat: Beat) -> bool:
    """Whether a beat says something new that decisions depend on."""
    return (
        before.term != beat.term
        or before.authority != beat.authority
        or before.coordinator != beat.coordinator
        or before.newcomer != beat.newcomer
        or before.ripe != beat.ripe
        or before.lacks != beat.lacks
        or before.stopped != beat.stopped
        or before.suspended != beat.suspended
        or before.barred != beat.barred
        or before.unfit != beat.unfit
        or before.policy != beat.policy
        or before.armed != beat.armed
        or before.out != beat.out
        or before.revision != beat.revision
        or before.voters != beat.voters
    )
