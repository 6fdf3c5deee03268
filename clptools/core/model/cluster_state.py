"""What a core remembers of the cluster: the other servers, the election, and what all share.

Instants are of this server's clock; `NEVER` stands for "not yet".
"""

from __future__ import annotations

import msgspec

from clptools.core.model.messages import (
    NO_EPOCH,
    NO_TERM,
    Beat,
    Echo,
    Line,
    Report,
    Shared,
    Term,
    Vote,
)
from clptools.core.model.settings import Arbiter, Cluster, InForce
from clptools.core.model.states import (
    Contact,
    Office,
)
from clptools.core.model.timing import NEVER
from clptools.core.model.words import PowerState


class BmcState(msgspec.Struct):
    """What a server's BMC said last."""

    power: PowerState = PowerState.UNKNOWN
    at: int = NEVER
    """When it last answered."""
    session: str = ""
    """The session of that answer; empty: the protocol keeps none."""
    on_at: int = NEVER
    """When it last read on, in this session if the protocol keeps one."""
    off_at: int = NEVER
    """When it last answered off; `NEVER` if it has read on since."""
    off_asked_at: int = NEVER
    """When the question that got this answer off was asked."""
    off_seen_at: int = NEVER
    """When it last answered off, whatever it has read since."""
    by: str = ""
    """The fence agents that answered last; empty: the BMC did."""
    off_since: int = NEVER
    """Fence agents: when the first of an unbroken run of answers off was asked, without a gap or an
    on in between."""
    answers_since: int = NEVER
    """Since when every question was answered."""
    doubt: str = ""
    """Why its last answer "off" proves nothing; empty: it did not answer off, or the answer
    counts."""
    lies: bool = False
    """It read off, and its server answered a heartbeat that was sent after that: what it says is no
    proof."""
    change_at: int = NEVER
    error: str = ""
    beat: str = ""
    """The heartbeat that its server keeps there, as read last."""
    beat_at: int = NEVER
    """When that heartbeat was seen to change."""
    beat_after: int = NEVER
    """As `beat_at`; but if the heartbeat had not been read for longer than its interval, when it
    was read before, since it may have changed then and stopped."""
    beat_read_at: int = NEVER
    """When the heartbeat was last read, changed or not."""
    latency_ms: int = 0
    asked_at: int = NEVER
    """When the read that is not answered yet was begun, or `NEVER`."""
    mend_since: int = NEVER
    """Since when it will not answer until a person mends something; or `NEVER`."""
    mend_told: bool = False
    mend: str = ""
    """What the person must do, as the last read said."""
    lacks: str = ""
    """What our account may not do there."""
    lacks_since: int = NEVER
    """Since when reads have reported `lacks`; or `NEVER`."""
    began_at: int = NEVER
    """When the newest was."""
    next_at: int = 0


class ForcedStopState(msgspec.Struct):
    """A forced stop of one server by us: orders are repeated until it reads off."""

    since: int = NEVER
    """When it began, or `NEVER`: none is under way."""
    orders: int = 0
    """How many orders the BMC accepted, or may have accepted."""
    ordered_at: int = NEVER
    """When the order that is not answered yet was given, or `NEVER`."""
    sent_at: int = NEVER
    """When the BMC last accepted an order of this stop, or may have; or `NEVER`."""
    again_at: int = 0
    """The next order is not given before this."""
    retry_at: int = 0
    """No further stop is begun before this."""
    wanted_by: str = ""
    """The user who asked for it (`clpforcestop`); empty: the rules did."""
    text: str = ""
    """How the last order went, for people."""


class PeerHoldings(msgspec.Struct):
    """What one incarnation of a peer says of groups, and which of our lines it has received."""

    incarnation: str = ""
    lines: dict[str, Line] = {}
    """Group -> its newest line that arrived."""
    top: int = 0
    """Highest number among those lines."""
    total: int = 0
    """Sum of their numbers."""
    told: Beat | None = None
    """The newest beat whose holdings are known, with its holdings filled in."""
    have: int = 0
    """Number of its newest list that arrived completely."""
    lacking_since: int = NEVER
    """When the first beat came whose list is still incomplete, or `NEVER`."""
    lacking_told: bool = False
    # of our own list
    has: int = 0
    """The newest list of ours that it says it has completely."""
    sent: int = 0
    """Highest number of our lines sent to it."""
    repeated_at: int = NEVER
    """When everything that it lacks was last sent."""
    lacks_since: int = NEVER
    """Since when it has lacked our newest list without reporting progress."""


class PeerState(msgspec.Struct):
    """What we know of one other server."""

    # hearing it
    contact: Contact = Contact.UNKNOWN
    incarnation: str = ""
    """The incarnation that we believe; empty: none."""
    retired: list[str] = []
    seq: int = 0
    beat: Beat | None = None
    """The newest beat of the incarnation that we believe."""
    heard_at: int = NEVER
    any_heard_at: int = NEVER
    """When it was last known to be running: by a new beat of the incarnation we believe, or by one
    of another incarnation that answers a beat that we sent after that."""
    echoed_at: int = NEVER
    """When we sent the newest beat that it answered."""
    least_ms: int | None = None
    """The smallest difference between our clock when a beat arrived and its `sent_at`, plus what
    the two clocks may have drifted since. None: no beat of this incarnation has arrived."""
    turns_at: int = NEVER
    """The instant from which turns to fence each other count."""
    believed_at: int = NEVER
    """Since when we believe its incarnation."""
    retired_at: int = NEVER
    """When an incarnation of it was last replaced."""
    replay_told_at: int = NEVER
    refused_at: int = NEVER
    """When a datagram from its address was last refused."""
    refused_from: str = ""
    """The address that the refused datagram came from."""
    refused_for: str = ""
    """`RefusedFor` value."""
    refused_told: bool = False
    """The refusal was recorded, and the server has not been heard since."""
    voters: int = 0
    """`Beat.voters` of the newest beat of the incarnation we believe."""
    newest_revision: int = 0
    """Highest `Beat.revision` of any beat of it, also of an incarnation that we do not believe."""
    not_counted: int = 0
    """The `Beat.voters` or `~Beat.revision` of the last record that it is not counted."""
    reads_lists: bool = True
    """`Beat.lists` of the newest beat of the incarnation we believe."""
    holdings: PeerHoldings = msgspec.field(default_factory=PeerHoldings)
    direct_at: int = NEVER
    link_at: dict[str, int] = {}
    late: list[str] = []
    """Interconnects for which a warning about its late beats was given."""
    silent: dict[str, int] = {}
    """Interconnect that was recorded as silent -> when the server was last heard there."""
    again_at: int = NEVER
    """When it was last heard again after a silence of half of the heartbeat time-out."""
    echo: Echo | None = None
    stranger: Echo | None = None
    """Newest beat of an incarnation we do not believe yet."""
    lost: bool = False
    """Recorded as lost (silent for the heartbeat time-out)."""
    counts_me: bool = False
    """It answered this incarnation of ours that it counts our vote."""
    # out
    left: bool = False
    confirmed: str = ""
    off_asked_at: int = NEVER
    """When the newest read that counted as off was asked."""
    on_told: bool = False
    """It was recorded that its power is on again: it is not heard, and it counts again once the
    wait is over."""
    out_since: int = NEVER
    """When it became out, or `NEVER`."""
    # votes between us
    vote_at: int = NEVER
    """Send time of our newest asking beat that it answered with a vote for our term."""
    pre_at: int = NEVER
    given: Vote | None = None
    """What our beats to it say of our vote."""
    # as coordinator
    answered_at: int = NEVER
    """When we first answered its newest beat with authority. Answering the same beat again extends
    nothing."""
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


class PeersState(msgspec.Struct):
    """The other servers, and our own BMC, which is only shown."""

    known: dict[str, PeerState] = {}
    own_bmc: BmcState = msgspec.field(default_factory=BmcState)
    duplicate_at: int = NEVER
    """When it was last recorded that another agent runs under our name."""


class SentState(msgspec.Struct):
    """What our heartbeats have said. Numbers never decrease."""

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
    """Durations of the previous revision, while those of both count; time-outs as configured, not
    stretched."""
    turns_before: list[InForce] = []
    """Revisions by which a server that is not out may still take its turn to fence
    (`safety/fencing.py`)."""
    at: int = NEVER
    doubt: bool = False
    """Voters or durations are changing, and some server may not have heard of it, so the `member`
    bit is not set."""
    doubt_at: int = NEVER
    """When a server was last known to vote by another configuration."""
    offered_at: int = NEVER
    """When a configuration was prepared here that may still be put in force."""
    offered: int = 0
    """`voters` of that configuration; -1: there are several such."""


class PolicyState(msgspec.Struct):
    """The shared policy, as this server knows it."""

    shared: Shared = msgspec.field(default_factory=lambda: Shared(version=NO_EPOCH))
    suspended_at: int = NEVER
    """When this server heard that the cluster was suspended or resumed."""
    suspended_since: int = NEVER
    """When the cluster was suspended, if known; it may be before this agent or this boot."""
    suspended_days: int = 0
    """For how many whole days people have been reminded of the suspension."""
    closing: bool = False
    """This incarnation was running when all servers were told to stop the service."""


class RatioState(msgspec.Struct):
    """How many times as long as configured our time-outs are, and until when."""

    ratio: int = 1
    until: int = NEVER


class VoteState(msgspec.Struct):
    """Term, vote and office.

    `Election` writes it, and `ArbiterLease` its fields about the arbiter. Besides these, only the
    start of an agent reads it back (`report/durable_state.py`), and leaving withdraws the vote
    (`requests/service.py`).
    """

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
    """When we may stand for election; `NEVER`: we do not wait to."""
    attempts: int = 0
    arbiter_at: int = NEVER
    """Send time of our question that the arbiter last answered with yes."""
    arbiter_asked_at: int = NEVER
    arbiter_from: int = NEVER
    """A yes to a question sent before this proves nothing, because we have released the arbiter
    since."""
    arbiter_error: str = ""
    arbiter_ok_at: int = NEVER
    few_since: int = NEVER
    """With a required arbiter: since when we have heard fewer than half of the servers; `NEVER`: we
    hear half."""
    refused_since: int = NEVER
    """Since when another server has held the arbiter while we hear fewer than half of the
    servers."""
    rival: bool = False
    """Another server has held the arbiter for so long that it must be renewing its lease."""
    wait_until: int = NEVER
    """Until then we leave the arbiter to servers that hear half."""
    told: str = ""
    """The coordinator that was last recorded."""
