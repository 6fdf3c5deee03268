"""What a running agent looks after where it writes: files that were removed, and a sick disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor as Worker

from clptools import paths
from clptools.agent.notices import (
    DiskAnswers,
    DiskFull,
    DiskHangs,
    DiskHasRoom,
    FilesMadeAgain,
    FilesNotMade,
    LockMadeAgain,
    LockNotMade,
)
from clptools.core.notices.form import Notice
from clptools.faults import ClpError

_RUN_S = 0.5
"""How often what the agent has in `/run` is looked for."""
_LOCK_S = 5.0
"""How often the lock below `/var/lib` is."""
_DISK_LOOK_S = 2.0
_DISK_HANGS_S = 10.0
"""A disk that writes for so long hangs, or will not be able to keep up."""
_FULL_BYTES, _ROOM_BYTES = 64 * 1024, 512 * 1024
"""With less free than the first a disk is full, with the second it has room again."""


class FilesKept:
    """Makes files of a running agent again where something removed them, and says so."""

    def __init__(self, tell: Callable[[Notice], None]) -> None:
        self._tell = tell

    async def watch_run(self, remake: Callable[[], Awaitable[bool]]) -> None:
        """For ever: call `remake`, which says whether anything was gone from `/run`."""
        await self._watch(remake, _RUN_S, FilesNotMade, FilesMadeAgain(paths.run_dir()))

    async def watch_lock(self, remake: Callable[[], bool]) -> None:
        """The same for the lock below `/var/lib`; in a thread, since that disk may hang."""
        made = LockMadeAgain(f"{paths.data_dir()}/lock")
        await self._watch(lambda: asyncio.to_thread(remake), _LOCK_S, LockNotMade, made)

    async def _watch(
        self,
        remake: Callable[[], Awaitable[bool]],
        every_s: float,
        not_made: Callable[[str], Notice],
        made: Notice,
    ) -> None:
        """`remake` raises OSError or ClpError if a file cannot be made; each is reported once."""
        told = ""
        while True:
            await asyncio.sleep(every_s)
            try:
                was_gone = await remake()
            except (OSError, ClpError) as fault:
                why = _why(fault)
                if why != told:
                    self._tell(not_made(why))
                told = why
            else:
                if was_gone or told:
                    self._tell(made)
                told = ""


class DiskWatch:
    """Tells when the disk of journal and records hangs or is full, and when that is over."""

    def __init__(self, worker: Worker, tell: Callable[[Notice], None]) -> None:
        """`worker`: the disk thread."""
        self._worker = worker
        self._tell = tell

    async def watch(self, write_again: Callable[[], Awaitable[None]]) -> None:
        """For ever; `write_again` writes what the disk did not take."""
        loop = asyncio.get_running_loop()
        is_full = False
        while True:
            await asyncio.sleep(_DISK_LOOK_S)
            began = loop.time()
            answered = loop.run_in_executor(self._worker, _room)
            done, _ = await asyncio.wait({answered}, timeout=_DISK_HANGS_S)
            if not done:
                self._tell(DiskHangs(paths.data_dir(), _since_ms(began)))
                await asyncio.wait({answered})
                self._tell(DiskAnswers(paths.data_dir(), _since_ms(began)))
            room = answered.result()
            if not is_full and room < _FULL_BYTES:
                is_full = True
                self._tell(DiskFull(paths.data_dir()))
            elif is_full and room >= _ROOM_BYTES:
                is_full = False
                self._tell(DiskHasRoom(paths.data_dir()))
            await write_again()


def _why(fault: OSError | ClpError) -> str:
    if isinstance(fault, ClpError):
        return fault.message
    return f"{fault.filename or paths.run_dir()}: {fault.strerror}"


def _room() -> int:
    """Free bytes where journal and records lie.

    Runs in the disk thread, and so shows whether it hangs.
    """
    try:
        found = os.statvfs(paths.data_dir())
    except OSError:
        return _ROOM_BYTES  # whoever writes there tells
    return found.f_bfree * found.f_frsize


def _since_ms(began: float) -> int:
    return round((asyncio.get_running_loop().time() - began) * 1000)
