"""Which traps are admitted, by source and community, and the counters of what becomes of all.

Only the UDP source decides whose BMC sent a trap.  A keyword address accepts the BMC of this server
and the further sources that its configuration names.  If such a source speaks for several servers,
a variable of the trap says which one is meant.  agent-addr and snmpTrapAddress are shown, never
trusted.
"""

from __future__ import annotations

import contextlib
import socket

import msgspec

from clptools.config.address import Endpoint, endpoint
from clptools.core.model.settings import Monitor, Settings, SnmpUser, TrapSource

CATEGORY = "BMCNOTICE"
DEFAULT_PORT = 162
FOREIGN_RATE = 50
"""Datagrams a second from foreign addresses that are worth decoding."""

_OWN = ("127.0.0.1", "::1")
_LINK_LOCAL = ("fe8", "fe9", "fea", "feb")
"""fe80::/10 (RFC 4291, section 2.5.6)."""


class Counters(msgspec.Struct, kw_only=True):
    """What became of datagrams since the agent started (`clpstat --hw`).

    What was sent to a keyword address and reached this host is `received`, `kernel_dropped` or
    `foreign_dropped`.
    """

    received: int = 0
    """Read from the kernel, taken or not."""
    accepted: int = 0
    duplicate: int = 0
    not_allowed: int = 0
    """From another address than the BMC's."""
    bad_community: int = 0
    """Wrong community, or SNMPv3 credentials."""
    malformed: int = 0
    unknown: int = 0
    """Taken, but of no class: recorded, no monitor changes."""
    kernel_dropped: int = 0
    """From the BMC's address, and lost before they could be read: the receive buffer was full."""
    foreign_dropped: int = 0
    """From other addresses, more at once than are read: dropped by the kernel."""
    shed: int = 0
    """From the BMC's address, not fatal, more at once than can be decoded: dropped."""
    presence: int = 0
    rehearsal: int = 0
    discovery: int = 0
    """SNMPv3: senders of INFORMs asking for engine ID and time."""
    replayed: int = 0
    storm: int = 0
    """Repeats dropped in a storm."""
    queue_full: int = 0
    undelivered: int = 0
    """Taken but not made durable, so not answered: the sender tries again."""
    elsewhere: int = 0
    """From a chassis manager, about another server than this."""

    def count(self, name: str, by: int = 1) -> None:
        """One more datagram with that fate."""
        setattr(self, name, getattr(self, name) + by)

    def as_dict(self) -> dict[str, int]:
        """Name -> count."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """Who may send to one keyword address of this server, and which monitors listen there."""

    server: str
    address: Endpoint
    bmc: str
    """Its BMC's address; empty: none is configured, and no trap is taken."""
    more: tuple[TrapSource, ...] = ()
    """Further sources: the BMC's other port, chassis managers."""
    monitors: tuple[Monitor, ...]
    cluster: frozenset[str] = frozenset()
    """Sources of rehearsals: addresses of the cluster's servers, and this host's own."""

    @property
    def users(self) -> tuple[SnmpUser, ...]:
        """SNMPv3 users of its monitors."""
        return tuple({user.user: user for m in self.monitors for user in m.snmpv3_users}.values())

    @property
    def sources(self) -> tuple[str, ...]:
        """Every address from which this server's traps come."""
        return (*((self.bmc,) if self.bmc else ()), *(s.address for s in self.more))

    def speaks(self, source: str) -> bool:
        """Whether this server's traps come from that source."""
        return any(same_source(known, source) for known in self.sources)

    def shares(self, source: str) -> tuple[TrapSource, ...]:
        """The entries of a source that speaks for several servers; none: only for this one."""
        if self.bmc and same_source(self.bmc, source):
            return ()
        found = tuple(s for s in self.more if same_source(s.address, source))
        return found if all(s.variable for s in found) else ()

    def listeners(self, community: bytes, user: str) -> tuple[str, ...]:
        """Monitors that take a message with that community, or from that v3 user."""
        if user:
            return tuple(
                m.name for m in self.monitors if any(u.user == user for u in m.snmpv3_users)
            )
        return tuple(m.name for m in self.monitors if community in communities(m))


def communities(monitor: Monitor) -> frozenset[bytes]:
    """The communities it takes: those configured; else `public`, none where there are v3 users."""
    if monitor.communities:
        return frozenset(text.encode() for text in monitor.communities)
    return frozenset() if monitor.snmpv3_users else frozenset((b"public",))


def admissions(settings: Settings, server: str) -> tuple[Admission, ...]:
    """One for each keyword address of `server`, in the order of its monitors."""
    own = settings.server(server)
    bmc = own.bmc if own is not None else None
    found: dict[Endpoint, list[Monitor]] = {}
    for monitor in settings.monitors:
        keyword = monitor.keywords.get(server)
        if monitor.type != "mrw" or monitor.category != CATEGORY or not keyword:
            continue
        if server not in monitor.servers:
            continue
        found.setdefault(endpoint(keyword, DEFAULT_PORT), []).append(monitor)
    lans = (path for path in settings.interconnects if path.is_lan)
    servers = {address for lan in lans for address in lan.addresses.values()}
    return tuple(
        Admission(
            server=server,
            address=address,
            bmc=known_source(bmc.address) if bmc is not None else "",
            more=tuple(
                msgspec.structs.replace(source, address=known_source(source.address))
                for source in (bmc.trap_sources if bmc is not None else ())
            ),
            monitors=tuple(monitors),
            cluster=frozenset(map(plain_source, {*servers, *_OWN, address.host})),
        )
        for address, monitors in found.items()
    )


def plain_source(host: str) -> str:
    """A source address without its zone; an IPv4 address in IPv6 form as plain IPv4."""
    host = host.partition("%")[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def known_source(host: str) -> str:
    """The same, but a link-local address keeps its zone, by name.

    Several hosts may have such an address; the zone says which one is meant.
    """
    plain, _, zone = host.partition("%")
    if not zone or not plain.lower().startswith(_LINK_LOCAL):
        return plain_source(host)
    with contextlib.suppress(OSError, OverflowError):
        if zone.isdecimal():
            zone = socket.if_indextoname(int(zone))
    return f"{plain}%{zone}"


def source_of(peer: tuple[str | int, ...]) -> str:
    """`known_source` of a socket address, which holds the zone as a separate number."""
    host, scope = str(peer[0]), peer[3] if len(peer) > 3 else 0
    return known_source(f"{host}%{scope}" if scope and "%" not in host else host)


def same_source(known: str, source: str) -> bool:
    """Whether `source` is the configured address `known`; without a zone that means any zone."""
    return known == source or ("%" not in known and known == source.partition("%")[0])
