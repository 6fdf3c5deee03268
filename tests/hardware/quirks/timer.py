"""A timer that reads back otherwise than it was set.

`use`: the timer use that it reads (openbmc issue 3254: 0); `action`: the action (3255);
`stopped=1`: it says that it does not run; `countdown`: the initial countdown, in ticks.
"""

from __future__ import annotations

from typing import Any

from tests.hardware.quirks.server import GET_TIMER, SET_TIMER, START_TIMER, Quirk, What


class Habit(Quirk):
    def __init__(
        self,
        server: Any,
        use: float = -1,
        action: float = -1,
        stopped: float = 0,
        countdown: float = -1,
    ) -> None:
        super().__init__(server)
        self._use, self._action = int(use), int(action)
        self._stopped, self._countdown = bool(stopped), int(countdown)
        self._runs = False

    def asked(self, what: What, data: bytes, session: Any) -> int | None:
        if what == SET_TIMER:
            self._runs = self._runs and bool(data[0] & 0x40)
        elif what == START_TIMER:
            self._runs = True
        return None

    def answer(self, what: What, code: int, data: bytes) -> tuple[int, bytes]:
        if what != GET_TIMER or code or len(data) < 8:
            return code, data
        said = bytearray(data)
        said[0] &= ~0x40
        if self._runs and not self._stopped:
            said[0] |= 0x40
        if self._use >= 0:
            said[0] = said[0] & 0xF8 | self._use
        if self._action >= 0:
            said[1] = said[1] & 0xF8 | self._action
        if self._countdown >= 0:
            said[4:6] = self._countdown.to_bytes(2, "little")
        return code, bytes(said)
