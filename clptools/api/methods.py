"""The methods of `org.clptools.Node`, each a line from its parameters to the `Backend`.

A handler yields `(continues, reply)` pairs; the last has `continues` false, unless the caller
hangs up first.  Faults are `ClpError`s.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from clptools.api.messages import (
    Backend,
    ConfigFiles,
    EventRecord,
    Explanation,
    HardwareView,
    LogsPart,
)
from clptools.core.describe import describe_request
from clptools.core.model.machine import ServerFacts
from clptools.core.model.requests import Outcome, Request
from clptools.core.model.settings import Pushed
from clptools.core.model.view import StatusView
from clptools.core.model.words import Level
from clptools.faults import ClpError, ExitCode

EVENTS_PER_CALL = 1000
EVENTS_PER_REPLY = 100
WORDS, WORD_LETTERS = 32, 255
"""No line that only reads is longer; what is longer the command itself may refuse."""
PROGRESS_KEPT = 1000
"""Lines of progress held for a caller that reads slower than they come."""


class Caller(NamedTuple):
    """Who asks, by the kernel's word."""

    user: str
    may_write: bool
    may_read: bool = True
    asked_at: int = 0
    """When, by the caller's own word: `Call.asked_at`."""

    def on_behalf_of(self, user: str) -> str:
        """For the record: the user a privileged caller speaks for, and the caller."""
        named = "".join(c for c in user if c.isprintable())[:64]
        return f"{named} ({self.user})" if named and named != self.user else self.user


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parameters of a call."""

    def changes(self) -> str:
        """What it changes, in words; empty: nothing."""
        return ""


class NoParameters(Parameters, frozen=True, kw_only=True):
    """Of a method that takes none."""


class GetStatus(Parameters, frozen=True, kw_only=True):
    """Parameters of `GetStatus`."""

    local: bool | None = None


class GetFacts(Parameters, frozen=True, kw_only=True):
    """Parameters of `GetFacts`."""

    config: str | None = None


class AskQuery(Parameters, frozen=True, kw_only=True):
    """Parameters of `Query`."""

    command: Annotated[str, msgspec.Meta(max_length=WORD_LETTERS)]
    line: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=WORD_LETTERS)], ...],
        msgspec.Meta(max_length=WORDS),
    ]
    columns: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None


class Explain(Parameters, frozen=True, kw_only=True):
    """Parameters of `Explain`."""

    subject: str


class GetEvents(Parameters, frozen=True, kw_only=True):
    """Parameters of `GetEvents`."""

    since: str | None = None
    follow: bool | None = None


class RequestCall(Parameters, frozen=True, kw_only=True):
    """Parameters of `Request`."""

    request: Request
    user: str | None = None

    def changes(self) -> str:
        """The request as the journal has it."""
        return describe_request(self.request)


class PushConfig(Parameters, frozen=True, kw_only=True):
    """Parameters of `PushConfig`."""

    files: dict[str, str]
    revision: int | None = None
    dry_run: bool | None = None
    user: str | None = None
    how: str | None = None
    without: tuple[str, ...] | None = None

    def changes(self) -> str:
        """Nothing where it only compares."""
        return "" if self.dry_run else "a push of the configuration"


class RollKey(Parameters, frozen=True, kw_only=True):
    """Parameters of `RollKey`."""

    cancel: bool | None = None
    user: str | None = None

    def changes(self) -> str:
        """As the journal has it."""
        return "a step of the key roll"


class RunScript(Parameters, frozen=True, kw_only=True):
    """Parameters of `RunScript`."""

    script: str
    timeout_s: float | None = None
    user: str | None = None

    def changes(self) -> str:
        """Whatever the script does."""
        return f"the script {self.script[:100]!r}"


class Identify(Parameters, frozen=True, kw_only=True):
    """Parameters of `Identify`."""

    on: bool
    server: str | None = None
    user: str | None = None

    def changes(self) -> str:
        """The LED."""
        return f"identify LED {'on' if self.on else 'off'}"


class CollectLogs(Parameters, frozen=True, kw_only=True):
    """Parameters of `CollectLogs`."""

    server: str


class WriteLog(Parameters, frozen=True, kw_only=True):
    """Parameters of `WriteLog`."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=511)]
    level: Literal["INFO", "WARN", "ERROR"] | None = None
    event_id: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None

    def changes(self) -> str:
        """The log, where it would stand at a wrong time."""
        return f"the log line {self.text[:100]!r}"


class StatusReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of `GetStatus` and `WatchStatus`."""

    status: StatusView


class QueryReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of `Query`.  The thin client reads it without a parser: the text comes last."""

    code: int = 0
    text: str | None = None


class ExplainReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of `Explain`."""

    explanation: Explanation


class HardwareReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of `GetHardware`."""

    hardware: HardwareView


class FactsReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of `GetFacts`."""

    servers: tuple[ServerFacts, ...]


class EventsReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of `GetEvents`."""

    events: list[EventRecord]


class CountersReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of `GetCounters`."""

    counters: dict[str, int]


class MetricsReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of `GetMetrics`."""

    text: str


class RequestReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Reply of `Request`: a step, or the end."""

    outcome: Outcome | None = None
    progress: str | None = None


class LogsReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of `CollectLogs`: the next part, then none."""

    part: LogsPart | None = None


class OutcomeReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of the methods that only have an outcome."""

    outcome: Outcome


Replies = AsyncGenerator[tuple[bool, msgspec.Struct], None]


async def get_status(backend: Backend, asked: GetStatus, _caller: Caller, _more: bool) -> Replies:
    """`GetStatus`."""
    yield False, StatusReply(status=backend.status(bool(asked.local)))


async def watch_status(
    backend: Backend, _asked: NoParameters, _caller: Caller, more: bool
) -> Replies:
    """`WatchStatus`; without `more` it is `GetStatus`."""
    if not more:
        yield False, StatusReply(status=backend.status(False))
        return
    async for status in backend.watch_status():
        yield True, StatusReply(status=status)
    raise ClpError(ExitCode.NO_AGENT, "The node agent stops.", "Start it here: clpcl -s")


async def query(backend: Backend, asked: AskQuery, caller: Caller, _more: bool) -> Replies:
    """`Query`: nothing that the caller might not ask for itself is asked for it."""
    found = backend.understood(asked.command, asked.line)
    if found is None:
        yield False, QueryReply()
        return
    try:
        replies = [await _reply(backend, *call, caller) for call in found.calls]
    except ClpError:
        yield False, QueryReply()  # the command itself says why
        return
    # Beside the loop: a text may take as long as the longest step of the core.
    made = asyncio.get_running_loop().run_in_executor(
        _writer, found.written, replies, asked.columns or 0
    )
    written = await made
    if written is None:
        yield False, QueryReply()
    else:
        yield False, QueryReply(code=written[0], text=written[1])


_writer = ThreadPoolExecutor(1, "clpnode-text")
"""One at a time, so that callers together get no more of the processor than one of them."""


async def _reply(
    backend: Backend, name: str, parameters: dict[str, object], caller: Caller
) -> msgspec.Struct:
    """The reply to a call that only reads.  Raises ClpError."""
    method = METHODS[name]
    if method.writes:
        raise ClpError(ExitCode.NOT_PERMITTED, f"{name} does not only read.")
    asked = msgspec.convert(parameters, method.parameters)
    async with contextlib.aclosing(method.handle(backend, asked, caller, False)) as replies:
        async for _, reply in replies:
            return reply
    raise ClpError(ExitCode.FAILED, f"{name} has no reply.")


async def explain(backend: Backend, asked: Explain, _caller: Caller, _more: bool) -> Replies:
    """`Explain`."""
    yield False, ExplainReply(explanation=backend.explain(asked.subject))


async def get_hardware(
    backend: Backend, _asked: NoParameters, _caller: Caller, _more: bool
) -> Replies:
    """`GetHardware`."""
    yield False, HardwareReply(hardware=await backend.hardware())


async def get_events(backend: Backend, asked: GetEvents, _caller: Caller, more: bool) -> Replies:
    """`GetEvents`."""
    follow = bool(asked.follow) and more
    at_once = 1 if follow else EVENTS_PER_REPLY if more else EVENTS_PER_CALL
    batch: list[EventRecord] = []
    async for record in backend.events(asked.since or "", follow):
        batch.append(record)
        if len(batch) == at_once:
            yield more, EventsReply(events=batch)
            if not more:
                return
            batch = []
    if batch and more:
        yield True, EventsReply(events=batch)
        batch = []
    yield False, EventsReply(events=batch)


async def get_facts(backend: Backend, asked: GetFacts, _caller: Caller, _more: bool) -> Replies:
    """`GetFacts`."""
    yield False, FactsReply(servers=await backend.facts(asked.config or ""))


async def get_counters(
    backend: Backend, _asked: NoParameters, _caller: Caller, _more: bool
) -> Replies:
    """`GetCounters`."""
    yield False, CountersReply(counters=backend.counters())


async def get_metrics(
    backend: Backend, _asked: NoParameters, _caller: Caller, _more: bool
) -> Replies:
    """`GetMetrics`."""
    yield False, MetricsReply(text=backend.metrics())


async def request(backend: Backend, asked: RequestCall, caller: Caller, more: bool) -> Replies:
    """`Request`.  The work goes on when the caller hangs up; its progress is not reported then."""
    lines: asyncio.Queue[str | None] = asyncio.Queue(PROGRESS_KEPT)

    def progress(text: str) -> None:
        if more and not lines.full():
            lines.put_nowait(text)

    user = caller.on_behalf_of(asked.user or "")
    work = asyncio.ensure_future(
        backend.request(asked.request, user, progress, asked_at=caller.asked_at)
    )
    _keep(work)
    while more and not work.done():
        line = asyncio.ensure_future(lines.get())
        try:
            await asyncio.wait({work, line}, return_when=asyncio.FIRST_COMPLETED)
            if line.done() and (text := line.result()):
                yield True, RequestReply(progress=text)
        finally:
            line.cancel()
    outcome = await asyncio.shield(work)
    while not lines.empty():
        yield True, RequestReply(progress=lines.get_nowait())
    yield False, RequestReply(outcome=outcome)


_working: set[asyncio.Future[Any]] = set()
"""Requests under way: the event loop itself holds tasks only weakly."""


def _keep(work: asyncio.Future[Any]) -> None:
    _working.add(work)
    work.add_done_callback(_finished)


def _finished(work: asyncio.Future[Any]) -> None:
    _working.discard(work)
    if not work.cancelled():
        work.exception()  # taken, so that a caller that hung up leaves no warning behind


async def get_config(
    backend: Backend, _asked: NoParameters, _caller: Caller, _more: bool
) -> Replies:
    """`GetConfig`."""
    yield False, await backend.config()


async def push_config(backend: Backend, asked: PushConfig, caller: Caller, _more: bool) -> Replies:
    """`PushConfig`."""
    files = ConfigFiles(revision=asked.revision or 0, files=asked.files)
    user = caller.on_behalf_of(asked.user or "")
    pushed = Pushed(user=user, how=asked.how or "push", without=asked.without or ())
    outcome = await backend.push_config(files, pushed, bool(asked.dry_run))
    yield False, OutcomeReply(outcome=outcome)


async def roll_key(backend: Backend, asked: RollKey, caller: Caller, _more: bool) -> Replies:
    """`RollKey`."""
    user = caller.on_behalf_of(asked.user or "")
    yield False, OutcomeReply(outcome=await backend.roll_key(bool(asked.cancel), user))


async def run_script(backend: Backend, asked: RunScript, caller: Caller, _more: bool) -> Replies:
    """`RunScript`."""
    user = caller.on_behalf_of(asked.user or "")
    outcome = await backend.run_script(asked.script, user, asked.timeout_s or 30.0)
    yield False, OutcomeReply(outcome=outcome)


async def collect_logs(
    backend: Backend, asked: CollectLogs, _caller: Caller, more: bool
) -> Replies:
    """`CollectLogs`."""
    if not more:
        raise ClpError(ExitCode.USAGE, "CollectLogs answers in parts: call it with `more`.")
    async for part in backend.collect(asked.server):
        yield True, LogsReply(part=part)
    yield False, LogsReply()


async def write_log(backend: Backend, asked: WriteLog, _caller: Caller, _more: bool) -> Replies:
    """`WriteLog`."""
    backend.log(asked.text, Level(asked.level or "INFO"), asked.event_id or 1)
    yield False, OutcomeReply(outcome=Outcome())


async def identify(backend: Backend, asked: Identify, caller: Caller, _more: bool) -> Replies:
    """`Identify`."""
    user = caller.on_behalf_of(asked.user or "")
    yield False, OutcomeReply(outcome=await backend.identify(asked.server or "", asked.on, user))


class Method(NamedTuple):
    """One method of the interface."""

    parameters: type[Parameters]
    handle: Callable[[Backend, Any, Caller, bool], Replies]
    writes: bool = False
    """Whether the group `clptools` may not call it."""


METHODS: dict[str, Method] = {
    "GetStatus": Method(GetStatus, get_status),
    "WatchStatus": Method(NoParameters, watch_status),
    "Query": Method(AskQuery, query),
    "Explain": Method(Explain, explain),
    "GetHardware": Method(NoParameters, get_hardware),
    "GetFacts": Method(GetFacts, get_facts, writes=True),
    "GetEvents": Method(GetEvents, get_events),
    "GetCounters": Method(NoParameters, get_counters),
    "GetMetrics": Method(NoParameters, get_metrics),
    "Request": Method(RequestCall, request, writes=True),
    "GetConfig": Method(NoParameters, get_config, writes=True),
    "PushConfig": Method(PushConfig, push_config, writes=True),
    "RollKey": Method(RollKey, roll_key, writes=True),
    "CollectLogs": Method(CollectLogs, collect_logs, writes=True),
    "WriteLog": Method(WriteLog, write_log, writes=True),
    "Identify": Method(Identify, identify, writes=True),
    "RunScript": Method(RunScript, run_script, writes=True),
}
