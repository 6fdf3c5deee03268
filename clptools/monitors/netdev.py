"""Network interfaces and their addresses, asked of the kernel by ioctl (netdevice(7)).

Unlike sysfs these answers belong to the network namespace of the asking socket, and unlike a
netlink library they cost an agent nothing.
"""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from clptools.faults import ClpError, ExitCode

SIOCGIFCONF = 0x8912
SIOCGIFFLAGS = 0x8913
IFREQ_BYTES = 40
"""sizeof(struct ifreq) on 64-bit machines."""
IFF_UP = 0x1
IFF_RUNNING = 0x40
"""Operational: has its carrier (RFC 2863 `up`, or unknown)."""
IFA_F_DADFAILED = 0x08
IFA_F_TENTATIVE = 0x40

Address = IPv4Address | IPv6Address


def link_fault(interface: str) -> str:
    """The fault of an interface's link; empty: none.

    Raises:
        ClpError: there is no such interface.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            asked = struct.pack("16s24x", interface.encode()[:15])
            flags = struct.unpack_from("H", fcntl.ioctl(sock, SIOCGIFFLAGS, asked), 16)[0]
    except OSError as fault:
        if fault.errno != errno.ENODEV:
            raise
        raise ClpError(
            ExitCode.FAILED,
            f"there is no interface {interface} on this server",
            "`interface` may be a table with one name per server",
        ) from None
    if not flags & IFF_UP:
        return f"{interface} is down"
    if not flags & IFF_RUNNING:
        return f"{interface} has no carrier"
    return ""


def interface_with(address: Address) -> str | None:
    """The interface that has that address in usable form; None: none here does."""
    if isinstance(address, IPv4Address):
        return _ipv4().get(address)
    return _ipv6().get(address)


def _ipv4() -> dict[Address, str]:
    room = 64
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        while True:
            buffer = array.array("B", bytes(room * IFREQ_BYTES))
            where, length = buffer.buffer_info()
            head = struct.pack("iL", length, where)
            (used,) = struct.unpack_from("i", fcntl.ioctl(sock, SIOCGIFCONF, head))
            if used < length:
                break
            # A full buffer may have been too short: the kernel does not say.
            room *= 2
    data = buffer.tobytes()
    found: dict[Address, str] = {}
    for at in range(0, used, IFREQ_BYTES):
        name = data[at : at + 16].split(b"\0")[0].decode()
        # The name is the address's label: `eth0:1` is on eth0.
        found[IPv4Address(data[at + 20 : at + 24])] = name.split(":")[0]
    return found


def _ipv6() -> dict[Address, str]:
    """From if_inet6, which the kernel keeps for its own thread's namespace."""
    found: dict[Address, str] = {}
    try:
        with open("/proc/thread-self/net/if_inet6", encoding="ascii") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        digits, _index, _prefix, _scope, flags, name = line.split()
        if not int(flags, 16) & (IFA_F_DADFAILED | IFA_F_TENTATIVE):
            found[ip_address(bytes.fromhex(digits))] = name
    return found
