"""A decoded trap, and the event that the core gets of it."""

from __future__ import annotations

import hashlib

import msgspec

from clptools.core.model.events import HardwareSeen
from clptools.core.model.words import EventClass
from clptools.intake.pet_fields import octets_of
from clptools.intake.snmp import SYS_UPTIME, TRAP_COMMUNITY, TRAP_OID, Trap, Version
from clptools.intake.trap_rows import row_id

PRESENCE_SENSOR = 0x27
"""Sensor type LAN: a PET of it only says that the BMC lives."""


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
    """Offsets of the same sensor and event type that are closed."""
    fault_key: str = ""
    """Of a trap that is no PET: identity of the fault, where a family of traps knows it."""
    fault_closes: tuple[str, ...] = ()
    """The keys of all faults that it ends, if these are more than its own."""
    own_watchdog: bool = False
    """It reports the BMC's timer, which this cluster may have armed."""
    opens: int | None = None
    """The deassertion of a good state: the offset under which the fault is open."""
    number: int | None = None
    """The trap number may mean a fault or the end of one.

    As a fault it gets a key of its own, which only the same number ends.
    """
    said_origin: str = ""
    """agent-addr or snmpTrapAddress: the origin that the trap claims, never trusted."""
    varbinds: tuple[tuple[str, str], ...] = ()
    """Of a generic trap: its own variables, OID and value."""
    quirks: tuple[str, ...] = ()

    @property
    def hint(self) -> str:
        """The row for `clp.toml` that gives it a class; empty: it has one."""
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
        if self.closes and self.event_class is EventClass.CLEAR:
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
        """Its subject.  The states of a generic event type exclude each other, so they share one;
        thresholds and sensor-specific events have one each."""
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


def duplicate_key(trap: Trap, decoded: DecodedTrap, source: str) -> str:
    """Equal for resends of one trap; empty where that cannot be told.

    A PET is identified by GUID, sequence and timestamp (a BMC resends it until it is
    acknowledged), a notification of v2c or v3 by its request id.  Some BMCs count nothing, so the
    content belongs to the key as well; a trap with neither id nor time has no key.
    """
    if decoded.format == "pet":
        if decoded.guid is None or (decoded.sequence is None and decoded.timestamp is None):
            return ""
        said = hashlib.blake2b(octets_of(trap) or b"", digest_size=8).hexdigest()
        return f"{decoded.guid}/{decoded.sequence}/{decoded.timestamp}/{trap.specific}/{said}"
    if trap.version is Version.V1 or not trap.request_id or not (trap.inform or trap.uptime):
        return ""
    said = hashlib.blake2b(trap.varbind_bytes, digest_size=8).hexdigest()
    return f"{source}/{trap.request_id}/{trap.uptime}/{trap.oid}/{said}"


def journal_varbinds(trap: Trap) -> tuple[tuple[str, str], ...]:
    """The variables as the journal keeps them, without a community that a proxy added."""
    return _texts(trap, _SECRET)


def shown_varbinds(trap: Trap) -> tuple[tuple[str, str], ...]:
    """The same without the name and the time, which are kept elsewhere."""
    return _texts(trap, _NOT_SHOWN)


_SECRET = frozenset((TRAP_COMMUNITY,))
_NOT_SHOWN = frozenset((TRAP_COMMUNITY, SYS_UPTIME, TRAP_OID))


def _texts(trap: Trap, but: frozenset[str]) -> tuple[tuple[str, str], ...]:
    return tuple([(b.oid, b.text()[:4096]) for b in trap.varbinds if b.oid not in but])


def event_of(
    monitor: str,
    trap: Trap,
    decoded: DecodedTrap,
    source: str,
    duplicate_key: str,
    prefix: str = "",
) -> HardwareSeen:
    """The core's event of a trap; `prefix` stands before the keys of its faults."""
    by_row = bool(decoded.profile)
    return HardwareSeen(
        monitor=monitor,
        key=prefix + decoded.key,
        duplicate_key=duplicate_key,
        event_class=decoded.event_class,
        # A class from the severity alone may differ between a fault and its end: then only the
        # key says what is closed.  The same holds where several states are closed.
        clears=decoded.clears.value if decoded.clears and by_row and not decoded.closed else "",
        closes=tuple(prefix + key for key in decoded.closed),
        row=decoded.row,
        own_watchdog=decoded.own_watchdog,
        meaning=decoded.meaning,
        source=source,
        varbinds=journal_varbinds(trap),
    )
