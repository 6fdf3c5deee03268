"""The groups on this server: take a grant, start in order, stop in reverse, report the end.

    NONE --grant--> STARTING --all online--> ONLINE --stop--> STOPPING --all off--> NONE (released)
                        |  start failed                          | a stop failed
                        '-----------> STOPPING                   '--> STOP_FAILED (still held)

A group is *held* from the grant until everything of it is stopped; a failed stop keeps it held,
because nobody can tell whether it still runs.

What is wanted of a resource and what is done with it are two things: its state says what the
operation ordered last is to bring it to, and `GroupRun.busy` names that operation until it ends.
A stop that is ordered during a start is therefore ordered once, and the end of the start counts
for nothing.

After a boot the stop scripts run as well (a *purge*), but nothing is held: nothing can run yet.
"""

from __future__ import annotations

import msgspec

from clptools.core import phrases as say
from clptools.core.cluster.election import Election
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.intents import Intents
from clptools.core.groups.migration import Migration
from clptools.core.groups.selection import Selection
from clptools.core.model.actions import RunResource
from clptools.core.model.events import ResourceDone, ResourceSaid
from clptools.core.model.group_runs import held, holds_any
from clptools.core.model.messages import Epoch, Grant
from clptools.core.model.quorum import NEVER
from clptools.core.model.settings import Group, Resource, dependencies, dependents
from clptools.core.model.state import GroupRun, LifecycleState, Phase
from clptools.core.model.states import GroupState, GroupWhy, ResourceState
from clptools.core.model.transitions import GROUP, GroupChange
from clptools.core.model.words import Operation
from clptools.core.notices import groups as notices
from clptools.core.safety.lease import Lease
from clptools.core.step import Change, Step

_ON = (ResourceState.ONLINE, ResourceState.STARTING, ResourceState.START_FAILED)
"""States that a stop must undo: a failed start may have left something behind."""
_DOWN = (ResourceState.OFFLINE,)
_BUSY = {
    "start": ResourceState.STARTING,
    "stop": ResourceState.STOPPING,
    "migrate": ResourceState.MIGRATING,
}
"""Operation -> state of a resource while it lasts."""
FIRST_PAUSE_MS = 30_000
LONGEST_PAUSE_MS = 600_000


def pause_ms(times: int) -> int:
    """How long what failed so often before is left alone: 30 s, 60 s, ... up to 10 min."""
    return min(FIRST_PAUSE_MS << min(times, 8), LONGEST_PAUSE_MS)


class Exhausted(msgspec.Struct, frozen=True):
    """A resource that could be started nowhere, or not be stopped."""

    group: str
    resource: Resource
    op: Operation


class Lifecycle:
    """What runs here."""

    def __init__(
        self,
        step: Step,
        state: LifecycleState,
        peers: Peers,
        policy: SharedPolicy,
        election: Election,
        lease: Lease,
        intents: Intents,
        selection: Selection,
    ) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self.policy = policy
        self.election = election
        self.lease = lease
        self.intents = intents
        self.selection = selection
        self.migration = Migration(step, self)

    def run(self, name: str) -> GroupRun:
        """The state of a group here, made when first asked for."""
        runs = self.runs
        found = runs.get(name)
        if found is None:
            found = runs[name] = GroupRun(since=self.step.now)
        return found

    @property
    def runs(self) -> dict[str, GroupRun]:
        """Group -> how it is here."""
        return self.state.runs

    def held(self) -> list[str]:
        """Names of what is held here, in configured order."""
        return held(self.runs, self.step.settings)

    def online(self, target: str) -> list[str]:
        """Held and running groups that `target` names: a group, a resource, or `All Groups`."""
        runs = self.runs
        running = [n for n in self.held() if runs[n].state is GroupState.ONLINE]
        if target == "All Groups":
            return running
        group = self.step.settings.group_of(target)
        return [n for n in running if group is not None and n == group.name]

    # ------------------------------------------------------------------ beginning

    def take(self, grant: Grant) -> None:
        """A grant arrived: take it, or refuse it silently (it will not get better)."""
        step = self.step
        if step.settings.group(grant.group) is None or step.life.phase is not Phase.RUNNING:
            return
        run = self.run(grant.group)
        if grant.incarnation != step.life.incarnation or step.life.newcomer or not step.life.noted:
            return
        if grant.epoch.term != self.election.state.term or grant.epoch <= run.seen or run.held:
            return
        if not grant.sent_at <= step.now < grant.sent_at + step.times.holder_ms:
            return
        self.lease.answered(grant.sent_at)
        self.begin(grant.group, grant.epoch, grant.event, grant.previous, grant.off)

    def begin(
        self, name: str, epoch: Epoch, event: str, previous: str, off: tuple[str, ...]
    ) -> None:
        """Holds a group under `epoch` and starts its resources; a purge gives way to that.

        `off`: servers that are proven powered off.
        """
        step = self.step
        run = self.run(name)
        run.held = True
        run.seen = epoch
        run.event = event
        run.previous = previous
        run.off = off
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
        group = step.settings.group(name)
        resources = group.resources if group is not None else ()
        run.resources = {r.name: ResourceState.OFFLINE for r in resources}
        self._enter(run, GroupChange.GRANTED)
        step.notice(notices.GroupStarts(name, epoch.n))
        self._advance_start(name, run)

    def purge(self, *, held: bool) -> None:
        """Without state: stops whatever may run of any group, also of those that are not ours:
        a push may have taken one away since.

        `held`: within a boot all of it counts as running until it is stopped.  Since a boot
        nothing can run: the server is only the last choice for what is not stopped yet.
        """
        for group in self.step.settings.groups:
            if not group.resources:
                continue
            run = self.run(group.name)
            run.held = held
            run.purge = True
            run.resources = {r.name: ResourceState.START_FAILED for r in group.resources}
            self._purge(group.name, run)

    def _purge(self, name: str, run: GroupRun) -> None:
        """Stops what is left, or stops it again."""
        for resource, state in run.resources.items():
            if state is not ResourceState.OFFLINE:
                run.resources[resource] = ResourceState.START_FAILED
        run.factor = "GROUPSTOP"
        run.next_why = GroupWhy.NONE
        run.purge_at = NEVER
        self._enter(run, GroupChange.PURGE)
        self._advance_stop(name, run)

    def settle(self) -> None:
        """Tries purges again that did not end well."""
        step = self.step
        if step.life.phase is not Phase.RUNNING or self.policy.shared.suspended:
            return
        for name, run in list(self.runs.items()):
            if run.purge and run.purge_at != NEVER and step.now >= run.purge_at:
                self._purge(name, run)

    def _purge_failed(self, name: str, run: GroupRun) -> None:
        """Told once; the server stays the last choice for the group until it ends well."""
        step = self.step
        pause = pause_ms(run.purges)
        run.purges += 1
        run.purge_at = step.now + pause
        self._enter(run, GroupChange.PURGE_FAILED)
        if run.purges > 1:
            return
        failed = [r for r, s in run.resources.items() if s is ResourceState.STOP_FAILED]
        step.notice(
            notices.PurgeFailed(name, failed, pause),
            because=tuple(run.texts[r] for r in failed if run.texts.get(r)),
        )

    def resume(self) -> None:
        """After an agent restart: go on with what was held; half-done work is stopped first."""
        for name, run in list(self.runs.items()):
            if run.purge and not run.held:
                self._purge(name, run)
            if not run.held:
                continue
            if run.state is GroupState.ONLINE:
                self.step.notice(notices.GroupFound(name))
                continue
            busy = (*_BUSY.values(), ResourceState.STOP_FAILED)
            for resource, state in run.resources.items():
                if state in busy:
                    run.resources[resource] = ResourceState.START_FAILED
            run.next_why = GroupWhy.LEASE if run.state is GroupState.STARTING else run.why
            run.next_why = run.next_why or GroupWhy.LEASE
            run.factor = "GROUPSTOP"
            self._enter(run, GroupChange.HALF_DONE)
            self._advance_stop(name, run)

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
        """Stops a held group; `why` is what we shall say of its release.

        `migrate`: what can be migrated is, before.  Without it nothing is, and a migration that
        is under way ends.
        """
        step = self.step
        run = self.run(name)
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
        self._enter(run, GroupChange.STOP)
        step.notice(notices.GroupStops(name, reason))
        if migrate:
            self.migration.plan(name, run)
        self._advance_stop(name, run)

    def restart(self, target: str) -> None:
        """Restarts a group, or a resource with those that depend on it, in place."""
        for name in self.online(target):
            run = self.run(name)
            group = self.step.settings.group(name)
            if group is None:
                continue
            if group.resource(target) is None:
                self.stop(name, GroupWhy.FAILOVER, "GROUPRESTART", restart=True)
                continue
            self._partial(name, run, [target, *dependents(group, target)])

    def _partial(self, name: str, run: GroupRun, resources: list[str]) -> None:
        """Stops just these; what is wanted on starts again afterwards."""
        run.stopping_only = [r for r in resources if run.resources.get(r) in _ON]
        run.factor = "RESOURCERESTART"
        self._enter(run, GroupChange.PARTIAL)
        self.step.notice(notices.ResourcesStop(name, tuple(run.stopping_only)))
        self._advance_partial(name, run)

    def stop_resource(self, group: Group, resource: str, also: bool) -> str:
        """`clprsc -t`: returns what refuses it, or nothing."""
        run = self.run(group.name)
        needing = [r for r in dependents(group, resource) if run.resources.get(r) in _ON]
        if needing and not also:
            return say.needed_by(resource, needing)
        run.wanted_off = sorted({*run.wanted_off, resource, *needing})
        self._partial(group.name, run, [resource, *needing])
        return ""

    def start_resource(self, group: Group, resource: str, also: bool) -> str:
        """`clprsc -s`: returns what refuses it, or nothing."""
        run = self.run(group.name)
        needs = [
            r
            for r in dependencies(group, resource)
            if run.resources.get(r) is not ResourceState.ONLINE
        ]
        if needs and not also:
            return say.needs(resource, needs)
        run.wanted_off = [r for r in run.wanted_off if r not in (resource, *needs)]
        for name in (resource, *needs):
            if run.resources.get(name) is ResourceState.START_FAILED:
                run.resources[name] = ResourceState.OFFLINE
            run.retries.pop(name, None)
        self._enter(run, GroupChange.PARTIAL)
        self.step.notice(notices.ResourcesStart(group.name, (resource, *needs)))
        self._advance_start(group.name, run)
        return ""

    # ------------------------------------------------------------------ results

    def done(self, event: ResourceDone) -> Exhausted | None:
        """An operation on a resource ended; it counts if it is the one ordered last.

        Returns what has failed for good here: its final action comes first, then `go_on`.
        """
        run = self.runs.get(event.group)
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
        """The final action of a resource has begun, or there is none: the group goes on."""
        if exhausted.op == Operation.START:
            self.stop(exhausted.group, GroupWhy.START_FAILED, "GROUPSTOP")
        else:
            self._stopped(exhausted.group, self.run(exhausted.group))

    def said(self, event: ResourceSaid) -> None:
        """A remark on an operation that goes on."""
        self.step.notice(notices.ResourceSaid(event.group, event.resource, event.text))

    def _start_done(self, event: ResourceDone, run: GroupRun) -> Exhausted | None:
        step = self.step
        name = event.group
        if run.state is GroupState.STOPPING:
            # Its stop waits for what depends on it.
            ended = ResourceState.ONLINE if event.ok else ResourceState.START_FAILED
            self.put(run, event.resource, ended)
            self._advance_stop(name, run)
            return None
        if event.ok:
            self.put(run, event.resource, ResourceState.ONLINE)
            if run.stopping_only:
                self._advance_partial(name, run)
            else:
                self._advance_start(name, run)
            return None
        configured = self._resource(name, event.resource)
        tried = run.retries.get(event.resource, 0)
        self.put(run, event.resource, ResourceState.START_FAILED)
        why = say.failure(event.text, event.timed_out)
        step.notice(notices.ResourceStartFailed(name, event.resource, why))
        if configured is not None and tried < configured.start_retries:
            run.retries[event.resource] = tried + 1
            self.put(run, event.resource, ResourceState.OFFLINE)
            self._advance_start(name, run)
            return None
        run.failed = event.resource
        # Once: what fails again after a pause would end the machine again and again.
        first = not self.intents.of(name).rounds
        if configured is not None and first and not self._tried_elsewhere(name):
            return Exhausted(name, configured, Operation.START)
        self.stop(name, GroupWhy.START_FAILED, "GROUPSTOP")
        return None

    def _stop_done(self, event: ResourceDone, run: GroupRun) -> Exhausted | None:
        step = self.step
        name = event.group
        if event.ok:
            self.put(run, event.resource, ResourceState.OFFLINE)
        elif not run.held:
            self.put(run, event.resource, ResourceState.STOP_FAILED)
        else:
            self.put(run, event.resource, ResourceState.STOP_FAILED)
            why = say.failure(event.text, event.timed_out)
            step.notice(notices.ResourceStopFailed(name, event.resource, why))
            configured = self._resource(name, event.resource)
            if configured is not None:
                return Exhausted(name, configured, Operation.STOP)
        self._stopped(name, run)
        return None

    def _stopped(self, name: str, run: GroupRun) -> None:
        """A stop ended, well or not: on with what it was for."""
        if run.state is GroupState.STARTING:
            self._advance_partial(name, run)
        else:
            self._advance_stop(name, run)

    def _tried_elsewhere(self, name: str) -> bool:
        """Whether the start that failed here will be tried on another server."""
        step = self.step
        group = step.settings.group(name)
        intent = self.intents.of(name)
        if group is None or intent.failures >= max(r.failover_on_failure for r in group.resources):
            return False
        others = (s for s in group.servers if s not in (step.me, *intent.avoid))
        return any(self.selection.eligible(group, server) for server in others)

    # ------------------------------------------------------------------ order

    def _advance_start(self, name: str, run: GroupRun) -> None:
        """Starts whatever has all it depends on; Online when nothing is left to start."""
        group = self.step.settings.group(name)
        if group is None or run.state is not GroupState.STARTING:
            return
        left = False
        for resource in group.resources:
            state = run.resources.setdefault(resource.name, ResourceState.OFFLINE)
            if resource.name in run.wanted_off or state is ResourceState.ONLINE:
                continue
            left = True
            ready = all(run.resources.get(d) is ResourceState.ONLINE for d in resource.depends)
            if state is ResourceState.OFFLINE and ready:
                self.operate(name, run, resource, Operation.START)
        if not left:
            self._came_online(name, run, group)

    def _came_online(self, name: str, run: GroupRun, group: Group) -> None:
        step = self.step
        took = step.now - run.since
        run.off = ()  # what is restarted later is another story: they may be on by then
        self._enter(run, GroupChange.ALL_ONLINE)
        order = ", ".join(r.name for r in group.resources if r.name not in run.wanted_off)
        step.notice(notices.GroupOnline(name, order or say.nothing, took))

    def _advance_partial(self, name: str, run: GroupRun) -> None:
        group = self.step.settings.group(name)
        if group is None:
            return
        left = [
            r for r in run.stopping_only if run.resources.get(r) in (*_ON, ResourceState.STOPPING)
        ]
        if any(run.resources.get(r) is ResourceState.STOP_FAILED for r in run.stopping_only):
            run.stopping_only = []
            run.next_why = GroupWhy.NONE
            self._enter(run, GroupChange.STOP_FAILED)
            return
        for resource in reversed(group.resources):
            if resource.name in left and run.resources[resource.name] in _ON:
                blocking = [d for d in dependents(group, resource.name) if d in left]
                if not blocking:
                    self.operate(name, run, resource, Operation.STOP)
        if not left:
            run.stopping_only = []
            self._advance_start(name, run)

    def _advance_stop(self, name: str, run: GroupRun) -> None:
        """Stops whatever nothing running depends on; released when all is off."""
        group = self.step.settings.group(name)
        known = {r.name for r in group.resources} if group is not None else set()
        for gone in [r for r in run.resources if r not in known]:
            del run.resources[gone]
            run.busy.pop(gone, None)
        if self.migration.advance(group, run):
            return
        for resource in reversed(group.resources if group is not None else ()):
            if run.resources.get(resource.name) not in _ON:
                continue
            blocking = [
                d
                for d in dependents(group, resource.name)
                if run.resources.get(d, ResourceState.OFFLINE) not in _DOWN
            ]
            if not blocking:
                self.operate(name, run, resource, Operation.STOP)
        states = run.resources.values()
        if all(s in _DOWN for s in states):
            self._released(name, run)
        elif any(s is ResourceState.STOPPING for s in states):
            return
        elif not run.held:
            self._purge_failed(name, run)
        else:
            if run.purge:
                run.purge_at = self.step.now + pause_ms(run.purges)
                run.purges += 1
            self._enter(run, GroupChange.STOP_FAILED)
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
            self._enter(run, GroupChange.RESTART)
            step.notice(notices.GroupStarts(name, run.seen.n))
            self._advance_start(name, run)
            return
        run.restart = False
        run.held = False
        run.why = run.next_why
        self._enter(run, GroupChange.ALL_OFF)
        if step.life.phase is Phase.RUNNING and not holds_any(self.runs):
            # Armed only now: until here nobody could have fed the watchdog of a newcomer.
            self.lease.arm()
        if purge:
            if failed:
                step.notice(notices.PurgeDone(name))
            return
        group = step.settings.group(name)
        order = [r.name for r in reversed(group.resources)] if group is not None else []
        step.notice(notices.GroupReleased(name, order or [say.nothing], took, run.seen.n))

    def operate(self, name: str, run: GroupRun, resource: Resource, op: Operation) -> None:
        """Begins the start, stop or migration of a resource."""
        step = self.step
        self.put(run, resource.name, _BUSY[op])
        number = run.busy[resource.name] = self.state.next_operation
        self.state.next_operation += 1
        known = [s for s in run.off if s in self.peers and not self.peers.hears(s)]
        off = tuple(known) if op == Operation.START else ()
        group = step.settings.group(name)
        servers = group.servers if group is not None else ()
        step.do(
            RunResource(
                group=name,
                resource=resource.name,
                op=op,
                epoch=run.seen.n,
                event=run.event,
                factor="" if op == Operation.START else run.factor,
                previous=run.previous,
                priority=servers.index(step.me) + 1 if step.me in servers else 1,
                forced=run.forced,
                off=off,
                macs_off=self._macs(off),
                number=number,
            )
        )

    def _macs(self, off: tuple[str, ...]) -> tuple[str, ...]:
        """MAC addresses of these servers that no other server has."""
        step = self.step
        theirs: set[str] = set()
        others = set(step.life.macs)
        for name, p in self.peers.items():
            (theirs if name in off else others).update(p.macs)
        return tuple(sorted(theirs - others))

    def put(self, run: GroupRun, resource: str, state: ResourceState) -> None:
        """The one place where a resource changes its state; what it was busy with is over."""
        run.resources[resource] = state
        run.busy.pop(resource, None)
        self.step.changed(Change.REPORT)

    def _enter(self, run: GroupRun, change: GroupChange) -> None:
        """The one place where a group changes its state."""
        run.state = GROUP.after(run.state, change)
        run.since = self.step.now
        self.step.changed(Change.DECISIONS, Change.BEATS, Change.REPORT)

    def _resource(self, group: str, resource: str) -> Resource | None:
        configured = self.step.settings.group(group)
        return configured.resource(resource) if configured is not None else None
