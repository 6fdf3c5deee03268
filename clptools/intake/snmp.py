"""SNMP notifications: v1 traps, v2c and v3 traps and INFORMs, from bytes and back.

RFC 1157 (v1), 3416 (PDUs), 3412 (v3 header), 3584 (how a v1 trap is named in v2 words).
`usm` does the security of v3; this module finds the parts and reads the decrypted payload.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum

import msgspec

from clptools.intake import ber
from clptools.intake.ber import DecodeError

MESSAGE_BYTES = 16_384
"""The longest datagram that is read; a PET takes 200 bytes, vendors' traps 1,500."""
VARBINDS = 128
COMMUNITY_BYTES = 255

V1_TRAP, V2_TRAP, INFORM, RESPONSE, REPORT = 0xA4, 0xA7, 0xA6, 0xA2, 0xA8

SYS_UPTIME = "1.3.6.1.2.1.1.3.0"
TRAP_OID = "1.3.6.1.6.3.1.1.4.1.0"
TRAP_ENTERPRISE = "1.3.6.1.6.3.1.1.4.3.0"
TRAP_ADDRESS = "1.3.6.1.6.3.18.1.3.0"
TRAP_COMMUNITY = "1.3.6.1.6.3.18.1.4.0"
STANDARD_TRAPS = "1.3.6.1.6.3.1.1.5"
_VENDORS = "1.3.6.1.4."


class Version(StrEnum):
    """The version of the message that carried a notification."""

    V1 = "1"
    V2C = "2c"
    V3 = "3"


class VarBind(msgspec.Struct, frozen=True, kw_only=True):
    """One variable of a notification, its value as it came."""

    oid: str
    tag: int
    value: bytes

    def number(self) -> int | None:
        """The value if it is a number, else None."""
        try:
            if self.tag == ber.INTEGER:
                return ber.integer_value(self.value)
            if self.tag in ber.UNSIGNED:
                return ber.unsigned_value(self.value)
        except DecodeError:
            return None
        return None

    def text(self) -> str:
        """The value as a person or a journal reads it; octets as text only if all printable."""
        if self.tag == ber.OCTETS:
            value = self.value
            if value and value.isascii() and (text := value.decode("ascii")).isprintable():
                return text
            return value.hex()
        number = self.number()
        if number is not None:
            return str(number)
        try:
            if self.tag == ber.OID:
                return ber.known_oid(self.value)
        except DecodeError:
            return self.value.hex()
        if self.tag == ber.IP_ADDRESS and len(self.value) == 4:
            return str(ipaddress.IPv4Address(self.value))
        return self.value.hex()


class Trap(msgspec.Struct, frozen=True, kw_only=True):
    """One notification, of whatever version, in the words of RFC 3584."""

    version: Version
    inform: bool = False
    community: bytes = b""
    user: str = ""
    """v3: the USM user whose key the message proved."""
    request_id: int = 0
    uptime: int = 0
    """The sender's clock, hundredths of a second."""
    oid: str
    """What happened (snmpTrapOID)."""
    enterprise: str = ""
    specific: int | None = None
    """v1's specific-trap, or the last arc of a v2 name below an enterprise."""
    agent_address: str = ""
    """The origin that the message claims (v1 agent-addr, snmpTrapAddress): shown, not trusted."""
    varbinds: tuple[VarBind, ...] = ()
    varbind_bytes: bytes = b""
    """The variable bindings as they came: the answer to an INFORM repeats them."""
    context_engine: bytes = b""
    context_name: bytes = b""
    quirks: tuple[str, ...] = ()


class V3Message(msgspec.Struct, frozen=True, kw_only=True):
    """A v3 message, taken apart but not yet believed (RFC 3412 section 6, RFC 3414 section 2.4)."""

    raw: bytes
    id: int
    flags: int
    engine: bytes
    boots: int
    time: int
    user: bytes
    auth_at: int
    """Where in `raw` the authentication parameters lie."""
    auth: bytes
    priv: bytes
    payload: bytes
    """The scoped PDU, encrypted if `encrypted`."""
    quirks: tuple[str, ...] = ()

    @property
    def authenticated(self) -> bool:
        """Whether it claims authentication."""
        return bool(self.flags & 1)

    @property
    def encrypted(self) -> bool:
        """Whether its payload is encrypted."""
        return bool(self.flags & 2)

    @property
    def reportable(self) -> bool:
        """Whether the sender wants a Report of what is wrong."""
        return bool(self.flags & 4)


def decode(data: bytes) -> Trap | V3Message:
    """A datagram as a notification, or as a v3 message for `usm.py`.

    Raises DecodeError for anything else.  Bytes after the message are tolerated, as in every other
    receiver, and named in `quirks`.
    """
    if len(data) > MESSAGE_BYTES:
        raise DecodeError(f"{len(data)} bytes, at most {MESSAGE_BYTES}")
    at, end = ber.expect(data, 0, len(data), ber.SEQUENCE, "message")
    quirks = (f"{len(data) - end} bytes behind the message",) if end < len(data) else ()
    version, at = ber.read_integer(data, at, end, "version")
    if version == 3:
        return _v3(data, at, end, quirks)
    if version not in (0, 1):
        raise DecodeError(f"SNMP version {version}")
    community, at = ber.read_octets(data, at, end, "community", COMMUNITY_BYTES)
    return _notification(
        data,
        at,
        end,
        Version.V2C if version else Version.V1,
        community=community,
        quirks=quirks,
    )


def decode_scoped(scoped: bytes, user: str, quirks: tuple[str, ...] = ()) -> Trap:
    """The notification in a v3 message's plain scoped PDU.  Raises DecodeError."""
    at, end = ber.expect(scoped, 0, len(scoped), ber.SEQUENCE, "scoped PDU")
    engine, at = ber.read_octets(scoped, at, end, "context engine", 64)
    name, at = ber.read_octets(scoped, at, end, "context name", 255)
    return _notification(
        scoped, at, end, Version.V3, user=user, engine=engine, name=name, quirks=quirks
    )


def request_id_of(scoped: bytes) -> int:
    """The request id in a plain scoped PDU of any kind (a discovery is a Get); 0 if unreadable."""
    try:
        at, end = ber.expect(scoped, 0, len(scoped), ber.SEQUENCE, "scoped PDU")
        at = ber.read(scoped, at, end)[2]
        at = ber.read(scoped, at, end)[2]
        _, start, stop = ber.read(scoped, at, end)
        return ber.read_integer(scoped, start, stop, "request id")[0]
    except DecodeError:
        return 0


def response(trap: Trap) -> bytes:
    """The answer to a v2c INFORM."""
    return ber.sequence(
        ber.integer(0 if trap.version is Version.V1 else 1),
        ber.octets(trap.community),
        response_pdu(trap),
    )


def response_pdu(trap: Trap) -> bytes:
    """The Response PDU to an INFORM: its id and its variables again, no error."""
    return pdu(RESPONSE, trap.request_id, trap.varbind_bytes)


def pdu(tag: int, request_id: int, varbind_bytes: bytes) -> bytes:
    """A PDU of RFC 3416 with error status 0."""
    return ber.element(
        tag,
        ber.integer(request_id),
        ber.integer(0),
        ber.integer(0),
        ber.sequence(varbind_bytes),
    )


def varbind(oid: str, value: bytes) -> bytes:
    """One variable binding; `value` is a ready element."""
    return ber.sequence(ber.oid(oid), value)


def _v3(data: bytes, at: int, end: int, quirks: tuple[str, ...]) -> V3Message:
    header, header_end = ber.expect(data, at, end, ber.SEQUENCE, "v3 header")
    msg_id, header = ber.read_integer(data, header, header_end, "message id")
    _, header = ber.read_integer(data, header, header_end, "maximum size")
    flags, header = ber.read_octets(data, header, header_end, "flags", 1)
    model, header = ber.read_integer(data, header, header_end, "security model")
    if not flags or model != 3:
        raise DecodeError(f"security model {model}, not USM")
    outer, outer_end = ber.expect(data, header_end, end, ber.OCTETS, "security parameters")
    part, part_end = ber.expect(data, outer, outer_end, ber.SEQUENCE, "security parameters")
    engine, part = ber.read_octets(data, part, part_end, "engine id", 32)
    boots, part = ber.read_integer(data, part, part_end, "engine boots")
    time, part = ber.read_integer(data, part, part_end, "engine time")
    user, part = ber.read_octets(data, part, part_end, "user name", 32)
    auth_at, auth_end = ber.expect(data, part, part_end, ber.OCTETS, "authentication")
    priv, _ = ber.read_octets(data, auth_end, part_end, "privacy parameters", 8)
    if auth_end - auth_at > 48:
        raise DecodeError(f"authentication: {auth_end - auth_at} bytes, at most 48")
    if not (0 <= boots <= 0x7FFFFFFF and 0 <= time <= 0x7FFFFFFF):
        raise DecodeError("engine boots or time out of range")
    tag, start, stop = ber.read(data, outer_end, end)
    encrypted = bool(flags[0] & 2)
    if tag != (ber.OCTETS if encrypted else ber.SEQUENCE):
        raise DecodeError(f"payload: tag {tag:02X}h does not fit the flags")
    return V3Message(
        raw=data[:end],
        id=msg_id,
        flags=flags[0],
        engine=engine,
        boots=boots,
        time=time,
        user=user,
        auth_at=auth_at,
        auth=data[auth_at:auth_end],
        priv=priv,
        payload=data[start:stop] if encrypted else data[outer_end:stop],
        quirks=quirks,
    )


def _notification(
    data: bytes,
    at: int,
    end: int,
    version: Version,
    *,
    community: bytes = b"",
    user: str = "",
    engine: bytes = b"",
    name: bytes = b"",
    quirks: tuple[str, ...] = (),
) -> Trap:
    tag, at, stop = ber.read(data, at, end)
    if tag == V1_TRAP:
        if version is not Version.V1:
            quirks += (f"v1 trap PDU in a v{version} message",)
        found = _v1_pdu(data, at, stop)
    elif tag in (V2_TRAP, INFORM):
        if version is Version.V1:
            quirks += ("v2 trap PDU in a v1 message",)
        found = _v2_pdu(data, at, stop, tag == INFORM)
    else:
        raise DecodeError(f"PDU {tag:02X}h is no trap")
    return msgspec.structs.replace(
        found,
        version=version,
        community=community,
        user=user,
        context_engine=engine,
        context_name=name,
        quirks=quirks + found.quirks,
    )


def _v1_pdu(data: bytes, at: int, end: int) -> Trap:
    start, at = ber.expect(data, at, end, ber.OID, "enterprise")
    enterprise = ber.oid_value(data[start:at])
    start, at = ber.expect(data, at, end, ber.IP_ADDRESS, "agent address")
    agent = data[start:at]
    generic, at = ber.read_integer(data, at, end, "generic trap")
    specific, at = ber.read_integer(data, at, end, "specific trap")
    start, at = ber.expect(data, at, end, ber.TIME_TICKS, "time stamp")
    uptime = ber.unsigned_value(data[start:at])
    # Some firmware encodes numbers above 2^31 as negative: specific-trap is 32 bits wide.
    specific &= 0xFFFFFFFF
    own = not 0 <= generic <= 5
    quirks: tuple[str, ...] = ()
    if own and enterprise.endswith(".0"):
        # RFC 3584, section 3.1: the 0 of a v2 name does not belong to the enterprise.
        quirks = ("enterprise with the 0 of a v2 name",)
        enterprise = enterprise.removesuffix(".0")
    varbinds, raw = _varbinds(data, at, end)
    return Trap(
        version=Version.V1,
        uptime=uptime,
        oid=f"{enterprise}.0.{specific}" if own else f"{STANDARD_TRAPS}.{generic + 1}",
        enterprise=enterprise,
        specific=specific if own else None,
        agent_address=_address(agent),
        varbinds=varbinds,
        varbind_bytes=raw,
        quirks=quirks,
    )


def _v2_pdu(data: bytes, at: int, end: int, inform: bool) -> Trap:
    request_id, at = ber.read_integer(data, at, end, "request id")
    _, at = ber.read_integer(data, at, end, "error status")
    _, at = ber.read_integer(data, at, end, "error index")
    varbinds, raw = _varbinds(data, at, end)
    name = enterprise = address = ""
    uptime = 0
    for bind in varbinds:
        if bind.oid.startswith(_VENDORS):
            continue
        if bind.oid == TRAP_OID and bind.tag == ber.OID:
            name = name or ber.known_oid(bind.value)
        elif bind.oid == TRAP_ENTERPRISE and bind.tag == ber.OID:
            enterprise = ber.oid_value(bind.value)
        elif bind.oid == TRAP_ADDRESS and bind.tag == ber.IP_ADDRESS:
            address = _address(bind.value)
        elif bind.oid == SYS_UPTIME:
            uptime = bind.number() or 0
    quirks = () if name else ("no snmpTrapOID",)
    head, _, last = name.rpartition(".")
    specific = None if not name or head == STANDARD_TRAPS else int(last)
    return Trap(
        version=Version.V2C,
        inform=inform,
        request_id=request_id,
        uptime=uptime,
        oid=name,
        enterprise=enterprise or head.removesuffix(".0"),
        specific=specific,
        agent_address=address,
        varbinds=varbinds,
        varbind_bytes=raw,
        quirks=quirks,
    )


def _varbinds(data: bytes, at: int, end: int) -> tuple[tuple[VarBind, ...], bytes]:
    at, end = ber.expect(data, at, end, ber.SEQUENCE, "variable bindings")
    raw = data[at:end]
    found: list[VarBind] = []
    while at < end:
        if len(found) == VARBINDS:
            raise DecodeError(f"more than {VARBINDS} variable bindings")
        at, bind = _short(data, at, end) or _varbind(data, at, end)
        found.append(bind)
    return tuple(found), raw


def _varbind(data: bytes, at: int, end: int) -> tuple[int, VarBind]:
    start, stop = ber.expect(data, at, end, ber.SEQUENCE, "variable binding")
    name, name_end = ber.expect(data, start, stop, ber.OID, "name of a variable")
    tag, value, value_end = ber.read(data, name_end, stop)
    oid = ber.known_oid(data[name:name_end])
    return stop, VarBind(oid=oid, tag=tag, value=data[value:value_end])


def _short(data: bytes, at: int, end: int) -> tuple[int, VarBind] | None:
    """The same for lengths of one byte each, the usual case; None: another form."""
    name = at + 4
    if name > end or data[at] != ber.SEQUENCE or data[at + 2] != ber.OID:
        return None
    name_end = name + data[at + 3]
    stop = at + 2 + data[at + 1]
    if data[at + 1] | data[at + 3] > 0x7F or not name_end + 2 <= stop <= end:
        return None
    tag, size = data[name_end], data[name_end + 1]
    value = name_end + 2
    if size > 0x7F or value + size > stop or tag & 0x1F == 0x1F:
        return None
    oid = ber.known_oid(data[name:name_end])
    return stop, VarBind(oid=oid, tag=tag, value=data[value : value + size])


def _address(content: bytes) -> str:
    return str(ipaddress.IPv4Address(content)) if len(content) == 4 else ""
