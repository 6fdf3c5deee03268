"""Which traps are admitted: source, community, repeats, storms, counters.

Only the UDP source decides whose BMC sent a trap.  A keyword address accepts the BMC of this server
and the further sources that its configuration names.  If such a source speaks for several servers,
a variable of the trap says which one is meant.  agent-addr and snmpTrapAddress are shown, never
trusted.
"""

from __future__ import annotations

import contextlib
import socket
from collections import OrderedDict
from typing import Generic, NamedTuple, TypeVar

import msgspec

from clptools.config.address import Endpoint, endpoint
from clptools.core.model.settings import Monitor, Settings, SnmpUser, TrapSource

CATEGORY = "BMCNOTICE"
DEFAULT_PORT = 162

KEEP_MS = 1_800_000
"""A BMC waits up to 255 s for an acknowledgement and sends up to 8 times (IPMI table 23-4)."""
KEEP = 4_096

RATE = 50
BURST = 200
"""Traps a second from one BMC, and at once, before repeats are dropped."""
REPEAT_MS = 10_000
"""In a storm, one trap of each fault passes in this time; its beginning always passes."""
FAULTS = 512
"""Most new faults that pass in a storm within two such times: a server has fewer sensors."""
GRAVE = 4_096
"""Fatal faults remembered in addition: any number of them passes, but memory is bounded."""
ENDS, ENDS_BURST = 1, 10
"""Ends of one fatal fault that pass, a second and at once: it may flap."""
HELD = 1_024
"""Faults whose newest trap is held back."""
FOREIGN_RATE = 50
"""Datagrams a second from foreign addresses that are worth decoding."""

_OWN = ("127.0.0.1", "::1")
_LINK_LOCAL = ("fe8", "fe9", "fea", "feb")
"""fe80::/10 (RFC 4291, section 2.5.6)."""

Value = TypeVar("Value")


class Counters(msgspec.Struct, kw_only=True):
    """Datagrams by fate, since the agent started (`clpstat --hw`).

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
    """Taken, but not made durable; not answered, so that the sender tries again."""
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


class Recent(Generic[Value]):
    """Keys seen within the last half hour, each with a value; the oldest go first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[int, Value]] = OrderedDict()

    def find(self, key: str, now_ms: int) -> Value | None:
        """What was remembered under `key`, or None."""
        found = self._seen.get(key)
        return found[1] if found is not None and now_ms - found[0] <= KEEP_MS else None

    def remember(self, key: str, value: Value, now_ms: int) -> None:
        """Remembers `value` under `key`."""
        self._seen[key] = (now_ms, value)
        self._seen.move_to_end(key)
        if len(self._seen) > KEEP:
            self._seen.popitem(last=False)

    def forget(self, key: str) -> None:
        """Forgets `key`."""
        self._seen.pop(key, None)


class Bucket:
    """Lets through `rate` a second, `burst` at once."""

    def __init__(self, rate: int, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst * 1000
        self._at_ms: int | None = None

    def take(self, now_ms: int) -> bool:
        """Whether one more may pass now."""
        if self._at_ms is not None:
            self._tokens += max(0, now_ms - self._at_ms) * self._rate
            self._tokens = min(self._tokens, self._burst * 1000)
        self._at_ms = now_ms
        if self._tokens < 1000:
            return False
        self._tokens -= 1000
        return True


class _Passed(NamedTuple):
    """The last trap of a fault that passed."""

    state: str
    at_ms: int
    ends: Bucket | None
    """How often the end of an urgent fault may pass; None: this is no such fault."""


class Storm(Generic[Value]):
    """One BMC's storm: what is new passes at once, repeats of one fault are held back.

    A BMC that sends a thousand traps a second for a flapping sensor must hide neither a fatal trap
    among them nor the final state.  So the latest held trap of each fault is released if its state
    differs from the last that passed.  Thousands of faults at once are an attack, not a server:
    `FAULTS` of them pass, and any number of fatal ones.
    """

    def __init__(self) -> None:
        self._bucket = Bucket(RATE, BURST)
        self._passed: OrderedDict[str, _Passed] = OrderedDict()
        self._grave = 0
        """How many of these were fatal, or the end of a fatal fault."""
        self._held: dict[str, tuple[str, bool, Value]] = {}
        self.dropped = 0
        """Traps held back in the present storm; 0: there is no storm."""
        self.quiet_since_ms = 0

    def admit(
        self,
        fault: str,
        state: str,
        urgent: bool,
        item: Value,
        now_ms: int,
        *,
        ends_urgent: bool = False,
    ) -> bool:
        """Whether `item` passes now.

        `fault` is its subject and `state` its statement.  An `urgent` one never waits for the storm
        to end, unless it only repeats what passed last.  `ends_urgent`: it may end an urgent fault,
        and counts among those.
        """
        grave = urgent or ends_urgent
        calm = self._bucket.take(now_ms)
        last = self._passed.get(fault)
        if last is None:
            passes = calm or self._has_place(grave)
        else:
            passes = calm or now_ms - last.at_ms >= REPEAT_MS
            if not passes and last.state != state:
                # The end passes too, now and then: if it were held back, the same fault again would
                # be no news, though it began anew.
                ended = ends_urgent and last.ends is not None and last.ends.take(now_ms)
                passes = urgent or ended
        if not passes:
            return self._hold(fault, state, grave, item, now_ms)
        self._pass(fault, state, grave, now_ms)
        return True

    def release(self, now_ms: int) -> list[Value]:
        """The held traps that say something new; to be called every REPEAT_MS of a storm."""
        self._fade(now_ms)
        held, self._held = self._held, {}
        news: list[Value] = []
        for fault, (state, grave, item) in held.items():
            last = self._passed.get(fault)
            if last is None and not self._has_place(grave):
                self._held[fault] = (state, grave, item)
            elif last is None or last.state != state:
                self._pass(fault, state, grave, now_ms)
                news.append(item)
        return news

    def drop(self, now_ms: int) -> None:
        """Counts one that did not pass."""
        self.dropped += 1
        self.quiet_since_ms = now_ms

    def _has_place(self, grave: bool) -> bool:
        return grave or len(self._passed) - self._grave < FAULTS

    def _hold(self, fault: str, state: str, grave: bool, item: Value, now_ms: int) -> bool:
        if fault in self._held or fault in self._passed or len(self._held) < HELD:
            self._held[fault] = (state, grave, item)
        self.drop(now_ms)
        return False

    def _pass(self, fault: str, state: str, grave: bool, now_ms: int) -> None:
        self._held.pop(fault, None)
        last = self._passed.get(fault)
        ends = last.ends if last is not None else None
        if grave and ends is None:
            ends = Bucket(ENDS, ENDS_BURST)
        self._forget(fault)
        self._passed[fault] = _Passed(state, now_ms, ends)
        self._grave += ends is not None
        self._fade(now_ms)

    def _fade(self, now_ms: int) -> None:
        while self._passed:
            oldest, passed = next(iter(self._passed.items()))
            # A held trap is compared with the one that passed, so that one is kept as long.
            old = now_ms - passed.at_ms >= 2 * REPEAT_MS and oldest not in self._held
            if not old and self._grave <= GRAVE:
                break
            self._forget(oldest)

    def _forget(self, fault: str) -> None:
        known = self._passed.pop(fault, None)
        if known is not None:
            self._grave -= known.ends is not None
