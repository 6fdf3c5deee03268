"""What both ends of the agent's Unix sockets share: the addresses, and the clock of calls.

`sun_path` holds 107 bytes and a NUL (unix(7)).  A node under a deep `CLP_ROOT` has a longer
path; binding and connecting then go through a descriptor of the directory.
"""

from __future__ import annotations

import os
import time

SUN_PATH_BYTES = 107


def private_path(path: str) -> str:
    """The socket beside `path` that only the agent's own user and root can reach.

    Its queue of connections is theirs alone; any user who may read can fill the other one.
    """
    return path.removesuffix(".sock") + "-root.sock"


class SocketAddress:
    """An address for `bind` or `connect`, good inside the `with` block."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._directory = -1

    def __enter__(self) -> str:
        if len(os.fsencode(self.path)) <= SUN_PATH_BYTES:
            return self.path
        directory, name = os.path.split(self.path)
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._directory}/{name}"

    def __exit__(self, *_: object) -> None:
        if self._directory >= 0:
            os.close(self._directory)


def boot_ms() -> int:
    """Milliseconds since boot, sleep included (CLOCK_BOOTTIME).

    A call carries when it was asked for by this clock: caller and agent share one host.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
