"""Everything a core remembers: plain mutable structs, so that a snapshot is one encoding.

One struct a part; those of the cluster, of groups and of monitors have files of their own.
Instants are of this server's clock; `NEVER` stands for "not yet".
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from clptools.core.model.cluster_state import (
    PeersState,
    PolicyState,
    RatioState,
    RevisionState,
    SentState,
    VoteState,
)
from clptools.core.model.durable import Durable
from clptools.core.model.group_state import (
    ClearanceState,
    Copies,
    LifecycleState,
    MirrorState,
    OfficeState,
    OrderState,
)
from clptools.core.model.monitor_state import (
    FinalState,
    LedgerState,
    MonitorRun,
    PlansState,
)
from clptools.core.model.requests import Request
from clptools.core.model.settings import Settings
from clptools.core.model.states import (
    WatchdogState,
)
from clptools.core.model.timing import NEVER
from clptools.core.model.words import AfterStop, Stage


class Phase(StrEnum):
    """The life of this incarnation."""

    RUNNING = "running"
    LEAVING = "leaving"
    """Releases all groups, then leaves."""
    TELLING = "telling"
    """Has left, and tells the others."""
    STOPPED = "stopped"
    """Has left; the agent keeps running to answer commands."""
    DONE = "done"


class Life(msgspec.Struct):
    """This incarnation: since when it has run, and how far its start or its end has got."""

    incarnation: str
    started_at: int = NEVER
    phase: Phase = Phase.RUNNING
    then: AfterStop = AfterStop.NOTHING
    no_move: bool = False
    left_at: int = NEVER
    newcomer: bool = False
    member: bool = False
    had_state: bool = False
    noted: bool = True
    """This boot's id is on the disk; without it we take no grant."""
    macs: tuple[str, ...] = ()
    """MAC addresses of this server."""
    version: str = ""
    """Version of the agent."""


class StepState(msgspec.Struct):
    """What one step leaves to the next."""

    seed: int
    draws: int = 0
    timers: dict[str, int] = {}
    next_token: int = 1
    decisions_due: bool = False
    """Something that decisions depend on has changed, so the step must settle."""
    report_due: bool = False
    """Our status has changed. The others are told, at most once an interval."""
    reported_at: int = NEVER
    reports: int = 0
    unsettled_at: int = NEVER
    """When it was last recorded that settling did not converge."""


class Condition(msgspec.Struct, frozen=True):
    """Something that is not well on this server itself."""

    text: str
    mend: str
    monitors: tuple[str, ...]
    """Monitors that miss some of what they should see because of it."""
    since: int


class LeaseState(msgspec.Struct):
    """The holder's lease and the watchdog."""

    until: int = NEVER
    waived: bool = False
    """The cluster is suspended, and every server that might clear us knows that we do not stop
    ourselves."""
    watchdog_state: WatchdogState = WatchdogState.OFF
    watchdog_as: tuple[str, int] = ("", 0)
    """Method and time-out (ms) with which the watchdog was last armed."""
    disarmed_from: int = NEVER
    """Since when our beats have said that no watchdog binds us. It is still fed until all servers
    know."""
    watchdog_again_at: int = NEVER
    watchdog_fault: str = ""
    """Why the watchdog is not armed, as recorded."""
    armed: bool = False
    watchdog: str = ""


class Pending(msgspec.Struct):
    """A request for whose end a client or another server waits."""

    id: str
    request: Request
    user: str
    origin: str
    """The server that it came from; empty: this one."""
    since: int
    stage: Stage = Stage.NEW
    server: str = ""
    epoch: int = 0
    groups: list[str] = []
    """The groups that it set in motion."""
    held_by: dict[str, str] = {}
    """Group -> the server that held it when the request was made; empty: none."""
    failed_at: int = NEVER
    """When a start was found to have failed. The servers then have a moment to say why."""
    incarnation: str = ""
    """Incarnation of the server that it was forwarded to; a later one does not know the request."""
    asks_for: str = ""
    """The request of this server for which the other server was asked."""
    against: list[str] = []
    """What speaks against the request, in the words of each server that was asked."""
    sent_at: int = 0
    """`Forward.sent_at` of a request that came from another server."""


class RequestsState(msgspec.Struct):
    """Requests for whose end a client or another server waits."""

    pending: dict[str, Pending] = {}
    answered: list[str] = []
    """The last requests of other servers that were answered, so that a second copy is not taken for
    a second request."""


class WrittenState(msgspec.Struct):
    """The state that outlives this agent, as it was last written."""

    durable: Durable | None = None
    """The state in `/run`; None: nothing is written yet."""
    next_event: int = 1
    """From the ledger on the disk, as the fields below."""
    open_events: int = 0
    halts: dict[str, int] = {}
    liars: tuple[str, ...] = ()
    behind: dict[str, str] = {}


class NodeState(msgspec.Struct):
    """Everything that a core remembers, one struct a part."""

    step: StepState
    life: Life
    peers: PeersState = msgspec.field(default_factory=PeersState)
    sent: SentState = msgspec.field(default_factory=SentState)
    revision: RevisionState = msgspec.field(default_factory=RevisionState)
    policy: PolicyState = msgspec.field(default_factory=PolicyState)
    ratio: RatioState = msgspec.field(default_factory=RatioState)
    election: VoteState = msgspec.field(default_factory=VoteState)
    lease: LeaseState = msgspec.field(default_factory=LeaseState)
    clearance: ClearanceState = msgspec.field(default_factory=ClearanceState)
    lifecycle: LifecycleState = msgspec.field(default_factory=LifecycleState)
    office: OfficeState = msgspec.field(default_factory=OfficeState)
    order: OrderState = msgspec.field(default_factory=OrderState)
    copies: dict[str, Copies] = {}
    mirrors: MirrorState = msgspec.field(default_factory=MirrorState)
    monitors: dict[str, MonitorRun] = {}
    conditions: dict[str, Condition] = {}
    ledger: LedgerState = msgspec.field(default_factory=LedgerState)
    plans: PlansState = msgspec.field(default_factory=PlansState)
    final: FinalState = msgspec.field(default_factory=FinalState)
    requests: RequestsState = msgspec.field(default_factory=RequestsState)
    written: WrittenState = msgspec.field(default_factory=WrittenState)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A core between two steps, as the journal keeps it."""

    server: str
    now: int
    woke_at: int
    settings: Settings
    state: NodeState
