"""ICMP echo: whether a kernel answers (RFC 792, RFC 4443)."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from ipaddress import ip_address
from typing import Self

TRIES = 3
_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}
_MARK_BYTES = 16
"""A stranger who does not see the request cannot answer it."""


async def ping(target: str, timeout_s: float, source: str = "") -> bool:
    """Whether `target` answers one of three requests within `timeout_s`.  `source`: as in `Echo`.

    Raises OSError: there is no route, or we may have no such socket (PermissionError).
    """
    loop = asyncio.get_running_loop()
    with Echo(target, source) as echo:
        for _ in range(TRIES):
            echo.send()
            try:
                async with asyncio.timeout(timeout_s / TRIES):
                    while not echo.takes(await loop.sock_recvfrom(echo.socket, 2048)):
                        pass
                    return True
            except TimeoutError:
                continue
    return False


class Echo:
    """Echo requests to one address, and what comes back; nothing here waits."""

    def __init__(self, target: str, source: str = "") -> None:
        """`source`: own address that they leave from; empty: the kernel's choice.

        Raises OSError: there is no such address, or we may have no such socket.
        """
        family = socket.AF_INET6 if ip_address(target).version == 6 else socket.AF_INET
        self.socket = _open(family)
        self._target = target
        self._family = family
        self._mark = os.urandom(_MARK_BYTES)
        self._number = 0
        try:
            if source:
                self.socket.bind((source, 0))
        except OSError:
            self.socket.close()
            raise

    def send(self) -> None:
        """One more request leaves.  Raises OSError."""
        self.socket.sendto(_request(self._family, self._number, self._mark), (self._target, 0))
        self._number += 1

    def answered(self) -> bool:
        """Whether an answer has arrived since this was asked last."""
        try:
            while True:
                if self.takes(self.socket.recvfrom(2048)):
                    return True
        except OSError:  # nothing more has arrived, or the network says that it cannot
            return False

    def takes(self, received: tuple[bytes, tuple[str, int]]) -> bool:
        """Whether this datagram and its sender are the answer to a request of ours."""
        packet, sender = received
        if packet and self.socket.type == socket.SOCK_RAW and self._family == socket.AF_INET:
            packet = packet[(packet[0] & 0x0F) * 4 :]  # the IP header comes with it
        return (
            len(packet) >= 8 + _MARK_BYTES
            and packet[0] == _REPLY[self._family]
            and packet[8 : 8 + _MARK_BYTES] == self._mark
            and _bare(sender[0]) == _bare(self._target)
        )

    def close(self) -> None:
        """No answer is taken any more."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(family: socket.AddressFamily) -> socket.socket:
    """The kernel's own socket for pings where this user may have one, else a raw one."""
    sixth = family is socket.AF_INET6
    protocol = socket.IPPROTO_ICMPV6 if sixth else socket.IPPROTO_ICMP
    try:
        return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
    except PermissionError:
        # net.ipv4.ping_group_range leaves out even root on many systems.
        return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)


def _request(family: socket.AddressFamily, number: int, mark: bytes) -> bytes:
    kind = _REQUEST[family]
    body = struct.pack("!HH", os.getpid() & 0xFFFF, number) + mark
    # The kernel computes the checksum of ICMPv6 always, and that of ICMP on its own sockets.
    total: int = sum(struct.unpack(f"!{len(body) // 2}H", body)) + (kind << 8)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", kind, 0, ~total & 0xFFFF) + body


def _bare(address: str) -> object:
    return ip_address(address.partition("%")[0])
