"""Built-in sources of messages about this server's own hardware: category -> module.

A source is one file here, and one line below.  It has

    async def watch(on_message: OnMessage, keywords: frozenset[str]) -> None

which runs until it is cancelled and tells `clptools.core.events.MessageSeen` events of its
category; `keywords` are the devices that monitors name (empty: every device).  The agent runs a
source while a message receive monitor of that category runs on its server.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from clptools.intake.door import OnMessage

SOURCES: dict[str, str] = {}


class Watch(Protocol):
    """The function `watch` of a source's module."""

    def __call__(self, on_message: OnMessage, keywords: frozenset[str]) -> Awaitable[None]:
        """Runs until it is cancelled."""
