"""What a resource type is given and what it returns; one operation of a resource at a time.

An operation that is ordered while another of the same resource runs ends that one (scripts by TERM
and KILL, everything else by cancelling it), waits until it is really over, and only then begins.
An operation that cannot be ended makes the later one fail: whatever it does still counts.
"""

from __future__ import annotations

import asyncio
import functools
import platform
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Protocol

import msgspec

from clptools.core.model.settings import Resource
from clptools.core.model.words import Severity
from clptools.faults import ClpError, ExitCode
from clptools.resources.script import FORCED_GRACE_MS, GRACE_MS, Script, ScriptResult
from clptools.version import VERSION

ENDS_S = 5.0
"""How long a cancelled operation may take to end before the next one fails."""


async def nothing_to_end(name: str, grace_ms: int) -> None:
    """The default of `ResourceContext.end`: there is no script."""


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
    lost: Callable[[str], None] = lambda why: None
    """Told when a resource that was started is found gone, and why it is not there again."""


class ResourceOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a start or stop ended."""

    ok: bool
    timed_out: bool = False
    severity: Severity = Severity.SOFT
    """Of a start that failed."""
    text: str = ""
    """One sentence; of a failure: the thing, the place, the remedy."""


class ResourceModule(Protocol):
    """What the module of a resource type provides.

    Both operations are idempotent.  They raise `ClpError` or `OSError` for faults and
    `TimeoutError` at the resource's own time-out.
    """

    async def start(self, resource: Resource, context: ResourceContext) -> ResourceOutcome:
        """Bring the resource up on this server."""
        ...

    async def stop(self, resource: Resource, context: ResourceContext) -> ResourceOutcome:
        """Take it down; already down is ok."""
        ...

    def warm_up(self) -> None:
        """Load what the first start would otherwise wait for; called at the agent's start."""
        ...


class Migrating(Protocol):
    """What the module of a type with the key `migrate` also provides."""

    async def migrate(self, resource: Resource, context: ResourceContext) -> ResourceOutcome:
        """Transfer its state for a start elsewhere; it stays active here until its stop."""
        ...


class Watching(Protocol):
    """What the module of a type that notices its own loss also provides."""

    async def watch(self, resource: Resource, context: ResourceContext) -> None:
        """Begin to watch over it, as its start does; its stop ends that."""
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


def is_under_way(server: str, place: str) -> bool:
    """Whether an operation on `place` (`group/resource`) runs or waits."""
    return (server, place) in _under_way


class _Operation:
    """An operation that runs, or waits for earlier ones."""

    def __init__(self, op: str) -> None:
        self.op = op
        self.later = ""
        """The operation that a later order wants; empty: none."""
        self.task: asyncio.Task[ResourceOutcome] | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()


_under_way: dict[tuple[str, str], list[_Operation]] = {}
"""(server, `group/resource`) -> its operations that are not over, in the order they came."""


async def in_turn(
    op: str,
    place: str,
    context: ResourceContext,
    work: Callable[[], Coroutine[Any, Any, ResourceOutcome]],
) -> ResourceOutcome:
    """Do `work`, the operation `op` on `place`, once every earlier one there is over.

    Raises:
        ClpError: an earlier one cannot be ended.
    """
    key = (context.server, place)
    queue = _under_way.setdefault(key, [])
    mine, earlier = _Operation(op), tuple(queue)
    queue.append(mine)
    try:
        await _end(earlier, op, place, context)
        if not mine.later:
            mine.task = asyncio.get_running_loop().create_task(work())
            await _wait(mine.task)
            if not mine.task.cancelled():
                return mine.task.result()
        return ResourceOutcome(ok=False, text=f"{place}: the {op} gave way to a {mine.later}")
    finally:
        mine.over.set_result(None)
        queue.remove(mine)
        if not queue:
            _under_way.pop(key, None)


async def _end(
    earlier: Iterable[_Operation], op: str, place: str, context: ResourceContext
) -> None:
    """End all of `earlier`, and scripts that an earlier agent left; wait until they are over."""
    for one in earlier:
        one.later = op
    # A cancelled operation would leave its script running, so the script is ended first.
    await context.end(place, FORCED_GRACE_MS if context.forced else GRACE_MS)
    for one in earlier:
        if one.task is not None and not one.task.cancelling():
            one.task.cancel()  # once: a second cancellation would disturb its clean-up
    futures = [one.over for one in earlier]
    if futures:
        await asyncio.wait(futures, timeout=ENDS_S)
    stuck = next((one for one in earlier if not one.over.done()), None)
    if stuck is not None:
        raise ClpError(
            ExitCode.FAILED,
            f"its {stuck.op} of before is still under way and cannot be ended",
            "look what the agent waits for, or restart it: systemctl restart clpnode",
        )


async def _wait(task: asyncio.Task[ResourceOutcome]) -> None:
    """Wait until it is over, even if the caller is cancelled."""
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
