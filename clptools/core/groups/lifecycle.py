"""The groups on this server: take a grant, start in order, stop in reverse, report the end.

    NONE --grant--> STARTING --all online--> ONLINE --stop--> STOPPING --all off--> NONE (released)
                        |  start failed                          | a stop failed
                        '-----------> STOPPING                   '--> STOP_FAILED (still held)

A group is *held* from the grant until everything of it is stopped; a failed stop keeps it held,
because it may still run.
"""

from __future__ import annotations

import msgspec

from clptools.core import phrases as say
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.migration import Migration
from clptools.core.groups.partial import PartialStop
from clptools.core.groups.purge import Purges
from clptools.core.groups.runs import BUSY, GroupRuns
from clptools.core.groups.selection import Selection
from clptools.core.groups.stop_order import StopOrder
from clptools.core.model.actions import WatchResource
from clptools.core.model.events import ResourceDone, ResourceLost, ResourceSaid
from clptools.core.model.group_state import GroupRun, OrderState, holds_any
from clptools.core.model.messages import Epoch
from clptools.core.model.options import WATCHED
from clptools.core.model.settings import Group, Resource, dependents
from clptools.core.model.state import Phase
from clptools.core.model.states import GroupState, GroupWhy, ResourceState
from clptools.core.model.timing import NEVER
from clptools.core.model.transitions import GroupChange
from clptools.core.model.words import AfterStop, Operation, Severity, StopKind
from clptools.core.notices import groups as notices
from clptools.core.safety.lease import Lease, SelfStop
from clptools.core.step import Change, Step


class Exhausted(msgspec.Struct, frozen=True):
    """A resource that could be started nowhere, or could not be stopped."""

    group: str
    resource: Resource
    op: Operation


class Lifecycle:
    """Starts and stops the groups of this server."""

    def __init__(
        self,
        step: Step,
        order: OrderState,
        groups: GroupRuns,
        policy: SharedPolicy,
        lease: Lease,
        selection: Selection,
        stop_order: StopOrder,
    ) -> None:
        self.step = step
        self.order = order
        self.groups = groups
        self.policy = policy
        self.lease = lease
        self.selection = selection
        self.stop_order = stop_order
        self.migration = Migration(step, groups)
        self.purges = Purges(step, groups)
        self.partial_stop = PartialStop(groups)

    # ------------------------------------------------------------------ beginning

    def begin(
        self, name: str, epoch: Epoch, event: str, previous: str, off: tuple[str, ...]
    ) -> None:
        """Holds a group under `epoch` and starts its resources, also in the middle of a purge.

        `off`: servers that are proven powered off.
        """
        step = self.step
        run = self.groups.run(name)
        run.held = True
        run.seen = epoch
        run.event = event
        run.previous = previous
        run.why = GroupWhy.NONE
        run.next_why = GroupWhy.NONE
        run.purge = False
        run.purge_at = NEVER
        run.purges = 0
        run.off = off
        run.busy = {}
        run.retries = {}
        run.wanted_off = []
        run.texts = {}
        run.failed = ""
        run.failed_why = ""
        run.severity = Severity.SOFT
        group = step.settings.group(name)
        resources = group.resources if group is not None else ()
        run.resources = {r.name: ResourceState.OFFLINE for r in resources}
        self.groups.enter(run, GroupChange.GRANTED)
        step.notice(notices.GroupStarts(name, epoch.n))
        self._advance_start(name, run)

    def purge(self, *, held: bool) -> None:
        """Without state: stops everything that may run of any group.

        `held`: whether it counts as running until it is stopped, as within one boot it must.
        """
        for name in self.purges.plan(held=held):
            self._purge_group(name)

    def _purge_group(self, name: str) -> None:
        run = self.groups.run(name)
        self.purges.begin(run)
        self._advance_stop(name, run)

    def settle(self) -> None:
        """Tries failed purges again; goes on with the stops of a server that leaves."""
        if self.step.life.phase is Phase.LEAVING:
            self._stop_leaving()
            return
        self.order.leaving = []
        if self.step.life.phase is Phase.RUNNING and not self.policy.shared.suspended:
            for name in self.purges.due():
                self._purge_group(name)

    def resume(self) -> None:
        """After a restart of the agent: keeps what was online, and stops half-done work."""
        for name, run in list(self.groups.runs.items()):
            if run.purge and not run.held:
                self._purge_group(name)
            if not run.held:
                continue
            if run.state is GroupState.ONLINE:
                self.step.notice(notices.GroupFound(name))
                self._watch(name, run)
                continue
            busy = (*BUSY.values(), ResourceState.STOP_FAILED)
            for resource, state in run.resources.items():
                if state in busy:
                    run.resources[resource] = ResourceState.START_FAILED
            run.next_why = GroupWhy.LEASE if run.state is GroupState.STARTING else run.why
            run.next_why = run.next_why or GroupWhy.LEASE
            run.factor = "GROUPSTOP"
            self.groups.enter(run, GroupChange.HALF_DONE)
            self._advance_stop(name, run)

    def _watch(self, name: str, run: GroupRun) -> None:
        """Has what is online watched over, which the start of an earlier agent began."""
        for resource, state in run.resources.items():
            configured = self.groups.resource(name, resource)
            if state is ResourceState.ONLINE and configured and configured.type in WATCHED:
                self.step.do(WatchResource(group=name, resource=resource, epoch=run.seen.n))

    # ------------------------------------------------------------------ ending

    def stop(
        self,
        name: str,
        why: GroupWhy,
        factor: str,
        *,
        forced: bool = False,
        restart: bool = False,
        migrate: bool = False,
        reason: str = "",
    ) -> None:
        """Stops a held group; `why` is what its release will report.

        `migrate`: resources that can migrate do so first.  Without it none does, and a migration
        that is under way ends.
        """
        step = self.step
        run = self.groups.run(name)
        if not run.held:
            return
        run.next_why = why
        run.restart = restart
        run.forced = run.forced or forced
        if run.state is GroupState.STOPPING:
            if self.migration.give_up(name, run):
                run.factor = factor
                self._advance_stop(name, run)
            return
        run.factor = factor
        run.wanted_off = []
        run.stopping_only = []
        again = run.state is GroupState.STOP_FAILED
        for resource, state in run.resources.items():
            if again and state is ResourceState.STOP_FAILED:
                run.resources[resource] = ResourceState.START_FAILED
        self.groups.enter(run, GroupChange.STOP)
        step.notice(notices.GroupStops(name, reason))
        if migrate:
            self.migration.plan(name, run)
        self._advance_stop(name, run)

    def stop_itself(self, self_stop: SelfStop) -> None:
        """Stops groups whose lease is over, by force, and ends the server where that is set."""
        for name in self_stop.groups:
            self.stop(name, GroupWhy.LEASE, "GROUPSTOP", forced=True)
        if self_stop.action is not None:
            self.step.do(self_stop.action)

    def leave(self, then: AfterStop, *, no_move: bool) -> None:
        """Begins to leave the cluster: takes no group any more, and stops those that are held.

        `then`: what follows once this server has left; `no_move`: its groups stay stopped.
        """
        step = self.step
        if step.life.phase is not Phase.RUNNING:
            return
        step.life.phase = Phase.LEAVING
        step.life.then = then
        step.life.no_move = no_move
        step.life.left_at = step.now
        self.order.leaving = self.groups.held()
        self._stop_leaving()
        step.changed(Change.BEATS, Change.DECISIONS)

    def _stop_leaving(self) -> None:
        """Stops what is held, each group after those that stop before it."""
        no_move = self.step.life.no_move
        kind = StopKind.CLUSTER if no_move else StopKind.SERVER
        for name in list(self.order.leaving):
            group = self.step.settings.group(name)
            if self.groups.run(name).held and self.stop_order.waits(group, kind, tells=True):
                continue
            self.order.leaving.remove(name)
            self.stop_order.over(name)
            self.stop(name, GroupWhy.LEAVING, "CLUSTERSTOP" if no_move else "SERVERSTOP")

    def restart(self, target: str) -> None:
        """Restarts a group, or a resource with those that depend on it, in place."""
        for name in self.groups.online(target):
            run = self.groups.run(name)
            group = self.step.settings.group(name)
            if group is None:
                continue
            if group.resource(target) is None:
                self.stop(name, GroupWhy.FAILOVER, "GROUPRESTART", restart=True)
                continue
            self._stop_part(name, run, [target, *dependents(group, target)])

    def _stop_part(self, name: str, run: GroupRun, resources: list[str]) -> None:
        """Stops just these; what is wanted on starts again afterwards."""
        self.partial_stop.begin(run, resources)
        self.step.notice(notices.ResourcesStop(name, tuple(run.stopping_only)))
        self._advance_partial(name, run)

    def stop_resources(self, name: str, resources: list[str]) -> None:
        """Stops these of an online group and keeps them off; the rest runs on."""
        run = self.groups.run(name)
        run.wanted_off = sorted({*run.wanted_off, *resources})
        self._stop_part(name, run, resources)

    def start_resources(self, name: str, resources: list[str]) -> None:
        """Starts these of an online group, also those whose start failed before.

        One that is online is started again: its start must find what is there (`WATCHED`).
        """
        run = self.groups.run(name)
        run.wanted_off = [r for r in run.wanted_off if r not in resources]
        for resource in resources:
            if run.resources.get(resource) in (ResourceState.START_FAILED, ResourceState.ONLINE):
                run.resources[resource] = ResourceState.OFFLINE
            run.retries.pop(resource, None)
        self.groups.enter(run, GroupChange.PARTIAL)
        self.step.notice(notices.ResourcesStart(name, tuple(resources)))
        self._advance_start(name, run)

    # ------------------------------------------------------------------ results

    def done(self, event: ResourceDone) -> Exhausted | None:
        """An operation on a resource ended; only the newest one counts.

        Returns a resource that has failed for good here: its final action comes first, then
        `go_on`.
        """
        run = self.groups.runs.get(event.group)
        if run is None or run.busy.get(event.resource) != event.number:
            return None
        self.step.changed(Change.REPORT)
        if event.text:
            run.texts[event.resource] = event.text
        if event.op == Operation.START:
            return self._start_done(event, run)
        if event.op == Operation.STOP:
            return self._stop_done(event, run)
        self.migration.done(event, run)
        self._advance_stop(event.group, run)
        return None

    def go_on(self, exhausted: Exhausted) -> None:
        """Goes on with a group once the final action of its resource has begun."""
        if exhausted.op == Operation.START:
            self._give_up(exhausted.group)
        else:
            self._stopped(exhausted.group, self.groups.run(exhausted.group))

    def mended(self) -> None:
        """What kept groups from starting here may be mended: a new configuration is in force."""
        for run in self.groups.runs.values():
            run.severity = Severity.SOFT

    def said(self, event: ResourceSaid) -> None:
        """A running operation has a remark."""
        self.step.notice(notices.ResourceSaid(event.group, event.resource, event.text))

    def lost(self, event: ResourceLost) -> None:
        """A resource is gone: it is stopped with what depends on it, and both start again.

        While the cluster is suspended nothing is mended; it is reported again and again until then.
        """
        name, resource = event.group, event.resource
        run = self.groups.runs.get(name)
        if run is None or not run.held or run.state is not GroupState.ONLINE:
            return
        group = self.step.settings.group(name)
        if group is None or run.resources.get(resource) is not ResourceState.ONLINE:
            return
        waits = self.policy.shared.suspended
        if not waits or run.texts.get(resource) != event.text:
            but = say.once_resumed if waits else ""
            self.step.notice(notices.ResourceLost(name, resource, event.text, but))
        run.texts[resource] = event.text
        self.step.changed(Change.REPORT)
        if not waits:
            self._stop_part(name, run, [resource, *dependents(group, resource)])

    def _start_done(self, event: ResourceDone, run: GroupRun) -> Exhausted | None:
        step = self.step
        name = event.group
        if run.state is GroupState.STOPPING:
            # It is stopped once nothing that depends on it runs.
            ended = ResourceState.ONLINE if event.ok else ResourceState.START_FAILED
            self.groups.put(run, event.resource, ended)
            self._advance_stop(name, run)
            return None
        if event.ok:
            self.groups.put(run, event.resource, ResourceState.ONLINE)
            if run.stopping_only:
                self._advance_partial(name, run)
            else:
                self._advance_start(name, run)
            return None
        configured = self.groups.resource(name, event.resource)
        tried = run.retries.get(event.resource, 0)
        self.groups.put(run, event.resource, ResourceState.START_FAILED)
        why = say.failure(event.text, event.timed_out)
        step.notice(notices.ResourceStartFailed(name, event.resource, why))
        hopeless = event.severity is not Severity.SOFT
        if configured is not None and tried < configured.start_retries and not hopeless:
            run.retries[event.resource] = tried + 1
            self.groups.put(run, event.resource, ResourceState.OFFLINE)
            self._advance_start(name, run)
            return None
        run.failed = event.resource
        run.failed_why = why
        run.failed_at = step.now
        run.severity = event.severity
        # In the first round only: a failure that comes back would end the machine again and again.
        intent = self.policy.intent_of(name)
        group = step.settings.group(name)
        elsewhere = (
            group is not None
            and event.severity is not Severity.FATAL
            and self.selection.tried_elsewhere(group, intent)
        )
        if configured is not None and not intent.rounds and not elsewhere:
            return Exhausted(name, configured, Operation.START)
        self._give_up(name)
        return None

    def _give_up(self, name: str) -> None:
        """Stops a group whose start failed here."""
        fatal = self.groups.run(name).severity is Severity.FATAL
        why = GroupWhy.START_FATAL if fatal else GroupWhy.START_FAILED
        self.stop(name, why, "GROUPSTOP")

    def _stop_done(self, event: ResourceDone, run: GroupRun) -> Exhausted | None:
        step = self.step
        name = event.group
        ended = ResourceState.OFFLINE if event.ok else ResourceState.STOP_FAILED
        self.groups.put(run, event.resource, ended)
        if run.held and not event.ok:
            why = say.failure(event.text, event.timed_out)
            step.notice(notices.ResourceStopFailed(name, event.resource, why))
            configured = self.groups.resource(name, event.resource)
            if configured is not None:
                return Exhausted(name, configured, Operation.STOP)
        self._stopped(name, run)
        return None

    def _stopped(self, name: str, run: GroupRun) -> None:
        """A stop ended, well or not: goes on with what it was part of."""
        if run.state is GroupState.STARTING:
            self._advance_partial(name, run)
        else:
            self._advance_stop(name, run)

    # ------------------------------------------------------------------ order

    def _advance_start(self, name: str, run: GroupRun) -> None:
        """Starts each resource whose dependencies are online; Online when none is left to start."""
        group = self.step.settings.group(name)
        if group is None or run.state is not GroupState.STARTING:
            return
        if not self.groups.start_ready(group, run):
            self._came_online(name, run, group)

    def _came_online(self, name: str, run: GroupRun, group: Group) -> None:
        step = self.step
        took = step.now - run.since
        run.off = ()  # those servers may be on again when it is restarted later
        self.groups.enter(run, GroupChange.ALL_ONLINE)
        order = ", ".join(r.name for r in group.resources if r.name not in run.wanted_off)
        step.notice(notices.GroupOnline(name, order or say.nothing, took))

    def _advance_partial(self, name: str, run: GroupRun) -> None:
        if self.partial_stop.advance(name, run):
            self._advance_start(name, run)

    def _advance_stop(self, name: str, run: GroupRun) -> None:
        """Stops each resource that nothing running depends on; released when all are off."""
        group = self.step.settings.group(name)
        known = {r.name for r in group.resources} if group is not None else set()
        for gone in [r for r in run.resources if r not in known]:
            del run.resources[gone]
            run.busy.pop(gone, None)
        if self.migration.advance(group, run):
            return
        if group is not None:
            self.groups.stop_ready(group, run)
        states = run.resources.values()
        if all(s is ResourceState.OFFLINE for s in states):
            self._released(name, run)
        elif any(s is ResourceState.STOPPING for s in states):
            return
        elif not run.held:
            self.purges.failed(name, run)
        else:
            if run.purge:
                self.purges.retry_later(run)
            self.groups.enter(run, GroupChange.STOP_FAILED)
            self.step.notice(notices.GroupStuck(name, self.step.me))

    def _released(self, name: str, run: GroupRun) -> None:
        step = self.step
        took = step.now - run.since
        purge, run.purge, run.forced = run.purge, False, False
        failed, run.purges = run.purges, 0
        if run.restart and self.lease.runs() and step.life.phase is Phase.RUNNING:
            run.restart = False
            for resource in run.resources:
                run.resources[resource] = ResourceState.OFFLINE
            run.retries = {}
            self.groups.enter(run, GroupChange.RESTART)
            step.notice(notices.GroupStarts(name, run.seen.n))
            self._advance_start(name, run)
            return
        run.restart = False
        run.held = False
        run.why = run.next_why
        self.groups.enter(run, GroupChange.ALL_OFF)
        if step.life.phase is Phase.RUNNING and not holds_any(self.groups.runs):
            # Not earlier: a newcomer that holds groups may not feed its watchdog.
            self.lease.arm()
        if purge:
            if failed:
                step.notice(notices.PurgeDone(name))
            return
        group = step.settings.group(name)
        order = [r.name for r in reversed(group.resources)] if group is not None else []
        step.notice(notices.GroupReleased(name, order or [say.nothing], took, run.seen.n))
