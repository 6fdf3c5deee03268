"""Votes, terms and authority (`docs/rules.md`, *Votes, authority, electorate*).

The way into office and out of it is `OFFICE` in `core/model/transitions.py`: first a server asks
whether votes would be given, then for the votes.  A server alone (all others out) needs none and
takes office at once.
"""

from __future__ import annotations

from clptools.core.cluster.answers import Answers
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.revision import Revision
from clptools.core.model.actions import HoldArbiter, ReleaseArbiter
from clptools.core.model.events import ArbiterAnswered
from clptools.core.model.group_runs import Runs, holds_any
from clptools.core.model.messages import Beat, Term, Vote
from clptools.core.model.quorum import NEVER, answered_by, majority
from clptools.core.model.settings import Arbiter
from clptools.core.model.state import PeerState, Phase, VoteState
from clptools.core.model.states import Office
from clptools.core.model.transitions import OFFICE, OfficeChange
from clptools.core.model.words import Ask
from clptools.core.notices import cluster as notices
from clptools.core.notices.form import Notice
from clptools.core.step import Change, Step

FOREVER = -NEVER


class Election:
    """Our vote, our term, our office."""

    def __init__(
        self,
        step: Step,
        state: VoteState,
        group_runs: Runs,
        peers: Peers,
        answers: Answers,
        revision: Revision,
    ) -> None:
        self.step = step
        self.state = state
        self.group_runs = group_runs
        self.peers = peers
        self.answers = answers
        self.revision = revision

    # ------------------------------------------------------------------ questions

    def in_office(self) -> bool:
        """Whether we are coordinator and our authority runs at this instant."""
        return self.state.office is Office.COORDINATOR and self.step.now < self.authority_until()

    def authority_until(self) -> int:
        """Until when what the electorate answered carries authority."""
        step = self.step
        until = self._until(self.peers.electorate())
        previous = self._previous_electorate()
        if not previous:
            return until
        before = self.revision.state.arbiter
        if before == step.settings.arbiter:
            return min(until, self._until(previous))
        return min(until, self._without_arbiter(previous, before))

    def _without_arbiter(self, electorate: tuple[str, ...], before: Arbiter | None) -> int:
        """By the revision before, whose arbiter is not ours to ask any more: a tie is none."""
        others = self._answers(electorate)
        every = before is not None and before.required
        found = answered_by(others, len(others) if every else majority(len(electorate)) - 1)
        return FOREVER if found is None else found + self.step.times.authority_ms

    def _answers(self, electorate: tuple[str, ...]) -> list[int]:
        """The newest of our asking beats that each of the others answered with its vote."""
        peers = self.peers
        return [
            peers[name].vote_at if name in peers else NEVER
            for name in electorate
            if name != self.step.me
        ]

    def _until(self, electorate: tuple[str, ...]) -> int:
        step = self.step
        lasts = step.times.authority_ms
        others = self._answers(electorate)
        size = len(electorate)
        arbiter = step.settings.arbiter
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

    def _previous_electorate(self) -> tuple[str, ...]:
        """The electorate by the revision before, while a majority must be one in both."""
        names = self.revision.state.names
        return self.peers.voters(names) if names and not self.peers.all_others_out() else ()

    def coordinator(self) -> str:
        """Whom we take for coordinator now; empty when nobody is heard in office."""
        return self.step.me if self.in_office() else self.heard_coordinator()

    def heard_coordinator(self) -> str:
        """Another server that is heard in office; empty: nobody is."""
        step = self.step
        best = ""
        newest = NEVER
        for name, p in self.peers.items():
            if p.beat is None or not p.beat.authority or self.peers.is_out(name):
                continue
            if step.now - p.heard_at <= step.times.lost_ms and p.heard_at > newest:
                best, newest = name, p.heard_at
        return best

    def quorate(self) -> bool:
        """Whether a coordinator with authority is known."""
        return bool(self.coordinator())

    def asking(self) -> Ask:
        """What our beats ask for."""
        office = self.state.office
        if office is Office.PRE:
            return Ask.PRE
        if office is Office.CANDIDATE:
            return Ask.VOTE
        if office is Office.COORDINATOR and self._may_win():
            return Ask.VOTE
        return Ask.NOTHING

    def ask_term(self) -> Term:
        """The term that our asking names."""
        if self.state.office is Office.PRE:
            return self._next_term()
        return self.state.office_term

    def _next_term(self) -> Term:
        return Term(self.state.term.number + 1, self.step.life.incarnation)

    def bound_to(self) -> str:
        """The server our running promise binds us to; empty when we are free."""
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

    def _offers_arbiter(self) -> bool:
        """Whether we stop renewing a required arbiter, for others who hear half.

        While we run a group it is offered only when everybody who is cut off as well has seen it
        renewed for long enough to leave it to us (`_leave_free`).  Whoever took it while it already
        heard less than half found that nobody else wants it, and offers it again after `B`.
        """
        step, state = self.step, self.state
        if state.office is not Office.COORDINATOR or state.few_since == NEVER:
            return False
        if state.office_at >= state.few_since:
            return step.now >= state.office_at + step.times.startup_ms
        kept_ms = 3 * step.times.lease_ms if holds_any(self.group_runs) else 0
        return step.now >= state.few_since + kept_ms

    def _may_win(self) -> bool:
        """Whether those heard now, with the arbiter where it decides, could be enough."""
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

    # ------------------------------------------------------------------ what happens

    def lapse(self) -> None:
        """Ends an office whose authority lapsed since the last event, before the next is taken.

        An answer that is only now seen must not revive it: in between others may have gone out.
        """
        state = self.state
        if state.office is Office.COORDINATOR and not self.in_office():
            why: Notice = notices.AuthorityLapsed(state.office_term.number)
            arbiter = self.step.settings.arbiter
            if arbiter is not None and self._offers_arbiter():
                state.wait_until = self.step.now + self.step.times.lease_ms
                heard, of = self._heard_of_those_in()
                why = notices.ArbiterOffered(arbiter.name, heard, of)
            self._resign(why)

    def heard(self, p: PeerState, beat: Beat) -> int | None:
        """Takes term, votes and asking of a believed beat.

        Returns the send time of our beat that a coordinator with authority answers by it.
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

    def arbiter(self, event: ArbiterAnswered) -> None:
        """An arbiter answered; its lease counts from the send time of the question."""
        arbiter = self.step.settings.arbiter
        if arbiter is None or arbiter.name != event.name:
            return
        state = self.state
        state.arbiter_error = event.error
        if not event.error:
            state.arbiter_ok_at = self.step.now
            if not event.held and state.few_since != NEVER:
                self._refused()
        # One to an earlier candidacy begins no office: `_pre_given` wants one of its own.
        if event.held and state.office is not Office.NONE:
            state.arbiter_at = max(state.arbiter_at, event.asked_at)
        self.step.changed(Change.DECISIONS)

    def _refused(self) -> None:
        """The arbiter is another's; a server that died does not renew it for longer than `L`."""
        state, now = self.state, self.step.now
        if state.refused_since == NEVER:
            state.refused_since = now
        state.rival = now - state.refused_since >= self.step.times.silence_ms

    # ------------------------------------------------------------------ each settling

    def settle(self) -> bool:
        """Takes, keeps, loses or gives up office; whether an office of ours began."""
        step, state = self.step, self.state
        before = state.office, state.office_term
        self._count_heard()
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
        told = self.coordinator()
        if told != state.told and (told or state.told):
            state.told = told
            step.changed(Change.REPORT, Change.REQUESTS)
        begun = (state.office, state.office_term) != before
        return begun and state.office is Office.COORDINATOR

    def _count_heard(self) -> None:
        """Since when a required arbiter would be better in the hands of others."""
        state, arbiter = self.state, self.step.settings.arbiter
        if arbiter is not None and arbiter.required:
            heard, of = self._heard_of_those_in()
            if 2 * heard < of:
                if state.few_since == NEVER:
                    state.few_since = self.step.now
                return
        if state.few_since != NEVER:
            state.few_since = state.refused_since = state.wait_until = NEVER
            state.rival = False

    def _heard_of_those_in(self) -> tuple[int, int]:
        """As `heard_electors`, without those that are out: they take no arbiter."""
        heard = in_all = 1
        for name in self.peers.electorate():
            if name != self.step.me and not self.peers.is_out(name):
                in_all += 1
                heard += self.peers.hears(name)
        return heard, in_all

    def ask_arbiter(self) -> None:
        """Asks the arbiter in its interval while we stand or are in office."""
        step, state = self.step, self.state
        arbiter = step.settings.arbiter
        if arbiter is None or state.office is Office.NONE or self._offers_arbiter():
            return
        if step.now - state.arbiter_asked_at < arbiter.interval_ms:
            return
        state.arbiter_asked_at = step.now
        step.do(HoldArbiter(name=arbiter.name, lease_ms=step.times.lease_ms))

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
            self.ask_arbiter()
            step.changed(Change.BEATS, Change.DECISIONS)

    def _delay(self) -> int:
        """By priority, growing with each vain attempt, a little by chance.

        With a required arbiter short enough to find it free within the `L` that it is offered for.
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
        self.ask_arbiter()
        self._advance()

    def _advance(self) -> None:
        step, state = self.step, self.state
        if state.office is Office.PRE:
            if self._pre_given():
                if state.rival:
                    self._leave_free()
                else:
                    self._stand(OfficeChange.PROMISED)
                return
        elif step.now < self.authority_until():
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
        state, times = self.state, self.step.times
        state.rival = False
        state.wait_until = self.step.now + times.lease_ms + times.lease_ms // 2
        self._give_up()

    def _give_up(self) -> None:
        state = self.state
        state.attempts += 1
        self._end_office(OfficeChange.GIVEN_UP)

    def _resign(self, why: Notice) -> None:
        self.step.notice(why)
        self._end_office(OfficeChange.RESIGNED)

    def _end_office(self, change: OfficeChange) -> None:
        """Nothing of an office is carried over; before a candidacy no promise was ours."""
        step, state = self.step, self.state
        if state.office is not Office.PRE:
            state.promise_until = NEVER
        self._turn(change)
        state.stand_at = NEVER
        state.arbiter_at = NEVER
        arbiter = step.settings.arbiter
        if arbiter is not None and state.arbiter_asked_at != NEVER:
            state.arbiter_asked_at = NEVER
            step.do(ReleaseArbiter(name=arbiter.name))
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
