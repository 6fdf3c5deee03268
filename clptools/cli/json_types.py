"""The JSON of the agent's socket, as `json` reads and writes it.

Made by python -m clptools.cli.generate from the structs that each type names; do not edit.
For the type checker only: import this module under `TYPE_CHECKING`.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict


class AcknowledgeJson(TypedDict):
    """`core.model.requests.Acknowledge`."""

    type: Literal["acknowledge"]
    server: NotRequired[str]
    monitor: str
    event: NotRequired[int]


class ArbiterJson(TypedDict):
    """`core.model.view.ArbiterView`."""

    name: str
    type: str
    status: str
    held: bool
    error: str


class BecauseJson(TypedDict):
    """`api.messages.Because`."""

    time: float
    server: str
    text: str
    event: dict[str, str | int]


class BmcFaultJson(TypedDict):
    """`api.messages.BmcFault`."""

    server: str
    fault: str
    mend: str


class BmcJson(TypedDict):
    """`core.model.view.BmcView`."""

    address: str
    power: str
    reachable: bool
    can_prove: bool
    since_s: float | None
    latency_ms: float | None
    error: str
    lacks: str
    mend: str
    agents: list[str]
    asked: bool


class ClearHaltsJson(TypedDict):
    """`core.model.requests.ClearHalts`."""

    type: Literal["clear-halts"]
    server: NotRequired[str]
    kind: str


class ClusterJson(TypedDict):
    """`core.model.view.ClusterView`."""

    name: str
    status: str
    suspended: bool
    suspended_by: str
    suspended_s: float | None
    revision: int
    coordinator: str
    quorate: bool
    term: int
    electorate: list[str]
    out: list[str]
    toratio: int
    toratio_by: str
    toratio_left_s: float | None
    none: str


class ConditionJson(TypedDict):
    """`core.model.view.ConditionView`."""

    name: str
    text: str
    mend: str
    monitors: list[str]
    since_s: float


class ConfirmDownJson(TypedDict):
    """`core.model.requests.ConfirmDown`."""

    type: Literal["confirm-down"]
    server: NotRequired[str]
    down: str
    force: NotRequired[bool]
    only_look: NotRequired[bool]


class EventJson(TypedDict):
    """`api.messages.EventRecord`."""

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
    code: str
    heard: float


class ExplanationJson(TypedDict):
    """`api.messages.Explanation`."""

    schema: int
    subject: str
    state: str
    because: list[BecauseJson]
    then: list[str]
    waiting_for: str | None


class ExternalNoticeJson(TypedDict):
    """`core.model.requests.ExternalNotice`."""

    type: Literal["external-notice"]
    server: NotRequired[str]
    monitor: NotRequired[str]
    category: NotRequired[str]
    keyword: NotRequired[str]
    text: NotRequired[str]
    clear: NotRequired[bool]
    origin: NotRequired[str]


class ForceStopJson(TypedDict):
    """`core.model.requests.ForceStop`."""

    type: Literal["force-stop"]
    server: NotRequired[str]
    down: str


class GroupCancelJson(TypedDict):
    """`core.model.requests.GroupCancel`."""

    type: Literal["group-cancel"]
    server: NotRequired[str]
    group: str


class GroupJson(TypedDict):
    """`core.model.view.GroupView`."""

    name: str
    status: str
    current: str | None
    epoch: int
    since_s: float
    wanted: bool
    failures: int
    waiting_for: WaitingJson | None
    planned_move: PlannedMoveJson | None
    resources: list[ResourceJson]
    copies: list[str]
    on: dict[str, str]
    failback: str
    comment: str


class GroupMoveJson(TypedDict):
    """`core.model.requests.GroupMove`."""

    type: Literal["group-move"]
    server: NotRequired[str]
    group: NotRequired[str]
    to: NotRequired[str]
    force: NotRequired[bool]
    failover: NotRequired[bool]
    reason: NotRequired[str]


class GroupStartJson(TypedDict):
    """`core.model.requests.GroupStart`."""

    type: Literal["group-start"]
    server: NotRequired[str]
    group: NotRequired[str]
    force: NotRequired[bool]


class GroupStopJson(TypedDict):
    """`core.model.requests.GroupStop`."""

    type: Literal["group-stop"]
    server: NotRequired[str]
    group: NotRequired[str]
    force: NotRequired[bool]


class HardwareJson(TypedDict):
    """`api.messages.HardwareView`."""

    schema: int
    servers: list[HardwareOfServerJson]


class HardwareOfServerJson(TypedDict):
    """`api.messages.HardwareOfServer`."""

    name: str
    open: list[OpenHardwareJson]
    counters: dict[str, int]
    unreachable: str | None
    bmcs: list[BmcFaultJson]
    conditions: list[ConditionJson]


class HeartbeatJson(TypedDict):
    """`core.model.view.HeartbeatView`."""

    name: str
    type: str
    status: str
    peers: dict[str, PeerJson]


class HeldGroupJson(TypedDict):
    """`core.model.view.HeldGroupView`."""

    name: str
    status: str
    epoch: int
    since_s: float
    resources: list[ResourceJson]


class MonitorClearJson(TypedDict):
    """`core.model.requests.MonitorClear`."""

    type: Literal["monitor-clear"]
    server: NotRequired[str]
    monitors: NotRequired[list[str]]


class MonitorFaultJson(TypedDict):
    """`core.model.requests.MonitorFault`."""

    type: Literal["monitor-fault"]
    server: NotRequired[str]
    monitor: NotRequired[str]
    on: NotRequired[bool]


class MonitorJson(TypedDict):
    """`core.model.view.MonitorView`."""

    name: str
    type: str
    status: str
    servers: dict[str, MonitorOnServerJson]
    comment: str


class MonitorOnServerJson(TypedDict):
    """`core.model.view.MonitorOnServerView`."""

    status: str
    text: str
    restarts: int
    failovers: int
    scripts: int
    suspended_by: str
    suspended_s: float | None


class MonitorResumeJson(TypedDict):
    """`core.model.requests.MonitorResume`."""

    type: Literal["monitor-resume"]
    server: NotRequired[str]
    monitors: NotRequired[list[str]]


class MonitorSuspendJson(TypedDict):
    """`core.model.requests.MonitorSuspend`."""

    type: Literal["monitor-suspend"]
    server: NotRequired[str]
    monitors: NotRequired[list[str]]


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
"""`core.model.view.OpenEventView`."""


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
"""`api.messages.OpenHardware`."""


class OutdateCopyJson(TypedDict):
    """`core.model.requests.OutdateCopy`."""

    type: Literal["outdate-copy"]
    server: NotRequired[str]
    resource: str
    peer: NotRequired[str]
    current: NotRequired[bool]
    lasts_ms: NotRequired[int]
    in_sync: NotRequired[bool]


class PeerJson(TypedDict):
    """`core.model.view.PeerView`."""

    status: str
    last_seen_s: float | None


class PlannedMoveJson(TypedDict):
    """`core.model.view.PlannedMoveView`."""

    to: str
    stage: str
    monitor: str
    event: int
    why: str
    when: str
    in_s: float | None
    waits_for: str


class ResourceJson(TypedDict):
    """`core.model.view.ResourceView`."""

    name: str
    type: str
    status: str
    comment: str


class ResourceStartJson(TypedDict):
    """`core.model.requests.ResourceStart`."""

    type: Literal["resource-start"]
    server: NotRequired[str]
    resource: str
    force: NotRequired[bool]


class ResourceStopJson(TypedDict):
    """`core.model.requests.ResourceStop`."""

    type: Literal["resource-stop"]
    server: NotRequired[str]
    resource: str
    force: NotRequired[bool]


class ResumeJson(TypedDict):
    """`core.model.requests.Resume`."""

    type: Literal["resume"]
    server: NotRequired[str]


class ServerJson(TypedDict):
    """`core.model.view.ServerView`."""

    name: str
    status: str
    local: bool
    incarnation: str
    heartbeats: list[HeartbeatJson]
    np: list[ArbiterJson]
    bmc: BmcJson | None
    refused: str
    refused_mend: str
    newcomer: bool
    lacks: list[str]
    lease_s: float | None
    armed: bool
    watchdog: str
    groups: list[HeldGroupJson]
    monitors: dict[str, MonitorOnServerJson]
    open_events: list[OpenEventJson]
    conditions: list[ConditionJson]
    bmc_faults: list[ConditionJson]
    failed_starts: dict[str, str]
    unfit: list[str]
    behind: dict[str, str]
    halts: dict[str, int]
    quiet: dict[str, str]
    revision: int
    macs: list[str]
    version: str
    addresses: list[str]


class ServiceStartJson(TypedDict):
    """`core.model.requests.ServiceStart`."""

    type: Literal["service-start"]
    server: NotRequired[str]


class ServiceStopJson(TypedDict):
    """`core.model.requests.ServiceStop`."""

    type: Literal["service-stop"]
    server: NotRequired[str]
    then: NotRequired[
        Literal[
            "",
            "start",
            "exit",
            "shutdown",
            "reboot",
            "bmc-reset",
            "bmc-power-off",
            "bmc-power-cycle",
            "bmc-nmi",
        ]
    ]
    everywhere: NotRequired[bool]


class StatusJson(TypedDict):
    """`core.model.view.StatusView`."""

    schema: int
    cluster: ClusterJson
    servers: list[ServerJson]
    groups: list[GroupJson]
    monitors: list[MonitorJson]


class StretchTimeoutsJson(TypedDict):
    """`core.model.requests.StretchTimeouts`."""

    type: Literal["stretch-timeouts"]
    server: NotRequired[str]
    ratio: NotRequired[int]
    for_ms: NotRequired[int]


class SuspendJson(TypedDict):
    """`core.model.requests.Suspend`."""

    type: Literal["suspend"]
    server: NotRequired[str]
    force: NotRequired[bool]


class WaitingJson(TypedDict):
    """`core.model.view.WaitingView`."""

    text: str
    since_s: float
    server: str
    proofs: dict[str, str]
    mend: str


RequestJson: TypeAlias = (
    ServiceStartJson
    | ServiceStopJson
    | SuspendJson
    | ResumeJson
    | StretchTimeoutsJson
    | GroupStartJson
    | GroupStopJson
    | GroupMoveJson
    | GroupCancelJson
    | ResourceStartJson
    | ResourceStopJson
    | MonitorSuspendJson
    | MonitorResumeJson
    | MonitorClearJson
    | MonitorFaultJson
    | AcknowledgeJson
    | ExternalNoticeJson
    | ClearHaltsJson
    | ConfirmDownJson
    | ForceStopJson
    | OutdateCopyJson
)
