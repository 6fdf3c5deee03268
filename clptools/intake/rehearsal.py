"""Traps made here: PETs of any class for rehearsal, tests and the demonstration.

A rehearsal trap comes from a foreign address.  It is admitted because one of its varbinds proves
the cluster's authkey: version, moment of issue, a nonce, and an HMAC-SHA-256 over these,
the server it is for and the trap itself.  It is shown and counted, and never recovers.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import cache

import msgspec

from clptools.core.model.words import EventClass
from clptools.intake import ber, snmp
from clptools.intake.class_table import ClassTable
from clptools.intake.pet_fields import ENTERPRISE, EPOCH, VARBIND
from clptools.intake.snmp import Trap, Version

REHEARSAL_OID = "1.3.6.1.4.1.8072.9999.9999.29002.1"
"""Below net-snmp's arc for private experiments: no BMC sends it."""
TOKEN = 1 + 8 + 16 + 32
VALID_MS = 300_000
"""How far sender's and receiver's wall clocks may be apart."""
NONCES = 4_096

_EXAMPLES = {
    EventClass.FATAL: "07h/6F/0",
    EventClass.ERROR: "0Dh/6F/1",
    EventClass.PREDICT: "0Dh/6F/2",
    EventClass.PERFORMANCE: "07h/6F/A",
    EventClass.REDUNDANCY: "08h/0B/1",
    EventClass.INFO: "10h/6F/2",
    EventClass.UNKNOWN: "C0h/70/0",
}
"""A plain example of each class; CLEAR is the deassertion of one of them."""
_SEVERITY = {
    EventClass.FATAL: 0x20,
    EventClass.ERROR: 0x10,
    EventClass.PREDICT: 0x08,
    EventClass.PERFORMANCE: 0x08,
    EventClass.REDUNDANCY: 0x08,
    EventClass.INFO: 0x02,
    EventClass.UNKNOWN: 0x00,
}
_SENSOR_ENTITY = {0x07: 0x03, 0x08: 0x0A, 0x0C: 0x08, 0x0D: 0x04, 0x04: 0x1D, 0x09: 0x13}


class PetEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a PET; the defaults are those of an ordinary BMC."""

    specific: int
    severity: int = 0x10
    guid: bytes = bytes.fromhex("636c70746f6f6c734245414d42414d31")
    sequence: int = 1
    unix_time: float = 0.0
    """When it happened; 0: the BMC does not know."""
    utc_offset: int | None = None
    sensor_device: int = 0x20
    sensor: int = 0x30
    entity: tuple[int, int] = (0, 0)
    event_data: bytes | None = None
    """Up to eight bytes; None: the offset, the rest unspecified."""
    manufacturer: int = 0
    system: int = 0
    oem: bytes = b"\xc1"

    def octets(self) -> bytes:
        """The octets of the PET's varbind."""
        seconds = max(0, int(self.unix_time) - EPOCH) if self.unix_time else 0
        data = self.event_data
        if data is None:
            data = bytes((self.specific & 0x0F, 0xFF, 0xFF))
        offset = b"\xff\xff"
        if self.utc_offset is not None:
            offset = self.utc_offset.to_bytes(2, "big", signed=True)
        return b"".join(
            (
                self.guid,
                self.sequence.to_bytes(2, "big"),
                seconds.to_bytes(4, "big"),
                offset,
                bytes((0x20, 0x20, self.severity, self.sensor_device, self.sensor)),
                bytes(self.entity),
                data[:8].ljust(8, b"\0"),
                b"\x19",
                self.manufacturer.to_bytes(4, "big"),
                self.system.to_bytes(2, "big"),
                self.oem,
            )
        )


@cache
def _shipped() -> ClassTable:
    return ClassTable()


def pet_event(
    wanted: str, *, deasserted: bool = False, sequence: int = 1, unix_time: float = 0.0
) -> PetEvent:
    """A PET event of a class (`FATAL`, ...) or of a row (`0Dh/6F/2`); CLEAR ends a FATAL one.

    Raises ValueError, with a plain sentence, for anything else.
    """
    name = wanted.upper()
    if name == EventClass.CLEAR:
        name, deasserted = EventClass.FATAL, True
    row = _EXAMPLES[EventClass(name)] if name in _EXAMPLES else wanted
    found = re.fullmatch(r"([0-9A-F]{2})H?/([0-9A-F]{2})/([0-9A-F])", row.upper())
    if not found:
        classes = ", ".join(EventClass)
        raise ValueError(f'"{wanted}" is neither a class ({classes}) nor an event like 0Dh/6F/2')
    sensor_type, event_type, offset = (int(part, 16) for part in found.groups())
    specific = sensor_type << 16 | event_type << 8 | (0x80 if deasserted else 0) | offset
    known = _shipped().row(None, sensor_type, event_type, offset)
    event_class = known.event_class if known else EventClass.UNKNOWN
    return PetEvent(
        specific=specific,
        severity=0x04 if deasserted else _SEVERITY.get(event_class, 0x02),
        sequence=sequence,
        unix_time=unix_time,
        entity=(_SENSOR_ENTITY.get(sensor_type, 0x07), 1),
    )


def build_pet_trap(
    event: PetEvent,
    *,
    version: Version = Version.V2C,
    community: str = "public",
    agent_address: str = "0.0.0.0",
    request_id: int = 1,
    uptime: int = 0,
    inform: bool = False,
    extra: bytes = b"",
) -> bytes:
    """A whole SNMP v1 or v2c datagram with that PET; `extra`: more varbinds, ready.

    Raises ValueError for v3, whose messages need a user's keys, and for a v1 INFORM.
    """
    pet = snmp.varbind(VARBIND, ber.octets(event.octets()))
    if version is Version.V1 and not inform:
        return ber.sequence(
            ber.integer(0),
            ber.octets(community.encode()),
            ber.element(
                snmp.V1_TRAP,
                ber.oid(ENTERPRISE),
                ber.element(ber.IP_ADDRESS, bytes(map(int, agent_address.split(".")))),
                ber.integer(6),
                ber.integer(event.specific),
                ber.integer(uptime, ber.TIME_TICKS),
                ber.sequence(pet, extra),
            ),
        )
    if version is not Version.V2C:
        raise ValueError(f"no PET in SNMP v{version} is made here")
    binds = (
        snmp.varbind(snmp.SYS_UPTIME, ber.integer(uptime, ber.TIME_TICKS)),
        snmp.varbind(snmp.TRAP_OID, ber.oid(f"{ENTERPRISE}.0.{event.specific}")),
        pet,
        extra,
    )
    return ber.sequence(
        ber.integer(1),
        ber.octets(community.encode()),
        snmp.pdu(snmp.INFORM if inform else snmp.V2_TRAP, request_id, b"".join(binds)),
    )


def build_rehearsal(
    event: PetEvent,
    *,
    authkey: bytes,
    server: str,
    nonce: bytes,
    issued_ms: int,
    community: str = "public",
    request_id: int = 1,
) -> bytes:
    """A rehearsal trap for `server`, as an INFORM: the answer says that it was taken.

    `nonce`: 16 bytes from the system's random source; `issued_ms`: wall clock.
    """
    head = b"\x01" + issued_ms.to_bytes(8, "big") + nonce
    mac = _mac(authkey, server, head, event.specific, event.octets())
    return build_pet_trap(
        event,
        community=community,
        inform=True,
        request_id=request_id,
        extra=snmp.varbind(REHEARSAL_OID, ber.octets(head + mac)),
    )


def is_answer(data: bytes, request_id: int) -> bool:
    """Whether a datagram is the answer to the INFORM of that id."""
    try:
        at, end = ber.expect(data, 0, len(data), ber.SEQUENCE, "message")
        at = ber.read(data, at, end)[2]
        at = ber.read(data, at, end)[2]
        at, end = ber.expect(data, at, end, snmp.RESPONSE, "answer")
        return ber.read_integer(data, at, end, "request id")[0] == request_id
    except ber.DecodeError:
        return False


def is_rehearsal(trap: Trap) -> bool:
    """Whether it claims to be a rehearsal trap; then it is never taken for a real one."""
    return any(bind.oid == REHEARSAL_OID for bind in trap.varbinds)


class RehearsalGate:
    """Checks rehearsal traps for one server; remembers nonces, so that none is used twice.

    Traps from before this gate opened are refused: nonces of an earlier run are forgotten.
    """

    def __init__(self, keys: tuple[bytes, ...], server: str, opened_ms: int) -> None:
        """`keys`: the authkeys that count."""
        self.keys = keys
        self._server = server
        self._opened_ms = opened_ms
        self._nonces: dict[bytes, int] = {}

    def fault(self, trap: Trap, wall_ms: int) -> str:
        """Why the trap is refused; empty: admitted, and its nonce is spent."""
        token = next((b.value for b in trap.varbinds if b.oid == REHEARSAL_OID), b"")
        pet = next((b.value for b in trap.varbinds if b.oid == VARBIND), b"")
        if len(token) != TOKEN or token[0] != 1 or not self.keys:
            return "unreadable proof"
        head, mac = token[:25], token[25:]
        specific = trap.specific or 0
        macs = (_mac(key, self._server, head, specific, pet) for key in self.keys)
        if not any(hmac.compare_digest(mac, expected) for expected in macs):
            return "wrong authkey, or meant for another server"
        issued = int.from_bytes(head[1:9], "big")
        if abs(wall_ms - issued) > VALID_MS:
            return "issued too long ago, or the clocks differ"
        if issued < self._opened_ms:
            return "issued before the agent started"
        nonce = head[9:]
        if nonce in self._nonces:
            return "its nonce was used before"
        if len(self._nonces) >= NONCES:
            self._nonces = {n: at for n, at in self._nonces.items() if wall_ms - at <= VALID_MS}
            if len(self._nonces) >= NONCES:
                return "too many rehearsals"
        self._nonces[nonce] = issued
        return ""


def _mac(authkey: bytes, server: str, head: bytes, specific: int, octets: bytes) -> bytes:
    key = hmac.digest(authkey, b"clptools rehearsal trap 1", hashlib.sha256)
    name = server.encode()
    text = head + len(name).to_bytes(2, "big") + name + specific.to_bytes(4, "big") + octets
    return hmac.digest(key, text, hashlib.sha256)
