"""It keeps `slots` sessions and refuses more (iDRAC RAC0218, openbmc issue 1241)."""

from __future__ import annotations

import time
from typing import Any

from tests.hardware.quirks.server import Quirk, What


class Habit(Quirk):
    def __init__(self, server: Any, slots: float = 2, idle: float = 60) -> None:
        super().__init__(server)
        self._slots, self._idle = int(slots), idle
        self._used: dict[Any, float] = {}

    def opening(self, session: Any, request: bytes) -> int | None:
        return 1 if self._full(session) else 0

    def rakp1(self, session: Any, role: int, user: str) -> int | None:
        if self._full(session):
            return 1
        self._used[session.sockaddr] = time.monotonic()
        return 0

    def asked(self, what: What, data: bytes, session: Any) -> int | None:
        self._used[session.sockaddr] = time.monotonic()
        return None

    def closed(self, session: Any) -> None:
        self._used.pop(session.sockaddr, None)

    def _full(self, session: Any) -> bool:
        now = time.monotonic()
        self._used = {k: v for k, v in self._used.items() if now - v < self._idle}
        return session.sockaddr not in self._used and len(self._used) >= self._slots
