"""This server's network interfaces and their addresses, over netlink.

pyroute2 costs 12 MB and 80 ms, so it is loaded by `fip.warm_up()` or on the first use.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TYPE_CHECKING, Any

import msgspec

from clptools.faults import ClpError, ExitCode
from clptools.resources.neighbours import Port

if TYPE_CHECKING:
    from pyroute2 import AsyncIPRoute

IFF_UP = 0x1
IFF_LOWER_UP = 0x10000
ARPHRD_ETHER = 1
IFA_F_NODAD = 0x02
IFA_F_TENTATIVE = 0x40
IFA_F_DADFAILED = 0x08


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A network interface."""

    index: int
    name: str
    flags: int
    type: int
    mac: bytes

    @property
    def port(self) -> Port | None:
        """Where frames to neighbours leave; None: this is no Ethernet."""
        if self.type != ARPHRD_ETHER or len(self.mac) != 6:
            return None
        return Port(name=self.name, mac=self.mac)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An address that an interface has."""

    index: int
    address: IPv4Interface | IPv6Interface
    flags: int
    scope: int
    label: str


@contextlib.asynccontextmanager
async def netlink_socket() -> AsyncIterator[AsyncIPRoute]:
    """A netlink socket; its faults become `ClpError`."""
    from pyroute2 import AsyncIPRoute, NetlinkError

    try:
        async with AsyncIPRoute() as netlink:
            yield netlink
    except NetlinkError as fault:
        hint = ""
        if fault.code in (errno.EPERM, errno.EACCES):
            hint = "addresses can only be changed by root or with CAP_NET_ADMIN"
        raise ClpError(ExitCode.FAILED, f"the kernel refused it: {fault.args[1]}", hint) from fault


async def links_of(netlink: AsyncIPRoute) -> tuple[Link, ...]:
    """All interfaces."""
    found = []
    async for message in await netlink.link("dump"):
        mac = str(message.get("address") or "").replace(":", "")
        link = Link(
            index=message["index"],
            name=message.get("ifname"),
            flags=message["flags"],
            type=message["ifi_type"],
            mac=bytes.fromhex(mac),
        )
        found.append(link)
    return tuple(found)


async def addresses_of(netlink: AsyncIPRoute) -> tuple[Held, ...]:
    """The addresses of all interfaces."""
    found = []
    async for message in await netlink.addr("dump"):
        # On a point-to-point link IFA_ADDRESS is the other end's.
        address = message.get("local") or message.get("address")
        held = Held(
            index=message["index"],
            address=ip_interface(f"{address}/{message['prefixlen']}"),
            # The header has room for eight flags only.
            flags=message.get("flags") or message["flags"],
            scope=message["scope"],
            label=message.get("label") or "",
        )
        found.append(held)
    return tuple(found)


def interface_for(
    links: tuple[Link, ...],
    held: tuple[Held, ...],
    wanted: IPv4Interface | IPv6Interface,
    name: str,
) -> Link:
    """The interface that is to carry the address; `name`: as configured, or empty.

    Raises ClpError: there is none, or it is down.
    """
    if name:
        named = next((link for link in links if link.name == name), None)
        if named is None:
            known = ", ".join(sorted(link.name for link in links))
            raise ClpError(
                ExitCode.FAILED,
                f"there is no interface {name} on this server",
                f"it has {known}; `interface` may be a table with one name per server",
            )
        return _up(named)
    # The interface with the narrowest network that fits is the right one.
    fitting = [
        h
        for h in held
        if h.address.version == wanted.version
        and wanted.ip in h.address.network
        and h.address.ip != wanted.ip
        and h.address.network.prefixlen < h.address.max_prefixlen
    ]
    by_index = {link.index: link for link in links}
    fitting.sort(key=lambda h: (not by_index[h.index].flags & IFF_UP, -h.address.network.prefixlen))
    if not fitting:
        own = next((h for h in held if h.address.ip == wanted.ip), None)
        if own is not None:
            return by_index[own.index]
        raise ClpError(
            ExitCode.FAILED,
            f"no interface of this server has an address in {wanted.network}",
            'give that network to one, or name the interface: `interface = "…"`',
        )
    return _up(by_index[fitting[0].index])


def _up(link: Link) -> Link:
    if not link.flags & IFF_UP:
        raise ClpError(
            ExitCode.FAILED,
            f"interface {link.name} is down",
            f"ip link set {link.name} up",
        )
    return link


async def change_address(netlink: AsyncIPRoute, op: str, held: Held) -> None:
    """Add or delete one address; it is no fault if that is done already."""
    from pyroute2 import NetlinkError

    wanted: dict[str, Any] = {
        "index": held.index,
        "address": str(held.address.ip),
        "prefixlen": held.address.network.prefixlen,
    }
    if op == "add":
        wanted["scope"] = held.scope
        if held.flags & IFA_F_NODAD and held.address.version == 6:
            wanted["flags"] = IFA_F_NODAD
        if held.label:
            wanted["label"] = held.label
        if held.address.version == 4 and held.address.network.prefixlen < 31:
            wanted["broadcast"] = str(held.address.network.broadcast_address)
    change = asyncio.ensure_future(netlink.addr(op, **wanted))
    try:
        await asyncio.shield(change)
    except asyncio.CancelledError:
        # Even if cancelled, this is completed: the next operation must see what the kernel did.
        await asyncio.wait({change})
        with contextlib.suppress(NetlinkError):
            change.result()
        raise
    except NetlinkError as fault:
        if fault.code != (errno.EEXIST if op == "add" else errno.EADDRNOTAVAIL):
            raise
