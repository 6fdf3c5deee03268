"""The sources of messages about this server: what each is given, how it reports, and who runs it.

A source finds *faults* of *devices* and says when they are over.  `Faults` reports only the
changes, under the keyword that the monitors use, and damps what flaps.  `Sources` runs those
sources that this server's message receive monitors want.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, cast

import msgspec

from clptools.common.threads import load
from clptools.core.model.events import MessageSeen
from clptools.core.model.settings import Monitor, Option, Settings
from clptools.faults import ClpError
from clptools.intake.kernel import Kernel
from clptools.intake.message_socket import OnMessage
from clptools.intake.registry import FIELDS, SOURCES

REPEAT_S = 10.0
"""Shortest time between two reports of the same open fault."""
TEXT_LENGTH = 500
MOMENTS = frozenset({"transmit", "firmware", "io", "timeout", "file system", "uncorrected"})
"""Momentary faults: no state shows when they are over."""

PENDING = 1024
"""Messages that may wait to become durable; further ones are dropped and counted.  Faults and their
ends have as many places again, beyond those that predictions may take."""
AGAIN_S = (1.0, 60.0)
"""Shortest and longest pause before a failed source is started again."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What the message receive monitors of one server want of one category."""

    category: str
    server: str
    monitors: tuple[Monitor, ...]

    @property
    def everything(self) -> bool:
        """Whether a monitor has no keyword: every device of the category counts."""
        return any(not monitor.keywords.get(self.server) for monitor in self.monitors)

    @property
    def keywords(self) -> frozenset[str]:
        """The devices that monitors name."""
        found = (monitor.keywords.get(self.server, "") for monitor in self.monitors)
        return frozenset(keyword for keyword in found if keyword)

    def monitor(self, keyword: str) -> Monitor:
        """The monitor whose options apply to a device; one that names it comes first."""
        by_keyword = {m.keywords.get(self.server, ""): m for m in reversed(self.monitors)}
        return by_keyword.get(keyword) or by_keyword.get("") or self.monitors[0]

    def option(self, keyword: str, name: str) -> Option:
        """A key's value for a device, the default where it is not set."""
        value = self.monitor(keyword).options.get(name)
        return defaults(self.category)[name] if value is None else value

    def number(self, keyword: str, name: str) -> float:
        """The same of a key that is a number; durations (`_ms`) are in milliseconds."""
        value = self.option(keyword, name)
        assert isinstance(value, (int, float))
        return value

    def text(self, keyword: str, name: str) -> str:
        """The same of a key that is a text, or a table with one for each server."""
        value = self.option(keyword, name)
        return value.get(self.server, "") if isinstance(value, dict) else str(value or "")


def defaults(category: str) -> dict[str, Option]:
    """Key -> default of a category's keys, as read."""
    return {field.option: field.default_value() for field in FIELDS[category]}


def watched(settings: Settings, server: str) -> dict[str, Watched]:
    """Category -> what is wanted of its source; only categories that have one."""
    by_category: dict[str, list[Monitor]] = {}
    for monitor in settings.monitors:
        if monitor.type == "mrw" and server in monitor.servers and monitor.category in SOURCES:
            by_category.setdefault(monitor.category, []).append(monitor)
    return {
        category: Watched(category=category, server=server, monitors=tuple(monitors))
        for category, monitors in by_category.items()
    }


class _Run:
    """One fault of one device."""

    def __init__(self) -> None:
        self.open = False
        self.began: deque[float] = deque()
        """When it began, within the window that counts flapping."""
        self.told_at = 0.0
        self.end: asyncio.TimerHandle | None = None
        """Closes it, unless it happens again."""
        self.settling = False
        """It is over, but flapped: shown as open until it stays away."""


class Faults:
    """The faults of one source.  Use it inside a running loop only."""

    def __init__(
        self,
        watched: Watched,
        tell: Callable[[MessageSeen], None],
        was_open: Iterable[str] = (),
    ) -> None:
        """`was_open`: faults that the ledger has open (`CATEGORY/KEYWORD#FAULT`), perhaps from
        an earlier run of the agent: they are over once the source finds the device well."""
        self.watched = watched
        self.same: Callable[[str, str], bool] = str.__eq__
        """Whether a keyword means a device; sources whose devices have several names set it."""
        self._tell = tell
        self._runs: dict[tuple[str, str], _Run] = {}
        self._loop = asyncio.get_running_loop()
        head = f"{watched.category}/"
        for key in was_open:
            keyword, _, fault = key.removeprefix(head).rpartition("#")
            if key.startswith(head) and fault:
                self._run(keyword, fault).open = True
                self._quiet(keyword, fault)

    def keywords(self, device: str) -> tuple[str, ...]:
        """The keywords under which a device is reported; none: no monitor wants it."""
        named = tuple(k for k in sorted(self.watched.keywords) if self.same(k, device))
        return named or ((_encodable(device),) if self.watched.everything else ())

    def is_open(self, device: str, fault: str) -> bool:
        """Whether this fault is open (and not only waiting to settle)."""
        runs = (self._runs.get((keyword, fault)) for keyword in self.keywords(device))
        return any(run is not None and run.open for run in runs)

    def opened(self) -> set[tuple[str, str]]:
        """Every open (keyword, fault)."""
        return {key for key, run in self._runs.items() if run.open}

    def fault(self, device: str, fault: str, text: str, *, predictive: bool = False) -> None:
        """`device` has a fault."""
        for keyword in self.keywords(device):
            self._begin(keyword, fault, text, predictive)
            self._quiet(keyword, fault)

    def well(self, device: str, fault: str, text: str) -> None:
        """`device` has no such fault (any more)."""
        for keyword in self.keywords(device):
            self._end(keyword, fault, text)

    def close(self) -> None:
        """Stops every timer."""
        for run in self._runs.values():
            if run.end is not None:
                run.end.cancel()

    def _quiet(self, keyword: str, fault: str) -> None:
        """Closes a fault that has no end of its own, once it has been quiet for long."""
        quiet_ms = self.watched.number(keyword, "quiet_ms")
        if fault in MOMENTS and quiet_ms:
            self._close_later(keyword, fault, quiet_ms, "nothing more since")

    def _run(self, keyword: str, fault: str) -> _Run:
        return self._runs.setdefault((keyword, fault), _Run())

    def _begin(self, keyword: str, fault: str, text: str, predictive: bool) -> None:
        run = self._run(keyword, fault)
        now = self._loop.time()
        again = run.settling or not run.open
        run.settling = False
        if run.end is not None:
            run.end.cancel()
            run.end = None
        if again:
            run.began.append(now)
        if run.open and now - run.told_at < REPEAT_S:
            return
        times = self._lately(keyword, run)
        if times >= self.watched.number(keyword, "flap_count"):
            window_s = self.watched.number(keyword, "flap_window_ms") / 1000
            text = f"{text} (it flaps: {times} times within {window_s:g} s)"
        run.open = True
        run.told_at = now
        self._send(keyword, fault, text, recovered=False, predictive=predictive)

    def _end(self, keyword: str, fault: str, text: str) -> None:
        run = self._runs.get((keyword, fault))
        if run is None or not run.open or run.settling:
            return
        if self._lately(keyword, run) >= self.watched.number(keyword, "flap_count"):
            run.settling = True
            self._close_later(keyword, fault, self.watched.number(keyword, "settle_ms"), text)
        else:
            self._close(keyword, fault, text)

    def _close_later(self, keyword: str, fault: str, after_ms: float, text: str) -> None:
        run = self._run(keyword, fault)
        if run.end is not None:
            run.end.cancel()
        said = f"{text}, for {after_ms / 1000:g} s"
        run.end = self._loop.call_later(after_ms / 1000, self._close, keyword, fault, said)

    def _close(self, keyword: str, fault: str, text: str) -> None:
        run = self._run(keyword, fault)
        run.open, run.settling, run.end = False, False, None
        self._send(keyword, fault, text, recovered=True, predictive=False)

    def _lately(self, keyword: str, run: _Run) -> int:
        """How often it began within the window."""
        since = self._loop.time() - self.watched.number(keyword, "flap_window_ms") / 1000
        while run.began and run.began[0] < since:
            run.began.popleft()
        return len(run.began)

    def _send(
        self, keyword: str, fault: str, text: str, *, recovered: bool, predictive: bool
    ) -> None:
        clean = "".join(c if c.isprintable() else " " for c in text[:TEXT_LENGTH])
        self._tell(
            MessageSeen(
                category=self.watched.category,
                keyword=keyword,
                fault=fault,
                text=clean,
                recovered=recovered,
                predictive=predictive,
            )
        )


def _encodable(device: str) -> str:
    """The name with `\\xff` for a byte that is no UTF-8, as a mount point may have: the journal
    needs UTF-8."""
    return device.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class Watch(Protocol):
    """The function `watch` of a source's module."""

    async def __call__(self, kernel: Kernel, faults: Faults, note: Callable[[str], None]) -> None:
        """Watch until cancelled; `note` takes remarks that are no fault of a device.

        Raises OSError or ClpError if the system lacks what it needs; it is started again later.
        """


class Sources:
    """The sources of one agent."""

    def __init__(
        self,
        server: str,
        on_message: OnMessage,
        note: Callable[[str], None],
        open_events: Callable[[], frozenset[str]],
        kernel: Kernel | None = None,
    ) -> None:
        """`on_message` returns once the event is durable; `open_events` gives the open keys of the
        ledger, `CATEGORY/KEYWORD#FAULT`."""
        self.kernel = kernel or Kernel()
        self.told = 0
        self.dropped = 0
        self.undelivered = 0
        self._server = server
        self._on_message = on_message
        self._note = note
        self._open_events = open_events
        self._wanted: dict[str, Watched] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._pending: set[asyncio.Task[None]] = set()

    def apply(self, settings: Settings) -> None:
        """Start, stop or restart the sources that the configuration changes."""
        wanted = watched(settings, self._server)
        for category, task in list(self._running.items()):
            if wanted.get(category) != self._wanted.get(category):
                del self._running[category]
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
                task.cancel()
        self._wanted = wanted
        for category, one in wanted.items():
            if category not in self._running:
                self._running[category] = asyncio.get_running_loop().create_task(
                    self._run(one), name=f"source {category}"
                )

    def counters(self) -> dict[str, int]:
        """By fate."""
        return {
            "told": self.told,
            "dropped": self.dropped,
            "undelivered": self.undelivered,
            **self.kernel.counters(),
        }

    async def close(self) -> None:
        """End all sources, once their reports are durable."""
        tasks = [*self._running.values(), *self._ending]
        self._running.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._pending, return_exceptions=True)
        self.kernel.close()

    async def _run(self, wanted: Watched) -> None:
        delay_s, last = AGAIN_S[0], ""
        while True:
            faults = Faults(wanted, self._tell, self._open_events())
            try:
                # In a thread, because the libraries of some sources take a while to load.
                module = await asyncio.to_thread(load, SOURCES[wanted.category])
                await cast(Watch, module.watch)(self.kernel, faults, self._note)
                said = "ended by itself"
            except Exception as raised:
                fault = _first(raised)
                # A source reads what drivers write.  A bug there must not stop the others or
                # the agent; the source starts again with a clean slate.
                said = fault.message if isinstance(fault, ClpError) else _plain(fault)
            finally:
                faults.close()
            if said != last:
                self._note(f"The source of {wanted.category} messages cannot go on: {said}")
                last = said
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, AGAIN_S[1])

    def _tell(self, event: MessageSeen) -> None:
        if len(self._pending) >= (PENDING if event.predictive else 2 * PENDING):
            self.dropped += 1
            return
        self.told += 1
        task = asyncio.get_running_loop().create_task(self._deliver(event))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _deliver(self, event: MessageSeen) -> None:
        try:
            await self._on_message(event)
        except OSError:
            # The core's queue was full, the core is gone, or the disk took nothing.
            self.undelivered += 1


def _first(fault: BaseException) -> BaseException:
    """The first exception in a group of groups."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def _plain(fault: BaseException) -> str:
    if isinstance(fault, OSError) and fault.strerror:
        return f"{fault.filename}: {fault.strerror}" if fault.filename else fault.strerror
    return f"{type(fault).__name__}: {fault}"
