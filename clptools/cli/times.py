"""Times of the past, as operators write them at night.

A time of day is the newest one that has been: at 01:00, `23:50` is that of yesterday.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo
from datetime import time as datetime_time

from clptools.cli.command import Args
from clptools.faults import ClpError, ExitCode

FORMS = "03:05, 'yesterday 03:05', '2026-11-29 03:05', -2h or 'monday 22:00'"
_AGO = re.compile(r"-?((?:\d{1,12}(?:\.\d{1,12})? ?(?:d|h|min|m|s) ?)+)(ago)?")
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?) ?(d|h|min|m|s)")
_UNITS = {"d": 86_400.0, "h": 3_600.0, "min": 60.0, "m": 60.0, "s": 1.0}
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,6}))?)?")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EPOCH = re.compile(r"@?(\d{9,11}(?:\.\d+)?)")


def instant(text: str, option: str, now: float, zone: tzinfo | None = None) -> float:
    """Seconds since 1970 of a time that was written after `option`.

    `zone`: of times that name none; that of this server.  Raises ClpError (USAGE), one line.
    """
    try:
        found = _found(" ".join(text.split()).lower(), now, zone, option)
    except _NoSuchHour as fault:
        raise ClpError(ExitCode.USAGE, f"{option}: {text!r} {fault}.") from None
    if found is None:
        raise ClpError(ExitCode.USAGE, f"{option}: {text!r} is no time; write {FORMS}.")
    return found


class _NoSuchHour(Exception):
    """The clocks were put forward or back then; says what to write."""


def past(text: str, option: str, now: float, zone: tzinfo | None = None) -> float:
    """The same for a time that must have been.  Raises ClpError (USAGE), one line."""
    found = instant(text, option, now, zone)
    if found > now + 1:
        told = datetime.fromtimestamp(found, zone).strftime("%Y-%m-%d %H:%M:%S")
        raise ClpError(ExitCode.USAGE, f"{option}: {told} is still to come; write {FORMS}.")
    return found


def span(args: Args, now: float) -> tuple[float | None, float | None]:
    """What `--from` and `--to` ask for; None: not given.  Raises ClpError (USAGE), one line."""
    begin = past(args.text("from"), "--from", now) if args.given("from") else None
    end = instant(args.text("to"), "--to", now) if args.given("to") else None
    if begin is not None and end is not None and end < begin:
        raise ClpError(ExitCode.USAGE, "--to is before --from; write the earlier one first.")
    return begin, end


def _found(text: str, now: float, zone: tzinfo | None, option: str) -> float | None:
    if text == "now":
        return now
    ago = _AGO.fullmatch(text)
    if ago and (text.startswith("-") or ago[2]):
        found = now - sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(ago[1]))
        return found if found > 0 else None
    epoch = _EPOCH.fullmatch(text)
    if epoch:
        return float(epoch[1])
    try:
        local = _of_calendar(text, datetime.fromtimestamp(now, zone)) if text else None
        return None if local is None else _instant(local, option)
    except (ValueError, OverflowError):
        return None


def _instant(wall: datetime, option: str) -> float:
    """The instant of a local time: clocks are put forward over an hour, and back into one.

    A range that begins or ends in an hour that was twice has both.
    """
    first, second = (wall.replace(fold=fold).timestamp() for fold in (0, 1))
    if first == second:
        return first
    texts = [
        datetime.fromtimestamp(at, wall.tzinfo).astimezone(wall.tzinfo).isoformat()
        for at in sorted((first, second))
    ]
    if first > second:
        raise _NoSuchHour(f"never was, as the clocks were put forward then; write {texts[1]}")
    if option == "--at":
        raise _NoSuchHour(
            f"was twice, as the clocks were put back then; write {' or '.join(texts)}"
        )
    return second if option == "--to" else first


def _of_calendar(text: str, now: datetime) -> datetime | None:
    """A day, a time of day, or both.  Raises ValueError, OverflowError."""
    day, _, clock = text.rpartition(" ")
    if not day:
        day, clock = ("", text) if _CLOCK.fullmatch(text) else (text, "")
    if not clock or (day and not _CLOCK.fullmatch(clock)):
        whole = _iso(text, now)
        if whole is not None:
            return whole
        day, clock = text, "00:00"
    hours = _CLOCK.fullmatch(clock)
    if hours is None:
        return None
    part = int((hours[4] or "0").ljust(6, "0"))
    time = datetime_time(int(hours[1]), int(hours[2]), int(hours[3] or 0), part, now.tzinfo)
    begin = _day(day, now)
    if begin is None:
        return None
    found = datetime.combine(begin, time)
    if found > now and (not day or day in _DAYS or len(day) == 3):
        found = datetime.combine(begin - timedelta(days=7 if day else 1), time)
    return found


def _day(text: str, now: datetime) -> datetime | None:
    """The day that a word or a date names; without one, today."""
    if text in ("", "today"):
        return now
    if text == "yesterday":
        return now - timedelta(days=1)
    if text in _DAYS or (len(text) == 3 and any(day.startswith(text) for day in _DAYS)):
        back = (now.weekday() - next(i for i, d in enumerate(_DAYS) if d.startswith(text))) % 7
        return now - timedelta(days=back)
    for form in ("%Y-%m-%d", "%Y/%m/%d"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=now.tzinfo)
        except ValueError:
            continue
    # As syslog writes it, without a year: the newest one that has been.
    for year in (now.year, now.year - 1):
        found = datetime.strptime(f"{year} {text}", "%Y %b %d").replace(tzinfo=now.tzinfo)
        if found <= now:
            return found
    return None


def _iso(text: str, now: datetime) -> datetime | None:
    """An ISO time with a `T`, perhaps with its zone."""
    if "t" not in text[9:12]:
        return None
    found = datetime.fromisoformat(text.upper())
    return found if found.tzinfo else found.replace(tzinfo=now.tzinfo)
