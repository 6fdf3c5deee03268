"""Checks of `[[trap_profile]]`: rows and tables that never match or decide, or contradict others.

`trap_profiles` reads them; `trap_names` knows how a trap is written.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from clptools.config.table import Table
from clptools.config.trap_names import (
    EVERYTHING_BELOW,
    ROOT,
    canonical_number,
    in_full,
    instance_parts,
    is_oid,
    is_whole,
    one_spelling,
    pattern_bounds,
    pattern_fault,
    row_fault,
    value_fault,
)
from clptools.core.model.trap_profiles import TrapFamily

SIGNED = 1 << 31
_MEANING_PLACE = re.compile(r"\{([^{}]*)\}")


class _Sure(NamedTuple):
    """A pattern that decides all its traps."""

    number: int
    """Which of them it is: the first one counts."""
    low: int
    high: int
    pattern: str
    line: int
    event_class: str


class Earlier:
    """The rows and patterns read so far, in this profile and those before it."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], tuple[str, int]] = {}
        self._sure: dict[str, list[_Sure]] = {}
        """OID before the last arc -> patterns that decide all their traps."""
        self._count = 0

    def decides(self, pattern: str, full: str, line: int, event_class: str) -> None:
        """That pattern decides all its traps."""
        head, low, high = pattern_bounds(full)
        self._count += 1
        made = _Sure(self._count, low, high, pattern, line, event_class)
        self._sure.setdefault(head, []).append(made)

    def covering(self, full: str) -> _Sure | None:
        """The first pattern that takes every name of this one before.

        Looked for by what its name begins with: a MIB has thousands.
        """
        head, low, high = pattern_bounds(full)
        arcs = head.split(".") if head else []
        above = ["", *(".".join(arcs[:length]) for length in range(1, len(arcs) + 1))]
        found = [
            one
            for name in above
            for one in self._sure.get(name, ())
            if one.high == EVERYTHING_BELOW
            or (name == head and high != EVERYTHING_BELOW and one.low <= low and high <= one.high)
        ]
        return min(found, default=None)


def check_rows(table: Table, of_maker: bool, earlier: Earlier) -> None:
    """Reports rows that can never match, or that contradict each other."""
    for name in ("rows", "meanings"):
        rows = table.raw.get(name)
        for row, told in rows.items() if isinstance(rows, dict) else ():
            if fault := row_fault(row):
                table.error(name, fault, _row_mend(row), at=(row,))
            elif of_maker and is_oid(row):
                table.error(
                    name,
                    "a trap that is no PET does not say who made its BMC: with manufacturer it "
                    "never matches",
                    "Put it into a [[trap_profile]] without manufacturer; its OID names the maker.",
                    at=(row,),
                )
            elif name == "rows":
                _check_row(table, row, str(told), earlier)


def _row_mend(row: str) -> str:
    if row.startswith("oid ."):
        return f'Write "oid {row[4:].strip(".")}": no dot at its beginning.'
    if row.startswith("redfish"):
        return 'Write "redfish Power.PowerSupplyFailed": registry and message, without a version.'
    return 'Write "0Dh/6F/2", "*/04/1", "specific 1001", or "oid 1.3.6.1.4.1.232.0.9014".'


def _check_row(table: Table, row: str, event_class: str, earlier: Earlier) -> None:
    line = table.source.lines.line((*table.path, "rows", row))
    makers = "" if is_oid(row) else str(table.raw.get("manufacturer", ""))
    known = earlier.rows.setdefault((makers, one_spelling(row)), (event_class, line))
    if known[0] != event_class:
        table.error(
            "rows",
            f"line {known[1]} says {known[0]} of the same row",
            "One of them can never count: take it out.",
            at=(row,),
        )
    if is_oid(row):
        name = row[4:]
        if not name.startswith(ROOT):
            table.error(
                "rows",
                "this OID can never be a trap's name",
                "Names of traps begin with 1.3.6.1.",
                at=(row,),
            )
        _warn_number(table, "rows", row, int(name.rpartition(".")[2]))


def check_match(table: Table, match: dict[str, str]) -> bool:
    """Reports patterns that are none; False: there is no pattern, or an error in one."""
    ok = True
    if not match:
        if "match" in table.raw:
            table.error("match", "names no trap", 'Write match = ["0.6050"].')
        return False
    listed = isinstance(table.raw.get("match"), list)
    for place, pattern in enumerate(match):
        at: tuple[str | int, ...] = (pattern,)
        if listed:
            at = (place,)
        fault = pattern_fault(pattern)
        if fault:
            table.error("match", *fault, at=at)
            ok = False
            continue
        _warn_number(table, "match", pattern, pattern_bounds(pattern)[1])
    return ok


def check_overlaps(table: Table, match: dict[str, str]) -> bool:
    """Reports ranges of one table that share numbers, and say different classes of them.

    False: there are such.  A number alone goes before the ranges that it is in, and a table before
    the next one.
    """
    ranges = sorted((pattern_bounds(pattern), pattern) for pattern in match)
    ranges = [((head, low, high), p) for (head, low, high), p in ranges if low < high]
    for ((head, _, high), one), ((other, low, _), two) in pairwise(ranges):
        if head == other and low <= high and match[one] != match[two]:
            text = f'says {match[one] or "nothing"} of "{one}", and {match[two] or "nothing"} here'
            mend = "Let one end where the other begins."
            table.error("match", f"{text}: both have {low}", mend, at=(two,))
            return False
    return True


def _warn_number(table: Table, name: str, pattern: str, number: int) -> None:
    if number >= SIGNED:
        table.say(
            "warning",
            name,
            f"{name} {pattern}: {number} is above 2147483647, which SNMP v1 sends as "
            f"{number - (1 << 32)}; both are taken",
            "Compare it with the MIB.",
        )


def check_family(table: Table, family: TrapFamily) -> bool:
    """Reports a table whose own keys do not fit together; False: there is an error."""
    before = len(table.source.reports)
    if family.variable and not (family.classes or family.event_class or any(family.match.values())):
        table.error("variable", "nothing says what its values mean", "Add classes.")
    if family.classes and not family.variable:
        table.error("classes", "needs variable, whose values they are", "Name its OID.")
    if family.mask and not family.variable:
        table.error("mask", "needs variable, whose bits they are", "Name its OID.")
    if bool(family.step) is not bool(family.levels) and family.levels:
        text = "needs step: the number is step * thing + level + base"
        table.error("levels", text, "Add step, or take levels out.")
    if family.step:
        for level in family.levels:
            if not (level.isdecimal() and len(level) < 6 and int(level) < family.step):
                text = f"no number leaves {level} when it is divided by {family.step}"
                table.error("levels", text, f"Levels go from 0 to {family.step - 1}.", at=(level,))
    gives = family.classes or family.event_class or family.levels or any(family.match.values())
    if not gives and not family.ipmi:
        table.error(
            "match",
            "gives no trap a class: this row can never decide",
            'Add class = "ERROR", or classes by a variable.',
        )
    for value in family.classes:
        fault = value_fault(value, family.mask)
        if fault:
            key = next((k for k in _raw_keys(table) if canonical_number(k) == value), value)
            table.error("classes", *fault, at=(key,))
    parts = instance_parts(family.instance)
    for found in _MEANING_PLACE.findall(family.meaning):
        if not re.fullmatch(r"\d+(?:\.\d+)*", found) or (
            "." not in found and (len(found) > 3 or int(found) >= len(parts))
        ):
            hint = "{0} is the first of instance, {1.2} the variable of that OID."
            table.error("meaning", f"{{{found}}} stands for nothing", hint)
    return len(table.source.reports) == before or not any(
        report.severity == "error" for report in table.source.reports[before:]
    )


def _raw_keys(table: Table) -> list[str]:
    raw = table.raw.get("classes")
    return list(raw) if isinstance(raw, dict) else []


def check_families(
    read: list[tuple[Table, TrapFamily]], enterprises: tuple[str, ...], earlier: Earlier
) -> None:
    """Reports tables that can never match, or that contradict each other."""
    known = {family.name for _, family in read}
    first: dict[str, tuple[Table, TrapFamily]] = {}
    for table, family in read:
        if not enterprises:
            _check_roots(table, family)
        for name in family.closes:
            if name not in known or not name:
                table.error(
                    "closes",
                    f'no trap of this profile is called "{name}"',
                    f"Known: {', '.join(sorted(filter(None, known))) or 'none'}.",
                )
        other = first.setdefault(family.name, (table, family))[1] if family.name else family
        if (other.instance, other.step) != (family.instance, family.step):
            line = table.source.lines.line(first[family.name][0].path)
            table.error(
                "instance" if other.instance != family.instance else "step",
                f'"{family.name}" on line {line} names its part in another way: what one opens '
                "the other could not close",
                "Write the same in both, or give them different names.",
            )
        _check_reach(table, family, enterprises, earlier)


def _check_roots(table: Table, family: TrapFamily) -> None:
    """Without `enterprise`, every OID stands in full."""
    variables = [family.variable] if family.variable else []
    variables += [choice.oid for part in instance_parts(family.instance) for choice in part]
    for name, oids in (("match", list(family.match)), ("variable", variables)):
        found = next((oid for oid in oids if oid != "*" and not is_whole(oid)), "")
        if found:
            table.error(
                "instance" if name == "variable" and found != family.variable else name,
                f'"{found}" can never match: the profile has no enterprise that it is below',
                'Write enterprise = "1.3.6.1.4.1.…" in the profile, or the whole OID.',
            )


def _check_reach(
    table: Table, family: TrapFamily, enterprises: tuple[str, ...], earlier: Earlier
) -> None:
    line = table.source.lines.line(table.path)
    for pattern, given in family.match.items():
        for root in enterprises or ("",):
            full = in_full(root, pattern)
            row = earlier.rows.get(("", one_spelling(f"oid {full}")))
            if row is not None and row[0] != _only_class(family, given) != "":
                table.error(
                    "match",
                    f"line {row[1]} says {row[0]} of {full}, this {_only_class(family, given)}",
                    "A row of one name counts before: take one of them out.",
                )
            if (before := earlier.covering(full)) is not None:
                text = f'line {before.line} takes "{before.pattern}" before'
                said = before.event_class
                known = said and _only_class(family, given) not in ("", said)
                text += f" and says {said}" if known else ""
                table.error(
                    "match",
                    f'{text}: "{pattern}" can never match',
                    "Put the narrower one first, or take one of them out.",
                )
                return
            if _is_sure(family, given):
                earlier.decides(pattern, full, line, _only_class(family, given))


def _is_sure(family: TrapFamily, given: str) -> bool:
    """Whether every trap of that name gets a class here."""
    if family.ipmi:
        return False
    if given or family.event_class:
        return True
    levels = not family.variable and family.step
    return bool(levels) and len(family.levels) == family.step


def _only_class(family: TrapFamily, given: str) -> str:
    if family.variable or family.levels:
        return ""
    return given or family.event_class
