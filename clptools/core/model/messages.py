"""What the cores of two servers say to each other: the heartbeat and the control messages.

A heartbeat (`Beat`) is addressed to one peer, because it answers that peer.  Everything the
safety rules need of a server (its term, its vote, what it holds, whether its watchdog is
armed) rides in it, so one datagram that arrives is enough.  Instants (`sent_at`) are on the
*sender's* clock and only ever come back to the sender; nobody compares two servers' clocks, but
for whose turn it is to fence (`turns_ms`).

Control messages travel on the TLS channel.  Each of them may be lost, doubled or late: the
core repeats what matters until a heartbeat shows that it was taken.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from clptools.core.model.requests import Outcome, Request
from clptools.core.model.view import ServerView


class Term(NamedTuple):
    """One office of one coordinator: (number, candidate's incarnation), so it is unique."""

    number: int
    candidate: str


class Epoch(NamedTuple):
    """One grant of one group.  Compared as a tuple; `n` alone is shown to people."""

    number: int
    candidate: str
    n: int

    @property
    def term(self) -> Term:
        """The term in which it was granted."""
        return Term(self.number, self.candidate)


NO_TERM = Term(0, "")
NO_EPOCH = Epoch(0, "", 0)


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all messages between servers."""


class Echo(Message, array_like=True, frozen=True, kw_only=True):
    """Names one heartbeat of the reader: `sent_at` on the reader's clock, in ms."""

    incarnation: str
    sent_at: int


class Vote(Message, array_like=True, frozen=True, kw_only=True):
    """A vote, or with `pre` the word that it would be given, for the beat sent at `sent_at`."""

    term: Term
    sent_at: int
    pre: bool = False


class Holding(Message, array_like=True, frozen=True, kw_only=True):
    """One group on a server: the last epoch it saw, and whether it holds the group."""

    group: str
    seen: Epoch
    held: bool
    state: str
    """`GroupState` value; `stop-failed` is held as well."""
    why: str = ""
    """Why it was released: `GroupWhy` value."""


class Line(Message, array_like=True, frozen=True, kw_only=True):
    """All that a server says of one group, numbered anew with every change.

    See `core/cluster/holdings.py`.
    """

    number: int
    holding: Holding
    unproven: bool = False
    purging: bool = False


class Beat(Message, tag="beat", array_like=True, frozen=True, kw_only=True):
    """One heartbeat from `sender` to `to`.

    Encoded without field names, as it is sent so often: fields are only ever added at the end.
    """

    sender: str
    to: str
    incarnation: str
    seq: int
    """Grows by one with every beat of this incarnation, over all peers and paths."""
    sent_at: int
    echo: Echo | None = None
    """The newest beat of `to` that the sender has heard."""
    term: Term = NO_TERM
    """The highest term the sender knows."""
    ask: str = ""
    """`Ask` value; a question of a newer version is not answered."""
    ask_term: Term = NO_TERM
    vote: Vote | None = None
    authority: bool = False
    """The sender is coordinator and its authority ran when this was sent."""
    coordinator: str = ""
    """The coordinator as far as the sender knows."""
    newcomer: bool = False
    ripe: bool = False
    """A newcomer whose first `L + d` is over."""
    lacks: tuple[str, ...] = ()
    """A newcomer's peers that neither count it nor are out for it."""
    counts: bool = True
    """The sender does not have `to` for out, and votes by the same configuration."""
    left: bool = False
    """The sender has left: released all, cleared its bit, deleted its state."""
    out: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    """Peers heard directly within two intervals: they may relay."""
    holdings: tuple[Holding, ...] = ()
    policy: Epoch = NO_EPOCH
    """Version of the shared policy that the sender knows; a server with a newer one sends it."""
    armed: bool = False
    """The sender's watchdog is armed and its lease binds it."""
    suspended: bool = False
    stopped: bool = False
    """The cluster service is stopped there: it takes no group."""
    barred: bool = False
    """An open fatal hardware event: it receives no group while another may run it."""
    revision: int = 0
    voters: int = 0
    """Who votes, the arbiter and the lengths of the sender's configuration, as one number."""
    unproven: tuple[str, ...] = ()
    """As coordinator: groups that could not start elsewhere now, since nothing proves that they
    do not run on a server that went dark."""
    purging: tuple[str, ...] = ()
    """Groups of which something may be left from before the boot: the last choice for them."""
    lists: bool = False
    """The sender understands the fields below."""
    listed: int = 0
    """Not 0: `holdings`, `unproven` and `purging` did not fit and are empty here; they are those
    of the sender's list as it stood with this number."""
    count: int = 0
    """How many lines that list had."""
    total: int = 0
    """Sum of their numbers."""
    have: int = 0
    """Newest list of `to`, of the incarnation in `echo`, that the sender had whole."""
    page: tuple[Line, ...] = ()
    """Not empty: this is no heartbeat, it only brings these lines of the sender's list."""
    turns_ms: int = 0
    """How long before `sent_at` the instant lies from which the sender counts turns to fence `to`;
    0: it says nothing of it, as earlier versions do."""
    unfit: bool = False
    """The sender cannot note its boot on disk: it takes no group."""


class Grant(Message, tag="grant", frozen=True, kw_only=True):
    """From a coordinator with authority: start `group`.  Dies `H` after the answered beat."""

    group: str
    epoch: Epoch
    incarnation: str
    """The grantee's."""
    sent_at: int
    """Send time, on the grantee's clock, of its beat that this answers."""
    event: str = "START"
    """`START`, `FAILOVER`: becomes `CLP_EVENT`."""
    previous: str = ""
    """Where it ran before; becomes `CLP_SERVER_PREV`."""
    reason: str = ""
    off: tuple[str, ...] = ()
    """Servers that are proven powered off."""


class Order(Message, tag="order", frozen=True, kw_only=True):
    """From the coordinator to a holder: stop `group` if it still holds this epoch."""

    group: str
    epoch: Epoch
    term: Term
    why: str
    factor: str
    """Becomes `CLP_FACTOR`."""
    reason: str = ""
    planned: int = 0
    """Number of the holder's open event behind a planned move: nothing stops once that is closed,
    or the quiet window is over there."""


class Plan(Message, array_like=True, frozen=True, kw_only=True):
    """A move of one group in the next quiet window, off a server that expects a failure; only
    policy, never proof.  See `core/monitors/planned_moves.py`."""

    group: str
    server: str
    """Where it runs, and the event is open."""
    monitor: str
    event: int
    """Number of that event in the server's ledger."""
    meaning: str = ""
    """What the event says."""
    to: str = ""
    """Where the group is to go; empty: no server can take it now."""
    stage: str = "planned"
    """`PlanStage` value."""
    epoch: int = 0
    """`n` of the group's epoch when the move began."""
    ended: str = ""
    """Why it is over."""

    @property
    def source(self) -> tuple[str, str, int]:
        """What it is about: no second move follows from the same event."""
        return self.group, self.server, self.event


class Intent(Message, array_like=True, frozen=True, kw_only=True):
    """What is wanted of one group; only policy, never proof."""

    group: str
    wanted: bool
    """It is to run somewhere."""
    preferred: str = ""
    """An operator or a recovery named this server for the next start."""
    avoid: tuple[str, ...] = ()
    """Servers where it failed, or that a recovery wants it off."""
    force: bool = False
    event: str = "START"
    previous: str = ""
    reason: str = ""
    failures: int = 0
    """Failed starts since it was last online."""
    handled: int = 0
    """`n` of the last epoch whose release has been acted on."""
    stays: bool = False
    """An operator, a recovery or a failed start took it off its best server: no automatic
    failback before that server has been away and is back."""
    rounds: int = 0
    """How often all servers that may be tried were tried in vain since it was last online."""
    planned: int = 0
    """Number of the open event behind a planned move: until the group stops for it, the move may
    still be called off."""
    fatal: bool = False
    """Its last start failed in a way that no other server would mend: the round is over."""


class Shared(Message, tag="shared", frozen=True, kw_only=True):
    """The coordinator's policy state; the highest `version` a server has heard stands."""

    version: Epoch
    suspended: bool = False
    suspended_by: str = ""
    """Who suspended it, or resumed it."""
    suspended_ms: int = 0
    """How long it had been suspended when this was sent."""
    closing: bool = False
    """All servers are stopping the service: nothing is started any more."""
    intents: tuple[Intent, ...] = ()
    ratio: int = 1
    """How many times as long as configured time-outs are (`core/cluster/timeout_ratio.py`)."""
    ratio_ms: int = 0
    """For how long, from when a server hears of it."""
    ratio_by: str = ""
    """The user who asked for it; empty: its time was over."""
    ratio_number: int = 0
    """Grows with every asking: the same ratio again counts anew."""
    plans: tuple[Plan, ...] = ()
    """At most one of a group that is not over."""


class Report(Message, tag="report", frozen=True, kw_only=True):
    """A server's own status, for everybody's view; the highest `number` stands."""

    sender: str
    incarnation: str
    number: int
    server: ServerView


class Forward(Message, tag="forward", frozen=True, kw_only=True):
    """An operator's request, passed on to the server that must decide."""

    id: str
    sender: str
    user: str
    request: Request
    incarnation: str = ""
    """Of the server that it is meant for, as far as it is known: a later one is not asked."""
    sent_at: int = 0
    """When that server sent the newest beat that the sender had of it, on its own clock."""


class Answer(Message, tag="answer", frozen=True, kw_only=True):
    """The outcome of a forwarded request."""

    id: str
    outcome: Outcome


Control = Grant | Order | Shared | Report | Forward | Answer
"""What `SendControl` and `ControlSeen` carry."""
