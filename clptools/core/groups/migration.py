"""Migration before a failover: resources with `migrate` transfer their state while they still run.

The script saves state, or copies it ahead, for the start elsewhere to pick up; it makes nothing
active on another server.  The resource stays active here, and held, until its ordinary stop.  So
a migration decides nothing about who may run the group, and a failed one costs only the state.
"""

from __future__ import annotations

from clptools.core import phrases as say
from clptools.core.groups.runs import GroupRuns
from clptools.core.model.events import ResourceDone
from clptools.core.model.group_state import GroupRun
from clptools.core.model.settings import Group, dependents
from clptools.core.model.states import ResourceState
from clptools.core.model.words import Operation
from clptools.core.notices import groups as notices
from clptools.core.step import Step

_TO_MIGRATE = (ResourceState.ONLINE, ResourceState.MIGRATING)


class Migration:
    """The migrations that precede the stops of a failover."""

    def __init__(self, step: Step, groups: GroupRuns) -> None:
        self.step = step
        self.groups = groups

    def plan(self, name: str, run: GroupRun) -> None:
        """Plans to migrate everything that is online and defines `migrate`."""
        group = self.step.settings.group(name)
        run.migrations = [
            r.name
            for r in (group.resources if group is not None else ())
            if r.migrates and run.resources.get(r.name) is ResourceState.ONLINE
        ]
        if run.migrations:
            self.step.notice(notices.MigrationBegins(name, run.migrations))

    def advance(self, group: Group | None, run: GroupRun) -> bool:
        """Begins each migration that waits for no other one; returns whether any is left."""
        run.migrations = [r for r in run.migrations if run.resources.get(r) in _TO_MIGRATE]
        for resource in reversed(group.resources if group is not None else ()):
            if resource.name not in run.migrations:
                continue
            blocked = any(d in run.migrations for d in dependents(group, resource.name))
            if not blocked and run.resources[resource.name] is ResourceState.ONLINE:
                assert group is not None
                self.groups.operate(group.name, run, resource, Operation.MIGRATE)
        return bool(run.migrations)

    def done(self, event: ResourceDone, run: GroupRun) -> None:
        """A migration ended, well or not: the resource is online until it is stopped."""
        step = self.step
        name, resource = event.group, event.resource
        self.groups.put(run, resource, ResourceState.ONLINE)
        run.migrations = [r for r in run.migrations if r != resource]
        if event.ok:
            step.notice(notices.MigrationDone(name, resource))
            return
        why = say.failure(event.text, event.timed_out)
        step.notice(notices.MigrationFailed(name, resource, why))

    def give_up(self, name: str, run: GroupRun) -> bool:
        """A later order to stop leaves no time for migrations; returns whether any were left."""
        left, run.migrations = run.migrations, []
        for resource, state in run.resources.items():
            if state is ResourceState.MIGRATING:
                self.groups.put(run, resource, ResourceState.ONLINE)
        if left:
            self.step.notice(notices.MigrationGivenUp(name, left))
        return bool(left)
