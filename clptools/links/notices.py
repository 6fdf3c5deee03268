"""Notices of interconnects and of the control channel."""

from __future__ import annotations

from clptools.core.notices.form import INFO, WARN, Entry, Notice

CONTROL_CHANNEL = "control channel"


class LinkNotOpen(Notice, frozen=True):
    """The address of an interconnect is not on this server, or its port is taken."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = "{link}: cannot listen on {address} port {port} ({why}); trying again until it can."
    hint = "See on {me}: ip address; ss -lntup"

    link: str
    address: str
    port: int
    why: str


class LinkOpen(Notice, frozen=True):
    """An interconnect that could not be opened is open."""

    entry = Entry("pm", 920, INFO)
    about = ("me",)
    says = "{link}: listening on {address}"

    link: str
    address: str


class LinkGivenUp(Notice, frozen=True):
    """An address on which this server could not listen is not asked for any more."""

    entry = Entry("pm", 920, INFO)
    about = ("me",)
    says = "{link}: no longer tries to listen on {address}"

    link: str
    address: str


class SendFails(Notice, frozen=True):
    """Heartbeats to a server cannot be sent on an interconnect."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = "interconnect {link}: cannot send to {server} at {address} ({why})"

    link: str
    server: str
    address: str
    why: str


class SendsAgain(Notice, frozen=True):
    """Heartbeats to a server can be sent again."""

    entry = Entry("pm", 920, INFO)
    about = ("me",)
    says = "interconnect {link}: sends to {server} again"

    link: str
    server: str


class BmcTakesNoBeats(Notice, frozen=True):
    """Heartbeats by way of the BMCs cannot be written into the own one."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = "interconnect {link}: {why}"

    link: str
    why: str


class BmcTakesBeats(Notice, frozen=True):
    """Heartbeats by way of the BMCs are written again."""

    entry = Entry("pm", 920, INFO)
    about = ("me",)
    says = "interconnect {link}: the own BMC takes beats again"

    link: str


class WitnessTakesNoBeats(Notice, frozen=True):
    """Heartbeats by way of the witness are not exchanged."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = "interconnect {link}: cannot exchange beats: {why}"

    link: str
    why: str


class WitnessTakesBeats(Notice, frozen=True):
    """Heartbeats by way of the witness are exchanged again."""

    entry = Entry("pm", 920, INFO)
    about = ("me",)
    says = "interconnect {link}: exchanges beats again"

    link: str


class PeerConnected(Notice, frozen=True):
    """The first connection of the control channel to a server is there."""

    entry = Entry("pm", 920, INFO)
    about = ("me",)
    says = "control channel: connected to {server} over {link}"

    server: str
    link: str


class PeerLost(Notice, frozen=True):
    """The last connection of the control channel to a server has ended."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = "control channel: lost {server}"

    server: str
