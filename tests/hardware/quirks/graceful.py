"""Power off takes `seconds`: the host is asked to shut down, or the BMC holds the button.

With `presses` it counts only so many presses as one: fewer do nothing.
"""

from __future__ import annotations

import threading
from typing import Any

from tests.hardware.quirks.server import CONTROL, Quirk, What


class Habit(Quirk):
    def __init__(self, server: Any, seconds: float = 6, presses: float = 1) -> None:
        super().__init__(server)
        self._seconds, self._presses = seconds, int(presses)

    def asked(self, what: What, data: bytes, session: Any) -> int | None:
        if what != CONTROL or data[:1] != b"\0":
            return None
        self._presses -= 1
        if self._presses == 0:
            threading.Timer(self._seconds, self.server.power_off).start()
        return 0
