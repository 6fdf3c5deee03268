"""BMCs as they are: slow, unreachable, dead, stuck, and one request in flight for each asker.

A forced stop takes one to five seconds and is read back.  The power-on mark changes with every
power-on and reset, never otherwise.  `lies_off` is for the test that a false "off" is noticed;
no configuration is safe with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from clptools.core.actions import Fence
from clptools.core.events import FenceDone, PowerRead

if TYPE_CHECKING:
    from clptools.sim.world import World

TIMEOUT_US = 2_000_000
BEAT_US = 1_000_000


@dataclass(slots=True)
class Bmc:
    """One server's BMC."""

    server: str
    dead: bool = False
    slow_us: int = 0
    stuck_on: bool = False
    lies_off: bool = False
    fence_fails: bool = False
    still: str = ""
    """The beat that its timer has since its own server cannot set it; else empty."""
    cut_from: set[str] = field(default_factory=set)
    """Servers that cannot reach it."""
    busy_until: dict[str, int] = field(default_factory=dict)

    def mend(self) -> None:
        """Back to a BMC that answers truly and at once."""
        self.dead = self.stuck_on = self.lies_off = self.fence_fails = False
        self.slow_us = 0
        self.still = ""
        self.cut_from.clear()


class Bmcs:
    """All BMCs, as the agents reach them."""

    def __init__(self, world: World, servers: tuple[str, ...], rng: Random) -> None:
        self._world = world
        self._rng = rng
        self.of = {name: Bmc(name) for name in servers}

    def _reachable(self, asker: str, bmc: Bmc) -> bool:
        return not bmc.dead and asker not in bmc.cut_from

    def _begin(self, asker: str, bmc: Bmc) -> int:
        """When a request that is made now is sent: after the ones before it."""
        return max(self._world.t, bmc.busy_until.get(asker, 0))

    def read(self, asker: str, server: str, asked_at: int) -> None:
        """Ask for power and mark; the `PowerRead` comes later."""
        bmc, world = self.of[server], self._world
        begin = self._begin(asker, bmc)
        if not self._reachable(asker, bmc):
            end = begin + TIMEOUT_US
            bmc.busy_until[asker] = end
            lost = PowerRead(server=server, power="unknown", asked_at=asked_at, error="no answer")
            world.tell_later(end, asker, lost)
            return
        took = 2_000 + int(self._rng.random() * 10_000) + bmc.slow_us
        end = begin + took
        bmc.busy_until[asker] = end
        # A slow answer is an old one: the BMC looked soon, and took its time to say so.
        looked = begin + int(min(took, 10_000) * self._rng.random())
        world.at(looked, self._look, asker, bmc, (asked_at, end))

    def _look(self, asker: str, bmc: Bmc, times: tuple[int, int]) -> None:
        asked_at, end = times
        host = self._world.hosts[bmc.server]
        on = (host.powered or bmc.stuck_on) and not bmc.lies_off
        read = PowerRead(
            server=bmc.server,
            power="on" if on else "off",
            asked_at=asked_at,
            powered_on_at=host.on_mark if on else None,
            beat=self._beat(bmc) if on else "",
            latency_ms=(end - self._world.t) // 1000,
        )
        if not self._reachable(asker, bmc):
            read = PowerRead(
                server=bmc.server, power="unknown", asked_at=asked_at, error="connection lost"
            )
        self._world.tell_later(end, asker, read)

    def _beat(self, bmc: Bmc) -> str:
        """The BMC heartbeat: an agent that runs sets another one each second."""
        host = self._world.hosts[bmc.server]
        if not any(link.type == "bmchb" for link in host.settings.interconnects):
            return ""
        return bmc.still or str(host.stepped_at // BEAT_US)

    def stop_beats(self, server: str) -> None:
        """Its own server cannot set its timer any more; the others read what it has."""
        bmc = self.of[server]
        bmc.still = self._beat(bmc)

    def fence(self, asker: str, order: Fence, asked_at: int) -> None:
        """Begin a forced stop; the `FenceDone` comes later."""
        bmc, world = self.of[order.server], self._world
        begin = self._begin(asker, bmc)
        if not self._reachable(asker, bmc) or bmc.fence_fails:
            end = begin + min(order.timeout_ms * 1000, (order.retries + 1) * TIMEOUT_US)
            bmc.busy_until[asker] = end
            failed = FenceDone(
                server=order.server,
                action=order.action,
                asked_at=asked_at,
                verified=False,
                error="no answer",
            )
            world.tell_later(end, asker, failed)
            return
        cut = begin + 500_000 + int(self._rng.random() * 3_500_000) + bmc.slow_us
        end = cut + 100_000 + int(self._rng.random() * 900_000) + bmc.slow_us
        bmc.busy_until[asker] = end
        world.at(cut, self._strike, asker, order, (asked_at, end, begin))

    def _strike(self, asker: str, order: Fence, times: tuple[int, int, int]) -> None:
        asked_at, end, begin = times
        world = self._world
        bmc, host = self.of[order.server], world.hosts[order.server]
        already = not host.powered
        if bmc.dead or asker in bmc.cut_from:
            verified, already = False, False
        elif already:
            verified = not bmc.stuck_on
        else:
            verified = not bmc.stuck_on
            world.note(f"{order.server} is stopped by {asker}: {order.action}")
            world.check.struck(world.hosts[asker], host, begin)
            if order.action == "power-off":
                world.power_off(host)
            elif order.action == "power-cycle":
                world.power_off(host)
                world.at(world.t + 3_000_000, world.power_on, host)
            else:
                world.reset(host)
        done = FenceDone(
            server=order.server,
            action=order.action,
            asked_at=asked_at,
            verified=verified,
            already=already and verified,
            error="" if verified else "could not be read back",
        )
        world.tell_later(end, asker, done)
