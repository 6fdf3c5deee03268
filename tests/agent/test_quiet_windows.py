"""When quiet windows are, by a wall clock that is set, put forward and back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from clptools.agent.quiet_windows import QuietWindows, in_words, next_span
from clptools.config.quiet_window import windows
from clptools.core.model.settings import Monitor, Settings

HOUR = 3600.0


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


def span(text: str, now: str) -> str:
    found = next_span(windows(text), at(now))
    return in_words(found) if found is not None else ""


@pytest.mark.parametrize(
    ("text", "now", "next_one"),
    [
        ("", "2026-11-30 14:00", ""),
        ("02:00-04:00", "2026-11-30 14:00", "Tue 2026-12-01 02:00-04:00"),
        ("02:00-04:00", "2026-11-30 03:59", "Mon 2026-11-30 02:00-04:00"),
        ("02:00-04:00", "2026-11-30 04:00", "Tue 2026-12-01 02:00-04:00"),
        ("23:00-01:00", "2026-12-01 00:30", "Mon 2026-11-30 23:00-01:00"),
        ("Sat 23:00-01:00", "2026-12-06 00:30", "Sat 2026-12-05 23:00-01:00"),
        ("Sat 02:00-06:00", "2026-11-30 14:00", "Sat 2026-12-05 02:00-06:00"),
        ("Sat 02:00-06:00", "2026-12-05 06:00", "Sat 2026-12-12 02:00-06:00"),
        ("Sat 02:00-06:00, 03:00-04:00", "2026-12-05 01:00", "Sat 2026-12-05 02:00-06:00"),
        ("22:00-24:00, 00:00-02:00", "2026-12-01 23:00", "Tue 2026-12-01 22:00-02:00"),
        ("00:00-24:00", "2026-12-01 09:00", "Tue 2026-12-01 00:00-24:00"),
        # Clocks are put forward: from 02:00 to 03:00.
        ("02:00-04:00", "2026-03-29 01:00", "Sun 2026-03-29 03:00-04:00"),
    ],
)
def test_the_present_window_or_the_next(text: str, now: str, next_one: str) -> None:
    assert span(text, now) == next_one


def test_an_hour_that_there_is_twice_is_in_one_window() -> None:
    begin, end = next_span(windows("01:30-03:30"), at("2026-10-24 20:00")) or (0.0, 0.0)
    assert end - begin == 3 * HOUR


def settings(text: str) -> Settings:
    monitor = Monitor(name="mrw1", type="mrw", servers=("server1",), quiet_windows=windows(text))
    return Settings(monitors=(monitor,))


def test_the_core_is_told_once_and_anew_when_the_clock_jumps() -> None:
    quiet, night = QuietWindows(), settings("02:00-04:00")
    noon = at("2026-11-30 12:00")
    (told,) = quiet.changed(night, noon, 5_000)
    hours = 3_600_000
    assert (told.monitor, told.opens_at, told.closes_at) == (
        "mrw1",
        5_000 + 14 * hours,
        5_000 + 16 * hours,
    )
    assert told.when == "Tue 2026-12-01 02:00-04:00"
    assert not list(quiet.changed(night, noon + 60, 65_000)), "nothing has changed"
    (jumped,) = quiet.changed(night, noon + 15 * HOUR, 70_000)
    assert jumped.opens_at < 70_000 < jumped.closes_at
    (back,) = quiet.changed(night, noon + 75, 80_000)
    assert abs(back.opens_at - told.opens_at) < 1_000
    (closed,) = quiet.changed(night, noon + 16 * HOUR, 5_000 + 16 * hours)
    assert closed.opens_at == 5_000 + 38 * hours


def test_a_window_that_is_not_configured_any_more_is_taken_back() -> None:
    quiet = QuietWindows()
    assert len(list(quiet.changed(settings("02:00-04:00"), at("2026-11-30 12:00"), 0))) == 1
    (gone,) = quiet.changed(settings(""), at("2026-11-30 12:01"), 60_000)
    assert gone.closes_at <= gone.opens_at
    assert not list(quiet.changed(settings(""), at("2026-11-30 12:02"), 120_000))


def test_another_core_is_told_again() -> None:
    quiet, night = QuietWindows(), settings("02:00-04:00")
    assert len(list(quiet.changed(night, at("2026-11-30 12:00"), 0))) == 1
    quiet.forget()
    assert len(list(quiet.changed(night, at("2026-11-30 12:00"), 0))) == 1
