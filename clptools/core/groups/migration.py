"""Migration before a failover: what defines `migrate` carries its state over while it still runs.

The script saves, or copies ahead, for the start elsewhere to pick up; it makes nothing active on
another server.  What runs stays active here, and held, until its ordinary stop: so a migration
decides nothing about who may run the group, and one that fails only costs the state.
"""

from __future__ import annotations

from typing import Protocol

from clptools.core import phrases as say
from clptools.core.model.events import ResourceDone
from clptools.core.model.settings import Group, Resource, dependents
from clptools.core.model.state import GroupRun
from clptools.core.model.states import ResourceState
from clptools.core.model.words import Operation
from clptools.core.notices import groups as notices
from clptools.core.step import Step


class Resources(Protocol):
    """What migrations ask of the group that they belong to."""

    def operate(self, name: str, run: GroupRun, resource: Resource, op: Operation) -> None:
        """Begins an operation on a resource."""

    def put(self, run: GroupRun, resource: str, state: ResourceState) -> None:
        """A resource is in this state now."""


class Migration:
    """The migrations that go before the stops of a failover."""

    def __init__(self, step: Step, resources: Resources) -> None:
        self.step = step
        self.resources = resources

    def plan(self, name: str, run: GroupRun) -> None:
        """What is online and defines `migrate` shall be migrated before anything stops."""
        group = self.step.settings.group(name)
        run.migrations = [
            r.name
            for r in (group.resources if group is not None else ())
            if r.migrates and run.resources.get(r.name) is ResourceState.ONLINE
        ]
        if run.migrations:
            self.step.notice(notices.MigrationBegins(name, run.migrations))

    def advance(self, group: Group | None, run: GroupRun) -> bool:
        """Begins whatever nothing still to be migrated depends on; whether any is under way."""
        run.migrations = [r for r in run.migrations if run.resources.get(r) in _TO_MIGRATE]
        for resource in reversed(group.resources if group is not None else ()):
            if resource.name not in run.migrations:
                continue
            blocked = any(d in run.migrations for d in dependents(group, resource.name))
            if not blocked and run.resources[resource.name] is ResourceState.ONLINE:
                assert group is not None
                self.resources.operate(group.name, run, resource, Operation.MIGRATE)
        return bool(run.migrations)

    def done(self, event: ResourceDone, run: GroupRun) -> None:
        """One ended, well or not: it is on until it is stopped."""
        step = self.step
        name, resource = event.group, event.resource
        self.resources.put(run, resource, ResourceState.ONLINE)
        run.migrations = [r for r in run.migrations if r != resource]
        if event.ok:
            step.notice(notices.MigrationDone(name, resource))
            return
        why = say.failure(event.text, event.timed_out)
        step.notice(notices.MigrationFailed(name, resource, why))

    def give_up(self, name: str, run: GroupRun) -> bool:
        """A later order to stop leaves no time for it; whether there was something to give up."""
        left, run.migrations = run.migrations, []
        for resource, state in run.resources.items():
            if state is ResourceState.MIGRATING:
                self.resources.put(run, resource, ResourceState.ONLINE)
        if left:
            self.step.notice(notices.MigrationGivenUp(name, left))
        return bool(left)


_TO_MIGRATE = (ResourceState.ONLINE, ResourceState.MIGRATING)
