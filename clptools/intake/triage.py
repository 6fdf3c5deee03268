"""Triage of datagrams: which may wait, and the queue of those that do.

In a storm the fatal trap must be found before all others are read, and with it every trap that a
monitor recovers on.  A first look costs a tenth of decoding: a plain PET in the common encoding is
recognised by its fixed bytes, and its class is remembered by what decides it in the class table; a
trap that is no PET is recognised by its name.  Whatever is not recognised is read in full at once.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from typing import Generic, TypeVar

from clptools.core.model.words import EventClass
from clptools.intake import ber, pet, pet_fields
from clptools.intake.class_table import ClassTable
from clptools.intake.decoded_trap import DecodedTrap
from clptools.intake.families import vendor_of
from clptools.intake.pet_fields import SHORTEST
from clptools.intake.rehearsal import REHEARSAL_OID
from clptools.intake.snmp import STANDARD_TRAPS, SYS_UPTIME, TRAP_OID

LONGEST = 1_500
"""Longer datagrams never wait, as thousands may wait in memory."""
KNOWN_VERDICTS = 4_096
"""Verdicts remembered; if a sender invents events, they are forgotten."""

_LENGTH = rb"(?:[\x00-\x7f]|\x81.|\x82..)"
_INTEGER = rb"(?:\x01.|\x02..|\x03.{3}|\x04.{4}|\x05.{5})"
_PET = ber.oid(pet_fields.ENTERPRISE)[2:]
_OCTETS = b"".join(
    (
        rb"\x30",
        _LENGTH,
        re.escape(ber.oid(pet_fields.VARBIND)),
        rb"\x04(?P<octets>[",
        bytes((SHORTEST,)),
        rb"-\x7f])",
    )
)
_V1 = re.compile(
    b"".join(
        (
            rb"\xa4", _LENGTH, re.escape(ber.oid(pet_fields.ENTERPRISE)), rb"\x40\x04.{4}",
            rb"\x02\x01\x06\x02(?P<number>", _INTEGER, rb")\x43", _INTEGER,
            rb"\x30", _LENGTH, _OCTETS,
        )
    ),
    re.DOTALL,
)  # fmt: skip
_V1_OTHER = re.compile(
    b"".join(
        (
            rb"\xa4", _LENGTH, rb"\x06(.)(.{1,127}?)\x40\x04.{4}\x02\x01([\x00-\x06])",
            rb"\x02(", _INTEGER, rb")\x43",
        )
    ),
    re.DOTALL,
)  # fmt: skip
_V2_OTHER = re.compile(
    b"".join(
        (
            rb"[\xa6\xa7]", _LENGTH, rb"\x02", _INTEGER, rb"\x02\x01\x00\x02\x01\x00\x30", _LENGTH,
            rb"\x30", _LENGTH, re.escape(ber.oid(SYS_UPTIME)), rb"\x43", _INTEGER,
            rb"\x30", _LENGTH, re.escape(ber.oid(TRAP_OID)), rb"\x06([\x01-\x7f])",
        )
    ),
    re.DOTALL,
)  # fmt: skip
_V2 = re.compile(
    b"".join(
        (
            rb"[\xa6\xa7]", _LENGTH, rb"\x02", _INTEGER, rb"\x02\x01\x00\x02\x01\x00\x30", _LENGTH,
            rb"\x30", _LENGTH, re.escape(ber.oid(SYS_UPTIME)), rb"\x43", _INTEGER,
            rb"\x30", _LENGTH, re.escape(ber.oid(TRAP_OID)), rb"\x06(?P<name>.)", re.escape(_PET),
            rb"\x00(?P<number>[\x80-\xff]{0,4}[\x00-\x7f])", _OCTETS,
        )
    ),
    re.DOTALL,
)  # fmt: skip
_REHEARSAL = ber.oid(REHEARSAL_OID)
_PET_VARBIND = ber.oid(pet_fields.VARBIND)[2:]
_STANDARD = ber.oid(STANDARD_TRAPS)[2:]
_OTHER = b"oid "
_KIN = b"kin "
"""Traps of one vendor's families: one may end what another opened."""
_PADDED = re.compile(rb"(?:^|[\x00-\x7f])\x80")
_MANUFACTURER = slice(40, 44)
_SENSOR = slice(27, 31)
"""Sensor device, sensor and entity among the octets (IPMI 2.0, table 17-7)."""
_EVENT_DATA = slice(31, 39)

MOST = 4_096
"""Datagrams that wait, of all sensors."""
MOST_OF_ONE = 256
"""For each sensor: the newest give its state, and a fatal trap waits for those before it."""

Item = TypeVar("Item")


class Triage:
    """Decides by one class table which datagrams may wait."""

    def __init__(self, table: ClassTable, grave: frozenset[str]) -> None:
        """`grave`: the classes that may not wait."""
        self._table = table
        self._grave = grave
        self._known: dict[tuple[bytes, int, bool, int, bool, bytes], bool] = {}
        self._ends = grave | {EventClass.CLEAR.value}
        self._kin: dict[bytes, bytes | None] = {}
        """Names of traps that are no PETs -> key of their order; None: may not wait."""
        self._grave_names = frozenset(
            ber.oid(name)[2:] for name, told in table.named() if told in grave or told == "CLEAR"
        )
        """Names, as encoded, of traps that are no PETs and may not wait."""

    def waits(self, data: bytes, now: float) -> bytes | None:
        """The sensor of a trap that may wait; None: read it in full now.

        It may wait if it is neither grave nor the end of what may be grave.  Traps of one fault
        have the same sensor (`sensor_of`): their order is to be kept.  `now`: wall clock.
        """
        if not SHORTEST < len(data) <= LONGEST:
            return None
        at = 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)
        version = data[at : at + 4]
        if version == b"\x02\x01\x01\x04":
            pattern = _V2
        elif version == b"\x02\x01\x00\x04":
            pattern = _V1
        else:
            return None
        # A community of 128 bytes or more has a longer length field: no match.
        at += 5 + int.from_bytes(data[at + 4 : at + 5])
        found = pattern.match(data, at)
        if found is None:
            return self._other(data, at, pattern is _V1)
        number, size = found["number"], found["octets"][0]
        octets, rest = data[found.end() : found.end() + size], data[found.end() + size :]
        if len(octets) != size or (rest and _REHEARSAL in rest):
            return None
        if pattern is _V2 and found["name"][0] != len(_PET) + 1 + len(number):
            return None
        sensor = octets[_SENSOR]
        key = (
            number,
            octets[26],
            sensor[1] in (0, 0xFF),
            octets[31],
            not octets[_EVENT_DATA].strip(b"\x00\xff"),
            octets[_MANUFACTURER],
        )
        waits = self._known.get(key)
        if waits is None:
            if len(self._known) >= KNOWN_VERDICTS:
                self._known.clear()
            waits = self._known[key] = self._may_wait(pattern is _V1, number, octets, now)
        return _plain(sensor) if waits else None

    def _other(self, data: bytes, at: int, v1: bool) -> bytes | None:
        """The same of a trap that is no PET; its name stands for the sensor."""
        if _PET_VARBIND in data or _REHEARSAL in data:
            return None
        name = _v1_name(data, at) if v1 else _v2_name(data, at)
        # Padded arcs give one name several encodings: such a trap does not wait.
        if not name or name.startswith(_PET) or _PADDED.search(name) or name in self._grave_names:
            return None
        if name not in self._kin:
            if len(self._kin) >= KNOWN_VERDICTS:
                self._kin.clear()
            self._kin[name] = self._kin_of(name)
        return self._kin[name]

    def _kin_of(self, name: bytes) -> bytes | None:
        families = self._table.families
        try:
            oid = ber.oid_value(name)
        except ber.DecodeError:
            return None
        kin = families.kin(oid)
        if not kin:
            return _OTHER + name
        return None if families.may_be(oid, self._ends) else _KIN + kin.encode()

    def _may_wait(self, v1: bool, number: bytes, octets: bytes, now: float) -> bool:
        decoded = pet.decode_pet(_specific(v1, number), octets, self._table, now)
        return not (is_grave(decoded, self._grave) or ends_grave(decoded, self._grave))


def is_grave(decoded: DecodedTrap, grave: frozenset[str]) -> bool:
    """Whether it is of these classes."""
    return decoded.event_class in grave


def ends_grave(decoded: DecodedTrap, grave: frozenset[str]) -> bool:
    """Whether it may end a fault of these classes."""
    ends = decoded.event_class is EventClass.CLEAR or bool(decoded.closed)
    return ends and (decoded.clears is None or decoded.clears in grave)


def sensor_of(decoded: DecodedTrap) -> bytes:
    """The sensor of a decoded trap, as `Triage.waits` returns it."""
    if decoded.fault_key:
        return _KIN + vendor_of(decoded.oid).encode()
    if decoded.format != "pet":
        return _OTHER + ber.oid(decoded.oid)[2:] if decoded.oid else b""
    device = 0xFF if decoded.sensor_device is None else decoded.sensor_device
    return _plain(bytes((device, decoded.sensor or 0, *(decoded.entity or (0, 0)))))


def _plain(sensor: bytes) -> bytes:
    """Equal for all sensors that are not fully specified, as these have several encodings."""
    return sensor if sensor[1] not in (0, 0xFF) and sensor[2] else b""


def _v1_name(data: bytes, at: int) -> bytes:
    """The name as v2 would have it (RFC 3584, section 3.1), encoded; empty: not recognised."""
    found = _V1_OTHER.match(data, at)
    if found is None or found[1][0] != len(found[2]):
        return b""
    if found[3] != b"\x06":
        return _STANDARD + bytes((found[3][0] + 1,))
    value = _specific(True, found[4])
    enterprise = found[2]
    if enterprise[-1] == 0 and enterprise[-2:-1] < b"\x80":
        enterprise = enterprise[:-1]  # as `snmp.decode` does
    arc = [value & 0x7F]
    while value := value >> 7:
        arc.append(0x80 | value & 0x7F)
    return bytes((*enterprise, 0, *reversed(arc)))


def _v2_name(data: bytes, at: int) -> bytes:
    found = _V2_OTHER.match(data, at)
    if found is None:
        return b""
    name = data[found.end() : found.end() + found[1][0]]
    return name if len(name) == found[1][0] else b""


def _specific(v1: bool, number: bytes) -> int:
    """The trap number, as `snmp.decode` reads it: v1's INTEGER or the last arc of v2's name."""
    if v1:
        return ber.integer_value(number[1:]) & 0xFFFFFFFF
    value = 0
    for byte in number:
        value = value << 7 | byte & 0x7F
    return value


class WaitingQueue(Generic[Item]):
    """Datagrams that wait for their turn; beyond `MOST`, the oldest of a sensor is shed.

    Each sensor's are judged in the order in which they came.  Sensors do not wait for one another,
    so those of one sensor can be judged before a trap of it that may not wait.
    """

    def __init__(self) -> None:
        self.count = 0
        self.hurried: set[bytes] = set()
        """Sensors of which one may not wait: their turn is next."""
        self._of: OrderedDict[bytes, deque[Item]] = OrderedDict()

    def add(self, sensor: bytes, item: Item) -> bool:
        """Takes one more; False: it, or an older one of its sensor, was shed."""
        found = self._of.get(sensor)
        full = self.count >= MOST
        if found is None:
            if full:
                return False
            found = self._of[sensor] = deque()
        room = not full and len(found) < MOST_OF_ONE
        if room:
            self.count += 1
        elif sensor in self.hurried:
            return False  # the oldest may be the one that may not wait
        else:
            found.popleft()
        found.append(item)
        return room

    def next(self) -> Item | None:
        """The one whose turn it is, or None."""
        for sensor, found in self._of.items():
            item = found.popleft()
            self.count -= 1
            if not found:
                del self._of[sensor]
                self.hurried.discard(sensor)
            return item
        return None

    def count_of(self, sensor: bytes) -> int:
        """How many wait of one sensor."""
        return len(self._of.get(sensor, ()))

    def hurry(self, sensor: bytes, item: Item) -> None:
        """Takes one that may not wait, after those that wait of its sensor: their turn is next."""
        self._of[sensor].append(item)
        self._of.move_to_end(sensor, last=False)
        self.hurried.add(sensor)
        self.count += 1

    def of(self, sensor: bytes) -> tuple[Item, ...]:
        """Removes and returns all that wait of one sensor, in order."""
        found = self._of.pop(sensor, ())
        self.hurried.discard(sensor)
        self.count -= len(found)
        return tuple(found)
