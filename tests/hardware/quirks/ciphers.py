"""It speaks SHA-1 alone.  `way` says what becomes of a proposal of SHA-256:

1 refused with status 4h · 2 with 11h · 3 not answered · 4 taken, and the answer names SHA-1 ·
5 taken, the answer says nothing else, and SHA-1 is used · 6 refused in the next step of the login
"""

from __future__ import annotations

from typing import Any

from tests.hardware.quirks.server import Quirk

_SHA_256 = 3


class Habit(Quirk):
    def __init__(self, server: Any, way: float = 1) -> None:
        super().__init__(server)
        self._way = int(way)

    def opening(self, session: Any, request: bytes) -> int | None:
        new = len(request) > 12 and request[12] == _SHA_256
        session.proposed = new
        session.takes_all = self._way in (4, 5, 6)
        if not new:
            return 0
        return {1: 0x04, 2: 0x11, 3: None}.get(self._way, 0)

    def rakp1(self, session: Any, role: int, user: str) -> int | None:
        return 0x0F if self._way == 6 and session.proposed else 0

    def opened(self, session: Any, answer: bytearray) -> bytearray:
        """The algorithms that it names in its answer."""
        if session.proposed and self._way in (5, 6):
            answer[16], answer[24] = _SHA_256, 4
        return answer
