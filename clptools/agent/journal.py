"""Keeps every event that the core was given, and never holds up the loop.

Events are encoded at once and written by the agent's disk thread: within two seconds, or within
50 ms after an event that is neither a heartbeat nor a timer, and at once where a caller waits for
`durable()`.  Callers that wait at the same time share one fdatasync, so a storm of INFORMs is no
storm of syncs.  While the disk takes nothing, events are counted as lost and one alert is given;
the journal goes on in a new segment, with a fresh snapshot of the core, as soon as the disk does.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import zlib
from collections.abc import Callable
from concurrent.futures import Executor

from clptools.agent.notices import JournalUnwritten, JournalWritten
from clptools.core.model.events import BeatSeen, Event, TimerFired
from clptools.core.notices.form import Notice
from clptools.core.report import journal as form

_IDLE_FLUSH_S = 2.0
_SOON_S = 0.05
_RETRY_S = 5.0
_BUFFER_LIMIT = 4 * 1024 * 1024
"""Above it (a disk that hangs), events are counted as lost instead of kept in memory."""
_SEGMENT_LIMIT = 16 * 1024 * 1024
_MOST_SEGMENTS = 2_000
"""Each start of an agent begins one: the budget in bytes alone would allow very many short ones."""


class _Part:
    """Bytes for one segment: the current segment, or a new one if `head` is set."""

    def __init__(self, head: bytes = b"") -> None:
        self.head = head
        self.data = bytearray()
        self.events = 0


class Journal:
    """The journal of one incarnation: the loop appends, the disk thread does the rest."""

    def __init__(
        self,
        folder: str,
        budget_bytes: int,
        head: Callable[[int], form.Head],
        worker: Executor,
        alert: Callable[[Notice], None],
    ) -> None:
        """`head(number)` describes the core as it is now; `alert` tells people."""
        self._files = _Segments(folder, budget_bytes)
        self._head = head
        self._worker = worker
        self._alert = alert
        self._number = 0
        self._parts: list[_Part] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._flush: asyncio.Task[None] | None = None
        self._fresh = True
        """The next event begins a segment."""
        self._blocked_until = 0.0
        """When the segment that follows a loss may begin; 0: nothing is lost since the last."""
        self.lost = 0
        """Events that are in no segment, since this agent started."""

    def append(self, now: int, event: Event) -> None:
        """Take `event`, before the core is given it.  Never blocks, never raises."""
        if self._fresh and asyncio.get_running_loop().time() < self._blocked_until:
            self.lost += 1
            return
        if sum(len(part.data) for part in self._parts) > _BUFFER_LIMIT:
            # What already waits is written if the disk comes back; after it there is a gap.
            self.lost += 1
            self._break_off("the disk hangs")
            return
        if self._fresh:
            self._number += 1
            self._parts.append(_Part(form.record(self._head(self._number))))
            self._fresh = False
        elif not self._parts:
            self._parts.append(_Part())
        part = self._parts[-1]
        part.data += form.record(form.Entry(now, event))
        part.events += 1
        bulk = isinstance(event, BeatSeen | TimerFired)
        self._flush_in(_IDLE_FLUSH_S if bulk else _SOON_S)

    async def durable(self) -> None:
        """Return once everything appended before is on the disk.  Raises OSError if it is not."""
        if self._fresh and self._blocked_until:
            raise OSError(errno.EIO, "the newest events are lost", self._files.folder)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._flush_in(0.0)
        await waiter

    async def close(self) -> None:
        """Write what is left."""
        if self._flush is not None:
            await self._flush
        if self._timer is not None:
            self._timer.cancel()
        await self._write()
        self._files.close()

    def _flush_in(self, delay_s: float) -> None:
        if self._flush is not None:
            return  # it looks again when it is through
        loop = asyncio.get_running_loop()
        at = loop.time() + delay_s
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = loop.call_at(at, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._flush = asyncio.get_running_loop().create_task(self._write())
        self._flush.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._flush = None
        if self._waiting:
            self._flush_in(0.0)
        elif self._parts:
            self._flush_in(_SOON_S)

    async def _write(self) -> None:
        parts, self._parts = self._parts, []
        waiting, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        try:
            full = await loop.run_in_executor(self._worker, self._files.write, parts, bool(waiting))
        except OSError as error:
            self._failed(error, parts, waiting)
            return
        if self._blocked_until and not self._fresh:
            self._blocked_until = 0.0
            self._alert(JournalWritten(self.lost))
        if full:
            self._fresh = True
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _failed(
        self, error: OSError, parts: list[_Part], waiting: list[asyncio.Future[None]]
    ) -> None:
        self.lost += sum(part.events for part in (*parts, *self._parts))
        self._parts.clear()
        self._break_off(error.strerror or str(error))
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(OSError(error.errno, error.strerror, self._files.folder))

    def _break_off(self, why: str) -> None:
        """Replay cannot pass a gap, so a new segment is begun, 5 s later at the earliest."""
        if not self._blocked_until:
            self._alert(JournalUnwritten(why, self._files.folder))
        self._fresh = True
        self._blocked_until = asyncio.get_running_loop().time() + _RETRY_S


class _Segments:
    """The files; used by the disk thread alone."""

    def __init__(self, folder: str, budget_bytes: int) -> None:
        self.folder = folder
        self._budget = budget_bytes
        self._limit = min(_SEGMENT_LIMIT, max(64 * 1024, budget_bytes // 8))
        self._fd = -1
        self._size = 0
        self._stream = zlib.compressobj(6)

    def write(self, parts: list[_Part], sync: bool) -> bool:
        """Write; True when this segment is full and the next event should begin another."""
        for part in parts:
            if part.head:
                self._begin(part.head)
            if self._fd < 0:
                raise OSError(errno.EIO, "its segment ended early", self.folder)
            self._put(self._packed(part.data))
        if sync:
            self._sync()
        return self._size >= self._limit

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begin(self, head: bytes) -> None:
        self.close()
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        kept = sorted(name for name in os.listdir(self.folder) if name.endswith(".clpj"))
        last = int(kept[-1].split(".")[0]) if kept and kept[-1][:8].isdigit() else 0
        sizes = {name: os.stat(os.path.join(self.folder, name)).st_size for name in kept}
        while kept and (
            len(kept) >= _MOST_SEGMENTS or sum(sizes.values()) + self._limit > self._budget
        ):
            oldest = kept.pop(0)
            os.unlink(os.path.join(self.folder, oldest))
            del sizes[oldest]
        path = os.path.join(self.folder, f"{last + 1:08d}.clpj")
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._stream = zlib.compressobj(6)
        try:
            self._put(form.MAGIC + self._packed(head))
        except OSError:
            # It cannot be read, and a full disk is tried again every few seconds.
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise

    def _packed(self, data: bytes | bytearray) -> bytes:
        return self._stream.compress(bytes(data)) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def _sync(self) -> None:
        if self._fd < 0:
            raise OSError(errno.EIO, "its segment ended early", self.folder)
        try:
            os.fdatasync(self._fd)
        except OSError:
            # After a failed sync the kernel drops the data, and a second sync would succeed.
            self.close()
            raise

    def _put(self, data: bytes) -> None:
        while data:
            try:
                written = os.write(self._fd, data)
            except OSError:
                self.close()  # the stream is torn here; only a new segment can follow
                raise
            self._size += written
            data = data[written:]
