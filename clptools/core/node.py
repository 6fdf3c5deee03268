"""The core's one door: `Node.step(event, now) -> actions`.

A `Node` is one server of the cluster as pure data and rules.  It reads no clock, draws no chance
and touches nothing: what happened comes in as events, what is to be done goes out as actions.
The agent and the simulator both drive exactly this.

    event --> gate --> the part whose business it is --> settle --> [Persist] + actions

Settling asks every part, in the order of the rules, what follows from what is known now, until
nothing changes any more.  `Persist` comes first in the list whenever the state of the rules
changed, so nothing is used or told before it is written.

Any exception out of `step` is a bug.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from clptools.core import numbers
from clptools.core.cluster.election import Votes
from clptools.core.cluster.heartbeats import Beats
from clptools.core.cluster.holdings import Holdings
from clptools.core.cluster.membership import Membership
from clptools.core.cluster.power import Power
from clptools.core.cluster.revision import Revision
from clptools.core.groups.intents import Policy
from clptools.core.groups.lifecycle import Groups
from clptools.core.groups.placement import Placement
from clptools.core.groups.selection import Choice
from clptools.core.model.actions import (
    Action,
    ClearTimer,
    Persist,
    Record,
    SendControl,
    SetTimer,
)
from clptools.core.model.change import in_the_way
from clptools.core.model.events import (
    AgentStarted,
    AgentStopping,
    ArbiterAnswered,
    BeatSeen,
    ControlSeen,
    Event,
    FenceDone,
    HardwareSeen,
    HostActionDone,
    MessageSeen,
    MonitorResult,
    PowerRead,
    RequestSeen,
    ResourceDone,
    ResourceSaid,
    ScriptDone,
    SettingsChanged,
    SettingsOffered,
    TimerFired,
    WatchdogChanged,
)
from clptools.core.model.messages import Answer, Echo, Forward, Grant, Order, Report, Shared
from clptools.core.model.quorum import NEVER
from clptools.core.model.settings import Settings
from clptools.core.model.state import NodeState, PeerState, Phase
from clptools.core.model.timing import times, times_of_both
from clptools.core.model.view import StatusView
from clptools.core.monitors.event_ledger import Ledger
from clptools.core.monitors.recovery import Recovery
from clptools.core.report.durable_state import Memory
from clptools.core.report.own_status import OwnReport
from clptools.core.report.status import Status
from clptools.core.requests.groups import GroupRequests
from clptools.core.requests.monitors import MonitorRequests
from clptools.core.requests.router import Operations
from clptools.core.requests.service import Service
from clptools.core.requests.timeout_ratio import Stretching
from clptools.core.requests.vouching import Vouching
from clptools.core.safety.clearance import Proof
from clptools.core.safety.fencing import Fencing
from clptools.core.safety.lease import Lease

BEAT_TIMER = "beat"
"""Every heartbeat interval: beats go out, everything is settled."""
DUE_TIMER = "due"
"""The next instant at which a lease, a promise or a candidacy ends."""

_REPORT_MS = 5_000
_SETTLE_ROUNDS = 8


class _Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    server: str
    now: int
    woke_at: int
    settings: Settings
    state: NodeState


class Node:
    """One server's core."""

    def __init__(self, settings: Settings, server: str, incarnation: str, seed: int) -> None:
        self.me = server
        self.now = 0
        self.woke_at = 0
        """When this server last came back from standing still: what it did not hear until then
        is no silence of the others."""
        self.actions: list[Action] = []
        self.dirty = False
        """The state of the rules changed: it is persisted at the head of this step's list."""
        self.urgent = False
        """Our beats say something new: send them now."""
        self.requests_due = False
        self.state = NodeState(incarnation=incarnation, seed=seed)
        self._configure(settings)
        self.membership = Membership(self)
        self.power = Power(self)
        self.revision = Revision(self)
        self.votes = Votes(self)
        self.lease = Lease(self)
        self.holdings = Holdings(self)
        self.beats = Beats(self)
        self.proof = Proof(self)
        self.fencing = Fencing(self)
        self.groups = Groups(self)
        self.policy = Policy(self)
        self.choice = Choice(self)
        self.placement = Placement(self)
        self.ledger = Ledger(self)
        self.recovery = Recovery(self)
        self.group_requests = GroupRequests(self)
        self.service = Service(self)
        self.stretching = Stretching(self)
        self.monitor_requests = MonitorRequests(self)
        self.vouching = Vouching(self)
        self.operations = Operations(self)
        self.report = OwnReport(self)
        self.status = Status(self)
        self.memory = Memory(self)
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            AgentStarted: self._started,
            AgentStopping: self._stopping,
            SettingsOffered: self.revision.offered,
            SettingsChanged: self._settings_changed,
            BeatSeen: self._beat_seen,
            ControlSeen: self._control_seen,
            TimerFired: self._timer_fired,
            PowerRead: self.power.read,
            FenceDone: self.fencing.done,
            ArbiterAnswered: self.votes.arbiter,
            ResourceDone: self.groups.done,
            ResourceSaid: self.groups.said,
            ScriptDone: self.recovery.script_done,
            MonitorResult: self.recovery.result,
            HardwareSeen: self.ledger.hardware,
            MessageSeen: self.ledger.message,
            WatchdogChanged: self.lease.changed,
            RequestSeen: self.operations.request,
            HostActionDone: self._host_action_done,
        }

    def _configure(self, settings: Settings) -> None:
        self.settings = settings
        self.retime()
        self.state.voters = settings.voters
        known = self.state.peers
        self.state.peers = {
            name: known.get(name) or PeerState() for name in settings.names if name != self.me
        }

    def retime(self) -> None:
        """The lengths of our configuration, or of both while another may still be in force."""
        before, now = self.state.revision_cluster, self.settings.cluster
        self.times = times(now) if before is None else times_of_both(before, now)

    # What lives on from one step to the next is in the state, and so in every snapshot.

    @property
    def changed(self) -> bool:
        """Something that decisions depend on changed: settle."""
        return self.state.changed

    @changed.setter
    def changed(self, changed: bool) -> None:
        self.state.changed = changed

    @property
    def report_due(self) -> bool:
        """Our status changed: the others are told, at most once an interval."""
        return self.state.report_due

    @report_due.setter
    def report_due(self, due: bool) -> None:
        self.state.report_due = due

    # ------------------------------------------------------------------ the door

    def step(self, event: Event, now: int) -> list[Action]:
        """Takes one event at `now` (ms, this server's monotonic clock); returns what to do."""
        if now > self.now:
            if now - self.now > self.times.hear_ms:
                self.woke_at = now
            self.now = now
        self.actions = []
        self.votes.lapse()
        self._handlers[type(event)](event)
        if self.changed or self.requests_due:
            self._settle()
        if self.urgent or self.beats.asked_for:
            self._send_urgent()
        if self.report_due:
            self._report()
        if self.dirty:
            self._persist()
        actions, self.actions = self.actions, []
        return actions

    def view(self, now: int) -> StatusView:
        """What this server knows of the cluster at `now`; changes nothing."""
        was = self.now
        self.now = max(was, now)
        try:
            return self.status.view()
        finally:
            # Replay feeds events alone: looking must not move the time that they are taken at.
            self.now = was

    def refuses(self, settings: Settings) -> str:
        """Why `settings` cannot take effect while things run as they do; empty: they can."""
        return self.revision.refuses(settings) or in_the_way(
            self.settings, settings, self.groups.held()
        )

    def snapshot(self) -> bytes:
        """Everything remembered, as bytes."""
        return msgspec.msgpack.encode(
            _Snapshot(
                server=self.me,
                now=self.now,
                woke_at=self.woke_at,
                settings=self.settings,
                state=self.state,
            )
        )

    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Node:
        """A core exactly as it was when `snapshot` gave `data`; `settings` as they were then.

        Raises msgspec.DecodeError or msgspec.ValidationError if `data` is no snapshot.
        """
        saved = msgspec.msgpack.decode(data, type=_Snapshot)
        node = cls(settings, saved.server, saved.state.incarnation, saved.state.seed)
        node.state = saved.state
        if saved.state.revision_cluster is not None:
            node.retime()
        node.now = saved.now
        node.woke_at = saved.woke_at
        return node

    # ------------------------------------------------------------------ for the parts

    def emit(self, action: Action) -> None:
        """Adds an action to this step's list."""
        self.actions.append(action)

    def record(
        self,
        module: str,
        event_id: int,
        level: str,
        subjects: tuple[str, ...],
        text: str,
        because: tuple[str, ...] = (),
        event: int = 0,
    ) -> None:
        """One line for the alert log, the journal and `--explain`."""
        self.actions.append(
            Record(
                module=module,
                event_id=event_id,
                level=level,
                subjects=subjects,
                text=text,
                because=because,
                event=event,
            )
        )
        if self.state.pending:
            self.operations.progress(text, subjects)

    def draw(self, below: int) -> int:
        """The next number of this core's own sequence, in `range(below)` (splitmix64)."""
        self.state.draws += 1
        z = (self.state.seed + self.state.draws * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return (z ^ (z >> 31)) % max(below, 1)

    # ------------------------------------------------------------------ events

    def _started(self, event: AgentStarted) -> None:
        state = self.state
        state.started_at = self.now
        state.member = event.member
        state.noted = event.noted
        state.macs = event.macs
        self.ledger.restore(event.ledger)
        if event.stopped:
            state.phase = Phase.STOPPED
            return
        durable = event.durable
        state.had_state = durable is not None
        if durable is None:
            state.newcomer = True
            # After a boot nothing of ours runs: the boot is the proof.
            self.groups.purge(held=not event.first_of_boot)
            self.recovery.final.stand_down()
        else:
            self.memory.remember(durable)
        self.lease.begin()
        self.dirty = True
        self.changed = True
        self._tick()

    def _stopping(self, event: AgentStopping) -> None:
        self.service.agent_stopping()
        self.changed = True

    def _settings_changed(self, event: SettingsChanged) -> None:
        self.changed = True
        if event.stretch:
            # Nothing in it that others must know, or that has to be agreed on.
            self._configure(event.settings)
            return
        settings = self.settings
        before = settings.in_force
        old, arbiter, cluster = before.names, before.arbiter, before.cluster
        gone = {n for n in self.state.peers if self.revision.has_gone(n)}
        self._configure(event.settings)
        self.power.readdressed(settings)
        voters = tuple(n for n in old if n not in gone or n in self.settings.names)
        self.revision.begin(voters, arbiter, cluster)
        self.revision.before_turns(before)
        self.lease.arm()
        self.record(
            "cfmgr",
            1,
            "INFO",
            (self.me,),
            f"{self.me} took over configuration revision {self.settings.revision}.",
        )
        self.urgent = True
        self.report_due = True

    def _beat_seen(self, event: BeatSeen) -> None:
        beat = event.beat
        if self.state.phase in (Phase.STOPPED, Phase.DONE):
            if beat.page:
                return
            p = self.state.peers.get(beat.sender)
            # One that has left as well is not answered: it would answer that, and so without end.
            told = beat.left or self.me in beat.out
            if p is not None and beat.to == self.me and not told:
                p.echo = Echo(incarnation=beat.incarnation, sent_at=beat.sent_at)
                p.stranger = None
                self.beats.tell_left([beat.sender])
            return
        self.membership.beat(event)
        if beat.page:
            return
        if self.state.phase is Phase.TELLING:
            p = self.state.peers.get(beat.sender)
            if p is not None and beat.left:
                # It has left as well: there is nobody to be told.
                p.beat = None
            elif p is not None and self.me not in beat.out:
                self.beats.tell_left([beat.sender])
            self.changed = True

    def _control_seen(self, event: ControlSeen) -> None:
        message = event.message
        sender = event.sender
        if isinstance(message, Forward):
            if message.sender == sender:
                self.operations.forwarded(message)
        elif isinstance(message, Answer):
            self.operations.answered(message)
        elif self.state.phase in (Phase.STOPPED, Phase.DONE, Phase.TELLING):
            return
        elif isinstance(message, Grant):
            self.groups.take(message)
        elif isinstance(message, Order):
            self.placement.ordered(message)
        elif isinstance(message, Shared):
            self.policy.heard(sender, message)
        elif isinstance(message, Report):
            p = self.state.peers.get(sender)
            if p is None or message.sender != sender or message.incarnation != p.incarnation:
                return
            if p.report is None or message.number > p.report.number:
                p.report = message
                p.reported_at = self.now
                if message.server.macs not in ((), p.macs):
                    p.macs = message.server.macs
                    self.dirty = True
                self.requests_due = True

    def _timer_fired(self, event: TimerFired) -> None:
        self.state.timers.pop(event.name, None)
        if event.name == BEAT_TIMER:
            self._tick()
        elif event.name == DUE_TIMER:
            self.changed = True

    def _host_action_done(self, event: HostActionDone) -> None:
        self.service.host_action_done(event)
        if not event.ok:
            self.record(
                "rm",
                numbers.FAILED.get(event.action, numbers.FAILED["shutdown"]),
                "ERROR",
                (self.me,),
                f"{event.action} was not done on {self.me}: {event.text.rstrip('.')}.",
            )

    # ------------------------------------------------------------------ time

    def _tick(self) -> None:
        """Every heartbeat interval."""
        phase = self.state.phase
        if phase in (Phase.STOPPED, Phase.DONE):
            return
        self.set_timer(BEAT_TIMER, self.now + self.times.interval_ms)
        self.changed = True
        if phase is Phase.TELLING:
            self.beats.tell_left(
                [n for n, p in self.state.peers.items() if p.beat and self.me not in p.beat.out]
            )
            return
        self.power.ask_due()
        self.votes.ask_arbiter()
        self._settle()
        self.status.watch_copies()
        self.beats.send_to(list(self.state.peers))
        self.urgent = False
        self.beats.asked_for.clear()
        self.lease.pet()
        if self.now - self.state.report_at >= _REPORT_MS:
            self.report_due = True

    def set_timer(self, name: str, at: int) -> None:
        """Wakes us at `at`; a timer that is set for that instant already is left alone."""
        if self.state.timers.get(name) == at:
            return
        self.state.timers[name] = at
        self.emit(SetTimer(name=name, at=at))

    def _next_due(self) -> None:
        """One timer for the earliest end of a lease, promise, candidacy or patience.

        It is moved forward only: an end that moved away is noticed when the timer fires.
        """
        votes = self.state.votes
        candidates = (
            self.votes.authority_until() if votes.office == "coordinator" else NEVER,
            self.state.lease_until if self.groups.holds_any() and self.lease.binds() else NEVER,
            votes.promise_until,
            votes.stand_at,
            self.membership.lost_at,
            votes.asked_at + self.times.give_up_ms if votes.office in ("pre", "candidate") else 0,
        )
        due = min((c for c in candidates if self.now < c < -NEVER), default=NEVER)
        current = self.state.timers.get(DUE_TIMER, NEVER)
        if due == NEVER or (self.now < current <= due):
            return
        if due - self.now < self.times.interval_ms or current <= self.now:
            self.set_timer(DUE_TIMER, due)

    # ------------------------------------------------------------------ settling

    def _settle(self) -> None:
        """What follows from what is known, until nothing changes any more."""
        if self.state.phase in (Phase.STOPPED, Phase.DONE):
            self.changed = False
            self.requests_due = False
            if self.state.timers:
                for name in list(self.state.timers):
                    del self.state.timers[name]
                    self.emit(ClearTimer(name=name))
            return
        for _ in range(_SETTLE_ROUNDS):
            self.changed = False
            self.requests_due = False
            self.membership.settle()
            self.holdings.settle()
            self.power.settle()
            self.revision.settle()
            self.votes.settle()
            self.lease.settle()
            self.stretching.settle()
            self.groups.settle()
            self.placement.settle()
            self.fencing.settle()
            self.recovery.settle()
            self.operations.settle()
            if not self.changed:
                break
        self._next_due()

    def _send_urgent(self) -> None:
        names = list(self.state.peers) if self.urgent else self.beats.asked_for
        if self.state.phase in (Phase.RUNNING, Phase.LEAVING):
            self.beats.send_to(list(names))
        self.urgent = False
        self.beats.asked_for.clear()

    def _report(self) -> None:
        """Our status for everybody's view, at most once an interval."""
        if self.state.phase not in (Phase.RUNNING, Phase.LEAVING):
            self.report_due = False
            return
        if self.now - self.state.report_at < self.times.interval_ms:
            return
        self.report_due = False
        self.state.report_at = self.now
        self.state.report_number += 1
        report = Report(
            sender=self.me,
            incarnation=self.state.incarnation,
            number=self.state.report_number,
            server=self.report.own(),
        )
        for name in self.state.peers:
            if self.membership.hears(name):
                self.emit(SendControl(to=name, message=report))

    def _persist(self) -> None:
        self.dirty = False
        if self.state.phase in (Phase.RUNNING, Phase.LEAVING):
            # SetMember keeps its place: the bit may only be set for a state that is written.
            self.actions.insert(0, Persist(durable=self.memory.durable()))


__all__ = ["BEAT_TIMER", "DUE_TIMER", "Node"]
