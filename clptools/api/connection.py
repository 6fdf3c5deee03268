"""One caller's connection to the socket: frames in, frames out, within limits."""

from __future__ import annotations

import asyncio
import contextlib
from typing import NamedTuple, NoReturn

from clptools.api.backend import Backend
from clptools.api.methods import Caller
from clptools.api.varlink import Call, Malformed, answer, decode_call, fault
from clptools.faults import ClpError, ExitCode

CHUNK_BYTES = 65_536
PAUSE_S = 0.01
"""Before each call of a reader: heartbeats and leases are not to wait for his questions."""


class Limits(NamedTuple):
    """What a caller may take up; times in seconds, sizes in bytes."""

    reader_message: int = 65_536
    writer_message: int = 16 * 1024 * 1024
    """A pushed configuration with its scripts."""
    connections: int = 128
    connections_per_user: int = 32
    """Of users other than root and the agent's own."""
    connections_of_readers: int = 96
    """Of all these together: the other places are root's, whatever they do."""
    refused: int = 16
    """As many are told at a time why they are refused; further ones are hung up on."""
    refused_s: float = 1.0
    """How long a refused caller's call is waited for before he is told."""
    idle_s: float = 300.0
    frame_s: float = 10.0
    """From the first byte of a message to its NUL."""
    write_s: float = 30.0
    """A caller that has not taken a reply for this long is dropped."""


class Turns:
    """One reader's share of the agent's loop, however many connections he has.

    His calls come one after the other, and between two of them everybody else is served.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def next(self) -> None:
        """Returns when it is the caller's turn, to run until it waits for something."""
        async with self._turn:
            await asyncio.sleep(PAUSE_S)


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
        limits: Limits,
        turns: Turns,
    ) -> None:
        """`turns`: of the caller's user; who may write does not wait for them."""
        self._backend = backend
        self._caller = caller
        self._reader = reader
        self._writer: asyncio.StreamWriter
        self._limits = limits
        self._turns = turns
        self._buffer = bytearray()
        self.asked = False
        """A whole call came."""
        self.working = False
        """A call is being answered."""
        self._bound = limits.writer_message if caller.may_write else limits.reader_message

    def answer_by(
        self, transport: asyncio.Transport, protocol: asyncio.StreamReaderProtocol
    ) -> None:
        """Answers leave by `transport`; before anything is served or refused."""
        # `drain` then waits until the kernel has everything: a caller who does not read is
        # noticed at the first reply that the socket's own buffer does not hold.
        transport.set_write_buffer_limits(high=0)
        loop = asyncio.get_running_loop()
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)

    async def serve(self) -> None:
        """Answers call after call, in order."""
        while (frame := await self._frame()) is not None:
            call = decode_call(frame)
            self.asked = self.working = True
            if call.more and not call.oneway:
                await self._answer_while_connected(call)
            else:
                await self._answer(call)
            self.working = False

    async def refuse(self, error: ClpError) -> None:
        """Answers the first call, whatever it is, with `error`; and if none comes soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.refused_s):
                await self._frame()
        await self._write(fault(error))

    async def _answer(self, call: Call) -> None:
        # Neither a call that is there already nor a reply that the socket takes suspends.
        await self._turn()
        async with contextlib.aclosing(answer(self._backend, call, self._caller)) as replies:
            async for reply in replies:
                if not call.oneway:
                    await self._write(reply)
                if call.more:
                    await self._turn()

    async def _turn(self) -> None:
        if self._caller.may_write:
            await asyncio.sleep(0)
        else:
            await self._turns.next()

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
