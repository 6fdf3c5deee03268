"""A request from outside the cluster, by a caller that has the key file (`clprexec --key`).

One connection, one request, one reply; blocking, because its caller is a command.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from typing import TypeVar

import msgspec

from clptools.faults import ClpError, ExitCode
from clptools.links.connection import (
    MAX_FRAME_BYTES,
    Asked,
    FrameError,
    Hello,
    Told,
    decode_frame,
    encode_frame,
    length_of,
    reply_in,
)
from clptools.links.credentials import OUTSIDE, common_name, context, mint

R = TypeVar("R")


def call(
    address: str, port: int, key: bytes, request: msgspec.Struct, reply: type[R], timeout_s: float
) -> R:
    """The answer of the agent at `address`, of type `reply`.

    Raises ClpError: as the agent answered, NO_AGENT (nobody listens there), NOT_PERMITTED
    (another key), TIMED_OUT or FAILED.
    """
    where = f"{address} port {port}"
    deadline = time.monotonic() + timeout_s
    try:
        tls = context(mint(key, OUTSIDE), serving=False)
    except ValueError as error:
        raise ClpError(ExitCode.NOT_PERMITTED, f"the key cannot be used: {error}") from None
    try:
        with (
            socket.create_connection((address, port), timeout_s) as plain,
            tls.wrap_socket(plain) as secure,
        ):
            if common_name(secure) in ("", OUTSIDE):
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
