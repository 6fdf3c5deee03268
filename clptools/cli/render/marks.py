"""What a record is in the picture of an incident: its shape, and the lane in which it stands."""

from __future__ import annotations

from enum import StrEnum

from clptools.api.messages import EventRecord
from clptools.core.notices import cluster, groups, hardware, monitors, requests, safety
from clptools.core.notices.form import Kinds
from clptools.core.report.facts import facts, kinds


class Kind(StrEnum):
    """What a mark stands for; each has a shape of its own."""

    TRAP = "trap"
    BEAT = "heartbeat"
    DECISION = "decision"
    STOP = "stop"
    PROOF = "proof"
    START = "start"
    FAILURE = "failure"
    PERSON = "person"
    NOTE = "note"


class Place(StrEnum):
    """What a lane is for."""

    SERVER = "server"
    BMC = "BMC of"
    GROUP = "group"


Lane = tuple[Place, str]

GRAVE = Kinds(
    cluster.ServerLost,
    cluster.ServerReadsOff,
    cluster.AuthorityLapsed,
    cluster.StoppedIfSilent,
    groups.GroupWaits,
    monitors.RecoveryFailsOver,
    monitors.RecoveryRestarts,
    safety.ForcedStopBegins,
    safety.ForcedStopFailed,
    safety.LeaseEnded,
)
"""What makes an incident, beside all that is reported as an error."""

_KINDS: tuple[tuple[Kind, Kinds], ...] = (
    (
        Kind.TRAP,
        Kinds(
            hardware.HardwareFatal,
            hardware.HardwareDegraded,
            hardware.HardwarePredicted,
            hardware.HardwareFault,
            hardware.HardwareNoted,
            hardware.HardwareClosed,
            hardware.MessageFatal,
            hardware.MessageUnclaimed,
        ),
    ),
    (
        Kind.BEAT,
        Kinds(
            cluster.ServerLost,
            cluster.HeardAgain,
            cluster.TakesPart,
            cluster.HeartbeatsLate,
            cluster.PathSilent,
            cluster.PathHeard,
        ),
    ),
    (
        Kind.FAILURE,
        Kinds(
            groups.ResourceStartFailed,
            groups.ResourceStopFailed,
            groups.GroupStuck,
            groups.GroupStartsNowhere,
            groups.TwoCopies,
            safety.ForcedStopFailed,
            monitors.HostActionFailed,
            monitors.PreActionFailed,
        ),
    ),
    (
        Kind.PROOF,
        Kinds(
            groups.GroupReleased,
            cluster.ServerReadsOff,
            cluster.ServerLeft,
            safety.ForcedStopDone,
            safety.ForcedStopNotNeeded,
            safety.ConfirmedDown,
        ),
    ),
    (
        Kind.STOP,
        Kinds(
            groups.GroupStops,
            groups.MigrationBegins,
            safety.LeaseEnded,
            requests.ServiceStops,
            requests.ServiceStopped,
            monitors.FinalActionBegins,
            monitors.ResourceFinalAction,
            monitors.AfterRecovery,
        ),
    ),
    (Kind.START, Kinds(groups.GroupStarts, groups.GroupOnline, groups.GroupFound)),
    (
        Kind.PERSON,
        Kinds(
            cluster.ClusterSuspended,
            cluster.ClusterResumed,
            cluster.FileEdited,
            cluster.FileAsInForce,
            cluster.RevisionInForce,
            cluster.TimeoutsStretched,
            hardware.HardwareAcknowledged,
            monitors.MonitorSuspended,
            monitors.MonitorResumed,
            monitors.DummyFailureOn,
            monitors.DummyFailureOff,
        ),
    ),
    (
        Kind.DECISION,
        Kinds(
            monitors.RecoveryHeldBack,
            monitors.RecoveryTargetInactive,
            monitors.RecoveryUsedUp,
            groups.GroupGranted,
            groups.GroupWaits,
            groups.WaitsToStart,
            monitors.GroupStays,
            monitors.MonitorError,
            monitors.MonitorRecovered,
            monitors.RecoveryFailsOver,
            monitors.RecoveryRestarts,
            safety.ForcedStopBegins,
            safety.ForcedStopCalledOff,
            cluster.CoordinatorElected,
            cluster.AuthorityLapsed,
            cluster.ArbiterOffered,
            cluster.HigherTerm,
            cluster.CoordinatorLeaves,
        ),
    ),
)
_OF_BMC = Kinds(
    cluster.ServerReadsOff,
    cluster.BmcLies,
    cluster.BmcTruthful,
    cluster.BmcRefuses,
    cluster.BmcAnswers,
    safety.ForcedStopBegins,
    safety.ForcedStopDone,
    safety.ForcedStopNotNeeded,
    safety.ForcedStopFailed,
    safety.ForcedStopStaysOff,
    monitors.AfterRecovery,
)
_OF_OTHER = Kinds(cluster.ServerLost, cluster.HeardAgain, cluster.ServerLeft, safety.ConfirmedDown)
"""Told by one server of another, in whose lane it belongs."""


def kind_of(record: EventRecord) -> Kind:
    """What a record is in the picture."""
    return next((kind for kind, found in _KINDS if record in found), Kind.NOTE)


def lane_of(record: EventRecord) -> Lane:
    """Where a record stands: at the server, or the BMC, that it is about."""
    said = facts(record)
    if record in _OF_BMC:
        return Place.BMC, said.get("server", record.server)
    if kind_of(record) is Kind.TRAP and said.get("who", "").startswith("BMC"):
        return Place.BMC, record.server
    if record in _OF_OTHER:
        return Place.SERVER, said.get("server", record.server)
    return Place.SERVER, record.server


def is_grave(record: EventRecord) -> bool:
    """Whether it makes an incident."""
    return record in GRAVE or (record.level == "ERROR" and record.code in kinds())
