"""Notices of hardware events: what BMCs, drivers and programs report."""

from __future__ import annotations

from clptools.core.notices.form import ERROR, INFO, WARN, Entry, Notice


class HardwareFatal(Notice, frozen=True):
    """A BMC reported a fault that a server does not survive for long."""

    entry = Entry("mm", 914, ERROR)
    about = ("monitor", "me")
    says = "{who} reported a fatal error: {meaning}."

    monitor: str
    who: str
    meaning: str


class HardwareDegraded(Notice, frozen=True):
    """A BMC reported that a device does less than it should."""

    entry = Entry("mm", 915, WARN)
    about = ("monitor", "me")
    says = "{who} reported a performance degradation: {meaning}."

    monitor: str
    who: str
    meaning: str


class HardwarePredicted(Notice, frozen=True):
    """A BMC expects that a device fails."""

    entry = Entry("mm", 916, WARN)
    about = ("monitor", "me")
    says = "{who} reported a predicted failure: {meaning}."

    monitor: str
    who: str
    meaning: str


class HardwareFault(Notice, frozen=True):
    """A BMC, a driver or a program reported a fault that is not fatal."""

    entry = Entry("mm", 903, WARN)
    about = ("monitor", "me")
    says = "{who} reported {what}: {meaning}."

    monitor: str
    who: str
    what: str
    meaning: str


class MessageFatal(Notice, frozen=True):
    """A driver or a program reported a fatal fault."""

    entry = Entry("mm", 903, ERROR)
    about = ("monitor", "me")
    says = "{who} reported a fatal error: {meaning}."

    monitor: str
    who: str
    meaning: str


class HardwareNoted(Notice, frozen=True):
    """A trap that is no fault."""

    entry = Entry("mm", 912, INFO)
    about = ("monitor", "me")
    says = "{source} told {me}: {meaning}."

    monitor: str
    source: str
    meaning: str


class HardwareClosed(Notice, frozen=True):
    """Whoever reported a fault has taken it back."""

    entry = Entry("mm", 918, INFO)
    about = ("monitor", "me")
    says = "{meaning} on {me} is over[: {by}]."

    monitor: str
    meaning: str
    by: str


class HardwareAcknowledged(Notice, frozen=True):
    """An operator closed a hardware event by hand."""

    entry = Entry("mm", 919, INFO)
    about = ("monitor", "me")
    says = "{user} acknowledged {meaning} on {me}."

    monitor: str
    user: str
    meaning: str


class MessageUnclaimed(Notice, frozen=True):
    """A message came that no monitor of this server takes."""

    entry = Entry("mm", 903, WARN)
    about = ("me",)
    says = "An error of {category} type[ and {keyword} device] has been detected. ({words})"

    category: str
    keyword: str
    words: str


class LedgerFull(Notice, frozen=True):
    """So many hardware events are open that lesser ones are left out."""

    entry = Entry("mm", 903, WARN)
    about = ("monitor", "me")
    says = (
        "{kept} hardware events are open on {me}; further ones that start no recovery are left out "
        "until some are closed."
    )

    monitor: str
    kept: int
