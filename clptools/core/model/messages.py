"""What the cores of two servers say to each other: the heartbeat and the control messages.

A heartbeat (`Beat`) is addressed to one peer, because it answers that peer. Everything the safety
rules need of a server (its term, its vote, what it holds, whether its watchdog is armed) rides in
it, so one datagram that arrives is enough. Instants (`sent_at`) are on the *sender's* clock and
only ever come back to the sender; nobody compares two servers' clocks, except for whose turn it is
to fence (`turns_ms`).

Control messages travel on the TLS channel. Each of them may be lost, doubled or late: the core
repeats what matters until a heartbeat shows that it was taken.
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
    """A vote, or with `pre` the promise that it would be given, for the beat sent at `sent_at`."""

    term: Term
    sent_at: int
    pre: bool = False


class Holding(Message, array_like=True, frozen=True, kw_only=True):
    """One group on a server: the last epoch it saw, and whether it holds the group."""

    group: str
    seen: Epoch
    held: bool
    state: str
    """`GroupState` value; a group in `stop-failed` counts as held."""
    why: str = ""
    """Why it was released: `GroupWhy` value."""


class Line(Message, array_like=True, frozen=True, kw_only=True):
    """All that a server says of one group; each change gives it a new number.

    See `core/cluster/holdings.py`.
    """

    number: int
    holding: Holding
    unproven: bool = False
    purging: bool = False


class Beat(Message, tag="beat", array_like=True, frozen=True, kw_only=True):
    """One heartbeat from `sender` to `to`.

    It is encoded without field names because it is sent so often; so fields are only ever added at
    the end.
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
    """`Ask` value; a value that only a newer version knows is not answered."""
    ask_term: Term = NO_TERM
    vote: Vote | None = None
    authority: bool = False
    """The sender was coordinator, with authority, when this was sent."""
    coordinator: str = ""
    """The coordinator, if the sender knows one."""
    newcomer: bool = False
    ripe: bool = False
    """The sender is a newcomer, and its first `L + d` is over."""
    lacks: tuple[str, ...] = ()
    """If the sender is a newcomer: peers that do not count it and that it does not regard as
    out."""
    counts: bool = True
    """The sender does not regard `to` as out, and votes by the same configuration."""
    left: bool = False
    """The sender has left: released all, cleared its bit, deleted its state."""
    out: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    """Peers that the sender heard directly within two intervals, for which it may relay."""
    holdings: tuple[Holding, ...] = ()
    policy: Epoch = NO_EPOCH
    """Version of the shared policy that the sender knows; a server with a newer one sends it."""
    armed: bool = False
    """The sender's watchdog is armed and its lease binds it."""
    suspended: bool = False
    stopped: bool = False
    """The cluster service is stopped on the sender, so it takes no group."""
    barred: bool = False
    """The sender has an open fatal hardware event: it gets no group that another server may run."""
    revision: int = 0
    voters: int = 0
    """The voters, the arbiter and the durations of the sender's configuration, as one number."""
    unproven: tuple[str, ...] = ()
    """As coordinator: groups that could not start elsewhere now, because nothing proves that a
    silent server does not run them."""
    purging: tuple[str, ...] = ()
    """Groups of which something may be left here from before the boot: this server is the last
    choice for them."""
    lists: bool = False
    """The sender understands the fields below."""
    listed: int = 0
    """If not 0: `holdings`, `unproven` and `purging` did not fit and are empty here. Their content
    is the sender's list with this number."""
    count: int = 0
    """How many lines that list had."""
    total: int = 0
    """Sum of their numbers."""
    have: int = 0
    """The newest list of `to` (of its incarnation in `echo`) that the sender has completely."""
    page: tuple[Line, ...] = ()
    """If not empty, this is no heartbeat: it only carries these lines of the sender's list."""
    turns_ms: int = 0
    """How long before `sent_at` the sender started counting turns to fence `to`; 0: it does not
    say, as in earlier versions."""
    unfit: bool = False
    """The sender cannot note its boot on disk, so it takes no group."""


class Grant(Message, tag="grant", frozen=True, kw_only=True):
    """From a coordinator with authority: start `group`. It expires `H` after the beat that it
    answers."""

    group: str
    epoch: Epoch
    incarnation: str
    """Incarnation of the server that gets the grant."""
    sent_at: int
    """Send time, on the clock of the server that gets the grant, of its beat that this answers."""
    event: str = "START"
    """`START`, `FAILOVER`: becomes `CLP_EVENT`."""
    previous: str = ""
    """The server that ran it before; becomes `CLP_SERVER_PREV`."""
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
    """For a planned move: number of the holder's open event behind it. The holder does not stop the
    group if that event is closed or its quiet window is over."""


class Plan(Message, array_like=True, frozen=True, kw_only=True):
    """A move of one group, in the next quiet window, off a server that expects a failure. It is
    only policy, never proof. See `core/monitors/planned_moves.py`."""

    group: str
    server: str
    """The server that runs the group and has the open event."""
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
        """Identifies the plan's cause, so that no second move follows from the same event."""
        return self.group, self.server, self.event


class Intent(Message, array_like=True, frozen=True, kw_only=True):
    """What is wanted of one group; only policy, never proof."""

    group: str
    wanted: bool
    """The group should run somewhere."""
    preferred: str = ""
    """An operator or a recovery named this server for the next start."""
    avoid: tuple[str, ...] = ()
    """Servers where it failed, or where a recovery does not want it."""
    force: bool = False
    event: str = "START"
    previous: str = ""
    reason: str = ""
    failures: int = 0
    """Failed starts since it was last online."""
    handled: int = 0
    """`n` of the last epoch whose release has been acted on."""
    stays: bool = False
    """An operator, a recovery or a failed start took it off its best server. There is no automatic
    failback until that server has been away and is back."""
    rounds: int = 0
    """How often all servers that may run it were tried in vain since it was last online."""
    planned: int = 0
    """For a planned move: number of the open event behind it. The move may still be called off
    until the group stops for it."""
    fatal: bool = False
    """Its last start failed in a way in which it would fail on every server, so no other server is
    tried."""


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
    """For how long the ratio lasts, counted from when a server hears of it."""
    ratio_by: str = ""
    """The user who asked for the ratio; empty: its time was over."""
    ratio_number: int = 0
    """Grows with every request, so that the same ratio asked for again starts anew."""
    plans: tuple[Plan, ...] = ()
    """At most one plan of a group is not over."""


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
    """Incarnation of the server that must decide, if known; a later one does not answer."""
    sent_at: int = 0
    """Send time, on the deciding server's clock, of the newest beat that the sender had from it."""


class Answer(Message, tag="answer", frozen=True, kw_only=True):
    """The outcome of a forwarded request."""

    id: str
    outcome: Outcome


Control = Grant | Order | Shared | Report | Forward | Answer
"""What `SendControl` and `ControlSeen` carry."""
