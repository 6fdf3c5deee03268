"""One operation of a resource at a time: the one that was ordered last ends those before it.

What is ordered while another operation of the same resource runs ends that one (scripts by TERM
and KILL, everything else by cancelling it), waits until it is really over, and only then begins.
An operation that cannot be ended makes the later one fail: whatever it does still counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from clptools.faults import ClpError, ExitCode
from clptools.resources.base import ResourceContext, ResourceOutcome
from clptools.resources.script import FORCED_GRACE_MS, GRACE_MS

ENDS_S = 5.0
"""How long a cancelled operation may take to be over before the next one fails for it."""


class _Operation:
    """One that runs, or waits for those before it."""

    def __init__(self, op: str) -> None:
        self.op = op
        self.later = ""
        """The operation that was ordered after it; empty: none."""
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
    """End all of `earlier`, with scripts that an agent before us left, and see them over."""
    for one in earlier:
        one.later = op
    # A script that is cancelled would run on: it is ended first, then its operation ends itself.
    await context.end(place, FORCED_GRACE_MS if context.forced else GRACE_MS)
    for one in earlier:
        if one.task is not None and not one.task.cancelling():
            one.task.cancel()  # once: a second time would disturb what it ends with
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
    """Until it is over, even if whoever waits is cancelled."""
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
