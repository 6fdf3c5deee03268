"""The form of a notice: one thing that clptools tells people, with its place in the alert log.

A notice is declared once, as a class, and made wherever it is told.  Its fields are its facts;
all else stands in the class, so whoever explains, mails, filters or documents it names the class:

    class ServerLost(Notice, frozen=True):
        '''What it means, for `docs/events.md`.'''

        entry = Entry("nm", 80, WARN)
        about = ("server",)
        says = "{server} was last heard {ago_ms:s} ago[ on {links}]: it is lost."
        hint = ""

        server: str
        ago_ms: int
        links: Names

In `says` and `hint`, `{name}` is a fact (`{me}`: the server that tells it), several names become
`a, b and c`, and `[ ... ]` is left out where one of its facts is empty; `[[` and `]]` are brackets.
After a colon: `s` seconds of milliseconds, `whole` the same without tenths, `span` in the largest
unit, `then` in order, `end` without the full stop; `one|more`: singular or plural by number, or by
true or false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from string import Formatter
from typing import ClassVar, Protocol, TypeAlias

import msgspec

from clptools.core.model.actions import Record
from clptools.core.model.words import Level
from clptools.core.phrases import listed, seconds, span, then

INFO, WARN, ERROR = Level.INFO, Level.WARN, Level.ERROR

Names: TypeAlias = tuple[str, ...] | list[str]

ME = "me"
"""The server that tells it: a fact of every notice."""
OTHERS = ""
"""Stands in `Entry.number` for every value that has no number of its own."""
_PIECE = re.compile(r"\[\[|\]\]|\[([^\[\]]*)\]|([^\[\]]+)")


class Entry(msgspec.Struct, frozen=True):
    """The place of a notice in the alert log, by which people filter it.

    A notice of several modules has a field `module`.  Its number may depend on a field: `by`
    names that one, and `number` has a number for each value.
    """

    module: str | tuple[str, ...]
    number: int | Mapping[str, int]
    level: Level
    by: str = ""

    @property
    def modules(self) -> tuple[str, ...]:
        """All that tell it."""
        return (self.module,) if isinstance(self.module, str) else self.module

    def places(self) -> frozenset[tuple[str, int]]:
        """Every (module, number) that it may have."""
        if isinstance(self.number, int):
            return frozenset((module, self.number) for module in self.modules)
        if self.by == "module":
            return frozenset(self.number.items())
        return frozenset((m, number) for m in self.modules for number in self.number.values())


class Notice(msgspec.Struct, frozen=True):
    """Something that people are told."""

    entry: ClassVar[Entry]
    about: ClassVar[tuple[str, ...]]
    """The facts that name its subjects: servers, groups, monitors whose story it belongs to."""
    says: ClassVar[str]
    """One plain sentence, or a few."""
    hint: ClassVar[str] = ""
    """What mends it, where that can be said; added after the sentence."""

    @classmethod
    def code(cls) -> str:
        """The name by which the program knows it."""
        return cls.__name__

    def place(self) -> tuple[str, int]:
        """Module and number in the alert log."""
        entry = self.entry
        facts = self.facts("")
        module = entry.module if isinstance(entry.module, str) else str(facts["module"])
        if isinstance(entry.number, int):
            return module, entry.number
        value = str(facts[entry.by])
        return module, entry.number[value if value in entry.number else OTHERS]

    def sentence(self, me: str = "") -> str:
        """What happened."""
        return _filled(self.says, self.facts(me))

    def mend(self, me: str = "") -> str:
        """What to do, or nothing."""
        return _filled(self.hint, self.facts(me))

    def told(self, me: str = "") -> str:
        """Sentence and hint together."""
        return " ".join(filter(None, (self.sentence(me), self.mend(me))))

    def subjects(self, me: str) -> tuple[str, ...]:
        """Names whose story it belongs to."""
        facts = self.facts(me)
        return tuple(name for field in self.about for name in _names(facts[field]))

    def facts(self, me: str) -> dict[str, object]:
        """Name -> fact."""
        return {ME: me, **{field: getattr(self, field) for field in self.__struct_fields__}}


class Recorded(Protocol):
    """One that was told, here or elsewhere, by this version or another."""

    @property
    def code(self) -> str:
        """Of the notice; empty where a version before the catalogue told it."""

    @property
    def module(self) -> str:
        """In the alert log."""

    @property
    def event_id(self) -> int:
        """In the alert log."""


class Kinds:
    """Some kinds of notices; a record of one of them is `in` it."""

    def __init__(self, *kinds: type[Notice]) -> None:
        self._codes = frozenset(kind.code() for kind in kinds)
        self._places = frozenset[tuple[str, int]]().union(*(k.entry.places() for k in kinds))

    def __contains__(self, record: Recorded) -> bool:
        if record.code:
            return record.code in self._codes
        return (record.module, record.event_id) in self._places


def record_of(notice: Notice, me: str, because: tuple[str, ...] = (), event: int = 0) -> Record:
    """The notice as the server `me` tells it."""
    module, number = notice.place()
    return Record(
        module=module,
        event_id=number,
        level=notice.entry.level,
        subjects=notice.subjects(me),
        text=notice.told(me),
        because=because,
        event=event,
        code=notice.code(),
    )


def catalogue(below: type[Notice] = Notice) -> Iterator[type[Notice]]:
    """Every notice that is declared in a module that was imported."""
    for kind in below.__subclasses__():
        yield from catalogue(kind)
        if hasattr(kind, "entry"):
            yield kind


class Slot(msgspec.Struct, frozen=True):
    """A fact's place in a template."""

    fact: str
    form: str


Piece: TypeAlias = tuple[bool, tuple[str | Slot, ...]]
"""Whether it may be left out; words and slots."""


@cache
def pieces(template: str) -> tuple[Piece, ...]:
    """A template as its parts."""
    found: list[Piece] = []
    for match in _PIECE.finditer(template):
        optional, plain = match.groups()
        if optional is not None:
            found.append((True, tuple(_parts(optional))))
        elif plain is not None:
            found.append((False, tuple(_parts(plain))))
        else:
            found.append((False, (match[0][0],)))
    return tuple(found)


def _parts(text: str) -> Iterator[str | Slot]:
    for words, fact, form, _ in Formatter().parse(text):
        if words:
            yield words
        if fact is not None:
            yield Slot(fact, form or "")


def _filled(template: str, facts: Mapping[str, object]) -> str:
    told = []
    for optional, parts in pieces(template):
        slots = [part for part in parts if isinstance(part, Slot)]
        if optional and not all(facts[slot.fact] for slot in slots):
            continue
        told += [p if isinstance(p, str) else _shown(facts[p.fact], p.form) for p in parts]
    return "".join(told)


@cache
def pattern(kind: type[Notice]) -> re.Pattern[str]:
    """What the sentence of a notice looks like, each fact a group of its name."""
    named: set[str] = set()
    told = []
    for optional, parts in pieces(kind.says):
        inner = "".join(_part_pattern(part, named) for part in parts)
        told.append(f"(?:{inner})?" if optional else inner)
    return re.compile("".join(told))


def _part_pattern(part: str | Slot, named: set[str]) -> str:
    if isinstance(part, str):
        return re.escape(part)
    one, bar, more = part.form.partition("|")
    if bar:
        return f"(?:{re.escape(one)}|{re.escape(more)})"
    if part.fact in named:
        return f"(?P={part.fact})"
    named.add(part.fact)
    return f"(?P<{part.fact}>.+?)"


def _shown(fact: object, form: str) -> str:
    one, bar, more = form.partition("|")
    if bar:
        return one if _is_one(fact) else more
    if isinstance(fact, int):
        return _FORMS[form](fact)
    if form == "end":
        return str(fact).rstrip(".")
    names = _names(fact)
    return then(names) if form == "then" else listed(names)


def _whole_seconds(ms: int) -> str:
    return f"{ms // 1000} s"


_FORMS: dict[str, Callable[[int], str]] = {
    "s": seconds,
    "span": span,
    "whole": _whole_seconds,
    "": str,
}


def _is_one(fact: object) -> bool:
    if isinstance(fact, int):  # bool too
        return fact == 1
    return bool(fact) if isinstance(fact, str) else len(_names(fact)) == 1


def _names(fact: object) -> tuple[str, ...]:
    return tuple(map(str, fact)) if isinstance(fact, tuple | list) else (str(fact),)
