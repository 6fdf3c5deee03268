"""Actions on this host and by its own BMC, each logged before it is done.

A node below `CLP_ROOT` never touches the machine it runs on: it calls
`[cluster] action_command` with the action and the server's name, or refuses.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from clptools import paths
from clptools.common.foreign_files import check_script
from clptools.core.model.events import HostActionDone
from clptools.faults import ClpError, ExitCode

TRIGGER = "/proc/sysrq-trigger"
COMMAND_TIMEOUT_S = 30.0

COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "shutdown": (
        ("/usr/bin/systemctl", "poweroff"),
        ("/bin/systemctl", "poweroff"),
        ("/sbin/shutdown", "-h", "now"),
        ("/sbin/poweroff",),
    ),
    "reboot": (
        ("/usr/bin/systemctl", "reboot"),
        ("/bin/systemctl", "reboot"),
        ("/sbin/shutdown", "-r", "now"),
        ("/sbin/reboot",),
    ),
}
"""Orderly ways to end the OS, best first; each is for hosts that lack those before it."""


class Sysrq(StrEnum):
    """The kernel's emergency actions (`Documentation/admin-guide/sysrq.rst`) that are used here.

    Root may write any of them to the trigger; the `kernel.sysrq` mask concerns only the keyboard.
    """

    REBOOT = "b"
    """At once, without syncing or unmounting."""
    CRASH = "c"
    """Panic: a crash dump where one is set up; `kernel.panic` says whether a reboot follows."""
    POWER_OFF = "o"


def trigger(command: Sysrq, path: str = TRIGGER) -> None:
    """Does the action; on success this does not return.

    Raises:
        OSError: there is no trigger (a container), or we may not use it.
    """
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, command.value.encode())
    finally:
        os.close(fd)


SYSRQ: dict[str, Sysrq] = {
    # The original's keepalive driver does these two; sysrq does the same from user space.
    "keepalive-reset": Sysrq.REBOOT,
    "keepalive-panic": Sysrq.CRASH,
    "sysrq-panic": Sysrq.CRASH,
    # For hosts on which none of COMMANDS works.
    "shutdown": Sysrq.POWER_OFF,
    "reboot": Sysrq.REBOOT,
}


class OwnBmc(Protocol):
    """This server's BMC."""

    async def act(self, action: str) -> str:
        """Do `bmc-reset`, `bmc-power-off`, `bmc-power-cycle` or `bmc-nmi`; returns the result.

        Raises `ClpError`.
        """
        ...


class Host:
    """Carries out, or refuses, what a final action or a command asks of this host.

    `command` is `[cluster] action_command`; it and `bmc` may be replaced when the configuration
    changes.
    """

    def __init__(
        self,
        server: str,
        *,
        command: str = "",
        bmc: OwnBmc | None = None,
        log: Callable[[str], None] = lambda line: None,
        press: Callable[[Sysrq], None] = trigger,
    ) -> None:
        self.command = command
        self.bmc = bmc
        self._server = server
        self._log = log
        self._press = press

    async def perform(self, action: str, reason: str) -> HostActionDone:
        """Begin the action.  `ok` means begun: what ends the host cannot report its end."""
        self._log(f"{action} of {self._server}: {reason}")
        try:
            text = await self._do(action)
        except ClpError as fault:
            hint = f" ({fault.hint})" if fault.hint else ""
            text = f"{action} refused: {fault.message}{hint}"
            self._log(text)
            return HostActionDone(action=action, ok=False, text=text)
        except OSError as fault:
            text = f"{action} failed: {fault.filename or self._server}: {fault.strerror}"
            self._log(text)
            return HostActionDone(action=action, ok=False, text=text)
        self._log(text)
        return HostActionDone(action=action, ok=True, text=text)

    async def _do(self, action: str) -> str:
        if action.startswith("bmc-"):
            if self.bmc is None:
                raise ClpError(
                    ExitCode.REFUSED,
                    f"{self._server} has no BMC in the configuration",
                    "[server.bmc] names its address and user",
                )
            return await self.bmc.act(action)
        if self.command:
            check_script(self.command)
            await _run(self.command, action, self._server)
            return f"{action} handed to {self.command}"
        if paths.root():
            raise ClpError(
                ExitCode.REFUSED,
                f"this node lives below {paths.root()} and leaves its machine alone",
                "[cluster] action_command names an executable that gets action and server",
            )
        return await self._end_host(action)

    async def _end_host(self, action: str) -> str:
        faults = []
        for command in COMMANDS.get(action, ()):
            if not os.access(command[0], os.X_OK):
                continue
            try:
                await _run(*command)
            except ClpError as fault:
                faults.append(fault.message)
                self._log(fault.message)
            else:
                return f"{action} begun by {' '.join(command)}"
        self._press(SYSRQ[action])
        return f"{action} by sysrq {SYSRQ[action].value}"


async def _run(*command: str) -> None:
    """Run a command to its end, in its own session: it must not die with the agent.

    Raises:
        ClpError: it failed, or did not end in time; then it is left to itself.
        OSError: it cannot be run.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    text = " ".join(command)
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            _, said = await process.communicate()
    except TimeoutError:
        raise ClpError(
            ExitCode.TIMED_OUT, f"{text} did not end within {COMMAND_TIMEOUT_S:g} s"
        ) from None
    if process.returncode != 0:
        last = said.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        raise ClpError(ExitCode.FAILED, f"{text}: exit status {process.returncode}: {last}")
