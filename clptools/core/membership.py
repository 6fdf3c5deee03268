"""Who is heard, out, a newcomer (`docs/rules.md`, *Words and lengths*, *Out*, *State*).

An incarnation is believed only when one of its beats answers a beat of ours that was sent after
we last heard the one before: then it lives now, and is no replay.  Only what is believed, or
answers us in this way, counts as heard.  So an off read, "left" and `confirm-down` follow one
rule: each counts only if nothing was heard of that server since the instant that it answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from clptools.core import sentences as say
from clptools.core.actions import SendBeat, SetMember
from clptools.core.events import BeatSeen
from clptools.core.messages import Beat, Echo
from clptools.core.quorum import NEVER, majority
from clptools.core.state import PeerState, Phase
from clptools.core.timing import drift_ms

if TYPE_CHECKING:
    from clptools.core.node import Node

_RETIRED_KEPT = 16
_TWIN_ALERT_MS = 60_000
_REPLAY_MS = 60_000
"""A beat that is this much older than what was heard since was not late: it was replayed."""
DELAY_WARNING_PERCENT = 80
"""Of the heartbeat time-out: the reference's default delay warning rate."""


class Membership:
    """The other servers, as far as this one knows."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.lost_at = NEVER
        """When the next of those that miss beats will be lost; found anew in each settling."""

    # ------------------------------------------------------------------ questions

    @property
    def peers(self) -> dict[str, PeerState]:
        """State of every other configured server."""
        return self.node.state.peers

    def is_out(self, name: str) -> bool:
        """Whether a server is out for us: left, confirmed down, or its BMC read off."""
        p = self.peers[name]
        if p.left or p.confirmed:
            return True
        return self.node.now < p.off_asked_at + self.node.times.startup_ms

    def out_reason(self, name: str) -> str:
        """Why it is out: `left`, `operator`, `power off`; empty when it is not."""
        p = self.peers[name]
        if self.node.now < p.off_asked_at + self.node.times.startup_ms:
            return "power off"
        if p.left:
            return "left"
        return "operator" if p.confirmed else ""

    def all_others_out(self) -> bool:
        """Whether nobody else is left."""
        return all(self.is_out(name) for name in self.peers)

    def hears(self, name: str) -> bool:
        """Whether it is heard now, directly or relayed."""
        p = self.peers[name]
        return bool(p.incarnation) and self.node.now - p.heard_at <= self.node.times.hear_ms

    def is_online(self, name: str) -> bool:
        """Whether a server takes part: heard within the time-out, neither out nor leaving."""
        if name == self.node.me:
            return self.node.state.phase is Phase.RUNNING
        p = self.peers[name]
        if p.beat is None or p.lost or self.is_out(name):
            return False
        return self.node.now - p.heard_at <= self.node.times.lost_ms

    def electorate(self) -> tuple[str, ...]:
        """All configured servers, less those out for `L + d`, or at once when all others are."""
        if not self._any_marked():
            return self.node.settings.names
        if self.all_others_out():
            return (self.node.me,)
        return self._voters(self.node.settings.names)

    def _any_marked(self) -> bool:
        """Whether anybody was ever said to be out, and not heard since; or nobody else is there.

        Asked many times in every step, and nearly always nobody was.
        """
        for p in self.peers.values():
            if p.left or p.confirmed or p.off_asked_at != NEVER:
                return True
        return not self.peers

    def previous_electorate(self) -> tuple[str, ...]:
        """The same by the revision before, while a majority must be one in both."""
        names = self.node.state.revision_names
        return self._voters(names) if names and not self.all_others_out() else ()

    def _voters(self, names: tuple[str, ...]) -> tuple[str, ...]:
        now, silence = self.node.now, self.node.times.silence_ms
        return tuple(
            name
            for name in names
            if name == self.node.me
            or name not in self.peers
            or not (
                self.peers[name].out_since != NEVER
                and now - self.peers[name].out_since >= silence
                and self.is_out(name)
            )
        )

    def heard_electors(self) -> tuple[int, int]:
        """How many of the electorate we hear now, ourselves included, and of how many."""
        electorate = self.electorate()
        heard = sum(1 for name in electorate if name == self.node.me or self.hears(name))
        return heard, len(electorate)

    def hears_majority(self) -> bool:
        """Whether those heard now are a strict majority."""
        heard, of = self.heard_electors()
        return heard >= majority(of)

    def hears_half(self) -> bool:
        """Whether those heard now are exactly half."""
        heard, of = self.heard_electors()
        return 2 * heard == of

    def majority_without_out(self) -> bool:
        """Whether those heard now are a majority of all, were nobody out any more."""
        heard, of = self._heard_of_all()
        return heard >= majority(of)

    def half_without_out(self) -> bool:
        """Whether they are exactly half of all."""
        heard, of = self._heard_of_all()
        return 2 * heard == of

    def _heard_of_all(self) -> tuple[int, int]:
        names = self.node.settings.names
        return sum(1 for name in names if name == self.node.me or self.hears(name)), len(names)

    def lacks(self) -> tuple[str, ...]:
        """As a newcomer: who neither counts us nor is out for us."""
        return tuple(
            name
            for name, p in self.peers.items()
            if not (p.counts_me and p.incarnation) and not self.is_out(name)
        )

    def ripe(self) -> bool:
        """Whether our first `L + d` is over."""
        return self.node.now >= self.node.state.started_at + self.node.times.silence_ms

    # ------------------------------------------------------------------ what happens

    def beat(self, event: BeatSeen) -> None:
        """A heartbeat arrived: believe, relay, or drop it."""
        node, beat = self.node, event.beat
        if beat.sender == node.me:
            if beat.incarnation != node.state.incarnation:
                self._twin()
            return
        p = self.peers.get(beat.sender)
        if p is None:
            return
        if beat.to != node.me:
            self._relay(beat)
            return
        if beat.page:
            node.holdings.page(beat.sender, p, beat)
            return
        beat = self._ours(beat)
        if beat.incarnation in p.retired:
            self._replayed(p, beat)
            return
        if beat.left:
            self._left(p, beat)
            return
        if beat.incarnation != p.incarnation and not self._believe(p, beat):
            self._stranger(p, beat)
            return
        if beat.seq <= p.seq:
            self._overtaken(p, beat, event.link)
            self._replayed(p, beat)
            return
        before = p.beat
        self._compare_clocks(p, beat)
        p.any_heard_at = node.now
        p.voters = beat.voters
        p.reads_lists = beat.lists
        p.seq = beat.seq
        p.beat = beat
        node.holdings.heard(beat.sender, p, beat)
        p.echo = Echo(incarnation=beat.incarnation, sent_at=beat.sent_at)
        p.heard_at = node.now
        if event.link != "relay":
            p.direct_at = node.now
            p.link_at[event.link] = node.now
        self._hearing_ends_out(p, beat)
        if beat.policy < node.state.shared.version:
            node.policy.tell(beat.sender, p)
        if beat.echo is not None:
            p.echoed_at = max(p.echoed_at, beat.echo.sent_at)
            node.power.answered(beat.sender, p, beat.echo)
            if beat.counts and not p.counts_me:
                p.counts_me = True
                node.changed = True
            self._count_turns(p, beat)
        node.votes.heard(p, beat)
        if p.lost or before is None or _differs(before, beat):
            node.changed = True
        if beat.authority and (before is None or not before.authority):
            node.beats.answer_at_once(beat.sender, first=True)

    def _compare_clocks(self, p: PeerState, beat: Beat) -> None:
        """A beat that waited, on its way or while we stood still, is told by one that did not."""
        took_ms = self.node.now - beat.sent_at
        if p.least_ms is not None:
            took_ms = min(took_ms, p.least_ms + drift_ms(self.node.now - p.heard_at))
        p.least_ms = took_ms

    def _count_turns(self, p: PeerState, beat: Beat) -> None:
        """Turns count from the last exchange that went there and back, and from no later than a
        step after the instant from which the peer counts them (`docs/rules.md`, *Fencing*)."""
        turns_at = min(p.heard_at, p.echoed_at)
        if beat.turns_ms and p.least_ms is not None:
            peers_at = beat.sent_at - beat.turns_ms + p.least_ms
            turns_at = min(turns_at, peers_at + self.node.times.turns_step_ms)
        p.turns_at = max(p.turns_at, turns_at)

    def _ours(self, beat: Beat) -> Beat:
        """An answer to an incarnation before ours is none: its clock may have begun anew since."""
        echo = beat.echo
        if echo is None or echo.incarnation == self.node.state.incarnation:
            return beat
        return msgspec.structs.replace(beat, echo=None)

    def _stranger(self, p: PeerState, beat: Beat) -> None:
        """Answers an incarnation that we do not believe, so that it can answer us.

        Until it has, it is not heard: anybody may have recorded its beats.
        """
        if beat.echo is not None and beat.echo.sent_at > p.any_heard_at:
            p.any_heard_at = self.node.now
        # One of an earlier version would not understand an answer in pages.
        p.reads_lists = beat.lists
        p.stranger = Echo(incarnation=beat.incarnation, sent_at=beat.sent_at)
        self.node.beats.answer_at_once(beat.sender)

    def _overtaken(self, p: PeerState, beat: Beat, link: str) -> None:
        """A path may be slower than another by more than an interval (a witness is), and carries.

        It carried as of the instant when the same beat would have come by the faster path.
        """
        if p.beat is not None and link != "relay":
            at = p.heard_at - (p.beat.sent_at - beat.sent_at)
            p.link_at[link] = max(p.link_at.get(link, NEVER), at)

    def _replayed(self, p: PeerState, beat: Beat) -> None:
        """A beat from long ago: told, and nothing else."""
        now = self.node.now
        if beat.incarnation in p.retired:
            old = now - p.retired_at > _REPLAY_MS
        else:
            old = p.beat is not None and p.beat.sent_at - beat.sent_at > _REPLAY_MS
        if old and now - p.replay_told_at >= _TWIN_ALERT_MS:
            p.replay_told_at = now
            self.node.record("nm", 12, "WARN", (beat.sender,), say.replayed(beat.sender))

    def _twin(self) -> None:
        state = self.node.state
        if self.node.now - state.twin_at >= _TWIN_ALERT_MS:
            state.twin_at = self.node.now
            self.node.record("nm", 11, "ERROR", (self.node.me,), say.twin(self.node.me))

    def _relay(self, beat: Beat) -> None:
        """Passes on what one server says to another that does not hear it."""
        target = self.peers.get(beat.to)
        if target is not None and self.node.state.phase is Phase.RUNNING:
            self.node.emit(SendBeat(beat=beat))

    def _believe(self, p: PeerState, beat: Beat) -> bool:
        """Whether a beat of another incarnation shows that this one lives now."""
        node = self.node
        echo = beat.echo
        if echo is None:
            return False
        if p.incarnation and not p.left:
            if echo.sent_at <= p.heard_at:
                return False
            if node.now - p.heard_at <= node.times.hear_ms:
                return False
        if p.incarnation:
            p.retired = [*p.retired, p.incarnation][-_RETIRED_KEPT:]
            p.retired_at = node.now
        p.incarnation = beat.incarnation
        p.believed_at = node.now
        # It is told at once that it is counted.
        node.beats.answer_at_once(beat.sender, first=True)
        p.seq = 0
        p.beat = None
        p.least_ms = None
        p.turns_at = NEVER
        # Its paths begin anew: while it did not run, nothing on them was late.
        p.link_at = {}
        p.late = []
        p.counts_me = False
        p.stranger = None
        p.echo = None
        p.vote_at = NEVER
        p.pre_at = NEVER
        p.given = None
        p.report = None
        node.state.report_at = NEVER
        node.changed = True
        return True

    def _left(self, p: PeerState, beat: Beat) -> None:
        """ "Left" counts only if nothing was heard of it since the beat that it answers."""
        node = self.node
        echo = beat.echo
        if echo is None or p.any_heard_at >= echo.sent_at or p.left:
            return
        p.left = True
        retired = {p.incarnation, beat.incarnation} - {""}
        p.retired = [*p.retired, *sorted(retired)][-_RETIRED_KEPT:]
        p.retired_at = node.now
        p.incarnation = ""
        p.beat = None
        p.report = None
        p.lost = False
        p.echo = None
        node.dirty = True
        node.record("nm", 2, "INFO", (beat.sender,), say.has_left(beat.sender))
        node.beats.answer_at_once(beat.sender)
        node.changed = True

    def _hearing_ends_out(self, p: PeerState, beat: Beat) -> None:
        """Hearing a server ends its being out; a coordinator waits until all others count it."""
        if not (p.left or p.confirmed or p.off_asked_at != NEVER):
            return
        if self.node.votes.in_office():
            alike = beat.voters == self.node.state.voters
            settled = not beat.newcomer or (
                alike and beat.ripe and set(beat.lacks) <= {self.node.me}
            )
            if not settled:
                return
        p.left = False
        p.confirmed = ""
        p.off_asked_at = NEVER
        p.out_since = NEVER
        self.node.dirty = True
        self.node.changed = True

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Out, lost and newcomer follow from what is known now."""
        node = self.node
        self.lost_at = NEVER
        for name, p in self.peers.items():
            out = self.is_out(name)
            if out and p.out_since == NEVER:
                p.out_since = node.now
                node.changed = True
            elif not out:
                p.out_since = NEVER
            self._warn_of_delay(name, p)
            silent = node.now - p.heard_at > node.times.lost_ms
            if not silent and node.now - p.heard_at > node.times.missed_ms:
                lost_at = p.heard_at + node.times.lost_ms + 1
                self.lost_at = lost_at if self.lost_at == NEVER else min(self.lost_at, lost_at)
            if p.incarnation and silent and not p.lost:
                p.lost = True
                p.lost_since = node.now
                if p.fence.since == NEVER:
                    p.fence.text = ""  # how one went that it has outlived
                node.report_due = True
                ago = node.now - p.heard_at
                node.record("nm", 80, "WARN", (name,), say.lost(name, ago, sorted(p.link_at)))
            elif p.lost and not silent:
                p.lost = False
                p.fence.retry_at = 0
                node.report_due = True
                node.record("nm", 81, "INFO", (name,), say.heard_again(name))
            if p.beat is not None and p.beat.newcomer:
                self._say_if_not_counted(name, p, p.beat)
        configured = node.me in node.settings.names
        if node.state.newcomer and node.state.phase is Phase.RUNNING and configured:
            self._end_newcomer()

    def _say_if_not_counted(self, name: str, p: PeerState, beat: Beat) -> None:
        """A newcomer that votes by another configuration than ours: once for each."""
        node = self.node
        if beat.voters in (node.state.voters, p.not_counted) or node.state.newcomer:
            return
        p.not_counted = beat.voters
        text = say.not_counted(name, beat.revision, node.me, node.settings.revision)
        node.record("cfmgr", 2, "WARN", (name, node.me), text)

    def _warn_of_delay(self, name: str, p: PeerState) -> None:
        """Early word of a heartbeat path that is about to time out (lanhb/lankhb 71)."""
        node = self.node
        if not p.incarnation or p.lost:
            return
        limit = node.times.lost_ms * DELAY_WARNING_PERCENT // 100
        for link in node.settings.interconnects:
            delay = node.now - p.link_at.get(link.name, node.now)
            if delay <= limit:
                if link.name in p.late and link.name in p.link_at:
                    p.late = [late for late in p.late if late != link.name]
            elif link.name not in p.late:
                p.late = [*p.late, link.name]
                text = say.late(name, link.name, node.times.lost_ms, delay)
                node.record(link.type, 71, "WARN", (name, link.name, node.me), text)

    def _end_newcomer(self) -> None:
        node = self.node
        state = node.state
        by_all = not self.lacks()
        server = node.settings.server(node.me)
        without_bmc = server is None or server.bmc is None
        by_time = state.member and (without_bmc or node.now >= node.times.boot_ms)
        if not (by_all or by_time):
            return
        state.newcomer = False
        node.dirty = True
        node.changed = True
        node.urgent = True
        node.report_due = True
        if not state.member and not state.doubt:
            state.member = True
            node.emit(SetMember(member=True))
        node.record("nm", 1, "INFO", (node.me,), say.admitted(node.me, by_all))


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
        or before.policy != beat.policy
        or before.armed != beat.armed
        or before.out != beat.out
        or before.revision != beat.revision
        or before.voters != beat.voters
    )
