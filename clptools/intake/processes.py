"""Main processes that end, told by the kernel at once (pidfd_open(2))."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from clptools.common.foreign_files import beginning
from clptools.faults import ClpError
from clptools.intake.source import Faults

PID_MAX = 1 << 22
"""No process has a higher id (proc(5), `pid_max`)."""


class Process:
    """One process, until it ends."""

    def __init__(self, pid: int, ended: Callable[[], None]) -> None:
        """Raises ProcessLookupError: it has ended already."""
        self.pid = pid
        self._ended = ended
        self._fd = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    def close(self) -> None:
        """Watch it no more."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        self.close()
        self._ended()


async def watch_pid_file(keyword: str, path: str, faults: Faults, look_s: float = 2.0) -> None:
    """An application that writes its main process's id into a file.

    The file is read again, every `look_s`, only while there is no such process.
    """
    while True:
        ended = asyncio.Event()
        process = None
        with contextlib.suppress(OSError, ValueError, ClpError):
            process = Process(await asyncio.to_thread(_pid, path), ended.set)
        if process is None:
            await asyncio.sleep(look_s)
            continue
        faults.well(keyword, "process", f"{keyword} runs again, process {process.pid}")
        try:
            await ended.wait()
        finally:
            process.close()
        faults.fault(keyword, "process", f"{keyword}: the main process {process.pid} is gone")


def _pid(path: str) -> int:
    """What the file holds.  Raises OSError, ValueError and ClpError."""
    pid = int(beginning(path, 32))
    if not 0 < pid <= PID_MAX:
        raise ValueError(path)
    return pid
