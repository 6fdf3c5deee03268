"""`userw`: the watchdog that ends this server when its user space, or its agent, hangs.

Only the core decides by which method to arm it, when to feed it and when to disarm it, since other
servers may rest a proof on it.  `guard` is weaker than a hardware timer, as it needs a kernel that
still schedules; `none` arms nothing and proves nothing.

*Armed* is a promise, which ends with the first feeding that fails.  A method that may still *run*
is fed even then: otherwise it would reset a healthy server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Protocol

from clptools import paths
from clptools.common.foreign_files import check_script
from clptools.core.model.events import WatchdogChanged
from clptools.core.model.options import WatchdogOptions as Options
from clptools.core.model.options import read, watchdog_monitor
from clptools.core.model.settings import Settings
from clptools.faults import ClpError, ExitCode
from clptools.monitors.guard_client import GuardClient
from clptools.monitors.softdog import Softdog


class BmcTimer(Protocol):
    """The watchdog timer of this server's BMC (method `ipmi`)."""

    async def arm(self, timeout_ms: int, failed: Callable[[str], None]) -> str:
        """Set and start it; returns a remark for people.  Raises `ClpError`.

        `failed(text)` is called for each feeding that is not confirmed in time.
        """
        ...

    def pet(self) -> None:
        """Restart the countdown, if it was ever armed."""
        ...

    async def disarm(self) -> None:
        """Stop it.  Raises `ClpError`."""
        ...


class Watchdog:
    """One server's watchdog.

    `now` reads CLOCK_BOOTTIME in ms.  `changed` gets what happens to an armed watchdog by itself.
    """

    def __init__(
        self,
        server: str,
        *,
        now: Callable[[], int],
        changed: Callable[[WatchdogChanged], None],
        bmc_timer: BmcTimer | None = None,
    ) -> None:
        self.bmc_timer = bmc_timer
        self._server = server
        self._changed = changed
        self._softdog = Softdog()
        self._guard = GuardClient(now, self._guard_gone, self._guard_unfed)
        self._configured = "none"
        self._guard_action = "reboot"
        self._command = ""
        self._timeout_ms = 0
        self._wanted = ""
        """The method that the core wants; empty: none."""
        self._armed_by = ""
        self._running = _left_running()
        """Methods that may run, also from an earlier agent: each is to be disarmed."""
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def armed(self) -> bool:
        """Whether a watchdog is sure to reset this server when it is not fed."""
        return bool(self._armed_by)

    def apply(self, settings: Settings) -> None:
        """Take the options for later armings; nothing is armed or disarmed by this."""
        monitor = watchdog_monitor(settings, self._server)
        if monitor is not None:
            options = read(Options, monitor.options)
            self._configured = options.method
            self._guard_action = options.guard_action
        self._command = settings.cluster.action_command

    async def arm(self, timeout_ms: int, method: str = "") -> WatchdogChanged:
        """Arm it by `method` (empty: the configured one), or say why it cannot be.

        Another method that runs is ended only once this one is armed.
        """
        async with self._lock:
            method = method or self._configured
            method = "guard" if method == "keepalive" else method
            self._timeout_ms = timeout_ms
            self._wanted = method
            return await self._arm_now(method, timeout_ms)

    def pet(self) -> None:
        """Feed every method that runs; harmless if none does."""
        self._guard.pet()
        if self.bmc_timer is not None:
            self.bmc_timer.pet()
        try:
            self._softdog.pet()
        except OSError as fault:
            self._lost("softdog", f"{self._softdog.device}: {fault.strerror}")

    async def disarm(self) -> WatchdogChanged:
        """Disarm it, and what an earlier agent left."""
        async with self._lock:
            self._wanted = ""
            self._armed_by = ""
            # A guard is looked for in any case: its socket shows it, without a note.
            faults = await self._end(self._running | {"guard"})
            return WatchdogChanged(armed=False, text="; ".join(faults))

    def close(self) -> None:
        """Lets go without disarming: the watchdog stays armed for the next agent."""
        self._guard.close()
        self._softdog.close()
        for task in self._tasks:
            task.cancel()

    async def _arm_now(self, method: str, timeout_ms: int, *, fed: bool = True) -> WatchdogChanged:
        if method == "none":
            text = "method is none: this server gives no lease proof"
            return WatchdogChanged(armed=False, method=method, text=text)
        self._note(self._running | {method})
        try:
            remark = await self._arm(method, timeout_ms, fed)
        except (ClpError, OSError) as fault:
            self._armed_by = ""
            return WatchdogChanged(armed=False, method=method, text=_text(method, fault))
        self._armed_by = method
        faults = await self._end(self._running - {method})
        return WatchdogChanged(
            armed=True, method=method, text="; ".join(filter(None, (remark, *faults)))
        )

    async def _arm(self, method: str, timeout_ms: int, fed: bool) -> str:
        if method == "guard":
            return await self._guard.arm(timeout_ms, self._guard_command(), fed=fed)
        if method == "softdog":
            await asyncio.to_thread(self._softdog.prepare)
            return self._softdog.arm(timeout_ms)
        if self.bmc_timer is None:
            raise ClpError(
                ExitCode.FAILED,
                f"{self._server} has no BMC in the configuration",
                '[server.bmc] names it; or use method = "guard"',
            )
        return await self.bmc_timer.arm(timeout_ms, self._bmc_failed)

    async def _end(self, methods: set[str]) -> list[str]:
        """Disarm these; returns the faults.  A method that cannot be disarmed is still fed."""
        faults = []
        for method in sorted(methods):
            try:
                if method == "guard":
                    await self._guard.disarm()
                elif method == "softdog":
                    self._softdog.disarm()
                elif self.bmc_timer is not None:
                    await self.bmc_timer.disarm()
            except (ClpError, OSError) as fault:
                faults.append(f"it cannot be disarmed: {_text(method, fault)}")
            else:
                self._note(self._running - {method})
        return faults

    def _note(self, running: set[str]) -> None:
        """Notes on the disk what may run: the devices would not show it to the next agent."""
        if running == self._running:
            return
        self._running = running
        with contextlib.suppress(OSError):
            os.makedirs(paths.run_dir(), exist_ok=True)
            with open(_note_file(), "w", encoding="ascii") as file:
                file.write(" ".join(sorted(running)))

    def _bmc_failed(self, text: str) -> None:
        self._lost("ipmi", text)

    def _lost(self, method: str, text: str) -> None:
        """A feeding by `method` failed: it counts as armed no longer."""
        if self._armed_by == method:
            self._armed_by = ""
            self._changed(
                WatchdogChanged(
                    armed=False,
                    method=method,
                    text=f"userw ({method}): the watchdog cannot be fed: {text}",
                )
            )

    def _guard_command(self) -> tuple[str, ...]:
        """The command that the guard runs; empty: it resets this machine itself."""
        command = self._guard_action
        if command == "reboot":
            command = self._command
            if not command and paths.root():
                raise ClpError(
                    ExitCode.REFUSED,
                    f"this node lives below {paths.root()} and leaves its machine alone",
                    "[cluster] action_command, or guard_action, names an executable to run",
                )
            if not command:
                return ()
        check_script(command)
        return (command, "reboot", self._server)

    def _guard_unfed(self, text: str) -> None:
        self._lost("guard", text)

    def _guard_gone(self, text: str, fired: bool) -> None:
        """The guard ended unasked: reports it and starts another."""
        if self._armed_by == "guard":
            self._armed_by = ""
            self._changed(WatchdogChanged(armed=False, method="guard", text=text))
        task = asyncio.get_running_loop().create_task(self._again(fired))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self, fired: bool) -> None:
        """Starts another guard with the deadline of the last feeding, if that is still to come."""
        async with self._lock:
            if self._wanted == "guard" and not self._guard.connected:
                self._changed(await self._arm_now("guard", self._timeout_ms, fed=fired))


def _note_file() -> str:
    return f"{paths.run_dir()}/userw"


def _left_running() -> set[str]:
    """What the last agent noted as running."""
    with contextlib.suppress(OSError, UnicodeDecodeError), open(_note_file()) as file:
        return set(file.read().split()) & {"guard", "softdog", "ipmi"}
    return set()


def _text(method: str, fault: ClpError | OSError) -> str:
    if isinstance(fault, ClpError):
        return f"userw ({method}): {fault.message}" + (f" ({fault.hint})" if fault.hint else "")
    return f"userw ({method}): {fault.strerror}"
