"""The BMC heartbeat (`bmchb`): each server changes a number in its own BMC, the others read it.

Here is the writing half.  The reading half is the power read that the core asks for, which
brings the number along, so that one session and one pair of requests serve both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from clptools.core.notices.form import Notice
from clptools.faults import ClpError
from clptools.links.notices import BmcTakesBeats, BmcTakesNoBeats


class Timer(Protocol):
    """The own BMC's watchdog timer, which carries the beat."""

    async def beat(self) -> None:
        """Writes the next beat.  Raises ClpError."""
        ...


class BmcHeartbeat:
    """Writes a beat each interval; says once when its BMC refuses it, or takes it again."""

    def __init__(
        self, name: str, timer: Timer, interval_ms: int, on_change: Callable[[Notice], None]
    ) -> None:
        """`name`: the interconnect's.  `on_change(notice)`: one line for the log."""
        self.name = name
        self.fault = ""
        """Why the newest beat was not written; empty: it was."""
        self._timer = timer
        self._interval_s = interval_ms / 1000
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Ends; the last beat stays in the BMC and ages there."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self._timer.beat()
            except Exception as error:
                # Whatever failed (no thread, no file handle): the next beat may be written.
                fault = f"a beat cannot be written: {error!r}"
                if isinstance(error, ClpError):
                    fault = error.message
                if not self.fault:
                    self._on_change(BmcTakesNoBeats(self.name, fault))
                self.fault = fault
            else:
                if self.fault:
                    self._on_change(BmcTakesBeats(self.name))
                self.fault = ""
            await asyncio.sleep(self._interval_s)
