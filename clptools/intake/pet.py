"""Platform Event Traps: what a BMC says, read from the trap number and its octets.

PET specification 1.0 and IPMI 2.0 (tables 17-7, 42-2, 42-3), with the departures that BMCs in the
field are known for; each one that was met is named in `quirks`, none makes a trap unreadable.
A trap that is no PET is told here too, as `generic`, by rows keyed on its OID.
"""

from __future__ import annotations

import msgspec

from clptools.core.model.words import EventClass
from clptools.intake import ber
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
    said_origin: str = ""
    """agent-addr or snmpTrapAddress: what the trap says of its origin, never trusted."""
    varbinds: tuple[tuple[str, str], ...] = ()
    """Of a generic trap: its own variables, OID and value."""
    quirks: tuple[str, ...] = ()

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
            return f"oid/{self.oid}"
        return self.key_of(self.closes[0] if self.closes else self.offset)

    @property
    def fault(self) -> str:
        """What it speaks of: the states of a generic event type exclude each other, so that
        they are one thing; thresholds and sensor-specific events stand side by side."""
        if self.event_type is not None and 0x02 <= self.event_type <= 0x0C:
            return self.key_of(None)
        return self.key

    def key_of(self, offset: int | None) -> str:
        """The key of another offset of the same sensor and event type."""
        device = "--" if self.sensor_device is None else f"{self.sensor_device:02X}"
        sensor = "--" if self.sensor is None else f"{self.sensor:02X}"
        entity = "-" if self.entity is None else f"{self.entity[0]}.{self.entity[1]}"
        event = row_id(self.sensor_type, self.event_type, offset)
        return f"pet/{device}.{sensor}/{entity}/{event}"


def is_pet(trap: Trap) -> bool:
    """Whether it is a PET, by its name or, where that is unusable, by its octets."""
    return _named(trap) or any(
        _is_pet_varbind(bind) and len(bind.value) >= SHORTEST for bind in trap.varbinds
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
    sensor_type = event_type = offset = None
    deasserted = False
    if specific is not None and specific >> 24:
        quirks.append(f"specific trap {specific} is wider than 24 bits: not used")
    elif specific is not None:
        sensor_type = specific >> 16 & 0xFF or None
        event_type = specific >> 8 & 0xFF or None
        deasserted = bool(specific & 0x80)
        offset = None if specific & 0x0F == 0x0F else specific & 0x0F
        if event_type is not None and event_type & 0x80:
            quirks.append("deassertion in bit 15 of the specific trap")
            deasserted = True
            event_type = event_type & 0x7F or None
        if event_type is not None and 0x0C < event_type < 0x6F:
            # Shifted by a nibble, as one vendor sends some: then the bits that would say which
            # way it went say something else, and only the severity can be believed.
            quirks.append(f"event type {event_type:02X}h is none: the trap number may be shifted")
            deasserted = False
        if specific & 0x70:
            quirks.append(f"reserved bits in the specific trap {specific}")
    elif octets is not None:
        quirks.append("no usable specific trap: offset from the event data")
    unnamed = sensor_type is None and event_type is None
    if fields.data_offset is not None and not (specific == 0 and fields.sensor is None):
        if offset is None or (unnamed and specific != 0):
            offset = fields.data_offset
        elif offset != fields.data_offset:
            quirks.append(f"offset {offset:X}h, but {fields.data_offset:X}h in the event data")

    exact = _exact_row(specific, unnamed, fields, table)
    row = exact or (
        None if offset is None else table.row(fields.manufacturer, sensor_type, event_type, offset)
    )
    event_class, clears, closes = _classify(
        row, fields.severity, table, deasserted and exact is None, event_type, offset
    )
    meaning = ""
    if exact:
        meaning = table.meaning(fields.manufacturer, (exact.id,)) or exact.meaning
    if not meaning:
        meaning = _meaning(sensor_type, event_type, offset, fields, table)
        if deasserted and exact is None:
            meaning += " (cleared)"
    return DecodedTrap(
        format="pet",
        specific=specific,
        sensor_type=sensor_type,
        event_type=event_type,
        assertion=None if specific is None else not deasserted,
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
        event_class=event_class,
        clears=clears,
        meaning=meaning,
        row=row.id if row else f"severity {fields.severity:02X}h" if fields.severity else "",
        profile=row.profile if row else "",
        closes=closes,
        quirks=tuple(quirks),
    )


def duplicate_key(trap: Trap, decoded: DecodedTrap, source: str) -> str:
    """Equal for resends of one trap; empty where that cannot be told.

    A PET is known by GUID, sequence and timestamp (an unacknowledged BMC sends it again and
    again); a BMC that counts from one after a reset is told apart by the event itself.
    """
    if decoded.format == "pet":
        if decoded.guid is None or (decoded.sequence is None and decoded.timestamp is None):
            return ""
        return f"{decoded.guid}/{decoded.sequence}/{decoded.timestamp}/{trap.specific}"
    if trap.version is Version.V1:
        return ""
    return f"{source}/{trap.request_id}/{trap.uptime}/{trap.oid}" if trap.request_id else ""


def journal_varbinds(trap: Trap) -> tuple[tuple[str, str], ...]:
    """The variables as the journal keeps them; the community, where a proxy added it, never."""
    return tuple((b.oid, b.text()[:4096]) for b in trap.varbinds if b.oid != TRAP_COMMUNITY)


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


def _classify(
    row: Row | None,
    severity: int | None,
    table: ClassTable,
    deasserted: bool,
    event_type: int | None,
    offset: int | None,
) -> tuple[EventClass, EventClass | None, tuple[int, ...]]:
    """Class, what a CLEAR clears, and the offsets it closes beside its own."""
    told = row.event_class if row else table.severity_class(severity)
    named = None if told in (EventClass.UNKNOWN, EventClass.CLEAR) else told
    if deasserted:
        return EventClass.CLEAR, named, ()
    if row and told is EventClass.CLEAR:
        closed = {
            r.event_class
            for r in (table.row(None, None, event_type, offset) for offset in row.closes)
            if r
        }
        return EventClass.CLEAR, closed.pop() if len(closed) == 1 else None, row.closes
    if severity == SEVERITY_OK and not (row and row.id.startswith("specific ")):
        # States of a generic event type exclude each other: OK ends whichever was open.  Those of
        # a sensor-specific one stand side by side: OK ends its own.
        if offset is None or event_type is None or event_type > 0x0C:
            return EventClass.CLEAR, named, ()
        others = (other for other in range(0x0C) if other != offset)
        return EventClass.CLEAR, named, (offset, *others)
    return told, None, ()


def _meaning(
    sensor_type: int | None,
    event_type: int | None,
    offset: int | None,
    fields: Fields,
    table: ClassTable,
) -> str:
    names = table.names
    if offset is not None:
        told = table.event_meaning(fields.manufacturer, sensor_type, event_type, offset)
        if told:
            return told
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


def _generic(trap: Trap, table: ClassTable) -> DecodedTrap:
    row = table.exact(None, f"oid {trap.oid}")
    event_class = row.event_class if row else EventClass.UNKNOWN
    meaning = table.meaning(None, (f"oid {trap.oid}",)) or f"trap {trap.oid or 'without a name'}"
    variables = tuple(v for v in journal_varbinds(trap) if v[0] not in (SYS_UPTIME, TRAP_OID))
    return DecodedTrap(
        format="generic",
        version=str(trap.version),
        oid=trap.oid,
        specific=trap.specific,
        event_class=event_class,
        meaning=meaning,
        row=row.id if row else "",
        profile=row.profile if row else "",
        said_origin=trap.agent_address,
        varbinds=variables,
        quirks=trap.quirks,
    )
