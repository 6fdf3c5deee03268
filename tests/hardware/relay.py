"""What lies between a BMC and who asks it: a relay that counts, and loses what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

Address = tuple[str, int]

_RMCP_PLUS = 6
"""Of the packets inside sessions, and of those that open them (IPMI 2.0, table 13-8)."""


class Relay(asyncio.DatagramProtocol):
    """Hands datagrams to the BMC and its answers back."""

    def __init__(self, bmc: Address) -> None:
        self.asking = True
        """Requests get through."""
        self.answering = True
        """Answers get through."""
        self.answers_left = -1
        """So many more answers get through; -1: all."""
        self.answers_lost = 0
        """So many answers are lost, the next one first."""
        self.held: list[bytes] | None = None
        """Answers in sessions (RMCP+) wait here; None: they get through."""
        self.delay_s = 0.0
        """Of each answer."""
        self.requests = 0
        self.port = 0
        self._bmc = bmc
        self._near: Any = None
        self._holding: Address = ("", 0)
        self._far: dict[Address, asyncio.DatagramTransport] = {}

    def connection_made(self, transport: Any) -> None:
        self._near = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, source: Address) -> None:
        self.requests += 1
        if self.asking:
            asyncio.get_running_loop().create_task(self._forward(data, source))

    async def _forward(self, data: bytes, source: Address) -> None:
        if source not in self._far:
            relay = self

            class Back(asyncio.DatagramProtocol):
                def datagram_received(self, data: bytes, _: Address) -> None:
                    relay._back(data, source)

            loop = asyncio.get_running_loop()
            self._far[source], _ = await loop.create_datagram_endpoint(Back, remote_addr=self._bmc)
        self._far[source].sendto(data)

    def _back(self, data: bytes, source: Address) -> None:
        if self.answers_lost > 0:
            self.answers_lost -= 1
        elif self.held is not None and data[4] == _RMCP_PLUS:
            self.held.append(data)
            self._holding = source
        elif self.answering and self.answers_left != 0:
            self.answers_left -= self.answers_left > 0
            loop = asyncio.get_running_loop()
            loop.call_later(self.delay_s, self._near.sendto, data, source)

    def release(self) -> None:
        """Lets what was held go, in its order."""
        held, self.held = self.held or [], None
        for data in held:
            self._near.sendto(data, self._holding)

    def close(self) -> None:
        for each in (self._near, *self._far.values()):
            each.close()


@asynccontextmanager
async def relay_to(address: str, port: int) -> AsyncIterator[Relay]:
    """A relay on 127.0.0.1 to the BMC there."""
    loop = asyncio.get_running_loop()
    _, relay = await loop.create_datagram_endpoint(
        lambda: Relay((address, port)), local_addr=("127.0.0.1", 0)
    )
    try:
        yield relay
    finally:
        relay.close()
