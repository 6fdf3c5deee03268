"""One caller's connection to the socket: frames in, frames out, within limits."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import NamedTuple, NoReturn

from clptools.api.backend import Backend
from clptools.api.methods import Caller
from clptools.api.varlink import Call, Malformed, answer, decode_call, fault
from clptools.reports import ClpError, ExitCode

CHUNK_BYTES = 65_536


class Limits(NamedTuple):
    """What a caller may take up; times in seconds, sizes in bytes."""

    reader_message: int = 65_536
    writer_message: int = 16 * 1024 * 1024
    """A pushed configuration with its scripts."""
    connections: int = 128
    connections_per_user: int = 32
    """Of users other than root and the agent's own."""
    idle_s: float = 300.0
    frame_s: float = 10.0
    """From the first byte of a message to its NUL."""
    write_s: float = 30.0
    """A caller that has not taken a reply for this long is dropped."""


class Connection:
    """Serves one caller until he hangs up, is idle for too long or breaks a limit.

    Raises `Malformed`, TimeoutError (half a message, or a reply not taken) or
    ConnectionError; whatever else it raises is a bug of the backend.
    """

    def __init__(
        self,
        backend: Backend,
        caller: Caller,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: Limits,
    ) -> None:
        self._backend = backend
        self._caller = caller
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._buffer = bytearray()
        self._bound = limits.writer_message if caller.may_write else limits.reader_message
        # `drain` then waits until the kernel has everything: a caller who does not read is
        # noticed at the first reply that the socket's own buffer does not hold.
        writer.transport.set_write_buffer_limits(high=0)

    async def serve(self) -> None:
        """Answers call after call, in order."""
        while (frame := await self._frame()) is not None:
            call = decode_call(frame)
            if call.more and not call.oneway:
                await self._answer_while_connected(call)
            else:
                await self._answer(call)

    async def refuse(self, error: ClpError) -> None:
        """Answers the first call, whatever it is, with `error`."""
        if await self._frame() is not None:
            await self._write(fault(error))

    async def _answer(self, call: Call) -> None:
        async with aclosing(answer(self._backend, call, self._caller)) as replies:
            async for reply in replies:
                if not call.oneway:
                    await self._write(reply)

    async def _answer_while_connected(self, call: Call) -> None:
        """A reply may take for ever to come: hanging up must end the wait for it."""
        answering = asyncio.ensure_future(self._answer(call))
        hangup = asyncio.ensure_future(self._fill_until_hangup())
        try:
            await asyncio.wait({answering, hangup}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
            else:
                hangup.result()
        finally:
            for task in (answering, hangup):
                task.cancel()
            await asyncio.gather(answering, hangup, return_exceptions=True)

    async def _fill_until_hangup(self) -> None:
        while chunk := await self._reader.read(CHUNK_BYTES):
            self._buffer += chunk
            if len(self._buffer) > self._bound:
                raise Malformed("calls pile up while one is answered")

    async def _frame(self) -> bytes | None:
        """The next message without its NUL; None when the caller hung up or idles."""
        searched = 0
        deadline = None
        loop = asyncio.get_running_loop()
        while (end := self._buffer.find(b"\0", searched)) < 0:
            searched = len(self._buffer)
            if searched > self._bound:
                await self._refuse_length()
            if searched and deadline is None:
                deadline = loop.time() + self._limits.frame_s
            wait = self._limits.idle_s if deadline is None else deadline - loop.time()
            try:
                # Not `wait_for`: before Python 3.12 it may swallow a cancellation.
                async with asyncio.timeout(wait):
                    chunk = await self._reader.read(CHUNK_BYTES)
            except TimeoutError:
                if searched:
                    raise
                return None
            if not chunk:
                if searched:
                    raise Malformed("half a message, then hung up")
                return None
            self._buffer += chunk
        if end > self._bound:
            await self._refuse_length()
        frame = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return frame

    async def _refuse_length(self) -> NoReturn:
        text = f"The call is longer than {self._bound} bytes."
        hint = "Keep large files out of the scripts folder."
        await self._write(fault(ClpError(ExitCode.USAGE, text, hint)))
        raise Malformed("a message over the limit")

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(self._limits.write_s):
            await self._writer.drain()
