"""A stand-in for the agent behind the real socket: answers from memory, records what is asked."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

from clptools import queries
from clptools.api.connection import Limits
from clptools.api.messages import (
    AskedQuery,
    Because,
    ConfigFiles,
    EventRecord,
    Explanation,
    HardwareOfServer,
    HardwareView,
    LogsPart,
)
from clptools.api.server import LIMITS, Server
from clptools.core.model.machine import ServerFacts
from clptools.core.model.requests import Outcome, Request
from clptools.core.model.settings import Pushed
from clptools.core.model.view import (
    ClusterView,
    GroupView,
    MonitorOnServerView,
    MonitorView,
    ResourceView,
    ServerView,
    StatusView,
)
from clptools.core.notices.requests import AskedLate
from clptools.faults import ClpError, ExitCode


def sample_status() -> StatusView:
    """The sample cluster, all well."""
    return StatusView(
        cluster=ClusterView(name="cluster", status="Normal", coordinator="server1", quorate=True),
        servers=(
            ServerView(name="server1", status="Online", local=True),
            ServerView(name="server2", status="Online"),
        ),
        groups=(
            GroupView(
                name="failover1",
                status="Online",
                current="server1",
                epoch=7,
                resources=(
                    ResourceView(name="exec1", type="exec", status="Online"),
                    ResourceView(name="fip1", type="fip", status="Online"),
                ),
                on={"server1": "Online", "server2": "Offline"},
            ),
        ),
        monitors=(
            MonitorView(
                name="mrw1",
                type="mrw",
                status="Normal",
                servers={
                    "server1": MonitorOnServerView(status="Normal"),
                    "server2": MonitorOnServerView(status="Normal"),
                },
            ),
            MonitorView(
                name="userw",
                type="userw",
                status="Normal",
                servers={"server1": MonitorOnServerView(status="Normal", restarts=2)},
            ),
        ),
    )


def record(number: int) -> EventRecord:
    """The numbered event."""
    return EventRecord(
        cursor=f"server1:cafe:{number}",
        time=1.0 * number,
        server="server1",
        module="rc",
        event_id=10,
        level="INFO",
        text=f"event {number}",
    )


class FakeBackend:
    """What the commands talk to in tests."""

    server = "server1"

    def __init__(self) -> None:
        self.state = sample_status()
        self.lines: list[tuple[str, ...]] = []
        """Lines of commands that came from thin clients."""
        self.changed = asyncio.Event()
        self.asked: list[tuple[Request, str]] = []
        self.scripts: list[tuple[str, str, float]] = []
        self.pushed: list[tuple[ConfigFiles, str, bool]] = []
        self.pushed_how: list[str] = []
        self.logged: list[tuple[str, str, int]] = []
        self.silent: set[str] = set()
        """Servers that do not answer."""
        self.lit: list[tuple[str, bool, str]] = []
        self.outcome = Outcome()
        self.late: list[AskedLate] = []
        """What was refused because it came up late."""
        self.steps: tuple[str, ...] = ()
        self.machines: tuple[ServerFacts, ...] = ()
        """What the servers tell of themselves."""
        self.asked_of: list[str] = []
        """The configurations for which they were asked."""
        self.hold = False
        """Requests do not end while it is set."""
        self.files = ConfigFiles(
            revision=3, files={"clp.toml": '[cluster]\nname = "cluster"\n', "scripts/a/b/c.sh": "#"}
        )
        self.records = [record(n) for n in range(250)]
        self.watching = 0
        self.watched = 0
        """How many watch, and how many ever did."""

    def status(self, local: bool) -> StatusView:
        if not local:
            return self.state
        own = tuple(s for s in self.state.servers if s.name == self.server)
        return StatusView(cluster=self.state.cluster, servers=own)

    def understood(self, command: str, line: Sequence[str]) -> AskedQuery | None:
        self.lines.append((command, *line))
        return queries.understood(command, line)

    async def watch_status(self) -> AsyncIterator[StatusView]:
        self.watching += 1
        self.watched += 1
        try:
            while True:
                self.changed.clear()
                yield self.state
                await self.changed.wait()
        finally:
            self.watching -= 1

    def explain(self, subject: str) -> Explanation:
        if subject != "failover1":
            raise ClpError(ExitCode.NO_SUCH, f"{subject}: no such name.", "Known: failover1")
        why = Because(time=1.0, server="server1", text="it was started.")
        return Explanation(subject=subject, state="failover1 is Online.", because=(why,))

    async def hardware(self) -> HardwareView:
        return HardwareView(servers=(HardwareOfServer(name="server1", counters={"received": 3}),))

    async def events(self, since: str, follow: bool) -> AsyncIterator[EventRecord]:
        first = int(since.rpartition(":")[2]) + 1 if since else 0
        for kept in self.records[first:]:
            yield kept
        if follow:
            await asyncio.Event().wait()

    async def request(
        self, request: Request, user: str, progress: Callable[[str], None], asked_at: int = 0
    ) -> Outcome:
        self.asked.append((request, user))
        for step in self.steps:
            progress(step)
        while self.hold:
            await asyncio.sleep(0.005)
        return self.outcome

    def refused_late(self, late: AskedLate) -> None:
        self.late.append(late)

    async def config(self) -> ConfigFiles:
        return self.files

    async def push_config(self, files: ConfigFiles, pushed: Pushed, dry_run: bool) -> Outcome:
        self.pushed.append((files, pushed.user, dry_run))
        self.pushed_how.append(pushed.how)
        return self.outcome

    async def run_script(self, script: str, user: str, timeout_s: float) -> Outcome:
        self.scripts.append((script, user, timeout_s))
        return self.outcome

    async def identify(self, server: str, on: bool, user: str) -> Outcome:
        if server == "server2":
            raise ClpError(ExitCode.FAILED, "BMC of server2 (10.0.0.2:623): no answer")
        self.lit.append((server, on, user))
        return Outcome(text=f"{server}: identify LED {'on' if on else 'off'}.")

    def log(self, text: str, level: str, event_id: int) -> None:
        self.logged.append((text, level, event_id))

    async def collect(self, server: str) -> AsyncIterator[LogsPart]:
        if server in self.silent:
            raise ClpError(ExitCode.FAILED, f"{server} cannot be reached")
        archive = f"what {server} packed".encode()
        for at in range(0, len(archive), 7):
            yield LogsPart(archive="a", size=len(archive), data=archive[at : at + 7])

    async def facts(self, config: str) -> tuple[ServerFacts, ...]:
        self.asked_of.append(config)
        return self.machines

    def counters(self) -> dict[str, int]:
        return {"trap.malformed": 1}

    def metrics(self) -> str:
        return 'clptools_monitor_check_seconds{monitor="userw"} 0.0123\n'


class Agent:
    """A server with a fake backend, in a thread of its own, on a real socket."""

    def __init__(self, path: str, limits: Limits = LIMITS) -> None:
        self.path = path
        self.limits = limits
        self.backend: FakeBackend
        self.server: Server
        self.loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._start())
        self._ready.set()
        self.loop.run_forever()

    async def _start(self) -> None:
        self.backend = FakeBackend()
        self.server = Server(self.backend, self.path, self.limits)
        await self.server.start()

    def change(self, status: StatusView) -> None:
        """A new status, as watchers see it."""

        def change() -> None:
            self.backend.state = status
            self.backend.changed.set()

        self.loop.call_soon_threadsafe(change)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Its loop stands still in the block."""
        stands, go_on = threading.Event(), threading.Event()

        def stand() -> None:
            stands.set()
            assert go_on.wait(60)

        self.loop.call_soon_threadsafe(stand)
        assert stands.wait(10)
        try:
            yield
        finally:
            go_on.set()

    @contextlib.contextmanager
    def running(self) -> Iterator[Agent]:
        """The agent while the block runs."""
        self._thread.start()
        assert self._ready.wait(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self.server.stop(), self.loop).result(10)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(10)
            self.loop.close()


def socket_path(root: Path) -> str:
    """Where the socket lies below a `CLP_ROOT`."""
    return str(root / "run/clptools/clpnode.sock")
