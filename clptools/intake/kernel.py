"""The kernel's own reports, one reader each: uevents, files that notify, and its log (`kmsg`).

Uevents come by netlink (NETLINK_KOBJECT_UEVENT, netlink(7)); files of `/proc` and `/sys` say by
poll(2) that they changed (POLLPRI).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import socket
import threading
from collections.abc import Callable

import msgspec

from clptools.intake.kmsg import Kmsg

NETLINK_KOBJECT_UEVENT = 15
KERNEL_GROUP = 1
MESSAGE_BYTES = 8192
"""More than the kernel's UEVENT_BUFFER_SIZE and path."""
BUFFER_BYTES = 4 << 20
BATCH = 256
_FORCE = 33
"""SO_RCVBUFFORCE (socket(7))."""


class Kernel:
    """The kernel's reports on this server, or those that a test provides."""

    def __init__(
        self,
        *,
        sys: str = "/sys",
        proc: str = "/proc",
        dev: str = "/dev",
        kmsg: Kmsg | None = None,
        uevents: Uevents | None = None,
    ) -> None:
        self.sys = sys
        self.proc = proc
        self.dev = dev
        self.kmsg = kmsg or Kmsg()
        self.uevents = uevents or Uevents()
        self.files = NotifyingFiles()

    def counters(self) -> dict[str, int]:
        """Reports received and lost, by reader."""
        return {
            "kmsg_read": self.kmsg.records,
            "kmsg_lost": self.kmsg.lost,
            "uevents_lost": self.uevents.lost,
        }

    def close(self) -> None:
        """Close what is still open."""
        self.kmsg.close()
        self.uevents.close()
        self.files.close()


def read_text(path: str) -> str:
    """A small file of sysfs or procfs, stripped; empty if there is none or it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4096).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def read_number(path: str) -> int | None:
    """The same as a number; None: there is none."""
    text = read_text(path)
    return int(text) if text.isascii() and text.removeprefix("-").isdigit() else None


def names(folder: str) -> list[str]:
    """The names in a directory, sorted; none if it does not exist."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def last_part(link: str) -> str:
    """The last part of a symbolic link's target; empty: it is no link."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return ""


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
    """Reads uevents while anything listens."""

    def __init__(self) -> None:
        self.lost = 0
        """How often the socket's buffer overflowed."""
        self._listeners: dict[object, tuple[frozenset[str], Take, Callable[[], None]]] = {}
        self._socket: socket.socket | None = None

    def listen(
        self, subsystems: frozenset[str], take: Take, look_again: Callable[[], None]
    ) -> Callable[[], None]:
        """Passes events of some subsystems to `take`; calls `look_again` when events were lost.

        Returns a function that ends it.  Raises OSError.
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
        """Stops reading."""
        self._listeners.clear()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def message(self, data: bytes) -> None:
        """Passes a message of the kernel to its listeners."""
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
    """Enlarges a receive buffer, beyond the system's limit where that is permitted."""
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


class NotifyingFiles:
    """The watched files, and a thread while there are any."""

    def __init__(self) -> None:
        self._files: dict[int, Callable[[], None]] = {}
        self._set: select.epoll | None = None
        self._thread: threading.Thread | None = None
        self._wake = -1

    def watch(self, fd: int, changed: Callable[[], None]) -> Callable[[], None]:
        """Calls `changed` in the loop when the file notifies; returns a function that ends it.

        That must be called before `fd` is closed.  Raises OSError (EPERM) if the file never
        notifies.
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
        """Stops watching; the callers close their files."""
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
