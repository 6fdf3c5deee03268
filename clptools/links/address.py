"""Own and others' addresses: compared as the kernel writes them, taken when they come."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

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
