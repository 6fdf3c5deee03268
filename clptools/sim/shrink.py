"""Makes a failing schedule small: leaves lines out while the same promise is still broken."""

from __future__ import annotations

from collections.abc import Callable

from clptools.sim.draw import Line

Fails = Callable[[tuple[Line, ...]], bool]


def shrink(lines: tuple[Line, ...], fails: Fails, tries: int = 150) -> tuple[Line, ...]:
    """The shortest schedule found in so many runs; `lines` itself is known to fail."""
    left = tries
    size = max(1, len(lines) // 2)
    while left > 0:
        start, removed = 0, False
        while start < len(lines) and left > 0:
            candidate = lines[:start] + lines[start + size :]
            left -= 1
            if fails(candidate):
                lines, removed = candidate, True
            else:
                start += size
        if size > 1:
            size = max(1, size // 2)
        elif not removed:
            break
    return lines
