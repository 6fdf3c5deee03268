"""One TLS connection of the control channel, from the greeting to its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from clptools.links import frames

GREETING_TIMEOUT_S = 5.0
"""For the TLS handshake, and once more for the first frame."""
PING_S = 5.0
SILENCE_S = 12.0
"""A connection that brought nothing for so long is dead; so is a frame that takes longer."""

_FULL_BYTES = 1 << 20
"""No more is put behind this much that the kernel did not take yet."""
_USER_TIMEOUT_MS = 6_000


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
        self.write(frames.encode(frames.Hello(session=session)))
        hello = await frames.read(self._reader, frames.MAX_HELLO_BYTES, GREETING_TIMEOUT_S)
        if not isinstance(hello, frames.Hello) or not hello.session:
            raise frames.FrameError("malformed")
        self.session = hello.session

    async def listen(self, take: Callable[[frames.Frame], None]) -> None:
        """Hands every frame to `take` until the connection ends; raises as `greet`."""
        pings = asyncio.get_running_loop().create_task(self._ping())
        try:
            while True:
                frame = await frames.read(self._reader, self._limit, SILENCE_S)
                if not isinstance(frame, frames.Ping):
                    take(frame)
        finally:
            pings.cancel()

    async def _ping(self) -> None:
        ping = frames.encode(frames.Ping())
        while True:
            await asyncio.sleep(PING_S)
            self.write(ping)

    def close(self) -> None:
        """Closes; what was written still goes out if the other end takes it."""
        self.ended.set()
        self._writer.close()
