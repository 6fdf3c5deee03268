"""Fields, columns, times: how a name or an instant becomes part of a line; an event as one.

Everything shown may have come from a BMC or a driver, so control characters never reach the
terminal.  Width is counted in terminal columns: a name in wide characters keeps the layout.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clptools.cli.json_types import EventJson

PIPED_COLUMNS = 80
NARROWEST, WIDEST = 40, 160


def screen_columns(piped: int = PIPED_COLUMNS) -> int:
    """How wide text may be: as the terminal is, within reason; `piped` where there is none."""
    try:
        shown = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    except (OSError, ValueError):
        shown = 0
    return text_columns(shown, piped)


def text_columns(shown: int, piped: int = PIPED_COLUMNS) -> int:
    """How wide text may be on a terminal of so many columns; 0: there is none."""
    return min(max(shown, NARROWEST), WIDEST) if shown else piped


def clean(text: str) -> str:
    """`text` on one line and without anything a terminal would obey."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else "?" for char in text)


def width(text: str) -> int:
    """Terminal columns that `text` takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text
    )


def cut(text: str, columns: int) -> str:
    """As much of `text` as fits into `columns`."""
    if text.isascii():
        return text[:columns]
    taken = 0
    for index, char in enumerate(text):
        taken += width(char)
        if taken > columns:
            return text[:index]
    return text


def pad(text: str, columns: int, fill: str = " ") -> str:
    """`text` filled up on the right to `columns`; never cut."""
    return text + fill * (columns - width(text))


def field(text: str, columns: int, fill: str = " ") -> str:
    """`text` in a field of `columns` that ends in at least one blank (the original's rule)."""
    return pad(cut(clean(text), columns - 1) + " ", columns, fill)


def wrap(text: str, columns: int, indent: str = "", first: str | None = None) -> list[str]:
    """`text` in lines of at most `columns`, broken at blanks; longer words stay whole.

    `indent` begins each line, `first` (default: `indent`) the first one.
    """
    lines: list[str] = []
    line = indent if first is None else first
    empty = True
    for word in text.split():
        if not empty and width(line) + 1 + width(word) > columns:
            lines.append(line)
            line, empty = indent, True
        line += word if empty else " " + word
        empty = False
    lines.append(line)
    return lines


def duration(seconds: float) -> str:
    """How long, as a person says it: `0.3 s`, `35 s`, `4 min`, `5 h 12 min`, `2 d 3 h`."""
    seconds = max(seconds, 0.0)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def clock(wall: float, now: float | None = None) -> str:
    """Local time of `wall` (seconds since 1970) to the tenth; with the date if not of today."""
    tenths = int(wall * 10 + 0.5)
    then = time.localtime(tenths // 10)
    text = f"{time.strftime('%H:%M:%S', then)}.{tenths % 10}"
    today = time.localtime(time.time() if now is None else now)
    if then[:3] != today[:3]:
        return time.strftime("%Y-%m-%d ", then) + text
    return text


def event_line(event: EventJson) -> str:
    """One event as text, with full date: `2026-11-23 03:12:06.9 server1 ERROR rm 9 ...`."""
    tenths = int(event["time"] * 10 + 0.5)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(tenths // 10))
    because = "".join(f" | {clean(reason)}" for reason in event["because"])
    return (
        f"{when}.{tenths % 10}  {clean(event['server'])}  {event['level']:<5}  "
        f"{clean(event['module'])} {event['event_id']}  {clean(event['text'])}{because}"
    )


def names(words: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return ", ".join(words[:-1]) + f" {last} {words[-1]}"
