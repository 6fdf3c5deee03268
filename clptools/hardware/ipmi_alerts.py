"""The alerts of a BMC by IPMI: its settings read and written, its traps acknowledged."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Callable

from clptools.core.notices.form import Notice
from clptools.faults import ClpError, ExitCode
from clptools.hardware.alerts import (
    _ACTIONS,
    _ADDRESS,
    _ALERT_IMMEDIATE,
    _CATCH_ALL,
    _COMMUNITY,
    _CONTROL,
    _COUNT,
    _ENABLED,
    _FILTER,
    _FILTER_BYTES,
    _FILTERS,
    _LAN_MEDIUM,
    _NO_COMMAND,
    _NO_PARAMETER,
    _OWN_ADDRESS,
    _POLICIES,
    _POLICY,
    _THIS_CHANNEL,
    _TYPE,
    SENSOR_EVENT,
    TRANSPORT,
    Alerts,
    Destination,
    Filter,
    Finding,
    Policy,
    Wanted,
    _address,
    findings,
    plain,
)
from clptools.hardware.ipmi_requests import APP, Asked, BmcError
from clptools.hardware.notices import NotAcknowledged

_PET_ACKNOWLEDGE = 0x17
_WAITING = 256
"""Traps that wait for their acknowledgement; the BMC resends those beyond it."""
_REMEMBERED = 1_024
_ASK_AGAIN_S = 60.0
_PATIENCE_S = 2.0


def acknowledgement(octets: bytes) -> bytes:
    """The request that acknowledges a PET with these octets (IPMI 2.0, 30.8), LS byte first."""
    return b"".join(
        (octets[17:15:-1], octets[21:17:-1], octets[25:26], octets[27:29], octets[31:34])
    )


class Acknowledger:
    """Acknowledges traps of the own BMC, where it expects that (PET Acknowledge).

    Such a BMC resends a trap until it is acknowledged.  Its alert destination says whether it does
    (IPMI 2.0, table 23-4, parameter 18); that is read when its first trap comes.  A BMC that does
    not say, but resends, expects it too.  Only a trap on the disk is acknowledged: one that could
    not be kept must come again.
    """

    def __init__(self, on_change: Callable[[Notice], None]) -> None:
        """`on_change` gets a notice if the BMC refuses acknowledgements."""
        self._on_change = on_change
        self._alerts: IpmiAlerts | None = None
        self._bmc: Asked | None = None
        self._hosts: frozenset[str] = frozenset()
        self._wanted: bool | None = None
        """None: not known yet."""
        self._ask_at_s = 0.0
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        self._working: asyncio.Task[None] | None = None
        self._told = False

    def apply(self, bmc: Asked | None, address: str, hosts: frozenset[str]) -> None:
        """Takes the own BMC, if there is one, and the keyword addresses."""
        if bmc is self._bmc and hosts == self._hosts:
            return
        self.close()
        self._bmc, self._hosts = bmc, frozenset(map(plain, hosts))
        self._alerts = None if bmc is None else IpmiAlerts(bmc, address)
        self._wanted, self._ask_at_s, self._told = None, 0.0, False

    def taken(self, octets: bytes) -> None:
        """A PET of the own BMC is on the disk, since now or since before."""
        if self._alerts is None or len(octets) < 34:
            return
        if octets in self._seen:
            self._wanted = True
        self._seen[octets] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if self._wanted is False or self._queue.full():
            return
        self._queue.put_nowait(octets)
        if self._working is None or self._working.done():
            self._working = asyncio.get_running_loop().create_task(self._work())

    def close(self) -> None:
        """Stops, and forgets what still waits."""
        if self._working is not None:
            self._working.cancel()
            self._working = None
        while not self._queue.empty():
            self._queue.get_nowait()

    async def _work(self) -> None:
        while not self._queue.empty():
            octets = self._queue.get_nowait()
            if self._wanted is None:
                await self._ask()
            if self._wanted and self._bmc is not None:
                await self._send(self._bmc, octets)

    async def _ask(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._alerts is None or now_s < self._ask_at_s:
            return
        self._ask_at_s = now_s + _ASK_AGAIN_S
        try:
            found = await self._alerts.destinations()
        except ClpError:
            return  # other parts report a BMC that does not answer
        if self._wanted is None:
            self._wanted = any(d.acknowledged for d in found if d.address in self._hosts)

    async def _send(self, bmc: Asked, octets: bytes) -> None:
        data = acknowledgement(octets)
        try:
            await bmc.command(
                "PET acknowledge", SENSOR_EVENT, _PET_ACKNOWLEDGE, data, patience_s=_PATIENCE_S
            )
        except ClpError as error:
            if not self._told:
                self._told = True
                self._on_change(NotAcknowledged(error.message))


class IpmiAlerts:
    """The alerts of a BMC by IPMI, over whichever way `bmc` takes requests."""

    tells = "trap"
    channel = "push"

    def __init__(self, bmc: Asked, address: str) -> None:
        """`address`: the BMC's own; in band, it says which LAN channel is meant."""
        self._bmc = bmc
        self._address = address

    @property
    def where(self) -> str:
        """How it was reached last."""
        return self._bmc.where

    async def read(self) -> Alerts:
        """All settings; what the BMC has no command for is empty.  Raises BmcError."""
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
        """The destinations of the LAN channel.  Raises BmcError."""
        return await self._destinations(await self._channel())

    async def check(self, wanted: Wanted) -> tuple[Finding, ...]:
        """As `AlertWay.check`."""
        return findings(await self.read(), wanted)

    async def set(self, finding: Finding) -> None:
        """As `AlertWay.set`."""
        for change in finding.changes:
            await self._bmc.command(change.text, change.netfn, change.command, change.data)

    async def send_test(self, wanted: Wanted) -> str:
        """Alert Immediate (30.7): tests the destination, and no filter or policy."""
        channel = await self._channel()
        known = await self._destinations(channel)
        found = next((d for d in known if d.address == plain(wanted.host)), None)
        if found is None:
            hint = f"clpbmccnf --alerts {wanted.server} sets it."
            if not known:
                hint = (
                    "IPMI can set none there: set it in the BMC's own interface, and send a test "
                    "from there (docs/bmc.md)."
                )
            text = f"The BMC of {wanted.server} has no alert destination {wanted.host}."
            raise ClpError(ExitCode.FAILED, text, hint)
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
        """The LAN channel of this connection; in band, the one with the BMC's address."""
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
        entries = await self._pef_entries(_FILTERS, _FILTER, _FILTER_BYTES)
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
        entries = await self._pef_entries(_POLICIES, _POLICY, 3)
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

    async def _pef_entries(self, count: int, parameter: int, size: int) -> list[tuple[int, bytes]]:
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
