"""NIC: links that lose their carrier, bond and team members, and faults of network drivers.

States come by rtnetlink(7) (RFC 2863's operational states; pyroute2 reads the messages), driver
faults from the kernel's log.  A device that no monitor names counts if it is hardware, a bond or
a team, and only once it had a link: unused ports and the interfaces of containers stay silent.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from clptools.common.threads import load
from clptools.intake.kernel import Kernel, enlarge, last_part
from clptools.intake.kmsg import Finding, Line
from clptools.intake.sources import Faults

MARSHAL = "pyroute2.netlink.rtnl.marshal"
RTMGRP_LINK = 1
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
NLM_F_REQUEST_DUMP = 0x301
IFF_UP, IFF_LOOPBACK, IFF_LOWER_UP = 0x1, 0x8, 0x10000
DOWN_STATES = ("DOWN", "LOWERLAYERDOWN", "NOTPRESENT")
"""RFC 2863; UNKNOWN comes from drivers that do not report a state."""
TEAMS = ("bond", "team")
BUFFER_BYTES = 4 << 20
BATCH = 64

NEEDLES = (
    b"NETDEV WATCHDOG", b"transmit timed out", b"Tx timeout", b"TX timeout", b"tx timeout",
    b"Unit Hang", b"Tx hang", b"TX hang", b"irmware", b"FW ", b"fatal error", b"adapter reset",
    b"MDD event", b"health poll failed", b"device's health compromised",
)  # fmt: skip
_WATCHDOG = re.compile(r"NETDEV WATCHDOG: (\S+) \(([^)]*)\): transmit queue (\d+) timed out")
_TIMEOUT = re.compile(r"transmit timed out|[Tt][Xx] [Tt]imeout|Unit Hang|T[Xx] hang", re.ASCII)
_FIRMWARE = re.compile(r"\b(?:firmware|FW)\b", re.IGNORECASE)
_FAILED = re.compile(
    r"\b(?:error|fault|fatal|assert\w*|crash\w*|hang|hung|halted|dead|"
    r"unresponsive|not responding|failed to respond|compromised|syndrome|recovery mode)\b",
    re.IGNORECASE,
)
_UNHEALTHY = re.compile(r"health poll failed|device's health compromised", re.IGNORECASE)
_HARMLESS = re.compile(r"failed to load|not found|request_firmware|Direct firmware load", re.I)
_DRIVER = re.compile(r"^(\S+) ([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?: (\S+?))?(?: \S+)?:")
"""dev_printk: driver, PCI address, and for netdev_printk the interface."""
_PLAIN = re.compile(r"^(?:\S+: )?(\S+?): ")


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An interface, as one message described it."""

    name: str
    up: bool
    """Switched on by its administrator."""
    running: bool
    master: int
    kind: str
    """`bond`, `veth`, ...; empty for hardware."""
    loopback: bool

    @property
    def counts(self) -> bool:
        """Whether it is watched without being named."""
        return not self.loopback and self.kind in ("", *TEAMS)

    @property
    def fault(self) -> str:
        """What is wrong, for people; empty: nothing."""
        if self.running:
            return ""
        return f"{self.name} has no carrier" if self.up else f"{self.name} is switched off"


async def watch(kernel: Kernel, faults: Faults, note: Callable[[str], None]) -> None:
    """See `sources.Watch`."""
    await asyncio.to_thread(load, MARSHAL)
    links = Links(faults)
    sock = _open()
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        try:
            for data in _messages(sock):
                links.data(data)
        except Exception as fault:
            loop.remove_reader(sock.fileno())
            if not ended.done():
                ended.set_exception(fault)

    def take(finding: Finding, times: int) -> None:
        links.driver(finding, times, kernel.sys)

    unlisten: Callable[[], None] = lambda: None  # noqa: E731
    loop.add_reader(sock.fileno(), readable)
    try:
        _ask(sock)
        try:
            unlisten = kernel.kmsg.listen(NEEDLES, read_line, take)
        except OSError as fault:
            note(f"NIC driver faults are not seen: {fault.filename}: {fault.strerror}")
        for name in await links.missing():
            note(f"There is no interface {name}; it is watched once it appears.")
        await ended
    finally:
        unlisten()
        loop.remove_reader(sock.fileno())
        sock.close()


class Links:
    """All interfaces, and what their changes mean."""

    def __init__(self, faults: Faults) -> None:
        from pyroute2.netlink.rtnl.marshal import MarshalRtnl

        self._marshal = MarshalRtnl()
        self._faults = faults
        self._links: dict[int, Link] = {}
        self._ran: set[str] = set()
        """Interfaces that had a link since the start, or that a monitor named then."""
        self._dumped = asyncio.Event()

    async def missing(self) -> list[str]:
        """Named interfaces that do not exist, once the kernel has listed them all."""
        await self._dumped.wait()
        known = {link.name for link in self._links.values()}
        return sorted(self._faults.watched.keywords - known)

    def data(self, data: bytes) -> None:
        """Messages of one datagram."""
        for message in self._marshal.parse(data):
            kind = message["header"]["type"]
            if kind == RTM_NEWLINK:
                self._new(message["index"], _link(message))
            elif kind == RTM_DELLINK:
                self._gone(message["index"])
            else:  # NLMSG_DONE
                self._dumped.set()

    def driver(self, finding: Finding, times: int, sys: str) -> None:
        """A fault that a driver wrote into the log."""
        name = self._name(finding.device, sys)
        known = {link.name for link in self._links.values()}
        if name in known or name in self._faults.watched.keywords:
            count = f" ({times} times)" if times > 1 else ""
            self._faults.fault(name, finding.fault, f"{finding.text}{count}")

    def _name(self, device: str, sys: str) -> str:
        """The interface of `n3`, of a PCI address, or of its own name."""
        if device[:1] == "n" and device[1:].isdigit() and int(device[1:]) in self._links:
            return self._links[int(device[1:])].name
        if device.count(":") == 2:
            for link in self._links.values():
                if last_part(f"{sys}/class/net/{link.name}/device") == device:
                    return link.name
        return device

    def _new(self, index: int, link: Link) -> None:
        before = self._links.get(index)
        if before is not None and before.name != link.name:
            # Renamed: from now on monitors know it by its new name.
            self._ran.discard(before.name)
        self._links[index] = link
        if before == link:
            return
        self._judge(link)
        if before is not None and before.master not in (0, link.master):
            self._member(before.master, link, left=True)
        self._member(link.master, link)

    def _judge(self, link: Link) -> None:
        named = link.name in self._faults.watched.keywords
        if not named and not link.counts:
            return
        if link.running or (named and not self._dumped.is_set()):
            self._ran.add(link.name)
        if link.running:
            self._faults.well(link.name, "link", f"{link.name} has its link again")
        # An interface that is only being set up has not failed, even if it is named.
        elif link.name in self._ran:
            self._faults.fault(link.name, "link", link.fault)

    def _member(self, master: int, link: Link, *, left: bool = False, gone: bool = False) -> None:
        """Updates a bond's or team's member; the loss of one predicts a failure."""
        team = self._links.get(master)
        if team is None or team.kind not in TEAMS:
            return
        fault = f"member {link.name}"
        if left or (link.running and not gone):
            self._faults.well(team.name, fault, f"{team.name}: {link.name} is in order again")
        elif link.name in self._ran or team.name in self._faults.watched.keywords:
            members = [one for one in self._links.values() if one.master == master]
            working = sum(one.running for one in members)
            what = f"{link.name} is gone" if gone else link.fault
            self._faults.fault(
                team.name,
                fault,
                f"{team.name}: member {what}; {working} of {len(members)} work",
                predictive=True,
            )

    def _gone(self, index: int) -> None:
        link = self._links.pop(index, None)
        if link is None:
            return
        if link.name in self._ran:
            self._faults.fault(link.name, "link", f"{link.name} is gone")
            self._member(link.master, link, gone=True)
        self._ran.discard(link.name)


def _is_of_firmware(text: str) -> bool:
    """Whether a line tells that a device's firmware failed."""
    named = _FIRMWARE.search(text)
    return (named is not None and _FAILED.search(text, named.end()) is not None) or (
        _UNHEALTHY.search(text) is not None
    )


def read_line(line: Line) -> Finding | None:
    """A transmit time-out or a firmware fault of a network driver."""
    text = line.text
    found = _WATCHDOG.search(text)
    if found:
        name, driver, queue = found.groups()
        said = f"{name} ({driver}): transmit queue {queue} timed out"
        return Finding(device=name, fault="transmit", text=said)
    if _TIMEOUT.search(text):
        fault = "transmit"
    elif _is_of_firmware(text) and not _HARMLESS.search(text):
        fault = "firmware"
    else:
        return None
    device = _device(line)
    return Finding(device=device, fault=fault, text=text) if device else None


def _device(line: Line) -> str:
    head = _DRIVER.match(line.text)
    if head and head[3] and head[3] != "(unnamed":
        return head[3].rstrip(":")
    if line.device.startswith("n"):
        return line.device
    if head:
        return head[2]
    if line.device.startswith("+pci:"):
        return line.device.removeprefix("+pci:")
    plain = _PLAIN.match(line.text)
    return plain[1] if plain else ""


def _open() -> socket.socket:
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
    )
    try:
        enlarge(sock, BUFFER_BYTES)
        sock.bind((0, RTMGRP_LINK))
    except OSError:
        sock.close()
        raise
    return sock


def _ask(sock: socket.socket) -> None:
    """Asks for all interfaces (struct nlmsghdr, struct ifinfomsg)."""
    head = struct.pack("=IHHII", 32, RTM_GETLINK, NLM_F_REQUEST_DUMP, 1, 0)
    sock.send(head + bytes(16))


def _messages(sock: socket.socket) -> Iterator[bytes]:
    for _ in range(BATCH):
        try:
            data, sender = sock.recvfrom(1 << 17)
        except BlockingIOError:
            return
        except OSError as fault:
            if fault.errno != errno.ENOBUFS:
                raise
            _ask(sock)  # changes were lost: read all states
            continue
        if sender[0] == 0:
            yield data


def _link(message: Any) -> Link:
    """From pyroute2's `ifinfmsg`."""
    flags = message["flags"]
    info = message.get_attr("IFLA_LINKINFO")
    state = message.get_attr("IFLA_OPERSTATE") or "UNKNOWN"
    up = bool(flags & IFF_UP)
    return Link(
        name=str(message.get_attr("IFLA_IFNAME") or ""),
        up=up,
        running=up and bool(flags & IFF_LOWER_UP) and state not in DOWN_STATES,
        master=message.get_attr("IFLA_MASTER") or 0,
        kind=str(info.get_attr("IFLA_INFO_KIND") or "") if info else "",
        loopback=bool(flags & IFF_LOOPBACK),
    )
