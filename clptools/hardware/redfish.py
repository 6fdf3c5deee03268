"""A server's power by Redfish: asked, switched, and read back.

Off is what system *and* chassis say; every word but On and Off is unknown: PoweringOff, an empty
answer.  A chassis that holds several systems says nothing of one of them.

Sources: DMTF DSP2046, ComputerSystem (PowerState, Reset, LocationIndicatorActive) and Chassis.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from clptools.common.redfish import (
    Access,
    Json,
    RedfishError,
    Service,
    link,
    links,
    submit_test_event,
    system_path,
    text_of,
)
from clptools.config.files import read_bmc_password
from clptools.core.model.settings import Bmc
from clptools.core.model.words import BmcAction, BmcOrder, PowerState
from clptools.faults import ClpError, ExitCode
from clptools.hardware.ipmi_requests import BmcError
from clptools.hardware.power import POLL_S, Reading

PATIENCE_S = 2.0
"""For one answer of people's: a read, an LED."""
_SWITCH_S = 30.0
"""How long a machine may take to read off, or on, after an order."""
_ANSWER_S = 2.0
"""How long the answer to an order that left is waited for."""
_QUIET_FIRST_S, _QUIET_MOST_S = 0.5, 1.5
"""Longer, and a BMC that restarted would not be used again within 3 s."""
_CHASSIS_MOST = 8
_ORDERS = {BmcOrder.POWER_OFF: "ForceOff", BmcOrder.POWER_ON: "On", BmcOrder.NMI: "Nmi"}
_ACTIONS: dict[str, str] = {
    BmcAction.RESET: "ForceRestart",
    BmcAction.POWER_CYCLE: "PowerCycle",
    BmcAction.NMI: "Nmi",
}


class RedfishPower:
    """One server's power.  `now_ms` is the agent's clock (boot time)."""

    def __init__(
        self,
        server: str,
        bmc: Bmc,
        now_ms: Callable[[], int],
        password: Callable[[], str] | None = None,
    ) -> None:
        self.server = server
        self.bmc = bmc
        self.where = bmc.where
        self._now_ms = now_ms
        self._password = password or (lambda: read_bmc_password(server))
        self._service = Service(access_of(bmc), self._password, now_ms)
        self._system = ""
        self._reset = ""
        """Where a reset is asked for, once the system was read."""
        self._allowed: frozenset[str] = frozenset()
        self._failures = 0
        self._quiet_until = 0
        self._quiet_s = 0.0
        self._last_fault = ""

    async def read(
        self, *, patience_s: float = PATIENCE_S, leaving: Callable[[], None] = lambda: None
    ) -> Reading:
        """The power, and the connection in which it was read.

        `leaving` is called as the question leaves.  Raises BmcError.
        """
        if self._now_ms() < self._quiet_until:
            again = f"it is asked again {self._quiet_s:g} s after that"
            raise self._error("power state", f"{self._last_fault}; {again}")
        doubt = ""
        try:
            async with asyncio.timeout(patience_s):
                begun = self._now_ms()
                system = await self._read_system(leaving)
                latency_ms = self._now_ms() - begun
                word = system.get("PowerState")
                if word == "Off":
                    doubt = await self._chassis_doubts(system)
        except TimeoutError:
            raise self._failed("power state", f"no answer within {patience_s:g} s") from None
        except RedfishError as error:
            raise self._failed("power state", error) from None
        self._failures = 0
        self._quiet_until = 0
        if word not in ("On", "Off"):
            doubt = f"PowerState says {text_of(word, 40) or 'nothing'}"
        if doubt:
            raise self._error("power state", doubt)
        return Reading(
            power=PowerState.ON if word == "On" else PowerState.OFF,
            latency_ms=latency_ms,
            session=self._service.session,
            session_at=self._service.session_at,
            guid=_guid(system.get("UUID")),
        )

    async def order(self, action: BmcOrder, *, until_ms: int, left_s: float) -> None:
        """An order whose bytes leave by `until_ms` or never.

        Raises ClpError unless it was accepted, which proves nothing.
        """
        kind = _ORDERS[action]
        what, left = action.replace("-", " "), False
        try:
            async with asyncio.timeout(left_s) as limit:

                def leaving() -> None:
                    nonlocal left
                    left = True
                    limit.reschedule(asyncio.get_running_loop().time() + left_s + _ANSWER_S)

                if not self._reset:
                    await self._read_system()
                body = {"ResetType": kind}
                await self._service.order(self._reset, body, until_ms, leaving)
        except TimeoutError:
            text = "sent, but not answered" if left else "not sent: the BMC did not answer in time"
            raise self._error(what, text) from None
        except RedfishError as error:
            raise self._error(what, str(error), error.status) from None

    async def power_on(self, left_s: Callable[[], float], until_ms: int) -> None:
        """Ordered until it reads on, or nothing is left.  Raises BmcError with the last fault."""
        fault: BmcError | None = None
        while left := left_s():
            try:
                if (await self.read(patience_s=min(left, PATIENCE_S))).power is PowerState.ON:
                    return
                await self.order(BmcOrder.POWER_ON, until_ms=until_ms, left_s=left_s())
                fault = None
            except BmcError as error:
                fault = error
            await asyncio.sleep(POLL_S)
        raise fault or self._error("power on", "still reads off")

    async def act(self, action: str) -> str:
        """`reset`, `power-off`, `power-cycle` or `nmi`, begun; says what came of it.

        A cycle or reset of a machine that is off, or of a service that lacks it, becomes off and
        on.  Raises ClpError.
        """
        if action == BmcAction.POWER_OFF:
            if await self._is_off():
                return f"{self.server} is off already"
            await self._ask_reset(action, "ForceOff")
            return f"power off of {self.server} begun"
        kind = _ACTIONS.get(action)
        if kind is None:
            raise ClpError(ExitCode.FAILED, f"{action} is no action of a BMC")
        name = action.replace("-", " ")
        off = await self._is_off()
        if not off or action == BmcAction.NMI:
            try:
                await self._ask_reset(action, kind)
            except BmcError as error:
                if not error.completion_code or action == BmcAction.NMI:
                    raise
            else:
                return f"{name} of {self.server} begun"
        if not off:
            await self._ask_reset("power off", "ForceOff")
            await self._until(PowerState.OFF)
        await self._ask_reset("power on", "On")
        await self._until(PowerState.ON)
        return f"{name} of {self.server} done by power off and on"

    async def identify(self, on: bool) -> str:
        """Lights or darkens the identify LED, of the system or else of its chassis.

        Raises BmcError.
        """
        what = f"identify {'on' if on else 'off'}"
        fault = "neither its system nor its chassis has an identify LED"
        try:
            async with asyncio.timeout(4 * PATIENCE_S):
                system = await self._read_system()
                for path in (self._system, *links(system, "Links", "Chassis")[:_CHASSIS_MOST]):
                    found = system if path == self._system else await self._service.get(path)
                    body = led(found, on)
                    if body is None:
                        continue
                    try:
                        await self._service.send("PATCH", path, body, _match(found))
                    except RedfishError as error:
                        if not error.status or error.is_credentials:
                            raise
                        fault = str(error)
                        continue
                    return f"{self.server}: identify LED {'on' if on else 'off'}"
        except TimeoutError:
            raise self._failed(what, "no answer in time") from None
        except RedfishError as error:
            raise self._failed(what, error) from None
        raise self._error(what, fault, 1)

    async def test_event(self, word: str) -> None:
        """Lets the BMC itself send an event that says `word`.  Raises BmcError."""
        try:
            async with asyncio.timeout(5 * PATIENCE_S):
                await submit_test_event(self._service, word)
        except TimeoutError:
            raise self._failed("test event", "no answer in time") from None
        except RedfishError as error:
            raise self._failed("test event", error) from None

    def close(self) -> None:
        """Ends the connection."""
        self._service.close()

    # ------------------------------------------------------------------ within

    async def _read_system(self, leaving: Callable[[], None] = lambda: None) -> Json:
        if not self._system:
            self._system = await system_path(self._service, self.bmc.system)
        try:
            system = await self._service.get(self._system, leaving=leaving)
        except RedfishError as error:
            if error.status == 404:
                self._system = self._reset = ""
            raise
        self._reset = link(system, "Actions", "#ComputerSystem.Reset", "target")
        if not self._reset:
            self._reset = f"{self._system.rstrip('/')}/Actions/ComputerSystem.Reset"
        action = system.get("Actions")
        reset = action.get("#ComputerSystem.Reset") if isinstance(action, dict) else None
        named = reset.get("ResetType@Redfish.AllowableValues") if isinstance(reset, dict) else None
        self._allowed = frozenset(text_of(each) for each in named or () if isinstance(each, str))
        return system

    async def _chassis_doubts(self, system: Json) -> str:
        """Why a system that says off may not be; empty: no chassis of it alone says otherwise.

        Raises RedfishError.
        """
        for path in links(system, "Links", "Chassis")[:_CHASSIS_MOST]:
            chassis = await self._service.get(path)
            word = chassis.get("PowerState")
            shared = len(links(chassis, "Links", "ComputerSystems")) > 1
            if word is not None and word != "Off" and not shared:
                return f"PowerState of the system says Off, of its chassis {text_of(word, 40)}"
        return ""

    async def _is_off(self) -> bool:
        return (await self.read(patience_s=2 * PATIENCE_S)).power is PowerState.OFF

    async def _ask_reset(self, what: str, kind: str) -> None:
        """Raises BmcError; with a code where the service itself refused."""
        what = what.replace("-", " ")
        if self._allowed and kind not in self._allowed:
            raise self._error(what, f"{kind} is not among what it can do", 1)
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                await self._service.send("POST", self._reset, {"ResetType": kind})
        except TimeoutError:
            raise self._error(what, "no answer in time") from None
        except RedfishError as error:
            raise self._error(what, str(error), error.status) from None

    async def _until(self, wanted: PowerState) -> None:
        fault: BmcError | None = None
        try:
            async with asyncio.timeout(_SWITCH_S):
                while True:
                    try:
                        if (await self.read()).power is wanted:
                            return
                    except BmcError as error:
                        fault = error
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            text = f"does not read {wanted.value} after {_SWITCH_S:g} s"
            raise fault or self._error(f"power {wanted.value}", text) from None

    def _failed(self, what: str, fault: RedfishError | str) -> BmcError:
        status = fault.status if isinstance(fault, RedfishError) else 0
        self._failures += 1
        self._quiet_s = min(_QUIET_FIRST_S * 2 ** min(self._failures - 1, 8), _QUIET_MOST_S)
        self._quiet_until = self._now_ms() + round(self._quiet_s * 1000)
        self._last_fault = str(fault)
        return self._error(what, str(fault), status)

    def _error(self, what: str, fault: str, code: int = 0) -> BmcError:
        return BmcError(self.server, self.where, what, self._failures or 1, fault, code)


async def send_test_event(server: str, bmc: Bmc, word: str) -> None:
    """Lets the BMC itself send a test event that says `word`.  Raises BmcError."""
    power = RedfishPower(server, bmc, lambda: round(asyncio.get_running_loop().time() * 1000))
    try:
        await power.test_event(word)
    finally:
        power.close()


def access_of(bmc: Bmc) -> Access:
    """How the service of a BMC is reached."""
    return Access(
        address=bmc.address,
        port=bmc.port,
        user=bmc.user,
        certificate=bmc.certificate,
        ca=bmc.ca,
    )


def led(resource: Json, on: bool) -> Json | None:
    """What lights or darkens it; None: it has none."""
    if "LocationIndicatorActive" in resource:
        return {"LocationIndicatorActive": on}
    if "IndicatorLED" not in resource:
        return None
    return {
        "IndicatorLED": ("Blinking" if resource["IndicatorLED"] == "Blinking" else "Lit")
        if on
        else "Off"
    }


def _match(resource: Json) -> tuple[tuple[str, str], ...]:
    """Some services change nothing without the tag of what is to be changed."""
    tag = resource.get("@odata.etag")
    return (("If-Match", tag),) if isinstance(tag, str) and tag.isprintable() else ()


def _guid(value: object) -> bytes:
    try:
        return uuid.UUID(str(value)).bytes
    except ValueError:
        return b""
