"""`userw`: the watchdog that ends this server when its user space, or its agent, stands still.

The core says when to arm and feed it; here is by which means.  `guard` is weaker than a timer in
hardware, since it needs a kernel that still schedules; `none` arms nothing and proves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from clptools import paths
from clptools.core.events import WatchdogChanged
from clptools.core.settings import Settings
from clptools.faults import ClpError, ExitCode
from clptools.monitors.guard_client import GuardClient
from clptools.monitors.softdog import Softdog
from clptools.trust import check_script


class BmcTimer(Protocol):
    """The watchdog timer of this server's BMC (method `ipmi`)."""

    async def arm(self, timeout_ms: int) -> str:
        """Set and start it; returns a remark for people.  Raises `ClpError`."""
        ...

    def pet(self) -> None:
        """Start it anew; what fails shows as `armed` no more."""
        ...

    async def disarm(self) -> None:
        """Stop it.  Raises `ClpError`."""
        ...


class Watchdog:
    """One server's watchdog.

    `now` reads CLOCK_BOOTTIME in ms.  `changed` gets what happens to an armed watchdog unasked.
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
        self._guard = GuardClient(now, self._guard_gone)
        self._method = "none"
        self._guard_action = "reboot"
        self._command = ""
        self._timeout_ms = 0
        self._wanted = False
        self._armed_by = ""
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def armed(self) -> bool:
        """Whether something may reset this server when it is not fed."""
        return bool(self._armed_by)

    def apply(self, settings: Settings) -> None:
        """Know method and actions; an armed watchdog changes over at its next arming."""
        for monitor in settings.monitors:
            if monitor.type == "userw" and self._server in monitor.servers:
                self._method = str(monitor.options.get("method") or "none")
                self._guard_action = str(monitor.options.get("guard_action") or "reboot")
                break
        else:
            self._method = "none"
        self._command = settings.cluster.action_command

    async def arm(self, timeout_ms: int) -> WatchdogChanged:
        """Arm it by the configured method, or say why it cannot be."""
        async with self._lock:
            self._timeout_ms = timeout_ms
            self._wanted = True
            method = "guard" if self._method == "keepalive" else self._method
            try:
                if self._armed_by not in ("", method):
                    await self._disarm(self._armed_by)
                    self._armed_by = ""
                remark = await self._arm(method, timeout_ms)
            except (ClpError, OSError) as fault:
                # What is armed still, as it was before, goes on being fed: else it would reset us.
                return WatchdogChanged(armed=False, method=method, text=_text(method, fault))
            self._armed_by = "" if method == "none" else method
            return WatchdogChanged(armed=self.armed, method=method, text=remark)

    def pet(self) -> None:
        """Feed it; harmless when it is not armed."""
        if self._armed_by == "guard":
            self._guard.pet()
        elif self._armed_by == "ipmi" and self.bmc_timer is not None:
            self.bmc_timer.pet()
        elif self._armed_by == "softdog":
            try:
                self._softdog.pet()
            except OSError as fault:
                self._armed_by = ""
                self._changed(
                    WatchdogChanged(armed=False, method="softdog", text=_text("softdog", fault))
                )

    async def disarm(self) -> WatchdogChanged:
        """Disarm it cleanly; also a guard that an agent before this one left."""
        async with self._lock:
            self._wanted = False
            method = self._armed_by or ("guard" if self._method != "none" else "none")
            try:
                await self._disarm(method)
            except (ClpError, OSError) as fault:
                return WatchdogChanged(armed=self.armed, method=method, text=_text(method, fault))
            self._armed_by = ""
            return WatchdogChanged(armed=False, method=method)

    def close(self) -> None:
        """The agent ends without disarming: the watchdog stays armed, for the next agent."""
        self._guard.close()
        for task in self._tasks:
            task.cancel()

    async def _arm(self, method: str, timeout_ms: int) -> str:
        if method == "guard":
            return await self._guard.arm(timeout_ms, self._guard_command())
        if method == "softdog":
            await asyncio.to_thread(self._softdog.prepare)
            return self._softdog.arm(timeout_ms)
        if method == "ipmi":
            if self.bmc_timer is None:
                raise ClpError(
                    ExitCode.FAILED,
                    f"{self._server} has no BMC in the configuration",
                    '[server.bmc] names it; or use method = "guard"',
                )
            return await self.bmc_timer.arm(timeout_ms)
        return "method is none: this server gives no lease proof"

    async def _disarm(self, method: str) -> None:
        if method == "guard":
            await self._guard.disarm()
        elif method == "softdog":
            self._softdog.disarm()
        elif method == "ipmi" and self.bmc_timer is not None:
            await self.bmc_timer.disarm()

    def _guard_command(self) -> tuple[str, ...]:
        """What the guard runs; empty: it resets this machine itself."""
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

    def _guard_gone(self, text: str) -> None:
        """The guard ended unasked: say so, and start another."""
        self._armed_by = ""
        self._changed(WatchdogChanged(armed=False, method="guard", text=text))
        task = asyncio.get_running_loop().create_task(self._again())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self) -> None:
        if self._wanted:
            self._changed(await self.arm(self._timeout_ms))


def _text(method: str, fault: ClpError | OSError) -> str:
    if isinstance(fault, ClpError):
        return f"userw ({method}): {fault.message}" + (f" ({fault.hint})" if fault.hint else "")
    return f"userw ({method}): {fault.strerror}"
