"""Each server's power control: its BMC first, then its fence agents, level by level.

BMC -- answers --> its word          forced stop: the order goes to whoever answered last;
 '-- does not --> level 1 -- ...     the next one is tried once that failed, or its order
                                     showed no effect twice
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from clptools.core.model.actions import Fence, ReadPower
from clptools.core.model.events import FenceDone, HostActionDone, PowerRead
from clptools.core.model.settings import Server, Settings
from clptools.core.model.words import BmcOrder, PowerState
from clptools.core.notices.form import Notice
from clptools.hardware.bmcs import Bmcs

if TYPE_CHECKING:
    from clptools.hardware.fence_agents import FenceAgents, Level

_TRIES = 2
"""Orders that showed no effect, until the next way is tried."""
_COURSE_MS = 120_000
"""Without an order for so long, the first way comes first again."""
_BMC: Level = ()
"""Stands for the BMC among the levels."""


class _Course:
    """How far a forced stop of one server is."""

    def __init__(self) -> None:
        self.way = 0
        """That gets the next order."""
        self.answered = 0
        """That answered last."""
        self.tries = 0
        self.ordered_at: int | None = None
        self.ordering = False
        self.called_off = False
        """The order that is under way."""
        self.switched: list[int] = []
        """Ways that were ordered off, to be switched on again."""


class PowerControl:
    """What the executor acts on (`agent.devices.Bmcs`).  `now_ms`: boot time."""

    def __init__(
        self, bmcs: Bmcs, server: str, now_ms: Callable[[], int], tell: Callable[[Notice], None]
    ) -> None:
        self._bmcs = bmcs
        self._server = server
        self._now_ms = now_ms
        self._tell = tell
        self._made: FenceAgents | None = None
        self._settings = Settings()
        self._courses: dict[str, _Course] = {}

    def apply(self, settings: Settings) -> None:
        """Takes the fence agents of `settings`; the BMCs are applied on their own."""
        before, self._settings = self._settings, settings
        for name in self._courses.keys() - set(settings.names):
            del self._courses[name]
        if [s.fences for s in before.servers] != [s.fences for s in settings.servers]:
            self._courses.clear()
            self._agents.apply(settings)

    @property
    def _agents(self) -> FenceAgents:
        """Loaded only where there are any: XML and its checks are of no use to others."""
        if self._made is None:
            from clptools.hardware.fence_agents import FenceAgents

            self._made = FenceAgents(self._server, self._now_ms, self._tell)
        return self._made

    def close(self) -> None:
        """Ends what runs; the BMCs are closed on their own."""
        if self._made is not None:
            self._made.close()

    async def read_power(self, action: ReadPower, asked_at: int) -> PowerRead:
        """Power state; a fault is in the answer, never raised.

        With `agents` the fence agents are asked where the BMC does not answer; else those alone
        that are polled.
        """
        server, echo = action.server, action.echo
        found = self._settings.server(server)
        if found is None or not found.fences:
            return await self._bmcs.read_power(server, asked_at, echo, action.keep)
        where = self._settings.power_at(server)
        ways, course = _ways(found), self._course(server)

        async def ask(level: Level) -> PowerRead | None:
            if level is _BMC:
                one = await self._bmcs.read_power(server, asked_at, echo, action.keep)
                return msgspec.structs.replace(one, where=where)
            if action.agents or all(fence.poll for fence in level):
                return await self._read(server, level, echo, where)
            return None

        first = 0
        if self._is_under_way(course):
            first = course.way
            for place in course.switched:
                # What was ordered off before may go off late.
                one = await ask(ways[place]) if place != course.way else None
                if one is not None and one.power is PowerState.OFF:
                    return one
        read: PowerRead | None = None
        for step in range(len(ways)):
            place = (first + step) % len(ways)
            one = await ask(ways[place])
            if one is None:
                continue
            if one.power is not PowerState.UNKNOWN:
                course.answered = place
                return one
            read = read or one
        return read or PowerRead(
            server=server,
            power=PowerState.UNKNOWN,
            asked_at=asked_at,
            error="its fence agents are not asked before it is silent",
            where=where,
        )

    async def _read(self, server: str, level: Level, echo: bool, where: str) -> PowerRead:
        with self._bmcs.echoes.to(server) as echoes:
            found = await self._agents.read(level, echoes.send if echo else lambda: None)
            echoed = False
            if echo and found.power is PowerState.OFF:
                echoed = await echoes.answered()
        return PowerRead(
            server=server,
            power=found.power,
            asked_at=found.asked_at,
            latency_ms=found.latency_ms,
            error=found.error,
            echoed=echoed,
            where=where,
            by=_names(level),
        )

    async def fence(self, action: Fence, asked_at: int) -> FenceDone:
        """One order, begun by `asked_at` + `within_ms` or never; a fault is in the answer."""
        found = self._settings.server(action.server)
        if found is None or not found.fences:
            return await self._bmcs.fence(action, asked_at)
        ways = _ways(found)
        course = self._course(action.server)
        until_ms = asked_at + action.within_ms
        if action.action is BmcOrder.POWER_ON:
            return await self._on(action, asked_at, ways, course)
        if course.ordering:
            return self._done(action, asked_at, error="the order before is still under way")
        if not self._is_under_way(course):
            course.way, course.tries = course.answered, 0
            course.switched.clear()
        elif course.answered != course.way:
            course.way, course.tries = course.answered, 0
        place = course.way
        course.ordered_at = self._now_ms()
        course.tries += 1
        if place not in course.switched:
            course.switched.append(place)
        course.ordering, course.called_off = True, False
        try:
            if ways[place] is _BMC:
                done = await self._bmcs.fence(action, asked_at)
            elif action.action is not BmcOrder.POWER_OFF:
                error = f"a fence agent sends no {action.action}"
                done = self._done(action, asked_at, refused=True, error=error)
            else:
                taken = await self._agents.order(ways[place], off=True, until_ms=until_ms)
                done = self._done(
                    action,
                    asked_at,
                    sent=not taken.error,
                    left=bool(taken.error) and taken.sent,
                    error=taken.error,
                )
        finally:
            course.ordering = False
        if course.called_off:
            # That it came to nothing says nothing against this way: the course is over.
            course.ordered_at = None
        elif not done.sent or course.tries >= _TRIES:
            # The next way is next, and read before: an off counts after its own on.
            course.way, course.tries = (place + 1) % len(ways), 0
            course.answered = course.way
        if not done.sent and ways[place] is _BMC:
            done = msgspec.structs.replace(done, refused=False)
        return done

    def call_off(self, server: str) -> None:
        """Ends fence agents that carry out an order for that server, and its course with them."""
        course = self._courses.get(server)
        if course is not None:
            course.called_off = course.ordering
            course.ordered_at = None
        found = self._settings.server(server)
        for fence in found.fences if found is not None else ():
            self._agents.call_off(fence)

    async def _on(
        self, action: Fence, asked_at: int, ways: tuple[Level, ...], course: _Course
    ) -> FenceDone:
        """Switches on whatever was switched off, outlets before the BMC behind them."""
        until_ms = asked_at + action.within_ms
        error = ""
        for place in sorted(course.switched or [course.way], reverse=True):
            if ways[place] is _BMC:
                done = await self._bmcs.fence(action, asked_at)
                error = error or done.error
                continue
            level, fault = ways[place], ""
            while self._now_ms() < until_ms:
                taken = await self._agents.order(level, off=False, until_ms=until_ms)
                read = await self._agents.read(level, lambda: None)
                fault = "" if read.power is PowerState.ON else taken.error or "still reads off"
                if not fault:
                    break
            error = error or fault
        course.switched.clear()
        course.ordered_at = None
        return self._done(action, asked_at, sent=not error, error=error)

    def _done(self, action: Fence, asked_at: int, **how: object) -> FenceDone:
        done = FenceDone(server=action.server, action=action.action, asked_at=asked_at)
        return msgspec.structs.replace(done, **how)

    def _course(self, server: str) -> _Course:
        return self._courses.setdefault(server, _Course())

    def _is_under_way(self, course: _Course) -> bool:
        at = course.ordered_at
        return course.ordering or (at is not None and self._now_ms() - at <= _COURSE_MS)

    # ------------------------------------------------------------------ of the BMCs alone

    async def arm_deadman(self, action: str, deadline_ms: int) -> HostActionDone:
        """As `Bmcs`."""
        return await self._bmcs.arm_deadman(action, deadline_ms)

    async def stand_down(self) -> str:
        """As `Bmcs`."""
        return await self._bmcs.stand_down()


def _ways(server: Server) -> tuple[Level, ...]:
    """By which its power can be read and switched, in order."""
    return (*((_BMC,) if server.bmc is not None else ()), *server.levels)


def _names(level: Level) -> str:
    return " and ".join(fence.name for fence in level)
