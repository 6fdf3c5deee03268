"""Notices about BMCs and the checks of their answers."""

from __future__ import annotations

from clptools.core.notices.form import WARN, Entry, Notice


class BmcIsOurs(Notice, frozen=True):
    """The configuration gives another server the BMC of this one: a forced stop would hit the
    wrong server."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = (
        "the BMC that [[server.bmc]] gives {server} is that of this machine, {me}, and cannot be "
        "trusted with {server}'s power: are they swapped?"
    )

    server: str


class BmcsAreOne(Notice, frozen=True):
    """The configuration leads to one BMC by two addresses: a forced stop may hit the wrong
    server."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = (
        "the BMCs of {first} and {second} have the same GUID, so their [[server.bmc]] cannot both "
        "be right: look whether both lead to one BMC"
    )

    first: str
    second: str


class EchoesForbidden(Notice, frozen=True):
    """Servers cannot be pinged, which is how a frozen agent is told from a server that is off."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = (
        "ICMP echo requests cannot be sent, they are not permitted: a server whose agent stands "
        "still is not told from one that is off when its BMC errs"
    )


class IpmiServiceMissing(Notice, frozen=True):
    """The kernel's IPMI driver is not loaded."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = (
        "the ipmi service does not run on {me} ({device} is not there): its BMC is reached over "
        "the LAN alone."
    )
    hint = "Start it: systemctl enable --now ipmi, or modprobe ipmi_si ipmi_devintf."

    device: str


class IpmiDeviceSilent(Notice, frozen=True):
    """The kernel's IPMI driver does not answer."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = "{device} of {me} does not answer ({why}): its BMC is reached over the LAN alone."
    hint = "It is tried again each minute."

    device: str
    why: str


class NotAcknowledged(Notice, frozen=True):
    """The own BMC wants its traps acknowledged, and takes no acknowledgement."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = "{why}: it sends its traps again; each is acted on once"

    why: str


class FenceAgentUnusable(Notice, frozen=True):
    """A fence agent cannot be used on this server as it is configured: it proves and stops
    nothing from here."""

    entry = Entry("pm", 920, WARN)
    about = ("me", "server")
    says = "{me} cannot use the fence agent {fence} for {server}: {why}."
    hint = "{what}"

    server: str
    fence: str
    why: str
    what: str
