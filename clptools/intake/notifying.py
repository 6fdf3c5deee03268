"""Files of `/proc` and `/sys` that say by poll(2) when they change (POLLPRI).

Such a file is readable at any time, which is all that asyncio can wait for.  So they are in an
epoll set of their own, for urgent conditions alone; the set itself is readable then.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable


class NotifyingFiles:
    """The set."""

    def __init__(self) -> None:
        self._set: select.epoll | None = None
        self._files: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, changed: Callable[[], None]) -> Callable[[], None]:
        """`changed` is called when the file says so; returns what ends it, before closing `fd`.

        Raises OSError where the file has no such word (EPERM).
        """
        if self._set is None:
            self._set = select.epoll()
            asyncio.get_running_loop().add_reader(self._set.fileno(), self._look)
        self._set.register(fd, select.EPOLLPRI)
        self._files[fd] = changed

        def end() -> None:
            if self._files.pop(fd, None) is not None and self._set is not None:
                with contextlib.suppress(OSError):
                    self._set.unregister(fd)

        return end

    def close(self) -> None:
        """Watches nothing more; the files are closed by whom they belong to."""
        self._files.clear()
        if self._set is not None:
            asyncio.get_running_loop().remove_reader(self._set.fileno())
            self._set.close()
            self._set = None

    def _look(self) -> None:
        if self._set is None:
            return
        for fd, _ in self._set.poll(0):
            changed = self._files.get(fd)
            if changed is not None:
                changed()
