"""The class table of traps: shipped TOML profiles, vendors' and the site's rows over them.

A row says what class an event has.  Its id is `sensor type/event type/offset` in hexadecimal
(`0Dh/6F/2`, `*` for any), `specific N` for an exact trap number, or `oid 1.3.6...` for a trap that
is no PET.  The more exact row wins; of rows with one id the later profile's: default, vendor,
`[[trap_profile]]`.  `off` takes a row away.  Only data decides: no vendor is named in code.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from clptools.config.trap_names import is_oid, one_spelling, row_fault, with_zero
from clptools.core.model.trap_profiles import TrapProfile
from clptools.core.model.words import EventClass
from clptools.intake.families import Families
from clptools.intake.trap_rows import Profile, Row, row_id, shipped

CLASSES = frozenset(EventClass)


class Spelling(NamedTuple):
    """Departures of a maker's trap numbers, as `Profile` has them."""

    shifted: frozenset[int]
    coded: frozenset[int]
    numbers: dict[int, int]


_REGULAR = Spelling(frozenset(), frozenset(), {})


def _spelling(profiles: Iterable[Profile]) -> Spelling:
    found = tuple(profiles)
    return Spelling(
        frozenset(n for p in found for n in p.shifted),
        frozenset(n for p in found for n in p.coded),
        {int(number): meant for p in found for number, meant in p.numbers.items()},
    )


class ClassTable:
    """The rows in force for every manufacturer, with the site's profiles over the shipped ones.

    Malformed rows of the site are left out; `row_fault` names them for a check.
    """

    def __init__(self, site: Iterable[TrapProfile] = ()) -> None:
        site = tuple(site)
        profiles, self.names = shipped()
        self.families = Families(site)
        """The tables for traps that are no PETs."""
        self._profiles = profiles + tuple(
            Profile(
                name=profile.name,
                manufacturers=profile.manufacturers,
                rows={
                    row: event_class
                    for row, event_class in profile.rows.items()
                    if not row_fault(row) and (event_class == "off" or event_class in CLASSES)
                },
                meanings=profile.meanings,
            )
            for profile in site
        )
        self._known = frozenset(m for p in self._profiles for m in p.manufacturers)
        self._spellings: dict[int | None, Spelling] = {
            maker: _spelling(
                p
                for p in self._profiles
                if p.manufacturers and (maker is None or maker in p.manufacturers)
            )
            for maker in (None, *self._known)
        }
        self._merged: dict[int | None, tuple[dict[str, Row], dict[str, str]]] = {}
        for manufacturer in (None, *self._known):
            # Built now, not when the first fatal trap comes.
            self._for(manufacturer)

    def row(
        self, manufacturer: int | None, sensor_type: int | None, event_type: int | None, offset: int
    ) -> Row | None:
        """The most exact row for an event; None: its severity decides."""
        rows = self._for(manufacturer)[0]
        for key in _keys(sensor_type, event_type, offset):
            if key in rows:
                return rows[key]
        if manufacturer is not None or not _is_oem(sensor_type, event_type):
            return None
        # The sender does not say its maker: an event that only one maker uses is that maker's.
        found = [
            row
            for known in sorted(self._known)
            if (row := self.row(known, sensor_type, event_type, offset)) is not None
        ]
        return found[0] if len({row.profile for row in found}) == 1 else None

    def spelling(self, manufacturer: int | None) -> Spelling:
        """How that maker writes trap numbers; if the sender names no maker, all known ways."""
        return self._spellings.get(manufacturer, _REGULAR)

    def exact(self, manufacturer: int | None, key: str) -> Row | None:
        """The row `specific N` or `oid ...`."""
        row = self._for(manufacturer)[0].get(one_spelling(key))
        if row is None and manufacturer is None and key.startswith("specific "):
            # A number alone names no maker, but these numbers have only one meaning.
            found = (self._for(known)[0].get(key) for known in sorted(self._known))
            return next((row for row in found if row is not None), None)
        return row

    def named(self) -> tuple[tuple[str, EventClass], ...]:
        """Names (OIDs) of traps that are no PETs and have a row, as they may come, with their
        classes."""
        rows = self._for(None)[0].items()
        oids = tuple((key[4:], row.event_class) for key, row in rows if is_oid(key))
        return oids + tuple((with_zero(name), event_class) for name, event_class in oids)

    def meaning(self, manufacturer: int | None, keys: Iterable[str]) -> str:
        """The text that a profile gives for the first of these row ids, or nothing."""
        meanings = self._for(manufacturer)[1]
        return next((meanings[key] for key in keys if key in meanings), "")

    def event_meaning(
        self, manufacturer: int | None, sensor_type: int | None, event_type: int | None, offset: int
    ) -> str:
        """The text that a profile gives for an event, or nothing."""
        return self.meaning(manufacturer, _keys(sensor_type, event_type, offset))

    def severity_class(self, severity: int | None) -> EventClass:
        """The class where no row decides."""
        return self.names.severity_classes.get(severity or 0, EventClass.UNKNOWN)

    def _for(self, manufacturer: int | None) -> tuple[dict[str, Row], dict[str, str]]:
        # Bounded by the known manufacturers: invented numbers do not make it grow.
        key = manufacturer if manufacturer in self._known else None
        merged = self._merged.get(key)
        if merged is None:
            rows: dict[str, Row] = {}
            meanings: dict[str, str] = {}
            for profile in self._profiles:
                if profile.manufacturers and key not in profile.manufacturers:
                    continue
                for row, event_class in profile.rows.items():
                    spelling = one_spelling(row)
                    rows.pop(spelling, None)
                    if event_class != "off":
                        rows[spelling] = Row(
                            id=row,
                            event_class=EventClass(event_class),
                            profile=profile.name,
                            closes=profile.closes.get(row, ()),
                            deasserted=_class_or_none(profile.deasserted.get(row)),
                            meaning=profile.meanings.get(row, ""),
                        )
                meanings.update(profile.meanings)
            merged = self._merged[key] = (rows, meanings)
        return merged


def _is_oem(sensor_type: int | None, event_type: int | None) -> bool:
    """Whether its meaning is the maker's own (IPMI 2.0, tables 42-1 and 42-3)."""
    return (sensor_type or 0) >= 0xC0 or 0x70 <= (event_type or 0) <= 0x7F


def _class_or_none(text: str | None) -> EventClass | None:
    return None if text is None else EventClass(text)


@lru_cache(maxsize=4_096)
def _keys(sensor_type: int | None, event_type: int | None, offset: int) -> tuple[str, ...]:
    return (
        row_id(sensor_type, event_type, offset),
        row_id(sensor_type, event_type, None),
        row_id(sensor_type, None, None),
        row_id(None, event_type, offset),
        row_id(None, event_type, None),
    )
