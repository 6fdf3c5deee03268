"""Control commands are refused with `code` for ever: D4h, an account without the right."""

from __future__ import annotations

from typing import Any

from tests.hardware.quirks.server import CONTROL, Quirk, What


class Habit(Quirk):
    def __init__(self, server: Any, code: float = 0xD4) -> None:
        super().__init__(server)
        self._code = int(code)

    def asked(self, what: What, data: bytes, session: Any) -> int | None:
        return self._code if what == CONTROL else None
