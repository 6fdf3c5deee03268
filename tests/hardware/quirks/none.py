"""A BMC without a quirk: what the others are measured against."""

from __future__ import annotations

from tests.hardware.quirks.server import Quirk as Habit

__all__ = ["Habit"]
