"""Rows of the class table as `[[trap_profile]]` writes them, and what is wrong with one."""

from __future__ import annotations

import re

_EVENT = re.compile(r"([0-9A-F]{2}h|\*)/([0-9A-F]{2}|\*)/([0-9A-F]|\*)")
_SPECIFIC = re.compile(r"specific (0|[1-9]\d{0,9})")
_OID = re.compile(r"oid ((?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+)")
_REDFISH = re.compile(r"redfish [A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_32_BITS = 0xFFFFFFFF


def row_fault(row: str) -> str:
    """Why a row can never match; empty: it can."""
    if found := _EVENT.fullmatch(row):
        return _event_fault(row, *found.groups())
    if found := _SPECIFIC.fullmatch(row):
        return "" if int(found[1]) <= _32_BITS else f'"{row}": a trap number has 32 bits'
    if found := _OID.fullmatch(row):
        return _oid_fault(row, [int(arc) for arc in found[1].split(".")])
    if _REDFISH.fullmatch(row):
        return ""
    return (
        f'"{row}" is no row: write "0Dh/6F/2", "*/04/1", "specific 1001", "oid 1.3.6..." or '
        '"redfish REGISTRY.MESSAGE"'
    )


def is_oid(row: str) -> bool:
    """Whether it is for traps that are no PETs, which do not say who made the BMC."""
    return row.startswith("oid ")


def _event_fault(row: str, sensor: str, event: str, offset: str) -> str:
    if sensor == "00h" or event == "00" or offset == "F":
        return f'"{row}" matches nothing: 00 and F say that it is unspecified'
    if event == "*" and (sensor == "*" or offset != "*"):
        return f'"{row}" matches nothing: offsets mean something with their event type alone'
    return ""


def _oid_fault(row: str, arcs: list[int]) -> str:
    """X.660: the first arc is 0, 1 or 2; below 0 and 1 there are forty."""
    if arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39) or max(arcs) > _32_BITS:
        return f'"{row}": there is no such OID'
    return ""
