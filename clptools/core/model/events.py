"""What happened: all input of the core, in the past tense.

The journal is the list of these with their `now`; feeding it to a core restored from the
segment's snapshot gives the same actions, byte for byte.  Nothing reaches the core in another
way.  Instants named `asked_at` or `sent_at` are `now` values of this same server.
"""

from __future__ import annotations

import msgspec

from clptools.core.model.durable import Durable, LedgerFile
from clptools.core.model.messages import Beat, Control
from clptools.core.model.requests import Request
from clptools.core.model.settings import Settings
from clptools.core.model.words import (
    BmcOrder,
    EventClass,
    Operation,
    PowerState,
    RefusedFor,
    Severity,
)


class EventBase(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all events."""


class AgentStarted(EventBase, tag="agent-started", frozen=True, kw_only=True):
    """First event of an incarnation.  `now` is the time since boot (CLOCK_BOOTTIME)."""

    durable: Durable | None
    """What `/run` held with this boot's id, or None: the agent has no state."""
    member: bool
    """The disk's bit: admitted, and has not left."""
    ledger: LedgerFile = LedgerFile()
    """Open hardware events as the disk has them, instants shifted to this boot."""
    stopped: bool = False
    """`clpcl -t` stopped the cluster service since the last boot."""
    first_of_boot: bool = False
    """The disk notes another boot: nothing of ours can run yet, so nothing is held."""
    macs: tuple[str, ...] = ()
    """MAC addresses of this server, `00:25:90:ab:cd:ef`."""
    noted: bool = True
    """This boot's id is on the disk, fsynced; without it no grant is taken."""
    version: str = ""
    """Of the agent's program, `0.2.0`; empty in journals of 0.1.0."""


class AgentStopping(EventBase, tag="agent-stopping", frozen=True, kw_only=True):
    """SIGTERM: move or stop this server's groups, then leave; suspended: keep them running."""


class SettingsOffered(EventBase, tag="settings-offered", frozen=True, kw_only=True):
    """A checked configuration is prepared here; it takes effect within `OFFER_MS`, or never."""

    settings: Settings


class SettingsChanged(EventBase, tag="settings-changed", frozen=True, kw_only=True):
    """A checked configuration took effect."""

    settings: Settings
    stretch: bool = False
    """The same configuration as before, with its time-outs stretched, or no longer."""


class BeatSeen(EventBase, tag="beat-seen", frozen=True, kw_only=True):
    """An authenticated heartbeat arrived on interconnect `link` (`relay` for a relayed one)."""

    link: str
    beat: Beat


class HeartbeatRefused(EventBase, tag="heartbeat-refused", frozen=True, kw_only=True):
    """Datagrams come from a server's address that are none of this cluster; told once a second.

    They prove nothing, as anybody can send them: people are told, and warned.
    """

    server: str
    """By its address."""
    address: str
    why: RefusedFor


class ControlSeen(EventBase, tag="control-seen", frozen=True, kw_only=True):
    """A control message arrived from `sender` on the authenticated channel."""

    sender: str
    message: Control


class TimerFired(EventBase, tag="timer-fired", frozen=True, kw_only=True):
    """The timer of that name is due."""

    name: str


class PowerRead(EventBase, tag="power-read", frozen=True, kw_only=True):
    """A server's BMC answered, or did not."""

    server: str
    power: PowerState
    """Unknown: with `error`."""
    asked_at: int
    beat: str = ""
    """The BMC heartbeat carried there (initial countdown), as text; empty: none."""
    latency_ms: int = 0
    error: str = ""
    session: str = ""
    """The BMC session that it was read in, a new name after each login, silent ones too; empty:
    the protocol keeps none."""
    session_at: int = 0
    """When that session was opened."""
    echoed: bool = False
    """The server's kernel answered an ICMP echo that went out with the question."""
    where: str = ""
    """Address and port that were asked; empty: an agent of before told none."""
    mend: str = ""
    """With `error` or `lacks`: what a person can do about it; empty: nothing, or it passes by
    itself."""
    lacks: str = ""
    """What our account may not do there, though it may read."""
    by: str = ""
    """The fence agents that answered, or did not; empty: the BMC."""


class FenceDone(EventBase, tag="fence-done", frozen=True, kw_only=True):
    """The one control command of a `Fence` was answered, or never left.

    An accepted power-down is no evidence: reads that follow prove it.
    """

    server: str
    action: BmcOrder
    asked_at: int
    sent: bool = False
    """It left, and the BMC accepted it."""
    left: bool = False
    """It left and was not answered: the BMC may have accepted it."""
    refused: bool = False
    """The BMC would refuse it each time; any other refusal passes."""
    error: str = ""


class ArbiterAnswered(EventBase, tag="arbiter-answered", frozen=True, kw_only=True):
    """An arbiter answered: `held` is a lease counted from `asked_at`."""

    name: str
    held: bool
    asked_at: int
    holder: str = ""
    error: str = ""


class ResourceDone(EventBase, tag="resource-done", frozen=True, kw_only=True):
    """The start, stop or migration of a group resource ended."""

    group: str
    resource: str
    op: Operation
    epoch: int
    number: int = 0
    """Of the `RunResource` that it answers."""
    ok: bool
    timed_out: bool = False
    severity: Severity = Severity.SOFT
    """Of a start that failed."""
    text: str = ""


class ResourceSaid(EventBase, tag="resource-said", frozen=True, kw_only=True):
    """An operation on a group resource has a remark for the operator; it goes on."""

    group: str
    resource: str
    text: str


class ResourceLost(EventBase, tag="resource-lost", frozen=True, kw_only=True):
    """A resource that was started is gone, and could not be put back in place."""

    group: str
    resource: str
    text: str


class ScriptDone(EventBase, tag="script-done", frozen=True, kw_only=True):
    """A recovery or pre-action script ended."""

    token: str
    ok: bool
    timed_out: bool = False
    text: str = ""


class MonitorResult(EventBase, tag="monitor-result", frozen=True, kw_only=True):
    """An active monitor's verdict (after its retries)."""

    monitor: str
    status: str
    """`normal`, `caution` or `error`."""
    text: str = ""


class HardwareSeen(EventBase, tag="hardware-seen", frozen=True, kw_only=True):
    """A trap that passed its source checks, decoded; never with its community."""

    monitor: str
    key: str
    """Identity of the hardware fault (sensor, entity, offset, ...): what a deassertion closes."""
    duplicate_key: str
    """Equal for resends of one trap (GUID, sequence, timestamp); empty: cannot be told."""
    event_class: EventClass
    clears: str = ""
    """For CLEAR: the class it closes; empty: whatever `key` opened."""
    closes: tuple[str, ...] = ()
    """Every key it closes, where that is more than `key` alone ("fully redundant" closes each
    degree of lost redundancy of the sensor); a `*` beside `|` or `~`: any text there.  An INFO may
    close others, too ("power is on" ends "power failed")."""
    row: str = ""
    """The row of the class table that decided: `23h/6F/1`, `severity 20h`, `oid 1.3...`."""
    own_watchdog: bool = False
    """It may be the BMC's timer that this agent armed, told by a trap that is no PET."""
    meaning: str
    source: str
    varbinds: tuple[tuple[str, str], ...] = ()
    """(OID, value as hex or text) of the trap, as kept in the journal."""


class MessageSeen(EventBase, tag="message-seen", frozen=True, kw_only=True):
    """A driver's or a program's message at the door (`message.sock`, built-in sources)."""

    category: str
    keyword: str = ""
    fault: str = ""
    """Which of the device's faults, where several can be open at once; a recovery closes it."""
    text: str = ""
    recovered: bool = False
    predictive: bool = False
    """A warning before the fault (correctable-error rates and the like)."""
    origin: str = ""


class WindowChanged(EventBase, tag="window-changed", frozen=True, kw_only=True):
    """When the next quiet window of a monitor begins and ends, or the present one, by this host's
    wall clock as it stands now; told again whenever that clock says otherwise."""

    monitor: str
    opens_at: int
    closes_at: int
    """Not above `opens_at`: there is none."""
    when: str = ""
    """The same for people, in local time: `Sat 2026-12-05 02:00-06:00`."""


class WatchdogChanged(EventBase, tag="watchdog-changed", frozen=True, kw_only=True):
    """The `userw` watchdog was armed or could not be."""

    armed: bool
    method: str = ""
    text: str = ""


class BootNoted(EventBase, tag="boot-noted", frozen=True, kw_only=True):
    """The disk took the note of this boot that it had not taken when the agent started."""


class CopiesKept(EventBase, tag="copies-kept", frozen=True, kw_only=True):
    """The disk took a ledger with other copies behind than before, or could not."""

    behind: dict[str, str] = {}
    fault: str = ""


class ConditionSeen(EventBase, tag="condition-seen", frozen=True, kw_only=True):
    """Something on this server itself is not well, or is well again (no text)."""

    name: str
    """Which: the same in its beginning and its end."""
    text: str = ""
    mend: str = ""
    monitors: tuple[str, ...] = ()
    """Monitors that do not see all that they are to see."""


class RequestSeen(EventBase, tag="request-seen", frozen=True, kw_only=True):
    """A request on the local socket (already permitted), or from outside (`clprexec`)."""

    id: str
    user: str
    request: Request
    asked_at: int = 0
    """Time since boot (ms) of this host when it was asked for; 0: not said."""


class HostActionDone(EventBase, tag="host-action-done", frozen=True, kw_only=True):
    """A host or BMC action ended (or was refused)."""

    action: str
    ok: bool
    text: str = ""


Event = (
    AgentStarted
    | AgentStopping
    | SettingsOffered
    | SettingsChanged
    | BeatSeen
    | HeartbeatRefused
    | ControlSeen
    | TimerFired
    | PowerRead
    | FenceDone
    | ArbiterAnswered
    | ResourceDone
    | ResourceSaid
    | ResourceLost
    | ScriptDone
    | MonitorResult
    | WindowChanged
    | HardwareSeen
    | MessageSeen
    | WatchdogChanged
    | ConditionSeen
    | BootNoted
    | CopiesKept
    | RequestSeen
    | HostActionDone
)
