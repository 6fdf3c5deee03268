"""The agent as callers on this host see it: the socket's `Backend`.

Nothing here decides: what changes the cluster becomes a `RequestSeen` for the core, everything
else reads what is there.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from clptools import paths, queries
from clptools.agent import clock, configuration
from clptools.agent.conditions import Conditions
from clptools.agent.facts import MachineFacts
from clptools.agent.key_roll import KeyRoll
from clptools.agent.log_archives import PACKED_WITHIN_S, Collector, parts
from clptools.agent.metrics import Metrics
from clptools.agent.notices import ChassisIdentified
from clptools.agent.push import Pushes
from clptools.agent.records import Records
from clptools.agent.requests import Replies, StepsElsewhere
from clptools.agent.view import blank, changes, local_part
from clptools.api import messages as said
from clptools.api.messages import (
    BmcFault,
    ConfigFiles,
    EventRecord,
    Explanation,
    HardwareOfServer,
    HardwareView,
    LogsPart,
    OpenHardware,
)
from clptools.api.methods import CountersReply, HardwareReply, StatusReply
from clptools.core.model.actions import Record
from clptools.core.model.events import Event, RequestSeen
from clptools.core.model.machine import Facts, ServerFacts
from clptools.core.model.requests import Outcome, Request, ServiceStart, ServiceStop
from clptools.core.model.settings import Pushed, Settings
from clptools.core.model.view import OpenEventView, StatusView
from clptools.core.model.words import Level
from clptools.core.notices.requests import AskedLate
from clptools.core.report import explain
from clptools.core.report.order import in_order
from clptools.faults import ClpError, ExitCode, known
from clptools.resources.script import Script, ScriptRunner

_WATCH_S = 0.1
_COUNTERS_S = 1.0
_PART_S = 10.0
R = TypeVar("R")
_SCRIPT_NAME = re.compile(r"[A-Za-z0-9_@%+=,.-]{1,255}")


class Core(Protocol):
    """The agent's core, once it has a configuration."""

    settings: Settings
    """The configuration in force, as it was pushed."""

    def view(self) -> StatusView:
        """The cluster now."""

    def put(self, event: Event) -> None:
        """Tell the core."""


class Running(Protocol):
    """`agent.Agent`, as its callers need it."""

    @property
    def server(self) -> str:
        """This server's name."""

    @property
    def incarnation(self) -> str:
        """Of this agent."""

    @property
    def conditions(self) -> Conditions:
        """What is not well on this server itself."""

    def core_now(self) -> Core | None:
        """The core; None: there is no configuration yet."""

    @property
    def taken_out(self) -> str:
        """How this server was taken out of the cluster by a push; empty: it was not."""

    def counters(self) -> dict[str, int]:
        """Everything counted, by `door.reason`."""


class Calls(Protocol):
    """`links.peer.PeerChannel`, as far as it asks other agents."""

    async def call(self, to: str, request: msgspec.Struct, reply: type[R], timeout_s: float) -> R:
        """Its reply.  Raises ClpError."""


class Around(Protocol):
    """`Surroundings`, as far as callers need them."""

    @property
    def scripts(self) -> ScriptRunner:
        """Runs scripts."""

    async def identify(self, server: str, on: bool) -> str:
        """The identify LED of a server's chassis.  Raises ClpError."""

    def beat_faults(self) -> tuple[str, ...]:
        """Why our own BMC carries no heartbeat now."""

    def checks_took_s(self) -> dict[str, float]:
        """How long the newest check of each active monitor took, in seconds."""


class AgentBackend:
    """`clptools.api.messages.Backend` for this agent."""

    def __init__(
        self,
        agent: Running,
        around: Around,
        calls: Calls,
        records: Records,
        replies: Replies,
        pushes: Pushes,
        key_roll: KeyRoll,
    ) -> None:
        self._agent = agent
        self._around = around
        self._calls = calls
        self._server = server = agent.server
        self._ids = (f"{agent.incarnation}-{n}" for n in itertools.count(1))
        self._records = records
        self._replies = replies
        self._pushes = pushes
        self._key_roll = key_roll
        self._collector = Collector(server)
        self._machine = MachineFacts(server, self._settings_in_force, calls)
        self._metrics = Metrics(
            server, lambda: self.status(False), self.counters, around.checks_took_s
        )
        records.on_new = self._metrics.saw
        self._watched = (-1, blank(server))
        """When a watching caller last looked, and the view then."""

    @property
    def server(self) -> str:
        """This server's name."""
        return self._server

    # Reading

    def status(self, local: bool) -> StatusView:
        """The cluster now; without a configuration, a stopped one with this server."""
        core, out = self._agent.core_now(), self._agent.taken_out
        view = blank(self._server, out) if core is None or out else core.view()
        view = self._agent.conditions.added(view)
        return local_part(view, self._server) if local else view

    def understood(self, command: str, line: Sequence[str]) -> said.AskedQuery | None:
        """A line of a command that only reads, by the command's own code."""
        return queries.understood(command, line)

    async def watch_status(self) -> AsyncIterator[StatusView]:
        """The status now and whenever more than ages changed in it."""
        view = self.status(False)
        while True:
            yield view
            before = view
            while not changes(before, view):
                await asyncio.sleep(_WATCH_S)
                view = self._shared_view()

    def _shared_view(self) -> StatusView:
        """One view shared by all watchers: a view for each of them would take up the whole loop."""
        now = clock.boot_ms()
        at, view = self._watched
        if at < 0 or now - at >= _WATCH_S * 1000:
            view = self.status(False)
            self._watched = now, view
        return view

    def explain(self, subject: str) -> Explanation:
        """Why `subject` is as it is, from the records of all servers."""
        status = self.status(False)
        story = explain.explain(
            *(subject, status, in_order(self._records.all(), self._server)),
            *(clock.wall_s(), clock.local_time),
        )
        if story is None:
            raise ClpError(
                ExitCode.NO_SUCH,
                f"{subject}: no such group, resource, monitor or server.",
                known(explain.names(status), subject) or "Nothing is configured.",
            )
        return msgspec.convert(story, Explanation, from_attributes=True)

    async def hardware(self) -> HardwareView:
        """Open hardware events as every server reports them, and the counters of each."""
        servers = self.status(False).servers
        counted = await asyncio.gather(*(self._counted(server.name) for server in servers))
        now = clock.wall_s()
        return HardwareView(
            servers=tuple(
                HardwareOfServer(
                    name=server.name,
                    open=tuple(_dated(event, now) for event in server.open_events),
                    counters=found.traps,
                    unreachable=fault,
                    bmcs=found.bmcs,
                    conditions=server.conditions,
                )
                for server, (found, fault) in zip(servers, counted, strict=True)
            )
        )

    async def _counted(self, server: str) -> tuple[said.Counters, str | None]:
        """A server's trap counters and faults of BMCs, or why there are none."""
        if server == self._server:
            return self.own_counters(), None
        try:
            async with asyncio.timeout(_COUNTERS_S):
                found = await self._calls.call(
                    server, said.AskCounters(), said.Counters, _COUNTERS_S
                )
        except TimeoutError:
            return said.Counters(traps={}), f"no answer within {_COUNTERS_S:g} s"
        except ClpError as error:
            return said.Counters(traps={}), error.message
        return found, None

    def events(self, since: str, follow: bool) -> AsyncIterator[EventRecord]:
        """Records after a cursor, then as they come."""
        return self._records.follow(since, follow)

    async def facts(self, config: str) -> tuple[ServerFacts, ...]:
        """What every server of that configuration tells of its machine."""
        return await self._machine.all(config)

    def _settings_in_force(self) -> Settings | None:
        core = self._agent.core_now()
        return None if core is None else core.settings

    async def own_facts(self, config: str) -> Facts:
        """This machine, as that configuration needs it."""
        return await self._machine.own(config)

    def log(self, text: str, level: Level, event_id: int) -> None:
        """A record in the caller's own words."""
        self._records.add(
            Record(module="logcmd", event_id=event_id, level=level, text=text, subjects=())
        )

    def counters(self) -> dict[str, int]:
        """Everything counted, by `door.reason`."""
        return self._agent.counters()

    def metrics(self) -> str:
        """All figures as Prometheus text."""
        return self._metrics.text()

    async def collect(self, server: str) -> AsyncIterator[LogsPart]:
        """What a server knows, packed there, part by part."""

        async def ask(archive: str, offset: int) -> LogsPart:
            asked = said.AskLogs(archive=archive, offset=offset)
            if server == self._server:
                return await self.logs_part(asked)
            within_s = _PART_S if archive else PACKED_WITHIN_S + _PART_S
            return await self._calls.call(server, asked, LogsPart, within_s)

        async for part in parts(ask):
            yield part

    async def _state(self) -> dict[str, str]:
        """The present state, as the API says it, by the name of its file in an archive."""
        replies = {
            "status": StatusReply(status=self.status(False)),
            "hardware": HardwareReply(hardware=await self.hardware()),
            "counters": CountersReply(counters=self.counters()),
        }
        return {
            f"{name}.json": msgspec.json.format(msgspec.json.encode(reply), indent=1).decode()
            for name, reply in replies.items()
        }

    async def logs_part(self, asked: said.AskLogs) -> LogsPart:
        """A part of what this server knows, packed.  Raises ClpError."""
        return await self._collector.part(asked.archive, asked.offset, self._state)

    def own_counters(self) -> said.Counters:
        """What came to this server as traps, and the BMCs that it cannot use as it should."""
        bmcs = ((server.name, server.bmc) for server in self.status(False).servers)
        return said.Counters(
            traps=self._trap_counters(),
            bmcs=tuple(
                BmcFault(server=name, fault=bmc.error or bmc.lacks, mend=bmc.mend)
                for name, bmc in bmcs
                if bmc is not None and (bmc.error or bmc.lacks)
            )
            + tuple(
                BmcFault(server=self._server, fault=fault) for fault in self._around.beat_faults()
            ),
        )

    def _trap_counters(self) -> dict[str, int]:
        """Traps by what became of them, since the agent started."""
        return {
            name.removeprefix("trap."): count
            for name, count in self._agent.counters().items()
            if name.startswith("trap.")
        }

    # Changing

    def refused_late(self, late: AskedLate) -> None:
        """Records it: the caller is long gone."""
        self._records.notice(late)

    async def request(
        self, request: Request, user: str, progress: Callable[[str], None], asked_at: int = 0
    ) -> Outcome:
        """Tell the core, and wait for its reply."""
        core = self._agent.core_now()
        # A server taken out of the cluster keeps its core, which must not act any more.
        removed = (self._agent.taken_out and not isinstance(request, ServiceStop)) or (
            isinstance(request, ServiceStart) and not configuration.exists()
        )
        if core is None or removed:
            raise ClpError(
                ExitCode.REFUSED,
                f"{self._server} has no configuration {'any more' if core else 'yet'}",
                "Distribute one from any server: clpcfctrl --push",
            )
        id = next(self._ids)
        try:
            async with StepsElsewhere(self._server, request, self._records, progress) as steps:
                seen = RequestSeen(
                    id=id, user=user, request=request, asked_at=asked_at or clock.boot_ms()
                )
                outcome = await self._replies.wait(id, lambda: core.put(seen), progress)
                if not outcome.code and not outcome.text:
                    await steps.last(self._holder(request))
                return outcome
        except asyncio.CancelledError:
            if self._agent.core_now() is core:
                raise
            raise ClpError(ExitCode.NO_AGENT, "the agent stopped before it was through") from None

    def _holder(self, request: Request) -> str:
        group = getattr(request, "group", "")
        return next((g.current or "" for g in self.status(False).groups if g.name == group), "")

    async def run_script(self, script: str, user: str, timeout_s: float) -> Outcome:
        """A script below `scripts/trnreq/`."""
        path = self.script_path(script)
        result = await self._around.scripts.run(
            Script(
                name=f"trnreq/{script}",
                path=path,
                timeout_ms=round(timeout_s * 1000),
                environment={"CLP_EVENT": "TRNREQ", "CLP_FACTOR": user},
            )
        )
        if result.ok:
            return Outcome(did=result.text)
        code = ExitCode.TIMED_OUT if result.timed_out else ExitCode.FAILED
        return Outcome(code=code, text=result.text)

    def script_path(self, script: str) -> str:
        """Where such a script lies.  Raises ClpError."""
        folder = f"{paths.scripts_dir()}/trnreq"
        path = f"{folder}/{script}"
        if not _SCRIPT_NAME.fullmatch(script) or script in (".", ".."):
            raise ClpError(
                ExitCode.USAGE, f"{script[:100]!r} is no script's name", f"Scripts are in {folder}."
            )
        if not os.path.exists(path):
            raise ClpError(ExitCode.NO_SUCH, f"{path}: no such script")
        return path

    async def identify(self, server: str, on: bool, user: str) -> Outcome:
        """By that server's BMC, from here: the server itself may be dead."""
        server = server or self._server
        names = [each.name for each in self.status(False).servers]
        if server not in names:
            raise ClpError(ExitCode.NO_SUCH, f"{server}: no such server.", known(names, server))
        text = await self._around.identify(server, on)
        self._records.notice(ChassisIdentified(server, text, user))
        return Outcome(text=f"{text}.")

    # The configuration

    async def config(self) -> ConfigFiles:
        """The configuration in force.  Raises ClpError."""
        return await self._pushes.received.files()

    async def roll_key(self, cancel: bool, user: str) -> Outcome:
        """A step of the key roll."""
        return await self._key_roll.go_on(cancel, user)

    async def push_config(self, files: ConfigFiles, pushed: Pushed, dry_run: bool) -> Outcome:
        """Distribute, or only compare."""
        if dry_run:
            return await self._pushes.differences(files)
        return await self._pushes.distribute(files, pushed)


def _dated(event: OpenEventView, now: float) -> OpenHardware:
    return OpenHardware(
        id=event.id,
        event_class=event.event_class,
        meaning=event.meaning,
        first=round(now - event.first_s, 3),
        last=round(now - event.last_s, 3),
        count=event.count,
        monitor=event.monitor,
        acknowledged=event.acknowledged,
    )
