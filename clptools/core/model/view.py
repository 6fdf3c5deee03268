"""What one server knows of the cluster, as `clpstat --json` shows it.

These structs *are* that JSON: field names and words are the contract.  Seconds end in `_s`;
nothing in here is an input of a decision.
"""

from __future__ import annotations

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything shown."""


class PeerView(View, frozen=True, kw_only=True):
    """One heartbeat path as seen towards one peer."""

    status: str
    last_seen_s: float | None = None


class HeartbeatView(View, frozen=True, kw_only=True):
    """One interconnect on one server."""

    name: str
    type: str
    status: str
    """Normal, Caution (bad towards some), Error, Unused, Unknown, Offline."""
    peers: dict[str, PeerView] = {}


class ArbiterView(View, frozen=True, kw_only=True):
    """One NP resolution resource on one server."""

    name: str
    type: str
    status: str
    held: bool = False
    error: str = ""
    """Why it does not answer, as it said last."""


class BmcView(View, frozen=True, kw_only=True):
    """A server's BMC, or its fence agents, as the others reach them."""

    address: str = ""
    power: str = "unknown"
    reachable: bool = False
    can_prove: bool = False
    """Whether an answer "off" would be accepted as proof now."""
    since_s: float | None = None
    latency_ms: float | None = None
    error: str = ""
    lacks: str = ""
    """What our account may not do there, though it may read."""
    mend: str = ""
    """What a person can do about `error` or `lacks`."""
    agents: tuple[str, ...] = ()
    """Its fence agents; if `address` is empty, only they read and switch its power."""
    asked: bool = True
    """False: only fence agents without `poll` read it, once its server is silent."""


class OpenEventView(View, frozen=True, kw_only=True):
    """One open hardware event of a server."""

    id: int
    event_class: str = msgspec.field(name="class")
    meaning: str
    first_s: float
    """Seconds ago."""
    last_s: float
    count: int
    monitor: str
    acknowledged: bool = False


class MonitorOnServerView(View, frozen=True, kw_only=True):
    """One monitor on one server."""

    status: str
    text: str = ""
    restarts: int = 0
    failovers: int = 0
    scripts: int = 0
    suspended_by: str = ""
    suspended_s: float | None = None
    """For how long it alone has been suspended; None: it is not, or the whole cluster is."""


class ResourceView(View, frozen=True, kw_only=True):
    """One group resource."""

    name: str
    type: str
    status: str
    comment: str = ""


class HeldGroupView(View, frozen=True, kw_only=True):
    """A group as the server that holds it reports it."""

    name: str
    status: str
    epoch: int
    since_s: float
    resources: tuple[ResourceView, ...] = ()


class ConditionView(View, frozen=True, kw_only=True):
    """Something that is not well on a server itself: a port is taken, a disk is full."""

    name: str
    text: str
    mend: str = ""
    monitors: tuple[str, ...] = ()
    """Monitors that miss some of what they should see because of it."""
    since_s: float = 0.0


class ServerView(View, frozen=True, kw_only=True):
    """One server; the lower half is what it reports of itself."""

    name: str
    status: str
    local: bool = False
    incarnation: str = ""
    heartbeats: tuple[HeartbeatView, ...] = ()
    np: tuple[ArbiterView, ...] = ()
    bmc: BmcView | None = None
    refused: str = ""
    """Why datagrams from its address are refused; only while such datagrams come and it is not
    heard."""
    refused_mend: str = ""
    newcomer: bool = False
    lacks: tuple[str, ...] = ()
    lease_s: float | None = None
    """How long the holder's lease still runs; None where leases do not bind."""
    armed: bool = False
    watchdog: str = ""
    groups: tuple[HeldGroupView, ...] = ()
    monitors: dict[str, MonitorOnServerView] = {}
    open_events: tuple[OpenEventView, ...] = ()
    conditions: tuple[ConditionView, ...] = ()
    """What is not well there. The server is Caution while there is any."""
    bmc_faults: tuple[ConditionView, ...] = ()
    """What a person must mend before a BMC can prove a power loss to this server, or stop another
    one for it."""
    failed_starts: dict[str, str] = {}
    """Group -> why its last start here failed: resource and last line."""
    unfit: tuple[str, ...] = ()
    """Groups of `failed_starts` that are not tried here for a while if another server can take
    them."""
    behind: dict[str, str] = {}
    """Resource whose copy of mirrored data is behind there -> the server with the newer one."""
    halts: dict[str, int] = {}
    """`rm` (monitors), `rc` (resources) -> how many final actions in a row ended the machine
    (`clpregctrl --get`)."""
    quiet: dict[str, str] = {}
    """Monitor -> `near` or `open`: state of its quiet window, by this server's clock."""
    revision: int = 0
    macs: tuple[str, ...] = ()
    """MAC addresses of its interfaces."""
    version: str = ""
    """Version of the agent there; empty: 0.1.0, which does not report it, or not heard yet."""
    addresses: tuple[str, ...] = ()
    """Its addresses on the interconnects, by priority. Commands accept them instead of its name."""


class PlannedMoveView(View, frozen=True, kw_only=True):
    """A move planned for the next quiet window, because a failure is expected."""

    to: str
    """Target server; empty: no server can take the group now."""
    stage: str
    """`planned`, `announced` (a few minutes before), `moving`."""
    monitor: str
    event: int
    """Number of the open hardware event behind it, on the server that holds the group."""
    why: str
    """What that event says."""
    when: str
    """The window in local time, `Sat 2026-12-05 02:00-06:00`; empty: not known here."""
    in_s: float | None = None
    """Seconds until the window opens; 0: it is open."""
    waits_for: str = ""
    """What would keep it from moving now; empty: it only waits for the window."""


class WaitingView(View, frozen=True, kw_only=True):
    """Why a group that is wanted does not start."""

    text: str
    """One sentence: `waits for proof that it is down on server1`."""
    since_s: float = 0.0
    server: str = ""
    proofs: dict[str, str] = {}
    """Proof (`released`, `power off`, `forced stop`, `lease`) -> why it is missing."""
    mend: str = ""
    """A command that would allow it, or empty."""


class GroupView(View, frozen=True, kw_only=True):
    """One failover group."""

    name: str
    status: str
    current: str | None
    """The server that holds it; None: no server does."""
    epoch: int = 0
    since_s: float = 0.0
    wanted: bool = True
    failures: int = 0
    """On how many servers its start has failed since it last ran; each time the next one was
    tried."""
    waiting_for: WaitingView | None = None
    planned_move: PlannedMoveView | None = None
    resources: tuple[ResourceView, ...] = ()
    copies: tuple[str, ...] = ()
    """Servers that say they run it, if more than one does; its data is at risk."""
    on: dict[str, str] = {}
    """Server -> status word there, for the group map."""
    failback: str = ""
    """Why it does not fail back now although failback is auto; empty: nothing prevents it."""
    comment: str = ""


class MonitorView(View, frozen=True, kw_only=True):
    """One monitor over all servers."""

    name: str
    type: str
    status: str
    servers: dict[str, MonitorOnServerView] = {}
    comment: str = ""


class ClusterView(View, frozen=True, kw_only=True):
    """The cluster as a whole."""

    name: str
    status: str
    """Normal, Caution, Error, Stopped."""
    suspended: bool = False
    suspended_by: str = ""
    suspended_s: float | None = None
    """For how long the cluster has been suspended; None: it is not."""
    revision: int = 0
    coordinator: str = ""
    quorate: bool = False
    term: int = 0
    electorate: tuple[str, ...] = ()
    out: tuple[str, ...] = ()
    toratio: int = 1
    """How many times as long as configured the time-outs are (`clptoratio`)."""
    toratio_by: str = ""
    toratio_left_s: float | None = None
    """Seconds until time-outs are as configured again; None: they are now."""
    none: str = ""
    """Why this server belongs to no cluster; empty: it does."""


class StatusView(View, frozen=True, kw_only=True):
    """The whole answer of `clpstat --json`."""

    schema: int = 1
    cluster: ClusterView
    servers: tuple[ServerView, ...] = ()
    groups: tuple[GroupView, ...] = ()
    monitors: tuple[MonitorView, ...] = ()
