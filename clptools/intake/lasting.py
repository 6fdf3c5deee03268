"""Conditions that count only once they have lasted, and are over only once they stay away."""

from __future__ import annotations

from collections.abc import Callable


class Lasting:
    """One condition, seen from time to time."""

    def __init__(self, duration_s: float, now: Callable[[], float]) -> None:
        self.holds = False
        """Whether it is a fault."""
        self._duration_s = duration_s
        self._now = now
        self._since: float | None = None
        """Since when it has been as it is not counted yet."""

    def seen(self, there: bool) -> bool:
        """Take an observation; whether `holds` changed by it."""
        if there is self.holds:
            self._since = None
            return False
        now = self._now()
        if self._since is None:
            self._since = now
        if now - self._since < self._duration_s:
            return False
        self.holds, self._since = there, None
        return True
