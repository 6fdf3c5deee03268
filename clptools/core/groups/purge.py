"""A purge: stop scripts for what an agent that began without state may have left running.

Within one boot everything counts as running until it is stopped, so the group is held.  After a
boot nothing can run, so nothing is held: the server is only the last choice for the group until
its stop scripts have succeeded.
"""

from __future__ import annotations

from clptools.core.groups.runs import GroupRuns, pause_ms
from clptools.core.model.group_state import GroupRun
from clptools.core.model.states import GroupWhy, ResourceState
from clptools.core.model.timing import NEVER
from clptools.core.model.transitions import GroupChange
from clptools.core.notices import groups as notices
from clptools.core.step import Step


class Purges:
    """The purges of this server; `Lifecycle` runs their stops in order."""

    def __init__(self, step: Step, groups: GroupRuns) -> None:
        self.step = step
        self.groups = groups

    def plan(self, *, held: bool) -> list[str]:
        """Plans the purge of every configured group; returns their names.

        A group whose `servers` do not name us is among them: a push may have taken it away.
        """
        planned = []
        for group in self.step.settings.groups:
            if not group.resources:
                continue
            run = self.groups.run(group.name)
            run.held = held
            run.purge = True
            run.resources = {r.name: ResourceState.START_FAILED for r in group.resources}
            planned.append(group.name)
        return planned

    def begin(self, run: GroupRun) -> None:
        """Marks what is left to be stopped, or to be stopped again."""
        for resource, state in run.resources.items():
            if state is not ResourceState.OFFLINE:
                run.resources[resource] = ResourceState.START_FAILED
        run.factor = "GROUPSTOP"
        run.next_why = GroupWhy.NONE
        run.purge_at = NEVER
        self.groups.enter(run, GroupChange.PURGE)

    def due(self) -> list[str]:
        """Groups whose failed purge is to be tried again now."""
        now = self.step.now
        return [
            name
            for name, run in self.groups.runs.items()
            if run.purge and run.purge_at != NEVER and now >= run.purge_at
        ]

    def retry_later(self, run: GroupRun) -> int:
        """A purge failed: it is tried again after a pause, which is returned (ms)."""
        pause = pause_ms(run.purges)
        run.purges += 1
        run.purge_at = self.step.now + pause
        return pause

    def failed(self, name: str, run: GroupRun) -> None:
        """A purge after a boot failed: recorded once, however often it fails again."""
        pause = self.retry_later(run)
        self.groups.enter(run, GroupChange.PURGE_FAILED)
        if run.purges > 1:
            return
        failed = [r for r, s in run.resources.items() if s is ResourceState.STOP_FAILED]
        self.step.notice(
            notices.PurgeFailed(name, failed, pause),
            because=tuple(run.texts[r] for r in failed if run.texts.get(r)),
        )
