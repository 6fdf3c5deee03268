"""Traps that are no PETs: vendors' families as data, from `profiles/*.toml` and `[[trap_profile]]`.

A profile says below which OID its traps are, and in `[[trap]]` tables how traps of one sort of
part are read: class, what names the part, what ends what.  The first table that gives a trap a
class decides; the site's come before those that ship.  Names are compared without the 0 that SMIv2
puts before the last arc: v1 traps always get one (RFC 3584, section 3.1), whatever the MIB says.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import resources
from typing import Protocol

import msgspec

from clptools.config.trap_names import (
    EVERYTHING_BELOW,
    instance_parts,
    pattern_bounds,
    plain_name,
)
from clptools.config.trap_profiles import shipped_profile
from clptools.core.model.trap_profiles import TrapFamily, TrapProfile
from clptools.core.model.words import EventClass
from clptools.intake.snmp import Trap
from clptools.intake.trap_rows import Names, Row
from clptools.intake.variables import Binds, Condition, Part, Values, in_full

SHIPPED = ("dell-idrac", "hpe-ilo", "lenovo-xcc", "fujitsu-irmc", "huawei-ibmc", "cisco-cimc")
KNOWN = 4_096
"""Names whose tables are remembered; if a sender invents names, all are forgotten."""

OPENS = frozenset({"FATAL", "ERROR", "PREDICT", "PERFORMANCE", "REDUNDANCY"})

_PLACE = re.compile(r"\{([0-9.]+)\}")


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a family says of one trap."""

    event_class: EventClass
    key: str
    """Identity of the fault."""
    closes: tuple[str, ...] = ()
    """Keys that it ends; a `*` stands for whatever is there."""
    meaning: str
    row: str
    profile: str
    own_watchdog: bool = False
    fixed: bool = False
    """A variable says that it is a test, or over, which no row for the name must override."""


class Rows(Protocol):
    """What a family with `ipmi = true` asks of the class table."""

    names: Names

    def row(
        self, manufacturer: int | None, sensor_type: int | None, event_type: int | None, offset: int
    ) -> Row | None:
        """The most exact row for an event."""


class Families:
    """The families in force: the site's, then those that ship."""

    def __init__(self, site: Iterable[TrapProfile] = ()) -> None:
        site = tuple(site)
        self._off = frozenset(
            plain_name(row[4:].strip("."))
            for profile in site
            for row, event_class in profile.rows.items()
            if row.startswith("oid ") and event_class == "off"
        )
        own = [table for profile in site for table in _tables(profile)]
        self._own = _Index(own)
        self._known: dict[str, tuple[_One | _Several, ...]] = {}

    def load(self) -> None:
        """Reads the shipped families now, not when the first fatal trap comes."""
        _shipped()

    def read(self, trap: Trap, rows: Rows) -> Told | None:
        """What the families say of a trap; None: none of them knows it."""
        name = plain_name(trap.oid)
        found = self._candidates(name)
        if not found or name in self._off:
            return None
        binds = Binds(trap.varbinds)
        for step in found:
            at = step.find(binds)
            if at is None:
                continue
            told = at[0].read(name, at[1], binds, rows)
            if told is not None:
                return told
        return None

    def kin(self, oid: str) -> str:
        """Equal for traps that may concern one fault; empty: no family knows the name."""
        name = plain_name(oid)
        return vendor_of(name) if self._candidates(name) else ""

    def may_be(self, oid: str, classes: frozenset[str]) -> bool:
        """Whether a trap of that name may be of one of these classes."""
        return any(
            table.may_be(event_class, classes) for table, event_class in self._find(plain_name(oid))
        )

    def _find(self, name: str) -> Iterator[tuple[_Table, str]]:
        yield from self._own.find(name)
        yield from _shipped().find(name)

    def _candidates(self, name: str) -> tuple[_One | _Several, ...]:
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= KNOWN:
                self._known.clear()
            found = self._known[name] = tuple(_steps(self._find(name)))
        return found


def vendor_of(oid: str) -> str:
    """The vendor's part of a name: `1.3.6.1.4.1.232`."""
    return ".".join(oid.split(".", 7)[:7])


def _maker_of(oid: str) -> int | None:
    """The IANA number in an OID below 1.3.6.1.4.1."""
    number = vendor_of(oid).removeprefix("1.3.6.1.4.1.")
    return int(number) if number.isdecimal() else None


class _Table:
    """One `[[trap]]` below one enterprise."""

    def __init__(self, profile: TrapProfile, family: TrapFamily, root: str) -> None:
        self.profile = profile.name
        self.family = family
        self.root = root
        self.maker = _maker_of(root)
        self.row = f"trap {family.name or next(iter(family.match))}"
        self.variable = in_full(root, family.variable) if family.variable else ""
        self.values = Values(family.classes, family.mask)
        self.parts = tuple(Part(p, root) for p in instance_parts(family.instance))
        self.several = any(part.several for part in self.parts)
        """A trap may name its part by one variable, and another trap by another."""
        self.text = in_full(root, family.text) if family.text else ""
        self.conditions = {
            name: Condition(condition, root)
            for name in ("test", "recovered", "ok", "clear_if", "clear_unless")
            if (condition := getattr(family, name)) is not None
        }
        self.others: tuple[_Table, ...] = ()
        """Families of the profile that it closes: the first table of each."""
        told = {*family.classes.values(), *family.levels.values(), family.event_class}
        self.possible = frozenset(told)
        """Classes that it may give for any name, the empty text among them."""
        self.news = bool(family.closes) and {*told, *family.match.values()} - {""} == {"INFO"}
        """It only informs, and still ends a fault ("power is on")."""

    def may_be(self, event_class: str, classes: frozenset[str]) -> bool:
        """Whether what it says may be of one of these classes."""
        if self.family.ipmi:
            return True
        ends = self.news or "recovered" in self.conditions
        possible = self.possible | {event_class, "CLEAR" if ends else ""}
        return not possible.isdisjoint(classes)

    def read(self, name: str, event_class: str, binds: Binds, rows: Rows) -> Told | None:
        """What it says of a trap; None: nothing."""
        family = self.family
        if family.ipmi:
            return self._ipmi(name, binds, rows)
        told = by_value = self.values.find(binds.first(self.variable)) if self.variable else ""
        level = family.levels.get(str(self._split(name)[1])) if family.step else None
        if not self.variable:
            told = level or event_class or family.event_class
        elif not told:
            told = event_class or family.event_class
        elif level == "CLEAR" and told in OPENS and self._fits("clear_if", binds, default=True):
            # The variable says how grave it is, the number whether it began or ended.
            told = "CLEAR"
        if not told:
            return None
        return self._told(name, *self._weighed(told, by_value, binds), binds)

    def _weighed(self, told: str, by_value: str, binds: Binds) -> tuple[EventClass, bool]:
        """The class once the conditions are applied, and whether a variable withdrew a fault."""
        if self._fits("test", binds):
            return EventClass.INFO, True
        if told in OPENS:
            # What the part's own state calls bad is not over, whatever the flags beside it say.
            if by_value not in OPENS and self._fits("recovered", binds):
                return EventClass.CLEAR, True
            if self._fits("ok", binds):
                return EventClass.INFO, True
        elif told == "CLEAR" and (
            not self._fits("clear_if", binds, default=True, unsaid=by_value == "CLEAR")
            or (by_value != "CLEAR" and self._fits("clear_unless", binds))
        ):
            return EventClass.INFO, False
        return EventClass(told), by_value == "CLEAR"

    def key(self, name: str, binds: Binds) -> str:
        """The fault's key."""
        if not self.several:
            return self._key(name, [part.word(binds) for part in self.parts])
        return self._key(name, [part.key(binds) for part in self.parts])

    def ended(self, name: str, binds: Binds, elsewhere: bool = False) -> tuple[str, ...]:
        """The keys of what a trap ends here; `elsewhere`: a trap of another table.

        Trailing words of the part that such a trap does not name match any.
        """
        words = [part.ended(binds) for part in self.parts]
        known = len(words)
        while elsewhere and known and not words[known - 1][0]:
            known -= 1
        known = known or len(words)
        rest = "" if known == len(words) else "|*"
        each = itertools.product(*words[:known])
        return tuple(self._key(name, list(one)) + rest for one in each)

    def _key(self, name: str, words: list[str]) -> str:
        family = self.family
        thing = family.name
        if not thing:
            thing = name.removeprefix(self.root + ".")
            if family.step:
                head = thing.rpartition(".")[0]
                thing = f"{head}.{self._split(name)[0]}/{family.step}".lstrip(".")
        key = f"trap/{self.profile}/{thing}"
        return f"{key}/{'|'.join(words)}" if words else key

    def _split(self, name: str) -> tuple[int, int]:
        number = int(name.rpartition(".")[2]) - self.family.base
        return divmod(number, self.family.step)

    def _fits(
        self, condition: str, binds: Binds, default: bool = False, unsaid: bool = False
    ) -> bool:
        """Whether a condition is met; `default`: there is none; `unsaid`: its variable is not."""
        found = self.conditions.get(condition)
        return default if found is None else found.fits(binds, unsaid)

    def _told(self, name: str, event_class: EventClass, fixed: bool, binds: Binds) -> Told:
        key = self.key(name, binds)
        closes: tuple[str, ...] = ()
        if (self.others or self.several) and (event_class is EventClass.CLEAR or self.news):
            others = [key for o in self.others for key in o.ended(name, binds, elsewhere=True)]
            own = [key] if others and not self.news else []
            if self.several and not self.news:
                own = [key, *self.ended(name, binds)]
            closes = tuple(dict.fromkeys((*own, *others)))
        return Told(
            event_class=event_class,
            key=key,
            closes=closes,
            meaning=self._meaning(name, event_class, binds),
            row=self.row,
            profile=self.profile,
            own_watchdog=self.family.own_watchdog,
            fixed=fixed,
        )

    def _meaning(self, name: str, event_class: EventClass, binds: Binds) -> str:
        def put(found: re.Match[str]) -> str:
            place = found[1]
            if "." in place:
                return binds.word(in_full(self.root, place))
            number = int(place)
            return self.parts[number].word(binds) if number < len(self.parts) else ""

        meaning = _PLACE.sub(put, self.family.meaning or self.family.name).strip()
        text = binds.word(self.text) if self.text else ""
        meaning = ": ".join(filter(None, (meaning, text))) or f"trap {name}"
        return meaning + (" (cleared)" if event_class is EventClass.CLEAR else "")

    def _ipmi(self, name: str, binds: Binds, rows: Rows) -> Told | None:
        head, _, last = name.rpartition(".")
        arc, number = int(head.rpartition(".")[2]), int(last)
        offset, way = divmod(number, 16)
        sensor_type, event_type = arc & 0xFF, arc >> 8 or 0x6F
        row = rows.row(self.maker, sensor_type, event_type, offset)
        if way not in (1, 2) or row is None:
            return None
        told = row.event_class if way == 1 else EventClass.CLEAR
        opens = offset
        if way == 2 and row.event_class is EventClass.CLEAR and row.closes:
            # The end of a good state is bad news: the first state that the good one ends.
            if row.deasserted:
                told = row.deasserted
            elif (lost := rows.row(self.maker, sensor_type, event_type, row.closes[0])) is not None:
                told, opens = lost.event_class, row.closes[0]
        event_class, fixed = self._weighed(told, "", binds)
        words = [part.word(binds) for part in self.parts]

        def key(of: int) -> str:
            thing = f"trap/{self.profile}/{head.removeprefix(self.root + '.')}.{of}/16"
            return f"{thing}/{'|'.join(words)}" if words else thing

        names = rows.names
        texts = names.sensor_events if event_type == 0x6F else names.events
        states = texts.get(sensor_type if event_type == 0x6F else event_type, ())
        state = states[offset] if offset < len(states) else f"offset {offset:X}h"
        if way == 2 and event_class is not EventClass.CLEAR:
            state = f"no longer {state}"
        meaning = f"{names.sensors.get(sensor_type, f'sensor type {sensor_type:02X}h')}: {state}"
        return Told(
            event_class=event_class,
            key=key(opens),
            closes=tuple(key(of) for of in row.closes) if way == 1 else (),
            meaning=f"{meaning} (cleared)" if event_class is EventClass.CLEAR else meaning,
            row=row.id,
            profile=row.profile,
            own_watchdog=row.id.startswith("23h/6F/"),
            fixed=fixed,
        )


class _One:
    """One table to try."""

    def __init__(self, table: _Table, event_class: str) -> None:
        self._at = (table, event_class)

    def find(self, _: Binds) -> tuple[_Table, str] | None:
        return self._at


class _Several:
    """Tables that each need a word of one variable: a lookup finds the right one of dozens."""

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self._by_word: dict[str, tuple[_Table, str]] = {}

    def add(self, table: _Table, event_class: str) -> None:
        for word in table.values.words:
            self._by_word.setdefault(word, (table, event_class))

    def find(self, binds: Binds) -> tuple[_Table, str] | None:
        return self._by_word.get(binds.word(self.variable).upper())


def _steps(tables: Iterable[tuple[_Table, str]]) -> Iterator[_One | _Several]:
    several: _Several | None = None
    for table, event_class in tables:
        told_alone = event_class or table.family.event_class
        if told_alone or not table.variable or not table.values.words:
            several = None
            yield _One(table, event_class)
            continue
        if several is None or several.variable != table.variable:
            several = _Several(table.variable)
            yield several
        several.add(table, event_class)


class _Index:
    """Which tables may speak of a name."""

    def __init__(self, tables: list[_Table]) -> None:
        self._tables = tables
        self._exact: dict[str, dict[int, str]] = {}
        self._ranges: dict[str, list[tuple[int, int, int, str]]] = {}
        self._below: dict[str, dict[int, str]] = {}
        for place, table in enumerate(tables):
            for pattern, event_class in table.family.match.items():
                self._add(place, in_full(table.root, pattern), event_class)

    def find(self, name: str) -> tuple[tuple[_Table, str], ...]:
        """Tables in their order, each with the class that `match` gives there."""
        found: dict[int, str] = {}
        arcs = name.split(".")
        for length in range(len(arcs)):
            for place, event_class in self._below.get(".".join(arcs[:length]), {}).items():
                found.setdefault(place, event_class)
        head, _, last = name.rpartition(".")
        number = int(last) if last.isdecimal() else -1
        ranges = self._ranges.get(head, ())
        found |= {place: given for low, high, place, given in ranges if low <= number <= high}
        found.update(self._exact.get(name, {}))
        return tuple((self._tables[place], found[place]) for place in sorted(found))

    def _add(self, place: int, pattern: str, event_class: str) -> None:
        head, low, high = pattern_bounds(pattern)
        if high == EVERYTHING_BELOW:
            self._below.setdefault(head, {})[place] = event_class
        elif low == high:
            self._exact.setdefault(f"{head}.{low}", {})[place] = event_class
        else:
            self._ranges.setdefault(head, []).append((low, high, place, event_class))


def _tables(profile: TrapProfile) -> list[_Table]:
    found: list[_Table] = []
    for root in profile.enterprises or ("",):
        tables = [_Table(profile, family, root) for family in profile.traps]
        named: dict[str, _Table] = {}
        for table in tables:
            if table.family.name:
                named.setdefault(table.family.name, table)
        for table in tables:
            names = (name for name in table.family.closes if name in named)
            table.others = tuple(named[name] for name in names)
        found += tables
    return found


@lru_cache(maxsize=1)
def _shipped() -> _Index:
    folder = resources.files("clptools.intake") / "profiles"
    found: list[_Table] = []
    for name in SHIPPED:
        text = (folder / f"{name}.toml").read_text(encoding="utf-8")
        found += _tables(shipped_profile(tomllib.loads(text)))
    return _Index(found)
