"""The other servers as they are known now (`docs/rules.md`, *Out*), and which to answer now."""

from __future__ import annotations

from clptools.core import phrases as say
from clptools.core.model.cluster_state import BmcState, PeersState, PeerState
from clptools.core.model.state import Phase
from clptools.core.model.timing import NEVER
from clptools.core.step import Step

_REFUSED_MS = 5_000
"""A server whose datagrams were refused so long ago may have ended since."""


def majority(size: int) -> int:
    """How many of `size` are a strict majority."""
    return size // 2 + 1


class Peers(dict[str, PeerState]):
    """Every other configured server by its name, and what follows from what we know of it.

    It *is* the dictionary in the state, as nearly every rule asks it, several times a step.
    """

    def __init__(self, step: Step, state: PeersState) -> None:
        super().__init__(state.known)
        state.known = self
        self.step = step
        self.state = state

    @property
    def own_bmc(self) -> BmcState:
        """What our own BMC said."""
        return self.state.own_bmc

    def configure(self, names: tuple[str, ...]) -> None:
        """The servers are these from now on; what is known of those that stay is kept."""
        kept = {n: self.get(n) or PeerState() for n in names if n != self.step.me}
        self.clear()
        self.update(kept)

    def is_incarnation(self, name: str, incarnation: str) -> bool:
        """Whether we believe this incarnation of a server."""
        p = self.get(name)
        return p is not None and p.incarnation == incarnation

    def is_out(self, name: str) -> bool:
        """Whether a server is out for us: left, confirmed down, or its BMC read off."""
        p = self[name]
        if p.left or p.confirmed:
            return True
        return self.step.now < p.off_asked_at + self.step.times.startup_ms

    def out_reason(self, name: str) -> str:
        """Why it is out: `left`, `operator`, `power off`; empty when it is not."""
        p = self[name]
        if self.step.now < p.off_asked_at + self.step.times.startup_ms:
            return "power off"
        if p.left:
            return "left"
        return "operator" if p.confirmed else ""

    def all_others_out(self) -> bool:
        """Whether every other server is out."""
        return all(self.is_out(name) for name in self)

    def hears(self, name: str) -> bool:
        """Whether it is heard now, directly or relayed."""
        p = self[name]
        return p.believed and self.step.now - p.heard_at <= self.step.times.hear_ms

    def is_refused(self, name: str) -> bool:
        """Whether datagrams of its address are refused now, and nothing else is heard of it."""
        p = self[name]
        return self.step.now - p.refused_at <= _REFUSED_MS and not self.hears(name)

    def why_refused(self, name: str) -> str:
        """Why they are, in words; empty: none are refused now."""
        p = self[name]
        if not self.is_refused(name):
            return ""
        why = say.refused_for(p.refused_for, name, self.step.me)
        return say.datagrams_refused(p.refused_from, why)

    def mend_of_refusal(self, name: str) -> str:
        """What a person can do about it; empty: none are refused now."""
        p = self[name]
        return say.mends_refused(p.refused_for, name, self.step.me) if self.is_refused(name) else ""

    def is_online(self, name: str) -> bool:
        """Whether a server takes part: heard within the time-out, neither out nor leaving."""
        if name == self.step.me:
            return self.step.life.phase is Phase.RUNNING
        p = self[name]
        if p.beat is None or p.lost or self.is_out(name):
            return False
        return self.step.now - p.heard_at <= self.step.times.lost_ms

    def electorate(self) -> tuple[str, ...]:
        """All configured servers, less those out for `L + d`, or at once when all others are."""
        if not self._any_marked():
            return self.step.settings.names
        if self.all_others_out():
            return (self.step.me,)
        return self.voters(self.step.settings.names)

    def _any_marked(self) -> bool:
        """Whether any server may be out, or there is no other server.

        A cheap first check, asked many times in a step: nearly always no server is out.
        """
        for p in self.values():
            if p.left or p.confirmed or p.off_asked_at != NEVER:
                return True
        return not self

    def voters(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `names` whose votes count: all but the servers that were out for `L + d`."""
        now, silence = self.step.now, self.step.times.silence_ms
        return tuple(
            name
            for name in names
            if name == self.step.me
            or name not in self
            or not (
                self[name].out_since != NEVER
                and now - self[name].out_since >= silence
                and self.is_out(name)
            )
        )

    def heard_electors(self) -> tuple[int, int]:
        """How many of the electorate we hear now, ourselves included, and of how many."""
        electorate = self.electorate()
        heard = sum(1 for name in electorate if name == self.step.me or self.hears(name))
        return heard, len(electorate)

    def hears_majority(self) -> bool:
        """Whether the servers heard now are a strict majority."""
        heard, of = self.heard_electors()
        return heard >= majority(of)

    def hears_half(self) -> bool:
        """Whether the servers heard now are exactly half."""
        heard, of = self.heard_electors()
        return 2 * heard == of

    def hears_newcomer(self) -> bool:
        """Whether a newcomer is heard: for other servers it may still be out, and not count."""
        return any(
            p.beat is not None and p.beat.newcomer and self.hears(name) for name, p in self.items()
        )

    def majority_without_out(self) -> bool:
        """Whether the servers heard now would be a majority if no server were out."""
        heard, of = self._heard_of_all()
        return heard >= majority(of)

    def half_without_out(self) -> bool:
        """Whether the servers heard now would be exactly half if no server were out."""
        heard, of = self._heard_of_all()
        return 2 * heard == of

    def _heard_of_all(self) -> tuple[int, int]:
        names = self.step.settings.names
        return sum(1 for name in names if name == self.step.me or self.hears(name)), len(names)

    def lacks(self) -> tuple[str, ...]:
        """As a newcomer: the servers that neither count us nor are out for us."""
        return tuple(
            name
            for name, p in self.items()
            if not (p.counts_me and p.believed) and not self.is_out(name)
        )

    def ripe(self) -> bool:
        """Whether our first `L + d` is over."""
        return self.step.now >= self.step.life.started_at + self.step.times.silence_ms


class Answers:
    """Peers that are answered before the next interval."""

    def __init__(self, step: Step, peers: Peers) -> None:
        self.step = step
        self.peers = peers
        self.due: list[str] = []

    def at_once(self, name: str, *, first: bool = False) -> None:
        """Answers one peer now instead of at the next interval (not in a flood).

        `first`: the first answer to something that comes once a term or incarnation.  It is never
        held back: an election is three such answers within a few milliseconds.
        """
        p = self.peers[name]
        recent = self.step.now - p.urgent_at < self.step.times.interval_ms // 8
        if recent and not first:
            return
        p.urgent_at = self.step.now
        if name not in self.due:
            self.due.append(name)
