"""The BMCs of all servers, as the agent uses them: reads for proof, forced stops, the own one."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from clptools import paths
from clptools.config.address import endpoint
from clptools.config.monitors import BMCNOTICE
from clptools.core.model.actions import Fence
from clptools.core.model.events import FenceDone, HostActionDone, PowerRead
from clptools.core.model.settings import Bmc, Settings
from clptools.core.model.words import BmcOrder, PowerState
from clptools.core.notices.form import Notice
from clptools.faults import ClpError, ExitCode
from clptools.hardware import power, watchdog
from clptools.hardware.bmc_checks import Echoes, Guids
from clptools.hardware.ipmi import BmcClient, IpmiProcesses
from clptools.hardware.ipmi_alerts import Acknowledger
from clptools.hardware.ipmi_device import LocalIpmi, NoLan, OwnBmc
from clptools.hardware.ipmi_requests import APP, Asked, BmcError, mend
from clptools.hardware.watchdog import OwnTimer, State

if TYPE_CHECKING:
    from clptools.hardware.redfish import RedfishPower

_GET_SYSTEM_GUID = 0x37
"""IPMI 2.0, 22.14."""
_GUID_S = 1.0


class Bmcs:
    """One client for each server's BMC.  `now_ms` is the agent's clock (boot time)."""

    def __init__(
        self, server: str, now_ms: Callable[[], int], on_change: Callable[[Notice], None]
    ) -> None:
        """`on_change(text)`: one line for the log."""
        self._server = server
        self._now_ms = now_ms
        self._on_change = on_change
        self._processes = IpmiProcesses()
        self._clients: dict[str, BmcClient | RedfishPower] = {}
        self._device = LocalIpmi()
        self._own_client: BmcClient | RedfishPower | None = None
        self._own: Asked | None = None
        """The own BMC, by the kernel's driver where there is one."""
        self._beats: set[str] = set()
        """Servers with a heartbeat through their BMC."""
        self.echoes = Echoes(server, on_change)
        self._guids = Guids(server, on_change)
        self._acknowledger = Acknowledger(on_change)
        self._asking: asyncio.Task[None] | None = None
        self.timer: OwnTimer | None = None
        """The own BMC's watchdog timer; None: this server has no BMC."""

    def apply(self, settings: Settings) -> None:
        """Takes the BMCs of `settings`; sessions with unchanged ones stay open."""
        wanted = {server.name: server.bmc for server in settings.servers if server.bmc}
        for name, client in list(self._clients.items()):
            if wanted.get(name) != client.bmc:
                del self._clients[name]
                if client is not self._own_client:
                    client.close()
        for name, bmc in wanted.items():
            if name not in self._clients:
                self._clients[name] = self._made(name, bmc)
        self._apply_own(self._clients.get(self._server))
        self._beats = {
            name
            for path in settings.interconnects
            if path.type == "bmchb" and path.carrier == "timer"
            for name in path.addresses
        }
        self.echoes.apply(settings)
        self._guids.apply(settings)
        own = settings.server(self._server)
        keywords = (
            monitor.keywords.get(self._server)
            for monitor in settings.monitors
            if monitor.type == "mrw" and monitor.category == BMCNOTICE
        )
        self._acknowledger.apply(
            self._own if own is not None and own.bmc is not None else None,
            own.bmc.address if own is not None and own.bmc is not None else "",
            frozenset(endpoint(keyword, 0).host for keyword in keywords if keyword),
        )

    def pet_taken(self, octets: bytes) -> None:
        """Acknowledges a PET of the own BMC that is on the disk, where the BMC expects that."""
        self._acknowledger.taken(octets)

    def _made(self, name: str, bmc: Bmc) -> BmcClient | RedfishPower:
        if bmc.is_redfish:
            from clptools.hardware.redfish import RedfishPower

            return RedfishPower(name, bmc, self._now_ms)
        return BmcClient(name, bmc, paths.bmc_password_file(name), self._processes)

    async def close(self) -> None:
        """Ends every session; a running watchdog timer keeps running."""
        if self._asking is not None:
            self._asking.cancel()
        self._acknowledger.close()
        self._close_own()
        for client in self._clients.values():
            client.close()
        await self._processes.close()

    async def read_power(
        self, server: str, asked_at: int, echo: bool = False, keep: bool = True
    ) -> PowerRead:
        """Power state and beat; a fault is in the answer, never raised.

        With `echo` the server's kernel is pinged on every LAN interconnect at the same time;
        "off" is returned only once an answer to that would have come.  Without `keep` the session
        ends afterwards, unless our own timer needs it.
        """
        try:
            return await self._read_power(server, asked_at, echo)
        finally:
            fed = server == self._server and self.timer and self.timer.state is not State.BEAT
            client = self._clients.get(server)
            if not keep and not fed and isinstance(client, BmcClient):
                client.rest()

    async def _read_power(self, server: str, asked_at: int, echo: bool) -> PowerRead:
        with contextlib.ExitStack() as stack:
            asked = stack.enter_context(self.echoes.to(server)) if echo else None
            where = ""
            try:
                client = self._client(server)
                where = client.where
                leaving = asked.send if asked else lambda: None
                if isinstance(client, BmcClient):
                    found = await power.read_in_session(client, leaving=leaving)
                else:
                    found = await client.read(leaving=leaving)
            except ClpError as fault:
                said = fault.fault if isinstance(fault, BmcError) else fault.message
                bmc = self._clients[server].bmc if server in self._clients else None
                return PowerRead(
                    server=server,
                    power=PowerState.UNKNOWN,
                    asked_at=asked_at,
                    error=said,
                    where=where,
                    mend=mend(server, bmc.user, said) if bmc is not None else "",
                )
            self._guids.told(server, found.guid)
            echoed = False
            if asked is not None and found.power is PowerState.OFF:
                echoed = await asked.answered()
        lacks = ""
        if isinstance(client, BmcClient) and client.level == "USER":
            lacks = f"{client.bmc.user} has the level USER there, OPERATOR is needed"
        beat = ""
        beats = found.power is PowerState.ON and server in self._beats
        if beats and isinstance(client, BmcClient):
            try:
                beat = (await watchdog.read(client, patience_s=1.0)).beat
            except ClpError:
                beat = ""  # the power state alone is a heartbeat too
        return PowerRead(
            server=server,
            power=found.power,
            asked_at=asked_at,
            beat=beat,
            latency_ms=found.latency_ms,
            session=found.session,
            session_at=found.session_at,
            echoed=echoed,
            where=where,
            lacks=lacks,
            mend=mend(server, client.bmc.user, "level user") if lacks else "",
        )

    async def fence(self, action: Fence, asked_at: int) -> FenceDone:
        """One control command, sent by `asked_at` + `within_ms` or never; a fault is in the answer.

        Only `power-on` is repeated, until the server reads on or that time is over.
        """
        until_ms = asked_at + action.within_ms
        error, left, refused = "", False, False
        try:
            client = self._client(action.server)
            if not isinstance(client, BmcClient):
                await self._fence_by_redfish(client, action.action, until_ms)
            elif action.action is BmcOrder.POWER_ON:
                await self._power_on(client, until_ms)
            else:
                left_s = self._left_s(until_ms)
                await power.order(client, action.action, until_ms=until_ms, left_s=left_s)
        except ClpError as fault:
            error = fault.message
            left = isinstance(fault, BmcError) and fault.left
            refused = isinstance(fault, BmcError) and fault.for_good
        return FenceDone(
            server=action.server,
            action=action.action,
            asked_at=asked_at,
            sent=not error,
            left=left,
            refused=refused,
            error=error,
        )

    async def arm_deadman(self, action: str, deadline_ms: int) -> HostActionDone:
        """Makes the own BMC do `action` at the deadline, unless it is called off."""
        try:
            text = await self._own_timer().arm_deadman(action, deadline_ms)
        except ClpError as fault:
            return HostActionDone(action=action, ok=False, text=fault.message)
        return HostActionDone(action=action, ok=True, text=text)

    async def stand_down(self) -> str:
        """Calls off the dead-man of this or an earlier boot; returns what was in the way."""
        if self._own_client is not None and not self._reaches_timer():
            return ""  # so no earlier agent could arm it
        try:
            await self._own_timer().stand_down()
        except ClpError as fault:
            return fault.message
        return ""

    async def act(self, action: str) -> str:
        """`bmc-reset`, `bmc-power-off`, `bmc-power-cycle` or `bmc-nmi` of this server.

        Raises ClpError.
        """
        client = self._client(self._server)
        if not isinstance(client, BmcClient):
            return await client.act(action.removeprefix("bmc-"))
        assert self._own is not None, "a server with a BMC knows how to reach it"
        return await power.act(self._own, action.removeprefix("bmc-"))

    async def identify(self, server: str, on: bool) -> str:
        """Switches the identify LED of any server.  Raises ClpError."""
        client = self._client(server)
        if not isinstance(client, BmcClient):
            return await client.identify(on)
        return await power.identify(client, on)

    async def check(self) -> str:
        """Asks the own BMC; returns a remark for people.  Raises ClpError if it does not work."""
        client = self._client(self._server)
        if isinstance(client, BmcClient):
            _, latency_ms = await power.read(client)
            if client.level == "USER":
                text = (
                    f"BMC {client.where}: {client.bmc.user} is USER there and may switch no power"
                )
                raise ClpError(ExitCode.FAILED, text, "give the account the level OPERATOR")
        else:
            latency_ms = (await client.read()).latency_ms
        return f"BMC {client.where} answers in {latency_ms} ms"

    def _client(self, server: str) -> BmcClient | RedfishPower:
        client = self._clients.get(server)
        if client is None:
            raise ClpError(
                ExitCode.REFUSED,
                f"{server} has no BMC in the configuration",
                "[server.bmc] names its address and user",
            )
        return client

    def _reaches_timer(self) -> bool:
        by_lan = isinstance(self._own_client, BmcClient)
        return by_lan or (not paths.root() and os.path.exists(self._device.device))

    def _own_timer(self) -> OwnTimer:
        self._client(self._server)
        assert self.timer is not None, "a server with a BMC has its timer"
        return self.timer

    async def _fence_by_redfish(
        self, client: RedfishPower, action: BmcOrder, until_ms: int
    ) -> None:
        if action is BmcOrder.POWER_ON:
            await client.power_on(lambda: self._left_s(until_ms), until_ms)
        else:
            await client.order(action, until_ms=until_ms, left_s=self._left_s(until_ms))

    async def _power_on(self, client: BmcClient, until_ms: int) -> None:
        """Raises BmcError with the last fault if it does not read on by then."""
        fault: BmcError | None = None
        while left_s := self._left_s(until_ms):
            try:
                state, _ = await power.read(
                    client, urgent=True, patience_s=min(left_s, power.READ_S)
                )
                if state is PowerState.ON:
                    return
                left_s = self._left_s(until_ms)
                await power.order(client, BmcOrder.POWER_ON, until_ms=until_ms, left_s=left_s)
                fault = None
            except BmcError as error:
                fault = error
            await asyncio.sleep(power.POLL_S)
        raise fault or BmcError(client.server, client.where, "power on", 1, "still reads off")

    def _left_s(self, until_ms: int) -> float:
        return max(until_ms - self._now_ms(), 0) / 1000

    def _apply_own(self, client: BmcClient | RedfishPower | None) -> None:
        """A timer that runs is kept, and fed, until the core disarms it."""
        runs = self.timer is not None and self.timer.state is not State.BEAT
        if client is self._own_client or (client is None and runs):
            return
        if client is None:
            self._close_own()
            return
        if self._own_client is not None:
            self._own_client.close()
        self._own_client = client
        # A node that lives below CLP_ROOT leaves the machine it runs on alone.
        lan = client if isinstance(client, BmcClient) else NoLan(client.server, client.where)
        self._own = lan if paths.root() else OwnBmc(lan, self._device, self._on_change)
        if not paths.root() and self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask_guid())
        if self.timer is None:
            self.timer = OwnTimer(self._own, self._now_ms, paths.deadman_file())
        else:
            self.timer.bmc = self._own

    async def _ask_guid(self) -> None:
        with contextlib.suppress(OSError):
            code, guid = await self._device.exchange(APP, _GET_SYSTEM_GUID, b"", _GUID_S)
            if not code:
                self._guids.machine(guid)

    def _close_own(self) -> None:
        if self.timer is not None:
            self.timer.close()
            self.timer = None
        if self._own_client is not None:
            self._own_client.close()
            self._own_client = None
        self._own = None
        self._device.close()
