"""The kernel's log, `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg), read once for all sources.

A thread of its own reads it, since a burst overruns the kernel's ring buffer within a fraction of a
second, and the event loop may be busy that long.  The thread hands over what a source made of a
line.  Until the loop has taken a finding, repetitions of it are only counted, so that a storm stays
small.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import threading
from collections.abc import Callable

import msgspec

RECORD_BYTES = 8192
"""The longest record that the kernel gives (PRINTK_MESSAGE_MAX, with its dictionary)."""
WARNING = 4
"""The least serious level that counts (<linux/kern_levels.h>)."""
PENDING = 1024
"""Different findings that may wait for the loop; more are lost and counted."""
NICE = -10
"""Priority of the thread.

It has little to do, but on an overloaded machine waiting for a second loses records.
"""
_TURN = 512
"""Records read between two checks whether to stop."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the kernel."""

    text: str
    device: str = ""
    """As the driver core names it: `b8:16`, `n3` (interface index), `+pci:0000:3b:00.0`."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a source made of a line; equal `device` and `fault` mean a repetition."""

    device: str
    fault: str
    text: str = ""


Read = Callable[[Line], Finding | None]
"""Reads a line, in the thread: no state, no I/O."""
Take = Callable[[Finding, int], None]
"""Takes a finding and how often it came since the last time, in the loop."""


class _Listener:
    def __init__(
        self, needles: tuple[bytes, ...], read: Read, take: Take, look_again: Callable[[], None]
    ) -> None:
        self.needles = needles
        self.read = read
        self.take = take
        self.look_again = look_again


class Kmsg:
    """Reads the log while a source listens."""

    def __init__(self, path: str = "/dev/kmsg", *, kernel_only: bool = True) -> None:
        """`kernel_only` skips lines that programs wrote into the log; the kernel marks them
        (facility 1 and above)."""
        self.lost = 0
        """Records that the ring buffer had no room for, and findings beyond `PENDING`."""
        self.records = 0
        self._path = path
        self._top = (7 if kernel_only else 0xFFFF, WARNING)
        self._listeners: tuple[_Listener, ...] = ()
        self._pending: dict[tuple[int, str, str], tuple[_Listener, Finding, int]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = -1
        self._looking = False
        """Whether the loop is already going to read all states again."""

    def listen(
        self,
        needles: tuple[bytes, ...],
        read: Read,
        take: Take,
        look_again: Callable[[], None] = lambda: None,
    ) -> Callable[[], None]:
        """Passes on lines that contain one of `needles`; returns a function that ends it.

        `look_again` is called when records were lost: states can still be read.
        Raises OSError if there is no such log, or no permission.
        """
        listener = _Listener(needles, read, take, look_again)
        self._listeners = (*self._listeners, listener)
        if self._thread is None:
            try:
                self._open(asyncio.get_running_loop())
            except OSError:
                self._listeners = ()
                raise

        def end() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not listener)
            if not self._listeners:
                self.close()

        return end

    def close(self) -> None:
        """Ends the thread."""
        self._listeners = ()
        thread, self._thread = self._thread, None
        if thread is not None:
            os.eventfd_write(self._wake, 1)
            thread.join()
            os.close(self._wake)
            self._pending.clear()

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.lseek(fd, 0, os.SEEK_END)  # what is new from here on
        except OSError as fault:
            if fault.errno != errno.ESPIPE:
                os.close(fd)
                raise
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(
            target=self._run, args=(fd, self._wake, loop), name="kmsg", daemon=True
        )
        self._thread.start()

    # ------------------------------------------------------------------ in the thread

    def _run(self, fd: int, wake: int, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(wake, select.POLLIN)
        sequence = -1
        with os.fdopen(fd, "rb", buffering=0):
            while True:
                if any(ready == wake for ready, _ in poll.poll()):
                    return
                for _ in range(_TURN):
                    try:
                        record = os.read(fd, RECORD_BYTES)
                    except BlockingIOError:
                        break
                    except OSError as fault:
                        # The ring buffer overtook us (EPIPE), or a record is too long.
                        if fault.errno not in (errno.EPIPE, errno.EINVAL):
                            return
                        if sequence < 0:
                            self._missed(
                                1, loop
                            )  # before the first record: their number is unknown
                        continue
                    if not record:
                        return
                    sequence = self._record(record, sequence, loop)

    def _record(self, record: bytes, before: int, loop: asyncio.AbstractEventLoop) -> int:
        head, _, rest = record.partition(b";")
        try:
            level, number, _ = head.split(b",", 2)
            priority, sequence = int(level), int(number)
        except ValueError:
            return before
        self.records += 1
        if 0 <= before < sequence - 1:
            self._missed(sequence - 1 - before, loop)
        if priority > self._top[0] or priority & 7 > self._top[1]:
            return sequence
        for listener in self._listeners:
            for needle in listener.needles:
                if needle in rest:
                    self._offer(listener, rest, loop)
                    break
        return sequence

    def _offer(self, listener: _Listener, rest: bytes, loop: asyncio.AbstractEventLoop) -> None:
        found = listener.read(line_of(rest))
        if found is None:
            return
        key = (id(listener), found.device, found.fault)
        with self._lock:
            empty = not self._pending
            _, _, times = self._pending.get(key, (None, None, 0))
            if not times and len(self._pending) >= PENDING:
                self._missed(1, loop)
                return
            self._pending[key] = (listener, found, times + 1)
        if empty:
            self._to_loop(loop, self._hand_over)

    def _missed(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.lost += number
        if not self._looking:
            self._looking = True
            self._to_loop(loop, self._look_again)

    def _to_loop(self, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
        # Once the loop is closed, this thread will soon end, too.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(call)

    # ------------------------------------------------------------------ in the loop

    def _look_again(self) -> None:
        self._looking = False
        for listener in self._listeners:
            listener.look_again()

    def _hand_over(self) -> None:
        with self._lock:
            waiting, self._pending = self._pending, {}
        for listener, found, times in waiting.values():
            if listener in self._listeners:
                listener.take(found, times)


def line_of(rest: bytes) -> Line:
    """The text and the device of a record; `rest` is what follows its prefix.

    Continuation lines begin with a space and are `KEY=value`; bytes that are not printable come
    as `\\x0a` and stay so.
    """
    text, *more = rest.decode("utf-8", "replace").rstrip("\n").split("\n")
    device = next((m.removeprefix(" DEVICE=") for m in more if m.startswith(" DEVICE=")), "")
    return Line(text=text, device=device)
