"""Control commands are refused with `code` for `seconds` from the first one on; reads are not.

The openbmc reports 1810 and 3253 again, where the host state is busy as the order comes; with D4h
1812, where a refused state change is told as a lack of privilege.
"""

from __future__ import annotations

import time
from typing import Any

from tests.hardware.quirks.server import CONTROL, Quirk, What


class Habit(Quirk):
    def __init__(self, server: Any, seconds: float = 4, code: float = 0xC0) -> None:
        super().__init__(server)
        self._seconds, self._code, self._until = seconds, int(code), 0.0

    def asked(self, what: What, data: bytes, session: Any) -> int | None:
        if what != CONTROL:
            return None
        if not self._until:
            self._until = time.monotonic() + self._seconds
        return self._code if time.monotonic() < self._until else None
