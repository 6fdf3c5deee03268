"""Addresses of the agent's Unix sockets, also of those too long for `sun_path`.

`sun_path` holds 107 bytes and a NUL (unix(7)).  A node under a deep `CLP_ROOT` has a longer
path; binding and connecting then go through a descriptor of the directory.
"""

from __future__ import annotations

import os

SUN_PATH_BYTES = 107


def private_path(path: str) -> str:
    """The socket beside `path` that only the agent's own user and root can reach.

    Its queue of connections is theirs alone: whoever may read can fill the other one.
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
