"""The core's single entry point: `Node.step(event, now) -> actions`.

A `Node` is one server of the cluster as pure data and rules.  It reads no clock and does no I/O,
and its only randomness is a generator that is seeded from outside: what happened comes in as
events, what is to be done goes out as actions.  The agent and the simulator drive the same code.

    event --> gate --> the part that handles it --> settle --> [Persist] + actions

The parts lie in rooms, and each calls only parts of its own room or of rooms below.  What it finds
out for a part above it, it returns, and the node passes it on.  Settling asks every part, in the
order of the rules, what follows from what is known now, until nothing changes any more.  `Persist`
is the first action whenever the state that must survive differs from what was written, so nothing
is used or told before it is written.

Any exception out of `step` is a bug.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from clptools.core.model import events
from clptools.core.model.actions import Action, ClearTimer
from clptools.core.model.change import Refusal
from clptools.core.model.events import Event
from clptools.core.model.messages import Answer, Forward, Grant, Order, Report, Shared
from clptools.core.model.settings import Settings
from clptools.core.model.state import Life, NodeState, Phase, Snapshot, StepState
from clptools.core.model.timing import NEVER
from clptools.core.model.view import StatusView
from clptools.core.notices.cluster import RevisionInForce, RulesUnsettled
from clptools.core.parts import Parts
from clptools.core.step import DUE_TIMER, Change

BEAT_TIMER = "beat"
"""Every heartbeat interval: heartbeats are sent and everything is settled."""

_REPORT_MS = 5_000
_SETTLE_ROUNDS = 8
_UNSETTLED_MS = 60_000
"""Rules that do not settle are recorded this often."""


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
            events.AgentStarted: self._started,
            events.AgentStopping: self.service.agent_stopping,
            events.SettingsOffered: self.revision.offered,
            events.SettingsChanged: self._settings_changed,
            events.BeatSeen: self._beat_seen,
            events.HeartbeatRefused: self._refused,
            events.ControlSeen: self._control_seen,
            events.TimerFired: self._timer_fired,
            events.PowerRead: self.power.read,
            events.FenceDone: self._fence_done,
            events.ArbiterAnswered: self.arbiter.answered,
            events.ResourceDone: self._resource_done,
            events.ResourceSaid: self.lifecycle.said,
            events.ResourceLost: self.lifecycle.lost,
            events.ScriptDone: self._script_done,
            events.MonitorResult: self.recovery.result,
            events.WindowChanged: self.planned.window_changed,
            events.HardwareSeen: self.ledger.hardware,
            events.MessageSeen: self.ledger.message,
            events.WatchdogChanged: self.lease.changed,
            events.ConditionSeen: self.conditions.seen,
            events.BootNoted: self._boot_noted,
            events.CopiesKept: self.mirror_requests.kept,
            events.RequestSeen: self.router.request,
            events.HostActionDone: self.service.host_action_done,
        }

    def _configure(self, settings: Settings) -> None:
        self.context.settings = settings
        self.revision.retime()
        self.peers.configure(settings.names)
        self.context.look_again()

    # ------------------------------------------------------------------ the door

    def step(self, event: Event, now: int) -> list[Action]:
        """Takes one event at `now` (ms, this server's monotonic clock); returns what to do."""
        step = self.context
        step.advance(now)
        self.election.lapse()
        self._handlers[type(event)](event)
        step.look_again()
        self._pass_on_wishes()
        # A heartbeat that calls for no settling can only have lengthened the lease.
        quiet = type(event) is events.BeatSeen and not step.settling_due
        if step.settling_due:
            self._settle()
        if step.beats_due or self.answers.due:
            self.outbox.send_urgent()
        if step.state.report_due:
            self.outbox.report()
        if not quiet or self.durable.lease_due():
            step.actions[:0] = self.durable.writes()
        return step.take()

    def view(self, now: int) -> StatusView:
        """What this server knows of the cluster at `now`; changes nothing."""
        step = self.context
        was = step.now
        step.now = max(was, now)
        step.look_again()
        try:
            return self.status.view()
        finally:
            # Replay feeds events alone: looking must not move the time that they are taken at.
            step.now = was

    def refuses(self, settings: Settings) -> Refusal | None:
        """Why `settings` cannot take effect now; None: they can."""
        return self.revision.refuses(settings) or self.groups.in_the_way(settings)

    def snapshot(self) -> bytes:
        """Everything remembered, as bytes."""
        step = self.context
        return msgspec.msgpack.encode(
            Snapshot(
                server=step.me,
                now=step.now,
                woke_at=step.woke_at,
                settings=step.settings,
                state=self.state,
            )
        )

    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Node:
        """A core exactly as it was when `snapshot` gave `data`; `settings` as they were then.

        Raises msgspec.DecodeError or msgspec.ValidationError if `data` is no snapshot.
        """
        saved = msgspec.msgpack.decode(data, type=Snapshot)
        life, seed = saved.state.life, saved.state.step.seed
        node = cls(settings, saved.server, life.incarnation, seed, saved.state)
        node.context.now = saved.now
        node.context.woke_at = saved.woke_at
        return node

    # ------------------------------------------------------------------ events

    def _started(self, event: events.AgentStarted) -> None:
        self.durable.started(event)
        if self.life.phase is not Phase.STOPPED:
            self.context.changed(Change.DECISIONS)
            self._tick()

    def _boot_noted(self, _: events.BootNoted) -> None:
        self.life.noted = True
        self.context.changed(Change.DECISIONS, Change.BEATS, Change.REPORT)

    def _settings_changed(self, event: events.SettingsChanged) -> None:
        self.context.changed(Change.DECISIONS)
        if event.stretch:
            # Nothing in it concerns the other servers.
            self._configure(event.settings)
            return
        before, gone = self.settings, self.revision.gone()
        self._configure(event.settings)
        self.power.readdressed(before)
        self.lease.shorten(self.revision.follows(before.in_force, gone))
        self.lease.arm()
        self.lifecycle.mended()
        self.context.notice(RevisionInForce(self.settings.revision))
        self.context.changed(Change.BEATS, Change.REPORT)

    def _beat_seen(self, event: events.BeatSeen) -> None:
        beat, phase = event.beat, self.life.phase
        if phase in (Phase.STOPPED, Phase.DONE):
            self.service.heard_after_leaving(beat)
            return
        heard = self.membership.hear(event, self.authority.in_office)
        if heard is not None and heard.beat is not None:
            if heard.beat.policy < self.policy.shared.version:
                self.policy.tell(beat.sender, heard)
            answered_at = self.election.heard(heard, heard.beat)
            if answered_at is not None:
                self.lease.answered(answered_at)
        if phase is Phase.TELLING and not beat.page:
            self.service.heard_while_telling(beat)

    def _refused(self, event: events.HeartbeatRefused) -> None:
        if self.life.phase in (Phase.RUNNING, Phase.LEAVING):
            self.membership.refused(event)

    def _control_seen(self, event: events.ControlSeen) -> None:
        sender, message = event.sender, event.message
        if isinstance(message, Forward):
            self.router.forwarded(sender, message)
        elif isinstance(message, Answer):
            self.router.answered(message)
        elif self.life.phase in (Phase.STOPPED, Phase.DONE, Phase.TELLING):
            return
        elif isinstance(message, Grant):
            # A server can only pass on its own grants.
            if self.peers.is_incarnation(sender, message.epoch.candidate):
                self.orders.take(message)
        elif isinstance(message, Order):
            self.orders.stop(message)
        elif isinstance(message, Shared):
            self.policy.heard(sender, message)
        elif isinstance(message, Report):
            self.membership.reported(sender, message)

    def _timer_fired(self, event: events.TimerFired) -> None:
        self.context.state.timers.pop(event.name, None)
        if event.name == BEAT_TIMER:
            self._tick()
        elif event.name == DUE_TIMER:
            self.context.changed(Change.DECISIONS)

    def _resource_done(self, event: events.ResourceDone) -> None:
        exhausted = self.lifecycle.done(event)
        if exhausted is not None:
            self.final.of_resource(exhausted.resource, exhausted.group)
            self.lifecycle.go_on(exhausted)

    def _script_done(self, event: events.ScriptDone) -> None:
        if not self.preparation.done(event):
            self.recovery.script_done(event)

    def _fence_done(self, event: events.FenceDone) -> None:
        failed = self.fencing.done(event)
        if failed is not None:
            self.waits.stop_failed(failed)

    def _pass_on_wishes(self) -> None:
        """Passes the requests of recoveries to the coordinator."""
        while self.recovery.wanted:
            self.router.ask_coordinator(self.recovery.wanted.pop(0))

    # ------------------------------------------------------------------ time

    def _tick(self) -> None:
        """Every heartbeat interval."""
        phase = self.life.phase
        if phase in (Phase.STOPPED, Phase.DONE):
            return
        self.context.set_timer(BEAT_TIMER, self.now + self.times.interval_ms)
        self.context.changed(Change.DECISIONS)
        if phase is Phase.TELLING:
            self.service.tell_again()
            return
        self.power.ask_due(self.authority.coordinator())
        self.arbiter.ask()
        self._settle()
        self.copies.settle()
        self.policy.remind()
        self.monitor_requests.remind()
        self.outbox.send_to(self.peers)
        self.lease.pet()
        if self.now - self.context.state.reported_at >= _REPORT_MS:
            self.context.changed(Change.REPORT)

    # ------------------------------------------------------------------ settling

    def _settle(self) -> None:
        """Asks every part what follows from what is known, until nothing changes any more."""
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
            self._report_unsettled()
        deadlines = (*self.election.deadlines(), self.lease.deadline(), self.membership.lost_at)
        step.wake_by(min((at for at in deadlines if step.now < at < -NEVER), default=NEVER))

    def _settle_once(self) -> None:
        """Asks every part once, in the order of the rules."""
        self.membership.settle()
        self.holdings.settle()
        self.power.settle(self.groups.held() if self.lease.binds() else [])
        if self.revision.settle():
            self.lease.arm()
        if self.election.settle():
            self.placement.office_begins()
        self_stop = self.lease.settle()
        if self_stop is not None:
            self.lifecycle.stop_itself(self_stop)
        if self.ratio.settle(self.policy.shared) and self.authority.in_office():
            self.policy.stretch(1, 0, "")
        self.lifecycle.settle()
        self.start_order.settle()
        self.stop_order.settle()
        self.planned.settle()
        self.preparation.settle()
        self.placement.settle()
        for failed in self.fencing.settle(self.placement.stake()):
            self.waits.stop_failed(failed)
        self.recovery.settle()
        self._pass_on_wishes()
        self.router.settle()

    def _report_unsettled(self) -> None:
        """Rules that contradict each other are a bug, and must not go unseen."""
        step = self.context
        if step.now - step.state.unsettled_at >= _UNSETTLED_MS:
            step.state.unsettled_at = step.now
            step.notice(RulesUnsettled(_SETTLE_ROUNDS))
