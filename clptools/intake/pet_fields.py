"""A PET's trap number and octets, also where BMCs in the field depart from the standard.

Sources: PET specification 1.0; IPMI 2.0, tables 17-7, 42-2 and 42-3.  Each departure that is met is
named in `quirks`; none makes a PET unreadable.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from clptools.intake import ber
from clptools.intake.class_table import ClassTable
from clptools.intake.snmp import Trap, VarBind

SHORTEST, LONGEST = 47, 110

EPOCH = 883_612_800
"""1998-01-01 00:00:00 UTC in Unix time: where PET's clock begins."""
DAY = 86_400
MAKERS = 0xFFFFF
"""The highest number of a maker: IPMI has 20 bits for it (IPMI 2.0, table 20-2)."""

ENTERPRISE = "1.3.6.1.4.1.3183.1.1"
VARBIND = "1.3.6.1.4.1.3183.1.1.1"


class Fields:
    """The octets of a PET; what is unspecified or cut off is None."""

    def __init__(
        self, octets: bytes | None, table: ClassTable, now: float, quirks: list[str]
    ) -> None:
        data = octets or b""
        if octets is not None and len(data) < SHORTEST:
            quirks.append(f"{len(data)} octets, at least {SHORTEST}: the rest is unspecified")
        elif len(data) > LONGEST:
            quirks.append(f"{len(data)} octets, at most {LONGEST}: the rest is ignored")
        size = len(data)
        data = data[:LONGEST].ljust(SHORTEST, b"\0")

        def octet(at: int, *unspecified: int) -> int | None:
            return data[at] if at < size and data[at] not in unspecified else None

        def pair(at: int) -> int | None:
            return int.from_bytes(data[at : at + 2], "big") or None

        self.guid = str(uuid.UUID(bytes=data[:16])) if any(data[:16]) else None
        self.sequence = pair(16)
        self.utc_offset = _utc_offset(data[22:24]) if size >= 24 else None
        self.timestamp = _timestamp(
            int.from_bytes(data[18:22], "big"), self.utc_offset, now, quirks
        )
        self.trap_source = octet(24, 0xFF)
        self.event_source = octet(25, 0xFF)
        self.severity = octet(26, 0)
        if self.severity == 0xFF:
            self.severity = None
        elif self.severity is not None and self.severity > 0x3F:
            quirks.append(f"severity {self.severity:02X}h: only the bits that there are count")
            self.severity = self.severity & 0x3F or None
        if self.severity is not None and self.severity & self.severity - 1:
            worst = 1 << self.severity.bit_length() - 1
            quirks.append(f"severity {self.severity:02X}h: the worst of it, {worst:02X}h, is used")
            self.severity = worst
        self.sensor_device = octet(27, 0xFF)
        self.sensor = octet(28, 0, 0xFF)
        self.entity = (data[29], data[30]) if size > 30 and data[29] else None
        blank = all(byte in (0, 0xFF) for byte in data[31:39])
        self.blank = blank
        """Whether the event data are all unspecified."""
        self.event_data: str | None = data[31:34].hex()
        self.data_offset: int | None = data[31] & 0x0F
        if size < 34 or data[31] == 0xFF or (blank and self.sensor is None):
            self.event_data = None
            self.data_offset = None
        elif data[31] & 0x0F == 0x0F:
            self.data_offset = None
        self.language = octet(39, 0xFF)
        self.manufacturer = _manufacturer(data[40:44], table, quirks)
        self.system = pair(44)
        self.oem = _oem(data[46:], quirks)


def _utc_offset(two: bytes) -> int | None:
    minutes = int.from_bytes(two, "big", signed=True)
    return None if minutes == -1 else minutes


def _timestamp(seconds: int, utc_offset: int | None, now: float, quirks: list[str]) -> str | None:
    if not seconds:
        return None
    moment = EPOCH + seconds
    if moment > now + DAY and seconds <= now + DAY:
        quirks.append("time stamp counts from 1970, not 1998")
        moment = seconds
    text = datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    if utc_offset is None:
        return text
    if abs(utc_offset) > 14 * 60:
        quirks.append(f"UTC offset of {utc_offset} minutes: not used")
        return text
    hours, minutes = divmod(abs(utc_offset), 60)
    return f"{text}{'-' if utc_offset < 0 else '+'}{hours:02}:{minutes:02}"


def _manufacturer(four: bytes, table: ClassTable, quirks: list[str]) -> int | None:
    known = table.names.manufacturers
    big = int.from_bytes(four, "big")
    little = int.from_bytes(four, "little")
    words = int.from_bytes(bytes((four[1], four[0], four[3], four[2])), "big")
    if four in (b"\xff" * 4, b"\0\xff\xff\xff"):
        return None
    if big in known:
        return big
    if little in known or (big > MAKERS >= little):
        quirks.append("manufacturer in little-endian order")
        return little
    if words in known:
        quirks.append("manufacturer with the bytes of each word swapped")
        return words
    return big or None


def _oem(rest: bytes, quirks: list[str]) -> str | None:
    """The OEM fields as text: type/length coded as in a FRU, or raw, as some BMCs send them."""
    if not rest or not rest.strip(b"\0") or rest[0] == 0xC1:
        return None
    fields: list[str] = []
    at = 0
    while at < len(rest) and rest[at] != 0xC1:
        kind, length = rest[at] >> 6, rest[at] & 0x3F
        part = rest[at + 1 : at + 1 + length]
        if len(part) < length or (kind == 3 and not _printable(part)):
            break
        if part:
            fields.append(part.decode("ascii") if _printable(part) else part.hex())
        at += 1 + length
    else:
        if fields or at < len(rest):
            return "; ".join(fields) or None
    raw = rest.split(b"\xc1")[0].rstrip(b"\0")
    quirks.append("OEM field is not type/length coded")
    return raw.decode("ascii") if _printable(raw) else raw.hex() or None


def _printable(data: bytes) -> bool:
    return all(32 <= byte < 127 for byte in data)


def has_pet_name(trap: Trap) -> bool:
    """Whether its name is a PET's.  A coldStart of the same agent only shares the enterprise."""
    return trap.specific is not None and (
        trap.enterprise == ENTERPRISE or trap.oid.startswith(ENTERPRISE + ".")
    )


def has_pet_octets(trap: Trap) -> bool:
    """Whether it carries a PET's octets, whatever its name."""
    return any(len(bind.value) >= SHORTEST and _is_pet_varbind(bind) for bind in trap.varbinds)


def octets_of(trap: Trap) -> bytes | None:
    """The octets of a PET; None: it has none."""
    for bind in trap.varbinds:
        if _is_pet_varbind(bind):
            return bind.value
    return None


def _is_pet_varbind(bind: VarBind) -> bool:
    return bind.tag == ber.OCTETS and (bind.oid == VARBIND or bind.oid.startswith(VARBIND + "."))


class Number(NamedTuple):
    """A trap number, read (PET specification 1.0, section 4)."""

    sensor_type: int | None = None
    event_type: int | None = None
    offset: int | None = None
    deasserted: bool = False
    doubtful: bool = False
    """It departs from the specification in an unknown way."""
    coded: bool = False
    """The offset is the maker's code, and fills the last byte."""


def read_number(
    specific: int | None, fields: Fields, table: ClassTable, quirks: list[str]
) -> Number:
    if specific is None:
        return Number()
    if specific >> 24:
        quirks.append(f"specific trap {specific} is wider than 24 bits: not used")
        return Number(doubtful=True)
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
        return Number(sensor_type, event_type, meant & 0xFF, coded=True)
    quirks += departures
    bit_15 = bool(meant & 0x8000)
    if bit_15:
        quirks.append("deassertion in bit 15 of the specific trap")
    return Number(
        sensor_type or None,
        event_type,
        None if meant & 0x0F == 0x0F else meant & 0x0F,
        deasserted=bit_15 or bool(meant & 0x80),
        # No maker's table has a shifted number that is an end.
        doubtful=guessed or bool(departures),
    )


def _departures(number: int, table: ClassTable) -> Sequence[str]:
    """How a trap number departs from what the specification, or bit 15, allows."""
    sensor_type, event_type, offset = number >> 16, number >> 8 & 0xFF, number & 0x0F
    if event_type == 0x6F and not number & 0x70 and not 0x2C < sensor_type < 0xC0:
        return ()  # the usual case
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
