"""Names in trap profiles: OIDs of traps and variables, and rows of the class table.

A trap is named by its OID, by a range of the last arc, or by a prefix.
"""

from __future__ import annotations

import re
from typing import NamedTuple

ARC = (1 << 32) - 1
"""The highest arc of an OID (RFC 2578, section 3.5)."""
ROOT = "1.3.6.1."
"""Names of traps and of vendors' variables begin so."""
EVERYTHING_BELOW = -1
MOST = 4_096
"""Numbers that one range may have."""


class InstanceChoice(NamedTuple):
    """A variable that names a part."""

    oid: str
    skip: int = 0
    """Characters left out."""
    hexadecimal: bool = False
    """It is a number in hexadecimal: a 0x before it is no part of it, nor does the case matter."""
    places: bool = False
    """The places of the variables below the OID name the part, not their values."""


InstancePart = tuple[InstanceChoice, ...]
"""Variables of which the first that says something counts."""

_OID = re.compile(r"\.?[0-9]+(?:\.[0-9]+)*")
_PART = re.compile(r"(\.?[0-9]+(?:\.[0-9]+)*)(?:\[(?:(0x)?([0-9]{1,2}):|(#))\])?")


def oid_fault(oid: str) -> tuple[str, str] | None:
    """What is wrong with an OID, and the mend; None: nothing."""
    if re.search(r"(?:^|\.)-[0-9]", oid):
        return (
            "an arc is never negative",
            "SNMP v1 sends numbers above 2147483647 as negative: add 4294967296.",
        )
    if not _OID.fullmatch(oid):
        return "no OID: numbers with dots between", 'Write it as "0.6050" or "1.3.6.1.4.1.232".'
    high = next((arc for arc in oid.strip(".").split(".") if _above(arc)), "")
    if high:
        return f"{high} is no arc of an OID: they end at {ARC}", "Compare it with the MIB."
    if len(oid.split(".")) > 128:
        return "more than 128 arcs", "Compare it with the MIB."
    return None


def _above(arc: str) -> bool:
    """Whether a number of any length is no arc."""
    return len(arc.lstrip("0")) > len(str(ARC)) or int(arc) > ARC


def pattern_fault(pattern: str) -> tuple[str, str] | None:
    """What is wrong with a name in `match` (an OID, `OID..NUMBER` or `OID.*`), and the mend."""
    if pattern == "*":
        return None
    if pattern.endswith(".*"):
        return oid_fault(pattern[:-2])
    first, dots, last = pattern.partition("..")
    fault = oid_fault(first)
    if fault or not dots:
        return fault
    if not last.isascii() or not last.isdecimal():
        return "a range ends with the last number alone", 'Write it as "0.6050..6069".'
    if _above(last):
        return f"{last} is no arc of an OID: they end at {ARC}", "Compare it with the MIB."
    if int(last) < int(first.rpartition(".")[2]):
        return "a range that ends before it begins", "This row can never match: turn it round."
    return None


NUMBER_CHARS = 128
"""No number of a trap is written longer."""


def pattern_bounds(pattern: str) -> tuple[str, int, int]:
    """What is before the last arc, without the 0 that SMIv2 puts there, and which last arcs.

    Of `OID.*` the last is EVERYTHING_BELOW: everything below what comes first.
    """
    pattern = pattern.lstrip(".")
    if pattern == "*":
        return "", EVERYTHING_BELOW, EVERYTHING_BELOW
    if pattern.endswith(".*"):
        head = pattern[:-2]
        head = head[:-2] if head.endswith(".0") else "" if head == "0" else head
        return head, EVERYTHING_BELOW, EVERYTHING_BELOW
    first, _, last = pattern.partition("..")
    head, _, low = first.rpartition(".")
    head = head[:-2] if head.endswith(".0") else "" if head == "0" else head
    return head, int(low), int(last or low)


def instance_parts(instance: tuple[str, ...]) -> tuple[InstancePart, ...]:
    """`instance` parsed; items that are no variables are left out."""
    found: list[InstancePart] = []
    for item in instance:
        choices = (_PART.fullmatch(choice.strip()) for choice in item.split("|"))
        found.append(
            tuple(
                InstanceChoice(c[1], int(c[3] or 0), bool(c[2]), bool(c[4])) for c in choices if c
            )
        )
    return tuple(found)


def part_fault(item: str) -> tuple[str, str] | None:
    """What is wrong with one item of `instance`, and the mend; None: nothing."""
    for choice in item.split("|"):
        found = _PART.fullmatch(choice.strip())
        if found is None:
            return oid_fault(choice.strip()) or (
                "no variable",
                'Write "1.6", "1.18[2:]" without the first two characters, or "1.18|1.21".',
            )
        fault = oid_fault(found[1])
        if fault:
            return fault
    return None


def value_fault(value: str, mask: int) -> tuple[str, str] | None:
    """Why a variable can never have a value, and the mend; None: it can."""
    if value.isdecimal() and len(value) > NUMBER_CHARS:
        return "wider than 64 bits: it can never match", "Compare it with the MIB."
    if value.isascii() and value.isdecimal():
        if mask and int(value) & ~mask:
            return (
                f"{int(value):#x} has bits that mask = {mask:#x} takes away: it can never match",
                "Compare both with the MIB.",
            )
        if int(value) >> 64:
            return "wider than 64 bits: it can never match", "Compare it with the MIB."
    elif mask:
        return "a text never matches under a mask", "Leave mask out, or write a number."
    elif value.strip("*") == "" or "*" in value.strip("*"):
        return (
            "a * stands at the beginning or the end of some text",
            'Write "PSU*" or "*Uncorrectable*".',
        )
    return None


def canonical_number(value: str) -> str:
    """Numbers in decimal, negative ones as they are looked up."""
    if not is_number(value):
        return value
    number = int(value, 0)
    return str(number & 0xFFFFFFFF if number < 0 else number)


def is_number(text: str) -> bool:
    """Whether a text is a whole number, in any base that Python knows."""
    if len(text) > NUMBER_CHARS:
        return False
    try:
        int(text, 0)
    except ValueError:
        return False
    return True


def is_whole(oid: str) -> bool:
    """Whether an OID stands in full."""
    return oid.lstrip(".").startswith(ROOT)


def in_full(root: str, pattern: str) -> str:
    """A pattern below the enterprise `root`; one that stands in full already stays."""
    pattern = pattern.lstrip(".")
    return pattern if not root or pattern.startswith(ROOT) else f"{root}.{pattern}"


# ---------------------------------------------------------------------- rows of the class table


_EVENT = re.compile(r"([0-9A-F]{2}h|\*)/([0-9A-F]{2}|\*)/([0-9A-F]|\*)")
_SPECIFIC = re.compile(r"specific (0|[1-9]\d{0,9})")
_OID_ROW = re.compile(r"oid ((?:0|[1-9]\d{0,18})(?:\.(?:0|[1-9]\d{0,18}))+)")
_REDFISH = re.compile(r"redfish [A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def row_fault(row: str) -> str:
    """Why a row can never match; empty: it can."""
    if found := _EVENT.fullmatch(row):
        return _event_fault(row, *found.groups())
    if found := _SPECIFIC.fullmatch(row):
        return "" if int(found[1]) <= ARC else f'"{row}": a trap number has 32 bits'
    if found := _OID_ROW.fullmatch(row):
        return _oid_row_fault(row, [int(arc) for arc in found[1].split(".")])
    if _REDFISH.fullmatch(row):
        return ""
    return (
        f'"{row}" is no row: write "0Dh/6F/2", "*/04/1", "specific 1001", "oid 1.3.6..." or '
        '"redfish REGISTRY.MESSAGE"'
    )


def one_spelling(row: str) -> str:
    """Equal for rows that are one: names of traps without the 0 before the last arc, which v1 adds;
    Redfish's in one case."""
    if row.startswith("redfish "):
        return row.casefold()
    return f"oid {plain_name(row[4:])}" if is_oid(row) else row


def plain_name(oid: str) -> str:
    """A trap's name without the 0 before its last arc."""
    head, _, last = oid.rpartition(".")
    return f"{head[:-2]}.{last}" if head.endswith(".0") else oid


def with_zero(oid: str) -> str:
    """A plain name with that 0."""
    head, _, last = oid.rpartition(".")
    return f"{head}.0.{last}"


def is_oid(row: str) -> bool:
    """Whether it is for traps that are no PETs, which do not say who made the BMC."""
    return row.startswith("oid ")


def _event_fault(row: str, sensor: str, event: str, offset: str) -> str:
    if sensor == "00h" or event == "00" or offset == "F":
        return f'"{row}" matches nothing: 00 and F say that it is unspecified'
    if event == "*" and (sensor == "*" or offset != "*"):
        return f'"{row}" matches nothing: offsets mean something with their event type alone'
    return ""


def _oid_row_fault(row: str, arcs: list[int]) -> str:
    """X.660: the first arc is 0, 1 or 2; below 0 and 1 there are forty."""
    if arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39) or max(arcs) > ARC:
        return f'"{row}": there is no such OID'
    return ""
