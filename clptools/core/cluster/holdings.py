"""What servers say of groups when it does not fit into a beat: a list, sent in pages.

A beat of at most `MAX_BYTES` carries all that membership and votes need, and what it says of
groups where that fits.  Where it does not, the beat only names the list, and the lines travel in
pages, datagrams of their own: a changed line at once, and again with later beats until the
receiver's own beats say that it has it.

Why an incomplete list proves nothing, and a complete one is the right one:

1. With every change a line gets a number higher than all before, no line is ever removed, and a
   beat describes the list as it was when it was sent: the highest number, how many lines, and the
   sum of their numbers.
2. The receiver keeps the newest line of each group that this incarnation sent.  If none is
   newer than the beat's highest, count and sum match only if every line is present and is the one
   that the beat counted.
3. Proof takes holdings *and* echo from the newest beat whose list was complete
   (`newest_complete_beat`).  So a line that is lost, late, doubled or replayed affects proof as
   the loss of that beat would, and not otherwise.
"""

from __future__ import annotations

import msgspec

from clptools.core.cluster.peers import Peers
from clptools.core.model.actions import SendBeat
from clptools.core.model.cluster_state import PeerHoldings, PeerState, SentState
from clptools.core.model.datagram import MAX_BYTES, datagram_bytes, line_bytes
from clptools.core.model.messages import NO_EPOCH, Beat, Echo, Holding, Line
from clptools.core.model.timing import NEVER
from clptools.core.notices import cluster as notices
from clptools.core.step import Change, Step

MAX_LINES = 4096
"""Kept of one peer: more groups than any configuration has."""
PAGE_ROOM = MAX_BYTES - 300
"""For lines in a page: the rest is two names of 63 bytes, the incarnation and the frame."""
_REPEAT_MS = 2_000
"""The longest pause before what is not confirmed is sent again."""
_SHORTEST_LINE = 12
_HEADERS = 48
"""Bytes of IPv6 and UDP before what a datagram carries."""


def newest_complete_beat(p: PeerState) -> Beat | None:
    """The newest beat whose holdings are complete, holdings included: the only one proof may use.

    Its echo is older than that of `p.beat` while pages of a newer list are on their way.
    """
    beat = p.holdings.told
    if p.beat is None or beat is None or beat.incarnation != p.beat.incarnation:
        return None
    return beat


def holds(p: PeerState) -> tuple[Holding, ...]:
    """What a peer last said of groups, as a whole."""
    beat = newest_complete_beat(p)
    return beat.holdings if beat is not None else ()


def says_unproven(p: PeerState, group: str) -> bool:
    """Whether a coordinator says, or may say, that `group` could not start elsewhere."""
    beat = newest_complete_beat(p)
    if beat is None:
        return p.beat is not None
    return group in beat.unproven


class Holdings:
    """Our own list and its pages, and those of the peers."""

    def __init__(self, step: Step, state: SentState, peers: Peers) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self._numbered: tuple[object, object, object] = (None, None, None)
        """What was numbered last: it is the same for all peers of one round of beats."""

    # ------------------------------------------------------------------ ours

    def next_seq(self) -> int:
        """Numbers every heartbeat and page of this incarnation."""
        self.state.seq += 1
        return self.state.seq

    def have(self, p: PeerState, echo: Echo | None) -> int:
        """For `Beat.have`: of the incarnation that the beat answers."""
        known = p.holdings
        return known.have if echo is not None and echo.incarnation == known.incarnation else 0

    def fits(self, beat: Beat) -> bool:
        """Whether a beat may go as it is."""
        if len(beat.holdings) * _SHORTEST_LINE > MAX_BYTES:
            return False
        return datagram_bytes(beat) <= MAX_BYTES

    def listed(self, beat: Beat) -> Beat:
        """The same beat with its holdings named, not told; `pages` brings them."""
        self._number(beat)
        return msgspec.structs.replace(
            beat,
            holdings=(),
            unproven=(),
            purging=(),
            listed=self.state.lines_number,
            count=len(self.state.lines),
            total=self.state.lines_total,
        )

    def pages(self, beat: Beat, via: str) -> None:
        """Sends what the receiver of a listed beat lacks: what is new at once, all now and then."""
        step = self.step
        known = self.peers[beat.to].holdings
        if not self.peers.hears(beat.to):
            # Without its echo they would prove nothing to it; once it is heard they go at once.
            known.lacks_since = NEVER
            return
        since = max(known.has, known.sent)
        if known.has == self.state.lines_number:
            known.lacks_since = NEVER
        else:
            if known.lacks_since == NEVER:
                known.lacks_since = step.now
            # Less and less often: a path that loses all pages must not be flooded with them.
            pause = max(step.times.interval_ms, (step.now - known.lacks_since) // 8)
            if step.now - known.repeated_at >= min(pause, _REPEAT_MS):
                known.repeated_at = step.now
                since = known.has
        known.sent = self.state.lines_number
        for lines in self._cut(since):
            page = Beat(
                sender=step.me,
                to=beat.to,
                incarnation=step.life.incarnation,
                seq=self.next_seq(),
                sent_at=step.now,
                page=lines,
            )
            step.do(SendBeat(beat=page))
            if via:
                step.do(SendBeat(beat=page, via=via))

    def _number(self, beat: Beat) -> None:
        """Numbers what changed since the last time."""
        parts = (beat.holdings, beat.unproven, beat.purging)
        if all(part is before for part, before in zip(parts, self._numbered, strict=True)):
            return
        self._numbered = parts
        said = {h.group: h for h in beat.holdings}
        unproven, purging = set(beat.unproven), set(beat.purging)
        for group in dict.fromkeys((*self.state.lines, *said, *beat.unproven, *beat.purging)):
            line = Line(
                number=0,
                holding=said.get(group) or _nothing(group),
                unproven=group in unproven,
                purging=group in purging,
            )
            before = self.state.lines.get(group)
            if before is not None and line == msgspec.structs.replace(before, number=0):
                continue
            self.state.lines_number += 1
            self.state.lines_total += self.state.lines_number - (before.number if before else 0)
            self.state.lines[group] = msgspec.structs.replace(line, number=self.state.lines_number)

    def _cut(self, since: int) -> list[tuple[Line, ...]]:
        """The lines newer than `since`, page by page."""
        found: list[tuple[Line, ...]] = []
        lines: list[Line] = []
        room = PAGE_ROOM
        for line in self.state.lines.values():
            if line.number <= since:
                continue
            size = line_bytes(line)
            if lines and size > room:
                found.append(tuple(lines))
                lines, room = [], PAGE_ROOM
            lines.append(line)
            room -= size
        if lines:
            found.append(tuple(lines))
        return found

    # ------------------------------------------------------------------ a peer's

    def heard(self, name: str, p: PeerState, beat: Beat) -> None:
        """A beat was believed."""
        known = self._of(p, beat.incarnation)
        has = beat.have if beat.echo is not None else 0
        if has != known.has:
            known.has = has
            known.lacks_since = NEVER
        if beat.listed:
            if known.lacking_since == NEVER:
                known.lacking_since = self.step.now
            self._join(name, p, beat)
        else:
            self._tell(name, known, beat)

    def page(self, name: str, p: PeerState, beat: Beat) -> None:
        """Lines arrived."""
        if beat.incarnation != p.incarnation:
            return
        known = self._of(p, beat.incarnation)
        for line in beat.page:
            group = line.holding.group
            before = known.lines.get(group)
            number = before.number if before is not None else 0
            if line.number <= number or (before is None and len(known.lines) >= MAX_LINES):
                continue
            known.lines[group] = line
            known.total += line.number - number
            known.top = max(known.top, line.number)
        if p.beat is not None and p.beat.listed:
            self._join(name, p, p.beat)

    def _of(self, p: PeerState, incarnation: str) -> PeerHoldings:
        if p.holdings.incarnation != incarnation:
            p.holdings = PeerHoldings(incarnation=incarnation)
        return p.holdings

    def is_whole(self, known: PeerHoldings, beat: Beat) -> bool:
        """Whether the lines that we have are those that the beat speaks of."""
        return (
            known.top <= beat.listed
            and len(known.lines) == beat.count
            and known.total == beat.total
        )

    def _join(self, name: str, p: PeerState, beat: Beat) -> None:
        known = p.holdings
        before = known.told
        if before is not None and before.seq == beat.seq:
            return
        if not self.is_whole(known, beat):
            return
        if before is not None and before.listed == beat.listed:
            holdings, unproven, purging = before.holdings, before.unproven, before.purging
        else:
            lines = known.lines.values()
            holdings = tuple(h for h in (x.holding for x in lines) if h.held or h.seen.n)
            unproven = tuple(x.holding.group for x in lines if x.unproven)
            purging = tuple(x.holding.group for x in lines if x.purging)
        known.have = beat.listed
        whole = msgspec.structs.replace(beat, holdings=holdings, unproven=unproven, purging=purging)
        self._tell(name, known, whole)

    def _tell(self, name: str, known: PeerHoldings, beat: Beat) -> None:
        before = known.told
        known.told = beat
        known.lacking_since = NEVER
        if known.lacking_told:
            known.lacking_told = False
            self.step.notice(notices.PagesAgain(name))
        if (
            before is None
            or before.holdings != beat.holdings
            or before.unproven != beat.unproven
            or before.purging != beat.purging
        ):
            self.step.changed(Change.DECISIONS)

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Records where small datagrams arrive and pages do not: then the MTU is wrong."""
        step = self.step
        for name, p in self.peers.items():
            known = p.holdings
            if known.lacking_since == NEVER or known.lacking_told:
                continue
            if not self.peers.hears(name):
                known.lacking_since = step.now
            elif step.now - known.lacking_since > step.times.lost_ms:
                known.lacking_told = True
                heard = [n for n, at in p.link_at.items() if step.now - at <= step.times.hear_ms]
                step.notice(notices.PagesMissing(name, sorted(heard), MAX_BYTES + _HEADERS))


def _nothing(group: str) -> Holding:
    return Holding(group=group, seen=NO_EPOCH, held=False, state="none")
