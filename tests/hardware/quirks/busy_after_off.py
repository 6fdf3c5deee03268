"""Power off is accepted; for `seconds` after it every command is refused with `code`.

OpenBMC (openbmc issues 1810 and 3253): C0h or FFh while the host state is on its way.
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
        if time.monotonic() < self._until:
            return self._code
        if what == CONTROL and data[:1] == b"\0":
            self._until = time.monotonic() + self._seconds
        return None
