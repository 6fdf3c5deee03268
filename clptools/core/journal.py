"""The journal's format, as pure bytes: what the agent writes and `clpreplay` reads.

A segment is `MAGIC`, then one zlib stream (flushed at each write, so all that was written can
be read).  Inside the stream: records, each a 4-byte big-endian length and MessagePack; first a
`Head` with the core's snapshot, then `(now, event)` pairs.  Feeding the events to
`Node.restore(head.settings, head.snapshot)` gives the same actions, byte for byte.
Heartbeats are the bulk and much alike: in one stream they take a few dozen bytes each.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import msgspec

from clptools.core.events import Event
from clptools.core.settings import Settings

MAGIC = b"clpj1\n"
MAX_RECORD = 16 * 1024 * 1024
_LENGTH = struct.Struct(">I")


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """First record of a segment: the core as it was before the events that follow."""

    server: str
    incarnation: str
    number: int
    """Segments of one incarnation count from 1; a gap in them is a gap in the story."""
    now: int
    wall: float
    """Wall clock at `now`, seconds since 1970: turns the events' `now` into times of day."""
    settings: Settings
    snapshot: bytes


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One event, as the core was given it."""

    now: int
    event: Event


_encoder = msgspec.msgpack.Encoder()


class BadJournal(Exception):
    """The bytes are no journal segment; the text says why."""


class Unfinished(BadJournal):
    """A segment whose head never reached the disk: the power went first."""


def record(value: Head | Entry) -> bytes:
    """`value` with its length before it, ready for the stream."""
    body = _encoder.encode(value)
    return _LENGTH.pack(len(body)) + body


def read(data: bytes) -> tuple[Head, Iterator[Entry]]:
    """The head and events of a segment; a last record that was cut short is left out.

    Raises BadJournal when not even the head can be read, Unfinished when there is none.
    """
    if not data.startswith(MAGIC):
        raise BadJournal("not a clptools journal (its first bytes say something else)")
    bodies = _bodies(data[len(MAGIC) :])
    try:
        first = next(bodies, None)
        if first is None:
            raise Unfinished("empty: the head of the segment was never finished")
        head = msgspec.msgpack.decode(first, type=Head)
    except msgspec.MsgspecError as error:
        raise BadJournal(f"its head was written by another version ({error})") from None
    # Made here: an agent that only writes would spend a twentieth of its start on it.
    entries = msgspec.msgpack.Decoder(Entry)
    return head, (entries.decode(body) for body in bodies)


def _bodies(stream: bytes) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    pending = b""
    for start in range(0, len(stream), 1 << 16):
        try:
            pending += inflater.decompress(stream[start : start + (1 << 16)])
        except zlib.error:
            return
        at = 0
        while len(pending) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(pending, at)
            end = at + _LENGTH.size + length
            if length > MAX_RECORD or end > len(pending):
                break
            yield pending[at + _LENGTH.size : end]
            at = end
        pending = pending[at:]
