"""Our heartbeats: what they say, to which servers they go, and by which path."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from clptools.core.cluster.authority import Authority
from clptools.core.cluster.election import Election
from clptools.core.cluster.holdings import Holdings
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.model.actions import SendBeat
from clptools.core.model.cluster_state import PeerState
from clptools.core.model.messages import Beat, Echo, Holding
from clptools.core.model.state import Phase
from clptools.core.model.timing import NEVER
from clptools.core.step import Step


class OwnWord(msgspec.Struct, frozen=True, kw_only=True):
    """What our heartbeats say of this server's groups, watchdog and hardware."""

    holdings: tuple[Holding, ...]
    """Of each group that we hold or have seen an epoch of."""
    unproven: tuple[str, ...]
    """In office: groups that could not start elsewhere, were they stopped where they run."""
    purging: tuple[str, ...]
    armed: bool
    barred: bool


class Heartbeats:
    """Builds and sends heartbeats."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        holdings: Holdings,
        policy: SharedPolicy,
        authority: Authority,
        election: Election,
    ) -> None:
        self.step = step
        self.peers = peers
        self.holdings = holdings
        self.policy = policy
        self.authority = authority
        self.election = election

    def send_to(self, names: Iterable[str], own: OwnWord) -> None:
        """Sends a beat to each of these; also through a third server where a direct path is cut."""
        step = self.step
        now = step.now
        peers = self.peers
        hears = self._hears()
        out = tuple(n for n in peers if peers.is_out(n))
        election = self.election
        authority = self.authority.in_office()
        coordinator = step.me if authority else self.authority.heard_coordinator()
        ask = election.asking()
        ask_term = election.ask_term()
        lacks = peers.lacks() if step.life.newcomer else ()
        ripe = step.life.newcomer and peers.ripe()
        for name in names:
            p = peers[name]
            seq = self.holdings.next_seq()
            echo = self._echo(p)
            if authority and echo is not None and echo != p.answered_echo:
                p.answered_at = now
                p.answered_echo = echo
            beat = Beat(
                sender=step.me,
                to=name,
                incarnation=step.life.incarnation,
                seq=seq,
                sent_at=now,
                echo=echo,
                term=election.state.term,
                ask=ask,
                ask_term=ask_term,
                vote=p.given,
                authority=authority,
                coordinator=coordinator,
                newcomer=step.life.newcomer,
                ripe=ripe,
                lacks=lacks,
                counts=name not in out and echo is p.echo and self._counts(p),
                out=out,
                hears=hears,
                holdings=own.holdings,
                policy=self.policy.shared.version,
                armed=own.armed,
                suspended=self.policy.shared.suspended,
                stopped=step.life.phase is not Phase.RUNNING,
                barred=own.barred,
                revision=step.settings.revision,
                voters=step.settings.voters,
                unproven=own.unproven,
                purging=own.purging,
                lists=True,
                have=self.holdings.have(p, echo),
                turns_ms=self._turns_ms(p, echo),
                unfit=not step.life.noted,
            )
            via = self._relay_to(name, hears) if self._cut_off(p) else ""
            self._send(beat, via)

    def _counts(self, p: PeerState) -> bool:
        """Whether it votes as we do; a newcomer must have no older revision, either."""
        ours = self.step.settings
        newcomer = p.beat is not None and p.beat.newcomer
        outdated = newcomer and p.beat is not None and p.beat.revision < ours.revision
        return p.voters == ours.voters and not outdated

    def _send(self, beat: Beat, via: str) -> None:
        """Sends a beat whole, or as a list with its pages; an earlier version gets it whole."""
        step = self.step
        peers = self.peers
        listed = beat
        if not self.holdings.fits(beat):
            listed = self.holdings.listed(beat)
        reads = peers[beat.to].reads_lists
        step.do(SendBeat(beat=listed if reads else beat))
        relays = bool(via) and reads and peers[via].reads_lists
        if via:
            # An earlier version would pass on only the fields that it knows.
            step.do(SendBeat(beat=listed if relays else beat, via=via))
        if listed.listed and reads:
            self.holdings.pages(listed, via if relays else "")

    def tell_left(self, names: list[str]) -> None:
        """Tells each of these that we have left."""
        step = self.step
        for name in names:
            p = self.peers[name]
            beat = Beat(
                sender=step.me,
                to=name,
                incarnation=step.life.incarnation,
                seq=self.holdings.next_seq(),
                sent_at=step.now,
                echo=self._echo(p),
                left=True,
                lists=True,
            )
            step.do(SendBeat(beat=beat))
            via = self._relay_to(name, self._hears()) if self._cut_off(p) else ""
            if via:
                step.do(SendBeat(beat=beat, via=via))

    def _echo(self, p: PeerState) -> Echo | None:
        """The newest beat heard; of an unknown incarnation once the known one is silent."""
        if p.stranger is not None and (
            not p.believed or self.step.now - p.heard_at > self.step.times.hear_ms
        ):
            return p.stranger
        return p.echo

    def _turns_ms(self, p: PeerState, echo: Echo | None) -> int:
        """`Beat.turns_ms`; nothing to an incarnation with which we have exchanged nothing."""
        if echo is None or echo is not p.echo or p.turns_at == NEVER:
            return 0
        return self.step.now - p.turns_at

    def _hears(self) -> tuple[str, ...]:
        """The servers that we hear directly."""
        step = self.step
        since = step.now - step.times.hear_ms
        return tuple(n for n, p in self.peers.items() if p.direct_at >= since)

    def _cut_off(self, p: PeerState) -> bool:
        """Whether either of us does not hear the other directly: a cable may fail one way only."""
        step = self.step
        silent = step.now - p.direct_at > step.times.hear_ms
        return silent or (p.beat is not None and step.me not in p.beat.hears)

    def _relay_to(self, name: str, hears: tuple[str, ...]) -> str:
        """A server that we hear directly and that hears `name`; empty: none."""
        able = [other for other in hears if self._hears_them(other, name)]
        # One that does not hear us has nothing to pass on; what it last said of that may be old.
        hearing = (other for other in able if self._hears_them(other, self.step.me))
        return next(hearing, able[0] if able else "")

    def _hears_them(self, other: str, name: str) -> bool:
        """Whether `other` says that it hears `name`."""
        beat = self.peers[other].beat
        return beat is not None and name in beat.hears
