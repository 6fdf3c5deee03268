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
    """When it last read on: in this session, where there is one."""
    off_at: int = NEVER
    """When it last answered off, or `NEVER`: it read on since."""
    off_asked_at: int = NEVER
    """When that was asked."""
    off_seen_at: int = NEVER
    """When it last answered off at all, whatever it read since."""
    by: str = ""
    """The fence agents that answered last; empty: the BMC did."""
    off_since: int = NEVER
    """Fence agents: when the first off was asked of those that came without a gap or an on."""
    answers_since: int = NEVER
    """Since when every question was answered."""
    doubt: str = ""
    """Why its last answer "off" proves nothing; empty: it did not say so, or it counts."""
    lies: bool = False
    """Its server answered a heartbeat that was sent after it had read off: no proof."""
    change_at: int = NEVER
    error: str = ""
    beat: str = ""
    """The heartbeat that its server keeps there, as read last."""
    beat_at: int = NEVER
    """When that was seen to change."""
    beat_after: int = NEVER
    """The same, but where nothing was read for longer than its interval, when it was read before:
    it may have changed then and stopped since."""
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
    lacks_since: int = NEVER
    """Since when that is told; or `NEVER`."""
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
    refused_at: int = NEVER
    """When a datagram from its address was last refused."""
    refused_from: str = ""
    """That address."""
    refused_for: str = ""
    """`RefusedFor` value."""
    refused_told: bool = False
    """It was recorded, and it has not been heard since."""
    voters: int = 0
    """`Beat.voters` of the newest beat of the incarnation we believe."""
    newest_revision: int = 0
    """Highest `Beat.revision` of any beat of it, also of an incarnation that we do not believe."""
    not_counted: int = 0
    """`Beat.voters`, or `~Beat.revision`, for which its not being counted was recorded."""
    reads_lists: bool = True
    """`Beat.lists` of the newest such beat."""
    holdings: PeerHoldings = msgspec.field(default_factory=PeerHoldings)
    direct_at: int = NEVER
    link_at: dict[str, int] = {}
    late: list[str] = []
    """Interconnects on which its delay has been warned of."""
    silent: dict[str, int] = {}
    """Interconnect on which nothing of it arrives, and that was recorded -> when it was last
    heard there."""
    again_at: int = NEVER
    """When it was heard again after nothing of it had come for half of the heartbeat time-out."""
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
    """It was recorded that it is on again, not heard, and counts again when the wait is over."""
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
    """When we first answered its newest beat with authority: a repetition adds nothing."""
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
    """Revisions by which a server that is not out may still take turns (`safety/fencing.py`)."""
    at: int = NEVER
    doubt: bool = False
    """Voters or lengths change, and some server may not have heard of it: the bit is not set."""
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
    """When this server heard that it was suspended or resumed."""
    suspended_since: int = NEVER
    """When it was suspended, as far as that is known; also before this agent, or this boot."""
    suspended_days: int = 0
    """Whole days for which people were reminded of it."""
    closing: bool = False
    """This incarnation was there when all servers were told to stop the service."""


class RatioState(msgspec.Struct):
    """How many times as long as configured our time-outs are, and until when."""

    ratio: int = 1
    until: int = NEVER


class VoteState(msgspec.Struct):
    """Term, vote and office.

    Written by `Election`; by `ArbiterLease` as to the arbiter.  Apart from them only the start of
    an agent reads it back (`report/durable_state.py`), and leaving takes the vote back
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
    """When we may stand, or `NEVER`: not waiting to."""
    attempts: int = 0
    arbiter_at: int = NEVER
    """Send time of the arbiter's newest yes."""
    arbiter_asked_at: int = NEVER
    arbiter_from: int = NEVER
    """A yes to a question from before this says nothing: we have given the arbiter back since."""
    arbiter_error: str = ""
    arbiter_ok_at: int = NEVER
    few_since: int = NEVER
    """With a required arbiter: since when we hear less than half; `NEVER`: we hear half."""
    refused_since: int = NEVER
    """Since when another server has had the arbiter, while we hear less than half."""
    rival: bool = False
    """Another server has had it for so long that it must be renewing it."""
    wait_until: int = NEVER
    """Until then we leave the arbiter to servers that hear half."""
    told: str = ""
    """Coordinator as last recorded."""
