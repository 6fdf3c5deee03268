"""Votes, terms and authority (`docs/rules.md`, *Votes, authority, electorate*).

    NONE --may stand, hears a majority--> PRE --would be given--> CANDIDATE --given--> COORDINATOR
      ^------- after L / 4, or a vote for another ---'               |                     |
      ^------------------------ after L / 4 -------------------------'                     |
      ^------------------------ authority lapsed ------------------------------------------'

A server alone (all others out) needs no votes and takes office at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core import sentences as say
from clptools.core.model.actions import HoldArbiter, ReleaseArbiter
from clptools.core.model.events import ArbiterAnswered
from clptools.core.model.messages import Beat, Term, Vote
from clptools.core.model.quorum import NEVER, answered_by, majority
from clptools.core.model.settings import Arbiter
from clptools.core.model.state import Office, PeerState, Phase, VoteState

if TYPE_CHECKING:
    from clptools.core.node import Node

FOREVER = -NEVER


class Votes:
    """Our vote, our term, our office."""

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def state(self) -> VoteState:
        """What is remembered of votes."""
        return self.node.state.votes

    # ------------------------------------------------------------------ questions

    def in_office(self) -> bool:
        """Whether we are coordinator and our authority runs at this instant."""
        return self.state.office is Office.COORDINATOR and self.node.now < self.authority_until()

    def authority_until(self) -> int:
        """Until when what the electorate answered carries authority."""
        node = self.node
        until = self._until(node.membership.electorate())
        previous = node.membership.previous_electorate()
        if not previous:
            return until
        before = node.state.revision_arbiter
        if before == node.settings.arbiter:
            return min(until, self._until(previous))
        return min(until, self._without_arbiter(previous, before))

    def _without_arbiter(self, electorate: tuple[str, ...], before: Arbiter | None) -> int:
        """By the revision before, whose arbiter is not ours to ask any more: a tie is none."""
        others = self._answers(electorate)
        every = before is not None and before.required
        found = answered_by(others, len(others) if every else majority(len(electorate)) - 1)
        return FOREVER if found is None else found + self.node.times.authority_ms

    def _answers(self, electorate: tuple[str, ...]) -> list[int]:
        """The newest of our asking beats that each of the others answered with its vote."""
        peers = self.node.state.peers
        return [
            peers[name].vote_at if name in peers else NEVER
            for name in electorate
            if name != self.node.me
        ]

    def _until(self, electorate: tuple[str, ...]) -> int:
        node = self.node
        lasts = node.times.authority_ms
        others = self._answers(electorate)
        size = len(electorate)
        arbiter = node.settings.arbiter
        held = self.state.arbiter_at
        if arbiter is not None and arbiter.required:
            everyone = answered_by(others, len(others))
            return max(held, FOREVER if everyone is None else everyone) + lasts
        strict = answered_by(others, majority(size) - 1)
        if strict is None:
            return FOREVER
        best = strict
        if arbiter is not None and size % 2 == 0:
            half = answered_by(others, size // 2 - 1)
            best = max(best, held if half is None else min(half, held))
        return best + lasts

    def coordinator(self) -> str:
        """Whom we take for coordinator now; empty when nobody is heard in office."""
        return self.node.me if self.in_office() else self.heard_coordinator()

    def heard_coordinator(self) -> str:
        """Another server that is heard in office; empty: nobody is."""
        node = self.node
        best = ""
        newest = NEVER
        for name, p in node.state.peers.items():
            if p.beat is None or not p.beat.authority or node.membership.is_out(name):
                continue
            if node.now - p.heard_at <= node.times.lost_ms and p.heard_at > newest:
                best, newest = name, p.heard_at
        return best

    def quorate(self) -> bool:
        """Whether a coordinator with authority is known."""
        return bool(self.coordinator())

    def asking(self) -> str:
        """What our beats ask for: `pre`, `vote` or nothing."""
        office = self.state.office
        if office is Office.PRE:
            return "pre"
        if office is Office.CANDIDATE:
            return "vote"
        if office is Office.COORDINATOR and self._may_win():
            return "vote"
        return ""

    def ask_term(self) -> Term:
        """The term that our asking names."""
        if self.state.office is Office.PRE:
            return self._next_term()
        return self.state.office_term

    def _next_term(self) -> Term:
        return Term(self.state.term.number + 1, self.node.state.incarnation)

    def bound_to(self) -> str:
        """The server our running promise binds us to; empty when we are free."""
        node, state = self.node, self.state
        if state.office in (Office.CANDIDATE, Office.COORDINATOR):
            return node.me
        if node.now >= state.promise_until or not state.vote:
            return ""
        if state.vote in node.state.peers and node.membership.is_out(state.vote):
            return ""
        return state.vote

    def _silent_for(self, name: str) -> bool:
        """For `L + d` an agent that starts votes only for the server its state names."""
        node = self.node
        if node.membership.ripe():
            return False
        return not node.state.had_state or self.state.vote != name

    def _would_vote(self, name: str) -> bool:
        node = self.node
        if node.state.newcomer or node.state.phase not in (Phase.RUNNING, Phase.LEAVING):
            return False
        if node.me not in node.settings.names:
            return False
        return not self._silent_for(name) and self.bound_to() in ("", name)

    def _offers_arbiter(self) -> bool:
        """Whether we stop renewing a required arbiter, for others who hear half.

        While we run a group it is offered only when everybody who is cut off as well has seen it
        renewed for long enough to leave it to us (`_leave_free`).  Whoever took it while it already
        heard less than half found that nobody else wants it, and offers it again after `B`.
        """
        state, node = self.state, self.node
        if state.office is not Office.COORDINATOR or state.few_since == NEVER:
            return False
        if state.office_at >= state.few_since:
            return node.now >= state.office_at + node.times.startup_ms
        kept_ms = 3 * node.times.lease_ms if node.groups.holds_any() else 0
        return node.now >= state.few_since + kept_ms

    def _may_win(self) -> bool:
        """Whether those heard now, with the arbiter where it decides, could be enough."""
        node = self.node
        membership = node.membership
        arbiter = node.settings.arbiter
        if arbiter is not None and arbiter.required:
            heard, of = membership.heard_electors()
            if heard == of:
                return True
            return node.now < self.state.arbiter_at + node.times.authority_ms or (
                self.state.office is not Office.COORDINATOR
            )
        if membership.hears_majority():
            return True
        return arbiter is not None and membership.hears_half()

    # ------------------------------------------------------------------ what happens

    def lapse(self) -> None:
        """Ends an office whose authority lapsed since the last event, before the next is taken.

        An answer that is only now seen must not revive it: in between others may have gone out.
        """
        state = self.state
        if state.office is Office.COORDINATOR and not self.in_office():
            why = say.authority_lapsed(self.node.me, state.office_term.number)
            arbiter = self.node.settings.arbiter
            if arbiter is not None and self._offers_arbiter():
                state.wait_until = self.node.now + self.node.times.lease_ms
                heard, of = self._heard_of_those_in()
                why = say.offers_arbiter(self.node.me, arbiter.name, heard, of)
            self._resign(why)

    def heard(self, p: PeerState, beat: Beat) -> None:
        """Takes term, votes and asking of a believed beat; renews the holder's lease."""
        node, state = self.node, self.state
        if beat.term > state.term:
            state.term = beat.term
            node.dirty = True
            node.changed = True
        if beat.authority and beat.echo is not None:
            node.lease.answered(beat.echo.sent_at)
        vote = beat.vote
        if vote is not None and vote.sent_at <= node.now:
            if vote.pre and state.office is Office.PRE and vote.term == self._next_term():
                if vote.sent_at > p.pre_at:
                    p.pre_at = vote.sent_at
                    node.changed = True
            elif not vote.pre and vote.term == state.office_term and vote.sent_at > p.vote_at:
                p.vote_at = vote.sent_at
                if state.office is Office.CANDIDATE:
                    node.changed = True
        if beat.ask == "vote":
            self._asked(p, beat)
        elif beat.ask == "pre":
            self._asked_before(p, beat)

    def _asked(self, p: PeerState, beat: Beat) -> None:
        node, state = self.node, self.state
        name = beat.sender
        if not self._would_vote(name):
            return
        term = beat.ask_term
        if term == state.vote_term and state.vote == name:
            if state.office is not Office.NONE:
                self._end_office()
            state.promise_until = node.now + node.times.lease_ms
            p.given = Vote(term=term, sent_at=beat.sent_at)
            return
        if term < state.term:
            return
        state.term = max(state.term, term)
        state.vote = name
        state.vote_term = term
        state.promise_until = node.now + node.times.lease_ms
        if state.office is not Office.NONE:
            self._end_office()
        state.promise_until = node.now + node.times.lease_ms
        state.stand_at = NEVER
        p.given = Vote(term=term, sent_at=beat.sent_at)
        node.dirty = True
        node.changed = True
        node.beats.answer_at_once(name, first=True)

    def _asked_before(self, p: PeerState, beat: Beat) -> None:
        if self._would_vote(beat.sender) and beat.ask_term > self.state.term:
            p.given = Vote(term=beat.ask_term, sent_at=beat.sent_at, pre=True)
            self.node.beats.answer_at_once(beat.sender)

    def arbiter(self, event: ArbiterAnswered) -> None:
        """An arbiter answered; its lease counts from the send time of the question."""
        arbiter = self.node.settings.arbiter
        if arbiter is None or arbiter.name != event.name:
            return
        state = self.state
        state.arbiter_error = event.error
        if not event.error:
            state.arbiter_ok_at = self.node.now
            if not event.held and state.few_since != NEVER:
                self._refused()
        # One to an earlier candidacy begins no office: `_pre_given` wants one of its own.
        if event.held and state.office is not Office.NONE:
            state.arbiter_at = max(state.arbiter_at, event.asked_at)
        self.node.changed = True

    def _refused(self) -> None:
        """The arbiter is another's; a server that died does not renew it for longer than `L`."""
        state, now = self.state, self.node.now
        if state.refused_since == NEVER:
            state.refused_since = now
        state.rival = now - state.refused_since >= self.node.times.silence_ms

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Takes, keeps, loses or gives up office."""
        node, state = self.node, self.state
        self._count_heard()
        self.lapse()
        if state.office is Office.COORDINATOR and state.term > state.office_term:
            self._resign(say.higher_term(node.me, state.term.number))
            self._stand()
        if state.office in (Office.PRE, Office.CANDIDATE):
            self._advance()
        if state.office is Office.NONE:
            self._consider()
        serving = node.state.phase in (Phase.RUNNING, Phase.LEAVING)
        if not serving and state.office is not Office.NONE:
            self._resign(say.steps_down(node.me))
        told = self.coordinator()
        if told != state.told and (told or state.told):
            state.told = told
            node.report_due = True
            node.requests_due = True

    def _count_heard(self) -> None:
        """Since when a required arbiter would be better in the hands of others."""
        state, arbiter = self.state, self.node.settings.arbiter
        if arbiter is not None and arbiter.required:
            heard, of = self._heard_of_those_in()
            if 2 * heard < of:
                if state.few_since == NEVER:
                    state.few_since = self.node.now
                return
        if state.few_since != NEVER:
            state.few_since = state.refused_since = state.wait_until = NEVER
            state.rival = False

    def _heard_of_those_in(self) -> tuple[int, int]:
        """As `heard_electors`, without those that are out: they take no arbiter."""
        membership = self.node.membership
        heard = in_all = 1
        for name in membership.electorate():
            if name != self.node.me and not membership.is_out(name):
                in_all += 1
                heard += membership.hears(name)
        return heard, in_all

    def ask_arbiter(self) -> None:
        """Asks the arbiter in its interval while we stand or are in office."""
        node, state = self.node, self.state
        arbiter = node.settings.arbiter
        if arbiter is None or state.office is Office.NONE or self._offers_arbiter():
            return
        if node.now - state.arbiter_asked_at < arbiter.interval_ms:
            return
        state.arbiter_asked_at = node.now
        node.emit(HoldArbiter(name=arbiter.name, lease_ms=node.times.lease_ms))

    def _consider(self) -> None:
        node, state = self.node, self.state
        if not self._would_vote(node.me) or node.state.phase is not Phase.RUNNING:
            state.stand_at = NEVER
            return
        if node.membership.all_others_out():
            self._stand()
            return
        if not self._may_win() or node.now < state.wait_until:
            state.stand_at = NEVER
            return
        if state.stand_at == NEVER:
            state.stand_at = node.now + self._delay()
        if node.now >= state.stand_at:
            state.stand_at = NEVER
            state.office = Office.PRE
            state.asked_at = node.now
            for p in node.state.peers.values():
                p.pre_at = NEVER
            self.ask_arbiter()
            node.urgent = True
            node.changed = True

    def _delay(self) -> int:
        """By priority, growing with each vain attempt, a little by chance.

        With a required arbiter short enough to find it free within the `L` that it is offered for.
        """
        node = self.node
        step = max(node.times.give_up_ms // 6, 10)
        place = node.settings.names.index(node.me)
        attempts = min(self.state.attempts, 8)
        delay_ms = place * step + attempts * (place + 1) * step
        arbiter = node.settings.arbiter
        if arbiter is not None and arbiter.required:
            delay_ms = min(delay_ms, node.times.lease_ms // 2)
        return delay_ms + node.draw(step // 2)

    def _stand(self) -> None:
        """Votes for ourselves in a new term and asks the others."""
        node, state = self.node, self.state
        state.office = Office.CANDIDATE
        state.office_term = self._next_term()
        state.term = state.office_term
        state.vote = node.me
        state.vote_term = state.office_term
        state.promise_until = NEVER
        state.asked_at = node.now
        state.stand_at = NEVER
        for p in node.state.peers.values():
            p.vote_at = NEVER
        node.dirty = True
        node.changed = True
        node.urgent = True
        self.ask_arbiter()
        self._advance()

    def _advance(self) -> None:
        node, state = self.node, self.state
        if state.office is Office.PRE:
            if self._pre_given():
                if state.rival:
                    self._leave_free()
                else:
                    self._stand()
                return
        elif self.node.now < self.authority_until():
            self._take_office()
            return
        elif state.term > state.office_term:
            self._give_up()
            return
        if node.now - state.asked_at >= node.times.give_up_ms:
            self._give_up()

    def _pre_given(self) -> bool:
        """Whether enough would vote, with the arbiter's lease where it decides."""
        node, state = self.node, self.state
        electorate = node.membership.electorate()
        yes = 1 + sum(
            1
            for name in electorate
            if name != node.me and node.state.peers[name].pre_at >= state.asked_at
        )
        arbiter = node.settings.arbiter
        held = state.arbiter_at >= state.asked_at
        if arbiter is not None and arbiter.required:
            return held or yes == len(electorate)
        if yes >= majority(len(electorate)):
            return True
        return arbiter is not None and held and 2 * yes == len(electorate)

    def _leave_free(self) -> None:
        """An arbiter that somebody renewed and now is free may be offered, but not to us.

        Whoever offers it takes it back after `L`.  Free for longer than that, it is for anybody.
        """
        state, times = self.state, self.node.times
        state.rival = False
        state.wait_until = self.node.now + times.lease_ms + times.lease_ms // 2
        self._give_up()

    def _give_up(self) -> None:
        state = self.state
        state.attempts += 1
        self._end_office()

    def _resign(self, why: str) -> None:
        self.node.record("nm", 930, "WARN", (self.node.me,), why)
        self._end_office()

    def _end_office(self) -> None:
        """Nothing of an office is carried over; before a candidacy no promise was ours."""
        node, state = self.node, self.state
        if state.office is not Office.PRE:
            state.promise_until = NEVER
        state.office = Office.NONE
        state.stand_at = NEVER
        state.arbiter_at = NEVER
        arbiter = node.settings.arbiter
        if arbiter is not None and state.arbiter_asked_at != NEVER:
            state.arbiter_asked_at = NEVER
            node.emit(ReleaseArbiter(name=arbiter.name))
        node.changed = True

    def _take_office(self) -> None:
        node, state = self.node, self.state
        state.office = Office.COORDINATOR
        state.office_at = node.now
        state.attempts = 0
        for p in node.state.peers.values():
            p.answered_at = NEVER
            p.answered_echo = None
        node.placement.office_begins()
        node.record(
            "nm",
            50,
            "INFO",
            (node.me,),
            say.takes_office(node.me, state.office_term.number, node.membership.electorate()),
        )
        node.changed = True
        node.urgent = True
