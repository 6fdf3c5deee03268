"""The agent's own process: its priority, its pages in memory, its standard error."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import select
import threading
from collections import deque

NICE = -10
_CURRENT, _FUTURE, _ON_FAULT = 1, 2, 4
"""Linux, <bits/mman-linux.h>.  On fault: only what is used is locked, not all that is mapped."""
HELD = 1 << 20
"""Characters that may wait to be written."""
LAST_S = 1.0
"""How long the end of the process waits for them."""


def come_first() -> None:
    """Raise the priority of this thread: heartbeats, leases and the kernel's log do not wait.

    SCHED_RESET_ON_FORK (sched(7)) gives children and threads nice 0 again: what a group runs
    must compete as if its administrator had started it.  Without the right to, nothing changes.
    """
    with contextlib.suppress(OSError):
        policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        if policy == os.SCHED_OTHER and os.getpriority(os.PRIO_PROCESS, 0) > NICE:
            os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, 0, NICE)


def lock_memory() -> bool:
    """Keep the agent's pages in memory (mlockall(2)); whether the kernel did.

    Without the right to (no root, a small limit) it does not.
    """
    import ctypes

    libc = ctypes.CDLL(None)
    return bool(libc.mlockall(_CURRENT | _FUTURE | _ON_FAULT) == 0)


class Stderr(io.TextIOBase):
    """A text stream in place of `sys.stderr`; what is written goes to `fd` line by line.

    Writing never waits: journald stops reading while its disk hangs, and a pipe takes no more than
    64 KiB, so the loop would stand still with the next line.  A thread of its own writes; what it
    does not get rid of is lost and counted.
    """

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._waiting: deque[str] = deque()
        self._part = ""
        self._held = 0
        self._lost = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="stderr", daemon=True).start()
        atexit.register(self.settle)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Take the text; returns at once, whether it can be kept or not."""
        with self._changed:
            whole, newline, self._part = (self._part + text).rpartition("\n")
            self._put(whole + newline)
        return len(text)

    def settle(self) -> None:
        """Return once everything is written, or could not be for a while."""
        with self._changed:
            self._put(self._part)
            self._part = ""
            self._changed.wait_for(lambda: not self._held, LAST_S)

    def _put(self, text: str) -> None:
        if self._held + len(text) > HELD:
            self._lost += text.count("\n")
        elif text:
            self._waiting.append(text)
            self._held += len(text)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._lost)
                text = "".join(self._waiting)
                self._waiting.clear()
                if self._lost:
                    text += f"clpnode: WARNING: {self._lost} lines are lost: nobody read the log\n"
                    self._lost = 0
                self._held = len(text)
            with contextlib.suppress(OSError):  # the reader is gone
                self._write(text.encode(errors="backslashreplace"))
            with self._changed:
                self._held -= len(text)
                self._changed.notify_all()

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # another process has made it so
                select.select([], [self._fd], [])
