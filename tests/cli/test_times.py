"""Times as operators write them at night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from clptools.cli.main import run
from clptools.cli.times import instant, past
from clptools.faults import ClpError, ExitCode

NOW = datetime(2026, 11, 30, 17, 0, tzinfo=UTC)
"""A Monday."""


def read(text: str) -> str:
    found = instant(text, "--at", NOW.timestamp(), UTC)
    return datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-5]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("03:05", "2026-11-30 03:05:00.0"),
        ("3:05", "2026-11-30 03:05:00.0"),
        ("03:05:12.9", "2026-11-30 03:05:12.9"),
        ("23:50", "2026-11-29 23:50:00.0"),
        ("today 03:05", "2026-11-30 03:05:00.0"),
        ("yesterday 03:00", "2026-11-29 03:00:00.0"),
        ("yesterday", "2026-11-29 00:00:00.0"),
        ("  Yesterday   03:00 ", "2026-11-29 03:00:00.0"),
        ("2026-11-29 03:05", "2026-11-29 03:05:00.0"),
        ("2026-11-29", "2026-11-29 00:00:00.0"),
        ("2026-11-29T03:05:12", "2026-11-29 03:05:12.0"),
        ("2026-11-29T03:05:12+09:00", "2026-11-28 18:05:12.0"),
        ("2026/11/29 03:05:12.900", "2026-11-29 03:05:12.9"),
        ("Nov 29 03:05:12", "2026-11-29 03:05:12.0"),
        ("Dec 24 03:05", "2025-12-24 03:05:00.0"),
        ("sun 01:00", "2026-11-29 01:00:00.0"),
        ("monday 16:00", "2026-11-30 16:00:00.0"),
        ("monday 22:00", "2026-11-23 22:00:00.0"),
        ("-2h", "2026-11-30 15:00:00.0"),
        ("-1h30m", "2026-11-30 15:30:00.0"),
        ("-90s", "2026-11-30 16:58:30.0"),
        ("2 d 3 h ago", "2026-11-28 14:00:00.0"),
        ("now", "2026-11-30 17:00:00.0"),
        ("@1764471900.5", "2025-11-30 03:05:00.5"),
        ("1764471900", "2025-11-30 03:05:00.0"),
    ],
)
def test_what_an_operator_means(text: str, meant: str) -> None:
    assert read(text) == meant


@pytest.mark.parametrize(
    "text",
    ["", " ", "3", "25:00", "03:60", "tomorrow", "-2", "2h", "2026-13-01 10:00", "0305", "-",
     "yesterday 3", "2026-02-30", "99999999999999999999d ago", "-99999999999999999d", "@",
     "\x1b[2J", "03:05 03:05", "9999999999999-01-01", "2026-11-29T"],
)  # fmt: skip
def test_what_is_no_time_is_one_line_with_the_mend(text: str) -> None:
    with pytest.raises(ClpError) as caught:
        instant(text, "--at", NOW.timestamp(), UTC)
    error = caught.value
    assert error.code is ExitCode.USAGE
    assert error.hint == ""
    assert "\n" not in error.message
    assert "'yesterday 03:05'" in error.message


def test_a_time_that_is_still_to_come_is_no_past() -> None:
    with pytest.raises(ClpError, match="still to come"):
        past("2026-12-01 03:00", "--at", NOW.timestamp(), UTC)
    assert past("17:00", "--at", NOW.timestamp(), UTC) == NOW.timestamp()


def test_times_are_those_of_this_server() -> None:
    zone = timezone(timedelta(hours=9))
    found = instant("03:05", "--at", NOW.timestamp(), zone)
    # There it is the first of December already, at two.
    assert datetime.fromtimestamp(found, zone).isoformat() == "2026-11-30T03:05:00+09:00"


def test_clpreplay_takes_them_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("clpreplay", ["--from", "soon", "/nowhere"]) == 2
    assert capsys.readouterr().err.startswith("clpreplay: --from: 'soon' is no time; write 03:05")


BERLIN = ZoneInfo("Europe/Berlin")


def test_an_hour_that_never_was_is_no_time() -> None:
    for option in ("--at", "--from", "--to"):
        with pytest.raises(ClpError) as caught:
            instant("2026-03-29 02:30", option, NOW.timestamp(), BERLIN)
        assert caught.value.code is ExitCode.USAGE
        assert caught.value.message == (
            f"{option}: '2026-03-29 02:30' never was, as the clocks were put forward then; "
            "write 2026-03-29T03:30:00+02:00."
        )


def test_of_an_hour_that_was_twice_a_range_has_both_and_an_instant_is_asked_for() -> None:
    text, now = "2026-10-25 02:30", NOW.timestamp()
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    assert instant(text, "--from", now, BERLIN) == first
    assert instant(text, "--to", now, BERLIN) == first + 3600
    with pytest.raises(ClpError) as caught:
        instant(text, "--at", now, BERLIN)
    assert "2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00." in caught.value.message
    assert instant("2026-10-25T02:30:00+01:00", "--at", now, BERLIN) == first + 3600


@pytest.mark.parametrize("command", ["clpreplay", "clpstat --events"])
@pytest.mark.parametrize(
    ("asked", "told"),
    [("--from 25:61", "is no time"), ("--from 2200-01-01", "is still to come"),
     ("--from -1h --to -2h", "--to is before --from")],
)  # fmt: skip
def test_every_command_refuses_such_a_range_in_one_line(
    command: str, asked: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *words = command.split()
    assert run(program, [*words, *asked.split()]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
