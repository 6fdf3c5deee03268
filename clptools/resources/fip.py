"""`fip`: a floating address, moved by adding it to an interface and telling the neighbours.

Addresses are changed over netlink through pyroute2, which is loaded by `warm_up()` or on the
first use: it costs 12 MB and 80 ms, and is rarely needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TYPE_CHECKING, Any

import msgspec

from clptools.common.threads import load
from clptools.core.model.options import PerServer, VariantOptions, on_server, read
from clptools.core.model.settings import Resource
from clptools.faults import ClpError, ExitCode
from clptools.resources.address_keeper import Seen, Taken, Wishes, keep, release
from clptools.resources.neighbours import (
    PROBE_SPACING_S,
    PROBES,
    Port,
    announce_often,
    holder_of,
    mac_text,
    stop_announcing,
)
from clptools.resources.operations import ResourceContext, ResourceOutcome

if TYPE_CHECKING:
    from pyroute2 import AsyncIPRoute

IFF_UP = 0x1
IFF_LOWER_UP = 0x10000
ARPHRD_ETHER = 1
IFA_F_NODAD = 0x02
IFA_F_TENTATIVE = 0x40
IFA_F_DADFAILED = 0x08

DAD_POLL_S = 0.05
DAD_LIMIT_S = 10.0
"""RFC 4862 needs 1 to 2 s with the kernel's defaults."""

LOOK_S = 15.0
"""How long it may take to find an address, or to put it back: an IPv6 one is checked first."""

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
TAKEN_LIMIT_S = 60.0
"""If a host answers for the address, it is probed again after growing pauses, within the start
time-out and no longer than this: another server may be able to take the address."""


class Options(VariantOptions, frozen=True, kw_only=True):
    """The address, and how it is taken."""

    address: PerServer
    """With its prefix length."""
    interface: PerServer = ""
    announcements: int = 5
    announce_interval: int = 60
    duplicate_check: bool = True


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


def warm_up() -> None:
    """Load pyroute2, so that the first failover does not wait for it."""
    load("pyroute2")


async def start(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Add the address, unless another host has it, announce it, and keep it from then on."""
    wanted = _wanted(resource, context.server)
    await release(wanted.ip)
    async with asyncio.timeout(resource.start_timeout_ms / 1000), _netlink() as netlink:
        links = await _links(netlink)
        held = await _held(netlink)
        link = _choose(links, held, wanted, _interface(resource, context.server))
        present = next((h for h in held if h.address.ip == wanted.ip), None)
        if present is not None and present.index != link.index:
            elsewhere = next((x.name for x in links if x.index == present.index), "?")
            raise ClpError(
                ExitCode.FAILED,
                f"{wanted.ip} is on {elsewhere} already, not on {link.name}",
                f"ip address del {present.address} dev {elsewhere}",
            )
        if not link.flags & IFF_LOWER_UP:
            context.log(f"{link.name} has no carrier: {wanted.ip} will not be reached through it")
        if present is None:
            await _take(netlink, resource, context, link, wanted)
        elif (mac := await _await_dad(netlink, link, wanted)) is not None:
            raise _taken(link, wanted, mac)
    if link.port is not None:
        announce_often(link.port, wanted.ip, read(Options, resource.options).announcements)
    _keep(resource, context, _seen(link))
    text = f"{wanted} on {link.name}" + ("" if present is None else ", where it was already")
    return ResourceOutcome(ok=True, text=text)


async def stop(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Remove exactly this address, from whichever interface has it."""
    wanted = _wanted(resource, context.server)
    await release(wanted.ip)
    stop_announcing(wanted.ip)
    async with asyncio.timeout(resource.stop_timeout_ms / 1000), _netlink() as netlink:
        before = await _held(netlink)
        present = [h for h in before if h.address.ip == wanted.ip]
        for one in present:
            await _change(netlink, "del", one)
        if not present:
            return ResourceOutcome(ok=True, text=f"{wanted.ip} was not here")
        after = await _held(netlink)
        if any(h.address.ip == wanted.ip for h in after):
            raise ClpError(ExitCode.FAILED, f"{wanted.ip} is still here after its removal")
        await _restore(netlink, before, after, present, context)
    return ResourceOutcome(ok=True, text=f"{wanted} removed")


async def watch(resource: Resource, context: ResourceContext) -> None:
    """Keep the address, which an agent before this one has started."""
    _keep(resource, context, None)


def _keep(resource: Resource, context: ResourceContext, seen: Seen | None) -> None:
    """Keep the address until it is stopped, or started again."""
    options = read(Options, resource.options)
    place = seen.interface if seen is not None else ""

    async def look() -> Seen:
        nonlocal place
        found = await _look(resource, context, place)
        place = found.interface
        return found

    wishes = Wishes(
        address=_wanted(resource, context.server).ip,
        announcements=options.announcements,
        interval_s=options.announce_interval,
        look=look,
        log=context.log,
        lost=context.lost,
    )
    keep(wishes, seen)


async def _look(resource: Resource, context: ResourceContext, place: str) -> Seen:
    """Find the address, or put it back; `place` is the interface that had it last.

    Raises ClpError and OSError.
    """
    wanted = _wanted(resource, context.server)
    async with asyncio.timeout(LOOK_S), _netlink() as netlink:
        links = await _links(netlink)
        held = await _held(netlink)
        present = next((h for h in held if h.address.ip == wanted.ip), None)
        link = next((x for x in links if present is not None and x.index == present.index), None)
        if present is not None and link is not None and not present.flags & IFA_F_DADFAILED:
            return _seen(link)
        # Without its own address the interface cannot be found by its network.
        name = _interface(resource, context.server) or place
        link = _choose(links, held, wanted, name)
        if present is not None:
            await _change(netlink, "del", present)
        mac = await _try(netlink, resource, link, wanted)
        if mac is not None:
            raise _taken(link, wanted, mac)
    return _seen(link, put_back=True)


def _seen(link: Link, *, put_back: bool = False) -> Seen:
    carrier = bool(link.flags & IFF_LOWER_UP)
    return Seen(interface=link.name, port=link.port, carrier=carrier, put_back=put_back)


def _wanted(resource: Resource, server: str) -> IPv4Interface | IPv6Interface:
    return ip_interface(on_server(read(Options, resource.options).address, server))


def _interface(resource: Resource, server: str) -> str:
    """The configured interface on this server, or nothing."""
    return on_server(read(Options, resource.options).interface, server)


@contextlib.asynccontextmanager
async def _netlink() -> AsyncIterator[AsyncIPRoute]:
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


async def _links(netlink: AsyncIPRoute) -> tuple[Link, ...]:
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


async def _held(netlink: AsyncIPRoute) -> tuple[Held, ...]:
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


def _choose(
    links: tuple[Link, ...],
    held: tuple[Held, ...],
    wanted: IPv4Interface | IPv6Interface,
    name: str,
) -> Link:
    """The interface that is to carry the address."""
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


async def _take(
    netlink: AsyncIPRoute,
    resource: Resource,
    context: ResourceContext,
    link: Link,
    wanted: IPv4Interface | IPv6Interface,
) -> None:
    """Add the address once no other host answers for it.

    A server that is powered off cannot have it: a switch that suppresses ARP, or a proxy, answers
    in its name.  Any other host may still release it.
    """
    now = asyncio.get_running_loop().time
    until = now() + min(resource.start_timeout_ms / 1000, TAKEN_LIMIT_S)
    pause = FIRST_PAUSE_S
    told = b""
    while True:
        try:
            async with asyncio.timeout_at(until - 0.1):
                mac = await _try(netlink, resource, link, wanted)
        except TimeoutError:
            if not told:
                raise
            raise _taken(link, wanted, told) from None
        if mac is None:
            return
        if mac_text(mac) in context.macs_off:
            context.log(
                f"{mac_text(mac)} answers for {wanted.ip} on {link.name}, but is the address of a "
                "server that is proven powered off: taken and announced all the same"
            )
            await _add(netlink, link, wanted, IFA_F_NODAD)
            return
        # The time still needed: the pause, the probes, and for IPv6 the kernel's own check.
        if now() + pause + PROBES * PROBE_SPACING_S > until - 0.1:
            raise _taken(link, wanted, mac)
        if mac != told:
            context.log(
                f"{mac_text(mac)} answers for {wanted.ip} on {link.name}: it is asked again for "
                f"up to {max(until - now(), 0):.0f} s"
            )
            told = mac
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


async def _try(
    netlink: AsyncIPRoute, resource: Resource, link: Link, wanted: IPv4Interface | IPv6Interface
) -> bytes | None:
    """Add the address; returns the MAC that answers for it instead, if one does."""
    # Without carrier no frame can be sent.
    check = read(Options, resource.options).duplicate_check and link.flags & IFF_LOWER_UP
    if check and link.port is not None:
        mac = await holder_of(link.port, wanted.ip)
        if mac is not None:
            return mac
    await _add(netlink, link, wanted, 0)
    return await _await_dad(netlink, link, wanted)


async def _add(
    netlink: AsyncIPRoute, link: Link, wanted: IPv4Interface | IPv6Interface, flags: int
) -> None:
    await _change(
        netlink, "add", Held(index=link.index, address=wanted, flags=flags, scope=0, label="")
    )


def _taken(link: Link, wanted: IPv4Interface | IPv6Interface, mac: bytes) -> Taken:
    return Taken(
        ExitCode.FAILED,
        f"{wanted.ip} is in use already: {mac_text(mac)} answers for it on {link.name}",
        "find that machine, or set `duplicate_check = false` if a switch answers for others",
    )


async def _change(netlink: AsyncIPRoute, op: str, held: Held) -> None:
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


async def _restore(
    netlink: AsyncIPRoute,
    before: tuple[Held, ...],
    after: tuple[Held, ...],
    removed: list[Held],
    context: ResourceContext,
) -> None:
    """Put back the addresses that the kernel removed with it.

    Without the sysctl `promote_secondaries`, deleting the first address of a network takes the
    later ones of the same network with it.
    """
    left = {(h.index, h.address) for h in after}
    for held in before:
        gone = (held.index, held.address) not in left
        if gone and held not in removed and held.address.version == 4:
            context.log(f"{held.address} would have gone with {removed[0].address}: put back")
            await _change(netlink, "add", held)


async def _await_dad(
    netlink: AsyncIPRoute, link: Link, wanted: IPv4Interface | IPv6Interface
) -> bytes | None:
    """Wait until the kernel found no other host with the address; only then it can be used.

    Returns the MAC of a host that has it, if the kernel found one; IPv4 has no such check.
    """
    if isinstance(wanted, IPv4Interface):
        return None
    waited = 0.0
    while True:
        mine = [h for h in await _held(netlink) if h.address.ip == wanted.ip]
        flags = mine[0].flags if mine else 0
        if not mine or flags & IFA_F_DADFAILED:
            for one in mine:
                await _change(netlink, "del", one)
            mac = None if link.port is None else await holder_of(link.port, wanted.ip)
            if mac is not None:
                return mac
            raise ClpError(
                ExitCode.FAILED,
                f"{wanted.ip}: the kernel found another machine with it on {link.name}",
            )
        if not flags & IFA_F_TENTATIVE:
            return None
        if waited >= DAD_LIMIT_S:
            for one in mine:
                await _change(netlink, "del", one)
            raise ClpError(
                ExitCode.FAILED,
                f"{wanted.ip} could not be checked for duplicates on {link.name} "
                f"within {DAD_LIMIT_S:g} s",
                f"ip link show {link.name}: without carrier no IPv6 address becomes usable",
            )
        await asyncio.sleep(DAD_POLL_S)
        waited += DAD_POLL_S
