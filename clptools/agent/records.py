"""The cluster's story as people read it: `Record` actions kept, logged and shared.

The newest 10,000 records of all servers are in memory; they are also appended, in groups and by the
disk thread, to a file that the next agent reads, to the alert log and to syslog.  If the disk or
syslog takes nothing, lines are missing there, but not here, and are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import socket
import stat
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Executor

import msgspec

from clptools import paths
from clptools.agent import clock
from clptools.agent.notices import RecordsUnwritten, RecordsWritten
from clptools.api.messages import EventRecord
from clptools.core.model.actions import Record
from clptools.core.model.words import Level
from clptools.core.notices.form import Notice, record_of

KEPT = 10_000
CAUGHT_UP = -1.0
"""`EventRecord.heard` of what a peer knew and told later."""
SYSLOG = "/dev/log"
_REFUSED_KEPT = 1000
_FILE_LIMIT = 4 * 1024 * 1024
_FLUSH_S = 0.05
_TEXT_LIMIT = 4096
_SYSLOG_LEVELS: dict[str, tuple[int, str]] = {
    Level.INFO: (6, "I"),
    Level.WARN: (4, "W"),
    Level.ERROR: (3, "E"),
}
_DAEMON_FACILITY = 3

_decoder = msgspec.json.Decoder(EventRecord)


class Records:
    """All records this server knows of, its own and its peers'."""

    def __init__(self, server: str, incarnation: str, worker: Executor) -> None:
        self._server = server
        self._prefix = f"{server}:{incarnation}:"
        self._worker = worker
        self._numbers = itertools.count(1)
        self._ring: deque[EventRecord] = deque(maxlen=KEPT)
        self._newest: dict[str, str] = {}
        self._last_before = ""
        """Cursor of the last record of this server that its earlier agents kept."""
        self._known: set[str] = set()
        self._waiting: dict[str, list[EventRecord]] = {}
        """Peer -> what it told since it is asked for what we missed of it, which goes before."""
        self._added = 0
        self._news = asyncio.Event()
        self._unwritten: list[EventRecord] = []
        self._writer: asyncio.Task[None] | None = None
        self.unwritten = 0
        """Records that the disk did not take."""
        self._refused: list[EventRecord] = []
        """The newest that the disk did not take."""
        self.on_refused: Callable[[Notice], None] = lambda _: None
        """Told when the disk takes no records, and when it takes them again."""
        self.on_own: Callable[[EventRecord], None] = lambda _: None
        """Told of each record of this server: the agent shares it with the peers."""
        self.on_new: Callable[[EventRecord], None] = lambda _: None
        """Told of each record that is new, of this server or a peer."""

    def load(self) -> None:
        """Read what earlier agents kept; unreadable lines are left out."""
        for path in (_file() + ".1", _file()):
            with contextlib.suppress(OSError), open(path, "rb", opener=_plain) as file:
                for line in file:
                    # ValueError: a flipped bit can make a letter invalid UTF-8.
                    with contextlib.suppress(ValueError, RecursionError):
                        record = _decoder.decode(line)
                        self._take(_slim(record, record.heard))
        self._last_before = self._newest.get(self._server, "")

    def add(self, action: Record) -> None:
        """Keep, log and share one record of this server."""
        record = EventRecord.of(
            msgspec.structs.replace(action, text=action.text[:_TEXT_LIMIT]),
            cursor=self._prefix + str(next(self._numbers)),
            time=clock.wall_s(),
            server=self._server,
        )
        self._take(record)
        self._write_soon(record)
        self.on_new(record)
        self.on_own(record)

    def notice(self, notice: Notice) -> None:
        """Keep, log and share a notice of this server's agent."""
        self.add(record_of(notice, self._server))

    def merge(self, records: Iterable[EventRecord]) -> None:
        """Take records of peers; those already known are left out."""
        for record in records:
            if record.server != self._server:
                slim = _slim(record, heard=clock.wall_s())
                if record.server in self._waiting:
                    self._waiting[record.server].append(slim)
                else:
                    self._take_live(slim)

    def wait_for(self, peer: str) -> None:
        """What `peer` tells from now on waits for `take_back` or `give_up`.

        Taken at once it would stand before what we missed of it, and hide that anything is missed.
        """
        self._waiting.setdefault(peer, [])

    def take_back(self, records: Iterable[EventRecord], peer: str) -> None:
        """Take the reply of `peer` to `AskRecords`: the records that we lack.

        They may be this server's own, which its last agent shared before it died and before they
        were on the disk.  Those of this agent are never taken.
        """
        live = {record.cursor for record in self._waiting.get(peer, ())}
        for record in records:
            if not record.cursor.startswith(self._prefix) and record.cursor not in live:
                slim = _slim(record, heard=CAUGHT_UP)
                if self._take(slim):
                    self._write_soon(slim)
        self.give_up(peer)

    def give_up(self, peer: str) -> None:
        """Take what `peer` told meanwhile: it does not say what we missed."""
        for record in self._waiting.pop(peer, ()):
            self._take_live(record)

    def _take_live(self, record: EventRecord) -> None:
        if self._take(record):
            self._write_soon(record)
            self.on_new(record)

    def lacking(self) -> tuple[dict[str, str], str]:
        """What `AskRecords` says that we have.

        Server -> cursor of the newest record that we know of it (of this server: the last that an
        earlier agent kept), and this agent's incarnation, of which we lack nothing.
        """
        return {**self._newest, self._server: self._last_before}, self._prefix

    def after(
        self, cursors: dict[str, str], limit: int, asker: str = "", present: str = ""
    ) -> tuple[EventRecord, ...]:
        """Records newer than `cursors`.

        The newest `limit` of this server, and as many of the asker's own, except those whose
        cursors begin with `present`.
        """
        theirs = [r for r in self._ring if r.server == asker and not r.cursor.startswith(present)]
        own = [r for r in self._ring if r.server == self._server]
        return (
            *_behind(theirs, cursors.get(asker, ""))[-limit:],
            *_behind(own, cursors.get(self._server, ""))[-limit:],
        )

    def all(self) -> tuple[EventRecord, ...]:
        """Everything kept, in the order in which it became known here."""
        return tuple(self._ring)

    async def follow(self, since: str, follow: bool) -> AsyncIterator[EventRecord]:
        """Records after the cursor `since` (empty or forgotten: all kept), then as they come."""
        seen = self._added
        for record in _behind(list(self._ring), since):
            yield record
        while follow:
            news = self._added - seen
            if not news:
                await self._news.wait()
                continue
            seen = self._added
            for record in list(self._ring)[-news:]:
                yield record

    async def durable(self) -> None:
        """Return once everything added before is on the disk, or the disk refused it."""
        batch, self._unwritten = self._unwritten, []
        loop = asyncio.get_running_loop()
        self._written(
            batch,
            await loop.run_in_executor(self._worker, _write_out, batch, self._server, True),
        )

    async def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            await self._writer

    def _take(self, record: EventRecord) -> bool:
        if record.cursor in self._known:
            return False
        if len(self._ring) == KEPT:
            self._known.discard(self._ring[0].cursor)
        self._ring.append(record)
        self._known.add(record.cursor)
        self._newest[record.server] = record.cursor
        self._added += 1
        self._news.set()
        self._news = asyncio.Event()
        return True

    def _write_soon(self, record: EventRecord) -> None:
        if len(self._unwritten) >= KEPT:  # a disk that hangs
            self.unwritten += 1
            return
        self._unwritten.append(record)
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        while self._unwritten:
            await asyncio.sleep(_FLUSH_S)
            batch, self._unwritten = self._unwritten, []
            loop = asyncio.get_running_loop()
            self._written(
                batch, await loop.run_in_executor(self._worker, _write_out, batch, self._server)
            )
        self._writer = None

    def _written(self, batch: list[EventRecord], fault: OSError | None) -> None:
        """Tells once that the disk takes no records; what it did not take is kept for later."""
        if fault is not None:
            self.unwritten += len(batch)
            began = not self._refused
            self._refused = (self._refused + batch)[-_REFUSED_KEPT:]
            if began and self._refused:
                path = str(fault.filename or _file())
                self.on_refused(RecordsUnwritten(path, str(fault.strerror or fault)))

    async def try_again(self) -> None:
        """Write the newest of what the disk did not take; called by the agent now and then."""
        refused, self._refused = self._refused, []
        if not refused:
            return
        loop = asyncio.get_running_loop()
        fault = await loop.run_in_executor(self._worker, _write_out, refused, self._server)
        self._refused = refused + self._refused if fault is not None else self._refused
        if not self._refused:
            self.on_refused(RecordsWritten())


def _behind(records: list[EventRecord], cursor: str) -> list[EventRecord]:
    """The records after the one with that cursor; all, if it is not among them."""
    for at in range(len(records) - 1, -1, -1):
        if records[at].cursor == cursor:
            return records[at + 1 :]
    return records


def log_line(record: EventRecord) -> str:
    """The record as a line of the alert log."""
    stamp = clock.local_stamp(record.time)
    text = one_line(record.text)
    return f"{stamp} {record.level:<5} [{record.module:<5}] {record.server}: {text}"


def syslog_line(record: EventRecord) -> bytes:
    """The record as a datagram for /dev/log."""
    severity, letter = _SYSLOG_LEVELS.get(record.level, _SYSLOG_LEVELS[Level.INFO])
    text = one_line(record.text)
    return (
        f"<{_DAEMON_FACILITY * 8 + severity}>clptools: [{letter}] "
        f"<type: {record.module}><event: {record.event_id}> {text}"
    ).encode()[:2000]


def _slim(record: EventRecord, heard: float) -> EventRecord:
    """The record with its names interned: each decoded record has its own copies, some megabytes
    for 10,000 records."""
    return msgspec.structs.replace(
        record,
        heard=heard,
        server=sys.intern(record.server),
        module=sys.intern(record.module),
        level=sys.intern(record.level),
        code=sys.intern(record.code),
        subjects=tuple(map(sys.intern, record.subjects)),
    )


def one_line(text: str) -> str:
    """A trap or a message may bring anything; a log line never carries control characters."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _file() -> str:
    return paths.data_dir() + "/records.ndjson"


def _write_out(batch: list[EventRecord], server: str, sync: bool = False) -> OSError | None:
    """Append to file, alert log and syslog; returns why the disk did not take all records.

    An error of this server is synced at once: a watchdog may reset it next.
    """
    own = [record for record in batch if record.server == server]
    sync = sync or any(record.level == Level.ERROR for record in own)
    lines = b"".join(msgspec.json.encode(record) + b"\n" for record in batch)
    log = "".join(log_line(record) + "\n" for record in batch).encode()
    failed: OSError | None = None
    for path, mode, data in (
        (_file(), 0o600, lines),
        (paths.alert_log_file(), 0o640, log),
    ):
        try:
            os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
            _append(path, mode, data, sync)
        except OSError as fault:
            failed = OSError(fault.errno, fault.strerror, path)
    with contextlib.suppress(OSError):
        if os.stat(_file()).st_size > _FILE_LIMIT:
            os.replace(_file(), _file() + ".1")
    # Peers log their own records to their own syslog.
    _to_syslog(own)
    return failed


def _plain(path: str, flags: int, mode: int = 0) -> int:
    """Open what is a plain file: a FIFO would never end.  Raises OSError."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is no plain file", path)
    return fd


def _append(path: str, mode: int, data: bytes, sync: bool) -> None:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    fd = _plain(path, flags, mode)
    try:
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            data = b"\n" + data  # a full disk cut the last line short
        if os.write(fd, data) != len(data):
            raise OSError(28, "No space left on device", path)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _to_syslog(records: list[EventRecord]) -> None:
    if not records:
        return
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as syslog,
    ):
        syslog.connect(SYSLOG)
        for record in records:
            syslog.send(syslog_line(record))
