"""Recorded traps: hexadecimal, numbers from a log, packet captures.

Captures are libpcap's classic format (pcap-savefile(5)) or pcapng's packet blocks, over Ethernet,
Linux cooked capture or raw IP.  Whatever is no whole UDP datagram is skipped.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import struct
from collections.abc import Iterable, Iterator

import msgspec

from clptools.core.model.settings import Settings, SnmpUser
from clptools.faults import ClpError, ExitCode
from clptools.intake import pet, snmp
from clptools.intake.admission import DEFAULT_PORT
from clptools.intake.ber import DecodeError
from clptools.intake.class_table import ClassTable
from clptools.intake.decoded_trap import DecodedTrap
from clptools.intake.snmp import Trap, V3Message
from clptools.intake.trap_report import WouldChange, changes_by, servers_of
from clptools.intake.usm import Engine, Refused, UserKeys, Usm, read_keys
from clptools.paths import server_name, snmp_key_file

CAPTURE_BYTES = 1 << 30
_NUMBER = re.compile(r"\d{1,10}|0[xX][0-9A-Fa-f]{1,8}")
_PET_NAME = re.compile(r"\.?(?:iso|1)\.3\.6\.1\.4\.1\.3183\.1\.1\.0\.(\d{1,10})")
LONGEST_FRAME = 262_144
"""tcpdump's own bound."""

_LINK_HEADERS = {1: 14, 113: 16, 276: 20, 101: 0, 228: 0, 229: 0, 12: 0, 0: 4}
"""Link type -> bytes before the IP header."""


class RecordedTrap(msgspec.Struct, frozen=True, kw_only=True):
    """One trap, not yet decoded: a datagram, or a PET's number and octets."""

    datagram: bytes | None = None
    specific: int | None = None
    octets: bytes | None = None
    source: str = ""
    """Where it came from, if that is known."""
    fault: str = ""
    """Why it cannot be a trap; empty: it may be one."""

    def decode(self, table: ClassTable, now: float, usm: Usm | None = None) -> DecodedTrap:
        """Decodes it; `usm` opens SNMPv3.  Raises ClpError if it is no trap."""
        if self.fault:
            raise ClpError(ExitCode.FAILED, self.fault)
        if self.datagram is None:
            return pet.decode_pet(self.specific, self.octets, table, now)
        try:
            message = snmp.decode(self.datagram)
            if isinstance(message, V3Message):
                message = _opened(message, usm)
            return pet.decode_trap(message, table, now)
        except DecodeError as error:
            raise ClpError(ExitCode.FAILED, f"No trap: {error.reason}.") from None

    def changes(self, decoded: DecodedTrap, settings: Settings | None) -> tuple[WouldChange, ...]:
        """What it would change with a configuration.

        The server is the one whose BMC sent it; if that is unknown, this server; on a machine
        outside of the cluster, every server.
        """
        if settings is None:
            return ()
        servers = servers_of(settings, self.source or decoded.said_origin)
        if not servers:
            own = server_name()
            servers = (own,) if settings.server(own) is not None else settings.names
        return changes_by(decoded, settings, servers)


def of_hex(text: str) -> RecordedTrap:
    """A whole datagram in hexadecimal, with or without blanks, colons and quotes."""
    data = _bytes(text)
    return (
        RecordedTrap(fault="No trap: this is not hexadecimal.") if data is None else _datagram(data)
    )


def of_specific(number: str, octets: str | None) -> RecordedTrap:
    """A PET by its specific-trap number, and its octets if they are known."""
    if not _NUMBER.fullmatch(number.strip()):
        return RecordedTrap(fault=f"No trap: {number!r} is not a specific-trap number.")
    specific = int(number, 0) if number.strip()[:2] in ("0x", "0X") else int(number)
    if specific > 0xFFFFFFFF:
        return RecordedTrap(fault=f"No trap: {number} is wider than 32 bits.")
    data = None if octets is None else _bytes(octets)
    if octets is not None and data is None:
        return RecordedTrap(fault="No trap: the octets are not hexadecimal.")
    return RecordedTrap(specific=specific, octets=data)


def of_lines(lines: Iterable[str]) -> Iterator[RecordedTrap]:
    """One trap a line: a datagram in hexadecimal, or `SPECIFIC [OCTETS]`.

    Quoted octets may go on over several lines, and snmptrapd's own lines are understood: a PET's
    name on one, its octets on another.
    """
    named: str | None = None
    for line in _joined(lines):
        name = _PET_NAME.search(line)
        if name:
            if named is not None:
                yield of_specific(named, None)
            named = name.group(1)
            continue
        if "3183.1.1.1 " in line and '"' in line:
            yield of_specific(named or "0", line.partition('"')[2])
            named = None
            continue
        if re.match(r"\s*\.?(?:iso|1)\.3\.6\.", line) or not line.strip():
            continue
        if named is not None:
            yield of_specific(named, None)
            named = None
        yield _of_line(line)
    if named is not None:
        yield of_specific(named, None)


def of_capture(capture: bytes) -> Iterator[RecordedTrap]:
    """The traps of a packet capture: all datagrams to the trap port, and other readable traps."""
    try:
        for datagram in datagrams(capture):
            found = msgspec.structs.replace(_datagram(datagram.payload), source=datagram.source)
            if datagram.target_port == DEFAULT_PORT or _is_trap(datagram.payload):
                yield found
    except ValueError as error:
        raise ClpError(ExitCode.FAILED, f"No capture: {error}.") from None


def _of_line(line: str) -> RecordedTrap:
    data = _bytes(line)
    if data is not None and _is_message(data):
        return _datagram(data)
    first, _, rest = line.strip().partition(" ")
    if _NUMBER.fullmatch(first):
        return of_specific(first, rest if rest.strip() else None)
    return of_hex(line)


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Joins lines until each open quote is closed."""
    held = ""
    for line in lines:
        held += line
        if held.count('"') % 2 and len(held) < 4 * snmp.MESSAGE_BYTES:
            continue
        yield held
        held = ""
    if held:
        yield held


def _bytes(text: str) -> bytes | None:
    digits = re.sub(r"[\s:\"',]|\b0[xX]", "", text)
    try:
        return bytes.fromhex(digits) if digits else None
    except ValueError:
        return None


def _opened(message: V3Message, usm: Usm | None) -> Trap:
    user = message.user.decode("ascii", "backslashreplace")
    if not message.encrypted:
        return snmp.decode_scoped(message.payload, user, message.quirks)
    if usm is None:
        raise ClpError(
            ExitCode.FAILED,
            f"An SNMPv3 message of user {user}, encrypted: the keys to read it are not here.",
            "They are read from snmp/USER for each [[monitor.snmpv3_user]], as root.",
        )
    try:
        return usm.read(message)
    except Refused as refused:
        raise ClpError(ExitCode.FAILED, f"{refused.text}.") from None


def users_here(settings: Settings | None) -> Usm | None:
    """Opens SNMPv3 messages with the keys of configured users that can be read here."""
    users = {u.user: u for m in settings.monitors for u in m.snmpv3_users} if settings else {}
    found: list[tuple[SnmpUser, UserKeys]] = []
    for user in users.values():
        with contextlib.suppress(ClpError):
            found.append((user, read_keys(snmp_key_file(user.user))))
    return Usm(found, Engine(id=b"", boots=0, started_ms=0)) if found else None


def _datagram(data: bytes) -> RecordedTrap:
    return RecordedTrap(datagram=data)


def _is_message(data: bytes) -> bool:
    """Whether it looks like a whole SNMP message; no line with a PET's number does."""
    return len(data) > 20 and data[0] == 0x30


def _is_trap(data: bytes) -> bool:
    try:
        snmp.decode(data)
    except DecodeError:
        return False
    return True


class Datagram(msgspec.Struct, frozen=True, kw_only=True):
    """One UDP datagram."""

    source: str
    target_port: int
    payload: bytes


def datagrams(capture: bytes) -> Iterator[Datagram]:
    """The UDP datagrams of a capture, in its order.  Raises ValueError if it is none."""
    magic = capture[:4]
    if magic == b"\x0a\x0d\x0d\x0a":
        frames = _pcapng(capture)
    elif magic in (b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d"):
        frames = _pcap(capture, ">")
    elif magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        frames = _pcap(capture, "<")
    else:
        raise ValueError("neither a pcap nor a pcapng file")
    for link, frame in frames:
        found = _udp(link, frame)
        if found is not None:
            yield found


def _pcap(capture: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    if len(capture) < 24:
        raise ValueError("the capture is cut off in its header")
    link = struct.unpack_from(order + "I", capture, 20)[0] & 0xFFFF
    at = 24
    while at + 16 <= len(capture):
        size: int = struct.unpack_from(order + "I", capture, at + 8)[0]
        if size > LONGEST_FRAME:
            raise ValueError(f"a frame of {size} bytes: the capture is damaged")
        yield link, capture[at + 16 : at + 16 + size]
        at += 16 + size


def _pcapng(capture: bytes) -> Iterator[tuple[int, bytes]]:
    order = "<" if capture[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
    links: list[int] = []
    at = 0
    while at + 12 <= len(capture):
        kind, size = struct.unpack_from(order + "II", capture, at)
        if size < 12 or at + size > len(capture):
            return
        if kind == 1 and size >= 20:
            links.append(struct.unpack_from(order + "H", capture, at + 8)[0])
        elif kind == 6 and size >= 32:
            number, _, _, length = struct.unpack_from(order + "IIII", capture, at + 8)
            if number < len(links):
                yield links[number], capture[at + 28 : at + 28 + min(length, size - 32)]
        elif kind == 3 and links:
            yield links[0], capture[at + 12 : at + size - 4]
        at += size


def _udp(link: int, frame: bytes) -> Datagram | None:
    if link not in _LINK_HEADERS:
        return None
    packet = frame[_LINK_HEADERS[link] :]
    if link == 1 and frame[12:14] == b"\x81\x00":
        packet = packet[4:]
    if len(packet) < 28:
        return None
    if packet[0] >> 4 == 4:
        header = (packet[0] & 0x0F) * 4
        # A fragment cannot be decoded, and no trap is long enough to be one.
        if packet[9] != 17 or int.from_bytes(packet[6:8], "big") & 0x3FFF:
            return None
        source = str(ipaddress.IPv4Address(packet[12:16]))
    elif packet[0] >> 4 == 6 and len(packet) >= 48 and packet[6] == 17:
        header = 40
        source = str(ipaddress.IPv6Address(packet[8:24]))
    else:
        return None
    if len(packet) < header + 8:
        return None
    _, port, size = struct.unpack_from(">HHH", packet, header)
    payload = packet[header + 8 : header + size]
    return Datagram(source=source, target_port=port, payload=payload)
