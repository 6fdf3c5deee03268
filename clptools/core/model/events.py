"""What happened: all input of the core, in the past tense.

The journal is the list of these events with their `now`. Feeding it to a core that was restored
from the segment's snapshot gives the same actions, byte for byte. Nothing reaches the core in
another way. Instants named `asked_at` or `sent_at` are `now` values of this same server.
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
    """The `member` bit on disk: this server was admitted and has not left."""
    ledger: LedgerFile = LedgerFile()
    """Open hardware events as the disk has them, instants shifted to this boot."""
    stopped: bool = False
    """`clpcl -t` stopped the cluster service since the last boot."""
    first_of_boot: bool = False
    """The disk notes another boot, so nothing of ours can be running yet and nothing is held."""
    macs: tuple[str, ...] = ()
    """MAC addresses of this server, `00:25:90:ab:cd:ef`."""
    noted: bool = True
    """This boot's id is on the disk, fsynced; without it no grant is taken."""
    version: str = ""
    """Version of the agent, such as `0.2.0`; empty in journals of 0.1.0."""


class AgentStopping(EventBase, tag="agent-stopping", frozen=True, kw_only=True):
    """SIGTERM came: this server moves or stops its groups, then leaves. While the cluster is
    suspended, they keep running."""


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
    """Datagrams that are not of this cluster come from a server's address; reported once a second.

    They prove nothing, because anybody can send them, but people are warned.
    """

    server: str
    """The server that has this address."""
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
    """Unknown if the read failed; `error` says why."""
    asked_at: int
    beat: str = ""
    """The BMC heartbeat carried there (initial countdown), as text; empty: none."""
    latency_ms: int = 0
    error: str = ""
    session: str = ""
    """The BMC session in which it was read. Its name changes with each login, also with an
    automatic one. Empty: the protocol keeps no sessions."""
    session_at: int = 0
    """When that session was opened."""
    echoed: bool = False
    """The server's kernel answered an ICMP echo that went out with the question."""
    where: str = ""
    """Address and port that were asked; empty: an earlier version of the agent did not say."""
    mend: str = ""
    """With `error` or `lacks`: what a person can do about it; empty: nothing, or it will pass
    without help."""
    lacks: str = ""
    """What our account may not do there, though it may read."""
    by: str = ""
    """The fence agents that were asked; empty: the BMC was."""


class FenceDone(EventBase, tag="fence-done", frozen=True, kw_only=True):
    """The one control command of a `Fence` was answered, or never left.

    An accepted power-off is no proof; only the reads that follow are.
    """

    server: str
    action: BmcOrder
    asked_at: int
    sent: bool = False
    """The command left, and the BMC accepted it."""
    left: bool = False
    """The command left and was not answered, so the BMC may have accepted it."""
    refused: bool = False
    """The BMC would refuse the command each time. Other refusals are temporary."""
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
    """Number of the `RunResource` that it answers."""
    ok: bool
    timed_out: bool = False
    severity: Severity = Severity.SOFT
    """Severity of a failed start."""
    text: str = ""


class ResourceSaid(EventBase, tag="resource-said", frozen=True, kw_only=True):
    """A running operation on a group resource has a remark for the operator."""

    group: str
    resource: str
    text: str


class ResourceLost(EventBase, tag="resource-lost", frozen=True, kw_only=True):
    """A resource that was started is gone and could not be restored."""

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
    """A decoded trap that passed its source checks. Its community is never included."""

    monitor: str
    key: str
    """Identity of the hardware fault (sensor, entity, offset, ...), by which a deassertion closes
    it."""
    duplicate_key: str
    """Equal for resends of one trap (GUID, sequence, timestamp); empty: resends cannot be
    recognised."""
    event_class: EventClass
    clears: str = ""
    """For CLEAR: the class that it closes; empty: whatever was opened by `key`."""
    closes: tuple[str, ...] = ()
    """All keys that it closes, if more than `key` alone ("fully redundant" closes each degree of
    the sensor's lost redundancy). A `*` beside `|` or `~` matches any text there. An INFO may close
    others, too ("power is on" ends "power failed")."""
    row: str = ""
    """The row of the class table that decided: `23h/6F/1`, `severity 20h`, `oid 1.3...`."""
    own_watchdog: bool = False
    """It may report the BMC's timer that this agent armed, by a trap that is no PET."""
    meaning: str
    source: str
    varbinds: tuple[tuple[str, str], ...] = ()
    """(OID, value as hex or text) of the trap, as kept in the journal."""


class MessageSeen(EventBase, tag="message-seen", frozen=True, kw_only=True):
    """A message of a driver or a program (from `message.sock` or a built-in source)."""

    category: str
    keyword: str = ""
    fault: str = ""
    """Which of the device's faults it is, if several can be open at once. A recovery closes that
    one."""
    text: str = ""
    recovered: bool = False
    predictive: bool = False
    """A warning before the fault (correctable-error rates and the like)."""
    origin: str = ""


class WindowChanged(EventBase, tag="window-changed", frozen=True, kw_only=True):
    """The present or next quiet window of a monitor, by this host's wall clock as it stands now.
    Reported again whenever that clock changes it."""

    monitor: str
    opens_at: int
    closes_at: int
    """If not above `opens_at`, there is no window."""
    when: str = ""
    """The same for people, in local time: `Sat 2026-12-05 02:00-06:00`."""


class WatchdogChanged(EventBase, tag="watchdog-changed", frozen=True, kw_only=True):
    """The `userw` watchdog was armed or could not be."""

    armed: bool
    method: str = ""
    text: str = ""


class BootNoted(EventBase, tag="boot-noted", frozen=True, kw_only=True):
    """The note of this boot, which could not be written when the agent started, is on the disk
    now."""


class CopiesKept(EventBase, tag="copies-kept", frozen=True, kw_only=True):
    """A ledger with a changed list of copies that are behind was written to disk, or could not
    be."""

    behind: dict[str, str] = {}
    fault: str = ""


class ConditionSeen(EventBase, tag="condition-seen", frozen=True, kw_only=True):
    """Something on this server itself is not well; without a text it is well again."""

    name: str
    """Identifies the condition: its beginning and its end have the same name."""
    text: str = ""
    mend: str = ""
    monitors: tuple[str, ...] = ()
    """Monitors that miss some of what they should see because of it."""


class RequestSeen(EventBase, tag="request-seen", frozen=True, kw_only=True):
    """A request on the local socket (already permitted), or from outside (`clprexec`)."""

    id: str
    user: str
    request: Request
    asked_at: int = 0
    """When it was asked for, in ms since this host's boot; 0: not said."""


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
