"""A coordinator's authority: who has it, and until when.

See `docs/rules.md`, *Votes, authority, electorate*.  Questions only; `election.py` wins and loses
the office.
"""

from __future__ import annotations

from collections.abc import Iterable

from clptools.core.cluster.peers import Peers, majority
from clptools.core.cluster.revision import Revision
from clptools.core.model.cluster_state import VoteState
from clptools.core.model.settings import Arbiter
from clptools.core.model.states import Office
from clptools.core.model.timing import NEVER
from clptools.core.step import Step

FOREVER = -NEVER


def answered_by(others: Iterable[int], needed: int) -> int | None:
    """The newest send time that at least `needed` of `others` have answered.

    `others` holds, for each other elector, the newest send time it answered (`NEVER`: none).
    None: our own vote is enough.
    """
    if needed <= 0:
        return None
    ranked = sorted(others, reverse=True)
    return ranked[needed - 1] if needed <= len(ranked) else NEVER


class Authority:
    """Who is coordinator, and whether that authority runs."""

    def __init__(self, step: Step, state: VoteState, peers: Peers, revision: Revision) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self.revision = revision

    def in_office(self) -> bool:
        """Whether we are coordinator and our authority runs at this instant."""
        return self.state.office is Office.COORDINATOR and self.step.now < self.until()

    def coordinator(self) -> str:
        """The coordinator as far as we know; empty: no server is heard in office."""
        return self.step.me if self.in_office() else self.heard_coordinator()

    def heard_coordinator(self) -> str:
        """Another server that is heard in office; empty: none is."""
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

    # ------------------------------------------------------------------ how long it lasts

    def until(self) -> int:
        """Until when the electorate's answers give authority."""
        until = self._until(self.peers.electorate())
        previous = self._previous_electorate()
        if not previous:
            return until
        before = self.revision.state.arbiter
        if before == self.step.settings.arbiter:
            return min(until, self._until(previous))
        return min(until, self._without_arbiter(previous, before))

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

    def _without_arbiter(self, electorate: tuple[str, ...], before: Arbiter | None) -> int:
        """By the previous revision, whose arbiter we can no longer ask: a tie gives nothing."""
        others = self._answers(electorate)
        every = before is not None and before.required
        found = answered_by(others, len(others) if every else majority(len(electorate)) - 1)
        return FOREVER if found is None else found + self.step.times.authority_ms

    def _answers(self, electorate: tuple[str, ...]) -> list[int]:
        """For each other elector, the newest of our requests that it answered with its vote."""
        peers = self.peers
        if electorate is self.step.settings.names:
            return [p.vote_at for p in peers.values()]
        return [
            peers[name].vote_at if name in peers else NEVER
            for name in electorate
            if name != self.step.me
        ]

    def _previous_electorate(self) -> tuple[str, ...]:
        """The electorate by the previous revision, while a majority must be one in both."""
        names = self.revision.state.names
        return self.peers.voters(names) if names and not self.peers.all_others_out() else ()
