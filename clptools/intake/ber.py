"""BER as SNMP uses it (X.690, RFC 3417 section 8): a bounded reader and a small writer.

Every byte comes from the network and is hostile until proven otherwise: definite lengths only,
no recursion, no allocation that a length field decides.  Anything unexpected raises
`DecodeError`; any other exception is a bug.
"""

from __future__ import annotations

from functools import lru_cache

INTEGER = 0x02
OCTETS = 0x04
OID = 0x06
SEQUENCE = 0x30
IP_ADDRESS = 0x40
COUNTER32 = 0x41
GAUGE32 = 0x42
TIME_TICKS = 0x43
COUNTER64 = 0x46

UNSIGNED = frozenset({COUNTER32, GAUGE32, TIME_TICKS, COUNTER64})

OID_BYTES = 512
"""Bytes of an OID: in practice even 128 arcs, the limit of SMIv2, need fewer."""


class DecodeError(Exception):
    """The bytes are not what they claim to be; `reason` names the first thing that is wrong."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """The element at `at`: (tag, start of content, end of content), all within `end`."""
    if at + 2 > end:
        raise DecodeError(f"cut off at byte {at}")
    tag = data[at]
    if tag & 0x1F == 0x1F:
        raise DecodeError(f"tag of several bytes at byte {at}")
    length = data[at + 1]
    start = at + 2
    if length >= 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4:
            raise DecodeError(f"length of unusable form at byte {at + 1}")
        if start + octets > end:
            raise DecodeError(f"cut off at byte {start}")
        length = int.from_bytes(data[start : start + octets], "big")
        start += octets
    stop = start + length
    if stop > end:
        raise DecodeError(f"element at byte {at} is longer than what holds it")
    return tag, start, stop


def expect(data: bytes, at: int, end: int, tag: int, what: str) -> tuple[int, int]:
    """Bounds of the content of the element at `at`, which must carry `tag`."""
    found, start, stop = read(data, at, end)
    if found != tag:
        raise DecodeError(f"{what}: tag {found:02X}h instead of {tag:02X}h")
    return start, stop


def read_integer(data: bytes, at: int, end: int, what: str) -> tuple[int, int]:
    """The INTEGER at `at` and where the next element begins."""
    start, stop = expect(data, at, end, INTEGER, what)
    return integer_value(data[start:stop]), stop


def read_octets(data: bytes, at: int, end: int, what: str, limit: int) -> tuple[bytes, int]:
    """The OCTET STRING at `at`, at most `limit` bytes, and where the next element begins."""
    start, stop = expect(data, at, end, OCTETS, what)
    if stop - start > limit:
        raise DecodeError(f"{what}: {stop - start} bytes, at most {limit}")
    return data[start:stop], stop


def integer_value(content: bytes) -> int:
    """The signed value of an INTEGER's content."""
    if not 1 <= len(content) <= 9:
        raise DecodeError(f"integer of {len(content)} bytes")
    return int.from_bytes(content, "big", signed=True)


def unsigned_value(content: bytes) -> int:
    """The value of a Counter, Gauge or TimeTicks; some agents leave out the leading zero."""
    if not 1 <= len(content) <= 9:
        raise DecodeError(f"integer of {len(content)} bytes")
    return int.from_bytes(content, "big")


def oid_value(content: bytes) -> str:
    """An OBJECT IDENTIFIER's content as dotted text."""
    if not 1 <= len(content) <= OID_BYTES:
        raise DecodeError(f"object identifier of {len(content)} bytes")
    arcs: list[int] = []
    value = 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if value > 0xFFFFFFFF + 80:
            raise DecodeError("object identifier with an arc above 32 bits")
        if byte < 0x80:
            arcs.append(value)
            value = 0
    if content[-1] >= 0x80:
        raise DecodeError("object identifier is cut off")
    head = min(arcs[0] // 40, 2)
    return ".".join(map(str, (head, arcs[0] - 40 * head, *arcs[1:])))


@lru_cache(maxsize=4_096)
def known_oid(content: bytes) -> str:
    """The same, remembered: a BMC names its few hundred variables again and again."""
    return oid_value(content)


def element(tag: int, *parts: bytes) -> bytes:
    """An element of that tag around its content."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of ready elements."""
    return element(SEQUENCE, *parts)


def integer(value: int, tag: int = INTEGER) -> bytes:
    """An INTEGER (or an unsigned type, by `tag`) in its shortest form."""
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return element(tag, value.to_bytes(size, "big", signed=True))


def octets(value: bytes) -> bytes:
    """An OCTET STRING."""
    return element(OCTETS, value)


def oid(text: str) -> bytes:
    """An OBJECT IDENTIFIER from dotted text."""
    arcs = [int(arc) for arc in text.strip(".").split(".")]
    content = bytearray()
    for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        content += bytes(reversed(groups))
    return element(OID, bytes(content))
