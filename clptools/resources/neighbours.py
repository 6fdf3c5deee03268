"""Frames to the neighbours on an Ethernet: announcements of an address, and probes for it.

IPv4: ARP announcements and probes (RFC 5227, sections 2.1.1 and 2.3).  IPv6: unsolicited
neighbour advertisements (RFC 4861, section 7.2.6) and, to learn who has an address, a
neighbour solicitation from the unspecified address (RFC 4862, section 5.4.2).  Frames go out on
a packet socket, so they do not depend on routes or on the address being usable yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

import msgspec

ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86DD
BROADCAST = b"\xff" * 6
ICMPV6 = 58
SOLICITATION = 135
ADVERTISEMENT = 136
OVERRIDE = 0x20000000
"""Flag of an advertisement: replace what you know (RFC 4861, section 4.4)."""
ALL_NODES = IPv6Address("ff02::1")
UNSPECIFIED = IPv6Address("::")

PROBES = 3
PROBE_SPACING_S = 0.025
"""RFC 5227 takes seconds; here only a server just proven down may have had the address, and a live
host answers within a millisecond or two."""

Address = IPv4Address | IPv6Address

SIOCGIFHWADDR = 0x8927
"""netdevice(7)."""
ARPHRD_ETHER = 1
MOST = 16
"""Most interfaces to list, in the order of their creation: those of containers come last."""

ANNOUNCE_SPACING_S = 1.0
_announcing: dict[Address, asyncio.Task[None]] = {}
"""The tasks that still announce an address; a stop ends them."""


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """The Ethernet interface to send on."""

    name: str
    mac: bytes
    """6 bytes."""


def announcements(port: Port, address: Address) -> tuple[bytes, ...]:
    """The frames that announce `address` at this interface."""
    if isinstance(address, IPv4Address):
        # Some devices learn from a request, some from a reply only.
        return (
            _arp(port.mac, 1, address, b"\0" * 6, address),
            _arp(port.mac, 2, address, BROADCAST, address),
        )
    body = struct.pack("!I16sBB6s", OVERRIDE, address.packed, 2, 1, port.mac)
    return (_icmpv6(port.mac, ADVERTISEMENT, body, address, ALL_NODES),)


def probe(port: Port, address: Address) -> bytes:
    """The frame that asks who has `address`, without claiming it."""
    if isinstance(address, IPv4Address):
        return _arp(port.mac, 1, IPv4Address(0), b"\0" * 6, address)
    node = int(address) & 0xFFFFFF
    multicast = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | node)
    body = struct.pack("!I16s", 0, address.packed)
    return _icmpv6(port.mac, SOLICITATION, body, UNSPECIFIED, multicast)


def answering_mac(frame: bytes, address: Address) -> bytes | None:
    """The MAC that this frame gives for `address`; None: it gives none."""
    if len(frame) < 42:
        return None
    kind = struct.unpack_from("!H", frame, 12)[0]
    if isinstance(address, IPv4Address):
        sender = frame[28:32]
        return frame[22:28] if kind == ETH_P_ARP and sender == address.packed else None
    if kind != ETH_P_IPV6 or len(frame) < 78 or frame[20] != ICMPV6 or frame[54] != ADVERTISEMENT:
        return None
    return frame[6:12] if frame[62:78] == address.packed else None


def mac_text(mac: bytes) -> str:
    """`00:25:90:ab:cd:ef`."""
    return mac.hex(":")


def announce(port: Port, address: Address) -> None:
    """Send the announcements once.

    Raises:
        OSError: the interface is gone or down.
    """
    with _packet_socket(port, address) as sock:
        for frame in announcements(port, address):
            sock.send(frame)


def announce_often(port: Port, address: Address, times: int) -> None:
    """Announces at once, and goes on in the background for switches that were not ready."""
    if times < 1:
        return
    with contextlib.suppress(OSError):
        announce(port, address)
    stop_announcing(address)
    if times > 1:
        _announcing[address] = asyncio.create_task(_go_on(port, address, times - 1))


def stop_announcing(address: Address) -> None:
    """Ends what `announce_often` still has to send of an address."""
    task = _announcing.pop(address, None)
    if task is not None:
        task.cancel()


async def _go_on(port: Port, address: Address, times: int) -> None:
    try:
        for _ in range(times):
            await asyncio.sleep(ANNOUNCE_SPACING_S)
            with contextlib.suppress(OSError):
                announce(port, address)
    finally:
        if _announcing.get(address) is asyncio.current_task():
            del _announcing[address]


async def holder_of(port: Port, address: Address) -> bytes | None:
    """Ask the network for `address`; the MAC that answers, or None after all probes.

    Raises:
        OSError: the interface is gone or down, or packet sockets are not permitted.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[bytes] = loop.create_future()
    with _packet_socket(port, address) as sock:
        loop.add_reader(sock.fileno(), _listener(sock, port, address, found))
        try:
            for _ in range(PROBES):
                sock.send(probe(port, address))
                done, _pending = await asyncio.wait((found,), timeout=PROBE_SPACING_S)
                if done:
                    return found.result()
            return None
        finally:
            loop.remove_reader(sock.fileno())


def _listener(
    sock: socket.socket, port: Port, address: Address, found: asyncio.Future[bytes]
) -> Callable[[], None]:
    def readable() -> None:
        with contextlib.suppress(BlockingIOError):
            mac = answering_mac(sock.recv(1_514), address)
            # Our own frames come back on some bridges and bonds.
            if mac is not None and mac != port.mac and not found.done():
                found.set_result(mac)

    return readable


@contextlib.contextmanager
def _packet_socket(port: Port, address: Address) -> Iterator[socket.socket]:
    """A socket for frames of the address's kind on one interface."""
    protocol = ETH_P_ARP if isinstance(address, IPv4Address) else ETH_P_IPV6
    # Made without a protocol, because changing it in `bind` costs milliseconds.
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        sock.bind((port.name, protocol))
        yield sock
    finally:
        # Closing may wait up to 20 ms in the kernel; the loop must not.
        asyncio.get_running_loop().run_in_executor(None, sock.close)


def _arp(mac: bytes, op: int, sender: IPv4Address, target_mac: bytes, target: IPv4Address) -> bytes:
    ethernet = BROADCAST + mac + struct.pack("!H", ETH_P_ARP)
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, op)
    return ethernet + head + mac + sender.packed + target_mac + target.packed


def _icmpv6(mac: bytes, kind: int, body: bytes, source: IPv6Address, target: IPv6Address) -> bytes:
    payload = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = source.packed + target.packed + struct.pack("!II", len(payload), ICMPV6)
    payload = struct.pack("!BBH", kind, 0, _checksum(pseudo + payload)) + body
    # Hop limit 255 proves that no router was passed; others are ignored (RFC 4861, section 7.1).
    header = struct.pack("!IHBB", 0x60000000, len(payload), ICMPV6, 255)
    ethernet = b"\x33\x33" + target.packed[12:] + mac + struct.pack("!H", ETH_P_IPV6)
    return ethernet + header + source.packed + target.packed + payload


def _checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def own_macs() -> tuple[str, ...]:
    """The MACs of this server's Ethernet interfaces, each once, real ones first.

    By them the other servers know who answers for a floating address.
    """
    found: dict[str, None] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        for _, name in sorted(socket.if_nameindex()):
            # The interface may be gone by now.
            with contextlib.suppress(OSError):
                request = struct.pack("16s24x", name.encode())
                answer = fcntl.ioctl(sock, SIOCGIFHWADDR, request)
                kind, mac = struct.unpack_from("H6s", answer, 16)
                if kind == ARPHRD_ETHER and any(mac):
                    found[mac.hex(":")] = None
    return tuple(found)[:MOST]
