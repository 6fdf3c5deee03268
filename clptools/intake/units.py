"""HA/AM: applications that fail, are restarted over and over, or whose main process is gone.

Units are watched by systemd's own signals (`org.freedesktop.systemd1(5)`, PropertiesChanged),
main processes by the kernel.  Any local user may send such signals too: only those count whose
sender owns systemd's name on the bus.  Keyword: a unit (`postgresql.service`), or the name of an
application that has a `pid_file` or a `health_command`.  Without keyword: every service unit
that fails or loops from now on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from clptools.common import system_bus
from clptools.common.system_bus import BUS, MANAGER, NAME, PATH, PROPERTIES, SERVICE, UNIT, Owner
from clptools.common.threads import load
from clptools.faults import ClpError, ExitCode
from clptools.intake.applications import Process, watch_health, watch_pid_file
from clptools.intake.kernel import Kernel
from clptools.intake.sources import Faults

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

SUFFIXES = (".service", ".socket", ".target", ".mount", ".path", ".timer", ".scope", ".swap")
AGAIN_S = (1.0, 60.0)
MOST_UNITS = 1_000
"""Most units whose state is remembered; without keyword, every service that changes counts."""


async def watch(kernel: Kernel, faults: Faults, note: Callable[[str], None]) -> None:
    """See `sources.Watch`."""
    watched = faults.watched
    own: set[str] = set()
    """Keywords that are no units."""
    async with asyncio.TaskGroup() as tasks:
        for keyword in sorted(watched.keywords):
            pid_file = watched.text(keyword, "pid_file")
            command = watched.text(keyword, "health_command")
            if pid_file:
                tasks.create_task(watch_pid_file(keyword, pid_file, faults))
            if command:
                monitor = watched.monitor(keyword)
                tasks.create_task(watch_health(keyword, command, monitor, faults))
            if pid_file or (command and not keyword.endswith(SUFFIXES)):
                own.add(keyword)
        faults.same = lambda keyword, device: (
            device == (keyword if keyword in own else unit_name(keyword))
        )
        if watched.everything or watched.keywords - own:
            tasks.create_task(_keep_watching(faults, watched.keywords - own, note))


async def _keep_watching(
    faults: Faults, keywords: frozenset[str], note: Callable[[str], None]
) -> None:
    """Keeps watching when the bus restarts; a fault is noted once, until the bus works again."""
    delay_s, said = AGAIN_S[0], False
    while True:
        units = Units(faults, keywords)
        try:
            await units.run()
            delay_s, said = AGAIN_S[0], False
        except ClpError as fault:
            if not said:
                note(f"Units are not seen: {fault.message}")
            said = True
        finally:
            units.close()
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, AGAIN_S[1])


def unit_name(keyword: str) -> str:
    """The unit that a keyword means: with its suffix."""
    return keyword if keyword.endswith(SUFFIXES) else f"{keyword}.service"


class _Unit:
    """What was seen of one unit."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = ""
        self.sub = ""
        self.restarts: deque[float] = deque()
        self.process: Process | None = None
        self.steady: asyncio.TimerHandle | None = None
        """Ends the looping, unless another restart comes."""


class Units:
    """The units of one connection to systemd."""

    def __init__(self, faults: Faults, keywords: frozenset[str]) -> None:
        self._faults = faults
        self._named = frozenset(map(unit_name, keywords))
        self._units: dict[str, _Unit] = {}
        """Object path -> unit."""
        self._loop = asyncio.get_running_loop()
        self._bus: MessageBus | None = None
        self._systemd = Owner()
        self._asking: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Watches until the bus goes away.  Raises ClpError."""
        await asyncio.to_thread(load, "dbus_fast.aio")
        try:
            bus = self._bus = await system_bus.connect()
            bus.add_message_handler(self._hear)
            await self._subscribe()
            # The library has no types for this one.
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except (OSError, EOFError) as fault:
            raise _unreachable(str(fault)) from fault

    def close(self) -> None:
        """Stop watching."""
        for task in self._asking:
            task.cancel()
        for unit in self._units.values():
            if unit.process is not None:
                unit.process.close()
            if unit.steady is not None:
                unit.steady.cancel()
        if self._bus is not None:
            self._bus.disconnect()

    async def _subscribe(self) -> None:
        """Subscribes first and then reads the states, so that no change is missed."""
        await self._systemd.follow(self._call)
        await self._call(NAME, PATH, MANAGER, "Subscribe")
        for name in sorted(self._named):
            (path,) = await self._call(NAME, PATH, MANAGER, "LoadUnit", "s", name)
            unit = self._units[path] = _Unit(name)
            await self._match(f"path='{path}'")
            await self._read(path, unit)
        if self._faults.watched.everything:
            await self._match(f"path_namespace='{PATH}/unit',arg0='{UNIT}'")

    async def _match(self, where: str) -> None:
        rule = (
            f"type='signal',sender='{NAME}',interface='{PROPERTIES}',"
            f"member='PropertiesChanged',{where}"
        )
        await self._call(*BUS, "AddMatch", "s", rule)

    def _hear(self, message: Message) -> None:
        if self._systemd.changed(message):
            # Changes in the meantime sent no signal.
            self._ask(self._read_again)
        if not self._systemd.sent(message):
            return
        if message.member != "PropertiesChanged" or message.interface != PROPERTIES:
            return
        interface, changed = message.body[0], message.body[1]
        path = str(message.path)
        if interface != UNIT or "ActiveState" not in changed:
            return
        unit = self._units.get(path)
        if unit is None:
            if not path.endswith("_2eservice") or not self._faults.watched.everything:
                return
            if not self._room():
                return
            unit = self._units[path] = _Unit(_plain(path.rpartition("/")[2]))
        sub = changed.get("SubState")
        self._changed(path, unit, changed["ActiveState"].value, sub.value if sub else "")

    def _room(self) -> bool:
        """Makes room for one more unit; returns whether there is any."""
        if len(self._units) < MOST_UNITS:
            return True
        for path, unit in self._units.items():
            if unit.steady is None and unit.name not in self._named:
                del self._units[path]
                return True
        return False

    async def _read_again(self) -> None:
        """Reads them one by one: the library closes a connection that gets too much at once."""
        for path, unit in list(self._units.items()):
            await self._quietly(self._read, path, unit)

    async def _read(self, path: str, unit: _Unit) -> None:
        (values,) = await self._call(NAME, path, PROPERTIES, "GetAll", "s", UNIT)
        self._changed(path, unit, values["ActiveState"].value, values["SubState"].value)

    def _changed(self, path: str, unit: _Unit, state: str, sub: str) -> None:
        before = (unit.state, unit.sub)
        unit.state, unit.sub = state, sub
        if before == (state, sub):
            return
        if sub == "auto-restart":
            self._restarted(unit)
        if state == "failed":
            self._faults.fault(unit.name, "failed", f"{unit.name} has failed")
        elif state in ("active", "inactive"):
            self._faults.well(unit.name, "failed", f"{unit.name} is {state}")
        if state == "active" and unit.name in self._named:
            self._ask(self._watch_process, path, unit)

    def _restarted(self, unit: _Unit) -> None:
        watched = self._faults.watched
        now = self._loop.time()
        keyword = next(iter(self._faults.keywords(unit.name)), unit.name)
        window_s = watched.number(keyword, "flap_window_ms") / 1000
        unit.restarts.append(now)
        while unit.restarts[0] < now - window_s:
            unit.restarts.popleft()
        times = len(unit.restarts)
        if times >= watched.number(keyword, "loop_count"):
            text = f"{unit.name} was restarted {times} times within {window_s:g} s"
            self._faults.fault(unit.name, "loop", text)
        if unit.steady is not None:
            unit.steady.cancel()
        unit.steady = self._loop.call_later(window_s, self._steady, unit)

    def _steady(self, unit: _Unit) -> None:
        unit.steady = None
        self._faults.well(unit.name, "loop", f"{unit.name} is not restarted any more")

    async def _watch_process(self, path: str, unit: _Unit) -> None:
        if not path.endswith("_2eservice"):
            return
        pid = (await self._call(NAME, path, PROPERTIES, "Get", "ss", SERVICE, "MainPID"))[0].value
        if unit.process is not None:
            unit.process.close()
            unit.process = None
        if not pid:
            return

        def ended() -> None:
            self._ask(self._process_ended, path, unit, pid)

        try:
            unit.process = Process(pid, ended)
        except ProcessLookupError:
            ended()
        else:
            self._faults.well(unit.name, "process", f"{unit.name} runs again, process {pid}")

    async def _process_ended(self, path: str, unit: _Unit, pid: int) -> None:
        """An orderly stop sets another state before the process is asked to end."""
        state = (await self._call(NAME, path, PROPERTIES, "Get", "ss", UNIT, "ActiveState"))[0]
        if state.value in ("active", "activating", "failed"):
            text = f"{unit.name}: the main process {pid} is gone"
            self._faults.fault(unit.name, "process", text)

    def _ask(self, work: Callable[..., Awaitable[None]], *about: object) -> None:
        task = self._loop.create_task(self._quietly(work, *about))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _quietly(self, work: Callable[..., Awaitable[None]], *about: object) -> None:
        """A unit may be unloaded meanwhile; the end of the bus is noticed elsewhere."""
        try:
            await work(*about)
        except (ClpError, OSError, EOFError):
            return

    async def _call(
        self, to: str, path: str, interface: str, method: str, signature: str = "", *body: str
    ) -> list[Any]:
        assert self._bus is not None
        try:
            return await system_bus.call(self._bus, to, path, interface, method, signature, *body)
        except system_bus.Refused as refused:
            raise _unreachable(f"{method}: {refused}") from None


def _unreachable(said: str) -> ClpError:
    return ClpError(ExitCode.FAILED, f"systemd cannot be asked over D-Bus: {said}")


def _plain(escaped: str) -> str:
    """A unit's name from its object path: every byte but letters and digits is `_XX` there."""
    parts = escaped.split("_")
    name = parts[0]
    for part in parts[1:]:
        try:
            name += chr(int(part[:2], 16)) + part[2:]
        except ValueError:
            return escaped
    return name
