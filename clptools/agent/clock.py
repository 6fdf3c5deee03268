"""The only module of the agent that reads a clock.

`boot_ms` counts from boot and runs on through sleep (CLOCK_BOOTTIME), so no wall-clock jump
moves a lease, and a lease that ran out while the host slept is seen to be over.  Wall time is
for people alone: log lines, records, JSON.
"""

from __future__ import annotations

import time

from clptools import paths


def boot_ms() -> int:
    """Milliseconds since boot, sleep included: the core's `now`."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def wall_s() -> float:
    """Seconds since 1970; may jump."""
    return time.time()


SET_S = 1.0
"""By less the wall clock is not set: time services slew it, by 0.05 % at most."""


class WallSteps:
    """Finds out that the wall clock was set: by how much it moved against that since boot."""

    def __init__(self) -> None:
        self._ahead_s = wall_s() - boot_ms() / 1000

    def newest_s(self) -> float:
        """By how many seconds it was set since the last look; 0: it was not."""
        ahead_s = wall_s() - boot_ms() / 1000
        moved_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        return moved_s if abs(moved_s) >= SET_S else 0.0


def local_stamp(wall: float) -> str:
    """`2026/11/23 03:12:06.900` in local time, as the alert log shows it."""
    ms = round(wall * 1000)
    parts = time.localtime(ms // 1000)
    return f"{time.strftime('%Y/%m/%d %H:%M:%S', parts)}.{ms % 1000:03d}"


def local_time(wall: float) -> str:
    """`03:12:06.9` in local time, as people read it; with the date if it is not of today."""
    tenths = int(wall * 10 + 0.5)
    parts = time.localtime(tenths // 10)
    text = f"{time.strftime('%H:%M:%S', parts)}.{tenths % 10}"
    today = time.localtime(wall_s())
    return text if parts[:3] == today[:3] else time.strftime("%Y-%m-%d ", parts) + text


def dated(wall: float) -> str:
    """`2026-11-23 03:12:06.9` in local time."""
    tenths = int(wall * 10 + 0.5)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(tenths // 10)) + f".{tenths % 10}"


def boot_id() -> bytes:
    """The id of this boot, 16 bytes.  Raises OSError without /proc."""
    with open(paths.boot_id_file(), encoding="ascii") as file:
        return bytes.fromhex(file.read().strip().replace("-", ""))
