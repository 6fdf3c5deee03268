"""The way of a trap: whether a BMC would send one to the keyword address, and that it does.

A BMC sends a platform event trap if its event filters, an alert policy, a destination, the
community and three switches all agree; where one does not, nothing comes, as if nothing had
happened.  `AlertWay` reads and sets all of that; `IpmiAlerts` does so by IPMI, in band or over LAN.

Sources: IPMI 2.0 rev. 1.1: 17.7 (event filters), 17.11 (alert policies), 22.22 to 22.24 (channels),
23.1 and 23.2 with table 23-4 (LAN parameters), 30.1 to 30.8 with table 30-6 (PEF parameters).
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

import msgspec

from clptools.faults import ClpError, ExitCode
from clptools.hardware.ipmi import APP, Asked, BmcError

SENSOR_EVENT, TRANSPORT = 0x04, 0x0C
"""Network functions (IPMI 2.0, table 5-1)."""
TRAP_PORT = 162
"""IPMI has no other: a BMC sends there, whatever the keyword says."""

_ALERT_IMMEDIATE = 0x16
_NO_COMMAND, _NO_PARAMETER = 0xC1, 0x80
_LAN_MEDIUM = 0x04
_THIS_CHANNEL = 0x0E
_COMMUNITY, _COUNT, _TYPE, _ADDRESS, _OWN_ADDRESS = 16, 17, 18, 19, 3
_CONTROL, _ACTIONS, _FILTERS, _FILTER, _POLICIES, _POLICY = 1, 2, 5, 6, 8, 9
_FILTER_BYTES = 20
_ENABLED, _MUTED = 0x80, 0x20
_CATCH_ALL = bytes((0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)) + bytes(9)
"""Of a filter, from its generator on: every sender, sensor, event type and offset, and masks that
look at no event data."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Where the traps of one server's BMC are to go."""

    server: str
    host: str
    port: int = TRAP_PORT
    communities: tuple[str, ...] = ("public",)
    """What the monitors there take; empty: SNMPv3 alone."""

    @property
    def where(self) -> str:
        """The keyword address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to set."""

    text: str
    netfn: int
    command: int
    data: bytes


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing because of which a trap would not arrive, or not every one."""

    text: str
    changes: tuple[Change, ...] = ()
    """What mends it; empty: nothing that can be set from here."""
    hint: str = ""


class AlertWay(Protocol):
    """How the alerts of one BMC are looked at and set: by IPMI, or by Redfish."""

    tells: str
    """What it sends: `trap` or `event`."""

    @property
    def where(self) -> str:
        """How the BMC is reached, for messages."""

    async def check(self, wanted: Wanted) -> tuple[Finding, ...]:
        """What differs; empty: a trap would be sent there.  Raises ClpError."""

    async def set(self, finding: Finding) -> None:
        """Carries out the changes of one finding.  Raises ClpError."""

    async def send_test(self, wanted: Wanted) -> str:
        """Lets the BMC send a test there; says what it was told.  Raises ClpError."""


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """One of a channel's alert destinations (table 23-4, parameters 18 and 19)."""

    selector: int
    kind: int
    """0: a PET."""
    acknowledged: bool
    """The BMC sends it again until it gets PET Acknowledge."""
    timeout_s: int
    retries: int
    address: str
    """Empty: none is set."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the alert policy table (17.11)."""

    entry: int
    number: int
    enabled: bool
    action: int
    """0: always send; others depend on what other entries of that number did."""
    channel: int
    destination: int


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the event filter table (17.7)."""

    entry: int
    enabled: bool
    by_maker: bool
    """It may only be switched on and off."""
    alerts: bool
    policy: int
    catch_all: bool


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """How the alerts of a BMC are set."""

    channel: int
    access: int
    """Channel Access, first byte; bit 5 switches alerts of this channel off."""
    community: str
    destinations: tuple[Destination, ...]
    alerting: bool
    """The BMC can alert by event filters at all."""
    control: int
    actions: int
    filters: tuple[Filter, ...]
    policies: tuple[Policy, ...]

    def destination(self, host: str) -> Destination | None:
        """The one with that address."""
        wanted = plain(host)
        return next((d for d in self.destinations if d.address == wanted), None)


class IpmiAlerts:
    """By IPMI, in band where `bmc` is so asked, or over LAN."""

    tells = "trap"

    def __init__(self, bmc: Asked, address: str) -> None:
        """`address`: of the BMC, which tells its LAN channels apart."""
        self._bmc = bmc
        self._address = address

    @property
    def where(self) -> str:
        """How it was reached last."""
        return self._bmc.where

    async def read(self) -> Alerts:
        """All of it.  Raises BmcError; a BMC without the commands has none of what they tell."""
        channel = await self._channel()
        community = await self._lan(channel, _COMMUNITY)
        destinations = await self._destinations(channel)
        capabilities = await self._or_none("PEF capabilities", SENSOR_EVENT, 0x10, b"")
        alerting = bool(capabilities and len(capabilities) > 1 and capabilities[1] & 1)
        control, actions = await self._pef(_CONTROL), await self._pef(_ACTIONS)
        return Alerts(
            channel=channel,
            access=await self._access(channel),
            community=(community or b"").split(b"\0")[0].decode("latin-1"),
            destinations=destinations,
            alerting=alerting,
            control=control[0] if control else 0,
            actions=actions[0] if actions else 0,
            filters=await self._filters() if alerting else (),
            policies=await self._policies() if alerting else (),
        )

    async def destinations(self) -> tuple[Destination, ...]:
        """Those of the LAN channel.  Raises BmcError."""
        return await self._destinations(await self._channel())

    async def check(self, wanted: Wanted) -> tuple[Finding, ...]:
        """As `AlertWay.check`."""
        return findings(await self.read(), wanted)

    async def set(self, finding: Finding) -> None:
        """As `AlertWay.set`."""
        for change in finding.changes:
            await self._bmc.command(change.text, change.netfn, change.command, change.data)

    async def send_test(self, wanted: Wanted) -> str:
        """Alert Immediate (30.7): past filters and policies, to the destination alone."""
        channel = await self._channel()
        found = next(
            (d for d in await self._destinations(channel) if d.address == plain(wanted.host)), None
        )
        if found is None:
            raise ClpError(
                ExitCode.FAILED,
                f"The BMC of {wanted.server} has no alert destination {wanted.host}.",
                f"clpbmccnf --alerts {wanted.server} sets it.",
            )
        data = bytes((channel, found.selector, 0))
        try:
            await self._bmc.command("alert immediate", SENSOR_EVENT, _ALERT_IMMEDIATE, data)
        except BmcError as error:
            if error.completion_code != _NO_COMMAND:
                raise
            raise ClpError(
                ExitCode.FAILED,
                f"The BMC of {wanted.server} cannot be told to send a trap (Alert Immediate: "
                f"{error.fault}).",
                "Most BMCs have a button for a test trap in their own interface: press it.",
            ) from None
        return f"alert destination {found.selector} of LAN channel {channel}"

    # -- reading ------------------------------------------------------------------------------

    async def _channel(self) -> int:
        """The LAN channel that is asked through; in band, the one with the BMC's address."""
        first = 0
        for number in (_THIS_CHANNEL, *range(1, 0x0C)):
            info = await self._or_none("channel info", APP, 0x42, bytes((number,)))
            if not info or len(info) < 2 or info[1] & 0x7F != _LAN_MEDIUM:
                continue
            channel = info[0] & 0x0F
            if number == _THIS_CHANNEL:
                return channel
            own = await self._lan(channel, _OWN_ADDRESS)
            if own and len(own) == 4 and str(ipaddress.IPv4Address(own)) == self._address:
                return channel
            first = first or channel
        return first or 1

    async def _access(self, channel: int) -> int:
        got = await self._or_none("channel access", APP, 0x41, bytes((channel, 0x80)))
        return got[0] if got else 0

    async def _destinations(self, channel: int) -> tuple[Destination, ...]:
        count = await self._lan(channel, _COUNT)
        found: list[Destination] = []
        for selector in range(1, 1 + (count[0] & 0x0F if count else 0)):
            kind = await self._lan(channel, _TYPE, selector)
            address = await self._lan(channel, _ADDRESS, selector)
            if not kind or len(kind) < 4 or not address or len(address) < 7:
                continue
            found.append(
                Destination(
                    selector=selector,
                    kind=kind[1] & 7,
                    acknowledged=bool(kind[1] & 0x80),
                    timeout_s=kind[2],
                    retries=kind[3] & 7,
                    address=_address(address),
                )
            )
        return tuple(found)

    async def _filters(self) -> tuple[Filter, ...]:
        entries = await self._pef_entries("event filter", _FILTERS, _FILTER, _FILTER_BYTES)
        return tuple(
            Filter(
                entry=number,
                enabled=bool(data[0] & _ENABLED),
                by_maker=bool(data[0] & 0x60),
                alerts=bool(data[1] & 1),
                policy=data[2] & 0x0F,
                catch_all=data[4:20] == _CATCH_ALL,
            )
            for number, data in entries
        )

    async def _policies(self) -> tuple[Policy, ...]:
        entries = await self._pef_entries("alert policy", _POLICIES, _POLICY, 3)
        return tuple(
            Policy(
                entry=number,
                number=data[0] >> 4,
                enabled=bool(data[0] & 8),
                action=data[0] & 7,
                channel=data[1] >> 4,
                destination=data[1] & 0x0F,
            )
            for number, data in entries
        )

    async def _pef_entries(
        self, what: str, count: int, parameter: int, size: int
    ) -> list[tuple[int, bytes]]:
        told = await self._pef(count)
        found: list[tuple[int, bytes]] = []
        for number in range(1, 1 + (told[0] & 0x7F if told else 0)):
            data = await self._pef(parameter, number)
            if data and len(data) > size:
                found.append((number, data[1:]))
        return found

    async def _lan(self, channel: int, parameter: int, selector: int = 0) -> bytes | None:
        """A LAN parameter; None: the BMC does not have it."""
        data = bytes((channel, parameter, selector, 0))
        got = await self._or_none(f"LAN parameter {parameter}", TRANSPORT, 2, data)
        return got[1:] if got else None

    async def _pef(self, parameter: int, selector: int = 0) -> bytes | None:
        data = bytes((parameter, selector, 0))
        got = await self._or_none(f"PEF parameter {parameter}", SENSOR_EVENT, 0x13, data)
        return got[1:] if got else None

    async def _or_none(self, what: str, netfn: int, command: int, data: bytes) -> bytes | None:
        """An answer; None where the BMC refuses: it has no such command, parameter or channel."""
        try:
            return (await self._bmc.command(what, netfn, command, data))[0]
        except BmcError as error:
            if error.completion_code in (_NO_COMMAND, _NO_PARAMETER, 0xC9, 0xCB, 0xCC, 0xCE):
                return None
            raise


def findings(found: Alerts, wanted: Wanted) -> tuple[Finding, ...]:
    """What would keep a trap from the keyword address, in the order in which it is to be set."""
    told: list[Finding] = []
    if wanted.port != TRAP_PORT:
        told.append(
            Finding(
                text=f"it sends to port {TRAP_PORT}, the keyword says {wanted.port}",
                hint=f"Write {wanted.host} without a port, or redirect UDP port {TRAP_PORT} there.",
            )
        )
    if not wanted.communities:
        told.append(
            Finding(
                text="its IPMI alerts are SNMP v1, the monitor takes SNMPv3 alone",
                hint="Set the alerts in the BMC's own interface, or give the monitor a community.",
            )
        )
    elif found.community not in wanted.communities:
        told.append(_community(found, wanted.communities[0]))
    if found.access & _MUTED:
        told.append(_muted(found.channel, found.access))
    if not found.destinations:
        told.append(
            Finding(
                text="it has no alert destinations that IPMI can set",
                hint="Set the trap destination in the BMC's own interface (docs/bmc.md).",
            )
        )
        return tuple(told)
    destination = found.destination(wanted.host)
    if destination is None or destination.kind:
        destination, finding = _destination(found, destination, wanted.host)
        told.append(finding)
    if not found.alerting:
        hint = "Switch alerts on in the BMC's own interface (docs/bmc.md)."
        told.append(Finding(text="it cannot alert by event filters", hint=hint))
    elif destination is not None:
        told += _filtering(found, destination)
    return tuple(told)


def _filtering(found: Alerts, destination: Destination) -> list[Finding]:
    told: list[Finding] = []
    ours = [
        p.number
        for p in found.policies
        if p.enabled
        and not p.action
        and (p.channel, p.destination) == (found.channel, destination.selector)
    ]
    alerting = [f for f in found.filters if f.enabled and f.alerts]
    everything = [f for f in alerting if f.catch_all]
    used = {f.policy for f in everything} or {f.policy for f in alerting}
    number = next((n for n in ours if n in used), 0)
    if not number:
        number = min(used - {0}, default=ours[0] if ours else _unused(found))
        if number not in ours:
            told.append(_policy(found, number, destination))
    if not any(f.policy == number for f in everything):
        told.append(_filter(found, number, len(alerting)))
    if not found.control & 1:
        told.append(
            _switch("platform event filtering is off", "PEF on", _CONTROL, found.control | 1)
        )
    if not found.actions & 1:
        told.append(
            _switch(
                "the alert action of its filters is off", "alerts on", _ACTIONS, found.actions | 1
            )
        )
    return told


def plain(host: str) -> str:
    """An address as it is compared."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return host


def _address(data: bytes) -> str:
    """Of parameter 19; pyghmi and some BMCs write the format of IPv6 as 8 instead of 1."""
    if data[1] >> 4:
        return (
            "" if not any(data[2:18]) else str(ipaddress.IPv6Address(data[2:18].ljust(16, b"\0")))
        )
    return "" if not any(data[3:7]) else str(ipaddress.IPv4Address(data[3:7]))


def _community(found: Alerts, wanted: str) -> Finding:
    data = wanted.encode("latin-1", "replace")
    if len(data) > 18:
        return Finding(
            text=f"its community is another one, and {wanted!r} is longer than IPMI's 18 bytes",
            hint="Give the monitor a shorter community.",
        )
    change = Change(
        text="set the community",
        netfn=TRANSPORT,
        command=1,
        data=bytes((found.channel, _COMMUNITY)) + data.ljust(18, b"\0"),
    )
    return Finding(text="its community is none that the monitor takes", changes=(change,))


def _muted(channel: int, access: int) -> Finding:
    """Mode and privilege stay; it is set for now, and for after a restart of the BMC (22.22)."""
    changes = tuple(
        Change(
            text=f"switch alerts of channel {channel} on",
            netfn=APP,
            command=0x40,
            data=bytes((channel, kept | access & 0x1F, 0)),
        )
        for kept in (0x40, 0x80)
    )
    text = f"alerts of its LAN channel {channel} are switched off (Channel Access)"
    return Finding(text=text, changes=changes)


def _destination(
    found: Alerts, wrong: Destination | None, host: str
) -> tuple[Destination | None, Finding]:
    free = wrong or next((d for d in found.destinations if not d.address), None)
    if free is None:
        taken = ", ".join(d.address for d in found.destinations)
        return None, Finding(
            text=f"none of its alert destinations is {host}, and none is free ({taken})",
            hint="Clear one in the BMC's own interface.",
        )
    address = ipaddress.ip_address(plain(host))
    packed = address.packed
    body = b"\x10" + packed if address.version == 6 else b"\0\0" + packed + bytes(6)
    selector = bytes((free.selector,))
    kind = bytes((0x80 if free.acknowledged else 0, free.timeout_s, free.retries))
    head = bytes((found.channel,))
    changes = (
        Change(
            text=f"set the type of destination {free.selector}",
            netfn=TRANSPORT,
            command=1,
            data=head + bytes((_TYPE,)) + selector + kind,
        ),
        Change(
            text=f"set destination {free.selector} to {host}",
            netfn=TRANSPORT,
            command=1,
            data=head + bytes((_ADDRESS,)) + selector + body,
        ),
    )
    text = f"none of its alert destinations is {host}"
    if wrong is not None:
        text = f"its alert destination {host} gets no platform event traps"
    return free, Finding(text=text, changes=changes)


def _unused(found: Alerts) -> int:
    """A policy number that nobody uses; 1 where all are."""
    taken = {p.number for p in found.policies if p.enabled}
    return next((n for n in range(1, 16) if n not in taken), 1)


def _policy(found: Alerts, number: int, destination: Destination) -> Finding:
    text = f"no alert policy leads to destination {destination.selector}"
    free = next((p for p in found.policies if not p.enabled), None)
    if free is None:
        hint = "Clear an alert policy in the BMC's own interface."
        return Finding(text=f"{text}, and none is free", hint=hint)
    data = bytes(
        (_POLICY, free.entry, number << 4 | 8, found.channel << 4 | destination.selector, 0)
    )
    change = Change(
        text=f"set alert policy {free.entry}", netfn=SENSOR_EVENT, command=0x12, data=data
    )
    return Finding(text=text, changes=(change,))


def _filter(found: Alerts, number: int, others: int) -> Finding:
    text = "no event filter sends everything"
    if others:
        text += f", only what {others} filters select is sent"
    free = next((f for f in found.filters if not f.enabled and not f.by_maker), None)
    if free is None:
        hint = "Let the alerts of all events be sent, in the BMC's own interface."
        return Finding(text=f"{text}, and no filter is free", hint=hint)
    # Severity 0: the event itself gives the class; another would be said of every event alike.
    body = bytes((_ENABLED, 1, number, 0)) + _CATCH_ALL
    change = Change(
        text=f"set event filter {free.entry}",
        netfn=SENSOR_EVENT,
        command=0x12,
        data=bytes((_FILTER, free.entry)) + body,
    )
    return Finding(text=text, changes=(change,))


def _switch(text: str, what: str, parameter: int, value: int) -> Finding:
    data = bytes((parameter, value))
    change = Change(text=f"switch {what}", netfn=SENSOR_EVENT, command=0x12, data=data)
    return Finding(text=text, changes=(change,))
