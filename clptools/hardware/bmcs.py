"""The BMCs of all servers, as the agent uses them: reads for proof, forced stops, the own one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from clptools import paths
from clptools.core.actions import Fence
from clptools.core.events import FenceDone, HostActionDone, PowerRead
from clptools.core.settings import Settings
from clptools.faults import ClpError, ExitCode
from clptools.hardware import power, watchdog
from clptools.hardware.ipmi import Asked, BmcClient, BmcError, IpmiProcesses
from clptools.hardware.local import LocalIpmi, OwnBmc
from clptools.hardware.watchdog import OwnTimer

_POWER_ON_TIMEOUT_S = 60.0


class Bmcs:
    """One client for each server's BMC.  `now_ms` is the agent's clock (boot time)."""

    def __init__(
        self, server: str, now_ms: Callable[[], int], on_change: Callable[[str], None]
    ) -> None:
        """`on_change(text)`: one line for the log."""
        self._server = server
        self._now_ms = now_ms
        self._on_change = on_change
        self._processes = IpmiProcesses()
        self._clients: dict[str, BmcClient] = {}
        self._device = LocalIpmi()
        self._own: Asked | None = None
        """The own BMC, by the kernel's driver where there is one."""
        self._beats: set[str] = set()
        """Servers whose BMC carries a heartbeat."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self.timer: OwnTimer | None = None
        """The own BMC's watchdog timer; None: this server has no BMC."""

    def apply(self, settings: Settings) -> None:
        """Knows the BMCs of `settings`; a session with one that stays is kept."""
        wanted = {server.name: server.bmc for server in settings.servers if server.bmc}
        for name, client in list(self._clients.items()):
            if wanted.get(name) != client.bmc:
                client.close()
                del self._clients[name]
                if name == self._server:
                    self._close_own()
        for name, bmc in wanted.items():
            if name not in self._clients:
                file = paths.bmc_password_file(name)
                self._clients[name] = BmcClient(name, bmc, file, self._processes)
        own = self._clients.get(self._server)
        if own is not None and self.timer is None:
            # A node that lives below CLP_ROOT leaves the machine it runs on alone.
            self._own = own if paths.root() else OwnBmc(own, self._device, self._on_change)
            self.timer = OwnTimer(self._own, self._now_ms)
        self._beats = {
            name
            for path in settings.interconnects
            if path.type == "bmchb" and path.carrier == "timer"
            for name in path.addresses
        }

    async def close(self) -> None:
        """Ends every session; the own timer runs on if it runs."""
        for task in self._tasks:
            task.cancel()
        self._close_own()
        for client in self._clients.values():
            client.close()
        await self._processes.close()

    async def read_power(self, server: str, asked_at: int) -> PowerRead:
        """Power state and beat; a fault is in the answer, never raised."""
        try:
            client = self._client(server)
            state, latency_ms = await power.read(client)
        except ClpError as fault:
            said = fault.fault if isinstance(fault, BmcError) else fault.message
            return PowerRead(server=server, power="unknown", asked_at=asked_at, error=said)
        beat = ""
        if state is power.Power.ON and server in self._beats:
            try:
                beat = (await watchdog.read(client, patience_s=1.0)).beat
            except ClpError:
                beat = ""  # the power state alone is a heartbeat too
        return PowerRead(
            server=server,
            power=state.value,
            asked_at=asked_at,
            beat=beat,
            latency_ms=latency_ms,
        )

    async def fence(self, action: Fence, asked_at: int) -> FenceDone:
        """A forced stop, read back; a fault is in the answer, never raised.

        A reset cannot be read back, so `reset` and `power-cycle` are answered as the power off
        that they begin with; the server is powered on again afterwards.
        """
        try:
            client = self._client(action.server)
            if action.action == "nmi":
                await power.act(client, "nmi")
                raise ClpError(ExitCode.FAILED, f"an NMI to {action.server} proves nothing")
            stopped = await power.stop(client, action.timeout_ms / 1000, action.retries)
        except ClpError as fault:
            return FenceDone(
                server=action.server,
                action=action.action,
                asked_at=asked_at,
                verified=False,
                error=fault.message,
            )
        if action.action in ("reset", "power-cycle") and not stopped.already:
            self._begin(self._power_on(client))
        return FenceDone(
            server=action.server,
            action="power-off",
            asked_at=asked_at,
            verified=True,
            already=stopped.already,
        )

    async def arm_deadman(self, action: str, deadline_ms: int) -> HostActionDone:
        """Lets the own BMC do `action` at the deadline unless it is told otherwise."""
        try:
            text = await self._own_timer().arm_deadman(action, deadline_ms)
        except ClpError as fault:
            return HostActionDone(action=action, ok=False, text=fault.message)
        return HostActionDone(action=action, ok=True, text=text)

    async def stand_down(self) -> str:
        """Calls off the dead-man of this or an earlier boot; returns what was in the way."""
        try:
            await self._own_timer().stand_down()
        except ClpError as fault:
            return fault.message
        return ""

    async def act(self, action: str) -> str:
        """`bmc-reset`, `bmc-power-off`, `bmc-power-cycle` or `bmc-nmi` of this server.

        Raises ClpError.
        """
        self._client(self._server)
        assert self._own is not None, "a server with a BMC knows how to reach it"
        return await power.act(self._own, action.removeprefix("bmc-"))

    async def identify(self, server: str, on: bool) -> str:
        """The identify LED of any server, lit or dark.  Raises ClpError."""
        return await power.identify(self._client(server), on)

    async def check(self) -> str:
        """Whether the own BMC works; a remark for people.  Raises ClpError."""
        client = self._client(self._server)
        _, latency_ms = await power.read(client)
        return f"BMC {client.where} answers in {latency_ms} ms"

    def _client(self, server: str) -> BmcClient:
        client = self._clients.get(server)
        if client is None:
            raise ClpError(
                ExitCode.REFUSED,
                f"{server} has no BMC in the configuration",
                "[server.bmc] names its address and user",
            )
        return client

    def _own_timer(self) -> OwnTimer:
        self._client(self._server)
        assert self.timer is not None, "a server with a BMC has its timer"
        return self.timer

    async def _power_on(self, client: BmcClient) -> None:
        try:
            await power.start(client, _POWER_ON_TIMEOUT_S)
        except ClpError as fault:
            self._on_change(f"{client.server} was stopped and stays off: {fault.message}")

    def _close_own(self) -> None:
        if self.timer is not None:
            self.timer.close()
            self.timer = None
        self._device.close()

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
