"""Witness heartbeat (`witnesshb`): beats by way of the witness server, which keeps the newest.

In each interval one exchange over HTTP: the newest beat for each server goes there, those for
this server come back.  The witness only carries; a beat is authenticated as on every other path.
The agent hands in the exchange, since the HTTP client belongs to the arbiters.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from clptools.faults import ClpError

Exchange = Callable[[dict[str, bytes]], Awaitable[dict[str, bytes]]]
"""Server -> datagram for it; returns sender -> datagram.  Raises ClpError; bounded in time."""

_FAULTS_TOLD = 2


class WitnessLink:
    """One witness server as a path between the servers."""

    def __init__(
        self,
        name: str,
        interval_ms: int,
        exchange: Exchange,
        on_datagram: Callable[[str, bytes, str], None],
        on_change: Callable[[str], None],
    ) -> None:
        """`on_datagram(link, data, server)`; `on_change(text)`: one line for the log."""
        self.name = name
        self.counters: Counter[str] = Counter()
        self._interval_s = interval_ms / 1000
        self._exchange = exchange
        self._on_datagram = on_datagram
        self._on_change = on_change
        self._outgoing: dict[str, bytes] = {}
        self._faults = 0
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to exchange."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Stop."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    def send(self, server: str, datagram: bytes) -> None:
        """Goes with the next exchange; a newer one takes its place."""
        self._outgoing[server] = datagram

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._interval_s, loop.time())
            await self._once()
            await asyncio.sleep(due - loop.time())

    async def _once(self) -> None:
        outgoing, self._outgoing = self._outgoing, {}
        try:
            for server, datagram in (await self._exchange(outgoing)).items():
                self._on_datagram(self.name, datagram, server)
        except Exception as error:
            # Whatever it was (no thread, no file handle): this beat is lost, the next may not be.
            self.counters["send_failed"] += 1
            self._faults += 1
            if self._faults == _FAULTS_TOLD:
                fault = error.message if isinstance(error, ClpError) else repr(error)
                self._on_change(f"interconnect {self.name}: cannot exchange beats: {fault}")
            return
        if self._faults >= _FAULTS_TOLD:
            self._on_change(f"interconnect {self.name}: exchanges beats again")
        self._faults = 0
