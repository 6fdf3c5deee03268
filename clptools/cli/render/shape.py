"""The JSON of `core.view` as its readers see it after `json.loads`.

A status command that answers in two interpreter starts cannot afford to import msgspec, so it
works on the decoded JSON itself.  These types keep it honest; a test compares them with the
structs.  They exist for the type checker only: import this module under `TYPE_CHECKING`.
"""

from __future__ import annotations

from typing import TypedDict


class PeerJson(TypedDict):
    """`core.view.PeerView`."""

    status: str
    last_seen_s: float | None


class HeartbeatJson(TypedDict):
    """`core.view.HeartbeatView`."""

    name: str
    type: str
    status: str
    peers: dict[str, PeerJson]


class ArbiterJson(TypedDict):
    """`core.view.ArbiterView`."""

    name: str
    type: str
    status: str
    held: bool


class BmcJson(TypedDict):
    """`core.view.BmcView`."""

    address: str
    power: str
    reachable: bool
    can_prove: bool
    since_s: float | None
    latency_ms: float | None
    error: str


OpenEventJson = TypedDict(
    "OpenEventJson",
    {
        "id": int,
        "class": str,
        "meaning": str,
        "first_s": float,
        "last_s": float,
        "count": int,
        "monitor": str,
        "acknowledged": bool,
    },
)
"""`core.view.OpenEventView`."""

OpenHardwareJson = TypedDict(
    "OpenHardwareJson",
    {
        "id": int,
        "class": str,
        "meaning": str,
        "first": float,
        "last": float,
        "count": int,
        "monitor": str,
        "acknowledged": bool,
    },
)
"""`api.backend.OpenHardware`."""


class MonitorOnServerJson(TypedDict):
    """`core.view.MonitorOnServerView`."""

    status: str
    text: str
    restarts: int
    failovers: int
    scripts: int


class ResourceJson(TypedDict):
    """`core.view.ResourceView`."""

    name: str
    type: str
    status: str
    comment: str


class HeldGroupJson(TypedDict):
    """`core.view.HeldGroupView`."""

    name: str
    status: str
    epoch: int
    since_s: float
    resources: list[ResourceJson]


class ServerJson(TypedDict):
    """`core.view.ServerView`."""

    name: str
    status: str
    local: bool
    incarnation: str
    heartbeats: list[HeartbeatJson]
    np: list[ArbiterJson]
    bmc: BmcJson | None
    newcomer: bool
    lacks: list[str]
    lease_s: float | None
    armed: bool
    watchdog: str
    groups: list[HeldGroupJson]
    monitors: dict[str, MonitorOnServerJson]
    open_events: list[OpenEventJson]
    halts: dict[str, int]
    revision: int
    macs: list[str]


class WaitingJson(TypedDict):
    """`core.view.WaitingView`."""

    text: str
    since_s: float
    server: str
    proofs: dict[str, str]
    mend: str


class GroupJson(TypedDict):
    """`core.view.GroupView`."""

    name: str
    status: str
    current: str | None
    epoch: int
    since_s: float
    wanted: bool
    failures: int
    waiting_for: WaitingJson | None
    resources: list[ResourceJson]
    copies: list[str]
    on: dict[str, str]
    comment: str


class MonitorJson(TypedDict):
    """`core.view.MonitorView`."""

    name: str
    type: str
    status: str
    servers: dict[str, MonitorOnServerJson]
    comment: str


class ClusterJson(TypedDict):
    """`core.view.ClusterView`."""

    name: str
    status: str
    suspended: bool
    suspended_by: str
    revision: int
    coordinator: str
    quorate: bool
    term: int
    electorate: list[str]
    out: list[str]
    toratio: int


class StatusJson(TypedDict):
    """`core.view.StatusView`."""

    schema: int
    cluster: ClusterJson
    servers: list[ServerJson]
    groups: list[GroupJson]
    monitors: list[MonitorJson]


class EventJson(TypedDict):
    """`api.backend.EventRecord`."""

    schema: int
    cursor: str
    time: float
    server: str
    module: str
    event_id: int
    level: str
    text: str
    subjects: list[str]
    because: list[str]
    event: int


class BecauseJson(TypedDict):
    """`api.backend.Because`."""

    time: float
    server: str
    text: str
    event: dict[str, str | int]


class ExplanationJson(TypedDict):
    """`api.backend.Explanation`."""

    schema: int
    subject: str
    state: str
    because: list[BecauseJson]
    then: list[str]
    waiting_for: str | None


class HardwareOfServerJson(TypedDict):
    """`api.backend.HardwareOfServer`."""

    name: str
    open: list[OpenHardwareJson]
    counters: dict[str, int]
    unreachable: str | None


class HardwareJson(TypedDict):
    """`api.backend.HardwareView`."""

    schema: int
    servers: list[HardwareOfServerJson]
