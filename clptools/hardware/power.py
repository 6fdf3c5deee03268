"""A server's power by its BMC: asked, switched, and read back.

Sources: IPMI 2.0, 28.2 (Get Chassis Status) and 28.3 (Chassis Control).  IPMI has no power-on
mark that every BMC keeps, so a reset cannot be read back: where proof is wanted, it is done as
power off, read back, power on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from clptools.core.model.words import BmcAction, BmcOrder, PowerState
from clptools.faults import ClpError, ExitCode
from clptools.hardware.ipmi import BmcClient
from clptools.hardware.ipmi_requests import CHASSIS, Asked, BmcError

POLL_S = 0.2
"""Pause between reads of a power state that is to change."""
READ_S = 5.0
"""Least time-out of one read, as a loaded BMC takes seconds; a BMC known to be slower gets more."""

_SLOWEST_S = 15.0
_ORDER_S = 1.0
"""For the answer to a control command; if it is lost, reads show the result."""
_AGAIN_S = 3.0
"""How long a BMC has to carry out an order that it may have taken, before it gets another one."""
_NOT_ALLOWED = 0xD4

_STATUS, _CONTROL, _IDENTIFY = 0x01, 0x02, 0x04
_LIT_S = 255
_OFF, _ON, _CYCLE, _RESET, _NMI = 0, 1, 2, 3, 4
_CODES: dict[str, int] = {
    BmcAction.RESET: _RESET,
    BmcAction.POWER_CYCLE: _CYCLE,
    BmcAction.NMI: _NMI,
}
_ORDERS = {BmcOrder.POWER_OFF: _OFF, BmcOrder.POWER_ON: _ON, BmcOrder.NMI: _NMI}


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """A server read off."""

    already: bool
    """It was off before any order."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A power state, and the login in which the BMC reported it."""

    power: PowerState
    latency_ms: int
    session: str
    session_at: int
    """Boot time in ms."""
    guid: bytes
    """The system's GUID, as the BMC said at that login."""


async def read_in_session(
    bmc: BmcClient, *, patience_s: float = 0.0, leaving: Callable[[], None] = lambda: None
) -> Reading:
    """As `read`; `leaving` is called as the question leaves.  Raises BmcError."""
    patience_s = patience_s or _patience_s(bmc, READ_S)
    result = await bmc.ask(
        "chassis status", CHASSIS, _STATUS, patience_s=patience_s, leaving=leaving
    )
    return Reading(
        power=_power(bmc, result.data),
        latency_ms=result.latency_ms,
        session=result.session,
        session_at=result.session_at,
        guid=result.guid,
    )


async def read(
    bmc: Asked, *, urgent: bool = False, patience_s: float = 0.0
) -> tuple[PowerState, int]:
    """Power state and latency in ms; `patience_s` 0: as long as fits this BMC.  Raises BmcError."""
    patience_s = patience_s or _patience_s(bmc, READ_S)
    data, latency_ms = await bmc.command(
        "chassis status", CHASSIS, _STATUS, urgent=urgent, patience_s=patience_s
    )
    return _power(bmc, data), latency_ms


def _patience_s(bmc: Asked, least_s: float) -> float:
    return max(least_s, min(4 * bmc.latency_s, _SLOWEST_S))


def _power(bmc: Asked, data: bytes) -> PowerState:
    if not 3 <= len(data) <= 4 or data[0] & 0x80:
        # A reserved bit is set: a BMC that answers FFh everywhere knows nothing.
        fault = f"an answer that is none ({data[:4].hex() or 'empty'})"
        raise BmcError(bmc.server, bmc.where, "chassis status", 1, fault)
    return PowerState.ON if data[0] & 1 else PowerState.OFF


async def order(bmc: BmcClient, action: BmcOrder, *, until_ms: int, left_s: float) -> None:
    """An order as one datagram that leaves by `until_ms`, or never.

    A late order may hit a server that is heard again.  Raises ClpError unless the BMC accepted it.
    Acceptance proves nothing: a BMC that believes the server off accepts, and does nothing.
    """
    name = action.replace("-", " ")
    await bmc.once(
        name, CHASSIS, _CONTROL, bytes([_ORDERS[action]]), until_ms=until_ms, left_s=left_s
    )


async def stop(bmc: Asked, timeout_s: float, retries: int) -> Stopped:
    """Powers the server off until it reads off; one that is off already is stopped.

    Only `timeout_s` ends it, or a BMC that will never take the order; a BMC that is busy, restarts
    or loses an answer is asked again.  An order that may have been carried out is repeated up to
    `retries` times.  Raises BmcError with the last fault.
    """
    fault: BmcError | None = None
    orders, again_s = 0, 0.0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    state, _ = await read(bmc, urgent=True)
                    if state is PowerState.OFF:
                        return Stopped(already=not orders)
                    if again_s <= 0 and orders <= retries:
                        orders, again_s = orders + 1, _AGAIN_S
                        fault = None
                        await _control(bmc, "power off", _OFF, patience_s=_ORDER_S)
                except BmcError as error:
                    fault = error
                    if error.completion_code and again_s == _AGAIN_S:
                        orders, again_s = orders - 1, 0.0  # it was refused
                        if error.for_good and not orders:
                            raise
                await asyncio.sleep(POLL_S)
                again_s -= POLL_S
    except TimeoutError:
        text = f"still on after {timeout_s:g} s"
        raise fault or BmcError(bmc.server, bmc.where, "power off", 1, text) from None


async def start(bmc: Asked, timeout_s: float) -> None:
    """Powers the server on until it reads on; a BMC that is busy is waited out.  Raises BmcError
    with the last fault."""
    fault: BmcError | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    if (await read(bmc, urgent=True))[0] is PowerState.ON:
                        return
                    fault = None
                    await _control(bmc, "power on", _ON, patience_s=_ORDER_S)
                except BmcError as error:
                    fault = error
                    if error.for_good and error.completion_code != _NOT_ALLOWED:
                        raise
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        text = f"still off after {timeout_s:g} s"
        raise fault or BmcError(bmc.server, bmc.where, "power on", 1, text) from None


async def act(bmc: Asked, action: str) -> str:
    """Begins `reset`, `power-off`, `power-cycle` or `nmi`; returns the result for people.

    Where the machine is off or the BMC lacks the command, a cycle or reset becomes off and on.
    Raises ClpError.
    """
    if action == BmcAction.POWER_OFF:
        state, _ = await read(bmc, urgent=True)
        if state is PowerState.OFF:
            return f"{bmc.server} is off already"
        await _control(bmc, "power off", _OFF)
        return f"power off of {bmc.server} begun"
    code = _CODES.get(action)
    if code is None:
        raise ClpError(ExitCode.FAILED, f"{action} is no action of a BMC")
    name = action.replace("-", " ")
    try:
        state, _ = await read(bmc, urgent=True)
        if state is PowerState.ON or action == BmcAction.NMI:
            await _control(bmc, name, code)
            return f"{name} of {bmc.server} begun"
    except BmcError as error:
        if not error.completion_code or action == BmcAction.NMI:
            raise
    await stop(bmc, 30.0, 1)
    await start(bmc, 30.0)
    return f"{name} of {bmc.server} done by power off and on"


async def identify(bmc: Asked, on: bool) -> str:
    """Switches the chassis identify LED; returns for how long it is lit.

    Source: IPMI 2.0, 28.5.  Byte 2, "until told otherwise", is optional there.  Raises BmcError.
    """
    try:
        return await _lit(bmc, on)
    except BmcError as error:
        if error.completion_code:
            error.hint = (
                "The BMC may have no identify LED that it can switch, or be busy: try again."
            )
        raise


async def _lit(bmc: Asked, on: bool) -> str:
    if not on:
        await bmc.command("identify off", CHASSIS, _IDENTIFY, b"\0")
        return f"{bmc.server}: identify LED off"
    try:
        await bmc.command("identify on", CHASSIS, _IDENTIFY, b"\0\1")
    except BmcError as error:
        if not error.completion_code:
            raise
        await bmc.command("identify on", CHASSIS, _IDENTIFY, bytes([_LIT_S]))
        return f"{bmc.server}: identify LED on for {_LIT_S} s, this BMC knows no longer"
    return f"{bmc.server}: identify LED on"


async def _control(bmc: Asked, name: str, value: int, patience_s: float = READ_S) -> None:
    await bmc.command(name, CHASSIS, _CONTROL, bytes([value]), urgent=True, patience_s=patience_s)
