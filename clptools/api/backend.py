"""What the API server asks of the agent: the one seam between socket and agent.

`clptools.api.server` calls it for permitted callers only; `clptools.agent.backend` is it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec

from clptools.core.model.requests import Outcome, Request
from clptools.core.model.view import StatusView
from clptools.core.model.words import Level
from clptools.core.notices.requests import AskedLate


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the cluster's story (`clpstat --events`), from whichever server."""

    schema: int = 1
    cursor: str
    """Opaque and ordered per server; `--since` takes it."""
    time: float
    """Wall clock of the server that recorded it, seconds since 1970."""
    server: str
    module: str
    event_id: int
    level: str
    text: str
    subjects: tuple[str, ...] = ()
    because: tuple[str, ...] = ()
    event: int = 0
    """The open hardware event it speaks of, or 0."""
    code: str = ""
    """Name of the notice in `docs/events.md`; empty for what somebody wrote (`clplogcmd`)."""
    heard: float = 0.0
    """Wall clock of the server that answers when this record came live from its server.

    0: its own record; -1: caught up after a time apart.  With it records of several servers can
    be put into one order without comparing their clocks.
    """


class Because(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an explanation."""

    time: float
    server: str
    text: str
    event: dict[str, str | int] = {}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a group, monitor or server is as it is (`clpstat --explain --json`)."""

    schema: int = 1
    subject: str
    state: str
    """One sentence: `failover1 is Online on server2 since …, epoch 9.`"""
    because: tuple[Because, ...] = ()
    then: tuple[str, ...] = ()
    """What follows and what the operator can do."""
    waiting_for: str | None = None


class OpenHardware(msgspec.Struct, frozen=True, kw_only=True):
    """One open hardware event, for programs."""

    id: int
    event_class: str = msgspec.field(name="class")
    meaning: str
    first: float
    """Wall clock of the server that answers, seconds since 1970."""
    last: float
    count: int
    monitor: str
    acknowledged: bool = False


class HardwareOfServer(msgspec.Struct, frozen=True, kw_only=True):
    """Open hardware events and trap counters of one server."""

    name: str
    open: tuple[OpenHardware, ...] = ()
    counters: dict[str, int] = {}
    """Of traps, since its agent started."""
    unreachable: str | None = None
    """Why there are no counters: its agent was asked and did not answer."""


class HardwareView(msgspec.Struct, frozen=True, kw_only=True):
    """`clpstat --hw --json`."""

    schema: int = 1
    servers: tuple[HardwareOfServer, ...] = ()


class ConfigFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration with its scripts: path relative to the configuration folder -> content."""

    revision: int
    files: dict[str, str]
    """`clp.toml` and `scripts/...`, text."""


class LogsPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what a server packed for `clplogcc`."""

    archive: str
    """Names it to the server that packed it."""
    size: int
    """Of the whole archive, in bytes."""
    data: bytes


class Backend(Protocol):
    """The agent, as far as its local callers may see it."""

    @property
    def server(self) -> str:
        """This server's name."""

    def status(self, local: bool) -> StatusView:
        """The cluster now; `local`: only what this server knows of itself."""

    def watch_status(self) -> AsyncIterator[StatusView]:
        """The status now and after each change (at most ten a second)."""

    def explain(self, subject: str) -> Explanation:
        """Why `subject` is as it is.  Raises ClpError (NO_SUCH) for an unknown name."""

    async def hardware(self) -> HardwareView:
        """Open hardware events and counters of every server; who does not answer is named."""

    def events(self, since: str, follow: bool) -> AsyncIterator[EventRecord]:
        """Recorded events after the cursor `since` (empty: all kept), then as they come."""

    async def request(
        self, request: Request, user: str, progress: Callable[[str], None], asked_at: int = 0
    ) -> Outcome:
        """Carries a request through to its end; `progress` gets a line for each step.

        `asked_at`: time since boot (ms) when it was asked for; 0: now.
        """

    def refused_late(self, late: AskedLate) -> None:
        """Tells of a call that waited so long that it was refused."""

    def config(self) -> ConfigFiles:
        """The configuration in force."""

    async def push_config(self, files: ConfigFiles, user: str, dry_run: bool) -> Outcome:
        """Checks on and distributes to every server, all or none; `dry_run` only compares."""

    async def run_script(self, script: str, user: str, timeout_s: float) -> Outcome:
        """`clprexec --script`: a script below `scripts/trnreq/` on this server."""

    async def identify(self, server: str, on: bool, user: str) -> Outcome:
        """`clpledctrl`: the identify LED of a server (empty: this one)."""

    def collect(self, server: str) -> AsyncIterator[LogsPart]:
        """`clplogcc -n`: the parts of a gzipped tar archive, in order.  Raises ClpError."""

    def log(self, text: str, level: Level, event_id: int) -> None:
        """`clplogcmd`: a record of this server in a person's or script's own words."""

    def counters(self) -> dict[str, int]:
        """Rejected datagrams and the like, by `door.reason`."""
