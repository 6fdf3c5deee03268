"""The failover groups on this server: how each stands, and the operations on its resources.

What is wanted of a resource and what is being done with it are two things: its state says what the
newest operation is to bring it to, and `GroupRun.busy` names that operation until it ends.  So a
stop that is ordered during a start is ordered once, and the end of the start counts for nothing.
"""

from __future__ import annotations

from clptools.core.cluster.peers import Peers
from clptools.core.model.actions import RunResource
from clptools.core.model.change import Refusal, in_the_way
from clptools.core.model.group_state import GroupRun, LifecycleState, held
from clptools.core.model.settings import Group, Resource, Settings, dependencies, dependents
from clptools.core.model.states import GroupState, ResourceState
from clptools.core.model.transitions import GROUP, GroupChange
from clptools.core.model.words import Operation
from clptools.core.step import Change, Step

NEEDS_STOP = (ResourceState.ONLINE, ResourceState.STARTING, ResourceState.START_FAILED)
"""States that a stop must undo: a failed start may have left something behind."""
BUSY = {
    Operation.START: ResourceState.STARTING,
    Operation.STOP: ResourceState.STOPPING,
    Operation.MIGRATE: ResourceState.MIGRATING,
}
"""Operation -> state of a resource while it lasts."""
_FIRST_PAUSE_MS = 30_000
_LONGEST_PAUSE_MS = 600_000


def pause_ms(times: int) -> int:
    """The pause after this many failures: 30 s, 60 s, ... up to 10 min."""
    return min(_FIRST_PAUSE_MS << min(times, 8), _LONGEST_PAUSE_MS)


class GroupRuns:
    """Every group that this server has held, or tried to stop."""

    def __init__(self, step: Step, state: LifecycleState, peers: Peers) -> None:
        self.step = step
        self.state = state
        self.peers = peers

    # ------------------------------------------------------------------ questions

    @property
    def runs(self) -> dict[str, GroupRun]:
        """Group -> how it stands here."""
        return self.state.runs

    def run(self, name: str) -> GroupRun:
        """How a group stands here; made when first asked for."""
        runs = self.runs
        found = runs.get(name)
        if found is None:
            found = runs[name] = GroupRun(since=self.step.now)
        return found

    def held(self) -> list[str]:
        """Names of what is held here, in configured order."""
        return held(self.runs, self.step.settings)

    def online(self, target: str) -> list[str]:
        """Held and running groups that `target` names: a group, a resource, or `All Groups`."""
        if target == "All Groups":
            return [name for name in self.held() if self._is_online(name)]
        group = self.step.settings.group_of(target)
        return [group.name] if group is not None and self._is_online(group.name) else []

    def _is_online(self, name: str) -> bool:
        run = self.runs.get(name)
        return run is not None and run.held and run.state is GroupState.ONLINE

    def resource(self, group: str, resource: str) -> Resource | None:
        """A resource as configured; None: it is not configured any more."""
        configured = self.step.settings.group(group)
        return configured.resource(resource) if configured is not None else None

    def needing(self, group: Group, resource: str) -> list[str]:
        """What depends on a resource and may still run."""
        state = self.run(group.name).resources
        return [r for r in dependents(group, resource) if state.get(r) in NEEDS_STOP]

    def needed(self, group: Group, resource: str) -> list[str]:
        """What a resource depends on and is not online."""
        state = self.run(group.name).resources
        needs = dependencies(group, resource)
        return [r for r in needs if state.get(r) is not ResourceState.ONLINE]

    def in_the_way(self, new: Settings) -> Refusal | None:
        """Why a held group keeps `new` from taking effect."""
        return in_the_way(self.step.settings, new, self.held())

    # ------------------------------------------------------------------ changes

    def enter(self, run: GroupRun, change: GroupChange) -> None:
        """The one place where a group changes its state."""
        run.state = GROUP.after(run.state, change)
        run.since = self.step.now
        self.step.changed(Change.DECISIONS, Change.BEATS, Change.REPORT)

    def put(self, run: GroupRun, resource: str, state: ResourceState) -> None:
        """The one place where a resource changes its state; its newest operation is over."""
        run.resources[resource] = state
        run.busy.pop(resource, None)
        self.step.changed(Change.REPORT)

    def start_ready(self, group: Group, run: GroupRun) -> bool:
        """Starts each resource whose dependencies are online; returns whether any is not yet."""
        left = False
        for resource in group.resources:
            state = run.resources.setdefault(resource.name, ResourceState.OFFLINE)
            if resource.name in run.wanted_off or state is ResourceState.ONLINE:
                continue
            left = True
            ready = all(run.resources.get(d) is ResourceState.ONLINE for d in resource.depends)
            if state is ResourceState.OFFLINE and ready:
                self.operate(group.name, run, resource, Operation.START)
        return left

    def stop_ready(self, group: Group, run: GroupRun) -> None:
        """Stops each resource whose dependents are all off."""
        off = ResourceState.OFFLINE
        for resource in reversed(group.resources):
            if run.resources.get(resource.name) in NEEDS_STOP:
                needing = dependents(group, resource.name)
                if all(run.resources.get(d, off) is off for d in needing):
                    self.operate(group.name, run, resource, Operation.STOP)

    def operate(self, name: str, run: GroupRun, resource: Resource, op: Operation) -> None:
        """Begins the start, stop or migration of a resource."""
        step = self.step
        self.put(run, resource.name, BUSY[op])
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
        theirs: set[str] = set()
        others = set(self.step.life.macs)
        for name, p in self.peers.items():
            (theirs if name in off else others).update(p.macs)
        return tuple(sorted(theirs - others))
