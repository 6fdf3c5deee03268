"""TLS connections of the control channel: their frames, from the greeting to the end.

A frame is a length of four bytes, then MessagePack.  Messages are numbered by their sender and
acknowledged one by one, so that what one path lost can go over the next; `body` is opaque here.

`Connection` is the agent's, towards one peer.  `call_from_outside` is that of a command with the
key file (`clprexec --key`): one connection, one request, one reply, blocking.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from clptools.faults import ClpError, ExitCode
from clptools.links.credentials import (
    authority_name,
    common_name,
    context,
    is_outside,
    outside_identity,
)

MAX_FRAME_BYTES = 8 << 20
"""From a server: a configuration with its scripts."""
MAX_OUTSIDE_BYTES = 64 << 10
"""From a caller outside the cluster."""
MAX_HELLO_BYTES = 256

_LENGTH_BYTES = 4

R = TypeVar("R")
GREETING_TIMEOUT_S = 5.0
"""For the TLS handshake, and once more for the first frame."""
PING_S = 5.0
SILENCE_S = 12.0
"""A connection that brought nothing for so long is dead; so is a frame that takes longer."""

_FULL_BYTES = 1 << 20
"""No more is put behind this much that the kernel did not take yet."""
_USER_TIMEOUT_MS = 6_000


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


def encode_frame(frame: Frame) -> bytes:
    """The frame with its length before it."""
    data = msgspec.msgpack.encode(frame)
    return len(data).to_bytes(_LENGTH_BYTES) + data


def decode_frame(data: bytes) -> Frame:
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


async def read_frame(reader: asyncio.StreamReader, limit: int, timeout_s: float) -> Frame:
    """The next frame: it must begin within `timeout_s` and be whole within as much again.

    Raises FrameError, TimeoutError, EOFError, OSError.
    """
    async with asyncio.timeout(timeout_s):
        head = await reader.readexactly(_LENGTH_BYTES)
    length = length_of(head, limit)
    async with asyncio.timeout(timeout_s):
        return decode_frame(await reader.readexactly(length))


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


# ---------------------------------------------------------------------- the connection


class Connection:
    """Reads frames until the end; writes without ever waiting."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: str,
        priority: int,
        limit: int,
    ) -> None:
        """`peer`: the verified name; `limit`: most bytes of a frame from it."""
        self.peer = peer
        self.priority = priority
        self.session = ""
        self.ended = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._limit = limit
        inner = writer.get_extra_info("socket")
        if inner is not None:
            inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)

    def write(self, data: bytes) -> bool:
        """Takes the bytes, or says that too much is still waiting."""
        transport = self._writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() > _FULL_BYTES:
            return False
        self._writer.write(data)
        return True

    async def greet(self, session: str) -> None:
        """Exchanges the first frames.  Raises FrameError, TimeoutError, EOFError, OSError."""
        self.write(encode_frame(Hello(session=session)))
        hello = await read_frame(self._reader, MAX_HELLO_BYTES, GREETING_TIMEOUT_S)
        if not isinstance(hello, Hello) or not hello.session:
            raise FrameError("malformed")
        self.session = hello.session

    async def listen(self, take: Callable[[Frame], None]) -> None:
        """Hands every frame to `take` until the connection ends; raises as `greet`."""
        pings = asyncio.get_running_loop().create_task(self._ping())
        try:
            while True:
                frame = await read_frame(self._reader, self._limit, SILENCE_S)
                if not isinstance(frame, Ping):
                    take(frame)
        finally:
            pings.cancel()

    async def _ping(self) -> None:
        ping = encode_frame(Ping())
        while True:
            await asyncio.sleep(PING_S)
            self.write(ping)

    def close(self) -> None:
        """Closes; what was written still goes out if the other end takes it."""
        self.ended.set()
        self._writer.close()


ENDS = (FrameError, OSError, EOFError, TimeoutError, ValueError)
"""What ends a connection; ssl.SSLError is an OSError."""


def counted_as(error: Exception) -> str:
    """The counter for a connection that ended before it was trusted."""
    if isinstance(error, FrameError):
        return error.reason
    if isinstance(error, ssl.SSLError):
        # Ours tells the caller as much as its own tells us, and a caller with another key looks
        # at ours first.
        words = ("CERTIFICATE", "UNKNOWN_CA")
        another = any(word in (error.reason or "") for word in words)
        return "bad_certificate" if another else "bad_tls"
    # asyncio gives up a handshake that takes too long by ConnectionAbortedError.
    half_open = isinstance(error, TimeoutError | ConnectionAbortedError)
    return "half_open" if half_open else "hung_up"


def why_not_connected(error: Exception) -> str:
    """Why a connection could not be made, for an operator."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is of another cluster (another authkey)"
    if isinstance(error, ssl.SSLError):
        return f"no TLS 1.3 there, or another authkey ({error.reason or 'handshake failed'})"
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or "the connection was closed"


# ---------------------------------------------------------------------- from outside


def call_from_outside(
    address: str, port: int, key: bytes, request: msgspec.Struct, reply: type[R], timeout_s: float
) -> R:
    """The answer of the agent at `address`, of type `reply`.

    Raises ClpError: as the agent answered, NO_AGENT (nobody listens there), NOT_PERMITTED
    (another key), TIMED_OUT or FAILED.
    """
    where = f"{address} port {port}"
    deadline = time.monotonic() + timeout_s
    try:
        identity = outside_identity(key)
        tls = context(identity, serving=False)
    except (ValueError, ssl.SSLError) as error:
        raise ClpError(ExitCode.NOT_PERMITTED, f"the key cannot be used: {error}") from None
    try:
        with (
            socket.create_connection((address, port), timeout_s) as plain,
            tls.wrap_socket(plain, server_hostname=authority_name(identity)) as secure,
        ):
            if not common_name(secure) or is_outside(common_name(secure)):
                raise ClpError(ExitCode.FAILED, f"{where}: no server of the cluster answers there")
            body = msgspec.Raw(msgspec.msgpack.encode(request))
            secure.sendall(encode_frame(Hello(session=os.urandom(8).hex())))
            secure.sendall(encode_frame(Asked(number=1, body=body)))
            told = _answer(secure, deadline)
    except TimeoutError:
        text = f"{where} has not answered within {timeout_s:g} s"
        raise ClpError(ExitCode.TIMED_OUT, text) from None
    except ConnectionRefusedError:
        raise ClpError(
            ExitCode.NO_AGENT, f"no agent listens at {where}", "is clpnode running there?"
        ) from None
    except FrameError as error:
        raise ClpError(ExitCode.FAILED, f"{where}: {error.reason} answer") from None
    except OSError as error:
        raise _refused(where, error) from None
    return reply_in(told, reply, where)


def _answer(secure: socket.socket, deadline: float) -> Told:
    """The reply, whatever else comes before it."""
    while True:
        length = length_of(_exactly(secure, 4, deadline), MAX_FRAME_BYTES)
        frame = decode_frame(_exactly(secure, length, deadline))
        if isinstance(frame, Told):
            return frame


def _exactly(secure: socket.socket, count: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < count:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        secure.settimeout(left_s)
        got = secure.recv(min(count - len(data), 65536))
        if not got:
            raise ConnectionResetError("the connection was closed before an answer came")
        data += got
    return bytes(data)


def _refused(where: str, error: OSError) -> ClpError:
    if isinstance(error, ssl.SSLError) and "CERT" in (error.reason or ""):
        hint = "give the cluster's authkey with --key"
        return ClpError(ExitCode.NOT_PERMITTED, f"{where}: the key is of another cluster", hint)
    return ClpError(ExitCode.FAILED, f"{where}: {error.strerror or error}")
