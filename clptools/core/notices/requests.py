"""Notices of what operators ask for."""

from __future__ import annotations

from clptools.core.notices.form import ERROR, INFO, WARN, Entry, Names, Notice


class ServiceStops(Notice, frozen=True):
    """An operator stops the cluster service of a server (`clpcl -t`)."""

    entry = Entry("pm", 31, INFO)
    about = ("me",)
    says = "{user} stops the cluster service on {me}."

    user: str


class ServiceStopped(Notice, frozen=True):
    """A server has left in order."""

    entry = Entry("nm", 2, INFO)
    about = ("me",)
    says = "The cluster service of {me} has stopped; it released everything and left."


class CannotLeave(Notice, frozen=True):
    """A server stays: leaving while a group may still run here would let it start elsewhere too."""

    entry = Entry("pm", 944, ERROR)
    about = ("me", "groups")
    says = "{me} cannot leave: {groups} could not be stopped."

    groups: Names


class AskedLate(Notice, frozen=True):
    """An agent that had stalled refuses a request whose sender may no longer want it."""

    entry = Entry("nm", 934, WARN)
    about = ("me",)
    says = "Refused: {what}, asked by {user} {waited_ms:s} ago; this agent stood still meanwhile."

    what: str
    user: str
    waited_ms: int


class OutsideAccepted(Notice, frozen=True):
    """A program outside the cluster asked for something (`clprexec`)."""

    entry = Entry("trnsv", 10, INFO)
    about = ("me", "monitors")
    says = "A notification ({what}) came from outside the cluster, sent by {who}."

    what: str
    who: str
    monitors: Names = ()
