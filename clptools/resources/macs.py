"""The MAC addresses of this server: by them the others know who answers for a floating address."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct

SIOCGIFHWADDR = 0x8927
"""netdevice(7)."""
ARPHRD_ETHER = 1
MOST = 16
"""Interfaces are looked at in the order they were made: those of containers come last."""


def own_macs() -> tuple[str, ...]:
    """`00:25:90:ab:cd:ef`, each once; those of Ethernet interfaces, real ones first."""
    found: dict[str, None] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        for _, name in sorted(socket.if_nameindex()):
            # One that is gone meanwhile has none.
            with contextlib.suppress(OSError):
                request = struct.pack("16s24x", name.encode())
                answer = fcntl.ioctl(sock, SIOCGIFHWADDR, request)
                kind, mac = struct.unpack_from("H6s", answer, 16)
                if kind == ARPHRD_ETHER and any(mac):
                    found[mac.hex(":")] = None
    return tuple(found)[:MOST]
