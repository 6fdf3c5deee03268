"""Words that decide something, one enum for each kind of them.

On the wire and on disk each is its word.  Where another version may use other words (heartbeats,
reports, the ledger) the value stays text, and is only compared with these.
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
    """The class that a ledger names; a class of a newer version is UNKNOWN here."""
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
    """In a form that only a newer clptools reads."""


class Startup(StrEnum):
    """Whether a group starts with the cluster."""

    AUTO = "auto"
    MANUAL = "manual"


class Failover(StrEnum):
    """Where a group goes when its server fails."""

    AUTO = "auto"
    """The next server in its order."""
    DYNAMIC = "dynamic"
    """The healthiest server."""
    MANUAL = "manual"
    """Nowhere without an operator."""


class Failback(StrEnum):
    """Whether a group goes back by itself when a better server is there again."""

    AUTO = "auto"
    MANUAL = "manual"


class Timing(StrEnum):
    """When a monitor checks."""

    ALWAYS = "always"
    ACTIVE = "active"
    """While its target is online here."""


class StopKind(StrEnum):
    """What a group is stopped with, to stay so."""

    CLUSTER = "cluster"
    """All servers stop the service."""
    SERVER = "server"
    """This server leaves."""
    GROUP = "group"
    """An operator stops the group."""


class Exclusive(StrEnum):
    """How strictly two groups are kept apart."""

    NORMAL = "normal"
    """They share a server only where no other one may run them."""
    ABSOLUTE = "absolute"
    """They never share a server."""


class Operation(StrEnum):
    """What is done with a group resource."""

    START = "start"
    STOP = "stop"
    MIGRATE = "migrate"


class Severity(StrEnum):
    """What a failed start says of other tries."""

    SOFT = "soft"
    """The next try may succeed, here or elsewhere."""
    HARD = "hard"
    """No try on this server succeeds until somebody mends it."""
    FATAL = "fatal"
    """No try succeeds anywhere until somebody mends the configuration."""


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
    """What of a monitor's recovery is under way."""

    NONE = ""
    PRE_ACTION = "pre-action"
    SCRIPT = "script"
    AFTER = "after"
    """The groups are to run elsewhere before the BMC does what it was going to do."""


class Quiet(StrEnum):
    """A quiet window of a monitor, by the wall clock of one server."""

    UNKNOWN = ""
    CLOSED = "closed"
    NEAR = "near"
    """It opens within a few minutes."""
    OPEN = "open"


class PlanStage(StrEnum):
    """How far a planned move is."""

    PLANNED = "planned"
    ANNOUNCED = "announced"
    """Told shortly before: not before that is a few minutes ago it may begin."""
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
"""Those done to a host, by itself or by its BMC; the cluster does the others itself."""


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
    """How far a request is whose end somebody waits for."""

    NEW = ""
    FORWARDED = "forwarded"
    """Another server decides it."""
    WATCHED = "watch"
    """Its effect is waited for."""
    LEAVING = "leaving"
    """This server leaves for it."""
    HOST = "host"
    """The host action that ends it has begun."""
    LOOKING = "looking"
    """Others and the BMC are asked whether the server is down."""
    STOPPING = "stopping"
    """A forced stop that a person asked for is under way."""
    OUTDATING = "outdating"
    """It is not proven yet that the peer's copy will not be used."""
    NOTING = "noting"
    """The disk is to take what was asked for."""


class CopyFate(StrEnum):
    """What is proven of the copy of mirrored data on a server."""

    UNKNOWN = ""
    OUTDATED = "outdated"
    """The server has noted that its copy is behind."""
    PRIMARY = "primary"
    """The server runs the group: its copy is in use."""
    OFF = "off"
    """The server is off."""
