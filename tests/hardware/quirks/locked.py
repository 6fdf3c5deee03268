"""The account is locked, or switched off: its name is not known to the login (0Dh)."""

from __future__ import annotations

from typing import Any

from tests.hardware.quirks.server import Quirk


class Habit(Quirk):
    def rakp1(self, session: Any, role: int, user: str) -> int | None:
        return 0x0D
