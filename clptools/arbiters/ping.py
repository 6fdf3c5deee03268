"""`ping`: held while one of some addresses answers.  Weak: both halves may reach them."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from ipaddress import ip_address

from clptools.arbiters.base import ArbiterContext, Held
from clptools.core.settings import Arbiter

TRIES = 3
_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}
"""ICMP (RFC 792) and ICMPv6 (RFC 4443) echo."""


def build(arbiter: Arbiter, context: ArbiterContext) -> PingArbiter:
    """The arbiter of this definition."""
    return PingArbiter(arbiter, context)


class PingArbiter:
    """Asks all targets at once, each a few times within the time-out."""

    def __init__(self, arbiter: Arbiter, context: ArbiterContext) -> None:
        targets = arbiter.options["targets"]
        assert isinstance(targets, tuple)
        self._name = arbiter.name
        self._targets = targets
        self._timeout_ms = context.timeout_ms

    async def hold(self, lease_ms: int) -> Held:
        """Held as soon as one target answers; the lease has no end of its own."""
        timeout_s = self._timeout_ms / 1000
        asked = [asyncio.create_task(_ping(target, timeout_s)) for target in self._targets]
        faults: set[str] = set()
        try:
            for done in asyncio.as_completed(asked):
                try:
                    if await done:
                        return Held(held=True)
                except OSError as error:
                    faults.add((error.strerror or str(error)).lower())
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        reason = f" ({', '.join(sorted(faults))})" if faults else ""
        names = ", ".join(self._targets)
        return Held(error=f"{self._name}: no answer from {names} within {timeout_s:g} s{reason}")

    async def release(self) -> None:
        """Nothing is kept there."""

    async def close(self) -> None:
        """No socket is kept."""


async def _ping(target: str, timeout_s: float) -> bool:
    """Whether `target` answers in time.  Raises OSError: no route, or no such socket for us."""
    family = socket.AF_INET6 if ip_address(target).version == 6 else socket.AF_INET
    loop = asyncio.get_running_loop()
    with _open(family) as sock:
        mark = os.urandom(16)  # a stranger who does not see the request cannot answer it
        for number in range(TRIES):
            await loop.sock_sendto(sock, _echo(family, number, mark), (target, 0))
            try:
                async with asyncio.timeout(timeout_s / TRIES):
                    while True:
                        data, sender = await loop.sock_recvfrom(sock, 2048)
                        if _answers(data, sock, mark) and _same(sender[0], target):
                            return True
            except TimeoutError:
                continue
    return False


def _open(family: socket.AddressFamily) -> socket.socket:
    """The kernel's own socket for pings where this user may have one, else a raw one."""
    sixth = family is socket.AF_INET6
    protocol = socket.IPPROTO_ICMPV6 if sixth else socket.IPPROTO_ICMP
    try:
        return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
    except PermissionError:
        # net.ipv4.ping_group_range leaves out even root on many systems.
        return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)


def _echo(family: socket.AddressFamily, number: int, mark: bytes) -> bytes:
    kind = _REQUEST[family]
    body = struct.pack("!HH", os.getpid() & 0xFFFF, number) + mark
    # The kernel computes the checksum of ICMPv6 always, and that of ICMP on its own sockets.
    total: int = sum(struct.unpack(f"!{len(body) // 2}H", body)) + (kind << 8)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", kind, 0, ~total & 0xFFFF) + body


def _answers(packet: bytes, sock: socket.socket, mark: bytes) -> bool:
    if packet and sock.type == socket.SOCK_RAW and sock.family == socket.AF_INET:
        packet = packet[(packet[0] & 0x0F) * 4 :]  # the IP header comes with it
    family = socket.AddressFamily(sock.family)
    return len(packet) >= 24 and packet[0] == _REPLY[family] and packet[8:24] == mark


def _same(sender: str, target: str) -> bool:
    return ip_address(sender.partition("%")[0]) == ip_address(target.partition("%")[0])
