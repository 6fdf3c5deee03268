"""`ipw`: whether any of some addresses answers a ping."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from ipaddress import ip_address

from clptools.core.settings import Monitor
from clptools.faults import ClpError, ExitCode
from clptools.monitors.base import NORMAL, MonitorContext, Verdict, error

TRIES = 3
ECHO_REQUEST, ECHO_REPLY = 8, 0
ECHO_REQUEST_6, ECHO_REPLY_6 = 128, 129
PAYLOAD = b"clptools ipw"


async def check(monitor: Monitor, context: MonitorContext) -> Verdict:
    """Normal as soon as one target answers; three tries within the time-out."""
    targets = monitor.options.get("targets")
    assert isinstance(targets, tuple)
    asked = [asyncio.create_task(ping(target, monitor.timeout_ms)) for target in targets]
    faults: list[str] = []
    try:
        for done in asyncio.as_completed(asked):
            try:
                if await done:
                    return NORMAL
            except OSError as fault:
                faults.append(str(fault.strerror))
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    names = ", ".join(targets)
    reason = f" ({', '.join(sorted(set(faults)))})" if faults else ""
    return error(f"no answer to a ping from {names}{reason}")


async def ping(target: str, timeout_ms: int) -> bool:
    """Whether the target answers one of three pings within the time.

    Raises:
        OSError: there is no route, or no socket of this kind is permitted.
    """
    loop = asyncio.get_running_loop()
    sixth = ip_address(target).version == 6
    sock, raw = _socket(sixth)
    with sock:
        identity = os.urandom(8)
        for number in range(TRIES):
            await loop.sock_sendto(sock, _echo(sixth, number, identity), (target, 0))
            try:
                async with asyncio.timeout(timeout_ms / 1000 / TRIES):
                    while not _answers(await loop.sock_recv(sock, 1_500), sixth, raw, identity):
                        pass
                    return True
            except TimeoutError:
                continue
    return False


def _socket(sixth: bool) -> tuple[socket.socket, bool]:
    """An ICMP socket: the kernel's own for pings where it is permitted, else a raw one."""
    family = socket.AF_INET6 if sixth else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if sixth else socket.IPPROTO_ICMP
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        except PermissionError:
            continue
        return sock, kind == socket.SOCK_RAW
    raise ClpError(
        ExitCode.NOT_PERMITTED,
        "pings are not permitted",
        "run as root, or let net.ipv4.ping_group_range include this user's group",
    )


def _echo(sixth: bool, number: int, identity: bytes) -> bytes:
    kind = ECHO_REQUEST_6 if sixth else ECHO_REQUEST
    body = struct.pack("!HH", os.getpid() & 0xFFFF, number) + identity + PAYLOAD
    # ICMPv6 checksums are the kernel's on both kinds of socket; ICMP's is ours on raw ones.
    total: int = sum(struct.unpack(f"!{len(body) // 2}H", body)) + (kind << 8)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", kind, 0, ~total & 0xFFFF) + body


def _answers(packet: bytes, sixth: bool, raw: bool, identity: bytes) -> bool:
    """Whether this is the answer to our own echo request."""
    if raw and not sixth and packet:
        # A raw IPv4 socket delivers the IP header, too.
        packet = packet[(packet[0] & 0x0F) * 4 :]
    wanted = ECHO_REPLY_6 if sixth else ECHO_REPLY
    return len(packet) >= 16 and packet[0] == wanted and packet[8:16] == identity
