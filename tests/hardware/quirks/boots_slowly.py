"""It restarted: for `silent` seconds nothing, then for `refusing` seconds logins are refused.

`status` is the RMCP+ status of these: 1 no resources, 13 unauthorized name (the accounts are not
loaded yet); 0: they are not answered at all.  The first boot is as it should be.
"""

from __future__ import annotations

import time
from typing import Any

from tests.hardware.quirks.server import Quirk, since_boot


class Habit(Quirk):
    def __init__(
        self, server: Any, silent: float = 2, refusing: float = 2, status: float = 13
    ) -> None:
        super().__init__(server)
        self._restarted = since_boot() > 0
        self._silent, self._refusing, self._status = silent, refusing, int(status)

    def probed(self) -> bool:
        return not self._restarted or self._age() >= self._silent

    def opening(self, session: Any, request: bytes) -> int | None:
        if not self.probed():
            return None
        return self._refused() if self._status == 1 else 0

    def rakp1(self, session: Any, role: int, user: str) -> int | None:
        return self._refused()

    def _refused(self) -> int | None:
        if not self._restarted or self._age() >= self._silent + self._refusing:
            return 0
        return self._status or None

    def _age(self) -> float:
        return time.monotonic() - self.began
