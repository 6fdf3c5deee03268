"""Looks at this machine for what facts need of the kernel: watchdogs, ports, the clock, managers.

Reads `/proc`, `/sys`, `/dev` and `/run`, and changes nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

from clptools import paths
from clptools.config.address import endpoint
from clptools.config.monitors import BMCNOTICE, TRAP_PORT
from clptools.core.model.options import on_server
from clptools.core.model.settings import Settings

_STA_UNSYNC = 0x40
_TIMEX = struct.Struct("@Illll i")
_TIMEX_BYTES = 256
"""`struct timex` (adjtimex(2)) is smaller."""
_LISTEN = "0A"
_MOST_PROCESSES = 4096

_Address = IPv4Address | IPv6Address


# ---------------------------------------------------------------------- watchdogs


def watchdog_faults(dev: str = "/dev", modules: str = "/lib/modules") -> dict[str, str]:
    """Method -> why it cannot be armed here."""
    found: dict[str, str] = {}
    if paths.root():
        found["softdog"] = found["ipmi"] = "this node lives below CLP_ROOT"
        return found
    holder = _watchdog_holder()
    if holder:
        found["softdog"] = f"{holder} has the watchdog device open"
    elif not _any_watchdog(dev) and not _softdog_module(modules):
        found["softdog"] = "there is no /dev/watchdog, and no softdog module to be loaded"
    if not os.path.exists(f"{dev}/ipmi0"):
        found["ipmi"] = "there is no /dev/ipmi0"
    return found


def _any_watchdog(dev: str) -> bool:
    with contextlib.suppress(OSError):
        return any(name.startswith("watchdog") for name in os.listdir(dev))
    return False


def _softdog_module(modules: str) -> bool:
    """Whether softdog is built in, or lies among this kernel's modules."""
    folder = f"{modules}/{os.uname().release}"
    for name in ("modules.dep", "modules.builtin"):
        with contextlib.suppress(OSError), open(f"{folder}/{name}", errors="replace") as file:
            if any("/softdog.ko" in line for line in file):
                return True
    return False


def _watchdog_holder() -> str:
    """The program other than clptools that holds a watchdog device; empty: none is seen."""
    for pid, link in _open_files():
        if link.startswith("/dev/watchdog"):
            name = _comm(pid)
            if not _is_ours(pid):
                return "systemd (RuntimeWatchdogSec)" if pid == "1" else f"{name} ({pid})"
    return ""


# ---------------------------------------------------------------------- ports


def wanted_ports(settings: Settings, server: str) -> Iterator[tuple[str, str, int]]:
    """Protocol, address and port of everything that this server is to listen at."""
    for link in settings.interconnects:
        if link.is_lan and server in link.addresses:
            for protocol in ("udp", "tcp"):
                yield protocol, link.addresses[server], settings.cluster.port
    for monitor in settings.monitors:
        keyword = monitor.keywords.get(server, "")
        if monitor.category == BMCNOTICE and keyword and server in monitor.servers:
            place = endpoint(keyword, TRAP_PORT)
            yield "udp", place.host, place.port


def taken(settings: Settings, server: str) -> dict[str, str]:
    """`udp 10.0.0.1:162` -> the other program that has it."""
    wanted = tuple(wanted_ports(settings, server))
    bound = {
        protocol: [each for version in ("", "6") for each in _bound(protocol, version)]
        for protocol in {protocol for protocol, _, _ in wanted}
    }
    hits: dict[str, str] = {}
    for protocol, host, port in wanted:
        own = ip_address(host.partition("%")[0])
        for address, at, inode in bound[protocol]:
            if at == port and (address == own or address.is_unspecified):
                hits.setdefault(f"{protocol} {host}:{port}", inode)
    if not hits:
        return {}
    owners = {link[8:-1]: pid for pid, link in _open_files() if link.startswith("socket:[")}
    return {
        place: _comm(owners[inode]) if inode in owners else "another program"
        for place, inode in hits.items()
        if inode not in owners or not _is_ours(owners[inode])
    }


def _bound(protocol: str, version: str) -> Iterator[tuple[_Address, int, str]]:
    """Address, port and inode of what listens in this network namespace (proc_net(5))."""
    for line in _lines(f"/proc/net/{protocol}{version}")[1:]:
        words = line.split()
        if len(words) < 10 or (protocol == "tcp" and words[3] != _LISTEN):
            continue
        host, _, port = words[1].partition(":")
        # Each word of 32 bits stands in the host's byte order.
        packed = b"".join(
            struct.pack("=I", int(host[at : at + 8], 16)) for at in range(0, len(host), 8)
        )
        yield ip_address(packed), int(port, 16), words[9]


# ---------------------------------------------------------------------- processes


def _open_files() -> Iterator[tuple[str, str]]:
    """Processes and what each of their file descriptors is; only root sees those of others."""
    with contextlib.suppress(OSError):
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
        for pid in pids[:_MOST_PROCESSES]:
            with contextlib.suppress(OSError):
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        yield pid, os.readlink(f"/proc/{pid}/fd/{fd}")


def _comm(pid: str) -> str:
    return "".join(_lines(f"/proc/{pid}/comm")[:1]) or f"process {pid}"


def _is_ours(pid: str) -> bool:
    """Whether it is the agent or its guard."""
    words = "".join(_lines(f"/proc/{pid}/cmdline")).split("\0")
    return any("clpnode" in word or "clptools" in word for word in words)


def _lines(path: str) -> list[str]:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()
    return []


# ---------------------------------------------------------------------- clock


def clock_fault() -> str:
    """Why the kernel's clock is not synchronised; empty: it is, or that cannot be told."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return ""
    if state < 0:
        return ""
    status = _TIMEX.unpack_from(buffer.raw)[5]
    return "no time service keeps it synchronised" if status & _STA_UNSYNC else ""


# ---------------------------------------------------------------------- managers of interfaces


def managed(settings: Settings, server: str, run: str = "/run") -> dict[str, str]:
    """`fip` resource -> the program that configures its interface, and may take it away."""
    found: dict[str, str] = {}
    for group in settings.groups:
        if server not in group.servers:
            continue
        for resource in group.resources:
            interface = resource.options.get("interface") or ""
            if resource.type != "fip" or not isinstance(interface, str | dict):
                continue
            address = resource.options["address"]
            assert isinstance(address, str | dict)  # a fip has one
            name = on_server(interface, server) or _interface_of(on_server(address, server))
            by = _manager(name, run) if name else ""
            if by:
                found[resource.name] = f"{by} configures {name}"
    return found


def _interface_of(network: str) -> str:
    """The interface with a route to that network; empty: none, or IPv6."""
    wanted = ip_interface(network).network
    for line in _lines("/proc/net/route")[1:]:
        words = line.split()
        if len(words) < 8 or wanted.version != 4:
            continue
        target, mask = (ip_address(struct.pack("=I", int(words[at], 16))) for at in (1, 7))
        if str(target) == str(wanted.network_address) and str(mask) == str(wanted.netmask):
            return words[0]
    return ""


def _manager(interface: str, run: str) -> str:
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        return ""
    # What they keep of each link that they configure (networkctl(1), NetworkManager(8)).
    if "ADMIN_STATE=configured" in _lines(f"{run}/systemd/netif/links/{index}"):
        return "systemd-networkd"
    if "managed=true" in _lines(f"{run}/NetworkManager/devices/{index}"):
        return "NetworkManager"
    return ""
