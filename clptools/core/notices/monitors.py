"""Notices of monitors: changes of status, recoveries, final actions."""

from __future__ import annotations

from clptools.core.model.settings import Monitor
from clptools.core.model.words import FinalAction
from clptools.core.notices.form import ERROR, INFO, OTHERS, WARN, Entry, Names, Notice

MONITORS = ("rm", "mm")
"""Modules of monitors: `mm` for message receive monitors, `rm` for all others."""


def module(monitor: Monitor) -> str:
    """The module in the alert log."""
    return "mm" if monitor.type == "mrw" else "rm"


# ---------------------------------------------------------------------- status


class MonitorError(Notice, frozen=True):
    """A monitor found an error; its recovery begins."""

    entry = Entry(MONITORS, {"rm": 9, "mm": 905}, ERROR, by="module")
    about = ("monitor", "me")
    says = "{monitor} on {me} went {was} -> Error[: {found}][; its recovery is: {plan}]."

    module: str
    monitor: str
    was: str
    plan: str
    found: str
    """What it found, unless a record before this one says it."""


class MonitorRecovered(Notice, frozen=True):
    """A monitor that was in error finds all well."""

    entry = Entry(MONITORS, 26, INFO)
    about = ("monitor", "me")
    says = "{monitor} on {me} went {was} -> Normal[: {found}]."

    module: str
    monitor: str
    was: str
    found: str


class MonitorWell(Notice, frozen=True):
    """A monitor that had warned, or had not run yet, finds all well."""

    entry = Entry(MONITORS, 49, INFO)
    about = ("monitor", "me")
    says = "{monitor} on {me} went {was} -> Normal[: {found}]."

    module: str
    monitor: str
    was: str
    found: str


class MonitorWarns(Notice, frozen=True):
    """A monitor found what may become an error; nothing is recovered."""

    entry = Entry(MONITORS, {"rm": 4, "mm": 933}, WARN, by="module")
    about = ("monitor", "me")
    says = "{monitor} on {me} went {was} -> {status}[: {found}]."

    module: str
    monitor: str
    was: str
    status: str
    found: str


class MonitorUnknown(Notice, frozen=True):
    """A monitor could not find out."""

    entry = Entry(MONITORS, {"rm": 27, "mm": 933}, WARN, by="module")
    about = ("monitor", "me")
    says = "{monitor} on {me} went {was} -> Unknown[: {found}]."

    module: str
    monitor: str
    was: str
    found: str


class MonitorSuspended(Notice, frozen=True):
    """An operator suspended a monitor on a server."""

    entry = Entry("rm", 29, INFO)
    about = ("monitor", "me")
    says = "{user} suspended {monitor} on {me}."

    monitor: str
    user: str


class MonitorStillSuspended(Notice, frozen=True):
    """Somebody may have forgotten to resume a monitor; told once a day."""

    entry = Entry("rm", 29, WARN)
    about = ("monitor", "me")
    says = (
        "{monitor} on {me} has been suspended for {for_ms:span}[, by {user}]: nothing is "
        "recovered that it finds."
    )
    hint = "Resume it: clpmonctrl -r -m {monitor} -h {me}"

    monitor: str
    for_ms: int
    user: str


class MonitorResumed(Notice, frozen=True):
    """An operator resumed a monitor on a server."""

    entry = Entry("rm", 30, INFO)
    about = ("monitor", "me")
    says = (
        "{user} resumed {monitor} on {me}[: it is {status}, and nothing is recovered of what "
        "happened meanwhile]."
    )

    monitor: str
    user: str
    status: str
    """Unless it is Normal."""


class DummyFailureOn(Notice, frozen=True):
    """An operator makes a monitor report a failure, for a test."""

    entry = Entry("rm", 180, INFO)
    about = ("monitor", "me")
    says = "Dummy failure of {monitor} on {me} was switched on."

    monitor: str


class DummyFailureOff(Notice, frozen=True):
    """A monitor reports what it finds again."""

    entry = Entry("rm", 181, INFO)
    about = ("monitor", "me")
    says = "Dummy failure of {monitor} on {me} was switched off."

    monitor: str


# ---------------------------------------------------------------------- recovery


class RecoveryHeldBack(Notice, frozen=True):
    """A monitor is in error, and nothing is done about it."""

    entry = Entry("rm", 192, WARN)
    about = ("monitor", "me")
    says = "Recovery for {monitor} was not run on {me}: {why}."

    monitor: str
    why: str


class RecoveryTargetInactive(Notice, frozen=True):
    """What a monitor would recover does not run here."""

    entry = Entry(MONITORS, 25, WARN)
    about = ("monitor", "me")
    says = "Recovery was not run: {target} is not active on {me}."

    module: str
    monitor: str
    target: str


class RecoveryUsedUp(Notice, frozen=True):
    """Every step of a recovery was taken as often as it may be within its window."""

    entry = Entry(MONITORS, 931, WARN)
    about = ("monitor", "me")
    says = (
        "{monitor} recovers nothing more on {me}: it has already {done}, and its final action is "
        "none."
    )
    hint = "Count anew, on {me}: clpmonctrl -c -m {monitor}"

    module: str
    monitor: str
    done: Names


class PreActionRuns(Notice, frozen=True):
    """The script that comes before a recovery begins."""

    entry = Entry(MONITORS, 930, INFO)
    about = ("monitor", "me")
    says = "{me} runs {script} for {monitor}."

    module: str
    monitor: str
    script: str


class PreActionEnded(Notice, frozen=True):
    """The script before a recovery ended well; the recovery goes on."""

    entry = Entry(MONITORS, 82, INFO)
    about = ("monitor", "me")
    says = "The script for {monitor} is through."

    module: str
    monitor: str


class PreActionFailed(Notice, frozen=True):
    """The script before a recovery failed; the recovery goes on all the same."""

    entry = Entry(MONITORS, 83, ERROR)
    about = ("monitor", "me")
    says = "The script for {monitor} failed: {why}."

    module: str
    monitor: str
    why: str


class RecoveryScriptRuns(Notice, frozen=True):
    """A recovery begins with its script."""

    entry = Entry(MONITORS, 170, INFO)
    about = ("monitor", "me")
    says = "{me} runs {script} for {monitor}."

    module: str
    monitor: str
    script: str


class RecoveryScriptEnded(Notice, frozen=True):
    """A recovery script ended well; the monitor will tell whether it helped."""

    entry = Entry(MONITORS, 932, INFO)
    about = ("monitor", "me")
    says = "The script for {monitor} is through."

    module: str
    monitor: str


class RecoveryScriptFailed(Notice, frozen=True):
    """A recovery script failed; the next step follows where the monitor is still in error."""

    entry = Entry(MONITORS, 171, ERROR)
    about = ("monitor", "me")
    says = "The script for {monitor} failed: {why}."

    module: str
    monitor: str
    why: str


class RecoveryRestarts(Notice, frozen=True):
    """A recovery restarts its target on this server."""

    entry = Entry(MONITORS, 13, WARN)
    about = ("monitor", "target", "groups", "me")
    says = "{me} restarts {target} because of {monitor} (restart {count})."

    module: str
    monitor: str
    target: str
    groups: Names
    count: int


class RecoveryFailsOver(Notice, frozen=True):
    """A recovery stops a group here, so that another server starts it."""

    entry = Entry(MONITORS, 14, WARN)
    about = ("group", "monitor", "me")
    says = "{me} gives {group} up for another server because of {monitor}."

    module: str
    group: str
    monitor: str


class GroupStays(Notice, frozen=True):
    """A recovery would fail a group over, and it has nowhere to go."""

    entry = Entry("rc", 65, WARN)
    about = ("group", "monitor", "me")
    says = "{group} stays on {me}[, though {monitor} would move it]: {why}."

    group: str
    monitor: str
    why: str


# ---------------------------------------------------------------------- final actions

ACTIONS: dict[str, int] = {
    FinalAction.STOP_GROUP: 12,
    FinalAction.STOP_RESOURCE: 12,
    FinalAction.STOP_CLUSTER: 15,
    FinalAction.SHUTDOWN: 16,
    FinalAction.REBOOT: 17,
    FinalAction.SYSRQ_PANIC: 35,
    FinalAction.KEEPALIVE_RESET: 37,
    FinalAction.KEEPALIVE_PANIC: 39,
    FinalAction.BMC_RESET: 41,
    FinalAction.BMC_POWER_OFF: 43,
    FinalAction.BMC_POWER_CYCLE: 45,
    FinalAction.BMC_NMI: 47,
}
"""Each final action -> number of its begin, as the original's catalogue has them (X 4.2)."""
_FAILURES = {
    FinalAction.STOP_CLUSTER: 21,
    FinalAction.SHUTDOWN: 22,
    FinalAction.REBOOT: 23,
    FinalAction.SYSRQ_PANIC: 36,
    FinalAction.KEEPALIVE_RESET: 38,
    FinalAction.KEEPALIVE_PANIC: 40,
    FinalAction.BMC_RESET: 42,
    FinalAction.BMC_POWER_OFF: 44,
    FinalAction.BMC_POWER_CYCLE: 46,
    FinalAction.BMC_NMI: 48,
    OTHERS: 22,
}


class FinalActionBegins(Notice, frozen=True):
    """Everything else of a recovery is used up."""

    entry = Entry(MONITORS, ACTIONS, ERROR, by="action")
    about = ("me",)
    says = "{me} runs {action}: final action of {monitor}."

    module: str
    action: str
    monitor: str


class ResourceFinalAction(Notice, frozen=True):
    """A resource could be started nowhere, or could not be stopped."""

    entry = Entry("rc", 930, ERROR)
    about = ("me",)
    says = "{me} runs {action}: final action of {resource}."

    action: str
    resource: str


class LastServer(Notice, frozen=True):
    """A final action would have ended the only server that is left."""

    entry = Entry(("rm", "rc"), {"rm": 200, "rc": 500}, WARN, by="module")
    about = ("me",)
    says = "{action} was not run on {me}: no other normal server is left."

    module: str
    action: str


class TooManyHalts(Notice, frozen=True):
    """Final actions have ended a server as often in a row as `max_reboots` allows."""

    entry = Entry(("rm", "rc"), 100, WARN)
    about = ("me",)
    says = (
        "{action} was not run on {me}: {count} final actions in a row have ended it already "
        "(max_reboots)."
    )
    hint = "Start the count again, on {me}: clpregctrl --clear -t {module} -r haltcount"

    module: str
    action: str
    count: int


class AfterRecovery(Notice, frozen=True):
    """The groups run elsewhere: the BMC may do to its server what the fault asks for."""

    entry = Entry(MONITORS, {a: n for a, n in ACTIONS.items() if "bmc" in a}, WARN, by="action")
    about = ("groups", "monitor", "me")
    says = "The BMC of {me} does its {word} now: recovery is done (after_recovery = {word})."

    module: str
    action: str
    word: str
    groups: Names
    monitor: str


class HostActionFailed(Notice, frozen=True):
    """What was to end this server, or restart it, was not done."""

    entry = Entry("rm", _FAILURES, ERROR, by="action")
    about = ("me",)
    says = "{action} was not done on {me}: {why:end}."

    action: str
    why: str
