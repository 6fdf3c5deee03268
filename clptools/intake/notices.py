"""Notices of what comes from outside: traps, Redfish events, messages and their sources."""

from __future__ import annotations

from clptools.core.notices.form import ERROR, INFO, WARN, Entry, Notice

# ---------------------------------------------------------------------- traps


class TrapNotice(Notice, frozen=True):
    """Base of what the trap receiver tells, by the kind of its note (`TRAP_NOTICES`)."""

    what: str


class TrapRefused(TrapNotice, frozen=True):
    """A datagram at the trap receiver was not taken, and why."""

    entry = Entry("pm", 930, INFO)
    about = ("me",)
    says = "{what}"


class TrapReceiverListens(TrapNotice, frozen=True):
    """The trap receiver listens on an address that it could not bind before."""

    entry = Entry("pm", 930, INFO)
    about = ("me",)
    says = "{what}"


class TrapRowLeftOut(TrapNotice, frozen=True):
    """A row of a `[[trap_profile]]` can match nothing, and is left out."""

    entry = Entry("pm", 930, INFO)
    about = ("me",)
    says = "{what}"


class BmcIsPresent(TrapNotice, frozen=True):
    """A BMC sends presence traps, which say that it is there and that traps arrive."""

    entry = Entry("pm", 930, INFO)
    about = ("me",)
    says = "{what}"


class TrapRehearsed(TrapNotice, frozen=True):
    """A rehearsal trap (`clptrap test`) arrived: nothing is recovered."""

    entry = Entry("pm", 930, INFO)
    about = ("me",)
    says = "{what}"


class TrapReceiverDeaf(TrapNotice, frozen=True):
    """The trap receiver cannot listen on one of its addresses: traps may be missed."""

    entry = Entry("pm", 930, WARN)
    about = ("me",)
    says = "{what}"


class SnmpKeysUnusable(TrapNotice, frozen=True):
    """The keys of an SNMPv3 user cannot be used: its traps are refused."""

    entry = Entry("pm", 930, WARN)
    about = ("me",)
    says = "{what}"


class SnmpKeysUsable(TrapNotice, frozen=True):
    """The keys of an SNMPv3 user can be used again."""

    entry = Entry("pm", 930, INFO)
    about = ("me",)
    says = "{what}"


class TrapStorm(TrapNotice, frozen=True):
    """A BMC sends more traps than are taken: repeats are held back until it is over."""

    entry = Entry("pm", 930, WARN)
    about = ("me",)
    says = "{what}"


class TrapUnknown(TrapNotice, frozen=True):
    """The own BMC sent a trap that no row knows: nothing follows from it."""

    entry = Entry("pm", 930, WARN)
    about = ("me",)
    says = "{what}"


class TrapFailed(TrapNotice, frozen=True):
    """A trap could not be taken, by a fault of clptools or of the disk."""

    entry = Entry("pm", 930, ERROR)
    about = ("me",)
    says = "{what}"


TRAP_NOTICES: dict[str, type[TrapNotice]] = {
    "refused": TrapRefused,
    "bound": TrapReceiverListens,
    "profile": TrapRowLeftOut,
    "presence": BmcIsPresent,
    "rehearsal": TrapRehearsed,
    "bind": TrapReceiverDeaf,
    "keys": SnmpKeysUnusable,
    "keyed": SnmpKeysUsable,
    "storm": TrapStorm,
    "unknown": TrapUnknown,
    "fault": TrapFailed,
}
"""Kind of a note of the trap receiver -> its notice."""


# ---------------------------------------------------------------------- Redfish events


class RedfishEventsMissed(Notice, frozen=True):
    """Events of the own BMC may be missed on one of the ways by which they come."""

    entry = Entry("pm", 930, WARN)
    about = ("me",)
    says = "Redfish events of {me} ({where}), {what}"

    where: str
    what: str


class RedfishEventsCome(Notice, frozen=True):
    """Events of the own BMC come again."""

    entry = Entry("pm", 930, INFO)
    about = ("me",)
    says = "Redfish events of {me} ({where}), {way}: it works again"

    where: str
    way: str


class RedfishMessageUnknown(Notice, frozen=True):
    """The own BMC sent a message that no row knows: its severity alone gives it a class."""

    entry = Entry("pm", 930, WARN)
    about = ("me",)
    says = (
        "No row knows the Redfish message {message} ({text}): its severity makes it "
        '{event_class}. A [[[[trap_profile]]]] row "redfish {message}" gives it a class.'
    )

    message: str
    text: str
    event_class: str


class RedfishTestArrived(Notice, frozen=True):
    """A test event (`clptrap test --through-bmc`) arrived."""

    entry = Entry("pm", 930, INFO)
    about = ("me",)
    says = "Test event of the BMC of {me} arrived: {word}"

    word: str


# ---------------------------------------------------------------------- messages


class NoMessageSocket(Notice, frozen=True):
    """Messages of drivers and programs cannot be received."""

    entry = Entry("pm", 931, ERROR)
    about = ("me",)
    says = "{path}: {why}"

    path: str
    why: str


class SourceNoted(Notice, frozen=True):
    """A source of messages sees less than it was configured to."""

    entry = Entry("pm", 932, WARN)
    about = ("me",)
    says = "{what}"

    what: str
