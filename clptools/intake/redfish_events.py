"""What an event of a Redfish service says: its class, and which fault of which thing.

An event comes as a record of an Event (pushed, or in a stream) or as an entry of a log; both are
read into one `Told`.  Rows decide the class (`profiles/redfish.toml`), else the severity that the
service gives it.

Sources: DMTF DSP2046, Event 1.8 and LogEntry 1.14; DSP0266, 9.5 (message objects).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase, translate
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import msgspec

from clptools.common.redfish import TEST_TEXT, Json, text_of
from clptools.core.model.trap_profiles import TrapProfile
from clptools.core.model.words import EventClass

ROW = "redfish "
"""How rows for Redfish begin in a site's `[[trap_profile]]`."""
RECORDS = 256
"""Of one Event; more are an attack."""
_ID = re.compile(r"([A-Za-z0-9_-]{1,64})\.(?:v?\d[\d_]{0,12}\.){0,4}([A-Za-z0-9_-]{1,96})")
_DELL = re.compile(r"[A-Z]{3,4}\d{1,5}", re.IGNORECASE)
BY_SEVERITY = "severity"
"""In place of a class: Critical is ERROR, as of what no row knows; else it is news."""
_TEXT = 300
_ARGS = 4


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it was reported."""

    message: str
    """`REGISTRY.MESSAGE`, without the version; or what stood there."""
    severity: str
    text: str
    origin: str
    """Which thing: OriginOfCondition, else the first argument."""
    stamp: str
    """The BMC's time as it was given; empty: none."""
    at_s: float | None
    """The same in Unix seconds, if it can be read."""
    id: str
    """What the service calls this event; another one in its log than in its stream."""
    test: str = ""
    """The word of a test of ours."""
    where: str = ""
    """OriginOfCondition alone."""
    args: tuple[str, ...] = ()
    """The first arguments of the message."""

    @property
    def identity(self) -> str:
        """Equal for one event by whatever way it comes."""
        when = self.stamp if self.at_s is None else f"{self.at_s:.0f}"
        return f"{self.message}|{self.origin}|{self.severity}|{when}"


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What it means."""

    event_class: EventClass
    key: str
    """Identity of the fault."""
    row: str
    closes: tuple[str, ...] = ()
    """CLEAR: every key that it closes."""
    known: bool
    """Whether a row told the class, and not the severity."""
    own_watchdog: bool = False
    """It tells of the BMC's timer."""


class _Family(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    opens: dict[str, str]
    closes: tuple[str, ...] = ()
    origin: str = ""
    own_watchdog: bool = False
    ok_ends: bool = False
    """The same message with the severity OK ends it; each message is a fault of its own."""
    args: dict[str, tuple[int, ...]] = {}
    """Messages -> the arguments that name the part where there is no origin, in one order."""

    def word(self, message: str) -> str:
        """What it says of a message, in small letters: by the longest of the names that fit, as
        `*NoLongerCritical` is none of `*Critical`.  Empty: nothing."""
        words = [*self.opens.items(), *((name, "CLEAR") for name in self.closes)]
        fits = [(len(name), word) for name, word in words if _like(message, name)]
        return max(fits, key=lambda one: one[0])[1] if fits else ""

    def key(self, told: Told) -> str:
        """Identity of the fault."""
        return f"{self._thing(told)}/{told.message if self.ok_ends else self.name}"

    def _thing(self, told: Told) -> str:
        if told.where:
            return f"redfish/{told.where}"
        message = told.message.casefold()
        names = (places for name, places in self.args.items() if _like(message, name))
        places = next(names, ())
        if not places:
            return f"redfish/{told.origin or '-'}"
        named = ", ".join(told.args[n] for n in places if n < len(told.args))
        return f"redfish/[{named}]"


def _like(message: str, name: str) -> bool:
    """Whether a message, in small letters, has that name of a row."""
    return fnmatchcase(message, name.casefold())


def events_of(body: Json) -> list[Told]:
    """The records of an Event; what is none of them is left out."""
    rows = body.get("Events")
    found = rows[:RECORDS] if isinstance(rows, list) else []
    return [told for row in found if isinstance(row, dict) if (told := _told(row)) is not None]


def unread_of(body: Json) -> int:
    """How many entries of an Event are not read: no records, or too many."""
    rows = body.get("Events")
    return len(rows) - len(events_of(body)) if isinstance(rows, list) else 1


def entry_of(row: Json) -> Told | None:
    """An entry of a log, or None: it is no event."""
    return _told(row)


def _told(row: Json) -> Told | None:
    said = text_of(row.get("MessageId") or row.get("MessageID"), _TEXT)  # iLO 4 writes it so
    text = text_of(row.get("Message"), _TEXT)
    if not said and not text:
        return None
    found = _ID.fullmatch(said)
    message = f"{found[1]}.{found[2]}" if found else said
    if _DELL.fullmatch(said):
        message = f"IDRAC.{said.upper()}"
    given = row.get("MessageArgs")
    args = tuple(map(_argument, given[:_ARGS] if isinstance(given, list) else ()))
    where = _origin(row)
    stamp = text_of(row.get("EventTimestamp") or row.get("Created"), 64)
    test = text.removeprefix(TEST_TEXT).strip() if text.startswith(TEST_TEXT) else ""
    return Told(
        message=message or "none",
        severity=text_of(row.get("MessageSeverity") or row.get("Severity"), 32),
        text=text or message,
        origin=where or (args[0] if args else ""),
        where=where,
        args=args,
        stamp=stamp,
        at_s=_seconds(stamp),
        id=_argument(row.get("EventId") or row.get("EventID") or row.get("Id"))[:128],
        test=test or (_TESTED if text.startswith(TEST_TEXT) else ""),
    )


_TESTED = "without a word"


def _argument(value: object) -> str:
    return text_of(str(value) if isinstance(value, int) else value, _TEXT)


def _origin(row: Json) -> str:
    links: Any = row.get("Links")
    for found in (
        row.get("OriginOfCondition"),
        links.get("OriginOfCondition") if isinstance(links, dict) else None,
    ):
        if isinstance(found, dict):
            found = found.get("@odata.id")
        if isinstance(found, str) and found:
            return text_of(found, _TEXT)
    return ""


def _seconds(stamp: str) -> float | None:
    try:
        found = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    try:
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, OSError):
        return None


def _redfish(profile: TrapProfile) -> dict[str, str]:
    rows = profile.rows.items()
    return {row.removeprefix(ROW).casefold(): word for row, word in rows if row.startswith(ROW)}


class EventTable:
    """The rows in force, with the site's over the shipped ones."""

    def __init__(self, site: Iterable[TrapProfile] = ()) -> None:
        self._severities = {name.casefold(): word for name, word in _shipped().severities.items()}
        self._site = tuple(
            (frozenset(profile.manufacturers), rows)
            for profile in site
            if (rows := _redfish(profile))
        )

    @property
    def asks_maker(self) -> bool:
        """Whether it depends on who made the BMC."""
        return any(makers for makers, _ in self._site)

    def judge(self, told: Told, makers: frozenset[int] = frozenset()) -> Judged:
        """What an event means; `makers`: the IANA numbers of who made the BMC."""
        by_severity = self._severities.get(told.severity.casefold(), EventClass.UNKNOWN)
        families = [
            (family, _word(family, word, by_severity))
            for family, word in _fitting(told.message, told.origin)
        ]
        family, event_class = families[0] if families else (None, "")
        key = family.key(told) if family else f"redfish/{told.origin or '-'}/{told.message}"
        row = f"{ROW}{told.message}"
        site = self._of_site(told.message, makers)
        if told.test or site or event_class:
            word = "INFO" if told.test else site or event_class
            if word != "off":
                ends = word == "CLEAR"
                closes = (each.key(told) for each, w in families if w == "CLEAR")
                return Judged(
                    event_class=EventClass(word),
                    key=key,
                    row=row,
                    closes=tuple(closes) if ends else (),
                    known=True,
                    own_watchdog=family is not None and family.own_watchdog,
                )
        return Judged(
            event_class=by_severity, key=key, row=f"severity {told.severity or 'none'}", known=False
        )

    def _of_site(self, message: str, makers: frozenset[int]) -> str:
        """The class that the last profile for this BMC gives it, or nothing."""
        message = message.casefold()
        fits = (
            rows[message]
            for of, rows in reversed(self._site)
            if message in rows and (not of or of & makers)
        )
        return next(fits, "")


def _word(family: _Family, word: str, by_severity: EventClass) -> str:
    if family.ok_ends and by_severity is EventClass.CLEAR:
        return "CLEAR"
    if word != BY_SEVERITY:
        return word
    return by_severity if by_severity is EventClass.ERROR else "INFO"


def makers_of(said: Iterable[object]) -> frozenset[int]:
    """The IANA numbers of whoever a service's words name: its Vendor, names of extensions."""
    words = " ".join(text_of(word).casefold() for word in said)
    return frozenset(
        number
        for name, numbers in _shipped().makers.items()
        if re.search(rf"(?<![a-z]){re.escape(name)}(?![a-z])", words)
        for number in numbers
    )


@lru_cache(maxsize=512)
def _families_of(message: str) -> tuple[tuple[_Family, str], ...]:
    """The families that name it, in their order, each with the class that it has there.

    Services write names in small and in large letters.
    """
    found: list[tuple[_Family, str]] = []
    shipped = _shipped()
    message = message.casefold()
    places = set(shipped.exact.get(message, ()))
    places |= {place for pattern, place in shipped.globs if pattern.match(message)}
    for place in sorted(places):
        family = shipped.families[place]
        if word := family.word(message):
            found.append((family, word))
    return tuple(found)


def _fitting(message: str, origin: str) -> list[tuple[_Family, str]]:
    """Those of them that are of such a thing."""
    return [
        (family, word)
        for family, word in _families_of(message)
        if not family.origin or re.search(family.origin, origin)
    ]


class _Shipped(NamedTuple):
    severities: dict[str, EventClass]
    families: tuple[_Family, ...]
    makers: dict[str, tuple[int, ...]]
    exact: dict[str, list[int]]
    """Message -> the places of the families that name it: whoever invents messages by the thousand
    must not keep the agent busy."""
    globs: tuple[tuple[re.Pattern[str], int], ...]
    """The same for names with a star."""


@lru_cache(maxsize=1)
def _shipped() -> _Shipped:
    folder = resources.files("clptools.intake") / "profiles"
    table, *more = (
        tomllib.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("redfish.toml", "redfish_hpe.toml")
    )
    rows = [family for each in (table, *more) for family in each["family"]]
    families = msgspec.convert(rows, tuple[_Family, ...])
    exact: dict[str, list[int]] = {}
    globs: list[tuple[re.Pattern[str], int]] = []
    for place, family in enumerate(families):
        for name in (*family.opens, *family.closes):
            small = name.casefold()
            if set(name).isdisjoint("*?["):
                exact.setdefault(small, []).append(place)
            else:
                globs.append((re.compile(translate(small)), place))
    return _Shipped(
        {name: EventClass(word) for name, word in table["severities"].items()},
        families,
        {name: tuple(numbers) for name, numbers in table["makers"].items()},
        exact,
        tuple(globs),
    )
