"""The server to which a planned move goes is made ready for it, as soon as it is planned.

Each resource with a `prepare` script runs it there: it may fetch images or warm caches; it must not
mount or start anything.  It is no operation on the resource: no start or stop waits for it, and its
result is reported and has no other effect.
"""

from __future__ import annotations

from clptools.core import phrases as say
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.runs import GroupRuns
from clptools.core.model.actions import RunScript
from clptools.core.model.events import ScriptDone
from clptools.core.model.messages import Plan
from clptools.core.model.monitor_state import PlansState
from clptools.core.model.settings import Group, Resource
from clptools.core.model.state import Phase
from clptools.core.model.words import PlanStage
from clptools.core.notices import groups as notices
from clptools.core.step import Step

_TOKEN = "prepare"


class Preparation:
    """Runs prepare scripts on this server."""

    def __init__(
        self, step: Step, state: PlansState, policy: SharedPolicy, groups: GroupRuns
    ) -> None:
        self.step = step
        self.state = state
        self.policy = policy
        self.groups = groups

    def settle(self) -> None:
        """Prepares for each plan that is to bring a group here, once."""
        step, state = self.step, self.state
        if step.life.phase is not Phase.RUNNING or step.life.newcomer:
            return
        plans = [p for p in self.policy.shared.plans if p.stage != PlanStage.OVER]
        coming = [p for p in plans if p.to == step.me]
        if state.prepared:
            known = {p.source for p in coming}
            state.prepared = [source for source in state.prepared if source in known]
        for plan in coming:
            group = step.settings.group(plan.group)
            held = plan.group in self.groups.held()
            if group is not None and plan.source not in state.prepared and not held:
                state.prepared = [*state.prepared, plan.source]
                self._prepare(plan, group)

    def _prepare(self, plan: Plan, group: Group) -> None:
        scripts = [r for r in group.resources if r.prepare]
        if not scripts:
            return
        self.step.notice(notices.PreparationBegins(group.name, [r.name for r in scripts]))
        for resource in scripts:
            self._run(plan, group, resource)

    def _run(self, plan: Plan, group: Group, resource: Resource) -> None:
        step = self.step
        token = f"{_TOKEN}:{step.token()}"
        self.state.scripts[token] = (group.name, resource.name)
        step.do(
            RunScript(
                token=token,
                script=resource.prepare,
                timeout_ms=resource.prepare_timeout_ms,
                environment={
                    "CLP_GROUPNAME": group.name,
                    "CLP_RESOURCENAME": resource.name,
                    "CLP_SERVER_PREV": plan.server,
                    "CLP_MONITORNAME": plan.monitor,
                    "CLP_MESSAGE": plan.meaning,
                },
            )
        )

    def done(self, event: ScriptDone) -> bool:
        """A script ended; whether it was one of these."""
        found = self.state.scripts.pop(event.token, None)
        if found is None:
            return event.token.startswith(f"{_TOKEN}:")
        if event.ok:
            self.step.notice(notices.PreparationDone(*found))
        else:
            why = say.failure(event.text, event.timed_out)
            self.step.notice(notices.PreparationFailed(*found, why))
        return True
