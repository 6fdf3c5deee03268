"""Requests about single resources (`clprsc`): the server that holds their group decides."""

from __future__ import annotations

from clptools.core import replies
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.holders import Holders
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.runs import GroupRuns
from clptools.core.model.options import WATCHED
from clptools.core.model.requests import (
    FAILED,
    NO_SUCH,
    REFUSED,
    Outcome,
    ResourceStart,
    ResourceStop,
)
from clptools.core.model.settings import Group
from clptools.core.model.state import Pending
from clptools.core.model.states import GroupState, ResourceState
from clptools.core.step import Step


class ResourceRequests:
    """Start and stop of one resource by command."""

    def __init__(
        self,
        step: Step,
        policy: SharedPolicy,
        holders: Holders,
        groups: GroupRuns,
        lifecycle: Lifecycle,
    ) -> None:
        self.step = step
        self.policy = policy
        self.holders = holders
        self.groups = groups
        self.lifecycle = lifecycle

    def holder_of(self, resource: str) -> str:
        """The server that holds its group; empty: none does."""
        group = self.step.settings.group_of(resource)
        return self.holders.where(group.name)[0] if group is not None else ""

    def request(self, pending: Pending) -> Outcome | None:
        """Starts or stops a resource of a group that is online here."""
        step = self.step
        request = pending.request
        assert isinstance(request, ResourceStart | ResourceStop)
        group = step.settings.group_of(request.resource)
        if group is None or group.resource(request.resource) is None:
            known = ", ".join(r.name for g in step.settings.groups for r in g.resources)
            return Outcome(
                code=NO_SUCH, text=f"No such resource: {request.resource}; known: {known}."
            )
        shared = self.policy.shared
        if shared.suspended:
            return Outcome(code=REFUSED, text=replies.cluster_suspended(shared.suspended_by))
        server = self.holders.where(group.name)[0]
        if request.server and server not in ("", request.server):
            return Outcome(
                code=REFUSED,
                text=replies.runs_on(group.name, server),
                hint=replies.leave_host_out(server),
            )
        run = self.groups.runs.get(group.name)
        if run is None or run.state is not GroupState.ONLINE:
            return Outcome(
                code=REFUSED,
                text=f"{group.name}, which holds {request.resource}, is not online here.",
                hint=f"Start it: clpgrp -s {group.name}",
            )
        wanted = _wanted(request)
        configured = group.resource(request.resource)
        # It may be gone although nobody has noticed yet: its start finds out.
        again = wanted is ResourceState.ONLINE and configured and configured.type in WATCHED
        if run.resources.get(request.resource) is wanted and not again:
            return Outcome(text=f"{request.resource} is already {wanted}.")
        return (
            self._start(group, request)
            if wanted is ResourceState.ONLINE
            else self._stop(group, request)
        )

    def _start(self, group: Group, request: ResourceStart | ResourceStop) -> Outcome | None:
        needs = self.groups.needed(group, request.resource)
        if needs and not request.force:
            text = replies.needs(request.resource, needs)
            return Outcome(code=REFUSED, text=text, hint="Include them: -f")
        self.lifecycle.start_resources(group.name, [request.resource, *needs])
        return None

    def _stop(self, group: Group, request: ResourceStart | ResourceStop) -> Outcome | None:
        needing = self.groups.needing(group, request.resource)
        if needing and not request.force:
            text = replies.needed_by(request.resource, needing)
            return Outcome(code=REFUSED, text=text, hint="Include them: -f")
        self.lifecycle.stop_resources(group.name, [request.resource, *needing])
        return None

    def through(self, pending: Pending) -> Outcome | None:
        """How one of these ended; None: it has not."""
        request = pending.request
        if not isinstance(request, ResourceStart | ResourceStop):
            return None
        group = self.step.settings.group_of(request.resource)
        run = self.groups.runs.get(group.name) if group is not None else None
        if run is None or run.state is GroupState.NONE:
            return Outcome(code=FAILED, text=f"The group of {request.resource} is not online.")
        state = run.resources.get(request.resource)
        text = run.texts.get(request.resource, "")
        if state in (ResourceState.START_FAILED, ResourceState.STOP_FAILED):
            return Outcome(code=FAILED, text=f"{request.resource} failed: {text}")
        if run.state is not GroupState.ONLINE:
            return None
        return Outcome() if state is _wanted(request) else None


def _wanted(request: ResourceStart | ResourceStop) -> ResourceState:
    starts = isinstance(request, ResourceStart)
    return ResourceState.ONLINE if starts else ResourceState.OFFLINE
