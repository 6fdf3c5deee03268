"""The agent's own process: priority, memory, standard error, and the service manager above it."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import select
import socket
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
    64 KiB, so the loop would stand still with the next line.  A separate thread writes; what it
    cannot write is lost and counted.
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
        """As of any text stream to which something may be written."""
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


class Notifier:
    """Reports to the service manager (sd_notify(3)); silent where there is none.

    `$NOTIFY_SOCKET` is removed from the environment, so no child process inherits it.
    """

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        usec = os.environ.pop("WATCHDOG_USEC", "")
        pid = os.environ.pop("WATCHDOG_PID", "")
        mine = not pid or pid == str(os.getpid())
        self.watchdog_ms = int(usec) // 1000 if self._address and mine and usec.isdigit() else 0
        """The manager restarts us unless `watchdog()` is called this often; 0: it does not."""

    def ready(self, status: str = "") -> None:
        """The agent is up."""
        self._send("READY=1", status)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("", text)

    def watchdog(self) -> None:
        """Still alive; to be sent at half of `watchdog_ms`, from the loop that must not hang."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str = "") -> None:
        """The agent goes down."""
        self._send("STOPPING=1", status)

    def extend(self, usec: int) -> None:
        """Start or stop takes longer: give it this much time from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={usec}")

    def _send(self, line: str, status: str = "") -> None:
        if not self._address:
            return
        lines = [line] if line else []
        if status:
            lines.append("STATUS=" + status.replace("\n", " "))
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        # A manager that cannot be reached must not stop a cluster.
        with (
            contextlib.suppress(OSError),
            socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            ) as sock,
        ):
            sock.sendto("\n".join(lines).encode(), address)
