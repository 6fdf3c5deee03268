"""What became of a `clp.conf`: tables of `clp.toml`, an entry for each leaf, and their messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from clptools.config import original
from clptools.config.clpconf import spelled
from clptools.config.original import Grade
from clptools.reports import Report, legible

_LONGEST = 60
"""Longer values are cut in messages."""
_ROOM = 1_500
"""Letters of a message for what it is about; `reports` cuts one of 2,000."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one leaf of the file."""

    label: str
    """The object: `monitor genw1`."""
    tag: str
    """Its path within the object."""
    value: str
    grade: Grade
    reason: str = ""
    hint: str = ""
    line: int = 0
    offer: str = ""
    """The `Offer` of its object."""

    @property
    def shown(self) -> str:
        """Tag and value, for a message."""
        value = spelled(self.value)
        if self.tag.rpartition("/")[2] in original.SECRETS:
            value = "(not shown)"
        if len(value) > _LONGEST:
            value = f"{value[: _LONGEST - 1]}…"
        return f"{spelled(self.tag)} = {value}" if value else spelled(self.tag)


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be known of an object, beyond its parameters."""

    about: str
    """Object and subject; the text may change while a configuration is built."""
    text: str
    hint: str = ""
    first: bool = False
    """It is reported before all else."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What `clp.toml` could say of an object that is not carried."""

    name: str
    group: str
    """Of a group resource; empty: it is a monitor."""
    grade: Grade
    """`LOST`: what is offered does a part of its work."""
    text: str
    """Lines that begin with `#`; without the first `#` of each, a table with remarks."""


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """The tables of a `clp.toml`, and how they came about."""

    tables: dict[str, Any]
    entries: tuple[Entry, ...]
    remarks: tuple[Remark, ...]
    windows: bool
    """The file is of EXPRESSCLUSTER for Windows."""
    refused: dict[str, str]
    """Group, group resource or monitor that is not carried -> the reason."""
    offers: tuple[Offer, ...] = ()
    """What can do the work of some of those."""


# ---------------------------------------------------------------------- messages


def reports_of(found: Translation, file: str) -> Iterator[Report]:
    def report(severity: str, message: str, hint: str = "", line: int = 0) -> Report:
        told, mend = legible(f"{spelled(message)}."), legible(spelled(hint))
        return Report(severity=severity, message=told, hint=mend, file=file, line=line)

    for remark in found.remarks:
        if remark.first:
            yield report("warning", remark.text, remark.hint)
    told: dict[tuple[str, Grade, str, str, str], list[Entry]] = {}
    for entry in found.entries:
        if entry.grade is not Grade.CARRIED:
            about = (entry.label, entry.grade, entry.reason, entry.hint, entry.offer)
            told.setdefault(about, []).append(entry)
    for (label, grade, reason, hint, offer), entries in told.items():
        if offer:
            hint = f'{hint} Its text is in clp.toml, to uncomment: look for "{marker(offer)}".'
        severity = "note" if grade is Grade.EQUIVALENT else "warning"
        for part in _in_parts(entries):
            yield report(severity, message_of(label, grade, reason, part), hint, part[0].line)
    for remark in found.remarks:
        if not remark.first:
            yield report("warning", remark.text, remark.hint)


def marker(name: str) -> str:
    """Begins the text of an offer, so that it is found."""
    return f"## {spelled(name)},"


def _in_parts(entries: list[Entry]) -> Iterator[list[Entry]]:
    """So many at a time that a message is not cut: each of them is named."""
    part: list[Entry] = []
    length = 0
    for entry in entries:
        length += len(entry.shown) + 2
        if part and length > _ROOM:
            yield part
            part, length = [], len(entry.shown) + 2
        part.append(entry)
    yield part


def message_of(label: str, grade: Grade, reason: str, entries: Iterable[Entry]) -> str:
    """One sentence on what became of some leaves, for one reason."""
    named: dict[str, list[str]] = {}
    for entry in entries:
        # A message (`messages/rc@10`) has five switches, and there may be 760 messages.
        group, _, rest = entry.tag.partition("/")
        if group == "messages" and rest.count("/"):
            head, _, last = rest.partition("/")
            value = f"{last} {entry.value}"
            named.setdefault(f"{group}/{spelled(head)}", []).append(spelled(value))
        else:
            named.setdefault(entry.shown, [])
    what = ", ".join(f"{n} ({', '.join(v)})" if v else n for n, v in named.items() if n)
    verb = {
        Grade.EQUIVALENT: "not needed here",
        Grade.DECISION: "needs your decision",
        Grade.LOST: "not carried",
        Grade.CARRIED: "carried",
    }[grade]
    return f"{spelled(label)}{f': {what}' if what else ''} {verb}: {reason}"
