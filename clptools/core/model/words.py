"""Words that decide something, one enum for each kind.

On the wire and on disk each member is its word. Where another version may use other words
(heartbeats, reports, the ledger), the value stays text and is only compared with these.
"""

from __future__ import annotations

from enum import StrEnum


class EventClass(StrEnum):
    """What a hardware event means for recovery."""

    FATAL = "FATAL"
    ERROR = "ERROR"
    PREDICT = "PREDICT"
    PERFORMANCE = "PERFORMANCE"
    REDUNDANCY = "REDUNDANCY"
    INFO = "INFO"
    CLEAR = "CLEAR"
    UNKNOWN = "UNKNOWN"


def known_class(word: str) -> EventClass:
    """The class that a ledger names; a class that only a newer version knows is UNKNOWN."""
    return EventClass(word) if word in _CLASSES else EventClass.UNKNOWN


_CLASSES = frozenset(EventClass)


class Level(StrEnum):
    """How grave a line of the alert log is."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class PowerState(StrEnum):
    """What a BMC says of its server; unknown: it did not answer."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class RefusedFor(StrEnum):
    """Why datagrams of a server's address are refused."""

    AUTHKEY = "authkey"
    CLUSTER = "cluster"
    VERSION = "version"
    """They are in a form that only a newer clptools reads."""


class Startup(StrEnum):
    """Whether a group starts with the cluster."""

    AUTO = "auto"
    MANUAL = "manual"


class Failover(StrEnum):
    """Whether a group moves when its server fails, and where to."""

    AUTO = "auto"
    """The next server in its order."""
    DYNAMIC = "dynamic"
    """The healthiest server."""
    MANUAL = "manual"
    """It does not move without an operator."""


class Failback(StrEnum):
    """Whether a group moves back by itself when a better server is available again."""

    AUTO = "auto"
    MANUAL = "manual"


class Timing(StrEnum):
    """When a monitor checks."""

    ALWAYS = "always"
    ACTIVE = "active"
    """While its target is online here."""


class StopKind(StrEnum):
    """With what a group is stopped to stay stopped."""

    CLUSTER = "cluster"
    """All servers stop the service."""
    SERVER = "server"
    """This server leaves."""
    GROUP = "group"
    """An operator stops the group."""


class Exclusive(StrEnum):
    """How strictly two groups are kept apart."""

    NORMAL = "normal"
    """They share a server only if no other server may run them."""
    ABSOLUTE = "absolute"
    """They never share a server."""


class Operation(StrEnum):
    """What is done with a group resource."""

    START = "start"
    STOP = "stop"
    MIGRATE = "migrate"


class Severity(StrEnum):
    """What a failed start says about further attempts."""

    SOFT = "soft"
    """The next attempt may succeed, here or elsewhere."""
    HARD = "hard"
    """No attempt on this server will succeed until somebody mends it."""
    FATAL = "fatal"
    """No attempt on any server will succeed until somebody mends the configuration."""


class Ask(StrEnum):
    """What a heartbeat asks for."""

    NOTHING = ""
    PRE = "pre"
    """Would you vote for me?"""
    VOTE = "vote"


class BmcAction(StrEnum):
    """What a BMC does to its server: in a forced stop, or after a recovery."""

    NONE = "none"
    POWER_OFF = "power-off"
    RESET = "reset"
    POWER_CYCLE = "power-cycle"
    NMI = "nmi"


class BmcOrder(StrEnum):
    """The one command that a `Fence` sends."""

    POWER_OFF = "power-off"
    POWER_ON = "power-on"
    NMI = "nmi"


class RecoveryStep(StrEnum):
    """The step with which a monitor's recovery begins."""

    SCRIPT = "script"
    RESTART = "restart"
    FAILOVER = "failover"
    FINAL = "final"


class RecoveryStage(StrEnum):
    """Which stage of a monitor's recovery is under way."""

    NONE = ""
    PRE_ACTION = "pre-action"
    SCRIPT = "script"
    AFTER = "after"
    """The groups move elsewhere before the BMC does its action."""


class Quiet(StrEnum):
    """State of a monitor's quiet window, by the wall clock of one server."""

    UNKNOWN = ""
    CLOSED = "closed"
    NEAR = "near"
    """It opens within a few minutes."""
    OPEN = "open"


class PlanStage(StrEnum):
    """Stage of a planned move."""

    PLANNED = "planned"
    ANNOUNCED = "announced"
    """Announced. It may begin a few minutes after that."""
    MOVING = "moving"
    OVER = "over"
    """Done, called off or not needed any more; remembered while the event behind it is open."""


class FinalAction(StrEnum):
    """What is done when a recovery is used up, or a resource failed for good."""

    NONE = "none"
    STOP_RESOURCE = "stop-resource"
    STOP_GROUP = "stop-group"
    STOP_CLUSTER = "stop-cluster"
    SHUTDOWN = "shutdown"
    REBOOT = "reboot"
    SYSRQ_PANIC = "sysrq-panic"
    KEEPALIVE_RESET = "keepalive-reset"
    KEEPALIVE_PANIC = "keepalive-panic"
    BMC_RESET = "bmc-reset"
    BMC_POWER_OFF = "bmc-power-off"
    BMC_POWER_CYCLE = "bmc-power-cycle"
    BMC_NMI = "bmc-nmi"


HOST_ACTIONS = tuple(
    action
    for action in FinalAction
    if action
    not in (
        FinalAction.NONE,
        FinalAction.STOP_RESOURCE,
        FinalAction.STOP_GROUP,
        FinalAction.STOP_CLUSTER,
    )
)
"""Final actions that a host or its BMC carries out. The cluster carries out the others itself."""


class AfterStop(StrEnum):
    """What follows once a server has left the cluster."""

    NOTHING = ""
    START = "start"
    """Its service starts again."""
    EXIT = "exit"
    """Its agent ends."""
    SHUTDOWN = FinalAction.SHUTDOWN.value
    REBOOT = FinalAction.REBOOT.value
    BMC_RESET = FinalAction.BMC_RESET.value
    BMC_POWER_OFF = FinalAction.BMC_POWER_OFF.value
    BMC_POWER_CYCLE = FinalAction.BMC_POWER_CYCLE.value
    BMC_NMI = FinalAction.BMC_NMI.value


class Stage(StrEnum):
    """Stage of a request for whose end somebody waits."""

    NEW = ""
    FORWARDED = "forwarded"
    """Another server decides it."""
    WATCHED = "watch"
    """Waits for the effect of the request."""
    LEAVING = "leaving"
    """This server is leaving, as the request asks."""
    HOST = "host"
    """The host action that ends it has begun."""
    LOOKING = "looking"
    """The other servers and the BMC are asked whether the server is down."""
    STOPPING = "stopping"
    """A forced stop that a person asked for is under way."""
    OUTDATING = "outdating"
    """Waits for proof that the peer's copy will not be used."""
    NOTING = "noting"
    """Waits until the disk has written what was asked for."""


class CopyFate(StrEnum):
    """What is proven about a server's copy of mirrored data."""

    UNKNOWN = ""
    OUTDATED = "outdated"
    """The server has recorded that its copy is behind."""
    PRIMARY = "primary"
    """The server runs the group, so its copy is in use."""
    OFF = "off"
    """The server is off."""
