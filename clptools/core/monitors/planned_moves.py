"""Predicted failures in two steps: the target is prepared at once, the group moves at night.

    PLANNED --shortly before--> ANNOUNCED --in the window--> MOVING --it runs there--> OVER
       ^-- the window is over ----'    ^----- a hindrance ------'

The coordinator makes a plan where a monitor with `prepare_on_stall` expects a failure on the
server that runs its target.  Plans are policy that all servers share, so they outlive agents and
offices.  One event leads to one plan, ever: whatever is over stays known while the event is open.

A plan moves its group only while every server says that the quiet window is open, by its own wall
clock, and only some minutes after that was announced, by the monotonic one: a clock that is wrong
or jumps moves nothing.  The move itself is an ordinary one (`core/groups/placement.py`); until the
group stops it is called off by whatever would have kept it from beginning.
"""

from __future__ import annotations

import msgspec

from clptools.core import phrases as say
from clptools.core import replies
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.holders import Holders
from clptools.core.groups.selection import Selection
from clptools.core.model.events import WindowChanged
from clptools.core.model.messages import Intent, Plan
from clptools.core.model.monitor_state import NOTICE_MS, PlansState, Window
from clptools.core.model.requests import REFUSED, Outcome
from clptools.core.model.settings import Group, Monitor
from clptools.core.model.states import GroupState
from clptools.core.model.words import PlanStage, Quiet
from clptools.core.monitors.foresight import Foresight
from clptools.core.monitors.hindrances import Hindrances
from clptools.core.notices import groups as notices
from clptools.core.step import Change, Step

_KEPT = 64
"""Plans that are over, of all groups."""


class PlannedMoves:
    """Makes plans, carries them out, and ends them; in office."""

    def __init__(
        self,
        step: Step,
        state: PlansState,
        policy: SharedPolicy,
        authority: Authority,
        selection: Selection,
        holders: Holders,
        foresight: Foresight,
        hindrances: Hindrances,
    ) -> None:
        self.step = step
        self.state = state
        self.policy = policy
        self.authority = authority
        self.selection = selection
        self.holders = holders
        self.foresight = foresight
        self.hindrances = hindrances

    def window_changed(self, event: WindowChanged) -> None:
        """The wall clock says when the next window is, on this server."""
        window = Window(event.opens_at, event.closes_at, event.when)
        if event.closes_at > event.opens_at:
            self.state.windows[event.monitor] = window
        else:
            self.state.windows.pop(event.monitor, None)
        self.step.changed(Change.DECISIONS, Change.REPORT)

    def of(self, group: str) -> Plan | None:
        """The plan of a group that is not over."""
        for plan in self.policy.shared.plans:
            if plan.group == group and plan.stage != PlanStage.OVER:
                return plan
        return None

    def window(self, plan: Plan) -> Window:
        """The next window of a plan, by this server's clock; one that never opens: none."""
        return self.state.windows.get(plan.monitor, Window(0, 0, ""))

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Goes on with every plan; before placement, which carries their moves out."""
        if not self.authority.in_office() or self.policy.behind():
            return
        for plan in self.policy.shared.plans:
            if plan.stage == PlanStage.OVER:
                self._forget_closed(plan)
            else:
                self._go_on(plan)
        if not self.policy.shared.suspended and not self.policy.shared.closing:
            for monitor in self.step.settings.monitors:
                if monitor.prepare_on_stall:
                    self._look(monitor)

    # ------------------------------------------------------------------ making plans

    def _look(self, monitor: Monitor) -> None:
        """Plans for the groups of a monitor on each server where it expects a failure."""
        for server in monitor.servers:
            if not self.foresight.stalls(server, monitor):
                continue
            predicted = self.foresight.predicted(server, monitor.name) or {}
            for group in _targets(monitor, self.step.settings.groups):
                running = self.holders.where(group.name) == (server, GroupState.ONLINE)
                if running and len(group.servers) > 1 and self.of(group.name) is None:
                    self._plan(monitor, server, group, predicted)

    def _plan(self, monitor: Monitor, server: str, group: Group, predicted: dict[int, str]) -> None:
        known = {plan.source for plan in self.policy.shared.plans}
        number = next((n for n in predicted if (group.name, server, n) not in known), 0)
        if not number:
            return
        plan = Plan(
            group=group.name,
            server=server,
            monitor=monitor.name,
            event=number,
            meaning=predicted[number],
            to=self._target(group, server),
        )
        self._share((*self.policy.shared.plans, plan))
        hindrance = self.hindrances.first(plan)
        self.step.notice(
            notices.MovePlanned(
                group=plan.group,
                server=server,
                to=plan.to or say.any_other,
                when=self.window(plan).when or say.no_window,
                monitor=plan.monitor,
                meaning=plan.meaning,
            ),
            because=(say.checked(plan.to, hindrance),),
        )

    def _target(self, group: Group, server: str) -> str:
        """The server that would be next, if one would take it."""
        intent = Intent(group=group.name, wanted=True, event="FAILOVER", avoid=(server,))
        target, _ = self.selection.choose(group, intent)
        return target if target != server and self.hindrances.takes(group, target) else ""

    # ------------------------------------------------------------------ going on

    def _go_on(self, plan: Plan) -> None:
        """One plan: over, to another server, or a stage further."""
        step = self.step
        group, monitor = step.settings.group(plan.group), step.settings.monitor(plan.monitor)
        if group is None or monitor is None or not monitor.prepare_on_stall:
            self._over(plan, say.not_asked_for(plan.monitor))
            return
        holder, state = self.holders.where(group.name)
        predicted = self.foresight.predicted(plan.server, plan.monitor)
        if holder not in ("", plan.server):
            if state == GroupState.ONLINE:
                self._arrived(plan, holder)
        elif plan.stage == PlanStage.MOVING and (not holder or state != GroupState.ONLINE):
            pass  # it has begun to stop, or waits to start
        elif plan.stage == PlanStage.MOVING and self._epoch(plan) > plan.epoch:
            self._over(plan, say.came_back(plan.server))
        elif predicted is not None and plan.event not in predicted:
            self._over(plan, say.event_closed(plan.event, plan.meaning))
        elif plan.stage == PlanStage.MOVING:
            self._still_moves(plan)
        else:
            self._wait(self._redirected(plan, group))

    def _epoch(self, plan: Plan) -> int:
        return max((h.seen.n for h in self.holders.of(plan.group)), default=0)

    def _arrived(self, plan: Plan, server: str) -> None:
        if plan.stage != PlanStage.MOVING:
            self._over(plan, say.runs_there(server))
            return
        self.step.notice(notices.PlannedMoveDone(plan.group, server))
        self._end(plan, say.runs_there(server))

    def _redirected(self, plan: Plan, group: Group) -> Plan:
        """The plan, to another server where its own is out or no first choice any more."""
        lost = plan.to not in group.servers or not self.selection.is_free(group, plan.to)
        if not lost and plan.to != self.step.me:
            lost = self.selection.peers.is_out(plan.to)
        target = self._target(group, plan.server) if lost else plan.to
        if not target or target == plan.to:
            return plan
        step = self.step
        step.notice(notices.MoveRedirected(plan.group, target, plan.to))
        return self._put(plan, to=target)

    def _wait(self, plan: Plan) -> None:
        """Announces a plan shortly before its window, and begins its move within."""
        now, group, window = self.step.now, plan.group, self.window(plan)
        closed = self._closed(plan)
        if plan.stage == PlanStage.PLANNED:
            if not closed and now + NOTICE_MS < window.closes_at:
                begins_at = max(window.opens_at, now + NOTICE_MS)
                self.state.announced_at[group] = now
                self.state.hindered.pop(group, None)
                to = plan.to or say.any_other
                self.step.notice(
                    notices.MoveAnnounced(group, plan.server, to, begins_at - now, plan.monitor)
                )
                self._put(plan, stage=PlanStage.ANNOUNCED)
            return
        # A new coordinator waits anew: it cannot know when that was.
        announced_at = self.state.announced_at.setdefault(group, now)
        if closed:
            why = self.state.hindered.pop(group, "") or say.outside_window(plan.monitor, closed)
            self._put_off(plan, why, PlanStage.PLANNED)
        elif now - announced_at >= NOTICE_MS and window.is_open(now):
            hindrance = self._hindrance(plan)
            if hindrance:
                self.state.hindered[group] = hindrance
            else:
                self._begin(plan)

    def _hindrance(self, plan: Plan) -> str:
        """What keeps a plan from moving now; empty: nothing does."""
        hindrance = self.hindrances.first(plan)
        if hindrance:
            return hindrance
        for server in self.step.settings.names:
            if self.foresight.window(server, plan.monitor) is not Quiet.OPEN:
                return say.outside_window(plan.monitor, server)
        return ""

    def _closed(self, plan: Plan) -> str:
        """A server by whose clock no quiet window is open or near; empty: none says so."""
        for server in self.step.settings.names:
            if self.foresight.window(server, plan.monitor) is Quiet.CLOSED:
                return server
        return ""

    def _begin(self, plan: Plan) -> None:
        group = self.step.settings.group(plan.group)
        assert group is not None  # a plan without its group is over
        old = self.policy.intent_of(plan.group)
        self.step.notice(
            notices.PlannedMoveBegins(plan.group, plan.server, plan.to, plan.monitor, plan.meaning)
        )
        self.policy.amend(
            Intent(
                group=plan.group,
                wanted=True,
                preferred=plan.to,
                event="FAILOVER",
                previous=plan.server,
                reason=say.planned_because(plan.monitor),
                handled=old.handled,
                stays=plan.to != group.servers[0],
                planned=plan.event,
            )
        )
        self._put(plan, stage=PlanStage.MOVING, epoch=self._epoch(plan))

    def _still_moves(self, plan: Plan) -> None:
        """It has begun, and the group has not stopped yet: it may still be called off."""
        called_off = self.policy.intent_of(plan.group).planned != plan.event
        hindrance = self._hindrance(plan) or (say.nowhere if called_off else "")
        if hindrance:
            self._stays(plan)
            self._put_off(plan, hindrance, PlanStage.ANNOUNCED)

    def _stays(self, plan: Plan) -> None:
        """Takes the wish to move back, unless another one has replaced it."""
        intent = self.policy.intent_of(plan.group)
        if intent.planned == plan.event:
            calm = Intent(
                group=plan.group,
                wanted=True,
                event="FAILOVER",
                previous=plan.server,
                handled=intent.handled,
                stays=intent.stays,
            )
            self.policy.amend(calm)

    def _put_off(self, plan: Plan, why: str, stage: PlanStage) -> None:
        self.state.announced_at.pop(plan.group, None)
        self.step.notice(notices.MovePutOff(plan.group, plan.server, why))
        self._put(plan, stage=stage)

    # ------------------------------------------------------------------ ending plans

    def cancel(self, group: str, user: str) -> Outcome | None:
        """Calls a planned move off; None: it is to be told to the others."""
        plan = self.of(group)
        if plan is None:
            return Outcome(text=replies.no_planned_move(group))
        if plan.stage == PlanStage.MOVING:
            text = replies.moves_already(group, plan.to)
            return Outcome(code=REFUSED, text=text, hint=f"Move it back: clpgrp -m {group}")
        self.step.notice(notices.MoveCancelled(group, plan.server, user))
        self._end(plan, say.cancelled_by(user))
        return None

    def _over(self, plan: Plan, why: str) -> None:
        """A plan ends without a move."""
        self.step.notice(notices.PlanEnds(plan.group, plan.server, why))
        self._stays(plan)
        self._end(plan, why)

    def _end(self, plan: Plan, why: str) -> None:
        self.state.announced_at.pop(plan.group, None)
        self.state.hindered.pop(plan.group, None)
        self._put(plan, stage=PlanStage.OVER, ended=why)

    def _forget_closed(self, plan: Plan) -> None:
        """Forgets a plan that is over once its event is closed: numbers are not used again."""
        predicted = self.foresight.predicted(plan.server, plan.monitor)
        known = self.step.settings.monitor(plan.monitor) is not None
        if not known or (predicted is not None and plan.event not in predicted):
            self._share(tuple(p for p in self.policy.shared.plans if p.source != plan.source))

    # ------------------------------------------------------------------ shared

    def _put(self, plan: Plan, **changes: str | int) -> Plan:
        changed = msgspec.structs.replace(plan, **changes)
        plans = self.policy.shared.plans
        self._share(tuple(changed if p.source == plan.source else p for p in plans))
        return changed

    def _share(self, plans: tuple[Plan, ...]) -> None:
        over = [p.source for p in plans if p.stage == PlanStage.OVER][:-_KEPT]
        kept = tuple(p for p in plans if p.source not in over)
        self.policy.share(msgspec.structs.replace(self.policy.shared, plans=kept))


def _targets(monitor: Monitor, groups: tuple[Group, ...]) -> list[Group]:
    """The groups that a monitor's recovery is about."""
    target = monitor.recovery.target
    return [g for g in groups if target in ("All Groups", g.name) or g.resource(target)]
