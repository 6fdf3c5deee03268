"""Outside of sessions it answers at once, inside after `seconds`: from the first, or from a control
command on (`after_control=1`), for `lasting` seconds.

The network daemon is quick, what stands behind it is busy.
"""

from __future__ import annotations

import time
from typing import Any

from tests.hardware.quirks.server import CONTROL, Quirk, What


class Habit(Quirk):
    def __init__(
        self, server: Any, seconds: float = 3, after_control: float = 0, lasting: float = 1e9
    ) -> None:
        super().__init__(server)
        self._seconds, self._lasting = seconds, lasting
        self._from = time.monotonic() + 1e9 if after_control else 0.0

    def asked(self, what: What, data: bytes, session: Any) -> int | None:
        if what == CONTROL:
            self._from = min(self._from, time.monotonic())
        return None

    def late_s(self, what: What) -> float:
        if what[0] == 6 and what[1] in (0x3B, 0x3C):
            return 0.0
        since = time.monotonic() - self._from
        return self._seconds if 0 <= since <= self._lasting else 0.0
