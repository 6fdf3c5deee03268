"""What an operator (or a script, or a peer on an operator's behalf) may ask of the core.

`server` names the server that is to act; if it is empty, the deciding server acts (the coordinator
for groups, this server for monitors). The core forwards requests that another server decides.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from clptools.core.model.words import AfterStop, CopyFate

# Exit codes that the core itself gives to requests.
FAILED = 1
NO_AGENT = 3
NO_SUCH = 5
REFUSED = 6
TIMED_OUT = 7

LASTS_MS = 10_000
"""A request that waited longer, because the agent stood still, is refused as outdated."""
MAX_RATIO = 10_000
"""The original's limit (`clptoratio`)."""
MAX_OUTDATE_MS = 3_600_000
MAX_RATIO_MS = 30 * 86_400_000


class RequestBase(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all requests."""

    server: str = ""


class ServiceStart(RequestBase, tag="service-start", frozen=True, kw_only=True):
    """Start the cluster service; `server` may be `*`."""


class ServiceStop(RequestBase, tag="service-stop", frozen=True, kw_only=True):
    """Stop the cluster service: groups move away (`*`: stop), then this server leaves."""

    then: AfterStop = AfterStop.NOTHING
    everywhere: bool = False
    """All servers stop (the client asked with `server` `*`), so no group moves."""


class Suspend(RequestBase, tag="suspend", frozen=True, kw_only=True):
    """Suspend the cluster: groups keep running, and no server acts on anything."""

    force: bool = False


class Resume(RequestBase, tag="resume", frozen=True, kw_only=True):
    """Resume a suspended cluster."""


class StretchTimeouts(RequestBase, tag="stretch-timeouts", frozen=True, kw_only=True):
    """Make time-outs `ratio` times as long as configured, for `for_ms`; 1: as configured again."""

    ratio: Annotated[int, msgspec.Meta(ge=1, le=MAX_RATIO)] = 1
    for_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_RATIO_MS)] = 0


class GroupStart(RequestBase, tag="group-start", frozen=True, kw_only=True):
    """Start `group` (empty: all) on `server` (empty: by its order)."""

    group: str = ""
    force: bool = False


class GroupStop(RequestBase, tag="group-stop", frozen=True, kw_only=True):
    """Stop `group` (empty: all), on `server` if one is named; it stays stopped until started
    again."""

    group: str = ""
    force: bool = False


class GroupMove(RequestBase, tag="group-move", frozen=True, kw_only=True):
    """Move `group` (empty: all on `server`, or where it is asked) to `to` (empty: the next)."""

    group: str = ""
    to: str = ""
    force: bool = False
    failover: bool = False
    """A recovery or a program outside asked: scripts get `CLP_EVENT=FAILOVER`."""
    reason: str = ""


class GroupCancel(RequestBase, tag="group-cancel", frozen=True, kw_only=True):
    """Call off the planned move of `group`; it is not planned again for the same event."""

    group: str


class ResourceStart(RequestBase, tag="resource-start", frozen=True, kw_only=True):
    """Start one resource of an online group; with `force`, also those that it depends on."""

    resource: str
    force: bool = False


class ResourceStop(RequestBase, tag="resource-stop", frozen=True, kw_only=True):
    """Stop one resource; with `force`, also those that depend on it."""

    resource: str
    force: bool = False


class MonitorSuspend(RequestBase, tag="monitor-suspend", frozen=True, kw_only=True):
    """Suspend monitors (empty: all) on `server`."""

    monitors: tuple[str, ...] = ()


class MonitorResume(RequestBase, tag="monitor-resume", frozen=True, kw_only=True):
    """Resume monitors (empty: all) on `server`."""

    monitors: tuple[str, ...] = ()


class MonitorClear(RequestBase, tag="monitor-clear", frozen=True, kw_only=True):
    """Set the recovery counters of monitors (empty: all) to zero on this server."""

    monitors: tuple[str, ...] = ()


class MonitorFault(RequestBase, tag="monitor-fault", frozen=True, kw_only=True):
    """Switch a monitor's dummy failure on or off."""

    monitor: str = ""
    on: bool = True


class Acknowledge(RequestBase, tag="acknowledge", frozen=True, kw_only=True):
    """Close open hardware events of a message receive monitor; 0 = all of it."""

    monitor: str
    event: int = 0


class ExternalNotice(RequestBase, tag="external-notice", frozen=True, kw_only=True):
    """`clprexec --notice` / `--clear`: by monitor name, or by category and keyword."""

    monitor: str = ""
    category: str = ""
    keyword: str = ""
    text: str = ""
    clear: bool = False
    origin: str = ""


class ClearHalts(RequestBase, tag="clear-halts", frozen=True, kw_only=True):
    """Reset the count of final actions that ended this machine."""

    kind: str
    """`rm`: final actions of monitors; `rc`: of resources."""


class ConfirmDown(RequestBase, tag="confirm-down", frozen=True, kw_only=True):
    """The operator vouches that `down` is off and stays off until back on the network."""

    down: str
    force: bool = False
    """Also if evidence speaks against it, but never while the server is heard."""
    only_look: bool = False
    """Between servers: only say what speaks against it."""


class ForceStop(RequestBase, tag="force-stop", frozen=True, kw_only=True):
    """Power `down` off by its BMC, from the server that is asked, and wait until it reads off."""

    down: str


class OutdateCopy(RequestBase, tag="outdate-copy", frozen=True, kw_only=True):
    """DRBD lost its peer: the copy of `resource` on `peer` is behind; see
    `core/requests/mirrors.py`."""

    resource: str
    peer: str = ""
    current: bool = False
    """The copy of the server that asks is known to be current."""
    lasts_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_OUTDATE_MS)] = 120_000
    """How long to wait for proof."""
    in_sync: bool = False
    """Asks for the opposite: the copy on the server that is asked is in sync again."""


Request = (
    ServiceStart
    | ServiceStop
    | Suspend
    | Resume
    | StretchTimeouts
    | GroupStart
    | GroupStop
    | GroupMove
    | GroupCancel
    | ResourceStart
    | ResourceStop
    | MonitorSuspend
    | MonitorResume
    | MonitorClear
    | MonitorFault
    | Acknowledge
    | ExternalNotice
    | ClearHalts
    | ConfirmDown
    | ForceStop
    | OutdateCopy
)


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a request ended.  `code` is the exit code of the command."""

    code: int = 0
    text: str = ""
    """One plain sentence; empty where the original prints only `Command succeeded.`"""
    hint: str = ""
    """What would allow it, or what to do next."""
    did: str = ""
    """What was done, where, and how often: one sentence, printed before `Command succeeded.`"""
    fate: CopyFate = CopyFate.UNKNOWN
    """For `OutdateCopy`: what is proven of the peer's copy."""
