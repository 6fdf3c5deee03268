"""Addresses of a host name, so that a name service that hangs delays nothing for long.

A look-up runs in a thread of its own, one at a time for each name; what was found last is used
while the next one is late or fails.  (The loop's own look-ups would share few threads with
everything else, and wait for them at the end.)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from ipaddress import ip_address

PATIENCE_S = 0.3
"""How long a look-up is waited for while there is an earlier answer."""


class HostAddresses:
    """The addresses of `host`, an address or a name."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._known: tuple[str, ...] = ()
        self._pending: asyncio.Future[tuple[str, ...]] | None = None
        with contextlib.suppress(ValueError):
            self._known = (str(ip_address(host)),)
        self._literal = bool(self._known)

    async def find(self) -> tuple[str, ...]:
        """The addresses, best first.  Raises OSError; bounded only by the caller's time-out."""
        if self._literal:
            return self._known
        if self._pending is None or self._pending.done():
            self._pending = self._begin()
        patience = PATIENCE_S if self._known else None
        try:
            async with asyncio.timeout(patience):
                self._known = await asyncio.shield(self._pending)
        except OSError:  # TimeoutError is one
            if not self._known:
                raise
        return self._known

    def _begin(self) -> asyncio.Future[tuple[str, ...]]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[tuple[str, ...]] = loop.create_future()

        def tell(addresses: tuple[str, ...], fault: OSError | None) -> None:
            if found.done():
                return
            if fault is None:
                found.set_result(addresses)
            else:
                found.set_exception(fault)
                found.exception()  # nobody may be waiting any more

        def look_up() -> None:
            addresses: tuple[str, ...] = ()
            fault: OSError | None = None
            try:
                rows = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
                addresses = tuple(dict.fromkeys(str(row[4][0]) for row in rows))
            except OSError as error:
                fault = error
            except UnicodeError:
                fault = OSError(f"{self.host}: not a host name")
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, addresses, fault)

        threading.Thread(target=look_up, name=f"look up {self.host}", daemon=True).start()
        return found
