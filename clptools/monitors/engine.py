"""The engine of all active monitors: rounds, retries, and what the core hears of them.

The core hears of every round that ends in an error (it counts restarts and failovers by them),
and otherwise of changes only, so that a healthy server writes no journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib import import_module
from typing import cast

import msgspec

from clptools.core.model.events import MonitorResult
from clptools.core.model.settings import Monitor, Settings
from clptools.faults import ClpError
from clptools.monitors.base import MonitorContext, MonitorModule, Status, Verdict, error
from clptools.monitors.registry import VARIANTS

logger = logging.getLogger(__name__)

DUMMY = "dummy failure, switched on by command"


class _Rounds:
    """One monitor that runs."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.hurry = asyncio.Event()
        """Ends the sleep between two rounds."""
        self.failures = 0
        self.told: Status | None = None
        self.took_s: float | None = None
        """How long its newest check took; None: none has ended yet."""
        self.task: asyncio.Task[None]


class Engine:
    """All active monitors of one server; `report` gets their verdicts."""

    def __init__(self, context: MonitorContext, report: Callable[[MonitorResult], None]) -> None:
        self._context = context
        self._report = report
        self._running: dict[str, _Rounds] = {}
        self._faulty: set[str] = set()
        self._unforeseen: dict[str, str] = {}
        """The last fault of each monitor, so that it is logged once."""
        self._checks: set[asyncio.Task[Verdict]] = set()

    def apply(self, settings: Settings) -> None:
        """Take a new configuration; changed monitors begin their rounds anew."""
        before = {m.name: m for m in self._context.settings.monitors}
        self._context = msgspec.structs.replace(self._context, settings=settings)
        for monitor in settings.monitors:
            if monitor.name in self._running and before.get(monitor.name) != monitor:
                self.run(monitor.name, False)
                self.run(monitor.name, True)
        for name in [n for n in self._running if settings.monitor(n) is None]:
            self.run(name, False)

    def run(self, name: str, on: bool) -> None:
        """Begin or end a monitor's rounds; the result of a round under way is dropped."""
        rounds = self._running.pop(name, None)
        if rounds is not None:
            rounds.task.cancel()
        monitor = self._context.settings.monitor(name)
        if not on or monitor is None or monitor.type not in VARIANTS or monitor.type == "userw":
            return
        rounds = self._running[name] = _Rounds(monitor)
        rounds.task = asyncio.get_running_loop().create_task(self._go_on(rounds), name=name)

    def took_s(self) -> dict[str, float]:
        """How long the newest check of each monitor took, in seconds."""
        found = self._running.items()
        return {name: one.took_s for name, one in found if one.took_s is not None}

    def fault(self, name: str, on: bool) -> None:
        """Dummy failure: makes the next round fail, at once; or makes rounds true again."""
        (self._faulty.add if on else self._faulty.discard)(name)
        if name in self._running:
            self._running[name].hurry.set()

    async def close(self) -> None:
        """End all rounds."""
        tasks = [rounds.task for rounds in self._running.values()] + list(self._checks)
        self._running.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _go_on(self, rounds: _Rounds) -> None:
        loop = asyncio.get_running_loop()
        monitor = rounds.monitor
        due = loop.time() + monitor.start_wait_ms / 1000
        while True:
            await _sleep(rounds, due - loop.time())
            begun = loop.time()
            due = begun + monitor.interval_ms / 1000
            verdict = await self._round(monitor)
            rounds.took_s = loop.time() - begun
            self._judge(rounds, verdict)

    async def _round(self, monitor: Monitor) -> Verdict:
        if monitor.name in self._faulty:
            return Verdict(status=Status.ERROR, text=DUMMY, timed_out=True)
        # Shielded: suspending a monitor must not leave its script without a deadline.
        check = asyncio.get_running_loop().create_task(self._check(monitor))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)
        return await asyncio.shield(check)

    async def _check(self, monitor: Monitor) -> Verdict:
        try:
            module = cast(MonitorModule, import_module(VARIANTS[monitor.type]))
            return await module.check(monitor, self._context)
        except TimeoutError:
            text = f"no answer within {monitor.timeout_ms / 1000:g} s"
            return Verdict(status=Status.ERROR, text=text, timed_out=True)
        except ClpError as fault:
            return error(fault.message + (f" ({fault.hint})" if fault.hint else ""))
        except OSError as fault:
            place = f"{fault.filename}: " if fault.filename else ""
            return error(f"{place}{fault.strerror or fault}")
        except Exception as fault:
            # If the rounds ended here, the monitor would keep its last status for ever.
            text = f"{type(fault).__name__}: {fault}"
            if self._unforeseen.get(monitor.name) != text:
                logger.error("monitor %s cannot find out: %s", monitor.name, text)
            self._unforeseen[monitor.name] = text
            return error(f"cannot find out: {text}")

    def _judge(self, rounds: _Rounds, verdict: Verdict) -> None:
        """Report to the core, unless a retry comes first or the core knows it."""
        monitor = rounds.monitor
        if verdict.status is Status.ERROR:
            rounds.failures += 1
            if rounds.failures <= monitor.retries and not verdict.timed_out:
                return
        else:
            rounds.failures = 0
            if verdict.status is rounds.told:
                return
        rounds.told = verdict.status
        self._report(
            MonitorResult(monitor=monitor.name, status=verdict.status.value, text=verdict.text)
        )


async def _sleep(rounds: _Rounds, seconds: float) -> None:
    """Sleep, unless the next round is due at once."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await rounds.hurry.wait()
    except TimeoutError:
        pass
    rounds.hurry.clear()
