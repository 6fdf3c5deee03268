"""Witness heartbeat (`witnesshb`): beats through the witness server, which keeps the newest.

In each interval one exchange over HTTP: the newest beat for each server goes there, those for
this server come back.  The witness only carries; a beat is authenticated as on every other path.
It keeps one piece of mail for each pair of servers, so pages of a list go with the beat:

    0 (1) | MessagePack of a list of datagrams

A datagram never begins with 0, and to a server of an earlier version nothing sends pages.
The agent hands in the exchange, since the HTTP client belongs to the arbiters.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable

import msgspec

from clptools.core.notices.form import Notice
from clptools.faults import ClpError
from clptools.links.notices import WitnessTakesBeats, WitnessTakesNoBeats

Exchange = Callable[[dict[str, bytes]], Awaitable[dict[str, bytes]]]
"""Server -> datagram for it; returns sender -> datagram.  Raises ClpError; bounded in time."""

_FAULTS_TOLD = 2
_BUNDLE = b"\0"
_PAGES = 2
"""With each beat: the datagrams of 32 servers must fit in a box (`arbiters/witness_server.py`)."""
_PAGES_KEPT = 64
_datagrams = msgspec.msgpack.Decoder(list[bytes])


class WitnessLink:
    """One witness server as a path between the servers."""

    def __init__(
        self,
        name: str,
        interval_ms: int,
        exchange: Exchange,
        on_datagram: Callable[[str, bytes, str], None],
        on_change: Callable[[Notice], None],
    ) -> None:
        """`on_datagram(link, data, server)`; `on_change(notice)`: one line for the log."""
        self.name = name
        self.counters: Counter[str] = Counter()
        self._interval_s = interval_ms / 1000
        self._exchange = exchange
        self._on_datagram = on_datagram
        self._on_change = on_change
        self._outgoing: dict[str, bytes] = {}
        self._pages: defaultdict[str, deque[bytes]] = defaultdict(lambda: deque(maxlen=_PAGES_KEPT))
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

    def send(self, server: str, datagram: bytes, page: bool = False) -> None:
        """Sends it with the next exchange; a newer beat replaces it."""
        if page:
            self._pages[server].append(datagram)
        else:
            self._outgoing[server] = datagram

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._interval_s, loop.time())
            await self._once()
            await asyncio.sleep(due - loop.time())

    async def _once(self) -> None:
        beats, self._outgoing = self._outgoing, {}
        outgoing = {server: self._with_pages(server, beat) for server, beat in beats.items()}
        try:
            for server, mail in (await self._exchange(outgoing)).items():
                for datagram in self._opened(mail):
                    self._on_datagram(self.name, datagram, server)
        except Exception as error:
            # Whatever failed (no thread, no file handle): this beat is lost, the next may not be.
            self.counters["send_failed"] += 1
            self._faults += 1
            if self._faults == _FAULTS_TOLD:
                fault = error.message if isinstance(error, ClpError) else repr(error)
                self._on_change(WitnessTakesNoBeats(self.name, str(fault)))
            return
        if self._faults >= _FAULTS_TOLD:
            self._on_change(WitnessTakesBeats(self.name))
        self._faults = 0

    def _with_pages(self, server: str, beat: bytes) -> bytes:
        waiting = self._pages[server]
        pages = [waiting.popleft() for _ in range(min(_PAGES, len(waiting)))]
        return _BUNDLE + msgspec.msgpack.encode([beat, *pages]) if pages else beat

    def _opened(self, mail: bytes) -> list[bytes]:
        if not mail.startswith(_BUNDLE):
            return [mail]
        try:
            return _datagrams.decode(mail[len(_BUNDLE) :])[: 1 + _PAGES]
        except msgspec.MsgspecError:
            self.counters["malformed"] += 1
            return []
