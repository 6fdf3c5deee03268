"""Our heartbeats: what they say, to whom, and by which way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core.model.actions import SendBeat
from clptools.core.model.messages import Beat, Echo, Holding
from clptools.core.model.quorum import NEVER
from clptools.core.model.state import PeerState, Phase

if TYPE_CHECKING:
    from clptools.core.node import Node


class Beats:
    """Builds and sends heartbeats."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.asked_for: list[str] = []
        """Peers that get an answer at the end of this step."""

    def answer_at_once(self, name: str, *, first: bool = False) -> None:
        """Answers one peer now instead of at the next interval (not in a flood).

        `first`: the first answer to something that comes once a term or incarnation.  It is never
        held back: an election is three such answers within a few milliseconds.
        """
        p = self.node.state.peers[name]
        recent = self.node.now - p.urgent_at < self.node.times.interval_ms // 8
        if recent and not first:
            return
        p.urgent_at = self.node.now
        if name not in self.asked_for:
            self.asked_for.append(name)

    def own_holdings(self) -> tuple[Holding, ...]:
        """What we say of each group that we hold or have seen an epoch of."""
        return tuple(
            Holding(group=name, seen=run.seen, held=run.held, state=run.state, why=run.why)
            for name, run in self.node.state.groups.items()
            if run.held or run.seen.n
        )

    def send_to(self, names: list[str]) -> None:
        """Sends a beat to each of these, over a third server to those not heard directly."""
        node = self.node
        state = node.state
        now = node.now
        peers = state.peers
        hears = self._hears()
        membership = node.membership
        out = tuple(n for n in peers if membership.is_out(n))
        votes = node.votes
        authority = votes.in_office()
        coordinator = node.me if authority else votes.heard_coordinator()
        ask = votes.asking()
        ask_term = votes.ask_term()
        holdings = self.own_holdings()
        unproven = node.placement.unproven() if authority else ()
        lacks = membership.lacks() if state.newcomer else ()
        ripe = state.newcomer and membership.ripe()
        armed = node.lease.promised()
        barred = node.ledger.barred()
        purging = node.groups.purging()
        for name in names:
            p = peers[name]
            state.seq += 1
            echo = self._echo(p)
            if authority and echo is not None and echo != p.answered_echo:
                p.answered_at = now
                p.answered_echo = echo
            beat = Beat(
                sender=node.me,
                to=name,
                incarnation=state.incarnation,
                seq=state.seq,
                sent_at=now,
                echo=echo,
                term=state.votes.term,
                ask=ask,
                ask_term=ask_term,
                vote=p.given,
                authority=authority,
                coordinator=coordinator,
                newcomer=state.newcomer,
                ripe=ripe,
                lacks=lacks,
                counts=name not in out and p.voters == state.voters and echo is p.echo,
                out=out,
                hears=hears,
                holdings=holdings,
                policy=state.shared.version,
                armed=armed,
                suspended=state.shared.suspended,
                stopped=state.phase is not Phase.RUNNING,
                barred=barred,
                revision=node.settings.revision,
                voters=state.voters,
                unproven=unproven,
                purging=purging,
                lists=True,
                have=node.holdings.have(p, echo),
                turns_ms=self._turns_ms(p, echo),
            )
            via = self._relay_to(name, hears) if self._cut_off(p) else ""
            self._send(beat, via)

    def _send(self, beat: Beat, via: str) -> None:
        """Sends a beat as it is, or listed with its pages; an earlier version gets it as it is."""
        node = self.node
        peers = node.state.peers
        listed = beat
        if not node.holdings.fits(beat):
            listed = node.holdings.listed(beat)
        reads = peers[beat.to].reads_lists
        node.emit(SendBeat(beat=listed if reads else beat))
        relays = bool(via) and reads and peers[via].reads_lists
        if via:
            # An earlier version would pass on only what it knows of.
            node.emit(SendBeat(beat=listed if relays else beat, via=via))
        if listed.listed and reads:
            node.holdings.pages(listed, via if relays else "")

    def tell_left(self, names: list[str]) -> None:
        """Answers "left" to each of these that we have heard."""
        node = self.node
        for name in names:
            p = node.state.peers[name]
            node.state.seq += 1
            beat = Beat(
                sender=node.me,
                to=name,
                incarnation=node.state.incarnation,
                seq=node.state.seq,
                sent_at=node.now,
                echo=self._echo(p),
                left=True,
                lists=True,
            )
            node.emit(SendBeat(beat=beat))
            via = self._relay_to(name, self._hears()) if self._cut_off(p) else ""
            if via:
                node.emit(SendBeat(beat=beat, via=via))

    def _echo(self, p: PeerState) -> Echo | None:
        """The newest beat heard; of an unknown incarnation once the known one is silent."""
        if p.stranger is not None and (
            not p.incarnation or self.node.now - p.heard_at > self.node.times.hear_ms
        ):
            return p.stranger
        return p.echo

    def _turns_ms(self, p: PeerState, echo: Echo | None) -> int:
        """`Beat.turns_ms`; nothing to an incarnation with which we have exchanged nothing."""
        if echo is None or echo is not p.echo or p.turns_at == NEVER:
            return 0
        return self.node.now - p.turns_at

    def _hears(self) -> tuple[str, ...]:
        """Whom we hear directly."""
        node = self.node
        since = node.now - node.times.hear_ms
        return tuple(n for n, p in node.state.peers.items() if p.direct_at >= since)

    def _cut_off(self, p: PeerState) -> bool:
        """Whether one of us does not hear the other directly: cables fail in one direction, too."""
        node = self.node
        silent = node.now - p.direct_at > node.times.hear_ms
        return silent or (p.beat is not None and node.me not in p.beat.hears)

    def _relay_to(self, name: str, hears: tuple[str, ...]) -> str:
        """Somebody we hear directly who hears `name`; empty: nobody."""
        peers = self.node.state.peers
        for other in hears:
            beat = peers[other].beat
            if beat is not None and name in beat.hears:
                return other
        return ""
