"""Rows of the class table, the profiles that ship, and the texts of IPMI's tables.

They are `profiles/*.toml`; `class_table` says which row is in force.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib import resources
from typing import Any

import msgspec

from clptools.core.model.words import EventClass

SHIPPED = ("default", "dell", "supermicro", "intel")


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One profile file, or a `[[trap_profile]]` of the configuration."""

    name: str
    manufacturers: tuple[int, ...] = ()
    rows: dict[str, str] = {}
    closes: dict[str, tuple[int, ...]] = {}
    meanings: dict[str, str] = {}
    deasserted: dict[str, str] = {}
    """Good states, such as presence: the class of their deassertion, which their assertion ends."""
    shifted: tuple[int, ...] = ()
    """OEM sensor types whose trap numbers the maker sends shifted by four bits."""
    coded: tuple[int, ...] = ()
    """OEM sensor types whose whole last byte is the event: no direction, no reserved bits."""
    numbers: dict[str, int] = {}
    """Trap numbers that the maker misspells, in decimal, and what each of them means."""


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Texts of IPMI's tables; keys are the numbers."""

    sensors: dict[int, str]
    events: dict[int, tuple[str, ...]]
    sensor_events: dict[int, tuple[str, ...]]
    severities: dict[int, str]
    manufacturers: dict[int, str]
    numbered: dict[int, tuple[int, ...]]
    """Sensor type -> entity ids whose instance numbers it: `processor 1`."""
    severity_classes: dict[int, EventClass]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row that applies: its id, its class and the profile it came from."""

    id: str
    event_class: EventClass
    profile: str
    closes: tuple[int, ...] = ()
    """CLEAR rows: the offsets of the same sensor that it closes."""
    deasserted: EventClass | None = None
    """CLEAR rows: the class of the deassertion, where the row itself says it."""
    meaning: str = ""
    """The profile's own text, where it has one."""


def row_id(sensor_type: int | None, event_type: int | None, offset: int | None) -> str:
    """The row id of one exact event."""
    sensor = "*" if sensor_type is None else f"{sensor_type:02X}h"
    event = "*" if event_type is None else f"{event_type:02X}"
    return f"{sensor}/{event}/{'*' if offset is None else f'{offset:X}'}"


def shipped_names() -> Names:
    """Texts of IPMI's tables."""
    return shipped()[1]


@lru_cache(maxsize=1)
def shipped() -> tuple[tuple[Profile, ...], Names]:
    folder = resources.files("clptools.intake") / "profiles"
    tables: list[dict[str, Any]] = [
        tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8")) for name in SHIPPED
    ]
    profiles = tuple(
        Profile(
            name=table["name"],
            manufacturers=tuple(table.get("manufacturers", ())) if n else (),
            rows={**dict.fromkeys(table.get("deasserted", {}), "CLEAR"), **table.get("rows", {})},
            closes={
                **{row: (int(row[-1], 16),) for row in table.get("deasserted", {})},
                **{row: tuple(offsets) for row, offsets in table.get("closes", {}).items()},
            },
            deasserted=table.get("deasserted", {}),
            meanings=table.get("meanings", {}),
            shifted=tuple(table.get("shifted", ())),
            coded=tuple(table.get("coded", ())),
            numbers=table.get("numbers", {}),
        )
        for n, table in enumerate(tables)
    )
    base = tables[0]
    names = Names(
        sensors=_by_hex(base["sensors"]),
        events={k: tuple(v) for k, v in _by_hex(base["events"]).items()},
        sensor_events={k: tuple(v) for k, v in _by_hex(base["sensor_events"]).items()},
        severities=_by_hex(base["severity_names"]),
        manufacturers={int(k): v for k, v in base["manufacturers"].items()},
        numbered={k: tuple(v) for k, v in _by_hex(base["numbered"]).items()},
        severity_classes={k: EventClass(v) for k, v in _by_hex(base["severities"]).items()},
    )
    return profiles, names


def _by_hex(table: dict[str, Any]) -> dict[int, Any]:
    return {int(key, 16): value for key, value in table.items()}
