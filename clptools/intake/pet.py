"""Platform Event Traps: what a BMC says, read from the trap number and its octets.

PET specification 1.0 and IPMI 2.0 (tables 17-7, 42-2, 42-3), with the departures that BMCs in the
field are known for; each one that was met is named in `quirks`, none makes a trap unreadable.
A trap that is no PET is told here too, as `generic`, by rows keyed on its OID.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from clptools.core.model.words import EventClass
from clptools.intake import ber
from clptools.intake.families import OPENS
from clptools.intake.octets import SHORTEST, Fields
from clptools.intake.profile import ClassTable, Row, row_id
from clptools.intake.snmp import (
    SYS_UPTIME,
    TRAP_COMMUNITY,
    TRAP_OID,
    Trap,
    VarBind,
    Version,
)

ENTERPRISE = "1.3.6.1.4.1.3183.1.1"
VARBIND = "1.3.6.1.4.1.3183.1.1.1"
SEVERITY_OK = 0x04
CALM = (0x01, 0x02, SEVERITY_OK)
"""Severities that tell of no fault: monitor, information, OK."""
PRESENCE_SENSOR = 0x27
"""LAN: a PET of it is the BMC saying that it lives."""


class DecodedTrap(msgspec.Struct, frozen=True, kw_only=True):
    """A trap in words and numbers; the object `trap` of `clptrap decode --json`.

    What the sender left unspecified is None.
    """

    format: str
    """`pet` or `generic`."""
    version: str | None = None
    oid: str = ""
    specific: int | None = None
    sensor_type: int | None = None
    event_type: int | None = None
    assertion: bool | None = None
    offset: int | None = None
    severity: int | None = None
    guid: str | None = None
    sequence: int | None = None
    timestamp: str | None = None
    """The BMC's local time, with a zone only where it gave its offset."""
    utc_offset: int | None = None
    """Minutes, as sent; its sign is not sure with every vendor."""
    trap_source: int | None = None
    event_source: int | None = None
    sensor_device: int | None = None
    sensor: int | None = None
    entity: tuple[int, int] | None = None
    event_data: str | None = None
    language: int | None = None
    manufacturer: int | None = None
    system: int | None = None
    oem: str | None = None
    event_class: EventClass
    clears: EventClass | None = None
    meaning: str
    row: str = ""
    """What decided the class: a row's id, or `severity 20h`."""
    profile: str = ""
    """The profile that the row came from."""
    closes: tuple[int, ...] = ()
    """CLEAR: offsets of the same sensor and event type that are closed."""
    fault_key: str = ""
    """Of a trap that is no PET: identity of the fault, where a family of traps knows it."""
    fault_closes: tuple[str, ...] = ()
    """The same of all faults that it ends, where these are more than its own."""
    own_watchdog: bool = False
    """It tells of the BMC's timer, which this cluster itself may have armed."""
    opens: int | None = None
    """The deassertion of a good state: the offset under which the fault is open."""
    number: int | None = None
    """A trap number of which it is in doubt whether it tells of a fault or of an end.  As a fault
    it has a key of its own, which only the same number ends."""
    said_origin: str = ""
    """agent-addr or snmpTrapAddress: what the trap says of its origin, never trusted."""
    varbinds: tuple[tuple[str, str], ...] = ()
    """Of a generic trap: its own variables, OID and value."""
    quirks: tuple[str, ...] = ()

    @property
    def hint(self) -> str:
        """Where no row knows it: what in `clp.toml` gives it a class; else empty."""
        if self.row or self.event_class is not EventClass.UNKNOWN:
            return ""
        name = f"specific {self.specific}" if self.format == "pet" else f"oid {self.oid}"
        if name in ("specific None", "oid "):
            return ""
        return f'[[trap_profile]]: rows = {{ "{name}" = "ERROR" }}'

    @property
    def presence(self) -> bool:
        """Whether it only says that the BMC is there: for the BMC heartbeat, not for recovery."""
        return (
            self.format == "pet"
            and self.sensor_type == PRESENCE_SENSOR
            and self.event_class is EventClass.INFO
            and self.offset != 0
        )

    @property
    def key(self) -> str:
        """Identity of the fault: what a deassertion of the same event closes."""
        if self.format != "pet":
            return self.fault_key or f"oid/{self.oid}"
        if self.closes:
            return self.key_of(self.closes[0])
        if self.number is not None and self.event_class is not EventClass.CLEAR:
            return self._key(f"specific {self.number}")
        return self.key_of(self.offset if self.opens is None else self.opens)

    @property
    def closed(self) -> tuple[str, ...]:
        """Every key that it closes, where that is more than `key` alone."""
        if self.fault_closes:
            return self.fault_closes
        keys = tuple(self.key_of(offset) for offset in self.closes)
        if self.number is None or self.event_class is not EventClass.CLEAR:
            return keys
        return (*(keys or (self.key,)), self._key(f"specific {self.number}"))

    @property
    def fault(self) -> str:
        """What it speaks of: the states of a generic event type exclude each other, so that
        they are one thing; thresholds and sensor-specific events stand side by side."""
        if self.number is None and self.event_type is not None and 2 <= self.event_type <= 0x0C:
            return self.key_of(None)
        return self.key

    def key_of(self, offset: int | None) -> str:
        """The key of another offset of the same sensor and event type."""
        return self._key(row_id(self.sensor_type, self.event_type, offset))

    def _key(self, event: str) -> str:
        device = "--" if self.sensor_device is None else f"{self.sensor_device:02X}"
        sensor = "--" if self.sensor is None else f"{self.sensor:02X}"
        entity = "-" if self.entity is None else f"{self.entity[0]}.{self.entity[1]}"
        return f"pet/{device}.{sensor}/{entity}/{event}"


def is_pet(trap: Trap) -> bool:
    """Whether it is a PET, by its name or, where that is unusable, by its octets."""
    return _named(trap) or any(
        len(bind.value) >= SHORTEST and _is_pet_varbind(bind) for bind in trap.varbinds
    )


def decode_trap(trap: Trap, table: ClassTable, now: float) -> DecodedTrap:
    """A notification in words.  `now`: wall clock in Unix seconds, for the BMC's odd clocks."""
    if not is_pet(trap):
        return _generic(trap, table)
    octets = next((bind.value for bind in trap.varbinds if _is_pet_varbind(bind)), None)
    decoded = decode_pet(trap.specific if _named(trap) else None, octets, table, now)
    return msgspec.structs.replace(
        decoded,
        version=str(trap.version),
        oid=trap.oid,
        said_origin=trap.agent_address,
        quirks=trap.quirks + decoded.quirks,
    )


def decode_pet(
    specific: int | None, octets: bytes | None, table: ClassTable, now: float
) -> DecodedTrap:
    """A PET from its specific-trap number (None: unusable) and its octets (None: not given)."""
    quirks: list[str] = []
    fields = Fields(octets, table, now, quirks)
    number = _number(specific, fields, table, quirks)
    if specific is None and octets is not None:
        quirks.append("no usable specific trap: offset from the event data")
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
    # A fault must not be taken for the end of one: where the number is in doubt, only a severity
    # that is calm may say that something ended.
    dubious = (
        doubtful
        and exact is None
        and (deasserted or (row is not None and row.event_class is EventClass.CLEAR))
    )
    misread = dubious and fields.severity not in CALM
    if misread:
        quirks.append(f"doubtful trap number {specific}: it ends nothing, its severity decides")
        row, deasserted = None, False
    told = _classify(
        _Event(fields.manufacturer, sensor_type, event_type, offset),
        row,
        fields.severity,
        table,
        deasserted,
    )
    meaning = ""
    if exact:
        meaning = table.meaning(fields.manufacturer, (exact.id,)) or exact.meaning
    if misread:
        meaning = _thing(sensor_type, fields, table) + f": unreadable event {specific}"
    elif not meaning:
        meaning = _meaning(sensor_type, event_type, offset, fields, table, row)
        if deasserted:
            thing, colon, text = meaning.partition(": ")
            lost = told.event_class is not EventClass.CLEAR
            meaning = f"{thing}{colon}no longer {text}" if lost else f"{meaning} (cleared)"
    return DecodedTrap(
        format="pet",
        specific=specific,
        sensor_type=sensor_type,
        event_type=event_type,
        assertion=None if specific is None or misread else not number.deasserted,
        offset=offset,
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
        meaning=meaning,
        row=row.id if row else f"severity {fields.severity:02X}h" if fields.severity else "",
        profile=row.profile if row else "",
        closes=told.closes,
        opens=told.opens,
        number=specific if dubious else None,
        quirks=tuple(quirks),
    )


def duplicate_key(trap: Trap, decoded: DecodedTrap, source: str) -> str:
    """Equal for resends of one trap; empty where that cannot be told.

    A PET is known by GUID, sequence and timestamp (an unacknowledged BMC sends it again and
    again), a notification of v2c or v3 by its request id.  There are BMCs that count nothing: what
    a trap says belongs to its key as well, and one that has neither id nor time has none.
    """
    if decoded.format == "pet":
        if decoded.guid is None or (decoded.sequence is None and decoded.timestamp is None):
            return ""
        said = hashlib.blake2b(octets_of(trap), digest_size=8).hexdigest()
        return f"{decoded.guid}/{decoded.sequence}/{decoded.timestamp}/{trap.specific}/{said}"
    if trap.version is Version.V1 or not trap.request_id or not (trap.inform or trap.uptime):
        return ""
    said = hashlib.blake2b(trap.varbind_bytes, digest_size=8).hexdigest()
    return f"{source}/{trap.request_id}/{trap.uptime}/{trap.oid}/{said}"


def octets_of(trap: Trap) -> bytes:
    """The octets of a PET; empty: it has none."""
    return next((bind.value for bind in trap.varbinds if _is_pet_varbind(bind)), b"")


def journal_varbinds(trap: Trap) -> tuple[tuple[str, str], ...]:
    """The variables as the journal keeps them; the community, where a proxy added it, never."""
    return _texts(trap, _SECRET)


_SECRET = frozenset((TRAP_COMMUNITY,))
_NOT_SHOWN = frozenset((TRAP_COMMUNITY, SYS_UPTIME, TRAP_OID))


def _texts(trap: Trap, but: frozenset[str]) -> tuple[tuple[str, str], ...]:
    return tuple([(b.oid, b.text()[:4096]) for b in trap.varbinds if b.oid not in but])


def _named(trap: Trap) -> bool:
    """Whether its name is a PET's.  A coldStart of the same agent only shares the enterprise."""
    return trap.specific is not None and (
        trap.enterprise == ENTERPRISE or trap.oid.startswith(ENTERPRISE + ".")
    )


def _is_pet_varbind(bind: VarBind) -> bool:
    return bind.tag == ber.OCTETS and (bind.oid == VARBIND or bind.oid.startswith(VARBIND + "."))


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


class _Number(NamedTuple):
    """A trap number, read (PET specification 1.0, section 4)."""

    sensor_type: int | None = None
    event_type: int | None = None
    offset: int | None = None
    deasserted: bool = False
    doubtful: bool = False
    """It departs from the specification in a way that nobody knows the meaning of."""
    coded: bool = False
    """The offset is the maker's code, and fills the last byte."""


def _number(specific: int | None, fields: Fields, table: ClassTable, quirks: list[str]) -> _Number:
    if specific is None:
        return _Number()
    if specific >> 24:
        quirks.append(f"specific trap {specific} is wider than 24 bits: not used")
        return _Number(doubtful=True)
    spelling = table.spelling(fields.manufacturer)
    meant = spelling.numbers.get(specific, specific)
    departures = _departures(meant, table)
    guessed = False
    if meant != specific:
        quirks.append(f"trap number {specific} is read as {meant}, as its maker means it")
    elif departures and specific >> 12 in spelling.shifted:
        # Direction and reserved bits are left out; only the offset follows the event type.
        whole = specific >> 4 << 8 | specific & 0x0F
        if not _departures(whole, table):
            quirks.append(f"trap number {specific} is shifted by a nibble: read as {whole}")
            meant, departures, guessed = whole, (), True
    sensor_type = meant >> 16
    event_type = meant >> 8 & 0x7F or None
    if sensor_type in spelling.coded:
        return _Number(sensor_type, event_type, meant & 0xFF, coded=True)
    quirks += departures
    bit_15 = bool(meant & 0x8000)
    if bit_15:
        quirks.append("deassertion in bit 15 of the specific trap")
    return _Number(
        sensor_type or None,
        event_type,
        None if meant & 0x0F == 0x0F else meant & 0x0F,
        deasserted=bit_15 or bool(meant & 0x80),
        # No maker's table has a shifted number that is an end.
        doubtful=guessed or bool(departures),
    )


def _departures(number: int, table: ClassTable) -> Sequence[str]:
    """In what a trap number is unlike any that the specification, or bit 15, allows."""
    sensor_type, event_type, offset = number >> 16, number >> 8 & 0xFF, number & 0x0F
    if event_type == 0x6F and not number & 0x70 and not 0x2C < sensor_type < 0xC0:
        return ()  # nearly all
    event_type &= 0x7F
    bit_15 = number & 0x8000
    found: list[str] = []
    if 0x0C < event_type < 0x6F:
        found.append(f"event type {event_type:02X}h is none: the trap number may be shifted")
    elif bit_15 and not (1 <= event_type <= 0x0C or event_type == 0x6F):
        found.append(f"bit 15 with event type {event_type:02X}h: the trap number may be swapped")
    elif offset != 0x0F and offset >= len(table.names.events.get(event_type, range(0x10))):
        found.append(f"event type {event_type:02X}h has no offset {offset:X}h")
    if 0x2C < sensor_type < 0xC0:
        found.append(f"sensor type {sensor_type:02X}h is none")
    if number & 0x70:
        found.append(f"reserved bits in the specific trap {number}")
    return found


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
    """CLEAR: the class that it ends, where that is one."""
    closes: tuple[int, ...] = ()
    """CLEAR: the offsets that it ends, where that is not its own alone."""
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
        # States of a generic event type exclude each other: OK ends whichever was open.  Those of
        # a sensor-specific one stand side by side: OK ends its own.
        offset = event.offset
        if offset is None or event.event_type is None or event.event_type > 0x0C:
            return _Told(EventClass.CLEAR, named)
        others = (other for other in range(0x0C) if other != offset)
        return _Told(EventClass.CLEAR, named, (offset, *others))
    return _Told(told)


def _good_state(
    event: _Event, row: Row, severity: int | None, table: ClassTable, deasserted: bool
) -> _Told:
    """A state that ends others: asserted it is their end, deasserted it is the first of them."""
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
    """What the sensor is of."""
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
        row = None  # what a variable calls a test, or over, no row makes a fault again
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
        varbinds=_texts(trap, _NOT_SHOWN),
        quirks=trap.quirks,
    )
