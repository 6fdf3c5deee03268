"""The fence agents of all servers: their power read and switched, level by level.

One agent runs at a time for each `[[fence]]`, as many devices take one login.  An order comes
before reads: one that runs gives way, those that wait go on waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

import msgspec

from clptools import paths
from clptools.common.agent_files import metadata_of
from clptools.common.threads import in_daemon_thread
from clptools.config.fence_checks import faults, secret_of
from clptools.core.model.settings import FenceAgent, Settings
from clptools.core.model.words import PowerState
from clptools.core.notices.form import Notice
from clptools.faults import ClpError, ExitCode
from clptools.hardware.fence_agent import AgentAction, Ended, Run, read_password, run
from clptools.hardware.notices import FenceAgentUnusable

Level = tuple[FenceAgent, ...]
_GIVE_WAY_MS = 250
"""A read that runs may end by itself until so long before an order must leave."""


class LevelRead(msgspec.Struct, frozen=True, kw_only=True):
    """What the agents of one level say of a server."""

    power: PowerState
    """Off: all say so; on: one does."""
    asked_at: int
    """When the first was asked; boot time in ms."""
    latency_ms: int
    error: str = ""
    """With an unknown power: who failed, and its last line."""


class LevelOrder(msgspec.Struct, frozen=True, kw_only=True):
    """How the agents of one level took an order."""

    error: str = ""
    """Empty: all did it."""
    sent: bool = False
    """It was done, or may have been."""


class _Order:
    """One that waits or runs."""

    def __init__(self, fence: FenceAgent) -> None:
        self.fence = fence
        self.called_off = False


class _Device:
    """One `[[fence]]`: whoever wants to run its agent."""

    def __init__(self) -> None:
        self.free = asyncio.Condition()
        self.running: Run | None = None
        self.for_whom: FenceAgent | None = None
        """With the parameters of one server."""
        self.reads = False
        """What runs is a read."""
        self.busy = False
        self.orders: list[_Order] = []


class FenceAgents:
    """`now_ms` is the agent's clock (boot time); `on_change` gets what people are to know."""

    def __init__(
        self, server: str, now_ms: Callable[[], int], on_change: Callable[[Notice], None]
    ) -> None:
        self._server = server
        self._now_ms = now_ms
        self._on_change = on_change
        self._devices: dict[str, _Device] = {}
        self._secrets: dict[str, str] = {}
        """Fence agent -> the parameter that takes its password."""
        self._reading: dict[str, asyncio.Future[str]] = {}
        """Password file -> what a thread reads of it; a disk that hangs holds one."""
        self._off: list[Level] = []
        """Those that read off when last asked."""
        self._told: set[FenceAgentUnusable] = set()
        self._looking: asyncio.Task[None] | None = None

    def apply(self, settings: Settings) -> None:
        """Looks at the agents of `settings`, and tells what of them cannot be used here."""
        self._off.clear()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if any(server.fences for server in settings.servers):
            self._looking = asyncio.get_running_loop().create_task(self._look(settings))

    def close(self) -> None:
        """Ends what runs."""
        if self._looking is not None:
            self._looking.cancel()
        for device in self._devices.values():
            if device.running is not None:
                device.running.give_way()

    async def _look(self, settings: Settings) -> None:
        # In a thread: an agent runs as a program to tell of itself.
        found, names = await in_daemon_thread("fence agents", lambda: self._looked(settings))
        self._secrets |= names
        for notice in found:
            if notice not in self._told:
                self._on_change(notice)
        self._told = set(found)

    def _looked(self, settings: Settings) -> tuple[list[FenceAgentUnusable], dict[str, str]]:
        found = [
            FenceAgentUnusable(fault.server, fault.fence, fault.text, fault.mend)
            for fault in faults(settings, self._server)
        ]
        names: dict[str, str] = {}
        for fence in (f for s in settings.servers for f in s.fences if f.password_file):
            with contextlib.suppress(ClpError):
                said = metadata_of(_path(fence.agent), ("-o", "metadata"))
                names[fence.name] = secret_of(fence, said) or "password"
        return found, names

    def call_off(self, fence: FenceAgent) -> None:
        """Ends an order that runs or waits for that server: it is not wanted any more."""
        device = self._device(fence)
        for order in device.orders:
            order.called_off = order.called_off or order.fence == fence
        if device.running is not None and not device.reads and device.for_whom == fence:
            device.running.give_way("it was called off")

    async def read(self, level: Level, leaving: Callable[[], None]) -> LevelRead:
        """The power by all agents of one level; `leaving` is called as the first is asked.

        An off that follows anything else is read once more: some agents take what they cannot
        parse, or a state in between, for off.
        """
        found = await self._read(level, leaving)
        was_off = level in self._off
        if found.power is PowerState.OFF and not was_off:
            again = await self._read(level, lambda: None)
            found = msgspec.structs.replace(
                again,
                asked_at=found.asked_at,
                latency_ms=again.asked_at + again.latency_ms - found.asked_at,
            )
            if again.power is PowerState.ON:
                error = f"{level[0].name}: it read off, and then on"
                found = msgspec.structs.replace(found, power=PowerState.UNKNOWN, error=error)
        if was_off and level in self._off:
            self._off.remove(level)
        if found.power is PowerState.OFF:
            self._off.append(level)
        return found

    async def _read(self, level: Level, leaving: Callable[[], None]) -> LevelRead:
        asked: list[int] = []

        def begun() -> None:
            if not asked:
                leaving()
            asked.append(self._now_ms())

        begin = self._now_ms()
        found = await asyncio.gather(*(self._status(fence, begun) for fence in level))
        powers = [power for power, _ in found]
        if PowerState.ON in powers:
            power = PowerState.ON
        elif all(power is PowerState.OFF for power in powers):
            power = PowerState.OFF
        else:
            power = PowerState.UNKNOWN
        first = min(asked, default=begin)
        return LevelRead(
            power=power,
            asked_at=first,
            latency_ms=self._now_ms() - first,
            error=next((error for _, error in found if error), "")
            if power is PowerState.UNKNOWN
            else "",
        )

    async def order(self, level: Level, *, off: bool, until_ms: int) -> LevelOrder:
        """`off` or `on` by all agents of one level, each begun by `until_ms` or never."""
        action = AgentAction.OFF if off else AgentAction.ON
        found = await asyncio.gather(*(self._order(fence, action, until_ms) for fence in level))
        return LevelOrder(
            error="; ".join(dict.fromkeys(one.error for one in found if one.error)),
            sent=any(one.sent for one in found),
        )

    # ------------------------------------------------------------------ one agent

    async def _status(self, fence: FenceAgent, begun: Callable[[], None]) -> tuple[PowerState, str]:
        device = self._device(fence)
        try:
            secret = await self._secret(fence, fence.timeout_ms / 1000)
            while True:
                async with self._turn(device, reads=True):
                    begun()
                    ended = await self._run(device, fence, AgentAction.STATUS, secret)
                if not ended.gave_way:
                    break
        except ClpError as fault:
            return PowerState.UNKNOWN, f"{fence.name}: {fault.message}"
        return ended.power, "" if ended.power is not PowerState.UNKNOWN else _said(fence, ended)

    async def _order(self, fence: FenceAgent, action: AgentAction, until_ms: int) -> LevelOrder:
        device = self._device(fence)
        mine = _Order(fence)
        device.orders.append(mine)
        try:
            way = asyncio.get_running_loop().call_later(
                max(0, until_ms - _GIVE_WAY_MS - self._now_ms()) / 1000, _give_way, device
            )
            left_s = max(0, until_ms - self._now_ms()) / 1000
            try:
                # Before its turn: once that has come, nothing is awaited until the agent runs.
                secret = await self._secret(fence, left_s)
                async with asyncio.timeout(max(0, until_ms - self._now_ms()) / 1000) as limit:
                    async with self._turn(device, reads=False):
                        limit.reschedule(None)
                        if self._now_ms() > until_ms:
                            raise TimeoutError
                        if mine.called_off:
                            return LevelOrder(error=f"{fence.name}: it was called off")
                        ended = await self._run(device, fence, action, secret)
            finally:
                way.cancel()
        except TimeoutError:
            return LevelOrder(error=f"{fence.name}: not begun in time, it was busy")
        except ClpError as fault:
            return LevelOrder(error=f"{fence.name}: {fault.message}")
        finally:
            device.orders.remove(mine)
            async with device.free:
                device.free.notify_all()
        if ended.status != 0:
            return LevelOrder(error=_said(fence, ended), sent=not ended.nothing_sent)
        if action is AgentAction.OFF and ended.nothing_sent:
            return LevelOrder(error=f"{fence.name}: it read off already, and sent nothing")
        return LevelOrder(sent=True)

    async def _run(
        self, device: _Device, fence: FenceAgent, action: AgentAction, secret: tuple[str, str]
    ) -> Ended:
        def started(running: Run) -> None:
            device.running, device.for_whom = running, fence

        try:
            return await run(fence, _path(fence.agent), action, secret, started)
        finally:
            device.running = device.for_whom = None

    async def _secret(self, fence: FenceAgent, within_s: float) -> tuple[str, str]:
        """Its parameter and value; none: two empty texts.  Raises ClpError."""
        path = fence.password_file
        if not path:
            return "", ""
        reading = self._reading.get(path)
        if reading is None:
            reading = in_daemon_thread("fence password", lambda: read_password(fence))
            self._reading[path] = reading
            reading.add_done_callback(lambda _: self._reading.pop(path))
        try:
            async with asyncio.timeout(within_s):
                value = await asyncio.shield(reading)
        except TimeoutError:
            text = f"{path}: not read within {round(within_s, 1):g} s"
            raise ClpError(ExitCode.TIMED_OUT, text) from None
        return self._secrets.get(fence.name, "password"), value

    def _device(self, fence: FenceAgent) -> _Device:
        return self._devices.setdefault(fence.name, _Device())

    @contextlib.asynccontextmanager
    async def _turn(self, device: _Device, *, reads: bool) -> AsyncIterator[None]:
        async with device.free:
            await device.free.wait_for(lambda: not device.busy and not (reads and device.orders))
            device.busy, device.reads = True, reads
        try:
            yield
        finally:
            async with device.free:
                device.busy = False
                device.free.notify_all()


def _give_way(device: _Device) -> None:
    if device.running is not None and device.reads:
        device.running.give_way()


def _said(fence: FenceAgent, ended: Ended) -> str:
    return f"{fence.name}: {ended.said or 'its exit status and its words do not agree'}"


def _path(agent: str) -> str:
    return os.path.join(paths.fence_agents_dir(), agent)
