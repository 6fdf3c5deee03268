"""The arbiter's lease: asked for, renewed, given back.

See `docs/rules.md`, *Votes, authority, electorate*.  A required arbiter replaces the majority.  A
coordinator that has come to hear less than half of the servers offers it to servers that hear
half; a candidate that hears less than half leaves it free for them.
"""

from __future__ import annotations

from clptools.core.cluster.peers import Peers
from clptools.core.model.actions import HoldArbiter, ReleaseArbiter
from clptools.core.model.cluster_state import VoteState
from clptools.core.model.events import ArbiterAnswered
from clptools.core.model.group_state import Runs, holds_any
from clptools.core.model.settings import Arbiter
from clptools.core.model.states import Office
from clptools.core.model.timing import NEVER
from clptools.core.step import Change, Step


class ArbiterLease:
    """The lease of the arbiter that decides a tie, or replaces the majority."""

    def __init__(self, step: Step, state: VoteState, group_runs: Runs, peers: Peers) -> None:
        self.step = step
        self.state = state
        self.group_runs = group_runs
        self.peers = peers

    @property
    def required(self) -> bool:
        """Whether an arbiter replaces the majority."""
        arbiter = self.step.settings.arbiter
        return arbiter is not None and arbiter.required

    # ------------------------------------------------------------------ asked and answered

    def ask(self) -> None:
        """Asks once an interval while we stand for election or are in office."""
        step, state = self.step, self.state
        arbiter = step.settings.arbiter
        if arbiter is None or state.office is Office.NONE or self.offers():
            return
        if step.now - state.arbiter_asked_at < arbiter.interval_ms:
            return
        if step.now < state.arbiter_from:
            return  # its answer could not be told from that to the question before the release
        state.arbiter_asked_at = step.now
        step.do(HoldArbiter(name=arbiter.name, lease_ms=step.times.lease_ms))

    def answered(self, event: ArbiterAnswered) -> None:
        """The arbiter answered; its lease counts from the send time of the question."""
        arbiter = self.step.settings.arbiter
        if arbiter is None or arbiter.name != event.name:
            return
        state = self.state
        state.arbiter_error = event.error
        if not event.error:
            state.arbiter_ok_at = self.step.now
            if not event.held and state.few_since != NEVER:
                self._refused()
        # What we gave back meanwhile may be another server's by now.
        asked_since = event.asked_at >= state.arbiter_from
        if event.held and asked_since and state.office is not Office.NONE:
            state.arbiter_at = max(state.arbiter_at, event.asked_at)
        self.step.changed(Change.DECISIONS)

    def _refused(self) -> None:
        """Another server has the lease; one that died does not renew it for longer than `L`."""
        state, now = self.state, self.step.now
        if state.refused_since == NEVER:
            state.refused_since = now
        state.rival = now - state.refused_since >= self.step.times.silence_ms

    def release(self) -> None:
        """Gives the lease back, if we asked for it."""
        state, arbiter = self.state, self.step.settings.arbiter
        state.arbiter_at = NEVER
        if state.arbiter_asked_at == NEVER:
            return
        state.arbiter_from = state.arbiter_asked_at + 1
        state.arbiter_asked_at = NEVER
        if arbiter is not None:
            self.step.do(ReleaseArbiter(name=arbiter.name))

    # ------------------------------------------------------------------ left to others

    def offered(self) -> Arbiter | None:
        """The arbiter that we stop renewing now, for servers that hear half; or None."""
        return self.step.settings.arbiter if self.offers() else None

    def offers(self) -> bool:
        """Whether we stop renewing a required arbiter, for servers that hear half.

        While we run a group we offer it only once every server that is cut off as well has seen
        it renewed for long enough to leave it alone (`leave_free`).  A server that already heard
        less than half when it took the arbiter knows that no other server wants it, and offers it
        again after `B`.
        """
        step, state = self.step, self.state
        if state.office is not Office.COORDINATOR or state.few_since == NEVER:
            return False
        if state.office_at >= state.few_since:
            return step.now >= state.office_at + step.times.startup_ms
        kept_ms = 3 * step.times.lease_ms if holds_any(self.group_runs) else 0
        return step.now >= state.few_since + kept_ms

    def leave_free(self) -> None:
        """An arbiter that was renewed until now may be on offer, but not to us.

        The server that offers it takes it back after `L`.  Free for longer, it is for any server.
        """
        state, times = self.state, self.step.times
        state.rival = False
        state.wait_until = self.step.now + times.lease_ms + times.lease_ms // 2

    def count_heard(self) -> None:
        """Notes since when a required arbiter would serve better in the hands of others."""
        state = self.state
        if self.required:
            heard, of = self.heard_of_those_in()
            if 2 * heard < of:
                if state.few_since == NEVER:
                    state.few_since = self.step.now
                return
        if state.few_since != NEVER:
            state.few_since = state.refused_since = state.wait_until = NEVER
            state.rival = False

    def heard_of_those_in(self) -> tuple[int, int]:
        """As `heard_electors`, without servers that are out: they take no arbiter."""
        heard = in_all = 1
        for name in self.peers.electorate():
            if name != self.step.me and not self.peers.is_out(name):
                in_all += 1
                heard += self.peers.hears(name)
        return heard, in_all
