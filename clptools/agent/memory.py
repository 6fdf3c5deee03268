"""Keeps the agent's pages in memory while a watchdog depends on it (mlockall(2))."""

from __future__ import annotations

import ctypes

_CURRENT, _FUTURE, _ON_FAULT = 1, 2, 4
"""Linux, <bits/mman-linux.h>.  On fault: only what is used is locked, not all that is mapped."""


def lock_memory() -> bool:
    """Whether the kernel did; without the right to (no root, a small limit) it does not."""
    libc = ctypes.CDLL(None)
    return bool(libc.mlockall(_CURRENT | _FUTURE | _ON_FAULT) == 0)
