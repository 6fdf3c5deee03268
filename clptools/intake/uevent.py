"""The kernel's uevents (NETLINK_KOBJECT_UEVENT, netlink(7)), read once for all sources.

A message is `ACTION@DEVPATH` and `KEY=value` lines, each ended by a zero byte.  What others than
the kernel send there (udev's own messages, forgeries) is dropped.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

import msgspec

NETLINK_KOBJECT_UEVENT = 15
KERNEL_GROUP = 1
MESSAGE_BYTES = 8192
"""More than the kernel's UEVENT_BUFFER_SIZE and path."""
BUFFER_BYTES = 4 << 20
BATCH = 256
_FORCE = 33
"""SO_RCVBUFFORCE (socket(7))."""


class Uevent(msgspec.Struct, frozen=True, kw_only=True):
    """One event."""

    action: str
    """`add`, `remove`, `change`, ..."""
    path: str
    """Below `/sys`, with its slash."""
    values: dict[str, str]

    @property
    def subsystem(self) -> str:
        """`block`, `nvme`, `fc_remote_ports`, ..."""
        return self.values.get("SUBSYSTEM", "")

    @property
    def name(self) -> str:
        """The device's name in sysfs."""
        return self.path.rpartition("/")[2]


Take = Callable[[Uevent], None]


class Uevents:
    """The reader."""

    def __init__(self) -> None:
        self.lost = 0
        """How often the socket's buffer ran over."""
        self._listeners: dict[object, tuple[frozenset[str], Take, Callable[[], None]]] = {}
        self._socket: socket.socket | None = None

    def listen(
        self, subsystems: frozenset[str], take: Take, look_again: Callable[[], None]
    ) -> Callable[[], None]:
        """Events of some subsystems go to `take`; `look_again` is called when events were lost.

        Returns what ends it.  Raises OSError.
        """
        if self._socket is None:
            self._open()
        mark = object()
        self._listeners[mark] = (subsystems, take, look_again)

        def end() -> None:
            self._listeners.pop(mark, None)
            if not self._listeners:
                self.close()

        return end

    def close(self) -> None:
        """Reads no more."""
        self._listeners.clear()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def message(self, data: bytes) -> None:
        """A message of the kernel, to whom it concerns."""
        event = read_uevent(data)
        if event is None:
            return
        for subsystems, take, _ in list(self._listeners.values()):
            if event.subsystem in subsystems:
                take(event)

    def _open(self) -> None:
        sock = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
            NETLINK_KOBJECT_UEVENT,
        )
        try:
            enlarge(sock, BUFFER_BYTES)
            sock.bind((0, KERNEL_GROUP))
        except OSError:
            sock.close()
            raise
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(BATCH):
            if self._socket is None:
                return
            try:
                data, sender = self._socket.recvfrom(MESSAGE_BYTES)
            except OSError as fault:
                if fault.errno == errno.ENOBUFS:
                    self.lost += 1
                    for _, _, look_again in list(self._listeners.values()):
                        look_again()
                return
            if sender[0] == 0:
                self.message(data)


def enlarge(sock: socket.socket, size: int) -> None:
    """A bigger receive buffer, past the system's limit where we may."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _FORCE, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def read_uevent(data: bytes) -> Uevent | None:
    """A message of the kernel; None: it is none."""
    head, *rest = data.decode("utf-8", "replace").split("\0")
    action, at, path = head.partition("@")
    if not at or not path.startswith("/"):
        return None
    values = dict(one.split("=", 1) for one in rest if "=" in one)
    return Uevent(action=action, path=path, values=values)
