"""The words for what a group, a resource, a monitor may be in."""

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
    """Carries its state over before a failover; as active as one that is online."""
    STOPPING = "stopping"
    START_FAILED = "start-failed"
    STOP_FAILED = "stop-failed"


class GroupWhy(StrEnum):
    """How a group came to be released; the coordinator decides by it what comes next."""

    NONE = ""
    STOPPED = "stopped"
    """By an operator, or a stop-group final action: it stays stopped."""
    MOVE = "move"
    FAILOVER = "failover"
    START_FAILED = "start-failed"
    LEASE = "lease"
    LEAVING = "leaving"


def group_why(word: str) -> GroupWhy:
    """What a peer's word means; one that a newer version said means that it failed over."""
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
    UNUSED = "Unused"
    UNKNOWN = "Unknown"


GROUP_TRANSITIONS: dict[tuple[GroupState, GroupState], str] = {
    (GroupState.NONE, GroupState.STARTING): "a grant is taken",
    (GroupState.NONE, GroupState.STOPPING): "an agent without state stops all that may run",
    (GroupState.STARTING, GroupState.ONLINE): "every resource is online",
    (GroupState.STARTING, GroupState.STOPPING): "a start failed, or a stop is wanted",
    (GroupState.STARTING, GroupState.STOP_FAILED): "a resource that was to restart did not stop",
    (GroupState.ONLINE, GroupState.STARTING): "a resource is stopped, started or restarted",
    (GroupState.ONLINE, GroupState.STOPPING): "a stop is wanted",
    (
        GroupState.STOPPING,
        GroupState.NONE,
    ): "everything is off: released; or a purge after a boot failed",
    (
        GroupState.STOPPING,
        GroupState.STARTING,
    ): "everything is off: it was a restart in place; or a grant ends a purge",
    (GroupState.STOPPING, GroupState.STOP_FAILED): "a stop failed: still held",
    (GroupState.STOPPING, GroupState.STOPPING): "an agent that starts finds it half done",
    (GroupState.STOP_FAILED, GroupState.STOPPING): "the stop is tried again",
}
"""Every way a group may change its state on a server, and why; `Groups` makes no other.

ARCHITECTURE.md draws it, and runs of the simulator are held against it.
"""
