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

from typing import TYPE_CHECKING

from clptools.core import sentences as say
from clptools.core.groups.migration import Migration
from clptools.core.model.actions import RunResource
from clptools.core.model.events import ResourceDone, ResourceSaid
from clptools.core.model.messages import Epoch, Grant
from clptools.core.model.quorum import NEVER
from clptools.core.model.settings import Group, Resource, dependencies, dependents
from clptools.core.model.state import GroupRun, Phase
from clptools.core.model.states import GroupState, GroupWhy, ResourceState

if TYPE_CHECKING:
    from clptools.core.node import Node

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


class Groups:
    """What runs here."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.migration = Migration(node)

    def run(self, name: str) -> GroupRun:
        """The state of a group here, made when first asked for."""
        runs = self.node.state.groups
        found = runs.get(name)
        if found is None:
            found = runs[name] = GroupRun(since=self.node.now)
        return found

    def holds_any(self) -> bool:
        """Whether anything is held here."""
        return any(run.held for run in self.node.state.groups.values())

    def held(self) -> list[str]:
        """Names of what is held here, in configured order."""
        runs = self.node.state.groups
        names = [g.name for g in self.node.settings.groups if g.name in runs and runs[g.name].held]
        return names + [n for n, r in runs.items() if r.held and n not in names]

    def online(self, target: str) -> list[str]:
        """Held and running groups that `target` names: a group, a resource, or `All Groups`."""
        runs = self.node.state.groups
        running = [n for n in self.held() if runs[n].state is GroupState.ONLINE]
        if target == "All Groups":
            return running
        group = self.node.settings.group_of(target)
        return [n for n in running if group is not None and n == group.name]

    # ------------------------------------------------------------------ beginning

    def take(self, grant: Grant) -> None:
        """A grant arrived: take it, or refuse it silently (it will not get better)."""
        node = self.node
        state = node.state
        if node.settings.group(grant.group) is None or state.phase is not Phase.RUNNING:
            return
        run = self.run(grant.group)
        if grant.incarnation != state.incarnation or state.newcomer or not state.noted:
            return
        if grant.epoch.term != state.votes.term or grant.epoch <= run.seen or run.held:
            return
        if not grant.sent_at <= node.now < grant.sent_at + node.times.holder_ms:
            return
        node.lease.answered(grant.sent_at)
        self.begin(grant.group, grant.epoch, grant.event, grant.previous, grant.off)

    def begin(
        self, name: str, epoch: Epoch, event: str, previous: str, off: tuple[str, ...]
    ) -> None:
        """Holds a group under `epoch` and starts its resources; a purge gives way to that.

        `off`: servers that are proven powered off.
        """
        node = self.node
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
        group = node.settings.group(name)
        resources = group.resources if group is not None else ()
        run.resources = {r.name: ResourceState.OFFLINE for r in resources}
        self._enter(name, run, GroupState.STARTING)
        node.record("rc", 10, "INFO", (name, node.me), say.group_starts(name, node.me, epoch.n))
        self._advance_start(name, run)

    def purge(self, *, held: bool) -> None:
        """Without state: stops whatever may run of any group, also of those that are not ours:
        a push may have taken one away since.

        `held`: within a boot all of it counts as running until it is stopped.  Since a boot
        nothing can run: the server is only the last choice for what is not stopped yet.
        """
        for group in self.node.settings.groups:
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
        self._enter(name, run, GroupState.STOPPING)
        self._advance_stop(name, run)

    def purging(self) -> tuple[str, ...]:
        """Groups that are not held, and of which something may be left from before the boot."""
        runs = self.node.state.groups
        return tuple(name for name, run in runs.items() if run.purge and not run.held)

    def settle(self) -> None:
        """Tries purges again that did not end well."""
        node = self.node
        if node.state.phase is not Phase.RUNNING or node.state.shared.suspended:
            return
        for name, run in list(node.state.groups.items()):
            if run.purge and run.purge_at != NEVER and node.now >= run.purge_at:
                self._purge(name, run)

    def _purge_failed(self, name: str, run: GroupRun) -> None:
        """Told once; the server stays the last choice for the group until it ends well."""
        node = self.node
        pause = pause_ms(run.purges)
        run.purges += 1
        run.purge_at = node.now + pause
        self._enter(name, run, GroupState.NONE)
        if run.purges > 1:
            return
        failed = [r for r, s in run.resources.items() if s is ResourceState.STOP_FAILED]
        node.record(
            "rc",
            942,
            "WARN",
            (name, *failed, node.me),
            say.not_purged(name, node.me, failed, pause),
            because=tuple(run.texts[r] for r in failed if run.texts.get(r)),
        )

    def resume(self) -> None:
        """After an agent restart: go on with what was held; half-done work is stopped first."""
        for name, run in list(self.node.state.groups.items()):
            if run.purge and not run.held:
                self._purge(name, run)
            if not run.held:
                continue
            if run.state is GroupState.ONLINE:
                self.node.record(
                    "rc", 11, "INFO", (name, self.node.me), say.found_again(name, self.node.me)
                )
                continue
            busy = (*_BUSY.values(), ResourceState.STOP_FAILED)
            for resource, state in run.resources.items():
                if state in busy:
                    run.resources[resource] = ResourceState.START_FAILED
            run.next_why = GroupWhy.LEASE if run.state is GroupState.STARTING else run.why
            run.next_why = run.next_why or GroupWhy.LEASE
            run.factor = "GROUPSTOP"
            self._enter(name, run, GroupState.STOPPING)
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
        node = self.node
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
        self._enter(name, run, GroupState.STOPPING)
        node.record("rc", 20, "INFO", (name, node.me), say.group_stops(name, node.me, reason))
        if migrate:
            self.migration.plan(name, run)
        self._advance_stop(name, run)

    def restart(self, target: str) -> None:
        """Restarts a group, or a resource with those that depend on it, in place."""
        for name in self.online(target):
            run = self.run(name)
            group = self.node.settings.group(name)
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
        self._enter(name, run, GroupState.STARTING)
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
        self._enter(group.name, run, GroupState.STARTING)
        self._advance_start(group.name, run)
        return ""

    # ------------------------------------------------------------------ results

    def done(self, event: ResourceDone) -> None:
        """An operation on a resource ended; it counts if it is the one ordered last."""
        run = self.node.state.groups.get(event.group)
        if run is None or run.busy.get(event.resource) != event.number:
            return
        if event.text:
            run.texts[event.resource] = event.text
        if event.op == "start":
            self._start_done(event, run)
        elif event.op == "migrate":
            self.migration.done(event, run)
            self._advance_stop(event.group, run)
        else:
            self._stop_done(event, run)
        self.node.dirty = True
        self.node.report_due = True

    def said(self, event: ResourceSaid) -> None:
        """A remark on an operation that goes on."""
        node = self.node
        subjects = (event.group, event.resource, node.me)
        node.record("rc", 941, "WARN", subjects, say.remark(event.resource, node.me, event.text))

    def _start_done(self, event: ResourceDone, run: GroupRun) -> None:
        node = self.node
        name = event.group
        if run.state is GroupState.STOPPING:
            # Its stop waits for what depends on it.
            ended = ResourceState.ONLINE if event.ok else ResourceState.START_FAILED
            self.put(run, event.resource, ended)
            self._advance_stop(name, run)
            return
        if event.ok:
            self.put(run, event.resource, ResourceState.ONLINE)
            if run.stopping_only:
                self._advance_partial(name, run)
            else:
                self._advance_start(name, run)
            return
        configured = self._resource(name, event.resource)
        tried = run.retries.get(event.resource, 0)
        self.put(run, event.resource, ResourceState.START_FAILED)
        node.record(
            "rc",
            32,
            "ERROR",
            (name, event.resource, node.me),
            say.start_failed(event.resource, node.me, event.text, event.timed_out),
        )
        if configured is not None and tried < configured.start_retries:
            run.retries[event.resource] = tried + 1
            self.put(run, event.resource, ResourceState.OFFLINE)
            self._advance_start(name, run)
            return
        run.failed = event.resource
        # Once: what fails again after a pause would end the machine again and again.
        first = not node.policy.intent(name).rounds
        if configured is not None and first and not self._tried_elsewhere(name):
            self.node.recovery.final.of_resource(configured, name)
        self.stop(name, GroupWhy.START_FAILED, "GROUPSTOP")

    def _stop_done(self, event: ResourceDone, run: GroupRun) -> None:
        node = self.node
        name = event.group
        if event.ok:
            self.put(run, event.resource, ResourceState.OFFLINE)
        elif not run.held:
            self.put(run, event.resource, ResourceState.STOP_FAILED)
        else:
            self.put(run, event.resource, ResourceState.STOP_FAILED)
            node.record(
                "rc",
                42,
                "ERROR",
                (name, event.resource, node.me),
                say.stop_failed(event.resource, node.me, event.text, event.timed_out),
            )
            configured = self._resource(name, event.resource)
            if configured is not None:
                self.node.recovery.final.of_resource(configured, name)
        if run.state is GroupState.STARTING:
            self._advance_partial(name, run)
        else:
            self._advance_stop(name, run)

    def _tried_elsewhere(self, name: str) -> bool:
        """Whether the start that failed here will be tried on another server."""
        node = self.node
        group = node.settings.group(name)
        intent = node.policy.intent(name)
        if group is None or intent.failures >= max(r.failover_on_failure for r in group.resources):
            return False
        others = (s for s in group.servers if s not in (node.me, *intent.avoid))
        return any(node.choice.eligible(group, server) for server in others)

    # ------------------------------------------------------------------ order

    def _advance_start(self, name: str, run: GroupRun) -> None:
        """Starts whatever has all it depends on; Online when nothing is left to start."""
        group = self.node.settings.group(name)
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
                self.operate(name, run, resource, "start")
        if not left:
            self._came_online(name, run, group)

    def _came_online(self, name: str, run: GroupRun, group: Group) -> None:
        node = self.node
        took = node.now - run.since
        run.off = ()  # what is restarted later is another story: they may be on by then
        self._enter(name, run, GroupState.ONLINE)
        order = [r.name for r in group.resources if r.name not in run.wanted_off]
        node.record("rc", 11, "INFO", (name, node.me), say.group_online(name, node.me, order, took))

    def _advance_partial(self, name: str, run: GroupRun) -> None:
        group = self.node.settings.group(name)
        if group is None:
            return
        left = [
            r for r in run.stopping_only if run.resources.get(r) in (*_ON, ResourceState.STOPPING)
        ]
        if any(run.resources.get(r) is ResourceState.STOP_FAILED for r in run.stopping_only):
            run.stopping_only = []
            run.next_why = GroupWhy.NONE
            self._enter(name, run, GroupState.STOP_FAILED)
            return
        for resource in reversed(group.resources):
            if resource.name in left and run.resources[resource.name] in _ON:
                blocking = [d for d in dependents(group, resource.name) if d in left]
                if not blocking:
                    self.operate(name, run, resource, "stop")
        if not left:
            run.stopping_only = []
            self._advance_start(name, run)

    def _advance_stop(self, name: str, run: GroupRun) -> None:
        """Stops whatever nothing running depends on; released when all is off."""
        group = self.node.settings.group(name)
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
                self.operate(name, run, resource, "stop")
        states = run.resources.values()
        if all(s in _DOWN for s in states):
            self._released(name, run)
        elif any(s is ResourceState.STOPPING for s in states):
            return
        elif not run.held:
            self._purge_failed(name, run)
        else:
            if run.purge:
                run.purge_at = self.node.now + pause_ms(run.purges)
                run.purges += 1
            self._enter(name, run, GroupState.STOP_FAILED)
            self.node.record(
                "rc", 22, "ERROR", (name, self.node.me), say.group_stuck(name, self.node.me)
            )

    def _released(self, name: str, run: GroupRun) -> None:
        node = self.node
        took = node.now - run.since
        purge, run.purge, run.forced = run.purge, False, False
        failed, run.purges = run.purges, 0
        if run.restart and node.lease.runs() and node.state.phase is Phase.RUNNING:
            run.restart = False
            for resource in run.resources:
                run.resources[resource] = ResourceState.OFFLINE
            run.retries = {}
            self._enter(name, run, GroupState.STARTING)
            text = say.group_starts(name, node.me, run.seen.n)
            node.record("rc", 10, "INFO", (name, node.me), text)
            self._advance_start(name, run)
            return
        run.restart = False
        run.held = False
        run.why = run.next_why
        self._enter(name, run, GroupState.NONE)
        if node.state.phase is Phase.RUNNING and not self.holds_any():
            # Armed only now: until here nobody could have fed the watchdog of a newcomer.
            node.lease.arm()
        if purge:
            if failed:
                node.record("rc", 942, "INFO", (name, node.me), say.purged(name, node.me))
            return
        group = node.settings.group(name)
        order = [r.name for r in reversed(group.resources)] if group is not None else []
        node.record(
            "rc",
            21,
            "INFO",
            (name, node.me),
            say.group_released(name, node.me, order, took, run.seen.n),
        )

    def operate(self, name: str, run: GroupRun, resource: Resource, op: str) -> None:
        """Begins the start, stop or migration of a resource."""
        node = self.node
        self.put(run, resource.name, _BUSY[op])
        number = run.busy[resource.name] = node.state.next_operation
        node.state.next_operation += 1
        membership = node.membership
        known = [s for s in run.off if s in node.state.peers and not membership.hears(s)]
        off = tuple(known) if op == "start" else ()
        group = node.settings.group(name)
        servers = group.servers if group is not None else ()
        node.emit(
            RunResource(
                group=name,
                resource=resource.name,
                op=op,
                epoch=run.seen.n,
                event=run.event,
                factor="" if op == "start" else run.factor,
                previous=run.previous,
                priority=servers.index(node.me) + 1 if node.me in servers else 1,
                forced=run.forced,
                off=off,
                macs_off=self._macs(off),
                number=number,
            )
        )

    def _macs(self, off: tuple[str, ...]) -> tuple[str, ...]:
        """MAC addresses of these servers that no other server has."""
        node = self.node
        theirs: set[str] = set()
        others = set(node.state.macs)
        for name, p in node.state.peers.items():
            (theirs if name in off else others).update(p.macs)
        return tuple(sorted(theirs - others))

    def put(self, run: GroupRun, resource: str, state: ResourceState) -> None:
        """The one place where a resource changes its state; what it was busy with is over."""
        run.resources[resource] = state
        run.busy.pop(resource, None)
        self.node.dirty = True
        self.node.report_due = True

    def _enter(self, name: str, run: GroupRun, state: GroupState) -> None:
        """The one place where a group changes its state."""
        run.state = state
        run.since = self.node.now
        self.node.dirty = True
        self.node.changed = True
        self.node.urgent = True
        self.node.report_due = True

    def _resource(self, group: str, resource: str) -> Resource | None:
        configured = self.node.settings.group(group)
        return configured.resource(resource) if configured is not None else None
