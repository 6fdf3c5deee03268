"""Files of `/proc` and `/sys` that say by poll(2) when they change (POLLPRI).

Such a file is readable at any time, which is all that asyncio can wait for, and asking it takes
its word away, so that an epoll set inside another's would lose it.  Hence a thread that does
nothing but wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections.abc import Callable


class NotifyingFiles:
    """The files, and the thread while there are any."""

    def __init__(self) -> None:
        self._files: dict[int, Callable[[], None]] = {}
        self._set: select.epoll | None = None
        self._thread: threading.Thread | None = None
        self._wake = -1

    def watch(self, fd: int, changed: Callable[[], None]) -> Callable[[], None]:
        """`changed` is called in the loop when the file says so; returns what ends it, to be
        called before `fd` is closed.

        Raises OSError where the file has no such word (EPERM).
        """
        if self._set is None:
            self._open()
        assert self._set is not None
        self._set.register(fd, select.EPOLLPRI | select.EPOLLET)
        self._files[fd] = changed

        def end() -> None:
            if self._files.pop(fd, None) is not None and self._set is not None:
                with contextlib.suppress(OSError):
                    self._set.unregister(fd)

        return end

    def close(self) -> None:
        """Watches nothing more; the files are closed by whom they belong to."""
        self._files.clear()
        if self._set is not None and self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            self._set.close()
            os.close(self._wake)
            self._set = self._thread = None

    def _open(self) -> None:
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._set = select.epoll()
        self._set.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(
            target=self._run,
            args=(self._set, self._wake, asyncio.get_running_loop()),
            name="notifying",
            daemon=True,
        )
        self._thread.start()

    def _run(self, files: select.epoll, wake: int, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            ready = [fd for fd, _ in files.poll()]
            if wake in ready:
                return
            for fd in ready:
                try:
                    loop.call_soon_threadsafe(self._changed, fd)
                except RuntimeError:
                    return  # the loop has ended

    def _changed(self, fd: int) -> None:
        changed = self._files.get(fd)
        if changed is not None:
            changed()
