"""The core's one door: `Node.step(event, now) -> actions`.

A `Node` is one server of the cluster as pure data and rules.  It reads no clock, draws no chance
and touches nothing: what happened comes in as events, what is to be done goes out as actions.
The agent and the simulator both drive exactly this.

    event --> gate --> the part whose business it is --> settle --> [Persist] + actions

The parts lie in rooms, and each asks only those below it.  What one of them finds out for a part
above it, it returns, and the node hands it on.  Settling asks every part, in the order of the
rules, what follows from what is known now, until nothing changes any more.  `Persist` comes first
in the list whenever the state that must survive differs from what was written, so nothing is used
or told before it is written.

Any exception out of `step` is a bug.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from clptools.core.cluster.heartbeats import OwnWord
from clptools.core.model.actions import (
    Action,
    ClearTimer,
    KeepLedger,
    Persist,
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
from clptools.core.model.group_runs import purging
from clptools.core.model.messages import (
    Answer,
    Echo,
    Forward,
    Grant,
    Holding,
    Order,
    Report,
    Shared,
)
from clptools.core.model.open_events import bars
from clptools.core.model.quorum import NEVER
from clptools.core.model.settings import Settings
from clptools.core.model.state import Life, NodeState, Phase, StepState
from clptools.core.model.states import GroupWhy
from clptools.core.model.timing import Times
from clptools.core.model.view import StatusView
from clptools.core.notices import cluster as of_cluster
from clptools.core.notices import monitors as of_monitors
from clptools.core.parts import Parts
from clptools.core.step import Change

BEAT_TIMER = "beat"
"""Every heartbeat interval: beats go out, everything is settled."""
DUE_TIMER = "due"
"""The next instant at which a lease, a promise or a candidacy ends."""

_REPORT_MS = 5_000
_SETTLE_ROUNDS = 8
_UNSETTLED_MS = 60_000
"""How often it is said that settling comes to no end."""


class _Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    server: str
    now: int
    woke_at: int
    settings: Settings
    state: NodeState


class Node(Parts):
    """One server's core."""

    def __init__(
        self,
        settings: Settings,
        server: str,
        incarnation: str,
        seed: int,
        state: NodeState | None = None,
    ) -> None:
        """`state`: what a snapshot remembers; without it a new incarnation begins."""
        new = NodeState(step=StepState(seed=seed), life=Life(incarnation=incarnation))
        super().__init__(settings, server, state or new)
        self._configure(settings)
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            AgentStarted: self._started,
            AgentStopping: self._stopping,
            SettingsOffered: self.revision.offered,
            SettingsChanged: self._settings_changed,
            BeatSeen: self._beat_seen,
            ControlSeen: self._control_seen,
            TimerFired: self._timer_fired,
            PowerRead: self.power.read,
            FenceDone: self._fence_done,
            ArbiterAnswered: self.election.arbiter,
            ResourceDone: self._resource_done,
            ResourceSaid: self.lifecycle.said,
            ScriptDone: self.recovery.script_done,
            MonitorResult: self.recovery.result,
            HardwareSeen: self.ledger.hardware,
            MessageSeen: self.ledger.message,
            WatchdogChanged: self.lease.changed,
            RequestSeen: self.router.request,
            HostActionDone: self._host_action_done,
        }

    def _configure(self, settings: Settings) -> None:
        self.context.settings = settings
        self.revision.retime()
        self.peers.configure(settings.names)

    # What runs around a core reads these.

    @property
    def me(self) -> str:
        """This server's name."""
        return self.context.me

    @property
    def now(self) -> int:
        """When the newest event was taken (ms, this server's monotonic clock)."""
        return self.context.now

    @property
    def settings(self) -> Settings:
        """The configuration that is in force here."""
        return self.context.settings

    @property
    def times(self) -> Times:
        """The lengths that are in force here."""
        return self.context.times

    # ------------------------------------------------------------------ the door

    def step(self, event: Event, now: int) -> list[Action]:
        """Takes one event at `now` (ms, this server's monotonic clock); returns what to do."""
        step = self.context
        if now > step.now:
            if now - step.now > step.times.hear_ms:
                step.woke_at = now
            step.now = now
        self.election.lapse()
        self._handlers[type(event)](event)
        self._hand_on_wishes()
        # A heartbeat that calls for no settling can only have lengthened the lease.
        quiet = type(event) is BeatSeen and not step.settling_due
        if step.settling_due:
            self._settle()
        if step.beats_due or self.answers.due:
            self._send_urgent()
        if step.state.report_due:
            self._report()
        if not quiet or self.durable.lease_due():
            self._persist()
        return step.take()

    def view(self, now: int) -> StatusView:
        """What this server knows of the cluster at `now`; changes nothing."""
        step = self.context
        was = step.now
        step.now = max(was, now)
        try:
            return self.status.view()
        finally:
            # Replay feeds events alone: looking must not move the time that they are taken at.
            step.now = was

    def refuses(self, settings: Settings) -> str:
        """Why `settings` cannot take effect while things run as they do; empty: they can."""
        return self.revision.refuses(settings) or in_the_way(
            self.settings, settings, self.lifecycle.held()
        )

    def snapshot(self) -> bytes:
        """Everything remembered, as bytes."""
        return msgspec.msgpack.encode(
            _Snapshot(
                server=self.me,
                now=self.now,
                woke_at=self.context.woke_at,
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
        life, seed = saved.state.life, saved.state.step.seed
        node = cls(settings, saved.server, life.incarnation, seed, saved.state)
        node.context.now = saved.now
        node.context.woke_at = saved.woke_at
        return node

    # ------------------------------------------------------------------ events

    def _started(self, event: AgentStarted) -> None:
        life = self.life
        life.started_at = self.now
        life.member = event.member
        life.noted = event.noted
        life.macs = event.macs
        self.durable.restore(event.ledger)
        if event.stopped:
            life.phase = Phase.STOPPED
            return
        durable = event.durable
        life.had_state = durable is not None
        if durable is None:
            life.newcomer = True
            # After a boot nothing of ours runs: the boot is the proof.
            self.lifecycle.purge(held=not event.first_of_boot)
            self.final.stand_down()
        else:
            self.durable.remember(durable)
        self.lease.begin()
        self.context.changed(Change.DECISIONS)
        self._tick()

    def _stopping(self, event: AgentStopping) -> None:
        self.service.agent_stopping()
        self.context.changed(Change.DECISIONS)

    def _settings_changed(self, event: SettingsChanged) -> None:
        self.context.changed(Change.DECISIONS)
        if event.stretch:
            # Nothing in it that others must know, or that has to be agreed on.
            self._configure(event.settings)
            return
        settings = self.settings
        before = settings.in_force
        old, arbiter, cluster = before.names, before.arbiter, before.cluster
        gone = {n for n in self.peers if self.revision.has_gone(n)}
        self._configure(event.settings)
        self.power.readdressed(settings)
        voters = tuple(n for n in old if n not in gone or n in self.settings.names)
        self.lease.shorten(self.revision.begin(voters, arbiter, cluster))
        self.revision.before_turns(before)
        self.lease.arm()
        self.context.notice(of_cluster.RevisionInForce(self.settings.revision))
        self.context.changed(Change.BEATS, Change.REPORT)

    def _beat_seen(self, event: BeatSeen) -> None:
        beat = event.beat
        if self.life.phase in (Phase.STOPPED, Phase.DONE):
            if beat.page:
                return
            p = self.peers.get(beat.sender)
            # One that has left as well is not answered: it would answer that, and so without end.
            told = beat.left or self.me in beat.out
            if p is not None and beat.to == self.me and not told:
                p.echo = Echo(incarnation=beat.incarnation, sent_at=beat.sent_at)
                p.stranger = None
                self.heartbeats.tell_left([beat.sender])
            return
        heard = self.membership.hear(event, self.election.in_office())
        if heard is not None and heard.beat is not None:
            if heard.beat.policy < self.policy.shared.version:
                self.policy.tell(beat.sender, heard)
            answered_at = self.election.heard(heard, heard.beat)
            if answered_at is not None:
                self.lease.answered(answered_at)
        if beat.page:
            return
        if self.life.phase is Phase.TELLING:
            p = self.peers.get(beat.sender)
            if p is not None and beat.left:
                # It has left as well: there is nobody to be told.
                p.beat = None
            elif p is not None and self.me not in beat.out:
                self.heartbeats.tell_left([beat.sender])
            self.context.changed(Change.DECISIONS)

    def _control_seen(self, event: ControlSeen) -> None:
        message = event.message
        sender = event.sender
        if isinstance(message, Forward):
            if message.sender == sender:
                self.router.forwarded(message)
        elif isinstance(message, Answer):
            self.router.answered(message)
        elif self.life.phase in (Phase.STOPPED, Phase.DONE, Phase.TELLING):
            return
        elif isinstance(message, Grant):
            p = self.peers.get(sender)
            if p is not None and p.incarnation == message.epoch.candidate:
                self.lifecycle.take(message)  # else another one hands on what is not its own
        elif isinstance(message, Order):
            self.placement.ordered(message)
        elif isinstance(message, Shared):
            self.policy.heard(sender, message)
        elif isinstance(message, Report):
            p = self.peers.get(sender)
            if p is None or message.sender != sender or message.incarnation != p.incarnation:
                return
            if p.report is None or message.number > p.report.number:
                p.report = message
                p.reported_at = self.now
                if message.server.macs not in ((), p.macs):
                    p.macs = message.server.macs
                self.context.changed(Change.REQUESTS)

    def _timer_fired(self, event: TimerFired) -> None:
        self.context.state.timers.pop(event.name, None)
        if event.name == BEAT_TIMER:
            self._tick()
        elif event.name == DUE_TIMER:
            self.context.changed(Change.DECISIONS)

    def _resource_done(self, event: ResourceDone) -> None:
        exhausted = self.lifecycle.done(event)
        if exhausted is not None:
            self.final.of_resource(exhausted.resource, exhausted.group)
            self.lifecycle.go_on(exhausted)

    def _fence_done(self, event: FenceDone) -> None:
        failed = self.fencing.done(event)
        if failed is not None:
            self.placement.stop_failed(failed)

    def _hand_on_wishes(self) -> None:
        """What recoveries ask of the coordinator."""
        while self.recovery.wanted:
            self.router.ask_coordinator(self.recovery.wanted.pop(0))

    def _host_action_done(self, event: HostActionDone) -> None:
        self.service.host_action_done(event)
        if not event.ok:
            self.context.notice(of_monitors.HostActionFailed(event.action, event.text))

    # ------------------------------------------------------------------ time

    def _tick(self) -> None:
        """Every heartbeat interval."""
        phase = self.life.phase
        if phase in (Phase.STOPPED, Phase.DONE):
            return
        self._set_timer(BEAT_TIMER, self.now + self.times.interval_ms)
        self.context.changed(Change.DECISIONS)
        if phase is Phase.TELLING:
            self.heartbeats.tell_left(
                [n for n, p in self.peers.items() if p.beat and self.me not in p.beat.out]
            )
            return
        self.power.ask_due(self.election.coordinator())
        self.election.ask_arbiter()
        self._settle()
        self.copies.settle()
        self._send_to(self.peers)
        self.lease.pet()
        if self.now - self.context.state.reported_at >= _REPORT_MS:
            self.context.changed(Change.REPORT)

    def _set_timer(self, name: str, at: int) -> None:
        """Wakes us at `at`; a timer that is set for that instant already is left alone."""
        timers = self.context.state.timers
        if timers.get(name) == at:
            return
        timers[name] = at
        self.context.do(SetTimer(name=name, at=at))

    def _next_due(self) -> None:
        """One timer for the earliest end of a lease, promise, candidacy or patience.

        It is moved forward only: an end that moved away is noticed when the timer fires.
        """
        votes = self.election.state
        candidates = (
            self.election.authority_until() if votes.office == "coordinator" else NEVER,
            self.lease.state.until if self.lifecycle.held() and self.lease.binds() else NEVER,
            votes.promise_until,
            votes.stand_at,
            self.membership.lost_at,
            votes.asked_at + self.times.give_up_ms if votes.office in ("pre", "candidate") else 0,
        )
        due = min((c for c in candidates if self.now < c < -NEVER), default=NEVER)
        current = self.context.state.timers.get(DUE_TIMER, NEVER)
        if due == NEVER or (self.now < current <= due):
            return
        if due - self.now < self.times.interval_ms or current <= self.now:
            self._set_timer(DUE_TIMER, due)

    # ------------------------------------------------------------------ settling

    def _settle(self) -> None:
        """What follows from what is known, until nothing changes any more."""
        step = self.context
        if self.life.phase in (Phase.STOPPED, Phase.DONE):
            step.settling()
            for name in list(step.state.timers):
                del step.state.timers[name]
                step.do(ClearTimer(name=name))
            return
        for _ in range(_SETTLE_ROUNDS):
            step.settling()
            self._settle_once()
            if not step.state.decisions_due:
                break
        else:
            self._say_unsettled()
        self._next_due()

    def _settle_once(self) -> None:
        """Every part once, in the order of the rules."""
        self.membership.settle()
        self.holdings.settle()
        self.power.settle(self.lifecycle.held() if self.lease.binds() else [])
        if self.revision.settle():
            self.lease.arm()
        if self.election.settle():
            self.placement.office_begins()
        self_stop = self.lease.settle()
        if self_stop is not None:
            for name in self_stop.groups:
                self.lifecycle.stop(name, GroupWhy.LEASE, "GROUPSTOP", forced=True)
            if self_stop.action is not None:
                self.context.do(self_stop.action)
        if self.ratio.settle(self.policy.shared) and self.election.in_office():
            self.policy.stretch(1, 0, "")
        self.lifecycle.settle()
        self.placement.settle()
        for failed in self.fencing.settle(self.placement.stake()):
            self.placement.stop_failed(failed)
        self.recovery.settle()
        self._hand_on_wishes()
        self.router.settle()

    def _say_unsettled(self) -> None:
        """Rules that contradict each other are a bug: it must not go unseen."""
        step = self.context
        if step.now - step.state.unsettled_at >= _UNSETTLED_MS:
            step.state.unsettled_at = step.now
            step.notice(of_cluster.RulesUnsettled(_SETTLE_ROUNDS))

    def own_word(self) -> OwnWord:
        """What our heartbeats say of this server now."""
        runs = self.lifecycle.runs
        return OwnWord(
            holdings=tuple(
                Holding(group=name, seen=run.seen, held=run.held, state=run.state, why=run.why)
                for name, run in runs.items()
                if run.held or run.seen.n
            ),
            unproven=self.placement.unproven() if self.election.in_office() else (),
            purging=purging(runs),
            armed=self.lease.promised(),
            barred=bars(self.ledger.state.events),
        )

    def _send_to(self, names: Iterable[str]) -> None:
        self.heartbeats.send_to(names, self.own_word())
        self.context.beats_sent()
        self.answers.due.clear()

    def _send_urgent(self) -> None:
        names = list(self.peers) if self.context.beats_due else list(self.answers.due)
        if self.life.phase in (Phase.RUNNING, Phase.LEAVING):
            self._send_to(names)
        self.context.beats_sent()
        self.answers.due.clear()

    def _report(self) -> None:
        """Our status for everybody's view, at most once an interval."""
        state = self.context.state
        if self.life.phase not in (Phase.RUNNING, Phase.LEAVING):
            state.report_due = False
            return
        if self.now - state.reported_at < self.times.interval_ms:
            return
        state.report_due = False
        state.reported_at = self.now
        state.reports += 1
        report = Report(
            sender=self.me,
            incarnation=self.life.incarnation,
            number=state.reports,
            server=self.own_status.own(),
        )
        for name in self.peers:
            if self.peers.hears(name):
                self.context.do(SendControl(to=name, message=report))

    def _persist(self) -> None:
        """What must survive goes to the head of the list: it is written before it is used."""
        ledger = self.durable.ledger_due()
        if ledger is not None:
            self.context.actions.insert(0, KeepLedger(ledger=ledger))
        if self.life.phase in (Phase.RUNNING, Phase.LEAVING):
            durable = self.durable.due()
            if durable is not None:
                # SetMember keeps its place: the bit may only be set for a state that is written.
                self.context.actions.insert(0, Persist(durable=durable))


__all__ = ["BEAT_TIMER", "DUE_TIMER", "Node"]
