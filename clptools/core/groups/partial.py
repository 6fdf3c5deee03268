"""Resources that are stopped while the rest of their group runs on: by command, or to restart."""

from __future__ import annotations

from clptools.core.groups.runs import NEEDS_STOP, GroupRuns
from clptools.core.model.group_state import GroupRun
from clptools.core.model.settings import dependents
from clptools.core.model.states import GroupWhy, ResourceState
from clptools.core.model.transitions import GroupChange
from clptools.core.model.words import Operation


class PartialStop:
    """Stops some resources of an online group, those that depend on others first."""

    def __init__(self, groups: GroupRuns) -> None:
        self.groups = groups

    def begin(self, run: GroupRun, resources: list[str]) -> None:
        """Plans the stop of these; `advance` carries it out."""
        run.stopping_only = [r for r in resources if run.resources.get(r) in NEEDS_STOP]
        run.factor = "RESOURCERESTART"
        self.groups.enter(run, GroupChange.PARTIAL)

    def advance(self, name: str, run: GroupRun) -> bool:
        """Stops resources on which no running resource depends.

        Returns whether all have stopped, so that those that are wanted may start again.
        """
        group = self.groups.step.settings.group(name)
        if group is None:
            return False
        if any(run.resources.get(r) is ResourceState.STOP_FAILED for r in run.stopping_only):
            run.stopping_only = []
            run.next_why = GroupWhy.NONE
            self.groups.enter(run, GroupChange.STOP_FAILED)
            return False
        unfinished = (*NEEDS_STOP, ResourceState.STOPPING)
        left = [r for r in run.stopping_only if run.resources.get(r) in unfinished]
        for resource in reversed(group.resources):
            if resource.name in left and run.resources[resource.name] in NEEDS_STOP:
                blocking = [d for d in dependents(group, resource.name) if d in left]
                if not blocking:
                    self.groups.operate(name, run, resource, Operation.STOP)
        if left:
            return False
        run.stopping_only = []
        return True
