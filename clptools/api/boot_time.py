"""The clock by which a call says when it was asked for: one host, caller and agent alike."""

from __future__ import annotations

import time


def boot_ms() -> int:
    """Milliseconds since boot, sleep included (CLOCK_BOOTTIME)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
