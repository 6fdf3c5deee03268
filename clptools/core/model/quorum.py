"""Arithmetic of votes; no state."""

from __future__ import annotations

from collections.abc import Iterable

NEVER = -(10**15)
"""An instant before all others."""


def majority(size: int) -> int:
    """How many of `size` are a strict majority."""
    return size // 2 + 1


def answered_by(others: Iterable[int], needed: int) -> int | None:
    """The newest send time that at least `needed` of `others` have answered.

    `others` holds, for each other elector, the newest send time it answered (`NEVER`: none).
    None: our own vote is enough.
    """
    if needed <= 0:
        return None
    ranked = sorted(others, reverse=True)
    return ranked[needed - 1] if needed <= len(ranked) else NEVER
