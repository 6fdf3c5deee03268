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


def boot_id() -> bytes:
    """The id of this boot, 16 bytes.  Raises OSError without /proc."""
    with open(paths.boot_id_file(), encoding="ascii") as file:
        return bytes.fromhex(file.read().strip().replace("-", ""))
