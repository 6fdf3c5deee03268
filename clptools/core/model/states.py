"""The states of groups, resources, monitors, offices, grants, the watchdog, and contacts."""

from __future__ import annotations

from enum import StrEnum


class GroupState(StrEnum):
    """A group on the server that holds it (or held it last)."""

    NONE = "none"
    STARTING = "starting"
    ONLINE = "online"
    STOPPING = "stopping"
    STOP_FAILED = "stop-failed"


class ResourceState(StrEnum):
    """A group resource on its server."""

    OFFLINE = "offline"
    STARTING = "starting"
    ONLINE = "online"
    MIGRATING = "migrating"
    """It moves its state to another server before a failover, and is as active as an online one."""
    STOPPING = "stopping"
    START_FAILED = "start-failed"
    STOP_FAILED = "stop-failed"


class GroupWhy(StrEnum):
    """Why a group was released, by which the coordinator decides what comes next."""

    NONE = ""
    STOPPED = "stopped"
    """An operator or a stop-group final action stopped it, so it stays stopped."""
    MOVE = "move"
    FAILOVER = "failover"
    START_FAILED = "start-failed"
    START_FATAL = "start-fatal"
    """Its start failed, and would fail on every server."""
    LEASE = "lease"
    LEAVING = "leaving"


def group_why(word: str) -> GroupWhy:
    """A peer's reason as an enum; one that only a newer version knows counts as a failover."""
    return GroupWhy(word) if word in _WHYS else GroupWhy.FAILOVER


_WHYS = frozenset(GroupWhy)


class MonitorStatus(StrEnum):
    """A monitor on one server; the words that `clpstat` shows."""

    NORMAL = "Normal"
    CAUTION = "Caution"
    ERROR = "Error"
    STALL = "Stall"
    SUSPEND = "Suspend"
    OFFLINE = "Offline"
    UNKNOWN = "Unknown"


class Office(StrEnum):
    """Our part in the election."""

    NONE = "none"
    PRE = "pre"
    """Asking whether votes would be given."""
    CANDIDATE = "candidate"
    COORDINATOR = "coordinator"


class GrantStage(StrEnum):
    """How far a grant got."""

    GRANTED = "granted"
    TAKEN = "taken"
    """Its server says that it holds the group by it."""
    DONE = "done"
    VOID = "void"


class WatchdogState(StrEnum):
    """The state of this server's watchdog."""

    OFF = "off"
    LEFT = "left"
    """An earlier agent may have armed it. It is not fed, and the others are told."""
    FED = "fed"
    """Armed as configured, or being armed."""
    TOLD = "told"
    """It is not wanted any more, and is fed until all others know that it does not bind us."""


class Contact(StrEnum):
    """Whether an incarnation of another server is believed."""

    UNKNOWN = "unknown"
    STRANGER = "stranger"
    """Beats arrive of an incarnation that has not proven that it runs now."""
    BELIEVED = "believed"
    LEFT = "left"
