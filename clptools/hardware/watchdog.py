"""The watchdog timer of this server's own BMC, and its one owner.

Three things want the one timer: the BMC heartbeat, the `userw` watchdog (method `ipmi`) and the
dead-man of a recovery.  So it is in one of three states:

    BEAT     not running; each beat writes another initial countdown, for others to read
    ARMED    running; each feeding starts it anew with the next beat, and nothing else does
    DEADMAN  running to the deadline of a recovery; while it is also the userw watchdog it is
             fed until then, so that a server that stands still never outlives its lease

Others read it over the BMC network by Get Watchdog Timer: timer use SMS/OS is a beat, OS Load
says "recovering".  The *initial* countdown carries the beat because not every BMC tells the
present one.  Source: IPMI 2.0, 27.5 to 27.7.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

import msgspec

from clptools.faults import ClpError, ExitCode
from clptools.hardware.ipmi import APP, Asked, BmcError

_RESET, _SET, _GET = 0x22, 0x24, 0x25
_USE_OS_LOAD, _USE_SMS_OS = 3, 4
_DONT_STOP = 0x40
_RUNNING = 0x40
_TICK_MS = 100
_MAX_TICKS = 0xFFFF

BEATS = 1000
"""Beats count 1 to this and begin anew: initial countdowns of an unarmed timer."""
_ARMED_BEATS = 4
"""While armed the countdown is shortened by 0 to 3 ticks: that changes from beat to beat too."""

ACTIONS = {"none": 0, "reset": 1, "power-off": 2, "power-cycle": 3, "nmi": 1}
"""Time-out actions; a BMC cannot send an NMI *and* act, so `nmi` is a reset at the deadline."""

_PATIENCE_S = 4.0
"""For one request, with a new process and session where there is none."""
_WORDS = 2
"""Requests of a feeding: the new countdown, and the start."""
_FOREIGN_S = 1.5
"""A running timer that nobody feeds has come down by then."""


class State(StrEnum):
    """Who has the timer."""

    BEAT = "beat"
    ARMED = "armed"
    DEADMAN = "deadman"


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """What Get Watchdog Timer said, as far as every BMC says it."""

    use: int
    running: bool
    action: int
    countdown: int
    """Initial countdown, ticks of 100 ms."""
    present: int | None = None
    """Present countdown; None: this BMC does not say."""

    @property
    def beat(self) -> str:
        """The beat as text; empty: none is carried there."""
        if not self.countdown:
            return ""
        if self.use == _USE_OS_LOAD and self.action:
            return f"recovering {self.countdown}"
        return str(self.countdown) if self.use == _USE_SMS_OS else ""


async def read(bmc: Asked, *, patience_s: float = 2.0) -> Timer:
    """The timer of any server.  Raises BmcError."""
    data, _ = await bmc.command("get watchdog timer", APP, _GET, patience_s=patience_s)
    # Eight bytes by the specification; ipmi_sim leaves out the present countdown.
    if len(data) < 6:
        fault = f"answer of {len(data)} bytes"
        raise BmcError(bmc.server, bmc.where, "get watchdog timer", 1, fault)
    return Timer(
        use=data[0] & 0x07,
        running=bool(data[0] & _RUNNING),
        action=data[1] & 0x07,
        countdown=int.from_bytes(data[4:6], "little"),
        present=int.from_bytes(data[6:8], "little") if len(data) >= 8 else None,
    )


class OwnTimer:
    """The own BMC's timer.  `now_ms` is the agent's clock (boot time)."""

    def __init__(self, bmc: Asked, now_ms: Callable[[], int]) -> None:
        self.bmc = bmc
        """By which way it is reached; may be replaced."""
        self._now_ms = now_ms
        self._lock = asyncio.Lock()
        self._beat = 0
        self._armed_ms = 0
        """Time-out of the userw watchdog; 0: not armed."""
        self._deadline_at = 0
        """End of the recovery; 0: there is none."""
        self._action = ACTIONS["reset"]
        self._fed_at = 0
        self._failed: Callable[[str], None] = lambda _: None
        """Gets why a feeding failed."""
        self._feeding: asyncio.Task[None] | None = None
        self._known = False
        self.fault = ""
        """Why the newest feeding failed; empty: it did not."""

    @property
    def state(self) -> State:
        """Who has the timer now."""
        if self._deadline_at:
            return State.DEADMAN
        return State.ARMED if self._armed_ms else State.BEAT

    async def beat(self) -> None:
        """The next beat; while the timer runs, feeding carries it.  Raises BmcError."""
        async with self._lock:
            if self.state is State.BEAT and await self._ours():
                await self._set(_USE_SMS_OS, ACTIONS["none"], self._next(BEATS), run=False)

    async def arm(self, timeout_ms: int, failed: Callable[[str], None]) -> str:
        """Starts it as the userw watchdog; `failed(text)` is called for each feeding of which the
        BMC does not confirm in time that it took it.

        Raises ClpError, also of a BMC so slow that it would reset a server that feeds it.  If the
        BMC may have started it all the same, it is fed from now on.
        """
        if not 1000 <= timeout_ms <= _MAX_TICKS * _TICK_MS:
            text = f"the BMC's watchdog cannot be set to {timeout_ms / 1000:g} s"
            raise ClpError(ExitCode.FAILED, text, "1 s to 6553 s are possible")
        async with self._lock:
            if not self._armed_ms:
                await self._quick_enough(timeout_ms)
            self._armed_ms = timeout_ms
            self._failed = failed
            self._fed_at = self._now_ms()
            await self._feed(self._fed_at + _late_ms(timeout_ms))
        return f"BMC watchdog {self.bmc.where}, {timeout_ms / 1000:g} s"

    def pet(self) -> None:
        """Feeds it, without waiting; harmless when it is not armed."""
        self._fed_at = self._now_ms()
        if self._armed_ms and (self._feeding is None or self._feeding.done()):
            self._feeding = asyncio.get_running_loop().create_task(self._keep_fed())

    async def disarm(self) -> None:
        """Ends the userw watchdog; a dead-man stays.  Raises BmcError."""
        async with self._lock:
            self._armed_ms = 0
            if not self._deadline_at:
                await self._set(_USE_SMS_OS, ACTIONS["none"], self._next(BEATS), run=False)

    async def arm_deadman(self, action: str, deadline_ms: int) -> str:
        """Lets the BMC do `action` in `deadline_ms`, whatever becomes of this OS.

        Raises ClpError.
        """
        async with self._lock:
            before = self._deadline_at, self._action
            self._deadline_at = self._now_ms() + deadline_ms
            self._action = ACTIONS.get(action.removeprefix("bmc-"), ACTIONS["reset"])
            try:
                await self._feed(self._patient_until())
            except BmcError:
                self._deadline_at, self._action = before
                raise
        return f"{self.bmc.server}: {action} in {deadline_ms / 1000:g} s at the latest"

    async def stand_down(self) -> None:
        """The recovery is over and nothing is to follow.  Raises BmcError.

        Of a timer that is not ours only a dead-man is stopped, one that an earlier boot left.
        """
        async with self._lock:
            if not self._deadline_at:
                found = await read(self.bmc, patience_s=_PATIENCE_S)
                if not found.running or found.use != _USE_OS_LOAD:
                    return
            self._deadline_at = 0
            self._action = ACTIONS["reset"]
            if self._armed_ms:
                await self._feed(self._patient_until())
            else:
                await self._set(_USE_SMS_OS, ACTIONS["none"], self._next(BEATS), run=False)

    def close(self) -> None:
        """Ends feeding; what runs keeps running, for the next agent or for the BMC."""
        if self._feeding is not None:
            self._feeding.cancel()

    async def _ours(self) -> bool:
        """Whether a beat may be written.

        An agent before us may have left a dead-man running, which stays; or another program
        feeds this timer: then it is its, and BmcError says so.
        """
        if self._known:
            return True
        found = await read(self.bmc, patience_s=_PATIENCE_S)
        if found.running and found.action:
            if found.use == _USE_OS_LOAD:
                return False
            await asyncio.sleep(_FOREIGN_S)
            later = await read(self.bmc, patience_s=_PATIENCE_S)
            if (later.present or 0) >= (found.present or 1):
                fault = "another program feeds this timer (ipmi_watchdog, bmc-watchdog?)"
                raise BmcError(self.bmc.server, self.bmc.where, "set watchdog timer", 1, fault)
        self._known = True
        return True

    async def _quick_enough(self, timeout_ms: int) -> None:
        """Before anything runs: whether feedings will be in time.  Raises ClpError."""
        await read(self.bmc, patience_s=_PATIENCE_S)  # with the session that it may need
        asked = self._now_ms()
        await read(self.bmc, patience_s=_PATIENCE_S)
        took_ms = _WORDS * (self._now_ms() - asked)
        late_ms = _late_ms(timeout_ms)
        if took_ms > late_ms:
            text = (
                f"{self.bmc.where} takes {took_ms / 1000:.1f} s for a feeding, and a timer of "
                f"{timeout_ms / 1000:g} s leaves {late_ms / 1000:.1f} s: it would reset this server"
            )
            raise ClpError(
                ExitCode.FAILED, text, 'a longer [cluster] self_stop, or method = "softdog"'
            )

    async def _keep_fed(self) -> None:
        """Feeds once; a feeding that is late would start the timer after the lease it guards."""
        async with self._lock:
            over = self._deadline_at and self._now_ms() >= self._deadline_at
            if not self._armed_ms or over:
                return
            try:
                await self._feed(self._fed_at + _late_ms(self._armed_ms))
            except BmcError as error:
                self.fault = error.message
                self._failed(error.message)
            else:
                self.fault = ""

    async def _feed(self, until_ms: int) -> None:
        """Sets and starts the timer as armed and dead-man want it, by `until_ms` or not at all.

        Raises BmcError, also where the BMC confirms it only later.
        """
        ticks = _MAX_TICKS
        if self._armed_ms:
            ticks = self._armed_ms // _TICK_MS - self._next(_ARMED_BEATS) + 1
        if self._deadline_at:
            left_ms = max(self._deadline_at - self._now_ms(), _TICK_MS)
            ticks = min(ticks, left_ms // _TICK_MS)
        use = _USE_OS_LOAD if self._deadline_at else _USE_SMS_OS
        await self._set(use, self._action, max(ticks, 1), run=True, until_ms=until_ms)
        if self._now_ms() > until_ms:
            raise self._too_late("start watchdog timer")
        self._known = True

    async def _set(
        self, use: int, action: int, ticks: int, *, run: bool, until_ms: int | None = None
    ) -> None:
        """Writes the timer; with `run` it starts, or goes on from the new countdown.

        Nothing of it leaves later than `until_ms`: a start that comes after we have given it up
        would reset a healthy server.
        """
        if until_ms is None:
            until_ms = self._patient_until()
        data = bytes([use | (_DONT_STOP if run else 0), action, 0, 1 << use])
        data += ticks.to_bytes(2, "little")
        await self._write("set watchdog timer", _SET, data, until_ms, urgent=run)
        if run:
            await self._write("start watchdog timer", _RESET, b"", until_ms, urgent=True)

    async def _write(
        self, what: str, command: int, data: bytes, until_ms: int, *, urgent: bool
    ) -> None:
        left_s = (until_ms - self._now_ms()) / 1000
        if left_s <= 0:
            raise self._too_late(what)
        await self.bmc.command(what, APP, command, data, urgent=urgent, patience_s=left_s)

    def _patient_until(self) -> int:
        return self._now_ms() + round(_PATIENCE_S * 1000)

    def _too_late(self, what: str) -> BmcError:
        return BmcError(self.bmc.server, self.bmc.where, what, 1, "not confirmed in time")

    def _next(self, most: int) -> int:
        self._beat = self._beat % most + 1
        return self._beat


def _late_ms(timeout_ms: int) -> int:
    """How long a feeding may take, both requests together and its turn included: so much later
    than the time-out the BMC may act, which a lease has room for (`core.timing`: below half of
    `self_stop`)."""
    return max(timeout_ms // 4, 500)
