"""Votes, terms and candidacies (`docs/rules.md`, *Votes, authority, electorate*).

The way into office and out of it is `OFFICE` in `core/model/transitions.py`: first a server asks
whether votes would be given, then for the votes.  A server alone (all others out) needs none and
takes office at once.
"""

from __future__ import annotations

from clptools.core.cluster.arbiter import ArbiterLease
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.peers import Answers, Peers, majority
from clptools.core.model.cluster_state import PeerState, VoteState
from clptools.core.model.messages import Beat, Term, Vote
from clptools.core.model.state import Phase
from clptools.core.model.states import Office
from clptools.core.model.timing import NEVER
from clptools.core.model.transitions import OFFICE, OfficeChange
from clptools.core.model.words import Ask
from clptools.core.notices import cluster as notices
from clptools.core.notices.form import Notice
from clptools.core.step import Change, Step


class Election:
    """Our vote, our term, our office."""

    def __init__(
        self,
        step: Step,
        state: VoteState,
        peers: Peers,
        answers: Answers,
        authority: Authority,
        arbiter: ArbiterLease,
    ) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self.answers = answers
        self.authority = authority
        self.arbiter = arbiter

    # ------------------------------------------------------------------ questions

    def asking(self) -> Ask:
        """What our heartbeats ask for."""
        office = self.state.office
        if office is Office.PRE:
            return Ask.PRE
        if office is Office.CANDIDATE:
            return Ask.VOTE
        if office is Office.COORDINATOR and self._may_win():
            return Ask.VOTE
        return Ask.NOTHING

    def ask_term(self) -> Term:
        """The term for which our heartbeats ask."""
        if self.state.office is Office.PRE:
            return self._next_term()
        return self.state.office_term

    def _next_term(self) -> Term:
        return Term(self.state.term.number + 1, self.step.life.incarnation)

    def bound_to(self) -> str:
        """The server that our running promise binds us to; empty: none."""
        step, state = self.step, self.state
        if state.office in (Office.CANDIDATE, Office.COORDINATOR):
            return step.me
        if step.now >= state.promise_until or not state.vote:
            return ""
        if state.vote in self.peers and self.peers.is_out(state.vote):
            return ""
        return state.vote

    def _silent_for(self, name: str) -> bool:
        """For `L + d` an agent that starts votes only for the server its state names."""
        step = self.step
        if self.peers.ripe():
            return False
        return not step.life.had_state or self.state.vote != name

    def _would_vote(self, name: str) -> bool:
        step = self.step
        if step.life.newcomer or step.life.phase not in (Phase.RUNNING, Phase.LEAVING):
            return False
        if step.me not in step.settings.names:
            return False
        return not self._silent_for(name) and self.bound_to() in ("", name)

    def _may_win(self) -> bool:
        """Whether the servers heard now, with the arbiter where it decides, could be enough."""
        step = self.step
        arbiter = step.settings.arbiter
        if arbiter is not None and arbiter.required:
            heard, of = self.peers.heard_electors()
            if heard == of:
                return True
            return step.now < self.state.arbiter_at + step.times.authority_ms or (
                self.state.office is not Office.COORDINATOR
            )
        if self.peers.hears_majority():
            return True
        return arbiter is not None and self.peers.hears_half()

    def deadlines(self) -> tuple[int, ...]:
        """Instants at which authority, promise, wait or candidacy end; some are past, or never."""
        state = self.state
        trying = state.office in (Office.PRE, Office.CANDIDATE)
        return (
            self.authority.until() if state.office is Office.COORDINATOR else NEVER,
            state.promise_until,
            state.stand_at,
            state.asked_at + self.step.times.give_up_ms if trying else NEVER,
        )

    # ------------------------------------------------------------------ what happens

    def lapse(self) -> None:
        """Ends an office whose authority lapsed since the last event, before the next is taken.

        A late answer must not restore lapsed authority: the electorate may have shrunk meanwhile.
        """
        state = self.state
        if state.office is Office.COORDINATOR and not self.authority.in_office():
            why: Notice = notices.AuthorityLapsed(state.office_term.number)
            offered = self.arbiter.offered()
            if offered is not None:
                state.wait_until = self.step.now + self.step.times.lease_ms
                heard, of = self.arbiter.heard_of_those_in()
                why = notices.ArbiterOffered(offered.name, heard, of)
            self._resign(why)

    def heard(self, p: PeerState, beat: Beat) -> int | None:
        """Takes term, vote and question from the heartbeat of a believed server.

        Returns the send time of our beat, if a coordinator with authority answers one.
        """
        step, state = self.step, self.state
        if beat.term > state.term:
            state.term = beat.term
            step.changed(Change.DECISIONS)
        vote = beat.vote
        if vote is not None and vote.sent_at <= step.now:
            if vote.pre and state.office is Office.PRE and vote.term == self._next_term():
                if vote.sent_at > p.pre_at:
                    p.pre_at = vote.sent_at
                    step.changed(Change.DECISIONS)
            elif not vote.pre and vote.term == state.office_term and vote.sent_at > p.vote_at:
                p.vote_at = vote.sent_at
                if state.office is Office.CANDIDATE:
                    step.changed(Change.DECISIONS)
        if beat.ask == Ask.VOTE:
            self._asked(p, beat)
        elif beat.ask == Ask.PRE:
            self._asked_before(p, beat)
        return beat.echo.sent_at if beat.authority and beat.echo is not None else None

    def _asked(self, p: PeerState, beat: Beat) -> None:
        step, state = self.step, self.state
        name = beat.sender
        if not self._would_vote(name):
            return
        term = beat.ask_term
        if term == state.vote_term and state.vote == name:
            if state.office is not Office.NONE:
                self._end_office(OfficeChange.VOTED)
            state.promise_until = step.now + step.times.lease_ms
            p.given = Vote(term=term, sent_at=beat.sent_at)
            return
        if term < state.term:
            return
        state.term = max(state.term, term)
        state.vote = name
        state.vote_term = term
        state.promise_until = step.now + step.times.lease_ms
        if state.office is not Office.NONE:
            self._end_office(OfficeChange.VOTED)
        state.promise_until = step.now + step.times.lease_ms
        state.stand_at = NEVER
        p.given = Vote(term=term, sent_at=beat.sent_at)
        step.changed(Change.DECISIONS)
        self.answers.at_once(name, first=True)

    def _asked_before(self, p: PeerState, beat: Beat) -> None:
        if self._would_vote(beat.sender) and beat.ask_term > self.state.term:
            p.given = Vote(term=beat.ask_term, sent_at=beat.sent_at, pre=True)
            self.answers.at_once(beat.sender)

    # ------------------------------------------------------------------ each settling

    def settle(self) -> bool:
        """Takes, keeps, loses or gives up office; whether an office of ours began."""
        step, state = self.step, self.state
        before = state.office, state.office_term
        self.arbiter.count_heard()
        self.lapse()
        if state.office is Office.COORDINATOR and state.term > state.office_term:
            self._resign(notices.HigherTerm(state.term.number))
            self._stand(OfficeChange.HIGHER_TERM)
        if state.office in (Office.PRE, Office.CANDIDATE):
            self._advance()
        if state.office is Office.NONE:
            self._consider()
        serving = step.life.phase in (Phase.RUNNING, Phase.LEAVING)
        if not serving and state.office is not Office.NONE:
            self._resign(notices.CoordinatorLeaves())
        told = self.authority.coordinator()
        if told != state.told and (told or state.told):
            state.told = told
            step.changed(Change.REPORT, Change.REQUESTS)
        begun = (state.office, state.office_term) != before
        return begun and state.office is Office.COORDINATOR

    def _consider(self) -> None:
        step, state = self.step, self.state
        if not self._would_vote(step.me) or step.life.phase is not Phase.RUNNING:
            state.stand_at = NEVER
            return
        if self.peers.all_others_out():
            self._stand(OfficeChange.ALONE)
            return
        if not self._may_win() or step.now < state.wait_until:
            state.stand_at = NEVER
            return
        if state.stand_at == NEVER:
            state.stand_at = step.now + self._delay()
        if step.now >= state.stand_at:
            state.stand_at = NEVER
            self._turn(OfficeChange.MAY_WIN)
            state.asked_at = step.now
            for p in self.peers.values():
                p.pre_at = NEVER
            self.arbiter.ask()
            step.changed(Change.BEATS, Change.DECISIONS)

    def _delay(self) -> int:
        """How long we wait before we stand: by priority, longer after each attempt, partly random.

        With a required arbiter it is short enough to find it free within the `L` of an offer.
        """
        step = self.step
        unit_ms = max(step.times.give_up_ms // 6, 10)
        place = step.settings.names.index(step.me)
        attempts = min(self.state.attempts, 8)
        delay_ms = place * unit_ms + attempts * (place + 1) * unit_ms
        arbiter = step.settings.arbiter
        if arbiter is not None and arbiter.required:
            delay_ms = min(delay_ms, step.times.lease_ms // 2)
        return delay_ms + step.draw(unit_ms // 2)

    def _turn(self, change: OfficeChange) -> None:
        """The one place where our office changes."""
        self.state.office = OFFICE.after(self.state.office, change)

    def _stand(self, change: OfficeChange) -> None:
        """Votes for ourselves in a new term and asks the others."""
        step, state = self.step, self.state
        self._turn(change)
        state.office_term = self._next_term()
        state.term = state.office_term
        state.vote = step.me
        state.vote_term = state.office_term
        state.promise_until = NEVER
        state.asked_at = step.now
        state.stand_at = NEVER
        for p in self.peers.values():
            p.vote_at = NEVER
        step.changed(Change.DECISIONS, Change.BEATS)
        self.arbiter.ask()
        self._advance()

    def _advance(self) -> None:
        step, state = self.step, self.state
        if state.office is Office.PRE:
            if self._pre_given():
                if state.rival:
                    self.arbiter.leave_free()
                    self._give_up()
                else:
                    self._stand(OfficeChange.PROMISED)
                return
        elif step.now < self.authority.until():
            self._take_office()
            return
        elif state.term > state.office_term:
            self._give_up()
            return
        if step.now - state.asked_at >= step.times.give_up_ms:
            self._give_up()

    def _pre_given(self) -> bool:
        """Whether enough would vote, with the arbiter's lease where it decides."""
        step, state = self.step, self.state
        electorate = self.peers.electorate()
        yes = 1 + sum(
            1
            for name in electorate
            if name != step.me and self.peers[name].pre_at >= state.asked_at
        )
        arbiter = step.settings.arbiter
        held = state.arbiter_at != NEVER
        if arbiter is not None and arbiter.required:
            return held or yes == len(electorate)
        if yes >= majority(len(electorate)):
            return True
        return arbiter is not None and held and 2 * yes == len(electorate)

    def _give_up(self) -> None:
        state = self.state
        state.attempts += 1
        self._end_office(OfficeChange.GIVEN_UP)

    def _resign(self, why: Notice) -> None:
        self.step.notice(why)
        self._end_office(OfficeChange.RESIGNED)

    def _end_office(self, change: OfficeChange) -> None:
        """Carries nothing over; a pre-candidate alone keeps its promise to another server."""
        step, state = self.step, self.state
        if state.office is not Office.PRE:
            state.promise_until = NEVER
        self._turn(change)
        state.stand_at = NEVER
        self.arbiter.release()
        step.changed(Change.DECISIONS)

    def _take_office(self) -> None:
        step, state = self.step, self.state
        self._turn(OfficeChange.ELECTED)
        state.office_at = step.now
        state.attempts = 0
        for p in self.peers.values():
            p.answered_at = NEVER
            p.answered_echo = None
        step.notice(notices.CoordinatorElected(state.office_term.number, self.peers.electorate()))
        step.changed(Change.DECISIONS, Change.BEATS)
