"""Alert settings of a BMC: whether it would send a trap to the keyword address, and what to change.

A BMC sends a platform event trap only if its event filters, an alert policy, a destination, the
community and three switches all agree.  If one of them does not, no trap comes and nothing says so.
`AlertWay` reads and sets all of them; `ipmi_alerts` does so by IPMI, in band or over LAN.

Sources: IPMI 2.0 rev. 1.1: 17.7 (event filters), 17.11 (alert policies), 22.22 to 22.24 (channels),
23.1 and 23.2 with table 23-4 (LAN parameters), 30.1 to 30.8 with table 30-6 (PEF parameters).
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

import msgspec

from clptools.hardware.ipmi_requests import APP

SENSOR_EVENT, TRANSPORT = 0x04, 0x0C
"""Network functions (IPMI 2.0, table 5-1)."""
TRAP_PORT = 162
"""IPMI has no other: a BMC sends to this port even if the keyword names another one."""

_ALERT_IMMEDIATE = 0x16
_NO_COMMAND, _NO_PARAMETER = 0xC1, 0x80
_LAN_MEDIUM = 0x04
_THIS_CHANNEL = 0x0E
_COMMUNITY, _COUNT, _TYPE, _ADDRESS, _OWN_ADDRESS = 16, 17, 18, 19, 3
_CONTROL, _ACTIONS, _FILTERS, _FILTER, _POLICIES, _POLICY = 1, 2, 5, 6, 8, 9
_FILTER_BYTES = 20
_ENABLED, _MUTED = 0x80, 0x20
_CATCH_ALL = bytes((0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)) + bytes(9)
"""The rest of a filter, from the generator on: it matches every sender, sensor, event type and
offset, and its masks ignore the event data."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Where the traps of one server's BMC are to go."""

    server: str
    host: str
    port: int = TRAP_PORT
    communities: tuple[str, ...] = ("public",)
    """What the monitors there take; empty: SNMPv3 alone."""
    user: str = ""
    """The account of the BMC, for what a person may have to do; empty: not known."""

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
    """One reason why traps, or some of them, would not arrive."""

    text: str
    changes: tuple[Change, ...] = ()
    """The settings that correct it; empty: it cannot be set from here."""
    hint: str = ""


class AlertWay(Protocol):
    """Reads and sets the alerts of one BMC, by IPMI or by Redfish."""

    tells: str
    """What it sends: `trap` or `event`."""
    channel: str
    """How that comes, as the last `check` found it: `push` (it is sent to the keyword address), or
    a `stream` or a `log` that the agent reads."""

    @property
    def where(self) -> str:
        """How the BMC is reached, for messages."""

    async def check(self, wanted: Wanted) -> tuple[Finding, ...]:
        """What prevents traps to that address; empty: nothing does.  Raises ClpError."""

    async def set(self, finding: Finding) -> None:
        """Carries out the changes of one finding.  Raises ClpError."""

    async def send_test(self, wanted: Wanted) -> str:
        """Lets the BMC send a test there; returns what it was asked for.  Raises ClpError."""


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


def findings(found: Alerts, wanted: Wanted) -> tuple[Finding, ...]:
    """Why traps would not reach the keyword address, in the order in which to correct it."""
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
    """An address in the form in which addresses are compared."""
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
    """Mode and privilege stay.  Both the volatile and the stored setting change (22.22)."""
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
    """A free policy number; 1 where none is free."""
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
    # Severity 0: each event keeps its own; another value would be given to every event.
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
