"""`fip`: a floating address, moved by adding it to an interface and telling the neighbours.

`interfaces` changes the address, `neighbours` tells of it, and `address_keeper` keeps it there.
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TYPE_CHECKING

from clptools.common.threads import load
from clptools.core.model.options import PerServer, VariantOptions, on_server, read
from clptools.core.model.settings import Resource
from clptools.faults import ClpError, ExitCode
from clptools.resources.address_keeper import Seen, Taken, Wishes, keep, release
from clptools.resources.interfaces import (
    IFA_F_DADFAILED,
    IFA_F_NODAD,
    IFA_F_TENTATIVE,
    IFF_LOWER_UP,
    Held,
    Link,
    addresses_of,
    change_address,
    interface_for,
    links_of,
    netlink_socket,
)
from clptools.resources.neighbours import (
    PROBE_SPACING_S,
    PROBES,
    announce_often,
    holder_of,
    mac_text,
    stop_announcing,
)
from clptools.resources.operations import ResourceContext, ResourceOutcome

if TYPE_CHECKING:
    from pyroute2 import AsyncIPRoute

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


def warm_up() -> None:
    """Load pyroute2, so that the first failover does not wait for it."""
    load("pyroute2")


async def start(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Add the address, unless another host has it, announce it, and keep it from then on."""
    wanted = _wanted(resource, context.server)
    await release(wanted.ip)
    async with asyncio.timeout(resource.start_timeout_ms / 1000), netlink_socket() as netlink:
        links = await links_of(netlink)
        held = await addresses_of(netlink)
        link = interface_for(links, held, wanted, _interface(resource, context.server))
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
    async with asyncio.timeout(resource.stop_timeout_ms / 1000), netlink_socket() as netlink:
        before = await addresses_of(netlink)
        present = [h for h in before if h.address.ip == wanted.ip]
        for one in present:
            await change_address(netlink, "del", one)
        if not present:
            return ResourceOutcome(ok=True, text=f"{wanted.ip} was not here")
        after = await addresses_of(netlink)
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
    async with asyncio.timeout(LOOK_S), netlink_socket() as netlink:
        links = await links_of(netlink)
        held = await addresses_of(netlink)
        present = next((h for h in held if h.address.ip == wanted.ip), None)
        link = next((x for x in links if present is not None and x.index == present.index), None)
        if present is not None and link is not None and not present.flags & IFA_F_DADFAILED:
            return _seen(link)
        # Without its own address the interface cannot be found by its network.
        name = _interface(resource, context.server) or place
        link = interface_for(links, held, wanted, name)
        if present is not None:
            await change_address(netlink, "del", present)
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
    try:
        return await _await_dad(netlink, link, wanted)
    except asyncio.CancelledError:
        # Time is up before the kernel said whether another host has it.
        await _remove(netlink, wanted)
        raise


async def _add(
    netlink: AsyncIPRoute, link: Link, wanted: IPv4Interface | IPv6Interface, flags: int
) -> None:
    await change_address(
        netlink, "add", Held(index=link.index, address=wanted, flags=flags, scope=0, label="")
    )


async def _remove(netlink: AsyncIPRoute, wanted: IPv4Interface | IPv6Interface) -> None:
    for held in await addresses_of(netlink):
        if held.address.ip == wanted.ip:
            await change_address(netlink, "del", held)


def _taken(link: Link, wanted: IPv4Interface | IPv6Interface, mac: bytes) -> Taken:
    return Taken(
        ExitCode.FAILED,
        f"{wanted.ip} is in use already: {mac_text(mac)} answers for it on {link.name}",
        "find that machine, or set `duplicate_check = false` if a switch answers for others",
    )


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
            await change_address(netlink, "add", held)


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
        mine = [h for h in await addresses_of(netlink) if h.address.ip == wanted.ip]
        flags = mine[0].flags if mine else 0
        if not mine or flags & IFA_F_DADFAILED:
            await _remove(netlink, wanted)
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
            await _remove(netlink, wanted)
            raise ClpError(
                ExitCode.FAILED,
                f"{wanted.ip} could not be checked for duplicates on {link.name} "
                f"within {DAD_LIMIT_S:g} s",
                f"ip link show {link.name}: without carrier no IPv6 address becomes usable",
            )
        await asyncio.sleep(DAD_POLL_S)
        waited += DAD_POLL_S
