"""Requests about groups and resources: what refuses them, and when they are through.

Groups are the coordinator's to decide, so it changes what is wanted of them and lets placement
do the rest; a resource is its holder's.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from clptools.core import phrases as say
from clptools.core.cluster.election import Election
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.intents import Intents
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.placement import Placement
from clptools.core.groups.selection import Selection
from clptools.core.model.codes import FAILED, NO_SUCH, REFUSED
from clptools.core.model.messages import Intent
from clptools.core.model.requests import (
    GroupMove,
    GroupStart,
    GroupStop,
    Outcome,
    ResourceStart,
    ResourceStop,
)
from clptools.core.model.settings import Group
from clptools.core.model.state import Pending
from clptools.core.model.states import GroupState, ResourceState
from clptools.core.notices import groups as of_groups
from clptools.core.notices import monitors as of_monitors
from clptools.core.requests.forwarding import Forwarding
from clptools.core.safety.clearance import Clearance
from clptools.core.step import Step


class GroupRequests:
    """Start, stop and move by command."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        policy: SharedPolicy,
        election: Election,
        clearance: Clearance,
        intents: Intents,
        selection: Selection,
        placement: Placement,
        lifecycle: Lifecycle,
        forwarding: Forwarding,
    ) -> None:
        self.step = step
        self.peers = peers
        self.policy = policy
        self.election = election
        self.clearance = clearance
        self.intents = intents
        self.selection = selection
        self.placement = placement
        self.lifecycle = lifecycle
        self.forwarding = forwarding

    # ------------------------------------------------------------------ the end of them

    def through(self, pending: Pending) -> Outcome | None:
        """How a watched request ended; None while it has not."""
        request = pending.request
        if isinstance(request, GroupStart):
            return self._all(request.group, self._started, pending)
        if isinstance(request, GroupMove):
            return self._all(request.group, self._moved, pending)
        if isinstance(request, GroupStop):
            return self._all(request.group, self._stopped, pending)
        if isinstance(request, ResourceStart | ResourceStop):
            return self._resource_through(request)
        return None

    def _all(
        self,
        group: str,
        check: Callable[[Group, Pending], Outcome | None],
        pending: Pending,
    ) -> Outcome | None:
        worst = Outcome()
        for each in self._groups(group):
            if each.name not in pending.groups:
                continue
            outcome = check(each, pending)
            if outcome is None:
                return None
            if outcome.code > worst.code:
                worst = outcome
        return worst

    def _groups(self, name: str) -> list[Group]:
        return [g for g in self.step.settings.groups if name in ("", g.name)]

    def where(self, group: str) -> tuple[str, str]:
        """The server that holds a group and the state it is in there; or nothing."""
        held = list(self.placement.holders(group))
        if not held:
            return "", ""
        newest = max(held, key=lambda h: h.seen)
        return newest.server, newest.state

    def _started(self, group: Group, pending: Pending) -> Outcome | None:
        server, state = self.where(group.name)
        intent = self.intents.of(group.name)
        if server and state == GroupState.ONLINE:
            return Outcome()
        if server and state == GroupState.STOP_FAILED:
            return Outcome(code=FAILED, text=of_groups.GroupStuck(group.name, server).told())
        if not server and not intent.wanted:
            tried = intent.avoid or ("any server",)
            return Outcome(code=FAILED, text=say.start_ended_badly(group.name, tried[-1]))
        if not server and self.selection.exhausted(group, intent):
            text = say.start_ended_badly(group.name, intent.avoid[-1])
            return Outcome(code=FAILED, text=text, hint="It is tried again by itself.")
        return None

    def _moved(self, group: Group, pending: Pending) -> Outcome | None:
        server, state = self.where(group.name)
        intent = self.intents.of(group.name)
        if server and state == GroupState.STOP_FAILED:
            return Outcome(code=FAILED, text=of_groups.GroupStuck(group.name, server).told())
        if server and state == GroupState.ONLINE and not intent.preferred:
            wanted = pending.server if pending.groups == [group.name] else ""
            if wanted and server != wanted and not isinstance(pending.request, GroupStart):
                return Outcome(
                    code=FAILED,
                    text=f"{say.start_ended_badly(group.name, wanted)} It runs on {server}.",
                )
            return Outcome()
        if not server and (not intent.wanted or self.selection.exhausted(group, intent)):
            return Outcome(code=FAILED, text=say.start_ended_badly(group.name, pending.server))
        return None

    def _stopped(self, group: Group, pending: Pending) -> Outcome | None:
        server, state = self.where(group.name)
        if not server:
            return Outcome()
        if state == GroupState.STOP_FAILED and not self.intents.of(group.name).force:
            return Outcome(code=FAILED, text=of_groups.GroupStuck(group.name, server).told())
        return None

    # ------------------------------------------------------------------ groups (coordinator)

    def refused_now(self) -> Outcome | None:
        step = self.step
        if not self.election.in_office():
            text = say.no_coordinator(f"{step.me} was asked, and is not it any more")
            return Outcome(code=REFUSED, text=text)
        if self.policy.shared.suspended:
            by = self.policy.shared.suspended_by
            return Outcome(
                code=REFUSED, text=say.cluster_suspended(by), hint="Resume it: clpcl --resume"
            )
        return None

    def _no_group(self, name: str) -> Outcome:
        known = ", ".join(g.name for g in self.step.settings.groups) or "none"
        return Outcome(code=NO_SUCH, text=f"No such group: {name}; known: {known}.")

    def _cannot_take(self, group: Group, server: str, force: bool) -> Outcome | None:
        step = self.step
        if server not in step.settings.names:
            return self.forwarding.no_server(server)
        if server not in group.servers:
            text = say.cannot_take(group.name, server, "it is not among the group's servers")
            return Outcome(code=REFUSED, text=text)
        why = self.selection.not_eligible(server)
        if why:
            return Outcome(code=REFUSED, text=say.cannot_take(group.name, server, why))
        if self.selection.is_barred(server) and not force:
            return Outcome(
                code=REFUSED,
                text=say.barred(group.name, server, self.selection.fatal_event(server)),
                hint="Move it all the same: -f",
            )
        return None

    def _refused(self, group: str) -> Outcome | None:
        """What refuses a request about a group at once: the state of things, or its name."""
        refused = self.refused_now()
        return refused if refused is not None or self._groups(group) else self._no_group(group)

    def _unproven(self, group: Group) -> Outcome | None:
        """Refused while it may still run on servers that do not answer: who asked would only wait.

        For a move, too: the group would stop, and then wait.  No force overrides it.
        """
        dark = [
            s
            for s in self.peers
            if not self.peers.is_online(s) and not self.clearance.cleared(group.name, s).ok
        ]
        if not dark:
            return None
        wanted = self.intents.of(group.name).wanted and self.where(group.name)[0] in ("", *dark)
        return Outcome(
            code=REFUSED,
            text=say.no_proof_yet(group.name, dark),
            hint=say.how_to_prove(group.name, dark, wanted),
        )

    def start(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, GroupStart)
        refused = self._refused(request.group)
        if refused is not None:
            return refused
        groups = self._groups(request.group)
        for group in groups:
            server, _ = self.where(group.name)
            refused = self._unproven(group)
            if refused is not None and not (server and self.peers.is_online(server)):
                return refused
        begun = False
        said = ""
        for group in groups:
            server, _ = self.where(group.name)
            if server and (not request.server or request.server == server):
                said = say.already(group.name, server)
                continue
            if server:
                return Outcome(
                    code=REFUSED,
                    text=say.runs_on(group.name, server),
                    hint=f"Move it: clpgrp -m {group.name} -a {request.server}",
                )
            if request.server:
                refused = self._cannot_take(group, request.server, request.force)
                if refused is not None:
                    return refused
            begun = True
            pending.groups.append(group.name)
            old = self.intents.of(group.name)
            self.intents.amend(
                Intent(
                    group=group.name,
                    wanted=True,
                    preferred=request.server,
                    force=request.force,
                    event="START",
                    reason=f"{pending.user} started it",
                    handled=old.handled,
                    stays=request.server not in ("", group.servers[0]),
                )
            )
        return None if begun else Outcome(text=said)

    def stop(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, GroupStop)
        refused = self._refused(request.group)
        if refused is not None:
            return refused
        groups = self._groups(request.group)
        begun = False
        said = ""
        for group in groups:
            old = self.intents.of(group.name)
            server, state = self.where(group.name)
            if request.server and server != request.server:
                if not request.group:
                    continue
                if server:
                    return _elsewhere(group.name, server)
            if not server and not old.wanted:
                said = say.already_stopped(group.name)
                continue
            if state == GroupState.STOP_FAILED and not request.force:
                return Outcome(
                    code=REFUSED,
                    text=of_groups.GroupStuck(group.name, server).told(),
                    hint=f"clpgrp -t {group.name} -f",
                )
            begun = True
            pending.groups.append(group.name)
            self.intents.amend(
                Intent(
                    group=group.name,
                    wanted=False,
                    force=request.force,
                    reason=f"{pending.user} stopped it",
                    handled=old.handled,
                )
            )
        return None if begun else Outcome(text=said)

    def move(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, GroupMove)
        refused = self._refused(request.group)
        if refused is not None:
            return refused
        groups = self._groups(request.group)
        begun = False
        said = ""
        step = self.step
        for group in groups:
            server, _ = self.where(group.name)
            if not request.group and server != (request.server or pending.origin or step.me):
                continue
            if request.server and server not in ("", request.server):
                return _elsewhere(group.name, server)
            if not server and not request.failover:
                return Outcome(
                    code=REFUSED,
                    text=say.not_running(group.name),
                    hint=f"Start it: clpgrp -s {group.name}",
                )
            if request.to and server == request.to:
                said = say.already(group.name, server)
                continue
            old = self.intents.of(group.name)
            to = request.to
            if not to:
                elsewhere = msgspec.structs.replace(old, preferred="", avoid=(server,))
                to, why = self.selection.choose(group, elsewhere)
                if not to and not server:
                    return Outcome(code=REFUSED, text=of_groups.GroupWaits(group.name, why).told())
                if not to or to == server:
                    others = self.selection.why_not(group, elsewhere, beside=server)
                    return Outcome(
                        code=REFUSED,
                        text=of_monitors.GroupStays(group.name, "", say.nowhere).sentence(server),
                        hint=say.nobody_else(group.name, others),
                    )
            refused = self._cannot_take(group, to, request.force) or self._unproven(group)
            if refused is not None:
                return refused
            begun = True
            pending.groups.append(group.name)
            pending.server = to
            verb = "failed it over" if request.failover else "moved it"
            self.intents.amend(
                Intent(
                    group=group.name,
                    wanted=True,
                    preferred=to,
                    force=request.force,
                    event="FAILOVER",
                    previous=server or old.previous,
                    avoid=(server,) if request.failover and server else (),
                    reason=f"{request.reason or pending.user} {verb}",
                    handled=old.handled,
                    stays=to != group.servers[0],
                )
            )
        return None if begun else Outcome(text=said)

    # ------------------------------------------------------------------ resources (holder)

    def holder_of(self, resource: str) -> str:
        group = self.step.settings.group_of(resource)
        return self.where(group.name)[0] if group is not None else ""

    def resource(self, pending: Pending) -> Outcome | None:
        step = self.step
        request = pending.request
        assert isinstance(request, ResourceStart | ResourceStop)
        group = step.settings.group_of(request.resource)
        if group is None or group.resource(request.resource) is None:
            known = ", ".join(r.name for g in step.settings.groups for r in g.resources)
            return Outcome(
                code=NO_SUCH, text=f"No such resource: {request.resource}; known: {known}."
            )
        if self.policy.shared.suspended:
            return Outcome(
                code=REFUSED, text=say.cluster_suspended(self.policy.shared.suspended_by)
            )
        server = self.where(group.name)[0]
        if request.server and server not in ("", request.server):
            return _elsewhere(group.name, server)
        run = self.lifecycle.runs.get(group.name)
        if run is None or run.state is not GroupState.ONLINE:
            return Outcome(
                code=REFUSED,
                text=f"{group.name}, which holds {request.resource}, is not online here.",
                hint=f"Start it: clpgrp -s {group.name}",
            )
        starting = isinstance(request, ResourceStart)
        wanted = ResourceState.ONLINE if starting else ResourceState.OFFLINE
        if run.resources.get(request.resource) is wanted:
            word = "online" if starting else "offline"
            return Outcome(text=f"{request.resource} is already {word}.")
        act = self.lifecycle.start_resource if starting else self.lifecycle.stop_resource
        refusal = act(group, request.resource, request.force)
        if refusal:
            return Outcome(code=REFUSED, text=refusal, hint="Include them: -f")
        return None

    def _resource_through(self, request: ResourceStart | ResourceStop) -> Outcome | None:
        step = self.step
        group = step.settings.group_of(request.resource)
        run = self.lifecycle.runs.get(group.name) if group is not None else None
        if run is None or run.state is GroupState.NONE:
            return Outcome(code=FAILED, text=f"The group of {request.resource} is not online.")
        state = run.resources.get(request.resource)
        text = run.texts.get(request.resource, "")
        if state in (ResourceState.START_FAILED, ResourceState.STOP_FAILED):
            return Outcome(code=FAILED, text=f"{request.resource} failed: {text}")
        if run.state is not GroupState.ONLINE:
            return None
        wanted = (
            ResourceState.ONLINE if isinstance(request, ResourceStart) else ResourceState.OFFLINE
        )
        return Outcome() if state is wanted else None


def _elsewhere(group: str, server: str) -> Outcome:
    """What was asked of one server, and the group is on another."""
    return Outcome(code=REFUSED, text=say.runs_on(group, server))
