"""UDP payloads of a packet capture, for `clptrap decode --pcap`.

libpcap's classic format (pcap-savefile(5)) and pcapng's packet blocks, over Ethernet, Linux
cooked capture and raw IP.  What is no whole UDP datagram is passed over.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

import msgspec

LONGEST_FRAME = 262_144
"""tcpdump's own bound."""

_LINK_HEADERS = {1: 14, 113: 16, 276: 20, 101: 0, 228: 0, 229: 0, 12: 0, 0: 4}
"""Link type -> bytes before the IP header."""


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
        # A fragment cannot be decoded, and no trap is so long.
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
