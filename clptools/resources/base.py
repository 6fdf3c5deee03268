"""What a resource variant is told, and what it answers."""

from __future__ import annotations

import functools
import platform
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from clptools.core.model.settings import Resource
from clptools.resources.script import Script, ScriptResult
from clptools.version import VERSION


async def nothing_to_end(name: str, grace_ms: int) -> None:
    """For those who run no scripts."""


class ResourceContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where and why a resource starts, stops or migrates."""

    server: str
    group: str
    event: str
    """`CLP_EVENT`: START or FAILOVER; of a stop: how it had been started."""
    factor: str = ""
    """`CLP_FACTOR` of a stop or migration: GROUPSTOP, GROUPMOVE, GROUPFAILOVER, ..."""
    previous: str = ""
    """The server where it ran before; may be empty."""
    priority: int = 1
    """This server's place in the group's order, from 1."""
    forced: bool = False
    """The lease is over: this stop has seconds, then the watchdog ends the server."""
    macs_off: tuple[str, ...] = ()
    """MAC addresses, `00:25:90:ab:cd:ef`, of servers that are proven powered off."""
    run: Callable[[Script], Awaitable[ScriptResult]]
    """`ScriptRunner.run`."""
    end: Callable[[str, int], Awaitable[None]] = nothing_to_end
    """`ScriptRunner.end`."""
    log: Callable[[str], None] = lambda line: None
    """Takes remarks for the operator that are not the outcome."""


class ResourceOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a start or stop ended."""

    ok: bool
    timed_out: bool = False
    text: str = ""
    """One sentence; of a failure: the thing, the place, the mend."""


class ResourceModule(Protocol):
    """The face of a variant's module.

    Both operations are idempotent, raise `ClpError` or `OSError` for what goes wrong, and
    `TimeoutError` at the resource's own time-out.
    """

    async def start(self, resource: Resource, context: ResourceContext) -> ResourceOutcome:
        """Bring the resource up on this server."""
        ...

    async def stop(self, resource: Resource, context: ResourceContext) -> ResourceOutcome:
        """Take it down; already down is ok."""
        ...

    def warm_up(self) -> None:
        """Load what the first start would have to wait for; called at the agent's start."""
        ...


class Migrating(Protocol):
    """What the module of a type with the key `migrate` has besides."""

    async def migrate(self, resource: Resource, context: ResourceContext) -> ResourceOutcome:
        """Carry its state over for a start elsewhere; it stays active here until its stop."""
        ...


def script_environment(resource: Resource, context: ResourceContext) -> dict[str, str]:
    """The `CLP_*` variables of a resource's scripts."""
    return {
        "CLP_EVENT": context.event,
        "CLP_FACTOR": context.factor,
        "CLP_SERVER": "HOME" if context.priority == 1 else "OTHER",
        "CLP_GROUPNAME": context.group,
        "CLP_RESOURCENAME": resource.name,
        "CLP_PRIORITY": str(context.priority),
        "CLP_SERVER_PREV": context.previous,
        # No disk resource exists here that could have failed.
        "CLP_DISK": "SUCCESS",
        **product_environment(),
    }


@functools.cache
def product_environment() -> dict[str, str]:
    """`CLP_VERSION_*` and `CLP_OS*`: the same for every script."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    return {
        "CLP_VERSION_FULL": VERSION,
        "CLP_VERSION_MAJOR": VERSION.split(".")[0],
        "CLP_OSNAME": system.get("NAME", "Linux"),
        "CLP_OSVER": system.get("VERSION_ID", platform.release()),
    }
