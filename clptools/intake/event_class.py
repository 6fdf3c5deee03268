"""What a trap means for recovery."""

from __future__ import annotations

from enum import StrEnum


class EventClass(StrEnum):
    """What a trap means for recovery."""

    FATAL = "FATAL"
    ERROR = "ERROR"
    PREDICT = "PREDICT"
    PERFORMANCE = "PERFORMANCE"
    REDUNDANCY = "REDUNDANCY"
    INFO = "INFO"
    CLEAR = "CLEAR"
    UNKNOWN = "UNKNOWN"
