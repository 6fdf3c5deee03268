"""Runs the sources that this server's message receive monitors want, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from clptools.common.threads import load
from clptools.core.model.events import MessageSeen
from clptools.core.model.settings import Settings
from clptools.faults import ClpError
from clptools.intake.door import OnMessage
from clptools.intake.kernel import Kernel
from clptools.intake.registry import SOURCES
from clptools.intake.source import Faults, Watch, Watched, watched

PENDING = 1024
"""Messages told and not yet durable; beyond it they are dropped and counted.  Faults and their
ends have as many places again, beyond those that predictions may take."""
AGAIN_S = (1.0, 60.0)
"""How soon a source that could not go on is begun again: at first, and at last."""


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
        """`on_message` returns once the event is durable; `open_events` gives the keys that the
        ledger has open, `CATEGORY/KEYWORD#FAULT`."""
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
        """Begin, end or begin anew what the configuration changes."""
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
        """End all sources; what they told becomes durable first."""
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
                # A source reads what drivers write: whatever goes wrong there, the others and
                # the agent go on, and the source begins with a clean slate.
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
    """What is at the bottom of a group of exceptions."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def _plain(fault: BaseException) -> str:
    if isinstance(fault, OSError) and fault.strerror:
        return f"{fault.filename}: {fault.strerror}" if fault.filename else fault.strerror
    return f"{type(fault).__name__}: {fault}"
