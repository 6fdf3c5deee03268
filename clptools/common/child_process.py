"""A process of the agent's own, for what may hang, and the messages between the two.

    length (4, big-endian) | MessagePack

The process reads and writes its standard input, a socket, and waits for it: it may hang where the
agent's loop may not.  Each end knows the type of what it gets.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from asyncio import StreamReader
    from asyncio.subprocess import Process

LENGTH_BYTES = 4
PR_SET_DUMPABLE = 4
"""prctl(2), include/uapi/linux/prctl.h."""

T = TypeVar("T")


async def start(module: str) -> tuple[Process, socket.socket]:
    """A process that runs `module`, and the agent's end of its socket.  Raises OSError.

    Closing the socket ends it.
    """
    import asyncio  # which the process has no use for

    ours, theirs = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", module),
            stdin=theirs.fileno(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


async def end(process: Process) -> None:
    """Kills a process that still runs, and waits until it has ended."""
    if process.returncode is None:
        # It may have ended by itself, which nobody has been told yet.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def heed_no_terminal() -> None:
    """In the process, first of all: Ctrl-C is for the agent, which still needs us to end well."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def dump_nothing() -> None:
    """This process and its forks leave no core dump; only root may read their memory.

    A dump with keys would lie on a disk, or go to a service that collects dumps.  A resource limit
    would be inherited by groups' scripts, whose dumps belong to the administrator; this flag ends
    with execve(2).
    """
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def framed(message: msgspec.Struct) -> bytes:
    """A message as it is sent."""
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(LENGTH_BYTES) + data


async def read(reader: StreamReader, kind: type[T], most: int) -> T:
    """The next message, in the agent.

    Raises OSError, EOFError: the process ended; msgspec.MsgspecError; ValueError: it would be
    longer than `most` bytes.
    """
    size = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
    if size > most:
        raise ValueError(f"a message of {size} bytes")
    return msgspec.msgpack.decode(await reader.readexactly(size), type=kind)


def receive(connection: socket.socket, kind: type[T]) -> T | None:
    """The next message, in the process; None once the agent has closed its end.  Raises OSError."""
    head = _exactly(connection, LENGTH_BYTES)
    data = None if head is None else _exactly(connection, int.from_bytes(head))
    return None if data is None else msgspec.msgpack.decode(data, type=kind)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        got = connection.recv(count - len(data))
        if not got:
            return None
        data += got
    return data
