"""The hostile network: which datagram arrives when, how often, or never.

A path is (from, to, interconnect).  Control messages take the best interconnect that is whole in
both directions, as TCP would; on top they may be lost with a connection, late or doubled.
Times are true microseconds.  All chance comes from the one generator handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from msgspec import msgpack

from clptools.core.model.messages import Beat

CONTROL = "control"
"""Pseudo path name in `hold`: the control channel."""
_AROUND = 80
"""Bytes of a heartbeat's packet beside the heartbeat: IP, UDP, our header and its code."""

_encoder = msgpack.Encoder()


class Network:
    """Delivery of everything the servers say to each other."""

    def __init__(self, links: tuple[str, ...], rng: Random, steady: bool) -> None:
        self.links = links
        self._random = rng.random
        self._steady = steady
        self.cuts: set[tuple[str, str, str]] = set()
        self.held: set[tuple[str, str, str]] = set()
        """Paths whose datagrams are kept back until they are released."""
        self.tapped: set[tuple[str, str, str]] = set()
        """Paths of whose datagrams a copy is kept back, to arrive a second time."""
        self.protected: set[str] = set()
        """Servers that cannot be cut off now (an operator saw to it)."""
        self.longer_us: dict[str, int] = {}
        """Interconnect -> by how much longer each of its datagrams takes."""
        self.loss = 0.0
        self.pair_loss: dict[tuple[str, str], float] = {}
        self.large = 0
        """Packets of more bytes than this are lost; 0: none for its size."""
        self.pair_large: dict[tuple[str, str], int] = {}
        self.late = 0.0
        """Share of datagrams that are late by up to `late_us`."""
        self.late_us = 0
        self.double = 0.0
        """Share of datagrams that arrive twice."""

    # --- faults --------------------------------------------------------------------------

    def cut(self, a: str, b: str, link: str = "", oneway: bool = False) -> None:
        """Nothing passes from `a` to `b` (nor back, unless one-way) on `link` (empty: on all)."""
        if a in self.protected or b in self.protected:
            return
        for name in (link,) if link else self.links:
            self.cuts.add((a, b, name))
            if not oneway:
                self.cuts.add((b, a, name))

    def isolate(self, a: str, others: Iterable[str]) -> None:
        """Cut `a` from everybody."""
        for b in others:
            if b != a:
                self.cut(a, b)

    def deaf(self, a: str, others: Iterable[str]) -> None:
        """`a` sends, and hears nothing."""
        for b in others:
            if b != a:
                self.cut(b, a, oneway=True)

    def mute(self, a: str, others: Iterable[str]) -> None:
        """`a` hears, and nobody hears it."""
        for b in others:
            if b != a:
                self.cut(a, b, oneway=True)

    def heal(self, a: str = "", b: str = "") -> None:
        """Mend the paths between `a` and `b` (empty: everything, loss and delay too)."""
        if not a:
            self.cuts.clear()
            self.pair_loss.clear()
            self.pair_large.clear()
            self.loss = self.late = self.double = 0.0
            self.large = 0
            return
        pairs = {(a, b), (b, a)}
        self.cuts = {c for c in self.cuts if (c[0], c[1]) not in pairs}

    @property
    def calm(self) -> bool:
        """Whether what is not cut passes, whole and soon."""
        bad = self.loss or self.late or self.large or self.held
        return not bad and not any(self.pair_loss.values()) and not any(self.pair_large.values())

    # --- delivery ------------------------------------------------------------------------

    def beat(self, a: str, b: str, link: str, beat: Beat) -> tuple[int, ...]:
        """Delays of the copies of one datagram that arrive; empty: none does."""
        if self.cuts and (a, b, link) in self.cuts:
            return ()
        if (self.large or self.pair_large) and self._too_large(a, b, beat):
            return ()
        delays = self._copies(a, b)
        if link in self.longer_us:
            return tuple(delay + self.longer_us[link] for delay in delays)
        return delays

    def _too_large(self, a: str, b: str, beat: Beat) -> bool:
        limit = self.pair_large.get((a, b), self.large)
        return bool(limit) and len(_encoder.encode(beat)) + _AROUND > limit

    def control(self, a: str, b: str) -> tuple[int, ...]:
        """The same for a control message."""
        if self.cuts and not self.connected(a, b):
            return ()
        return self._copies(a, b)

    def connected(self, a: str, b: str) -> bool:
        """Whether some interconnect passes both ways."""
        cuts = self.cuts
        return any((a, b, n) not in cuts and (b, a, n) not in cuts for n in self.links)

    def holds(self, a: str, b: str, kind: str) -> bool:
        """Whether messages of this kind are being kept back on the way."""
        return bool(self.held) and (a, b, kind) in self.held

    def taps(self, a: str, b: str, kind: str) -> bool:
        """Whether copies of such messages are being kept."""
        return bool(self.tapped) and (a, b, kind) in self.tapped

    def _copies(self, a: str, b: str) -> tuple[int, ...]:
        chance = self._random
        loss = self.pair_loss.get((a, b), self.loss) if self.pair_loss else self.loss
        if loss and chance() < loss:
            return ()
        delay = 500 if self._steady else 100 + int(900 * chance())
        if self.late and chance() < self.late:
            delay += int(self.late_us * chance() ** 2)
        if self.double and chance() < self.double:
            return (delay, delay + int(2_000_000 * chance() ** 2))
        return (delay,)
