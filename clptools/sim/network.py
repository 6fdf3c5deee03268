"""The hostile network: which datagram arrives when, how often, or never; and the arbiters on it.

A path is (from, to, interconnect).  Control messages take the best interconnect that is whole in
both directions, as TCP would; on top they may be lost with a connection, late or doubled.
Times are true microseconds.  All chance comes from the one generator handed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any

from msgspec import msgpack

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.messages import Beat
from clptools.core.model.settings import Arbiter
from clptools.core.model.timing import drift_margin
from clptools.core.model.words import RefusedFor
from clptools.sim.host import SECOND, Host

if TYPE_CHECKING:
    from clptools.sim.world import World


CONTROL = "control"
"""Pseudo path name in `hold`: the control channel."""
_SNIFFED = 500
"""Heartbeats of one path that a recorder keeps."""
_AROUND = 80
"""Bytes of a heartbeat's packet beside the heartbeat: IP, UDP, our header and its code."""

_encoder = msgpack.Encoder()


class Steady(Random):
    """Chance without surprise."""

    def random(self) -> float:
        """The middle."""
        return 0.5


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
        self.keys: dict[str, str] = {}
        """Server -> its authkey, where it is not the cluster's."""
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
        """`a` hears, and is not heard."""
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
        bad = self.keys or self.loss or self.late or self.large or self.held
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
        if (self.cuts or self.keys) and not self.connected(a, b):
            return ()
        return self._copies(a, b)

    def share_a_key(self, a: str, b: str) -> bool:
        """Whether each takes what the other sends for authentic."""
        return self.keys.get(a, "") == self.keys.get(b, "")

    def connected(self, a: str, b: str) -> bool:
        """Whether some interconnect passes both ways, and both know one key."""
        cuts = self.cuts
        if not self.share_a_key(a, b):
            return False
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


CUTS: dict[str, Callable[[Network, str, Iterable[str]], None]] = {
    "isolate": Network.isolate,
    "deaf": Network.deaf,
    "mute": Network.mute,
}
"""Ways to cut one server off from all others."""


class Delivery:
    """Carries messages from server to server; some are held, copied or replayed on the way."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sniffed: dict[tuple[str, str], deque[tuple[Host, str, str, Any]]] = {}
        self._refused_us: dict[tuple[str, str], int] = {}
        self._kept: dict[tuple[str, str, str], list[tuple[Callable[..., object], Any]]] = {}

    def send_beat(self, host: Host, action: a.SendBeat, now: int) -> None:
        """`SendBeat`: a copy on each interconnect."""
        beat, world = action.beat, self._world
        network = world.network
        to = action.via or beat.to
        self._world.check.sent(host, beat)
        sniffed = self._sniffed.get((host.name, to)) if self._sniffed else None
        for link in network.links:
            if sniffed is not None:
                sniffed.append((host, to, link, beat))
            if network.holds(host.name, to, link):
                self._keep(host.name, to, link, self._beat_arrives, (host, to, link, beat))
                continue
            if network.taps(host.name, to, link):
                self._keep(host.name, to, link, self._beat_arrives, (host, to, link, beat))
            for delay in network.beat(host.name, to, link, beat):
                world.at(world.t + delay, self._beat_arrives, host, to, link, beat)

    def _beat_arrives(self, sender: Host, to: str, link: str, beat: Any) -> None:
        host = self._world.hosts[to]
        if host.node is not None:
            if not self._world.network.share_a_key(sender.name, to):
                self._refused(sender.name, host, link)
                return
            if sender.name != beat.sender:
                link = "relay"
            elif not host.frozen:
                self._world.check.heard(sender, host, beat)
            self._world.step(host, e.BeatSeen(link=link, beat=beat))

    def _refused(self, sender: str, host: Host, link: str) -> None:
        """As `links/lan.py` tells of it: once a second."""
        world = self._world
        if world.t - self._refused_us.get((sender, host.name), -SECOND) >= SECOND:
            self._refused_us[sender, host.name] = world.t
            there = next(i.addresses for i in world.settings.interconnects if i.name == link)
            address, why = there.get(sender, link), RefusedFor.AUTHKEY
            world.step(host, e.HeartbeatRefused(server=sender, address=address, why=why))

    def send_control(self, host: Host, action: a.SendControl, now: int) -> None:
        """`SendControl`."""
        to = action.to
        args = (host.name, to, action.message)
        if self._world.network.holds(host.name, to, CONTROL):
            self._keep(host.name, to, CONTROL, self._control_arrives, args)
            return
        if self._world.network.taps(host.name, to, CONTROL):
            self._keep(host.name, to, CONTROL, self._control_arrives, args)
        for delay in self._world.network.control(host.name, to):
            self._world.at(self._world.t + delay, self._control_arrives, *args)

    def _control_arrives(self, sender: str, to: str, message: Any) -> None:
        self._world.step(self._world.hosts[to], e.ControlSeen(sender=sender, message=message))

    def sniff(self, sender: str, to: str) -> None:
        """The heartbeats from one server to another are recorded from now on."""
        self._sniffed[sender, to] = deque(maxlen=_SNIFFED)

    def replay(self, sender: str, to: str, rate: float, seconds: float) -> None:
        """What was recorded arrives again and again, `rate` beats a second."""
        recorded = list(self._sniffed.get((sender, to), ()))
        for i in range(int(rate * seconds) if recorded else 0):
            when = self._world.t + round(i * SECOND / rate)
            self._world.at(when, self._beat_arrives, *recorded[i % len(recorded)])

    def _keep(
        self, sender: str, to: str, kind: str, what: Callable[..., object], args: Any
    ) -> None:
        self._kept.setdefault((sender, to, kind), []).append((what, args))

    def release(self, sender: str, to: str, kind: str) -> int:
        """Deliver what was held back on this path, in order, and hold no more; how many."""
        self._world.network.held.discard((sender, to, kind))
        self._world.network.tapped.discard((sender, to, kind))
        kept = self._kept.pop((sender, to, kind), [])
        for i, (what, args) in enumerate(kept):
            self._world.at(self._world.t + 100 + i, what, *args)
        return len(kept)


class ArbiterModel:
    """One `[[np]]` entry: a strong one gives one lease at a time, a weak one says yes to all.

    A strong arbiter counts its lease from the moment it took it: it ends later than the holder's
    own count, which starts at the send time.  Releases name the hold they end.  The types differ in
    when another server may take what a dead holder left:

    witness  once the lease is over, on the witness's clock
    etcd     once the lease, rounded up to a second, is over
    disk     once this run of that server has seen the slot unchanged for a lease and its margin
             (each agent joins the disk when it starts, so its own slot is there when it asks)
    """

    def __init__(self, world: World, settings: Arbiter, rng: Random) -> None:
        self._world = world
        self._settings = settings
        self._rng = rng
        self.down = False
        self.cut_from: set[str] = set()
        self.slow_us = 0
        self.holder = ""
        self.until_us = 0
        self._asked = 0
        self._held = 0
        """Number of the question that the running hold answered."""
        self._run = ""
        """Incarnation that holds it."""
        self._looked: dict[str, tuple[int, int]] = {}
        """Disk: incarnation -> the hold that it saw, and since when."""

    def mend(self) -> None:
        """Reachable by all again."""
        self.down = False
        self.slow_us = 0
        self.cut_from.clear()

    def _way(self) -> int:
        return 300 + int(self._rng.random() * (5_000 + self.slow_us))

    def hold(self, asker: str, lease_ms: int, asked_at: int) -> None:
        """`HoldArbiter`: the answer comes later."""
        self._asked += 1
        self._world.at(
            self._world.t + self._way(), self._arrive, asker, lease_ms, asked_at, self._asked
        )

    def _arrive(self, asker: str, lease_ms: int, asked_at: int, number: int) -> None:
        world, name = self._world, self._settings.name
        if self.down or asker in self.cut_from:
            answer = e.ArbiterAnswered(name=name, held=False, asked_at=asked_at, error="no answer")
            world.tell_later(world.t + self._settings.timeout_ms * 1000, asker, answer)
            return
        held = not self._settings.strong or self._may_take(asker, lease_ms)
        if held and self._settings.strong:
            self.holder, self._run = asker, world.hosts[asker].incarnation
            # A question that was overtaken by a later one of the same server changes nothing.
            self._held = max(self._held, number)
            self.until_us = world.t + self._stands_us(lease_ms)
        answer = e.ArbiterAnswered(
            name=name, held=held, asked_at=asked_at, holder="" if held else self.holder
        )
        world.tell_later(world.t + self._way(), asker, answer)

    def _may_take(self, asker: str, lease_ms: int) -> bool:
        now, run = self._world.t, self._world.hosts[asker].incarnation
        if self._settings.type != "disk":
            return self.holder in ("", asker) or now >= self.until_us
        if not self.holder or (self._run == run and now < self.until_us):
            return True
        hold, since = self._looked.get(run, (-1, now))
        if hold != self._held:
            self._looked[run] = (self._held, now)
            return False
        return now >= since + (lease_ms + drift_margin(lease_ms)) * 1000

    def _stands_us(self, lease_ms: int) -> int:
        whole = -(-lease_ms // 1000) * 1000 if self._settings.type == "etcd" else lease_ms
        return whole * 1000

    def release(self, asker: str) -> None:
        """`ReleaseArbiter`: ends what was asked for until now, not what is asked later."""
        self._world.at(self._world.t + self._way(), self._let_go, asker, self._asked)

    def _let_go(self, asker: str, number: int) -> None:
        if asker == self.holder and self._held <= number and asker not in self.cut_from:
            self.until_us, self.holder = self._world.t, ""
