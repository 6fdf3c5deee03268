"""Records from this server's files: for what is older than the agent still has, or without one.

In this order: the records that the agent keeps on the disk, the alert log with its rotations, and
the journal, in which the core decides the same again.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import IO, cast

import msgspec

from clptools import paths
from clptools.api.messages import EventRecord
from clptools.core.model.actions import Record
from clptools.core.report.facts import recognised, subjects
from clptools.core.report.history import CHANGES, OPENED

_LINE = re.compile(
    r"(\d{4}/\d\d/\d\d \d\d:\d\d):(\d\d\.\d{3}) (INFO|WARN|ERROR)\s+\[(\S+)\s*\] ([^:\s]+): (.*)"
)
_ROTATED = re.compile(r"alert\.log(?:[.-][0-9.-]+)?(?:\.(gz|bz2|xz))?")
_MOST_LINES = 100_000
"""Of one file of the alert log: the newest."""
_NEXT_LINES = 5
"""Behind a hardware event, what its monitor made of it."""
_HEAD_BYTES = 1 << 18
_REPLAYED_BYTES_S = 140_000
"""Of the journal: some 12,000 events."""
_PATIENCE_S = 5.0
_ROUNDED_S = 0.0006
"""The alert log has milliseconds."""
_EDGE_S = 5.0
"""If the clock was set since, the journal and the record of one event have different times."""
_CAUGHT_UP = -1.0


def older(
    known: Sequence[EventRecord],
    me: str,
    wanted: float,
    begin: float,
    end: float,
    remarks: list[str],
) -> list[EventRecord]:
    """`known`, and before it what the files have.  Raises PermissionError.

    `remarks` gets what cannot be read.
    """
    now = time.time()
    found = _merged(_kept(), known)
    if oldest_of(found, me, now) > wanted:
        found = [*_of_alert_log(me, _oldest_of_each(found)), *found]
    oldest = oldest_of(found, me, now)
    if oldest > begin:
        told = [(r.text, r.time) for r in found if r.server == me and r.time < oldest + _EDGE_S]
        decided = [
            record
            for record in _of_journal(begin, min(oldest, end), remarks)
            if not any(record.text == text and at - record.time < _EDGE_S for text, at in told)
        ]
        found = [*decided, *found]
    return found


def oldest_of(records: Sequence[EventRecord], me: str, now: float) -> float:
    """How far the records of `me` reach back; the clock of another server may be far off."""
    return min((record.time for record in records if record.server == me), default=now)


def _oldest_of_each(records: Iterable[EventRecord]) -> dict[str, float]:
    """Server -> time of its oldest record, by its own clock."""
    found: dict[str, float] = {}
    for record in records:
        found[record.server] = min(record.time, found.get(record.server, record.time))
    return found


def _kept() -> list[EventRecord]:
    """The records that the agent keeps on the disk."""
    decoder = msgspec.json.Decoder(EventRecord)
    found: dict[str, EventRecord] = {}
    for name in ("records.ndjson.1", "records.ndjson"):
        try:
            with open(f"{paths.data_dir()}/{name}", "rb") as file:
                lines = file.readlines()
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                record = decoder.decode(line)
            except (ValueError, RecursionError):
                continue  # a flipped bit, or a line that a full disk cut short
            found.setdefault(record.cursor, record)
    return list(found.values())


def _merged(kept: Sequence[EventRecord], known: Sequence[EventRecord]) -> list[EventRecord]:
    """Both, as they became known: what the disk lacks stands behind what was known before it.

    A disk that was full for a while lacks records in the midst; elsewhere, they would look as if
    the clock had been set.
    """
    on_disk = {record.cursor for record in kept}
    lacking: dict[str, list[EventRecord]] = {}
    at = ""
    for record in known:
        if record.cursor in on_disk:
            at = record.cursor
        else:
            lacking.setdefault(at, []).append(record)
    first = next((record.cursor for record in known if record.cursor in on_disk), "")
    found: list[EventRecord] = []
    for record in kept:
        if record.cursor == first:
            found += lacking.pop("", [])
        found += [record, *lacking.pop(record.cursor, [])]
    return [*found, *lacking.pop("", [])]


# ---------------------------------------------------------------------- the alert log


def _of_alert_log(me: str, until: Mapping[str, float]) -> list[EventRecord]:
    """The lines of the alert log and its rotations as records.

    `until`: server -> the time, by its own clock, from which on its records are known.
    """
    folder = paths.log_dir()
    files: list[tuple[float, Sequence[EventRecord]]] = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if not _ROTATED.fullmatch(name):
            continue
        lines = deque(
            (
                record
                for record in _lines(f"{folder}/{name}", me)
                if record.time < until.get(record.server, float("inf")) - _ROUNDED_S
            ),
            maxlen=_MOST_LINES,
        )
        if lines:
            first = next((r for r in lines if r.server == me), lines[0])
            files.append((first.time, lines))
    found = [record for _, lines in sorted(files, key=lambda file: file[0]) for record in lines]
    return [
        msgspec.structs.replace(
            record,
            cursor=f"{record.server}:alert.log:{number}",
            subjects=(*_monitor_of(found, number), *record.subjects),
        )
        for number, record in enumerate(found)
    ]


def _monitor_of(records: Sequence[EventRecord], index: int) -> tuple[str, ...]:
    """The monitor of a hardware event, which only the monitor's next line names."""
    event = records[index]
    if event.code not in OPENED:
        return ()
    for record in records[index + 1 : index + 1 + _NEXT_LINES]:
        if record.server == event.server and record in CHANGES:
            return record.subjects[:1]
    return ()


def _lines(path: str, me: str) -> Iterator[EventRecord]:
    try:
        with _opened(path) as file:
            for raw in file:
                record = _of_line(raw.decode("utf-8", "replace").rstrip("\n"), me)
                if record is not None:
                    yield record
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        return  # what could be read is there; the rest is torn


def _opened(path: str) -> IO[bytes]:
    match os.path.splitext(path)[1]:
        case ".gz":
            return cast("IO[bytes]", gzip.open(path, "rb"))
        case ".bz2":
            return cast("IO[bytes]", bz2.open(path, "rb"))
        case ".xz":
            return cast("IO[bytes]", lzma.open(path, "rb"))
        case _:
            return open(path, "rb")


def _of_line(line: str, me: str) -> EventRecord | None:
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    minute, second, level, module, server, text = found.groups()
    try:
        at = _minute(minute) + float(second)
    except (ValueError, OverflowError):
        return None
    code, number, said = recognised(module, level, text)
    return EventRecord(
        cursor="",
        time=at,
        server=server,
        module=module,
        event_id=number,
        level=level,
        text=text,
        subjects=subjects(code, said, server),
        code=code,
        heard=0.0 if server == me else _CAUGHT_UP,
    )


@lru_cache(1024)
def _minute(text: str) -> float:
    """Seconds since 1970.  Raises ValueError, OverflowError."""
    return time.mktime(time.strptime(text, "%Y/%m/%d %H:%M"))


# ---------------------------------------------------------------------- the journal


def _of_journal(begin: float, until: float, remarks: list[str]) -> list[EventRecord]:
    """What this server's core decided between two instants, decided again.

    `remarks` gets what of it cannot be read.
    """
    from clptools.sim.replay import LeftOut, Step, in_order, replay

    files = []
    for path in _segments(begin, until, remarks):
        with open(path, "rb") as file:
            files.append((path, file.read()))
    took_s = sum(len(data) for _, data in files) / _REPLAYED_BYTES_S
    if took_s > _PATIENCE_S:
        print(
            f"clpstat: reads the journal from {files[0][0]} on, about {took_s:.0f} s.",
            file=sys.stderr,
            flush=True,
        )
    found: list[EventRecord] = []
    for step in replay(in_order(files)[0]):
        if isinstance(step, LeftOut) and step.damaged:
            remarks.append(_damaged(step.file, step.text))
        if not isinstance(step, Step) or not begin <= step.wall < until:
            continue
        for action in step.actions:
            if isinstance(action, Record):
                found.append(_decided(action, step, len(found)))
    return found


def _decided(action: Record, step: object, number: int) -> EventRecord:
    from clptools.sim.replay import Step

    assert isinstance(step, Step)
    cursor = f"{step.server}:{step.incarnation}-journal:{number}"
    return EventRecord.of(action, cursor=cursor, time=step.wall, server=step.server)


def _damaged(path: str, why: str) -> str:
    return f"{path}: {why}: what is in it is missing here. See: clpreplay"


def _segments(begin: float, until: float, remarks: list[str]) -> list[str]:
    """The segments that hold what happened between two instants; heads are small and first."""
    from clptools.core.report.journal import BadJournal, Unfinished, read

    folder = f"{paths.data_dir()}/journal"
    begins: list[tuple[float, str]] = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path = f"{folder}/{name}"
        if not name.endswith(".clpj"):
            continue
        try:
            with open(path, "rb") as file:
                head, _ = read(file.read(_HEAD_BYTES))
        except Unfinished:
            continue  # a power loss came before its first event
        except BadJournal as fault:
            remarks.append(_damaged(path, str(fault)))
            continue
        begins.append((head.wall, path))
    found = []
    for index, (wall, path) in enumerate(begins):
        ends = begins[index + 1][0] if index + 1 < len(begins) else until
        if wall < until and ends > begin:
            found.append(path)
    return found
