"""Traps as people have them: hexadecimal, numbers from a log, packet captures."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

import msgspec

from clptools.core.model.settings import Settings, SnmpUser
from clptools.faults import ClpError, ExitCode
from clptools.intake import pcap, pet, snmp
from clptools.intake.ber import DecodeError
from clptools.intake.match import DEFAULT_PORT
from clptools.intake.pet import DecodedTrap
from clptools.intake.profile import ClassTable
from clptools.intake.snmp import Trap, V3Message
from clptools.intake.usm import Engine, Refused, UserKeys, Usm, read_keys
from clptools.intake.would import WouldChange, servers_of, would
from clptools.paths import server_name, snmp_key_file

CAPTURE_BYTES = 1 << 30

_NUMBER = re.compile(r"\d{1,10}|0[xX][0-9A-Fa-f]{1,8}")
_PET_NAME = re.compile(r"\.?(?:iso|1)\.3\.6\.1\.4\.1\.3183\.1\.1\.0\.(\d{1,10})")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One trap, not yet decoded: a datagram, or a PET's number and octets."""

    datagram: bytes | None = None
    specific: int | None = None
    octets: bytes | None = None
    source: str = ""
    """Where it came from, if that is known."""
    fault: str = ""
    """Why it cannot be a trap; empty: it may be one."""

    def decode(self, table: ClassTable, now: float, usm: Usm | None = None) -> DecodedTrap:
        """What it is; `usm` opens SNMPv3.  Raises ClpError where it is no trap."""
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

    def would(self, decoded: DecodedTrap, settings: Settings | None) -> tuple[WouldChange, ...]:
        """What it would do with a configuration.

        The server is the one whose BMC sent it; where that is not known, this server; on a
        machine that is none of the cluster, every server.
        """
        if settings is None:
            return ()
        servers = servers_of(settings, self.source or decoded.said_origin)
        if not servers:
            own = server_name()
            servers = (own,) if settings.server(own) is not None else settings.names
        return would(decoded, settings, servers)


def of_hex(text: str) -> Reading:
    """A whole datagram in hexadecimal, with or without blanks, colons and quotes."""
    data = _bytes(text)
    return Reading(fault="No trap: this is not hexadecimal.") if data is None else _datagram(data)


def of_specific(number: str, octets: str | None) -> Reading:
    """A PET by its specific-trap number, and its octets if they are known."""
    if not _NUMBER.fullmatch(number.strip()):
        return Reading(fault=f"No trap: {number!r} is not a specific-trap number.")
    specific = int(number, 0) if number.strip()[:2] in ("0x", "0X") else int(number)
    if specific > 0xFFFFFFFF:
        return Reading(fault=f"No trap: {number} is wider than 32 bits.")
    data = None if octets is None else _bytes(octets)
    if octets is not None and data is None:
        return Reading(fault="No trap: the octets are not hexadecimal.")
    return Reading(specific=specific, octets=data)


def of_lines(lines: Iterable[str]) -> Iterator[Reading]:
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


def of_capture(capture: bytes) -> Iterator[Reading]:
    """The traps of a packet capture: all sent to the trap port, and all others that are some."""
    try:
        for datagram in pcap.datagrams(capture):
            found = msgspec.structs.replace(_datagram(datagram.payload), source=datagram.source)
            if datagram.target_port == DEFAULT_PORT or _is_trap(datagram.payload):
                yield found
    except ValueError as error:
        raise ClpError(ExitCode.FAILED, f"No capture: {error}.") from None


def _of_line(line: str) -> Reading:
    data = _bytes(line)
    if data is not None and _is_message(data):
        return _datagram(data)
    first, _, rest = line.strip().partition(" ")
    if _NUMBER.fullmatch(first):
        return of_specific(first, rest if rest.strip() else None)
    return of_hex(line)


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines, those with an open quote together with what closes it."""
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
    """What opens SNMPv3 messages: the configured users whose keys can be read here."""
    users = {u.user: u for m in settings.monitors for u in m.snmpv3_users} if settings else {}
    found: list[tuple[SnmpUser, UserKeys]] = []
    for user in users.values():
        with contextlib.suppress(ClpError):
            found.append((user, read_keys(snmp_key_file(user.user))))
    return Usm(found, Engine(id=b"", boots=0, started_ms=0)) if found else None


def _datagram(data: bytes) -> Reading:
    return Reading(datagram=data)


def _is_message(data: bytes) -> bool:
    """Whether it is a SEQUENCE as long as itself: no PET's number begins a line like that."""
    return len(data) > 20 and data[0] == 0x30


def _is_trap(data: bytes) -> bool:
    try:
        snmp.decode(data)
    except DecodeError:
        return False
    return True
