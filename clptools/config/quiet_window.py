"""`quiet_window`: times of the day, `02:00-04:00, Sat 01:00-06:00`, in local time."""

from __future__ import annotations

import re

from clptools.core.model.settings import QuietWindow

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ONE = re.compile(r"(?:([A-Za-z]{3})\s+)?(\d{2}):(\d{2})-(\d{2}):(\d{2})")
_MOST = 32
SHORTEST_MIN = 10
"""A move is announced five minutes before it begins."""


def windows(text: str) -> tuple[QuietWindow, ...]:
    """The windows that a text means.  Raises ValueError with a sentence."""
    found = tuple(_window(one.strip()) for one in text.split(",")) if text else ()
    if len(found) > _MOST:
        raise ValueError(f"{len(found)} windows, at most {_MOST} are allowed")
    return found


def _window(text: str) -> QuietWindow:
    match = _ONE.fullmatch(text)
    if match is None:
        raise ValueError(
            f'"{text}" is not a window: write "02:00-04:00" or "Sat 02:00-06:00", with commas '
            "between several"
        )
    day = match[1]
    if day is not None and day.capitalize() not in DAYS:
        raise ValueError(f'"{day}" is not a day ({", ".join(DAYS)})')
    begin, end = _minutes(match[2], match[3], 23), _minutes(match[4], match[5], 24)
    lasts = end - begin if end > begin else end - begin + 1440
    if begin == end or lasts < SHORTEST_MIN:
        raise ValueError(f'"{text}" is too short: {SHORTEST_MIN} minutes at least')
    days = (DAYS.index(day.capitalize()),) if day else tuple(range(7))
    return QuietWindow(days=days, begin=begin, end=end)


def _minutes(hours: str, minutes: str, last: int) -> int:
    found = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or found > last * 60 + (59 if last == 23 else 0):
        raise ValueError(f'"{hours}:{minutes}" is not a time of the day')
    return found


def in_text(found: tuple[QuietWindow, ...]) -> str:
    """The windows as they would be written."""
    return ", ".join(
        (f"{DAYS[w.days[0]]} " if len(w.days) == 1 else "")
        + f"{w.begin // 60:02}:{w.begin % 60:02}-{w.end // 60:02}:{w.end % 60:02}"
        for w in found
    )
