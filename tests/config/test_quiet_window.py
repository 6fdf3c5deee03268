"""`quiet_window`, and what a planned move needs of a configuration."""

from __future__ import annotations

import pytest

from clptools.config.quiet_window import in_text, windows
from clptools.core.model.settings import QuietWindow

DAILY = tuple(range(7))


def test_times_of_the_day_and_of_one_day_and_over_midnight() -> None:
    assert windows("") == ()
    assert windows("02:00-04:00") == (QuietWindow(days=DAILY, begin=120, end=240),)
    assert windows("23:30-01:00, sat 01:00-24:00") == (
        QuietWindow(days=DAILY, begin=1410, end=60),
        QuietWindow(days=(5,), begin=60, end=1440),
    )


def test_it_is_shown_as_it_is_written() -> None:
    text = "23:30-01:00, Sat 01:00-24:00"
    assert in_text(windows(text)) == text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("2-4", "is not a window"),
        ("02:00-04:00,", "is not a window"),
        ("02:00–04:00", "is not a window"),
        ("Caturday 02:00-04:00", "is not a window"),
        ("Foo 02:00-04:00", "is not a day"),
        ("24:00-04:00", "not a time of the day"),
        ("02:60-04:00", "not a time of the day"),
        ("02:00-24:01", "not a time of the day"),
        ("02:00-02:00", "too short"),
        ("02:00-02:09", "too short"),
        (",".join(["02:00-04:00"] * 33), "at most 32"),
    ],
)
def test_what_is_no_window_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        windows(text)
