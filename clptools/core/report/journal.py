"""The journal's format, as pure bytes: what the agent writes and `clpreplay` reads.

A segment is `MAGIC`, then one zlib stream (flushed at each write, so all that was written can
be read).  Inside the stream: records, each a 4-byte big-endian length and MessagePack; first a
`Head` with the core's snapshot, then `(now, event)` pairs.  Feeding the events to
`Node.restore(head.settings, head.snapshot)` gives the same actions, byte for byte.
Heartbeats are the bulk and much alike: in one stream they take a few dozen bytes each.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

import msgspec

from clptools.core.model.events import Event
from clptools.core.model.settings import Settings

MAGIC = b"clpj1\n"
_OTHER_FORMAT = re.compile(rb"clpj(\d{1,4})\n")
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


_BLOCK = 1 << 16
_FLUSHED = b"\x00\x00\xff\xff"
"""What a flush leaves at the end (RFC 1979 section 2.1); all records before it are whole."""

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError)
"""What msgspec raises for bytes that are not what they should be."""

_encoder = msgspec.msgpack.Encoder()


class BadJournal(Exception):
    """The bytes are no journal segment; the text says why."""


class Unfinished(BadJournal):
    """A segment whose head never reached the disk: the power went first."""


class Damaged(BadJournal):
    """From some place on the bytes are not those that were written; the text says where."""


def record(value: Head | Entry) -> bytes:
    """`value` with its length before it, ready for the stream."""
    body = _encoder.encode(value)
    return _LENGTH.pack(len(body)) + body


def read(data: bytes) -> tuple[Head, Iterator[Entry]]:
    """The head and events of a segment; a last record that was cut short is left out.

    Raises BadJournal when not even the head can be read: Unfinished when there is none, Damaged
    when it is spoilt.  The iterator raises Damaged after the last event that can be read.
    """
    # A file that a power loss caught growing can end in zeros; what was written never does.
    data = data.rstrip(b"\0")
    if not (data.startswith(MAGIC) or MAGIC.startswith(data)):
        other = _OTHER_FORMAT.match(data)
        if other is not None:
            raise BadJournal(
                f"journal of another version (format {int(other[1])}; this program reads "
                f"{MAGIC[4:].decode().strip()})"
            )
        raise BadJournal("not a clptools journal (its first bytes say something else)")
    bodies = _bodies(data)
    first = next(bodies, None)
    if first is None:
        raise Unfinished("empty: the head of the segment was never finished")
    try:
        head = msgspec.msgpack.decode(first, type=Head)
    except UNDECODABLE as error:
        raise Damaged(f"record 1, its head, is damaged, or of another version ({error})") from None
    return head, _entries(bodies)


def _entries(bodies: Iterator[bytes]) -> Iterator[Entry]:
    # Made here: an agent that only writes would spend a twentieth of its start on it.
    decoder = msgspec.msgpack.Decoder(Entry)
    for number, body in enumerate(bodies, 2):
        try:
            entry = decoder.decode(body)
        except UNDECODABLE as error:
            raise Damaged(
                f"record {number:,} is damaged, or of another version ({error})"
            ) from None
        yield entry


def _bodies(data: bytes) -> Iterator[bytes]:
    pending = b""
    number = 1
    for piece in _inflated(data):
        pending += piece
        at = 0
        while len(pending) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(pending, at)
            end = at + _LENGTH.size + length
            if length > MAX_RECORD:
                raise Damaged(f"record {number:,} is damaged: its length cannot be")
            if end > len(pending):
                break
            yield pending[at + _LENGTH.size : end]
            number += 1
            at = end
        pending = pending[at:]
    if pending and data.endswith(_FLUSHED):
        raise Damaged(f"record {number:,} is damaged: it is longer than what there is")


def _inflated(data: bytes) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    for start in range(len(MAGIC), len(data), _BLOCK):
        before = inflater.copy()
        try:
            piece = inflater.decompress(data[start : start + _BLOCK])
        except zlib.error:
            yield from _up_to_the_fault(before, data, start)
        else:
            yield piece


def _up_to_the_fault(inflater: zlib._Decompress, data: bytes, start: int) -> Iterator[bytes]:
    """A block again, byte by byte: zlib gives nothing of a piece in which it finds a fault."""
    kept = b""
    for at in range(start, len(data)):
        try:
            kept += inflater.decompress(data[at : at + 1])
        except zlib.error as error:
            yield kept
            reason = str(error).rpartition(": ")[2]
            raise Damaged(f"damaged at byte {at:,} of {len(data):,}: {reason}") from None
