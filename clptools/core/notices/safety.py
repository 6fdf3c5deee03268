"""Notices of what keeps a group from running twice: lease, watchdog, forced stop."""

from __future__ import annotations

from clptools.core.model.words import BmcAction
from clptools.core.notices.form import ERROR, INFO, WARN, Entry, Names, Notice


class LeaseEnded(Notice, frozen=True):
    """A server that holds groups is cut off from the coordinator, and stops them before another
    server may start them."""

    entry = Entry("nm", 40, ERROR)
    about = ("me", "groups")
    says = (
        "{me} stops {groups} itself: no coordinator with authority has answered it, and its lease "
        "ended {overdue_ms:s} ago."
    )

    groups: Names
    overdue_ms: int


class WatchdogNotArmed(Notice, frozen=True):
    """The watchdog of a userw monitor could not be armed; it is tried again."""

    entry = Entry("userw", 2, WARN)
    about = ("me", "module")
    says = "{fault}"

    fault: str
    module: str = "userw"


class ForcedStopBegins(Notice, frozen=True):
    """A server is forced off by its BMC, so that its groups may start elsewhere."""

    entry = Entry(
        "rc",
        {
            BmcAction.POWER_OFF: 400,
            BmcAction.POWER_CYCLE: 401,
            BmcAction.RESET: 402,
            BmcAction.NMI: 403,
        },
        WARN,
        by="action",
    )
    about = ("server", "me")
    says = "{me} forces {server} to stop by its {means} ({action}): {why}."

    server: str
    action: str
    why: str
    means: str = "BMC"


class ForcedStopDone(Notice, frozen=True):
    """A forced stop is proven: its BMC reads off."""

    entry = Entry("rc", 404, INFO)
    about = ("server", "me")
    says = "{server} was stopped by its {means} (power-off), and read back."

    server: str
    means: str = "BMC"


class ForcedStopNotNeeded(Notice, frozen=True):
    """A server that was to be forced off had no power any more."""

    entry = Entry("rc", 404, INFO)
    about = ("server", "me")
    says = "{server} was already off: its {means} said so."

    server: str
    means: str = "BMC"


class ForcedStopFailed(Notice, frozen=True):
    """A BMC did not do it, or could not be reached.  The groups go on waiting for another proof."""

    entry = Entry("rc", 433, WARN)
    about = ("server", "me", "groups")
    says = (
        "The forced stop of {server} failed ({why})[; {groups} {groups:waits|wait} for proof that "
        "{server} is down]."
    )

    server: str
    why: str
    groups: Names


class ForcedStopCalledOff(Notice, frozen=True):
    """The server that was to be forced off answers again."""

    entry = Entry("rc", 434, INFO)
    about = ("server", "me")
    says = "The forced stop of {server} was called off: it is heard again."

    server: str


class ForcedStopStaysOff(Notice, frozen=True):
    """A reset or power cycle switched a server off, and not on again."""

    entry = Entry("rc", 435, WARN)
    about = ("server", "me")
    says = "{server} was stopped and stays off: {why}."

    server: str
    why: str


class ConfirmedDown(Notice, frozen=True):
    """A person vouches that a server is down (`clpnode confirm-down`)."""

    entry = Entry("nm", 931, WARN)
    about = ("server", "me")
    says = (
        "{user} confirmed that {server} is down and stays down until it is back on the network"
        "[, against what was known ({known:end})]."
    )

    server: str
    user: str
    known: str
