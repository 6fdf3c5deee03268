"""What the agent is asked and what it answers: by callers on this host, and by other agents.

The first part is the local socket's: views, records and the `Backend` that `clptools.api.server`
calls for permitted callers only (`clptools.agent.backend`).  The second part is what agents say
to each other beside the core's control messages, on the TLS channel (`links/peer.py`), which
is handed `PeerNotice` and `PeerRequest` and knows no more of them.  A notice is sent and
forgotten; each request names the one type of its reply.  A caller outside the cluster may send
`OUTSIDE` only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import msgspec

from clptools.core.model.actions import Record
from clptools.core.model.machine import Facts, ServerFacts
from clptools.core.model.messages import Control
from clptools.core.model.requests import ExternalNotice, GroupMove, Outcome, Request
from clptools.core.model.settings import Pushed
from clptools.core.model.view import ConditionView, StatusView
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
    """Name of the notice in `docs/events.md`; empty for what a person wrote (`clplogcmd`)."""
    heard: float = 0.0
    """Wall clock of the server that answers when this record came live from its server.

    0: its own record; -1: caught up after a time apart.  With it records of several servers can
    be put into one order without comparing their clocks.
    """

    @classmethod
    def of(cls, record: Record, *, cursor: str, time: float, server: str) -> EventRecord:
        """A record of a core, as told by its server."""
        return cls(
            cursor=cursor,
            time=time,
            server=server,
            module=record.module,
            event_id=record.event_id,
            level=str(record.level),
            text=record.text,
            subjects=record.subjects,
            because=record.because,
            event=record.event,
            code=record.code,
        )


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


class BmcFault(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps an agent from using a server's BMC."""

    server: str
    """Whose BMC it is."""
    fault: str
    mend: str = ""
    """What a person can do; empty: nothing, or it passes by itself."""


class HardwareOfServer(msgspec.Struct, frozen=True, kw_only=True):
    """Open hardware events and trap counters of one server."""

    name: str
    open: tuple[OpenHardware, ...] = ()
    counters: dict[str, int] = {}
    """Of traps, since its agent started."""
    unreachable: str | None = None
    """Why there are no counters: its agent was asked and did not answer."""
    bmcs: tuple[BmcFault, ...] = ()
    """BMCs, also of other servers, that its agent cannot use as it should."""
    conditions: tuple[ConditionView, ...] = ()
    """What is not well on the server itself."""


class HardwareView(msgspec.Struct, frozen=True, kw_only=True):
    """`clpstat --hw --json`."""

    schema: int = 1
    servers: tuple[HardwareOfServer, ...] = ()


class ConfigFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration with its scripts: path relative to the configuration folder -> content."""

    revision: int
    files: dict[str, str]
    """`clp.toml` and `scripts/...`, text."""
    pushed: Pushed | None = None
    """By whom, if it was noted."""


class LogsPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what a server packed for `clplogcc`."""

    archive: str
    """Names it to the server that packed it."""
    size: int
    """Of the whole archive, in bytes."""
    data: bytes


class AskedQuery(Protocol):
    """A line of a command that only reads, understood."""

    calls: tuple[tuple[str, dict[str, object]], ...]
    """Method and parameters of what it asks, in order."""

    def written(self, replies: Sequence[msgspec.Struct], columns: int) -> tuple[int, str] | None:
        """Exit code and text, of the replies to `calls`, for a terminal of so many columns.

        Columns 0: there is no terminal.  None: the command itself is to say.
        """


class Backend(Protocol):
    """The agent, as far as its local callers may see it."""

    @property
    def server(self) -> str:
        """This server's name."""

    def status(self, local: bool) -> StatusView:
        """The cluster now; `local`: only what this server knows of itself."""

    def watch_status(self) -> AsyncIterator[StatusView]:
        """The status now and after each change (at most ten a second)."""

    def understood(self, command: str, line: Sequence[str]) -> AskedQuery | None:
        """A line of a command that only reads; None: only the command itself can answer it."""

    def explain(self, subject: str) -> Explanation:
        """Why `subject` is as it is.  Raises ClpError (NO_SUCH) for an unknown name."""

    async def hardware(self) -> HardwareView:
        """Open hardware events and counters of every server; one that does not answer is named."""

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

    async def config(self) -> ConfigFiles:
        """The configuration in force.  Raises ClpError."""

    async def push_config(self, files: ConfigFiles, pushed: Pushed, dry_run: bool) -> Outcome:
        """Checks on and distributes to every server, all or none; `dry_run` only compares.

        `pushed.without`: servers that need not be reached, on the word of `pushed.user`.
        """

    async def roll_key(self, cancel: bool, user: str) -> Outcome:
        """The next step of a key roll on every server; `cancel`: the first one undone."""

    async def run_script(self, script: str, user: str, timeout_s: float) -> Outcome:
        """`clprexec --script`: a script below `scripts/trnreq/` on this server."""

    async def identify(self, server: str, on: bool, user: str) -> Outcome:
        """`clpledctrl`: the identify LED of a server (empty: this one)."""

    def collect(self, server: str) -> AsyncIterator[LogsPart]:
        """`clplogcc -n`: the parts of a gzipped tar archive, in order.  Raises ClpError."""

    def log(self, text: str, level: Level, event_id: int) -> None:
        """`clplogcmd`: a record of this server in a person's or script's own words."""

    async def facts(self, config: str) -> tuple[ServerFacts, ...]:
        """What every server of that configuration (text; empty: in force) tells of its machine.

        Raises ClpError.
        """

    def counters(self) -> dict[str, int]:
        """Rejected datagrams and the like, by `door.reason`."""

    def metrics(self) -> str:
        """All figures as Prometheus text."""


# ---------------------------------------------------------------------- between agents


class PeerMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything between agents."""


class Records(PeerMessage, tag="records", frozen=True, kw_only=True):
    """Recorded events of one or more servers, in order for each server."""

    records: tuple[EventRecord, ...]


class AskRecords(PeerMessage, tag="ask-records", frozen=True, kw_only=True):
    """After a time apart: what the asker lacks.

    Reply: `Records`, at most `limit` of the server asked, and of the asker itself.
    """

    after: dict[str, str]
    """Server -> cursor of the newest record the asker has."""
    present: str = ""
    """Begins the cursors of the asker's own records since its agent started: it lacks none."""
    limit: int = 500


class PushPrepare(PeerMessage, tag="push-prepare", frozen=True, kw_only=True):
    """Check this configuration and keep it aside.  Reply: `Outcome`."""

    push: str
    """Names this push in the commit or abort that follows."""
    files: ConfigFiles
    user: str
    """As in `files.pushed`, for agents of an earlier version."""


class PushCommit(PeerMessage, tag="push-commit", frozen=True, kw_only=True):
    """Put the prepared configuration in force.  Reply: `Outcome`."""

    push: str


class PushAbort(PeerMessage, tag="push-abort", frozen=True, kw_only=True):
    """Forget the prepared configuration.  Reply: `Outcome`."""

    push: str


class PushRemoved(PeerMessage, tag="push-removed", frozen=True, kw_only=True):
    """You are none of the cluster's servers any more: forget its configuration.

    Reply: `Outcome`.
    """

    revision: int
    """The first without you."""


class AskConfigHash(PeerMessage, tag="ask-config-hash", frozen=True, kw_only=True):
    """Which configuration is in force there?  Reply: `ConfigHash`."""


class ConfigHash(PeerMessage, tag="config-hash", frozen=True, kw_only=True):
    """The configuration in force: equal hashes mean equal files."""

    revision: int
    files: dict[str, str]
    """Path relative to the configuration folder -> SHA-256 in hex."""
    servers: tuple[str, ...] = ()
    """Names of its servers."""
    edit: str = ""
    """How the `clp.toml` on its disk differs from it; empty: it does not."""
    reached: bool = True
    """Whether all its servers that do not join have it: those that join may take it over."""


class AskConfig(PeerMessage, tag="ask-config", frozen=True, kw_only=True):
    """Send the configuration in force.  Reply: `ConfigFiles`."""


class AskStatus(PeerMessage, tag="ask-status", frozen=True, kw_only=True):
    """`clpstat -h`: how that server sees the cluster.  Reply: `StatusView`."""

    local: bool = False


class AskCounters(PeerMessage, tag="ask-counters", frozen=True, kw_only=True):
    """`clpstat --hw`: what came to that server as traps.  Reply: `Counters`."""


class Counters(PeerMessage, tag="counters", frozen=True, kw_only=True):
    """Traps by what became of them, since the agent started."""

    traps: dict[str, int]
    bmcs: tuple[BmcFault, ...] = ()
    """BMCs that it cannot use as it should."""


class AskFacts(PeerMessage, tag="ask-facts", frozen=True, kw_only=True):
    """What does your machine look like to this configuration?  Reply: `ToldFacts`."""

    config: str = ""
    """Text of `clp.toml`; empty: the one in force there."""


class ToldFacts(PeerMessage, tag="told-facts", frozen=True, kw_only=True):
    """The machine of the server that was asked."""

    facts: Facts
    wall: float
    """Its clock when it answered, seconds since 1970."""


class AskLogs(PeerMessage, tag="ask-logs", frozen=True, kw_only=True):
    """`clplogcc`: what that server knows, packed.  Reply: `LogsPart`."""

    archive: str = ""
    """Of which a further part is wanted; empty: pack one."""
    offset: int = 0
    """In bytes."""


class AskKeys(PeerMessage, tag="ask-keys", frozen=True, kw_only=True):
    """Which authkeys count there?  Reply: `KeysHeld`."""


class KeysHeld(PeerMessage, tag="keys-held", frozen=True, kw_only=True):
    """The authkeys of a server, by fingerprint; empty: there is none."""

    own: str
    """It signs with this one."""
    next: str = ""
    """Accepted, not used yet."""
    last: str = ""
    """Used before, still accepted."""


class AskNewKey(PeerMessage, tag="ask-new-key", frozen=True, kw_only=True):
    """The key that a roll brings, for a server that goes on with it.  Reply: `NewKey`."""


class NewKey(PeerMessage, tag="new-key", frozen=True, kw_only=True):
    """The key that a roll brings."""

    key: bytes


class AcceptKey(PeerMessage, tag="accept-key", frozen=True, kw_only=True):
    """Key roll, step 1: this key counts beside yours.  Reply: `Outcome`."""

    key: bytes


class UseKey(PeerMessage, tag="use-key", frozen=True, kw_only=True):
    """Step 2: sign with the new key.  Reply: `Outcome`."""

    new: str
    """Its fingerprint."""


class DropKey(PeerMessage, tag="drop-key", frozen=True, kw_only=True):
    """Step 3: the old key does not count any more.  Reply: `Outcome`."""

    new: str
    """Fingerprint of the key that alone counts from now on."""


class ForgetKey(PeerMessage, tag="forget-key", frozen=True, kw_only=True):
    """Step 1 undone: the new key does not count.  Reply: `Outcome`."""


KeyOrder = AcceptKey | UseKey | DropKey | ForgetKey
"""The steps of a key roll."""
KeyMessage = AskKeys | AskNewKey | KeyOrder


class Transaction(PeerMessage, tag="transaction", frozen=True, kw_only=True):
    """`clprexec --failover`, `--notice`, `--clear`.  Reply: `Outcome`."""

    request: GroupMove | ExternalNotice
    resource: str = ""
    """With a `GroupMove` that names no group: move the group that holds this resource."""
    user: str = ""


class TransactionScript(PeerMessage, tag="transaction-script", frozen=True, kw_only=True):
    """`clprexec --script`: a script below `scripts/trnreq/` there.  Reply: `Outcome`."""

    script: str
    timeout_s: float
    user: str = ""


PeerNotice = Control | Records
"""What `PeerChannel.send` takes."""

PeerRequest = (
    AskRecords
    | PushPrepare
    | PushCommit
    | PushAbort
    | PushRemoved
    | AskConfigHash
    | AskConfig
    | AskStatus
    | AskCounters
    | AskFacts
    | AskLogs
    | AskKeys
    | AskNewKey
    | AcceptKey
    | UseKey
    | DropKey
    | ForgetKey
    | Transaction
    | TransactionScript
)
"""What `PeerChannel.call` takes."""

OUTSIDE = (Transaction, TransactionScript)
"""The requests that a caller outside the cluster may send."""
