"""Arbiters: a strong one gives one lease at a time, a weak one says yes to whoever reaches it.

A strong arbiter counts its lease from the moment it took it, so it ends later than the holder's
own count, which starts at the send time.  Releases name the hold they end.  The types differ in
when another server may take what a dead holder left:

witness  once the lease is over, on the witness's clock
etcd     once the lease, rounded up to a second, is over
disk     once this run of that server has seen the slot unchanged for a lease and the drift margin
         (each agent joins the disk when it starts, so its own slot is there when it asks)
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from clptools.core.model.events import ArbiterAnswered
from clptools.core.model.settings import Arbiter
from clptools.core.model.timing import drift_margin

if TYPE_CHECKING:
    from clptools.sim.world import World


class ArbiterModel:
    """One `[[np]]` entry."""

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
            answer = ArbiterAnswered(name=name, held=False, asked_at=asked_at, error="no answer")
            world.tell_later(world.t + self._settings.timeout_ms * 1000, asker, answer)
            return
        held = not self._settings.strong or self._may_take(asker, lease_ms)
        if held and self._settings.strong:
            self.holder, self._run = asker, world.hosts[asker].incarnation
            # A question that was overtaken by a later one of the same server changes nothing.
            self._held = max(self._held, number)
            self.until_us = world.t + self._stands_us(lease_ms)
        answer = ArbiterAnswered(
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
