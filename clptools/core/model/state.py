"""Everything a core remembers: plain mutable structs, so that a snapshot is one encoding.

`now` values are of this server's clock.  `NEVER` stands for "not yet".
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from clptools.core.model.durable import Durable
from clptools.core.model.messages import (
    NO_EPOCH,
    NO_TERM,
    Beat,
    Echo,
    Epoch,
    Line,
    Report,
    Shared,
    Term,
    Vote,
)
from clptools.core.model.quorum import NEVER
from clptools.core.model.requests import Request
from clptools.core.model.settings import Arbiter, Cluster, InForce
from clptools.core.model.states import (
    Contact,
    GrantStage,
    GroupState,
    GroupWhy,
    MonitorStatus,
    Office,
    ResourceState,
    WatchdogState,
)
from clptools.core.model.words import EventClass, PowerState, RecoveryStage, Stage


class Phase(StrEnum):
    """The life of this incarnation."""

    RUNNING = "running"
    LEAVING = "leaving"
    """Releasing all, then leaving."""
    TELLING = "telling"
    """Has left; the others are being told."""
    STOPPED = "stopped"
    """Has left; the agent stays to answer commands."""
    DONE = "done"


class BmcState(msgspec.Struct):
    """What a server's BMC said last."""

    power: PowerState = PowerState.UNKNOWN
    at: int = NEVER
    """When it last answered."""
    session: str = ""
    """The session of that answer; empty: the protocol keeps none."""
    on_at: int = NEVER
    """When it last read on: in this session, where there is one."""
    off_at: int = NEVER
    """When it last answered off, or `NEVER`: it read on since."""
    off_asked_at: int = NEVER
    """When that was asked."""
    off_seen_at: int = NEVER
    """When it last answered off at all, whatever it read since."""
    answers_since: int = NEVER
    """Since when every question was answered."""
    doubt: str = ""
    """Why its last answer, "off", proves nothing; empty: it was no such answer."""
    lies: bool = False
    """Its server answered a heartbeat that was sent after it had read off: no proof."""
    change_at: int = NEVER
    error: str = ""
    beat: str = ""
    """The heartbeat that its server keeps there, as read last."""
    beat_at: int = NEVER
    """When that was seen to change."""
    beat_read_at: int = NEVER
    """When it was last read at all."""
    latency_ms: int = 0
    asked_at: int = NEVER
    """When a read was begun that is not answered, or `NEVER`."""
    mend_since: int = NEVER
    """Since when a person must do something before it answers; or `NEVER`."""
    mend_told: bool = False
    mend: str = ""
    """What that is, as the last read told it."""
    lacks: str = ""
    """What our account may not do there."""
    lacks_told: bool = False
    began_at: int = NEVER
    """When the newest was."""
    next_at: int = 0


class ForcedStopState(msgspec.Struct):
    """A forced stop of one server by us: one order after another until it reads off."""

    since: int = NEVER
    """When it began, or `NEVER`: none is under way."""
    orders: int = 0
    """Those that the BMC accepted, or may have."""
    ordered_at: int = NEVER
    """When the order that is not answered was given, or `NEVER`."""
    sent_at: int = NEVER
    """When the BMC last accepted one of this stop, or may have; or `NEVER`."""
    again_at: int = 0
    """The next order not before this."""
    retry_at: int = 0
    """Not again before this."""
    wanted_by: str = ""
    """The user who asked for it (`clpforcestop`); empty: the rules did."""
    text: str = ""
    """How the last one went, for people."""


class Waiting(msgspec.Struct, frozen=True):
    """What keeps a group from being started."""

    text: str
    servers: tuple[str, ...] = ()
    """Servers of which proof is missing that they do not run it."""


class PeerHoldings(msgspec.Struct):
    """What one incarnation of a peer says of groups, and what it has of ours."""

    incarnation: str = ""
    lines: dict[str, Line] = {}
    """Group -> its newest line that arrived."""
    top: int = 0
    """Highest number among them."""
    total: int = 0
    """Sum of their numbers."""
    told: Beat | None = None
    """Newest beat whose holdings are known, with them."""
    have: int = 0
    """Number of the newest list that was whole."""
    lacking_since: int = NEVER
    """When the first beat came whose list is still not whole, or `NEVER`."""
    lacking_told: bool = False
    # of our own list
    has: int = 0
    """Newest list of ours that it has whole, as it says."""
    sent: int = 0
    """Highest number of our lines sent to it."""
    repeated_at: int = NEVER
    """When all that it lacks was sent last."""
    lacks_since: int = NEVER
    """Since when it has not told of a newer list, while it lacks one."""


class PeerState(msgspec.Struct):
    """What we know of one other server."""

    # hearing it
    contact: Contact = Contact.UNKNOWN
    incarnation: str = ""
    """That we believe; empty: none."""
    retired: list[str] = []
    seq: int = 0
    beat: Beat | None = None
    """Its newest beat, of the incarnation we believe."""
    heard_at: int = NEVER
    any_heard_at: int = NEVER
    """When it was last known to live: a new beat of the incarnation we believe, or one of another
    that answers a beat of ours from after that."""
    echoed_at: int = NEVER
    """When we sent the newest beat that it answered."""
    least_ms: int | None = None
    """Our clock at the arrival of a beat less its `sent_at`, of the beat that travelled fastest;
    more by what two clocks drift since.  None: no beat of this incarnation came."""
    turns_at: int = NEVER
    """The instant from which turns to fence each other count."""
    believed_at: int = NEVER
    """Since when we believe its incarnation."""
    retired_at: int = NEVER
    """When an incarnation of it was last replaced."""
    replay_told_at: int = NEVER
    voters: int = 0
    """`Beat.voters` of the newest beat of the incarnation we believe."""
    not_counted: int = 0
    """`Beat.voters` for which its not being counted was recorded."""
    reads_lists: bool = True
    """`Beat.lists` of the newest such beat; who was never heard learns nothing from ours."""
    holdings: PeerHoldings = msgspec.field(default_factory=PeerHoldings)
    direct_at: int = NEVER
    link_at: dict[str, int] = {}
    late: list[str] = []
    """Interconnects on which its delay has been warned of."""
    echo: Echo | None = None
    stranger: Echo | None = None
    """Newest beat of an incarnation we do not believe yet."""
    lost: bool = False
    """Recorded as lost (silent for the heartbeat time-out)."""
    counts_me: bool = False
    """It answered this incarnation of ours that it counts us."""
    # out
    left: bool = False
    confirmed: str = ""
    off_asked_at: int = NEVER
    """When the newest off read was asked that counts."""
    on_told: bool = False
    """It was said that it is on again, unheard, and counts again when the wait is over."""
    out_since: int = NEVER
    """When it became out, or `NEVER`."""
    # votes between us
    vote_at: int = NEVER
    """Newest of our asking beats (send time) that it answered with a vote for our term."""
    pre_at: int = NEVER
    given: Vote | None = None
    """What our beats to it say of our vote."""
    # as coordinator
    answered_at: int = NEVER
    """When we first answered, with authority, its newest beat: saying it again gives no more."""
    answered_echo: Echo | None = None
    # its BMC
    bmc: BmcState = msgspec.field(default_factory=BmcState)
    lost_since: int = NEVER
    """When it was last found lost."""
    fence: ForcedStopState = msgspec.field(default_factory=ForcedStopState)
    # status
    report: Report | None = None
    reported_at: int = NEVER
    macs: tuple[str, ...] = ()
    """MAC addresses that it reported, also while it is away."""
    urgent_at: int = NEVER
    told_policy_at: int = NEVER

    @property
    def believed(self) -> bool:
        """Whether an incarnation of it has shown that it lived, and has not left since."""
        return self.contact is Contact.BELIEVED


class GroupRun(msgspec.Struct):
    """One group on this server."""

    held: bool = False
    seen: Epoch = NO_EPOCH
    state: GroupState = GroupState.NONE
    why: GroupWhy = GroupWhy.NONE
    event: str = "START"
    previous: str = ""
    factor: str = "GROUPSTOP"
    next_why: GroupWhy = GroupWhy.NONE
    """What `why` becomes when the stop in progress is through."""
    restart: bool = False
    """Start again in place when the stop is through."""
    forced: bool = False
    purge: bool = False
    """Stopping what an earlier incarnation without state may have left."""
    purge_at: int = NEVER
    """When a purge that did not end well is tried again, or `NEVER`."""
    purges: int = 0
    """How often it did not end well."""
    off: tuple[str, ...] = ()
    """Servers that were proven powered off when it was granted."""
    resources: dict[str, ResourceState] = {}
    """What each is in, or is to come to by the operation ordered last."""
    busy: dict[str, int] = {}
    """Resource -> number of the operation ordered last, until that one ends: what another
    operation of it comes to says nothing any more."""
    retries: dict[str, int] = {}
    wanted_off: list[str] = []
    """Resources that an operator stopped (`clprsc -t`) in an online group."""
    stopping_only: list[str] = []
    """With a partial stop: just these."""
    migrations: list[str] = []
    """Resources that are still to be migrated, or are, before the stop."""
    texts: dict[str, str] = {}
    since: int = 0
    failed: str = ""
    """Resource whose failure ended the last start here."""


class GrantState(msgspec.Struct):
    """A grant of ours (as coordinator) and how far it got."""

    server: str
    epoch: Epoch
    granted_at: int
    stage: GrantStage = GrantStage.GRANTED
    event: str = "START"
    previous: str = ""
    reason: str = ""
    off: tuple[str, ...] = ()
    """Servers that were proven powered off."""


class OpenEvent(msgspec.Struct):
    """One open hardware event."""

    id: int
    monitor: str
    key: str
    event_class: EventClass
    meaning: str
    source: str
    first_at: int
    last_at: int
    count: int = 1
    acknowledged: bool = False


class Unclaimed(msgspec.Struct):
    """Messages of one fault that no monitor takes."""

    told_at: int
    count: int = 0
    """Since it was told last."""


class MonitorRun(msgspec.Struct):
    """One monitor on this server."""

    status: MonitorStatus = MonitorStatus.NORMAL
    text: str = ""
    device: str = ""
    """Keyword of the newest message that it took."""
    suspended: bool = False
    running: bool = False
    """An active monitor's rounds are on."""
    fault: bool = False
    scripts: list[int] = []
    restarts: list[int] = []
    failovers: list[int] = []
    stays: dict[str, str] = {}
    """Groups that it could not move, and why, as it was said."""
    held_back: str = ""
    """What kept this incident from being recovered, as it was said."""
    finals: int = 0
    step: RecoveryStage = RecoveryStage.NONE
    token: str = ""
    incident: int = 0
    deadline: int = NEVER


class Pending(msgspec.Struct):
    """A request whose end somebody waits for."""

    id: str
    request: Request
    user: str
    origin: str
    """Server it came from; empty: this one."""
    since: int
    stage: Stage = Stage.NEW
    server: str = ""
    epoch: int = 0
    groups: list[str] = []
    """The groups that it set in motion."""
    incarnation: str = ""
    """Of the server that it was forwarded to: another one has forgotten it."""
    asks_for: str = ""
    """The request of ours for which another server was asked."""
    against: list[str] = []
    """What speaks against it, by whoever was asked."""
    sent_at: int = 0
    """`Forward.sent_at` of a request that came from another server."""


class VoteState(msgspec.Struct):
    """Term, vote and office."""

    term: Term = NO_TERM
    vote: str = ""
    vote_term: Term = NO_TERM
    promise_until: int = NEVER
    office: Office = Office.NONE
    office_term: Term = NO_TERM
    office_at: int = NEVER
    asked_at: int = NEVER
    """When this pre-candidacy or candidacy began."""
    stand_at: int = NEVER
    """When we may stand, or `NEVER`: not waiting to."""
    attempts: int = 0
    arbiter_at: int = NEVER
    """Send time of the arbiter's newest yes."""
    arbiter_asked_at: int = NEVER
    arbiter_error: str = ""
    arbiter_ok_at: int = NEVER
    few_since: int = NEVER
    """With a required arbiter: since when we hear less than half; `NEVER`: we hear half."""
    refused_since: int = NEVER
    """Since when the arbiter has been another's, as long as we hear less than half."""
    rival: bool = False
    """It was another's for so long that somebody renews it."""
    wait_until: int = NEVER
    """Until then we leave the arbiter to whoever hears half."""
    told: str = ""
    """Coordinator as last recorded."""


class Copies(msgspec.Struct):
    """Several servers say that they run the same group."""

    servers: tuple[str, ...]
    since: int
    told: bool = False
    """It is so: each of them said it again after the others had."""


class Life(msgspec.Struct):
    """This incarnation: since when it lives, and how far it is from taking part or from its end."""

    incarnation: str
    started_at: int = NEVER
    phase: Phase = Phase.RUNNING
    then: str = ""
    """What follows when it has left: a host action, `exit`, `start`, or nothing."""
    no_move: bool = False
    left_at: int = NEVER
    newcomer: bool = False
    member: bool = False
    had_state: bool = False
    noted: bool = True
    """This boot's id is on the disk; without it we take no grant."""
    macs: tuple[str, ...] = ()
    """MAC addresses of this server."""


class StepState(msgspec.Struct):
    """What one step leaves to the next."""

    seed: int
    draws: int = 0
    timers: dict[str, int] = {}
    next_token: int = 1
    decisions_due: bool = False
    """Something that decisions depend on changed: settle."""
    report_due: bool = False
    """Our status changed: the others are told, at most once an interval."""
    reported_at: int = NEVER
    reports: int = 0
    unsettled_at: int = NEVER
    """When it was last said that settling does not come to an end."""


class PeersState(msgspec.Struct):
    """The other servers, and our own BMC, which is shown and nothing else."""

    known: dict[str, PeerState] = {}
    own_bmc: BmcState = msgspec.field(default_factory=BmcState)
    duplicate_at: int = NEVER
    """When it was last said that another agent runs under our name."""


class SentState(msgspec.Struct):
    """What our heartbeats said: numbers never go back."""

    seq: int = 0
    lines: dict[str, Line] = {}
    """Group -> what we say of it, once it did not fit into a beat."""
    lines_number: int = 1
    """Number of the newest line, or of the empty list."""
    lines_total: int = 0
    """Sum of their numbers."""


class RevisionState(msgspec.Struct):
    """The change of servers, arbiters or lengths that is under way, if one is."""

    names: tuple[str, ...] = ()
    """Servers of the previous revision, while a majority must be one in both."""
    arbiter: Arbiter | None = None
    cluster: Cluster | None = None
    """Its lengths, while those of both count; time-outs as configured, not stretched."""
    turns_before: list[InForce] = []
    """Revisions that somebody who is not out may still take turns by (`safety/fencing.py`)."""
    at: int = NEVER
    doubt: bool = False
    """Voters or lengths change, and somebody may not have heard of it: the bit is not set."""
    doubt_at: int = NEVER
    """When a server was last known to vote by another configuration."""
    offered_at: int = NEVER
    """When a configuration was prepared here that may still be put in force."""
    offered: int = 0
    """Its `voters`; -1: several such."""


class PolicyState(msgspec.Struct):
    """The shared policy, as this server knows it."""

    shared: Shared = msgspec.field(default_factory=lambda: Shared(version=NO_EPOCH))
    suspended_at: int = NEVER
    closing: bool = False
    """This incarnation was there when all servers were told to stop the service."""


class RatioState(msgspec.Struct):
    """How many times as long as configured our time-outs are, and until when."""

    ratio: int = 1
    until: int = NEVER


class LeaseState(msgspec.Struct):
    """The holder's lease and the watchdog."""

    until: int = NEVER
    waived: bool = False
    """Suspended, and everybody who might clear us knows that we do not stop ourselves."""
    watchdog_state: WatchdogState = WatchdogState.OFF
    watchdog_as: tuple[str, int] = ("", 0)
    """Method and time-out (ms) with which it was armed last."""
    disarmed_from: int = NEVER
    """Since when our beats say that no watchdog binds us, though it still runs: until all know."""
    watchdog_again_at: int = NEVER
    watchdog_fault: str = ""
    """Why it is not armed, as it was said."""
    armed: bool = False
    watchdog: str = ""


class ClearanceState(msgspec.Struct):
    """What this office granted: evidence from before a grant says nothing about it."""

    granted_at: dict[str, dict[str, int]] = {}
    """Group -> server -> when we last granted it in this office."""
    granted_epoch: dict[str, dict[str, Epoch]] = {}


class LifecycleState(msgspec.Struct):
    """The groups on this server."""

    runs: dict[str, GroupRun] = {}
    next_operation: int = 1
    """Number of the next operation on a resource."""


class OfficeState(msgspec.Struct):
    """A coordinator's work on groups; nothing of it outlives the office."""

    grants: dict[str, GrantState] = {}
    ordered_at: dict[str, int] = {}
    waiting: dict[str, tuple[Waiting, int]] = {}
    """Group -> (what it waits for, since)."""
    waiting_told: list[str] = []
    retry_at: dict[str, int] = {}
    """Group that could be started nowhere -> when all of it is tried again."""


class LedgerState(msgspec.Struct):
    """Open hardware events, and what was said of messages that no monitor takes."""

    events: dict[str, OpenEvent] = {}
    """`monitor/key` -> open hardware event."""
    unclaimed: dict[str, Unclaimed] = {}
    """Key of a message -> what was told of it; only faults that no monitor takes."""
    next_event: int = 1
    traps_taken: dict[str, int] = {}
    """Duplicate key of a trap -> when it was taken."""


class FinalState(msgspec.Struct):
    """Final actions in a row."""

    halts: dict[str, int] = {}
    """`rm`, `rc` -> how many of them ended this machine."""
    deadman_until: int = NEVER
    """Until then the BMC's watchdog timer that may expire is one that we armed ourselves."""


class RequestsState(msgspec.Struct):
    """Requests whose end somebody waits for."""

    pending: dict[str, Pending] = {}
    answered: list[str] = []
    """Requests of other servers that were answered last: a second copy is no second request."""


class WrittenState(msgspec.Struct):
    """What survives us as it was written last."""

    durable: Durable | None = None
    """In `/run`; None: nothing yet."""
    next_event: int = 1
    """Of the ledger on the disk, as are the others."""
    open_events: int = 0
    halts: dict[str, int] = {}
    liars: tuple[str, ...] = ()


class NodeState(msgspec.Struct):
    """The whole memory of a core: one struct a part."""

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
    copies: dict[str, Copies] = {}
    monitors: dict[str, MonitorRun] = {}
    ledger: LedgerState = msgspec.field(default_factory=LedgerState)
    final: FinalState = msgspec.field(default_factory=FinalState)
    requests: RequestsState = msgspec.field(default_factory=RequestsState)
    written: WrittenState = msgspec.field(default_factory=WrittenState)
