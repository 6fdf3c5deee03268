"""Requests under way: who waits for their end, and the steps that other servers take."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from clptools.agent.records import Records
from clptools.api.messages import EventRecord
from clptools.core.model import actions
from clptools.core.model.requests import GroupMove, GroupStart, Outcome, Request
from clptools.core.notices import groups
from clptools.core.notices.form import Kinds

_LAST_STEP_S = 0.2
"""How much later than the end of the request its last step may arrive: the step's record comes by
the control channel, the end by a heartbeat."""
_ONLINE = Kinds(groups.GroupOnline, groups.GroupFound)


class Replies:
    """The callers that wait for the end of a request."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[asyncio.Future[Outcome], Callable[[str], None]]] = {}

    async def wait(
        self, id: str, begin: Callable[[], None], progress: Callable[[str], None]
    ) -> Outcome:
        """Call `begin`, then wait for the outcome of the request `id`."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[id] = (outcome, progress)
        try:
            begin()
            return await outcome
        finally:
            del self._waiting[id]

    def progress(self, action: actions.Progress) -> None:
        """A line for the caller, if it still waits."""
        if action.id in self._waiting:
            self._waiting[action.id][1](action.text)

    def reply(self, action: actions.Reply) -> None:
        """The end of the request."""
        if action.id in self._waiting:
            outcome, _ = self._waiting[action.id]
            if not outcome.done():
                outcome.set_result(action.outcome)

    def close(self) -> None:
        """The agent stops: no request will be answered any more."""
        for outcome, _ in self._waiting.values():
            outcome.cancel()


class StepsElsewhere:
    """Tells the caller of the steps that other servers take, by their records.

    The core tells of this server's own steps.  Use it in an `async with` block around the wait for
    the end of `request`.
    """

    def __init__(
        self, server: str, request: Request, records: Records, progress: Callable[[str], None]
    ) -> None:
        self._server = server
        self._request = request
        self._about = getattr(request, "group", "") or request.server
        self._records = records
        self._progress = progress
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> StepsElsewhere:
        if self._about:
            kept = self._records.all()
            told = self._tell(kept[-1].cursor if kept else "")
            self._task = asyncio.get_running_loop().create_task(told)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def last(self, holder: str) -> None:
        """Wait, not for long, until the start of a group on `holder` has been told."""
        if holder in ("", self._server) or not isinstance(self._request, GroupStart | GroupMove):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_STEP_S):
                await self._arrived.wait()

    async def _tell(self, since: str) -> None:
        async for record in self._records.follow(since, follow=True):
            if record.server != self._server and self._about in record.subjects:
                self._step(record)

    def _step(self, record: EventRecord) -> None:
        self._progress(record.text)
        if record in _ONLINE:
            self._arrived.set()
