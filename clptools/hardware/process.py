"""What the agent's process tells the kernel and the service manager about itself."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket

PR_SET_DUMPABLE = 4
"""prctl(2), include/uapi/linux/prctl.h."""


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


def dump_nothing() -> None:
    """This process and its forks leave no core dump; only root may read their memory.

    A dump with keys would lie on a disk, or go to a service that collects dumps.  A resource limit
    would be inherited by groups' scripts, whose dumps belong to the administrator; this flag ends
    with execve(2).
    """
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
