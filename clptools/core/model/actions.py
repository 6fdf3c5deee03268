"""What is to be done: all output of the core, carried out in the order of the list.

The agent performs a list strictly in order and starts no later list before an earlier one is
through (long work is only *begun* here; its end comes back as an event).  `Persist` and
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
    """Write the disk's `member` bit; clearing it is fsynced, before "left" is told."""

    member: bool


class KeepLedger(ActionBase, tag="keep-ledger", frozen=True, kw_only=True):
    """Write the ledger of open hardware events to disk; it need not be through at once."""

    ledger: LedgerFile


class SendBeat(ActionBase, tag="send-beat", frozen=True, kw_only=True):
    """Send a heartbeat on every LAN interconnect, after the `Persist` before it in the list.

    `via` empty: to `beat.to` itself; else to that server, who relays it.
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
    """Its heartbeats are missed: one ICMP echo goes out on every LAN interconnect with the
    question, and an "off" is reported once 50 ms have shown that no answer comes."""
    keep: bool = True
    """The session stays open; else it ends with the answer, as a BMC has few."""
    agents: bool = False
    """Fence agents are asked as well where no BMC answers, also those without `poll`."""


class Fence(ActionBase, tag="fence", frozen=True, kw_only=True):
    """Send one control command to a server's BMC, or none; one `FenceDone` answers.

    It leaves within `within_ms` or never: later the core may have heard its victim again.
    `power-on` alone is repeated until it reads on, or `within_ms` are over.
    """

    server: str
    action: BmcOrder
    ordered_at: int
    """`now` of the decision, from which `within_ms` counts: a machine may stand still since."""
    within_ms: int = 500


class CallOffFence(ActionBase, tag="call-off-fence", frozen=True, kw_only=True):
    """End fence agents that carry out an order for that server: they log in for seconds, and it is
    not wanted any more.  Nothing answers but the order itself."""

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

    What still runs of an earlier operation of that resource is ended first: one at a time.  One
    `ResourceDone` answers, at the latest so long after its begin as the time-out is; of an
    operation that was ended for a later one, it need not.
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
    """The lease is over: a stop that does not end in time is followed by the watchdog."""
    off: tuple[str, ...] = ()
    """Servers that were proven powered off when this start was granted: an address that one of
    them still seems to answer for may be taken."""
    macs_off: tuple[str, ...] = ()
    """MAC addresses of theirs, and of nobody else's."""
    number: int = 0
    """Names this operation among all of this incarnation; given back in `ResourceDone`."""


class WatchResource(ActionBase, tag="watch-resource", frozen=True, kw_only=True):
    """Watch over a resource that an agent before this one started (`WATCHED`)."""

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
    """Start (`on`) or stop an active monitor's rounds."""

    monitor: str
    on: bool


class FaultMonitor(ActionBase, tag="fault-monitor", frozen=True, kw_only=True):
    """Dummy failure of an active monitor on or off."""

    monitor: str
    on: bool


class ArmWatchdog(ActionBase, tag="arm-watchdog", frozen=True, kw_only=True):
    """Arm the `userw` watchdog by `method`, in place of another one only once it is armed;
    `WatchdogChanged` answers."""

    timeout_ms: int
    method: str


class PetWatchdog(ActionBase, tag="pet-watchdog", frozen=True, kw_only=True):
    """Feed the watchdog.  Only emitted while the lease runs or nothing is held."""


class DisarmWatchdog(ActionBase, tag="disarm-watchdog", frozen=True, kw_only=True):
    """Disarm it cleanly, after nothing is held any more."""


class HostAction(ActionBase, tag="host-action", frozen=True, kw_only=True):
    """An action on this host or by its BMC: shutdown, reboot, sysrq-panic, bmc-reset, ..."""

    action: str
    reason: str


class ArmDeadman(ActionBase, tag="arm-deadman", frozen=True, kw_only=True):
    """Arm the own BMC's timer so that it acts at `deadline_ms` from now even if this OS hangs."""

    action: BmcAction
    deadline_ms: int


class StandDown(ActionBase, tag="stand-down", frozen=True, kw_only=True):
    """Call off a dead-man timer of the own BMC: what it was armed for is done, or will not be.

    Not every BMC stops the timer when it resets its server.
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
    """Open hardware event it speaks of, or 0."""
    code: str = ""
    """Name of its notice, by which programs know it; people go by `module` and `event_id`."""


class Stretch(ActionBase, tag="stretch", frozen=True, kw_only=True):
    """Make the time-outs of the configuration in force `ratio` times as long; 1: as configured.

    `SettingsChanged` with `stretch` answers.
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
    """The agent may end: everything it had to stop or say is done."""


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
