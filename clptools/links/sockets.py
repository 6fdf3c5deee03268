"""Sockets of this server: opened when its address is there, and who may connect to them.

A connection that has not finished the TLS handshake costs a file handle and some memory.  So
strangers share a few places, and the addresses of the cluster's servers have their own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from clptools.core.notices.form import Notice
from clptools.links.connection import GREETING_TIMEOUT_S
from clptools.links.notices import CONTROL_CHANNEL, LinkGivenUp, LinkNotOpen, LinkOpen

MAX_STRANGERS = 16
"""Connections at once that have not shown a certificate, from addresses of no server."""
MAX_UNPROVEN_PER_SERVER = 8
_BACKLOG = 64
_PAUSE_S = 0.2
_SEGMENT_BYTES = 1_160
"""Of both directions, as the other end hears of it too: with its headers no packet is larger than
a heartbeat's, so a path that loses large ones carries grants as well as beats."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_RETRY_FIRST_S, _RETRY_MOST_S = 0.2, 5.0


def plain(address: str) -> str:
    """`address` as the kernel writes it, without zone.  Raises ValueError if it is none."""
    bare = address.partition("%")[0].removeprefix("::ffff:")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, bare))
    except OSError:
        raise ValueError(f"{address!r} is no IPv4 or IPv6 address") from None


async def keep_trying(bind: Callable[[], None]) -> None:
    """Calls `bind` until it raises no OSError: the interface may come up long after us."""
    wait_s = _RETRY_FIRST_S
    while True:
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, _RETRY_MOST_S)
        try:
            return bind()
        except OSError:
            continue


class Places:
    """How many may be in the handshake at once, by where they come from."""

    def __init__(self) -> None:
        self.servers: frozenset[str] = frozenset()
        """Addresses of the cluster's servers."""
        self._taken: Counter[str] = Counter()

    def take(self, source: str) -> str | None:
        """A place for one from `source`, to be given back; None: all are taken."""
        place = source if source in self.servers else "strangers"
        most = MAX_STRANGERS if place == "strangers" else MAX_UNPROVEN_PER_SERVER
        if self._taken[place] >= most:
            return None
        self._taken[place] += 1
        return place

    def give_back(self, place: str) -> None:
        """The handshake is over, one way or the other."""
        self._taken[place] -= 1
        if not self._taken[place]:
            del self._taken[place]


class Listener:
    """A listening socket on one address, as soon as the address is on this server."""

    def __init__(self, address: str, port: int) -> None:
        self._where = (address, port)
        self._bound: socket.socket | None = None

    async def accept(
        self, on_accept: Callable[[socket.socket, str], None], on_change: Callable[[Notice], None]
    ) -> None:
        """Hands `on_accept` each connection and its source, for ever; closes when cancelled."""
        try:
            await self._bind_at_last(on_change)
            assert self._bound is not None
            loop = asyncio.get_running_loop()
            while True:
                try:
                    accepted, source = await loop.sock_accept(self._bound)
                except OSError:
                    # Out of file handles, most likely: those that are open must end first.
                    await asyncio.sleep(_PAUSE_S)
                    continue
                on_accept(accepted, plain(source[0]))
        finally:
            if self._bound is not None:
                self._bound.close()

    async def _bind_at_last(self, on_change: Callable[[Notice], None]) -> None:
        address, port = self._where
        try:
            self._bind()
        except OSError as error:
            why = error.strerror or str(error)
            on_change(LinkNotOpen(CONTROL_CHANNEL, address, port, why))
            try:
                await keep_trying(self._bind)
            except asyncio.CancelledError:
                on_change(LinkGivenUp(CONTROL_CHANNEL, address))
                raise
            on_change(LinkOpen(CONTROL_CHANNEL, address))

    def _bind(self) -> None:
        family, _, _, _, own = socket.getaddrinfo(
            *self._where, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )[0]
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, own[0] != "::")
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
            made.bind(own)
            made.listen(_BACKLOG)
        except OSError:
            made.close()
            raise
        self._bound = made


async def shake(accepted: socket.socket, tls: ssl.SSLContext) -> Streams:
    """The TLS handshake with one that was accepted.  Raises OSError."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            accepted,
            ssl=tls,
            ssl_handshake_timeout=GREETING_TIMEOUT_S,
            ssl_shutdown_timeout=1.0,
        )
    except BaseException:
        accepted.close()
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
