"""`exec`: a start and a stop script, and maybe one that migrates, in control groups of their own.

Where systemd is PID 1, each script runs in a transient scope.  So what a group runs is seen and
limited apart from the agent (`systemd-cgls`, `systemctl`), and at shutdown systemd leaves it alone
until the agent has moved or stopped its groups.  A script does not wait for its scope; children
that it has in its first milliseconds may stay outside.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from clptools import paths
from clptools.common import system_bus
from clptools.common.system_bus import MANAGER, NAME, PATH
from clptools.common.threads import load
from clptools.core.model.options import VariantOptions, read
from clptools.core.model.settings import Resource
from clptools.resources.operations import (
    ResourceContext,
    ResourceOutcome,
    product_environment,
    script_environment,
)
from clptools.resources.script import FORCED_GRACE_MS, GRACE_MS, Script, environment

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus


BOOTED = "/run/systemd/system"
"""Exists where systemd is PID 1 (sd_booted(3))."""
AGENT_UNIT = "clpnode.service"


class Options(VariantOptions, frozen=True, kw_only=True):
    """Its scripts; empty: there is none."""

    start: str = ""
    stop: str = ""
    migrate: str = ""
    background: bool = False
    """Its start script is not waited for."""
    prepare: str = ""
    """Run apart from the resource (`core/monitors/preparation.py`)."""


async def start(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Run the start script."""
    options = read(Options, resource.options)
    return await _run(
        resource,
        context,
        "start",
        options.start,
        resource.start_timeout_ms,
        background=options.background,
    )


async def stop(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Run the stop script."""
    script = read(Options, resource.options).stop
    return await _run(resource, context, "stop", script, resource.stop_timeout_ms)


async def migrate(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Run the migrate script."""
    script = read(Options, resource.options).migrate
    return await _run(resource, context, "migrate", script, resource.migrate_timeout_ms)


def warm_up() -> None:
    """Collect the variables that every script gets, and load what creates scopes."""
    environment(product_environment())
    if os.path.isdir(BOOTED):
        load("dbus_fast.aio")


async def _run(
    resource: Resource,
    context: ResourceContext,
    op: str,
    script: str,
    timeout_ms: int,
    *,
    background: bool = False,
) -> ResourceOutcome:
    if not script:
        return ResourceOutcome(ok=True, text=f"{context.group}/{resource.name} has no {op} script")
    result = await context.run(
        Script(
            name=f"{context.group}/{resource.name}",
            path=os.path.join(paths.scripts_dir(), context.group, resource.name, script),
            timeout_ms=timeout_ms,
            environment=script_environment(resource, context),
            grace_ms=FORCED_GRACE_MS if context.forced else GRACE_MS,
            background=background,
        )
    )
    return ResourceOutcome(ok=result.ok, timed_out=result.timed_out, text=result.text)


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
        """Close the connection to the bus."""
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
            # Stopped after the agent, which stops its groups in its own order.
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
            # Refused, or any fault of the library.
            self._failed(name, pid, str(fault))

    def _failed(self, name: str, pid: int, why: str) -> None:
        """Logs it, unless the script was over before it could be moved."""
        if os.path.exists(f"/proc/{pid}"):
            self._log(f"{name}: no scope for pid {pid}, it stays in the agent's: {why}")


def unit_name(name: str, pid: int) -> str:
    """`clptools-failover1-exec1-4711.scope`: only characters that systemd allows."""
    return f"clptools-{re.sub(r'[^A-Za-z0-9_.]', '-', name)[:180]}-{pid}.scope"
