"""The arbiters of this server, as the agent uses them: by name; each is called by one
caller at a time."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from clptools.arbiters.base import ArbiterContext, Held, NpResolution
from clptools.arbiters.notices import ArbiterAnswers, ArbiterSilent
from clptools.arbiters.registry import VARIANTS
from clptools.core.model.events import ArbiterAnswered
from clptools.core.model.settings import Arbiter, Settings
from clptools.core.notices.form import Notice

logger = logging.getLogger(__name__)

_TICK_S = 0.001
_FAULTS_TOLD = 2
"""A single lost answer is not reported; the second in a row is, once."""
_MARGIN_S = 0.25
"""What a call may take beyond its time-out before it is ended from here."""


class _Line:
    """One arbiter, and the calls that wait for it."""

    def __init__(self, definition: Arbiter, context: ArbiterContext) -> None:
        self.definition = definition
        self.context = context
        self.lock = asyncio.Lock()
        self.releases = 0
        """How often it was released; an answer from before a release is worth nothing."""
        self.faults = 0
        """How many calls in a row ended in an error."""
        self._arbiter: NpResolution | None = None

    def arbiter(self) -> NpResolution:
        if self._arbiter is None:
            module = import_module(VARIANTS[self.definition.type])
            self._arbiter = cast(NpResolution, module.build(self.definition, self.context))
        return self._arbiter

    async def close(self) -> None:
        if self._arbiter is not None:
            await self._arbiter.close()


_WITNESS = "witness"
"""The one type that needs the authkey."""


class Arbiters:
    """All NP resolution resources of the configuration."""

    def __init__(self, server: str, authkey: bytes, on_change: Callable[[Notice], None]) -> None:
        """`on_change` is told when one fails, or answers again."""
        self._server = server
        self._on_change = on_change
        self.authkey = authkey
        self._token = secrets.token_hex(8)
        self._lines: dict[str, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def apply(self, settings: Settings) -> None:
        """Take over the arbiters of `settings`; one that is unchanged keeps what it holds."""
        names = settings.names
        wanted: dict[str, tuple[Arbiter, ArbiterContext]] = {}
        for arbiter in settings.arbiters:
            if arbiter.type in VARIANTS:
                wanted[arbiter.name] = (
                    arbiter,
                    ArbiterContext(
                        cluster=settings.cluster.name,
                        server=self._server,
                        # What the others hold must outlive a new authkey.
                        authkey=self.authkey if arbiter.type == _WITNESS else b"",
                        timeout_ms=arbiter.timeout_ms,
                        lease_ms=settings.cluster.lease_ms,
                        place=names.index(self._server) if self._server in names else len(names),
                        token=self._token,
                    ),
                )
        for name, line in list(self._lines.items()):
            if wanted.get(name) != (line.definition, line.context):
                del self._lines[name]
                self._begin(line.close())
        for name, (arbiter, context) in wanted.items():
            if name not in self._lines:
                self._lines[name] = _Line(arbiter, context)
        decides = settings.arbiter
        if decides is not None and decides.name in self._lines:
            self._lines[decides.name].arbiter()  # it may have to prepare: a slot on a disk

    async def hold(self, name: str, lease_ms: int, asked_at: int) -> ArbiterAnswered:
        """Take or renew a lease, counted from `asked_at`; a fault is in the answer.

        Returns at least a millisecond after it was called, so that an answer under way when the
        lease is given back is older, in whole milliseconds, than what is asked after that.
        """
        line = self._lines.get(name)
        if line is None:
            held = Held(error=f"{name} is not in the configuration any more")
        else:
            held = await self._hold(line, lease_ms)
            self._note(line, held.error)
            await asyncio.sleep(_TICK_S)
        return ArbiterAnswered(
            name=name, held=held.held, asked_at=asked_at, holder=held.holder, error=held.error
        )

    def _note(self, line: _Line, error: str) -> None:
        if error:
            line.faults += 1
            if line.faults == _FAULTS_TOLD:
                self._on_change(ArbiterSilent(error))
        else:
            if line.faults >= _FAULTS_TOLD:
                self._on_change(ArbiterAnswers(line.definition.name))
            line.faults = 0

    async def _hold(self, line: _Line, lease_ms: int) -> Held:
        releases = line.releases
        timeout_s = line.context.timeout_ms / 1000
        try:
            async with asyncio.timeout(timeout_s + _MARGIN_S), line.lock:
                held = await line.arbiter().hold(lease_ms)
        except TimeoutError:
            return Held(error=f"{line.definition.name}: no answer within {timeout_s:g} s")
        if held.held and line.releases != releases:
            return Held()  # given back since it was asked: what it held is over
        return held

    async def release(self, name: str) -> None:
        """Release a lease; if that fails, it runs out."""
        line = self._lines.get(name)
        if line is None:
            return
        line.releases += 1
        try:
            timeout_s = 2 * line.context.timeout_ms / 1000 + _MARGIN_S
            async with asyncio.timeout(timeout_s), line.lock:
                await line.arbiter().release()
        except TimeoutError:
            logger.debug("%s was not given back in time; it runs out", name)

    async def close(self) -> None:
        """Close everything; leases run out."""
        lines, self._lines = self._lines, {}
        for line in lines.values():
            self._begin(line.close())
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
