"""An account of at most `level` (2 user, 3 operator, 4 administrator).

`told` says how a higher one is refused: 9 or 10, an RMCP+ status in the login; 128 to 255, the
completion code of Set Session Privilege Level.  Control commands need an operator.
"""

from __future__ import annotations

from typing import Any

from tests.hardware.quirks.server import CONTROL, SET_PRIVILEGE, Quirk, What


class Habit(Quirk):
    def __init__(self, server: Any, level: float = 3, told: float = 10) -> None:
        super().__init__(server)
        self._level, self._told = int(level), int(told)

    def rakp1(self, session: Any, role: int, user: str) -> int | None:
        return self._told if self._told < 0x80 and role > self._level else 0

    def asked(self, what: What, data: bytes, session: Any) -> int | None:
        if what == SET_PRIVILEGE and data[0] > self._level:
            return self._told
        return 0xD4 if what == CONTROL and self._level < 3 else None
