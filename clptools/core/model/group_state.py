"""What a core remembers of failover groups: its own, and what it grants as coordinator.

Instants are of this server's clock; `NEVER` stands for "not yet".
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from clptools.core.model.messages import (
    NO_EPOCH,
    Epoch,
)
from clptools.core.model.settings import Settings
from clptools.core.model.states import (
    GrantStage,
    GroupState,
    GroupWhy,
    ResourceState,
)
from clptools.core.model.timing import NEVER
from clptools.core.model.words import Severity

_UNFIT_MS = 600_000
"""After this time a failed start is tried again, because nothing reports that a server was mended,
such as a disk that is back."""
_MOST_WHY = 300
"""How many characters of a script's output the other servers are told."""


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
    """What `why` becomes when the stop under way has finished."""
    restart: bool = False
    """Start it again on this server when the stop has finished."""
    forced: bool = False
    purge: bool = False
    """The stop under way is a purge: it stops what may still run from before this agent started
    without state."""
    purge_at: int = NEVER
    """When a failed purge is tried again, or `NEVER`."""
    purges: int = 0
    """How often a purge has failed."""
    off: tuple[str, ...] = ()
    """Servers that were proven powered off when it was granted."""
    resources: dict[str, ResourceState] = {}
    """Resource -> its state, or the state to which its newest operation is bringing it."""
    busy: dict[str, int] = {}
    """Resource -> number of its newest operation while that runs. The end of an earlier operation
    is ignored."""
    retries: dict[str, int] = {}
    wanted_off: list[str] = []
    """Resources that an operator stopped (`clprsc -t`) in an online group."""
    stopping_only: list[str] = []
    """The resources that a partial stop stops."""
    migrations: list[str] = []
    """Resources that are being migrated, or still must be, before the stop."""
    texts: dict[str, str] = {}
    since: int = 0
    failed: str = ""
    """The resource whose failure ended the last start here."""
    failed_why: str = ""
    """Why that resource failed, with the last line of its output."""
    failed_at: int = NEVER
    severity: Severity = Severity.SOFT
    """Severity of that failure."""


class LifecycleState(msgspec.Struct):
    """The groups on this server."""

    runs: dict[str, GroupRun] = {}
    next_operation: int = 1
    """Number of the next operation on a resource."""


class GrantState(msgspec.Struct):
    """A grant that we gave as coordinator, and its stage."""

    server: str
    epoch: Epoch
    granted_at: int
    stage: GrantStage = GrantStage.GRANTED
    event: str = "START"
    previous: str = ""
    reason: str = ""
    off: tuple[str, ...] = ()
    """Servers that were proven powered off."""


class Waiting(msgspec.Struct, frozen=True):
    """What keeps a group from being started."""

    text: str
    servers: tuple[str, ...] = ()
    """Servers that are not proven not to run it."""


class OrderWait(msgspec.Struct):
    """A group that waits for other groups before it is started, or stopped."""

    groups: tuple[str, ...]
    """The groups that it waits for."""
    since: int
    told: bool = False
    """This server has recorded the wait."""
    over: bool = False
    """This server has recorded that the configured wait is over."""


class OrderState(msgspec.Struct):
    """Groups that wait for other groups. Every server finds these waits by itself, so what it
    remembers of them outlives an office."""

    starts: dict[str, OrderWait] = {}
    stops: dict[str, OrderWait] = {}
    leaving: list[str] = []
    """Groups of a server that leaves which are still to be stopped."""


class OfficeState(msgspec.Struct):
    """A coordinator's work on groups; nothing of it outlives the office."""

    grants: dict[str, GrantState] = {}
    ordered_at: dict[str, int] = {}
    waiting: dict[str, tuple[Waiting, int]] = {}
    """Group -> (what it waits for, since)."""
    waiting_told: list[str] = []
    retry_at: dict[str, int] = {}
    """Group that could not be started on any server -> when all servers are tried again."""


class ClearanceState(msgspec.Struct):
    """What this office granted. Evidence from before a grant proves nothing about that grant."""

    granted_at: dict[str, dict[str, int]] = {}
    """Group -> server -> when we last granted it in this office."""
    granted_epoch: dict[str, dict[str, Epoch]] = {}


class MirrorState(msgspec.Struct):
    """Copies of mirrored data on this server."""

    behind: dict[str, str] = {}
    """Resource whose copy here is behind -> the server with the newer one."""
    kept: dict[str, str] = {}
    """`behind` as it is on the disk."""


class Copies(msgspec.Struct):
    """Several servers say that they run the same group."""

    servers: tuple[str, ...]
    since: int
    told: bool = False
    """It was recorded, after each of them had said it again since the others did."""


# Questions that several rooms ask of the groups on this server.

Runs = Mapping[str, GroupRun]
"""Group -> its state on this server; read-only."""


def holds_any(runs: Runs) -> bool:
    """Whether anything is held here."""
    return any(run.held for run in runs.values())


def held(runs: Runs, settings: Settings) -> list[str]:
    """Names of what is held here, in configured order."""
    names = [name for name, run in runs.items() if run.held]
    if len(names) > 1:
        ranks = settings.ranks
        names.sort(key=lambda name: ranks.get(name, len(ranks)))
    return names


def failed_starts(runs: Runs) -> dict[str, str]:
    """Group that does not run here -> why its last start here failed."""
    return {
        name: f"{run.failed}: {run.failed_why[:_MOST_WHY]}"
        for name, run in runs.items()
        if run.failed and not run.held
    }


def unfit(runs: Runs, now: int) -> tuple[str, ...]:
    """Groups whose start failed here a short time ago and would fail again until the cause is
    mended."""
    return tuple(
        name
        for name, run in runs.items()
        if run.severity is Severity.HARD and not run.held and now - run.failed_at < _UNFIT_MS
    )


def purging(runs: Runs) -> tuple[str, ...]:
    """Groups that are not held, but of which something may be left from before the boot."""
    return tuple(name for name, run in runs.items() if run.purge and not run.held)
