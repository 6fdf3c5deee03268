"""Each answer in a session takes `seconds`, logins as well; `serial`: one after the other."""

from __future__ import annotations

import time
from typing import Any

from tests.hardware.quirks.server import Quirk, What


class Habit(Quirk):
    def __init__(self, server: Any, seconds: float = 1, serial: float = 1) -> None:
        super().__init__(server)
        self._seconds, self._serial = seconds, bool(serial)

    def probed(self) -> bool:
        self._wait()
        return True

    def opening(self, session: Any, request: bytes) -> int | None:
        self._wait()
        return 0

    def rakp1(self, session: Any, role: int, user: str) -> int | None:
        self._wait()
        return 0

    def asked(self, what: What, data: bytes, session: Any) -> int | None:
        self._wait()
        return None

    def late_s(self, what: What) -> float:
        return 0.0 if self._serial else self._seconds

    def _wait(self) -> None:
        if self._serial:
            time.sleep(self._seconds)
