"""Arbiters: a strong one gives one lease at a time, a weak one says yes to whoever reaches it.

A strong arbiter counts its lease on its own clock from the moment it took it, so it ends later
than the holder's own count, which starts at the send time.  Releases name the hold they end.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from clptools.core.model.events import ArbiterAnswered
from clptools.core.model.settings import Arbiter

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
        if not self._settings.strong:
            held = True
        elif self.holder in ("", asker) or world.t >= self.until_us:
            self.holder, held = asker, True
            # A question that was overtaken by a later one of the same server changes nothing.
            self._held = max(self._held, number)
            self.until_us = world.t + lease_ms * 1000
        else:
            held = False
        answer = ArbiterAnswered(
            name=name, held=held, asked_at=asked_at, holder="" if held else self.holder
        )
        world.tell_later(world.t + self._way(), asker, answer)

    def release(self, asker: str) -> None:
        """`ReleaseArbiter`: ends what was asked for until now, not what is asked later."""
        self._world.at(self._world.t + self._way(), self._let_go, asker, self._asked)

    def _let_go(self, asker: str, number: int) -> None:
        if asker == self.holder and self._held <= number and asker not in self.cut_from:
            self.until_us = self._world.t
