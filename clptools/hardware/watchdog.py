"""The watchdog timer of this server's own BMC, and its one owner.

Three things want the one timer: the BMC heartbeat, the `userw` watchdog (method `ipmi`) and the
dead-man of a recovery.  So it is in one of three states:

    BEAT     not running; each beat writes another initial countdown, for others to read
    ARMED    running; each feeding starts it anew with the next beat, and nothing else does
    DEADMAN  running to the deadline of a recovery; while it is also the userw watchdog it is
             fed until then, so that a hung server never outlives its lease

Others read it over the BMC network by Get Watchdog Timer: timer use SMS/OS is a beat, OS Load
says "recovering".  The *initial* countdown carries the beat because not every BMC tells the
present one.  Source: IPMI 2.0, 27.5 to 27.7.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from enum import StrEnum

import msgspec

from clptools.faults import ClpError, ExitCode
from clptools.hardware.ipmi_requests import APP, Asked, BmcError

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
"""By then the countdown of a running timer that nothing feeds is lower."""
_SETTLES_S = 0.3
"""For a BMC that shows a new setting a moment later."""
_NO_BEATS_S = 60.0
"""Until a BMC that cannot carry beats is tried again: it may get another firmware."""
_DISK_S = 1.0
"""For the mark; a disk that hangs must not keep a dead-man from being armed."""
_LONGER_TICKS = 10
"""A BMC may round a countdown up to a whole second, not more: a lease relies on it."""


class State(StrEnum):
    """Who has the timer."""

    BEAT = "beat"
    ARMED = "armed"
    DEADMAN = "deadman"


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to Get Watchdog Timer, as far as every BMC gives it."""

    use: int
    running: bool
    action: int
    countdown: int
    """Initial countdown, ticks of 100 ms."""
    present: int | None = None
    """Present countdown; None: this BMC does not say."""

    @property
    def beat(self) -> str:
        """The beat as text; empty: the timer carries none."""
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

    def __init__(self, bmc: Asked, now_ms: Callable[[], int], mark: str = "") -> None:
        """`mark`: a file that records across agents and boots that we armed a dead-man."""
        self.bmc = bmc
        """May be replaced."""
        self._mark = mark
        self._marked = bool(mark) and os.path.exists(mark)
        self._no_beats = ""
        """Why beats do not arrive; empty: they do, or it is not known yet."""
        self._looked_at = -1
        """When that was found, or -1."""
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
        """Writes the next beat; while the timer runs, feeding does so.  Raises BmcError."""
        async with self._lock:
            if self.state is not State.BEAT or not await self._ours():
                return
            if self._no_beats:
                if self._now_ms() - self._looked_at < _NO_BEATS_S * 1000:
                    raise self._fault("set watchdog timer", self._no_beats)
                self._looked_at = -1
            ticks = self._next(BEATS)
            await self._set(_USE_SMS_OS, ACTIONS["none"], ticks, run=False)
            if self._looked_at < 0:
                await self._see_beat(ticks)

    async def _see_beat(self, ticks: int) -> None:
        """Raises BmcError if others cannot read the beat that was just written."""
        found = await read(self.bmc, patience_s=_PATIENCE_S)
        if found.beat != str(ticks):
            await asyncio.sleep(_SETTLES_S)
            found = await read(self.bmc, patience_s=_PATIENCE_S)
        self._looked_at = self._now_ms()
        self._no_beats = ""
        if found.beat != str(ticks):
            self._no_beats = (
                f"this BMC carries no beats: its timer was set to use {_USE_SMS_OS}, countdown "
                f"{ticks}, and reads use {found.use}, countdown {found.countdown}"
            )
            raise self._fault("get watchdog timer", self._no_beats)

    async def arm(self, timeout_ms: int, failed: Callable[[str], None]) -> str:
        """Starts it as the userw watchdog; `failed(text)` reports each unconfirmed feeding.

        Raises ClpError, also if the BMC is so slow that it would reset a server that feeds it.  If
        the BMC may have started the timer all the same, it is fed from now on.
        """
        if not 1000 <= timeout_ms <= _MAX_TICKS * _TICK_MS:
            text = f"the BMC's watchdog cannot be set to {timeout_ms / 1000:g} s"
            raise ClpError(ExitCode.FAILED, text, "1 s to 6553 s are possible")
        async with self._lock:
            begins = not self._armed_ms
            if begins:
                await self._quick_enough(timeout_ms)
            self._armed_ms = timeout_ms
            self._failed = failed
            self._fed_at = self._now_ms()
            ticks = await self._feed(self._fed_at + _late_ms(timeout_ms))
            if begins:
                await self._see_armed(ticks)
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
        """Makes the BMC do `action` in `deadline_ms`, even if this OS hangs.

        Raises ClpError.
        """
        async with self._lock:
            before = self._deadline_at, self._action
            self._deadline_at = self._now_ms() + deadline_ms
            self._action = ACTIONS.get(action.removeprefix("bmc-"), ACTIONS["reset"])
            await self._set_mark(True)
            try:
                ticks = await self._feed(self._patient_until())
                await self._see_armed(ticks)
            except BmcError:
                self._deadline_at, self._action = before
                with contextlib.suppress(BmcError):
                    await self._as_before()
                raise
        return f"{self.bmc.server}: {action} in {deadline_ms / 1000:g} s at the latest"

    async def stand_down(self) -> None:
        """Stops the dead-man, as the recovery is over.  Raises BmcError.

        One that an earlier agent or boot left is stopped too: the mark or the timer use shows it.
        """
        async with self._lock:
            if not self._deadline_at and not self._marked:
                found = await read(self.bmc, patience_s=_PATIENCE_S)
                if not found.running or found.use != _USE_OS_LOAD:
                    return
            self._deadline_at = 0
            self._action = ACTIONS["reset"]
            await self._as_before()
            await self._set_mark(False)

    def close(self) -> None:
        """Ends feeding; what runs keeps running, for the next agent or for the BMC."""
        if self._feeding is not None:
            self._feeding.cancel()

    async def _ours(self) -> bool:
        """Whether a beat may be written: a dead-man that an earlier agent left keeps running.

        Raises BmcError, also if another program feeds this timer.
        """
        if self._known:
            return True
        found = await read(self.bmc, patience_s=_PATIENCE_S)
        if found.running and found.action:
            if found.use == _USE_OS_LOAD or self._marked:
                return False
            await asyncio.sleep(_FOREIGN_S)
            later = await read(self.bmc, patience_s=_PATIENCE_S)
            if (later.present or 0) >= (found.present or 1):
                fault = "another program feeds this timer (ipmi_watchdog, bmc-watchdog?)"
                raise BmcError(self.bmc.server, self.bmc.where, "set watchdog timer", 1, fault)
        self._known = True
        return True

    async def _quick_enough(self, timeout_ms: int) -> None:
        """Raises ClpError if feedings would come too late; nothing runs yet."""
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
        """Feeds once.  A late feeding would start the timer after the lease it guards."""
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

    async def _see_armed(self, ticks: int) -> None:
        """Raises BmcError if the timer that was just started would not act, or only later.

        Another action is accepted: a BMC replaces one that it lacks.
        """
        found = await read(self.bmc, patience_s=_PATIENCE_S)
        late = found.countdown > ticks + _LONGER_TICKS
        if found.running and found.action and not late:
            return
        raise self._fault(
            "get watchdog timer",
            f"this BMC's timer does not do what it was set to: action {self._action} in "
            f"{ticks / 10:g} s; it reads action {found.action} in {found.countdown / 10:g} s, "
            f"{'running' if found.running else 'not running'}",
        )

    async def _as_before(self) -> None:
        """Sets the timer as it was without the dead-man.  Raises BmcError."""
        if self._armed_ms or self._deadline_at:
            await self._feed(self._patient_until())
        else:
            await self._set(_USE_SMS_OS, ACTIONS["none"], self._next(BEATS), run=False)

    async def _set_mark(self, marked: bool) -> None:
        if not self._mark or (not marked and not self._marked):
            return
        self._marked = marked
        with contextlib.suppress(OSError):
            async with asyncio.timeout(_DISK_S):
                await asyncio.to_thread(_write_mark if marked else os.unlink, self._mark)

    async def _feed(self, until_ms: int) -> int:
        """Starts the timer as watchdog and dead-man need it; returns its countdown in ticks.

        Raises BmcError, also if the BMC confirms it only after `until_ms`.
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
        return max(ticks, 1)

    async def _set(
        self, use: int, action: int, ticks: int, *, run: bool, until_ms: int | None = None
    ) -> None:
        """Writes the timer; with `run` it starts, or goes on from the new countdown.

        Nothing leaves after `until_ms`: a start that we have given up would reset a healthy server.
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
        return self._fault(what, "not confirmed in time")

    def _fault(self, what: str, text: str) -> BmcError:
        return BmcError(self.bmc.server, self.bmc.where, what, 1, text)

    def _next(self, most: int) -> int:
        self._beat = self._beat % most + 1
        return self._beat


def _write_mark(path: str) -> None:
    """Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _late_ms(timeout_ms: int) -> int:
    """How long a feeding may take, both requests and the wait for its turn.

    The BMC may act so much later than the time-out; a lease allows for it (`core.model.timing`:
    less than half of `self_stop`).
    """
    return max(timeout_ms // 4, 500)
