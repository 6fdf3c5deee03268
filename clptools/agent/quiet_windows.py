"""Tells the core, as events, when quiet windows open and close by the wall clock.

The core knows no wall clock.  An event says when the present or next window begins and ends, on
the clock that counts from boot; another follows as soon as the wall clock says otherwise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from clptools.agent import clock
from clptools.core.model.events import Event, WindowChanged
from clptools.core.model.settings import Monitor, QuietWindow, Settings

LOOK_S = 5.0
"""How soon a jump of the wall clock is noticed."""
_SAME_MS = 2_000
"""The two clocks drift apart by less than this unless one is set."""
_DAYS = 9
"""How many days ahead we look: a week, and a window over midnight."""

Span = tuple[float, float]
"""Begin and end, in seconds since 1970."""


class QuietWindows:
    """Tells one core of its windows."""

    def __init__(self) -> None:
        self._told: dict[str, WindowChanged] = {}

    def forget(self) -> None:
        """Another core follows, which knows nothing yet."""
        self._told = {}

    async def watch(
        self, settings: Callable[[], Settings | None], tell: Callable[[Event], None]
    ) -> None:
        """Tell what is new, again and again; `settings`: those in force, if there are any."""
        while True:
            found = settings()
            if found is not None:
                for event in self.changed(found, clock.wall_s(), clock.boot_ms()):
                    tell(event)
            await asyncio.sleep(LOOK_S)

    def changed(self, settings: Settings, wall_s: float, now: int) -> Iterator[WindowChanged]:
        """What the core does not know yet."""
        monitors = {m.name: m for m in settings.monitors if m.quiet_windows}
        for name in [name for name in self._told if name not in monitors]:
            del self._told[name]
            yield WindowChanged(monitor=name, opens_at=0, closes_at=0)
        for monitor in monitors.values():
            event = _event(monitor, wall_s, now)
            if not _is_same(self._told.get(monitor.name), event):
                self._told[monitor.name] = event
                yield event


def _is_same(told: WindowChanged | None, found: WindowChanged) -> bool:
    return (
        told is not None
        and told.when == found.when
        and abs(told.opens_at - found.opens_at) < _SAME_MS
        and abs(told.closes_at - found.closes_at) < _SAME_MS
    )


def _event(monitor: Monitor, wall_s: float, now: int) -> WindowChanged:
    span = next_span(monitor.quiet_windows, wall_s)
    if span is None:
        return WindowChanged(monitor=monitor.name, opens_at=0, closes_at=0)
    opens_at, closes_at = (now + round((at - wall_s) * 1000) for at in span)
    return WindowChanged(
        monitor=monitor.name, opens_at=opens_at, closes_at=closes_at, when=in_words(span)
    )


def next_span(windows: tuple[QuietWindow, ...], wall_s: float) -> Span | None:
    """The window that is open, with those that follow on it without a gap, or the next one."""
    spans = sorted(span for span in _spans(windows, wall_s) if span[1] > wall_s)
    if not spans:
        return None
    begin, end = spans[0]
    for later_begin, later_end in spans[1:]:
        if later_begin > end:
            break
        end = max(end, later_end)
    return begin, end


def _spans(windows: tuple[QuietWindow, ...], wall_s: float) -> Iterator[Span]:
    """Every window from yesterday on.  Where clocks are put forward one may be shorter, or none."""
    today = time.localtime(wall_s)
    for ahead in range(-1, _DAYS):
        # Noon exists on every day.
        day = time.localtime(
            time.mktime((today.tm_year, today.tm_mon, today.tm_mday + ahead, 12, 0, 0, 0, 0, -1))
        )
        for window in windows:
            if day.tm_wday in window.days:
                over = 1 if window.end <= window.begin else 0
                begin, end = _at(day, 0, window.begin), _at(day, over, window.end)
                if begin < end:
                    yield begin, end


def _at(day: time.struct_time, ahead: int, minutes: int) -> float:
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday + ahead, 0, minutes, 0, 0, 0, -1))


def in_words(span: Span) -> str:
    """`Sat 2026-12-05 02:00-06:00`, local time."""
    begin, end = (time.localtime(at) for at in span)
    closes = time.strftime("%H:%M", end)
    if closes == "00:00":
        closes = "24:00"
    return f"{time.strftime('%a %Y-%m-%d %H:%M', begin)}-{closes}"
