"""Scripts in control groups of their own: transient scopes of systemd, where it is PID 1.

So what a group runs is seen and limited apart from the agent (`systemd-cgls`, `systemctl`), and
at shutdown systemd leaves it alone until the agent has moved or stopped its groups.  A script
does not wait for its scope; children that it has in its first milliseconds may stay outside.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from clptools.common import system_bus
from clptools.common.system_bus import MANAGER, NAME, PATH
from clptools.common.threads import load

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus

BOOTED = "/run/systemd/system"
"""Exists where systemd is PID 1 (sd_booted(3))."""
AGENT_UNIT = "clpnode.service"


def warm_up() -> None:
    """Load the D-Bus library where there is a systemd to speak to."""
    if os.path.isdir(BOOTED):
        load("dbus_fast.aio")


class Scopes:
    """Puts scripts into scopes; silent where there is no systemd."""

    def __init__(self, log: Callable[[str], None] = lambda line: None) -> None:
        self._log = log
        self._bus: MessageBus | None = None
        self._booted = os.path.isdir(BOOTED)
        self._tasks: set[asyncio.Task[None]] = set()

    def place(self, name: str, pid: int) -> None:
        """Begin to move a process; `ScriptRunner`'s `place`."""
        if self._booted:
            task = asyncio.get_running_loop().create_task(self._place(name, pid))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Let go of the bus."""
        for task in self._tasks:
            task.cancel()
        if self._bus is not None:
            self._bus.disconnect()
            self._bus = None

    async def _place(self, name: str, pid: int) -> None:
        from dbus_fast import Variant

        properties = [
            ["Description", Variant("s", f"clptools script of {name}")],
            ["PIDs", Variant("au", [pid])],
            # Stopped after the agent, which stops what runs here in its own order.
            ["Before", Variant("as", [AGENT_UNIT])],
            ["CollectMode", Variant("s", "inactive-or-failed")],
        ]
        method, signature = "StartTransientUnit", "ssa(sv)a(sa(sv))"
        body: tuple[object, ...] = (unit_name(name, pid), "fail", properties, [])
        try:
            if self._bus is None or not self._bus.connected:
                self._bus = await system_bus.connect()
            await system_bus.call(self._bus, NAME, PATH, MANAGER, method, signature, *body)
        except Exception as fault:
            # Refused, or whatever the library happens to raise.
            self._failed(name, pid, str(fault))

    def _failed(self, name: str, pid: int, why: str) -> None:
        """Worth a line, unless the script was over before it could be moved."""
        if os.path.exists(f"/proc/{pid}"):
            self._log(f"{name}: no scope for pid {pid}, it stays in the agent's: {why}")


def unit_name(name: str, pid: int) -> str:
    """`clptools-failover1-exec1-4711.scope`: what systemd allows in a name, and no more."""
    return f"clptools-{re.sub(r'[^A-Za-z0-9_.]', '-', name)[:180]}-{pid}.scope"
