"""Frames of the control channel, inside TLS: a length of four bytes, then MessagePack.

Messages are numbered by their sender and acknowledged one by one, so that what one path lost
can go over the next; `body` is opaque here.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec

from clptools.faults import ClpError, ExitCode

MAX_FRAME_BYTES = 8 << 20
"""From a server: a configuration with its scripts."""
MAX_OUTSIDE_BYTES = 64 << 10
"""From a caller outside the cluster."""
MAX_HELLO_BYTES = 256

_LENGTH_BYTES = 4

R = TypeVar("R")


class FrameBase(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Base of all frames."""


class Hello(FrameBase, tag="hello", frozen=True, kw_only=True, array_like=True):
    """First frame of both ends."""

    session: str
    """One run of the sender's channel: its numbers begin anew with it."""


class Ping(FrameBase, tag="ping", frozen=True, kw_only=True, array_like=True):
    """The sender is there."""


class Ack(FrameBase, tag="ack", frozen=True, kw_only=True, array_like=True):
    """The message of this number arrived."""

    number: int


class Said(FrameBase, tag="said", frozen=True, kw_only=True, array_like=True):
    """A notice."""

    number: int
    body: msgspec.Raw


class Asked(FrameBase, tag="asked", frozen=True, kw_only=True, array_like=True):
    """A request; a `Told` that names its number answers."""

    number: int
    body: msgspec.Raw


class Told(FrameBase, tag="told", frozen=True, kw_only=True, array_like=True):
    """The reply to the request `asked`, or with `error` why there is none."""

    number: int
    asked: int
    body: msgspec.Raw = msgspec.Raw(b"\xc0")
    code: int = 0
    error: str = ""
    hint: str = ""


Frame = Hello | Ping | Ack | Said | Asked | Told

_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


class FrameError(Exception):
    """The other end does not speak this protocol: the connection ends, for `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode(frame: Frame) -> bytes:
    """The frame with its length before it."""
    data = msgspec.msgpack.encode(frame)
    return len(data).to_bytes(_LENGTH_BYTES) + data


def decode(data: bytes) -> Frame:
    """The frame in `data` (without the length).  Raises FrameError."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise FrameError("malformed") from None


def length_of(head: bytes, limit: int) -> int:
    """The length that the first four bytes announce.  Raises FrameError beyond `limit`."""
    length = int.from_bytes(head)
    if length > limit:
        raise FrameError("oversized")
    return length


async def read(reader: asyncio.StreamReader, limit: int, timeout_s: float) -> Frame:
    """The next frame: it must begin within `timeout_s` and be whole within as much again.

    Raises FrameError, TimeoutError, EOFError, OSError.
    """
    async with asyncio.timeout(timeout_s):
        head = await reader.readexactly(_LENGTH_BYTES)
    length = length_of(head, limit)
    async with asyncio.timeout(timeout_s):
        return decode(await reader.readexactly(length))


def reply_in(told: Told, reply: type[R], who: str) -> R:
    """What `who` replied, of type `reply`.  Raises ClpError: theirs, or that it is no such."""
    if told.error:
        # A later version may know more exit codes.
        code = ExitCode(told.code) if told.code in set(ExitCode) else ExitCode.FAILED
        raise ClpError(code, told.error, told.hint)
    try:
        return msgspec.msgpack.decode(told.body, type=reply)
    except msgspec.MsgspecError as error:
        text = f"{who} answered with something else: {error}"
        raise ClpError(ExitCode.FAILED, text) from None
