"""BMCs as they are: slow, unreachable, restarting, wrong, and one request in flight for each asker.

A control command is accepted and carried out a while later, or never; nothing is read back with
it.  A read carries its session, which outlives a lost answer.  It ends with each restart of the
BMC, or unused for a minute: the next login is silent, the reader finds a new name in the answer.
Right after a restart the BMC has not sensed its host yet: it says "off", or nothing.

A server without a BMC may have fence agents: an outlet that keeps no session, and whose agent runs
for a while before it does or says anything.  An off that follows anything else is read twice before
it is told, as by `hardware/fence_agents.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from clptools.core.model.actions import Fence
from clptools.core.model.events import FenceDone, PowerRead
from clptools.core.model.words import PowerState

if TYPE_CHECKING:
    from clptools.core.model.settings import Server, Settings
    from clptools.sim.host import Host
    from clptools.sim.world import World

TIMEOUT_US = 2_000_000
BEAT_US = 1_000_000
IDLE_US = 60_000_000
"""A BMC closes a session that nobody used for so long (IPMI 2.0, 6.12.15)."""
RESTART_US = 10_000_000
"""What an outlet takes at least to answer again after a restart."""
AGENT_US = 500_000
"""How long a fence agent runs at least, and by how much more at most."""
ECHO_US = 50_000
"""How long an "off" is held back for the answer to an ICMP echo."""


@dataclass(slots=True)
class Session:
    """A login of one server."""

    name: str
    opened_us: int
    used_us: int


@dataclass(slots=True)
class Bmc:
    """One server's BMC."""

    server: str
    dead: bool = False
    slow_us: int = 0
    stuck_on: bool = False
    lies_off: bool = False
    blinks: bool = False
    """As `lies_off`, but only while something else could contradict it: its server is up, and not
    cut off.  Where nothing can, no rule helps (`docs/rules.md`, *Known remaining risks*)."""
    fence_fails: bool = False
    """It refuses control commands."""
    fence_busy_us: int = 0
    """It refuses them for so long from the first one on, and takes them then."""
    fence_unanswered: bool = False
    """It carries them out and answers none."""
    free_at: int = 0
    """When that ends; 0: none came yet."""
    fence_lies: bool = False
    """It accepts them and does nothing."""
    fence_late_us: int = 0
    """It carries them out so much later."""
    sessionless: bool = False
    """Its protocol keeps no session."""
    agents: str = ""
    """It is no BMC: these fence agents read and switch it."""
    drives: str = ""
    """The server that it really belongs to, where addresses are swapped."""
    away_until: int = 0
    """It restarts: until then it answers nothing."""
    blind_until: int = 0
    """It restarted: until then it has not sensed its host, and says off."""
    still: str = ""
    """The beat that its timer has since its own server cannot set it; else empty."""
    cut_from: set[str] = field(default_factory=set)
    """Servers that cannot reach it."""
    busy_until: dict[str, int] = field(default_factory=dict)
    called_off: dict[str, int] = field(default_factory=dict)
    """Who ended its own fence agent, and when."""
    offs: dict[str, str] = field(default_factory=dict)
    """Who read off by its own fence agents when it read last -> its incarnation."""
    sessions: dict[str, Session] = field(default_factory=dict)
    logins: int = 0

    def mend(self) -> None:
        """Back to a BMC that answers truly and at once."""
        self.dead = self.stuck_on = self.lies_off = self.fence_fails = False
        self.fence_unanswered = self.fence_lies = self.sessionless = self.blinks = False
        self.slow_us = self.fence_late_us = self.away_until = self.blind_until = 0
        self.fence_busy_us = self.free_at = 0
        self.still = self.drives = ""
        self.cut_from.clear()


def _agents(server: Server) -> str:
    """The first level of its fence agents; empty: it has a BMC, or neither."""
    if server.bmc is not None or not server.fences:
        return ""
    return " and ".join(fence.name for fence in server.levels[0])


class Bmcs:
    """All BMCs, as the agents reach them."""

    def __init__(self, world: World, settings: Settings, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self.of = {s.name: Bmc(s.name, agents=_agents(s)) for s in settings.servers}
        self._at = {
            settings.power_at(s.name): s.name for s in settings.servers if s.has_power_control
        }

    def _asked(self, asker: str, server: str) -> tuple[Bmc, str]:
        """The BMC that `asker` takes for the one of `server`, by its configuration, and where."""
        where = self._world.hosts[asker].settings.power_at(server)
        if not where:
            return self.of[server], ""
        owner = self._at.get(where)
        # Fence agents may be told more by a push: their outlet is the same.
        if not owner and self.of[server].agents:
            return self.of[server], where
        return (self.of[owner] if owner else Bmc(server, dead=True)), where

    def _reachable(self, asker: str, bmc: Bmc) -> bool:
        return not bmc.dead and asker not in bmc.cut_from and self._world.t >= bmc.away_until

    def _host(self, bmc: Bmc) -> Host:
        return self._world.hosts[bmc.drives or bmc.server]

    def _begin(self, asker: str, bmc: Bmc) -> int:
        """When a request that is made now is sent: after the ones before it."""
        return max(self._world.t, bmc.busy_until.get(asker, 0))

    def restart(self, server: str, away_us: int, blind_us: int) -> None:
        """The BMC restarts: its sessions and its timer are gone, its host runs on."""
        bmc, world = self.of[server], self._world
        bmc.sessions.clear()
        if bmc.agents:
            # What keeps no session is believed by this alone: nothing restarts in less.
            away_us = max(away_us, RESTART_US)
        bmc.away_until = world.t + away_us
        bmc.blind_until = bmc.away_until + blind_us
        host = self._host(bmc)
        host.deadman = 0
        if host.watchdog.method == "ipmi":
            world.executor.watchdog_dies(host, None)

    # --- reads ---------------------------------------------------------------------------

    def read(self, asker: str, server: str, asked_at: int, echo: bool, keep: bool = True) -> None:
        """Ask for power and beat; the `PowerRead` comes later."""
        (bmc, where), world = self._asked(asker, server), self._world
        begin = self._begin(asker, bmc)
        read = PowerRead(
            server=server,
            power=PowerState.UNKNOWN,
            asked_at=asked_at,
            where=where,
            by=bmc.agents,
        )
        if not self._reachable(asker, bmc):
            end = begin + TIMEOUT_US
            bmc.busy_until[asker] = end
            world.tell_later(end, asker, replace(read, error="no answer"))
            return
        echoed = echo and self._echoes(asker, server)
        took = 2_000 + int(self._rng.random() * 10_000) + bmc.slow_us
        if bmc.agents:
            took = AGENT_US + int(self._rng.random() * AGENT_US) + bmc.slow_us
        end = begin + took
        bmc.busy_until[asker] = end
        # A slow answer is an old one: the BMC looked soon, and took its time to say so.
        looked = begin + int(min(took, 2 * AGENT_US if bmc.agents else 10_000) * self._rng.random())
        world.at(looked, self._look, asker, bmc, read, end, (echo, echoed), keep)

    def _echoes(self, asker: str, server: str) -> bool:
        """Whether the server's kernel answers an ICMP echo in time: its agent need not run."""
        host = self._world.hosts[server]
        return host.os_up and not host.stalled and self._world.network.connected(asker, server)

    def _look(
        self,
        asker: str,
        bmc: Bmc,
        read: PowerRead,
        end: int,
        echo: tuple[bool, bool],
        keep: bool,
        first_us: int = 0,
    ) -> None:
        """`first_us`: when it was read off before, to be read once more; 0: it was not."""
        asked, echoed = echo
        world, host = self._world, self._host(bmc)
        if not self._reachable(asker, bmc):
            world.tell_later(end, asker, replace(read, error="connection lost"))
            return
        sensed = world.t >= bmc.blind_until
        lies = bmc.lies_off or (bmc.blinks and self._contradicted(bmc))
        on = (host.powered or bmc.stuck_on) and not lies and sensed
        if bmc.agents:
            incarnation = world.hosts[asker].incarnation
            was_off = bmc.offs.pop(asker, "") == incarnation
            if first_us and on:
                error = f"{bmc.agents}: it read off, and then on"
                world.tell_later(end, asker, replace(read, error=error))
                return
            if not on and not was_off and not first_us:
                took = AGENT_US + int(self._rng.random() * AGENT_US) + bmc.slow_us
                looked = end + int(min(took, 2 * AGENT_US) * self._rng.random())
                end += took
                bmc.busy_until[asker] = max(bmc.busy_until[asker], end)
                world.at(looked, self._look, asker, bmc, read, end, echo, keep, world.t)
                return
            if not on:
                bmc.offs[asker] = incarnation
        session = self._session(asker, bmc)
        if not keep:
            bmc.sessions.pop(asker, None)
        if asked and not on:
            end = max(end, world.t + ECHO_US)
            bmc.busy_until[asker] = max(bmc.busy_until[asker], end)
        answer = replace(
            read,
            power=PowerState.ON if on else PowerState.OFF,
            beat=self._beat(bmc) if on else "",
            latency_ms=(end - (first_us or world.t)) // 1000,
            session=session.name if session is not None else "",
            session_at=world.hosts[asker].now(session.opened_us) if session is not None else 0,
            echoed=echoed and not on,
        )
        world.tell_later(end, asker, answer)

    def _contradicted(self, bmc: Bmc) -> bool:
        world, host = self._world, self._world.hosts[bmc.server]
        others = (h for h in world.hosts.values() if h is not host and h.powered)
        return not host.stalled and all(world.network.connected(h.name, host.name) for h in others)

    def _session(self, asker: str, bmc: Bmc) -> Session | None:
        if bmc.sessionless or bmc.agents:
            return None
        known = bmc.sessions.get(asker)
        incarnation = self._world.hosts[asker].incarnation
        now = self._world.t
        stale = known is None or now - known.used_us > IDLE_US
        if known is None or stale or not known.name.startswith(f"{incarnation}/"):
            bmc.logins += 1
            name = f"{incarnation}/{bmc.server}/{bmc.logins}"
            known = bmc.sessions[asker] = Session(name, now, now)
        known.used_us = now
        return known

    def _beat(self, bmc: Bmc) -> str:
        """The BMC heartbeat: an agent that runs sets another one each second."""
        host = self._host(bmc)
        if not any(link.type == "bmchb" for link in host.settings.interconnects):
            return ""
        return bmc.still or str(host.stepped_at // BEAT_US)

    def stop_beats(self, server: str) -> None:
        """Its own server cannot set its timer any more; the others read what it has."""
        bmc = self.of[server]
        bmc.still = self._beat(bmc)

    # --- control commands ----------------------------------------------------------------

    def fence(self, asker: str, order: Fence, asked_at: int) -> None:
        """Send one control command, in time or never; the `FenceDone` comes later."""
        (bmc, _), world = self._asked(asker, order.server), self._world
        begin = self._begin(asker, bmc)
        bmc.busy_until[asker] = begin + 20_000
        if bmc.agents:
            # A read that runs gives way; the agent logs in before it switches.
            begin = world.t + int(self._rng.random() * AGENT_US)
            bmc.busy_until[asker] = begin
            if world.hosts[asker].now(world.t) > order.ordered_at + order.within_ms:
                begin = world.t
            elif begin > world.t:
                order = replace(order, within_ms=order.within_ms + AGENT_US // 1000)
        world.at(begin, self._send, asker, order, asked_at, world.t)

    def call_off(self, asker: str, server: str) -> None:
        """Ends the fence agent that `asker` runs, if it has not switched yet."""
        (bmc, _) = self._asked(asker, server)
        bmc.called_off[asker] = self._world.t

    def _send(self, asker: str, order: Fence, asked_at: int, begun: int = 0) -> None:
        (bmc, _), world = self._asked(asker, order.server), self._world
        sent, error, left = True, "", False
        if world.hosts[asker].node is None:
            return  # a fencer that is dead sends nothing
        if world.hosts[asker].now(world.t) > order.ordered_at + order.within_ms:
            sent, error = False, "it could not be sent in time"
        elif bmc.called_off.get(asker, -1) >= begun:
            sent, error = False, "it was called off"
        elif not self._reachable(asker, bmc):
            sent, error = False, "no answer"
        elif bmc.fence_fails:
            sent, error = False, "completion code D5h"
        elif bmc.fence_busy_us:
            bmc.free_at = bmc.free_at or world.t + bmc.fence_busy_us
            if world.t < bmc.free_at:
                sent, error = False, "BMC busy (0xc0)"
        if sent and not bmc.fence_lies:
            self._carry_out(asker, bmc, order)
        if sent and bmc.fence_unanswered:
            sent, left, error = False, True, "sent, but not answered"
        done = FenceDone(
            server=order.server,
            action=order.action,
            asked_at=asked_at,
            sent=sent,
            left=left,
            error=error,
        )
        quick = sent or "code" in error or "busy" in error
        world.tell_later(world.t + (20_000 if quick else TIMEOUT_US), asker, done)

    def _carry_out(self, asker: str, bmc: Bmc, order: Fence) -> None:
        world = self._world
        # The host goes down in the course of its own power sequence.
        took = 500_000 + int(self._rng.random() * 3_500_000) + bmc.slow_us + bmc.fence_late_us
        if order.action == "power-on":
            took = 3_000_000
        world.at(world.t + took, self._strike, asker, bmc, order.action, world.t)

    def _strike(self, asker: str, bmc: Bmc, action: str, sent_us: int) -> None:
        world, host = self._world, self._host(bmc)
        if bmc.stuck_on or bmc.dead:
            return
        if action == "power-on":
            world.power_on(host)
        elif host.powered:
            world.note(f"{host.name} is stopped by {asker}: {action}")
            world.check.struck(world.hosts[asker], host, sent_us)
            if action == "nmi":
                world.reset(host)
            else:
                world.power_off(host)
