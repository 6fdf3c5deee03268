"""Notices of failover groups: where they run, why, and what they wait for."""

from __future__ import annotations

from clptools.core.notices.form import ERROR, INFO, WARN, Entry, Names, Notice

# ---------------------------------------------------------------------- which server


class GroupGranted(Notice, frozen=True):
    """The coordinator grants a group to a server.  The record says what proves that no other
    server runs it."""

    entry = Entry("rc", 64, INFO)
    about = ("group", "server")
    says = "{me} (coordinator) granted epoch {epoch} of {group} to {server}: {reason}."

    group: str
    server: str
    epoch: int
    reason: str


class GroupWaits(Notice, frozen=True):
    """A group cannot start yet, mostly because nothing proves that it does not run elsewhere."""

    entry = Entry("rc", 65, WARN)
    about = ("group",)
    says = "{group} waits for {what}."

    group: str
    what: str


class GroupStartsNowhere(Notice, frozen=True):
    """The start of a group failed on every server that may be tried; it is tried again."""

    entry = Entry("rc", 12, ERROR)
    about = ("group",)
    says = (
        "{group} could not be started on {servers}[, and failover_on_failure left {untried} "
        "untried]; it is tried again in {pause_ms:whole}."
    )
    hint = "Mend that, then at once: clpgrp -s {group}[; or elsewhere: clpgrp -s {group} -h {to}]"

    group: str
    servers: Names
    pause_ms: int
    untried: Names = ()
    to: str = ""


class TwoCopies(Notice, frozen=True):
    """Two servers run one group, which clptools never does by itself: somebody started it by
    hand, or vouched wrongly that a server is down."""

    entry = Entry("rc", 931, ERROR)
    about = ("group", "servers")
    says = "CRITICAL: {group} runs on {servers} at once: its data is at risk."
    hint = "The older copy is told to stop; where that failed, mend it, then: {stops}"

    group: str
    servers: Names
    stops: str


class OneCopy(Notice, frozen=True):
    """A group that ran twice runs once again, or not at all."""

    entry = Entry("rc", 931, WARN)
    about = ("group", "servers")
    says = "{group} no longer runs on several servers."
    hint = "Check its data."

    group: str
    servers: Names


# ---------------------------------------------------------------------- mirrored data


class CopyBehind(Notice, frozen=True):
    """DRBD on another server has lost this one and goes on writing: the copy here is old, and the
    group does not start on it."""

    entry = Entry("rc", 946, WARN)
    about = ("group", "me")
    says = "The copy of {resource} on {me} is behind that of {newer}: {group} does not start here."
    hint = "It ends once the copies are in sync; by hand: clpfencepeer --clear -r {resource}"

    group: str
    resource: str
    newer: str


class CopyInSync(Notice, frozen=True):
    """A copy that was behind is in sync again, as DRBD or a person says."""

    entry = Entry("rc", 947, INFO)
    about = ("group", "me")
    says = "The copy of {resource} on {me} is no longer behind: {group} may start here ({user})."

    group: str
    resource: str
    user: str


class CopyGivenUp(Notice, frozen=True):
    """DRBD has lost its peer, and was told that the copy there will not be used: it goes on
    writing, to one copy."""

    entry = Entry("rc", 948, WARN)
    about = ("group", "peer", "me")
    says = "{resource} is written on {me} alone: of {peer}, {why}."

    group: str
    resource: str
    peer: str
    why: str


# ---------------------------------------------------------------------- order of groups


class WaitsToStart(Notice, frozen=True):
    """A group is not started before other groups are online (`start_after`)."""

    entry = Entry("rc", 15, INFO)
    about = ("group",)
    says = "{group} waits for {awaited} to be online before it is started."
    hint = "Start it without: clpgrp -s {group} -f"

    group: str
    awaited: Names


class StartWaitOver(Notice, frozen=True):
    """The groups after which a group starts did not come online in time (`start_wait`)."""

    entry = Entry("rc", 17, ERROR)
    about = ("group",)
    says = (
        "{group} is not started: {awaited} {awaited:is|are} not online after {wait_ms:whole}. It "
        "starts as soon as {awaited:it is|they are}."
    )
    hint = "Start it without: clpgrp -s {group} -f"

    group: str
    awaited: Names
    wait_ms: int


class WaitsToStop(Notice, frozen=True):
    """A group is not stopped before other groups have stopped (`stop_after`)."""

    entry = Entry("rc", 25, INFO)
    about = ("group",)
    says = "{group} waits until {awaited} {awaited:has|have} stopped before it is stopped."
    hint = "[Stop it now: {command}]"

    group: str
    awaited: Names
    command: str
    """Empty where its server leaves: by command it would not start elsewhere."""


class StopWaitOver(Notice, frozen=True):
    """The groups after which a group stops did not stop in time (`stop_wait`)."""

    entry = Entry("rc", 28, WARN)
    about = ("group",)
    says = (
        "{group} is stopped although {awaited} {awaited:has|have} not stopped within "
        "{wait_ms:whole}."
    )

    group: str
    awaited: Names
    wait_ms: int


# ---------------------------------------------------------------------- start and stop


class GroupStarts(Notice, frozen=True):
    """A server begins to start the resources of a group."""

    entry = Entry("rc", 10, INFO)
    about = ("group", "me")
    says = "{me} starts {group} (epoch {epoch})."

    group: str
    epoch: int


class GroupOnline(Notice, frozen=True):
    """All resources of a group are online."""

    entry = Entry("rc", 11, INFO)
    about = ("group", "me")
    says = "{me} has started {resources} of {group} ({took_ms:s})."

    group: str
    resources: str
    took_ms: int


class GroupFound(Notice, frozen=True):
    """The agent was restarted under a group that runs; nothing happened to the group."""

    entry = Entry("rc", 11, INFO)
    about = ("group", "me")
    says = "The agent of {me} started again and found {group} running there."

    group: str


class GroupStops(Notice, frozen=True):
    """A server begins to stop the resources of a group."""

    entry = Entry("rc", 20, INFO)
    about = ("group", "me")
    says = "{me} stops {group}[: {reason}]."

    group: str
    reason: str


class GroupReleased(Notice, frozen=True):
    """All of a group is off here: it may start elsewhere."""

    entry = Entry("rc", 21, INFO)
    about = ("group", "me")
    says = "{me} stopped {resources:then} ({took_ms:s}) and released epoch {epoch} of {group}."

    group: str
    resources: Names
    took_ms: int
    epoch: int


class GroupStuck(Notice, frozen=True):
    """Something of a group could not be stopped, so nobody knows whether it still runs."""

    entry = Entry("rc", 22, ERROR)
    about = ("group", "server")
    says = (
        "{group} could not be stopped on {server}: it counts as running there, and starts nowhere "
        "else."
    )
    hint = "Mend it, then: clpgrp -t {group} -f"

    group: str
    server: str


class StopScriptsRun(Notice, frozen=True):
    """The stop scripts of every group run once, as nothing tells what an agent before may have
    left running: at the first start, and after each boot."""

    entry = Entry("pm", 915, INFO)
    about = ("me", "groups")
    says = (
        "{me} starts without state: it runs the stop scripts of {groups} once before it takes part."
    )

    groups: Names


class PurgeFailed(Notice, frozen=True):
    """After a boot every stop script runs once; one of them failed."""

    entry = Entry("rc", 942, WARN)
    about = ("group", "resources", "me")
    says = (
        "{resources} of {group} could not be stopped on {me} after its boot: it is the last choice "
        "for {group} until that ends well, and tries again in {pause_ms:whole}, then less often."
    )
    hint = "Make the stop script succeed where nothing runs."

    group: str
    resources: Names
    pause_ms: int


class PurgeDone(Notice, frozen=True):
    """A stop script that had failed after a boot has succeeded."""

    entry = Entry("rc", 942, INFO)
    about = ("group", "me")
    says = "Nothing of {group} is left on {me} from before its boot."

    group: str


# ---------------------------------------------------------------------- resources


class ResourcesStart(Notice, frozen=True):
    """A server begins to start single resources of a group that it runs, as they were asked for."""

    entry = Entry("rc", 30, INFO)
    about = ("group", "resources", "me")
    says = "{me} starts {resources} of {group}."

    group: str
    resources: Names


class ResourcesStop(Notice, frozen=True):
    """A server begins to stop single resources of a group, which otherwise runs on."""

    entry = Entry("rc", 40, INFO)
    about = ("group", "resources", "me")
    says = "{me} stops {resources} of {group}."

    group: str
    resources: Names


class ResourceStartFailed(Notice, frozen=True):
    """A start script failed or hung; it is tried again as often as `start_retries` says."""

    entry = Entry("rc", 32, ERROR)
    about = ("group", "resource", "me")
    says = "{resource} could not be started on {me}: {why}."

    group: str
    resource: str
    why: str


class ResourceStopFailed(Notice, frozen=True):
    """A stop script failed or hung."""

    entry = Entry("rc", 42, ERROR)
    about = ("group", "resource", "me")
    says = "{resource} could not be stopped on {me}: {why}."

    group: str
    resource: str
    why: str


class ResourceSaid(Notice, frozen=True):
    """What an operation on a resource has to say before its end."""

    entry = Entry("rc", 941, WARN)
    about = ("group", "resource", "me")
    says = "{resource} on {me}: {remark:end}."

    group: str
    resource: str
    remark: str


class ResourceLost(Notice, frozen=True):
    """A resource that ran is gone: its group is mended like one whose resource failed."""

    entry = Entry("rc", 943, ERROR)
    about = ("group", "resource", "me")
    says = "{resource} of {group} is lost on {me}: {why:end}. It is started again[, {but}]."

    group: str
    resource: str
    why: str
    but: str
    """What that waits for."""


class MigrationBegins(Notice, frozen=True):
    """Resources carry their state over before a failover."""

    entry = Entry("rc", 55, INFO)
    about = ("group", "resources", "me")
    says = "{me} migrates {resources} first."

    group: str
    resources: Names


class MigrationDone(Notice, frozen=True):
    """A resource has carried its state over."""

    entry = Entry("rc", 56, INFO)
    about = ("group", "resource", "me")
    says = "{resource} was migrated on {me}: it can go on where it starts next."

    group: str
    resource: str


class MigrationFailed(Notice, frozen=True):
    """A resource could not carry its state over; the failover goes on without."""

    entry = Entry("rc", 57, WARN)
    about = ("group", "resource", "me")
    says = "{resource} could not be migrated on {me}, and is only stopped: {why}."

    group: str
    resource: str
    why: str


class MigrationGivenUp(Notice, frozen=True):
    """A migration is called off because the group must stop at once."""

    entry = Entry("rc", 57, WARN)
    about = ("group", "resources", "me")
    says = "{resources} {resources:is|are} not migrated on {me}: another order to stop came first."

    group: str
    resources: Names


# ---------------------------------------------------------------------- planned moves


class MovePlanned(Notice, frozen=True):
    """A failure is expected on the server that runs a group, so the group is to move off it in the
    next quiet window (`prepare_on_stall`). The record says what would keep it from moving now."""

    entry = Entry("rc", 950, WARN)
    about = ("group", "server", "monitor")
    says = (
        "{group} is to move from {server} to {to} in the next quiet window ({when}), because "
        "{monitor} expects a failure on {server}: {meaning}."
    )
    hint = "Call it off: clpgrp --cancel {group}"

    group: str
    server: str
    to: str
    when: str
    monitor: str
    meaning: str


class MoveRedirected(Notice, frozen=True):
    """The server to which a group was to move cannot take it any more; another one can."""

    entry = Entry("rc", 950, INFO)
    about = ("group", "to")
    says = "{group} is to move to {to} in its quiet window[, and not to {instead_of}]."

    group: str
    to: str
    instead_of: str


class PreparationBegins(Notice, frozen=True):
    """The server to which a group is to move is made ready for it."""

    entry = Entry("rc", 951, INFO)
    about = ("group", "resources", "me")
    says = "{me} prepares {resources} of {group} for its planned move."

    group: str
    resources: Names


class PreparationDone(Notice, frozen=True):
    """A prepare script has ended well."""

    entry = Entry("rc", 952, INFO)
    about = ("group", "resource", "me")
    says = "{resource} of {group} is prepared on {me}."

    group: str
    resource: str


class PreparationFailed(Notice, frozen=True):
    """A prepare script failed or hung. No move and no failover waits for it."""

    entry = Entry("rc", 953, WARN)
    about = ("group", "resource", "me")
    says = "{resource} of {group} could not be prepared on {me}: {why}. No move depends on that."

    group: str
    resource: str
    why: str


class MoveAnnounced(Notice, frozen=True):
    """A planned move begins in a few minutes, if nothing keeps it from beginning."""

    entry = Entry("rc", 954, WARN)
    about = ("group", "server", "monitor")
    says = "{group} moves from {server} to {to} in {in_ms:whole}, as {monitor} expects a failure."
    hint = "Call it off: clpgrp --cancel {group}"

    group: str
    server: str
    to: str
    in_ms: int
    monitor: str


class PlannedMoveBegins(Notice, frozen=True):
    """A planned move begins: the group is stopped, then started on the other server."""

    entry = Entry("rc", 955, INFO)
    about = ("group", "server", "monitor")
    says = (
        "The planned move of {group} from {server} to {to} begins ({monitor} expects a failure: "
        "{meaning})."
    )

    group: str
    server: str
    to: str
    monitor: str
    meaning: str


class PlannedMoveDone(Notice, frozen=True):
    """A planned move is through."""

    entry = Entry("rc", 956, INFO)
    about = ("group", "server")
    says = "The planned move of {group} is done: it runs on {server}."

    group: str
    server: str


class MovePutOff(Notice, frozen=True):
    """A planned move did not begin in its window, or was called off by what came between; it comes
    later."""

    entry = Entry("rc", 957, WARN)
    about = ("group", "server")
    says = "The planned move of {group} from {server} is put off: {why}."

    group: str
    server: str
    why: str


class MoveCancelled(Notice, frozen=True):
    """A person called a planned move off. It is not planned again for the same event."""

    entry = Entry("rc", 958, INFO)
    about = ("group", "server")
    says = "{user} called off the planned move of {group} from {server}."

    group: str
    server: str
    user: str


class PlanEnds(Notice, frozen=True):
    """A planned move is not needed any more."""

    entry = Entry("rc", 959, INFO)
    about = ("group", "server")
    says = "The planned move of {group} from {server} is called off: {why}."

    group: str
    server: str
    why: str
