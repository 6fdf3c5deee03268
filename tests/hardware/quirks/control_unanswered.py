"""Control commands are carried out and never answered; with `deaf` seconds nothing is, after one.

A port that the host shares (NC-SI) bounces as the host goes down.
"""

from __future__ import annotations

import time
from typing import Any

from tests.hardware.quirks.server import CONTROL, Quirk, What


class Habit(Quirk):
    def __init__(self, server: Any, deaf: float = 0) -> None:
        super().__init__(server)
        self._deaf, self._until = deaf, 0.0

    def probed(self) -> bool:
        return time.monotonic() >= self._until

    def mute(self, what: What, data: bytes) -> bool:
        if what == CONTROL:
            self._until = time.monotonic() + self._deaf
            return True
        return time.monotonic() < self._until
