"""Traps decoded: the class and meaning of a PET, and of any other trap by its OID.

A PET's number and octets are read in `pet_fields`; the class comes from `class_table`, for other
traps also from `families`.
"""

from __future__ import annotations

from typing import NamedTuple

from clptools.core.model.words import EventClass
from clptools.intake.class_table import ClassTable
from clptools.intake.decoded_trap import DecodedTrap, shown_varbinds
from clptools.intake.families import OPENS
from clptools.intake.pet_fields import (
    Fields,
    Number,
    has_pet_name,
    has_pet_octets,
    octets_of,
    read_number,
)
from clptools.intake.snmp import Trap
from clptools.intake.trap_rows import Row

SEVERITY_OK = 0x04
CALM = (0x01, 0x02, SEVERITY_OK)
"""Severities without a fault: monitor, information, OK."""
TWO_STATES = 0x03
"""Event type of a sensor that has two states (IPMI 2.0, table 42-2); either may be the good one."""


def decode_trap(trap: Trap, table: ClassTable, now: float) -> DecodedTrap:
    """A notification in words.  `now`: wall clock in Unix seconds, for the BMC's odd clocks."""
    named = has_pet_name(trap)
    if not named and not has_pet_octets(trap):
        return _generic(trap, table)
    specific = trap.specific if named else None
    return decode_pet(specific, octets_of(trap), table, now, trap=trap)


def decode_pet(
    specific: int | None,
    octets: bytes | None,
    table: ClassTable,
    now: float,
    *,
    trap: Trap | None = None,
) -> DecodedTrap:
    """A PET from its specific-trap number (None: unusable) and its octets (None: not given).

    `trap`: the notification that it came in, if it came in one.
    """
    quirks: list[str] = [*trap.quirks] if trap else []
    fields = Fields(octets, table, now, quirks)
    number = read_number(specific, fields, table, quirks)
    if specific is None and octets is not None:
        quirks.append("no usable specific trap: offset from the event data")
    found = _find_row(specific, number, fields, table, quirks)
    event, row = found.event, found.row
    told = _classify(event, row, fields.severity, table, found.deasserted)
    return DecodedTrap(
        format="pet",
        version=str(trap.version) if trap else None,
        oid=trap.oid if trap else "",
        said_origin=trap.agent_address if trap else "",
        specific=specific,
        sensor_type=event.sensor_type,
        event_type=event.event_type,
        assertion=None if specific is None or found.misread else not number.deasserted,
        offset=event.offset,
        severity=fields.severity,
        guid=fields.guid,
        sequence=fields.sequence,
        timestamp=fields.timestamp,
        utc_offset=fields.utc_offset,
        trap_source=fields.trap_source,
        event_source=fields.event_source,
        sensor_device=fields.sensor_device,
        sensor=fields.sensor,
        entity=fields.entity,
        event_data=fields.event_data,
        language=fields.language,
        manufacturer=fields.manufacturer,
        system=fields.system,
        oem=fields.oem,
        event_class=told.event_class,
        clears=told.clears,
        meaning=_said(specific, found, told.event_class, fields, table),
        row=row.id if row else f"severity {fields.severity:02X}h" if fields.severity else "",
        profile=row.profile if row else "",
        closes=told.closes,
        opens=told.opens,
        number=specific if found.dubious else None,
        quirks=tuple(quirks),
    )


class _Found(NamedTuple):
    """Which event a PET tells of, and the row that knows it."""

    event: _Event
    row: Row | None
    exact: Row | None
    """The row of this very trap number."""
    deasserted: bool
    dubious: bool
    """It looks like an end, but its number is in doubt."""
    misread: bool
    """It is doubtful whether it is an end, and its severity is not calm: the severity decides."""


def _find_row(
    specific: int | None, number: Number, fields: Fields, table: ClassTable, quirks: list[str]
) -> _Found:
    sensor_type, event_type, offset = number.sensor_type, number.event_type, number.offset
    doubtful = number.doubtful
    unnamed = sensor_type is None and event_type is None
    exact = _exact_row(specific, unnamed, fields, table)
    if (
        fields.data_offset is not None
        and not number.coded
        and not (specific == 0 and fields.sensor is None)
    ):
        if offset is None or (unnamed and specific != 0):
            offset = fields.data_offset
        elif offset != fields.data_offset:
            quirks.append(f"offset {offset:X}h, but {fields.data_offset:X}h in the event data")
            doubtful = doubtful or not fields.blank
    deasserted = number.deasserted and exact is None
    row = exact or (
        None if offset is None else table.row(fields.manufacturer, sensor_type, event_type, offset)
    )
    # A fault must not be taken for the end of one: where the number is in doubt, only a calm
    # severity may say that something ended.
    dubious = (
        doubtful
        and exact is None
        and (deasserted or (row is not None and row.event_class is EventClass.CLEAR))
    )
    misread = dubious and fields.severity not in CALM
    if misread:
        quirks.append(f"doubtful trap number {specific}: it ends nothing, its severity decides")
        row, deasserted = None, False
    event = _Event(fields.manufacturer, sensor_type, event_type, offset)
    return _Found(event, row, exact, deasserted, dubious, misread)


def _said(
    specific: int | None,
    found: _Found,
    event_class: EventClass,
    fields: Fields,
    table: ClassTable,
) -> str:
    """The meaning of a PET."""
    event, exact = found.event, found.exact
    if found.misread:
        return _thing(event.sensor_type, fields, table) + f": unreadable event {specific}"
    if exact:
        meaning = table.meaning(fields.manufacturer, (exact.id,)) or exact.meaning
        if meaning:
            return meaning
    meaning = _meaning(event.sensor_type, event.event_type, event.offset, fields, table, found.row)
    if not found.deasserted:
        return meaning
    thing, colon, text = meaning.partition(": ")
    lost = event_class is not EventClass.CLEAR
    return f"{thing}{colon}no longer {text}" if lost else f"{meaning} (cleared)"


def _exact_row(
    specific: int | None, unnamed: bool, fields: Fields, table: ClassTable
) -> Row | None:
    if specific is None:
        return None
    if specific == 0 and not (
        unnamed and fields.sensor is None and (fields.severity or 0) <= SEVERITY_OK
    ):
        return None
    return table.exact(fields.manufacturer, f"specific {specific}")


class _Event(NamedTuple):
    """What the class table is asked for."""

    manufacturer: int | None
    sensor_type: int | None
    event_type: int | None
    offset: int | None

    def row(self, table: ClassTable, offset: int) -> Row | None:
        """The row of another offset of the same sensor."""
        return table.row(self.manufacturer, self.sensor_type, self.event_type, offset)


class _Told(NamedTuple):
    event_class: EventClass
    clears: EventClass | None = None
    """CLEAR: the class that it ends, if that is a single one."""
    closes: tuple[int, ...] = ()
    """The offsets that it ends: of a CLEAR, if these are more than its own."""
    opens: int | None = None
    """The offset under which a deassertion is open."""


def _classify(
    event: _Event, row: Row | None, severity: int | None, table: ClassTable, deasserted: bool
) -> _Told:
    by_severity = table.severity_class(severity)
    if row is not None and row.event_class is EventClass.CLEAR and not row.id.startswith("spec"):
        return _good_state(event, row, severity, table, deasserted)
    told = row.event_class if row else by_severity
    named = None if told in (EventClass.UNKNOWN, EventClass.CLEAR) else told
    if deasserted:
        return _Told(EventClass.CLEAR, named)
    if severity == SEVERITY_OK and not (row and row.id.startswith("specific ")):
        # States of a generic event type exclude each other: OK ends the open one.  Those of
        # a sensor-specific one stand side by side: OK ends its own.
        offset = event.offset
        if offset is None or event.event_type is None or event.event_type > 0x0C:
            return _Told(EventClass.CLEAR, named)
        others = (other for other in range(0x0C) if other != offset)
        return _Told(EventClass.CLEAR, named, (offset, *others))
    if row is None and severity in CALM and event.event_type == TWO_STATES:
        # Only the severity tells which of the two is the bad one: a calm one ends the other.
        return _Told(told, closes=(1 - event.offset,) if event.offset in (0, 1) else ())
    return _Told(told)


def _good_state(
    event: _Event, row: Row, severity: int | None, table: ClassTable, deasserted: bool
) -> _Told:
    """A state that ends others: asserted it ends them, deasserted it opens the first of them."""
    first = row.closes[0] if row.closes else event.offset
    if not deasserted:
        ended = [row] if row.deasserted else [event.row(table, offset) for offset in row.closes]
        classes = {r.deasserted or r.event_class for r in ended if r is not None}
        return _Told(EventClass.CLEAR, classes.pop() if len(classes) == 1 else None, row.closes)
    if severity == SEVERITY_OK or not row.closes:
        return _Told(EventClass.CLEAR)
    if row.deasserted:
        return _Told(row.deasserted, opens=event.offset)
    lost = None if first is None else event.row(table, first)
    told = lost.event_class if lost else table.severity_class(severity)
    return _Told(told, opens=first)


def _meaning(
    sensor_type: int | None,
    event_type: int | None,
    offset: int | None,
    fields: Fields,
    table: ClassTable,
    row: Row | None,
) -> str:
    names = table.names
    if offset is not None:
        told = table.event_meaning(fields.manufacturer, sensor_type, event_type, offset)
        if told:
            return told
        if row is not None and row.meaning:
            return row.meaning
    thing = _thing(sensor_type, fields, table)
    texts = (
        names.sensor_events.get(sensor_type or 0, ())
        if event_type == 0x6F
        else names.events.get(event_type or 0, ())
    )
    if offset is not None and offset < len(texts):
        return f"{thing}: {texts[offset]}"
    if event_type is None:
        severity = names.severities.get(fields.severity or 0)
        return f"{thing}: {severity} event" if severity else f"{thing}: unspecified event"
    where = "" if offset is None else f", offset {offset:X}h"
    return f"{thing}: event type {event_type:02X}h{where}"


def _thing(sensor_type: int | None, fields: Fields, table: ClassTable) -> str:
    """The part that the sensor measures."""
    names = table.names
    if sensor_type is not None:
        thing = names.sensors.get(sensor_type) or f"sensor type {sensor_type:02X}h"
    else:
        thing = "unnamed sensor" if fields.sensor is None else f"sensor {fields.sensor:02X}h"
    if (
        fields.entity is not None
        and fields.entity[0] in names.numbered.get(sensor_type or 0, ())
        and 1 <= fields.entity[1] < 0x60
    ):
        thing += f" {fields.entity[1]}"
    return thing


def _generic(trap: Trap, table: ClassTable) -> DecodedTrap:
    row = table.exact(None, f"oid {trap.oid}")
    told = table.families.read(trap, table)
    event_class = told.event_class if told else EventClass.UNKNOWN
    meaning = told.meaning if told else f"trap {trap.oid or 'without a name'}"
    if row is not None and told is not None and told.fixed and row.event_class in OPENS:
        row = None  # a variable says that it is a test, or that it is over: no row makes it a fault
    if row is not None:
        event_class = row.event_class
        meaning = table.meaning(None, (row.id,)) or meaning
    return DecodedTrap(
        format="generic",
        version=str(trap.version),
        oid=trap.oid,
        specific=trap.specific,
        event_class=event_class,
        meaning=meaning,
        row=row.id if row else told.row if told else "",
        profile=row.profile if row else told.profile if told else "",
        fault_key=told.key if told else "",
        fault_closes=told.closes if told else (),
        own_watchdog=told.own_watchdog if told else False,
        said_origin=trap.agent_address,
        varbinds=shown_varbinds(trap),
        quirks=trap.quirks,
    )
