"""What a record says, as facts: which notice it tells, and the names and numbers in its sentence.

A record keeps the sentence and the notice's code; the facts are read back with the template that
made the sentence.  A line of the alert log has no code: its notice is found by module, level and
words.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Protocol

from clptools.core.notices import cluster, groups, hardware, monitors, requests, safety
from clptools.core.notices.form import ME, Notice, catalogue, pattern

ROOMS = (cluster, groups, hardware, monitors, requests, safety)
"""The modules whose notices are known here."""


class Told(Protocol):
    """One record, as far as its facts go."""

    @property
    def code(self) -> str:
        """Of the notice that it tells; empty where nobody knows."""

    @property
    def text(self) -> str:
        """Its sentence."""


@cache
def kinds() -> dict[str, type[Notice]]:
    """Code -> notice, of all rooms of the core."""
    rooms = {room.__name__ for room in ROOMS}
    return {kind.code(): kind for kind in catalogue() if kind.__module__ in rooms}


def facts(record: Told) -> dict[str, str]:
    """Name of a fact -> what the sentence says; nothing where the sentence is not the notice's."""
    kind = kinds().get(record.code)
    found = _sentence(kind).fullmatch(record.text) if kind is not None else None
    return {name: said for name, said in found.groupdict().items() if said} if found else {}


def number(record: Told, name: str) -> int | None:
    """A fact that is a whole number."""
    said = facts(record).get(name, "")
    return int(said) if said.isascii() and said.isdigit() else None


def seconds(text: str) -> float:
    """`0.3 s`, `4 min`, as a sentence has it; 0 where it is something else."""
    value, _, unit = text.partition(" ")
    whole, _, part = value.partition(".")
    if not (whole + part).isdigit():
        return 0.0
    return float(value) * {"s": 1, "min": 60, "ms": 0.001, "h": 3_600}.get(unit, 0)


def recognised(module: str, level: str, text: str) -> tuple[str, int, dict[str, str]]:
    """The code, number and facts of a line that has none; an empty code where no notice fits."""
    for kind in _at_place(module, level):
        found = _sentence(kind).fullmatch(text)
        if found is not None:
            said = {name: fact for name, fact in found.groupdict().items() if fact}
            return kind.code(), _number(kind, module), said
    return "", 0, {}


def subjects(code: str, said: dict[str, str], me: str) -> tuple[str, ...]:
    """The names that a notice is about, out of its facts; `me`: who told it."""
    kind = kinds().get(code)
    if kind is None:
        return ()
    found: list[str] = []
    for name in kind.about:
        listed = me if name == ME else said.get(name, "")
        found += [one for part in listed.split(", ") for one in part.split(" and ") if one]
    return tuple(dict.fromkeys(found))


@cache
def _number(kind: type[Notice], module: str) -> int:
    """The first of those that it may have there."""
    return min(n for m, n in kind.entry.places() if m == module)


@cache
def _sentence(kind: type[Notice]) -> re.Pattern[str]:
    """The sentence of a notice, and its hint after it where it has one."""
    return re.compile(pattern(kind).pattern + ("(?: .*)?" if kind.hint else ""))


@cache
def _at_place(module: str, level: str) -> tuple[type[Notice], ...]:
    """The notices of a module and level, those with most words of their own first."""
    found = [
        kind
        for kind in kinds().values()
        if kind.entry.level == level and any(m == module for m, _ in kind.entry.places())
    ]
    own_words = {kind: len(pattern(kind).pattern) for kind in found if " " in kind.says}
    return tuple(sorted(own_words, key=lambda kind: -own_words[kind]))
