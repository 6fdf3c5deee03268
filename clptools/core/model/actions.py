"""What is to be done: all output of the core.

The agent carries out a list strictly in order, and starts no later list before it has finished the
earlier one. Long work is only *begun* here; its end comes back as an event. `Persist` and
`SetMember` are synchronous: if one fails, nothing after it in the list is done.
"""

from __future__ import annotations

import msgspec

from clptools.core.model.durable import Durable, LedgerFile
from clptools.core.model.messages import Beat, Control
from clptools.core.model.requests import Outcome
from clptools.core.model.words import BmcAction, BmcOrder, Level, Operation


class ActionBase(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all actions."""


class Persist(ActionBase, tag="persist", frozen=True, kw_only=True):
    """Write the state in `/run`, before everything that follows in the list."""

    durable: Durable | None
    """None: delete it (this server leaves)."""


class SetMember(ActionBase, tag="set-member", frozen=True, kw_only=True):
    """Write the disk's `member` bit; clearing it is fsynced before the others are told that this
    server left."""

    member: bool


class KeepLedger(ActionBase, tag="keep-ledger", frozen=True, kw_only=True):
    """Write the ledger of open hardware events to disk; the write need not finish at once."""

    ledger: LedgerFile


class SendBeat(ActionBase, tag="send-beat", frozen=True, kw_only=True):
    """Send a heartbeat on every LAN interconnect, after the `Persist` before it in the list.

    If `via` is empty, it goes to `beat.to` itself; otherwise to `via`, which relays it.
    """

    beat: Beat
    via: str = ""


class SendControl(ActionBase, tag="send-control", frozen=True, kw_only=True):
    """Send a control message, after the `Persist` before it; may be lost."""

    to: str
    message: Control


class SetTimer(ActionBase, tag="set-timer", frozen=True, kw_only=True):
    """Wake the core with `TimerFired(name)` at `at`; replaces the timer of that name."""

    name: str
    at: int


class ClearTimer(ActionBase, tag="clear-timer", frozen=True, kw_only=True):
    """Forget the timer of that name."""

    name: str


class ReadPower(ActionBase, tag="read-power", frozen=True, kw_only=True):
    """Ask a server's BMC for power state and beat: one `PowerRead` answers."""

    server: str
    echo: bool = False
    """The server's heartbeats are missing. One ICMP echo goes out with the question on every LAN
    interconnect, and "off" is reported only if no echo reply comes within 50 ms."""
    keep: bool = True
    """The session stays open. Otherwise it ends with the answer, because a BMC has few sessions."""
    agents: bool = False
    """If no BMC answers, fence agents are asked as well, also those without `poll`."""


class Fence(ActionBase, tag="fence", frozen=True, kw_only=True):
    """Send at most one control command to a server's BMC; one `FenceDone` answers.

    The command leaves within `within_ms` or never, because later the core may have heard the victim
    again. Only `power-on` is repeated, until the BMC reads on or `within_ms` is over.
    """

    server: str
    action: BmcOrder
    ordered_at: int
    """`now` of the decision. `within_ms` counts from it, because the machine may have stood still
    since."""
    within_ms: int = 500


class CallOffFence(ActionBase, tag="call-off-fence", frozen=True, kw_only=True):
    """End the fence agents that carry out an order for that server, because the order is not wanted
    any more. A login alone takes them seconds. Only the order itself is answered."""

    server: str


class HoldArbiter(ActionBase, tag="hold-arbiter", frozen=True, kw_only=True):
    """Take or renew the arbiter's lease (`lease_ms` from send time); `ArbiterAnswered` answers."""

    name: str
    lease_ms: int


class ReleaseArbiter(ActionBase, tag="release-arbiter", frozen=True, kw_only=True):
    """Give the arbiter's lease back."""

    name: str


class RunResource(ActionBase, tag="run-resource", frozen=True, kw_only=True):
    """Begin the start, stop or migration of a group resource, after the `Persist` that names it.

    Any earlier operation of that resource that still runs is ended first: one at a time. One
    `ResourceDone` answers within the time-out. An operation that was ended for a later one need not
    be answered.
    """

    group: str
    resource: str
    op: Operation
    epoch: int
    event: str
    """`CLP_EVENT`: START or FAILOVER."""
    factor: str
    """`CLP_FACTOR` of a stop or migration: GROUPSTOP, GROUPMOVE, GROUPFAILOVER, SERVERSTOP, ..."""
    previous: str = ""
    priority: int = 1
    """This server's place in the group's order, from 1."""
    forced: bool = False
    """The lease is over: if the stop does not end in time, the watchdog resets the machine."""
    off: tuple[str, ...] = ()
    """Servers that were proven powered off when this start was granted: an address may be taken
    even if one of them still seems to answer for it."""
    macs_off: tuple[str, ...] = ()
    """MAC addresses that belong to those servers alone."""
    number: int = 0
    """Identifies this operation within the incarnation; `ResourceDone` returns it."""


class WatchResource(ActionBase, tag="watch-resource", frozen=True, kw_only=True):
    """Watch a resource that an earlier agent started (types in `WATCHED`)."""

    group: str
    resource: str
    epoch: int


class RunScript(ActionBase, tag="run-script", frozen=True, kw_only=True):
    """Begin a recovery, pre-action or requested script; one `ScriptDone` answers."""

    token: str
    script: str
    timeout_ms: int
    environment: dict[str, str] = {}
    """`CLP_*` variables beyond those of every script."""


class RunMonitor(ActionBase, tag="run-monitor", frozen=True, kw_only=True):
    """Start (`on`) or stop the periodic checks of an active monitor."""

    monitor: str
    on: bool


class FaultMonitor(ActionBase, tag="fault-monitor", frozen=True, kw_only=True):
    """Switch the dummy failure of an active monitor on or off."""

    monitor: str
    on: bool


class ArmWatchdog(ActionBase, tag="arm-watchdog", frozen=True, kw_only=True):
    """Arm the `userw` watchdog by `method`. It replaces another one only once it is armed itself.
    `WatchdogChanged` answers."""

    timeout_ms: int
    method: str


class PetWatchdog(ActionBase, tag="pet-watchdog", frozen=True, kw_only=True):
    """Feed the watchdog. Emitted only while the lease runs or nothing is held."""


class DisarmWatchdog(ActionBase, tag="disarm-watchdog", frozen=True, kw_only=True):
    """Disarm the watchdog cleanly, once nothing is held any more."""


class HostAction(ActionBase, tag="host-action", frozen=True, kw_only=True):
    """An action on this host or by its BMC: shutdown, reboot, sysrq-panic, bmc-reset, ..."""

    action: str
    reason: str


class ArmDeadman(ActionBase, tag="arm-deadman", frozen=True, kw_only=True):
    """Arm the own BMC's timer so that it acts at `deadline_ms` from now even if this OS hangs."""

    action: BmcAction
    deadline_ms: int


class StandDown(ActionBase, tag="stand-down", frozen=True, kw_only=True):
    """Call off a dead-man timer of the own BMC: what it was armed for has been done, or will not
    be.

    This is needed because not every BMC stops the timer when it resets its server.
    """


class Record(ActionBase, tag="record", frozen=True, kw_only=True):
    """One line for the alert log, the journal and `--explain`; every state change has one."""

    module: str
    event_id: int
    level: Level
    subjects: tuple[str, ...]
    """Names (server, group, monitor, ...) whose explanation this belongs to."""
    text: str
    """One plain sentence in the past tense."""
    because: tuple[str, ...] = ()
    """Further sentences: the evidence."""
    event: int = 0
    """Number of the open hardware event that it is about, or 0."""
    code: str = ""
    """Name of its notice, for programs; people know it by `module` and `event_id`."""


class Stretch(ActionBase, tag="stretch", frozen=True, kw_only=True):
    """Make the time-outs of the configuration in force `ratio` times as long; 1: as configured.

    A `SettingsChanged` with `stretch` answers.
    """

    ratio: int


class Progress(ActionBase, tag="progress", frozen=True, kw_only=True):
    """A line of progress for the client that waits for the request `id`."""

    id: str
    text: str


class Reply(ActionBase, tag="reply", frozen=True, kw_only=True):
    """The outcome of the request `id` that came in on this server."""

    id: str
    outcome: Outcome


class SetService(ActionBase, tag="set-service", frozen=True, kw_only=True):
    """Remember (in `/run`) whether the cluster service is stopped by `clpcl -t`."""

    stopped: bool


class Reincarnate(ActionBase, tag="reincarnate", frozen=True, kw_only=True):
    """Start the cluster service again: a new core with a new incarnation and no state."""


class Exit(ActionBase, tag="exit", frozen=True, kw_only=True):
    """The agent may end: everything is stopped, and the others have been told."""


Action = (
    Persist
    | SetMember
    | KeepLedger
    | SendBeat
    | SendControl
    | SetTimer
    | ClearTimer
    | ReadPower
    | Fence
    | CallOffFence
    | HoldArbiter
    | ReleaseArbiter
    | RunResource
    | WatchResource
    | RunScript
    | RunMonitor
    | FaultMonitor
    | ArmWatchdog
    | PetWatchdog
    | DisarmWatchdog
    | HostAction
    | ArmDeadman
    | StandDown
    | Stretch
    | Record
    | Progress
    | Reply
    | SetService
    | Reincarnate
    | Exit
)
