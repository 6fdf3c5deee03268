"""Requests about groups: what refuses them, and when they are through.

The coordinator decides them: it changes what is wanted of a group, and placement does the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from clptools.core import phrases as say
from clptools.core import replies
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.exclusion import Exclusion
from clptools.core.groups.holders import Holders
from clptools.core.groups.placement import Placement
from clptools.core.groups.selection import Selection
from clptools.core.groups.start_order import StartOrder
from clptools.core.groups.stop_order import StopOrder
from clptools.core.model.messages import Intent
from clptools.core.model.requests import (
    FAILED,
    NO_SUCH,
    REFUSED,
    TIMED_OUT,
    GroupCancel,
    GroupMove,
    GroupStart,
    GroupStop,
    Outcome,
)
from clptools.core.model.settings import Group
from clptools.core.model.state import Pending
from clptools.core.model.states import GroupState
from clptools.core.model.timing import NEVER
from clptools.core.monitors.planned_moves import PlannedMoves
from clptools.core.notices import groups as of_groups
from clptools.core.notices import monitors as of_monitors
from clptools.core.requests.cluster import ClusterRequests
from clptools.core.requests.forwarding import Forwarding
from clptools.core.safety.clearance import Clearance
from clptools.core.step import Step

_WHY_MS = 1_000
"""How much later than its heartbeat the report of a server may come that says why."""


class GroupRequests:
    """Start, stop and move by command."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        policy: SharedPolicy,
        clearance: Clearance,
        holders: Holders,
        selection: Selection,
        exclusion: Exclusion,
        start_order: StartOrder,
        stop_order: StopOrder,
        planned: PlannedMoves,
        placement: Placement,
        forwarding: Forwarding,
        cluster: ClusterRequests,
    ) -> None:
        self.step = step
        self.peers = peers
        self.policy = policy
        self.clearance = clearance
        self.holders = holders
        self.selection = selection
        self.exclusion = exclusion
        self.start_order = start_order
        self.stop_order = stop_order
        self.planned = planned
        self.placement = placement
        self.forwarding = forwarding
        self.cluster = cluster

    # ------------------------------------------------------------------ the end of them

    def through(self, pending: Pending) -> Outcome | None:
        """How one of these ended; None: it has not."""
        request = pending.request
        if isinstance(request, GroupStart):
            return self._all(request.group, self._started, pending)
        if isinstance(request, GroupMove):
            return self._all(request.group, self._moved, pending)
        if isinstance(request, GroupStop):
            return self._all(request.group, self._stopped, pending)
        if isinstance(request, GroupCancel):
            did = replies.planned_move_called_off(request.group)
            return Outcome(did=did) if self.cluster.is_known_by_most() else None
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
        return worst if worst.code else Outcome(did=self._did(pending))

    def _did(self, pending: Pending) -> str:
        """What it did to each group that it set in motion."""
        before = [(name, pending.held_by.get(name, "")) for name in pending.groups]
        now = [(name, self.holders.where(name)[0]) for name in pending.groups]
        if isinstance(pending.request, GroupStop):
            runs_on = next((server for _, server in now if server), "")
            if pending.request.group and runs_on:
                return replies.stopped_older(*before[0], runs_on)
            return replies.stopped(before)
        if isinstance(pending.request, GroupMove):
            pairs = zip(before, now, strict=True)
            return replies.moved([(name, old, server) for (name, old), (_, server) in pairs])
        return replies.started(now)

    def _begin(self, pending: Pending, group: Group, server: str) -> None:
        """Notes a group that it sets in motion, and who holds it until then."""
        pending.groups = [*pending.groups, group.name]
        pending.held_by = {**pending.held_by, group.name: server}

    def _groups(self, name: str) -> list[Group]:
        return [g for g in self.step.settings.groups if name in ("", g.name)]

    def _started(self, group: Group, pending: Pending) -> Outcome | None:
        server, state = self.holders.where(group.name)
        intent = self.policy.intent_of(group.name)
        if server and state == GroupState.ONLINE:
            asked = pending.request.server
            return self._badly(group, pending, (asked,)) if asked not in ("", server) else Outcome()
        if server and state == GroupState.STOP_FAILED:
            return Outcome(code=FAILED, text=of_groups.GroupStuck(group.name, server).told())
        if not server and (not intent.wanted or self.selection.exhausted(group, intent)):
            return self._badly(group, pending, intent.avoid)
        awaited = self.start_order.is_over(group.name) if not server else ()
        if awaited:
            late = of_groups.StartWaitOver(group.name, awaited, group.start_wait_ms)
            return Outcome(code=TIMED_OUT, text=late.sentence(), hint=late.mend())
        return None

    def _badly(self, group: Group, pending: Pending, tried: tuple[str, ...]) -> Outcome | None:
        """Tells on which servers a start failed, why, and what became of the group.

        None: one of them has not yet told why, and has a moment to.
        """
        step, name = self.step, group.name
        if pending.failed_at == NEVER:
            pending.failed_at = step.now
        untold = any(
            not self.selection.why_failed(name, s) and (s == step.me or self.peers.hears(s))
            for s in tried
        )
        if untold and step.now - pending.failed_at <= _WHY_MS:
            return None
        server, _ = self.holders.where(name)
        failed = self.selection.failures(name, tried) or (say.any_server,)
        text = replies.start_ended_badly(name, failed, server)
        if server:
            hint = f"Mend that, then: clpgrp -m {name} -a {tried[0]}"
        elif self.policy.intent_of(name).wanted:
            hint = f"It is tried again by itself; mend that, then at once: clpgrp -s {name}"
        else:
            hint = f"Mend that, then: clpgrp -s {name}"
        return Outcome(code=FAILED, text=text, hint=hint)

    def _moved(self, group: Group, pending: Pending) -> Outcome | None:
        server, state = self.holders.where(group.name)
        intent = self.policy.intent_of(group.name)
        if server and state == GroupState.STOP_FAILED:
            return Outcome(code=FAILED, text=of_groups.GroupStuck(group.name, server).told())
        if server and state == GroupState.ONLINE and not intent.preferred:
            wanted = pending.server if pending.groups == [group.name] else ""
            if wanted and server != wanted and not isinstance(pending.request, GroupStart):
                return self._badly(group, pending, (wanted,))
            return Outcome()
        if not server and (not intent.wanted or self.selection.exhausted(group, intent)):
            return self._badly(group, pending, intent.avoid or (pending.server,))
        return None

    def _stopped(self, group: Group, pending: Pending) -> Outcome | None:
        server, state = self.holders.where(group.name)
        asked = pending.request.server
        if not server:
            return Outcome()
        if asked not in ("", server):
            return self._stopped_older(group.name, asked, pending)
        if state == GroupState.STOP_FAILED and not self.policy.intent_of(group.name).force:
            return Outcome(code=FAILED, text=of_groups.GroupStuck(group.name, server).told())
        if self.policy.intent_of(group.name).wanted:
            return Outcome(code=FAILED, text=replies.stop_called_off(group.name))
        return None

    def _stopped_older(self, group: str, server: str, pending: Pending) -> Outcome | None:
        """How the stop of an older copy ended; None: it has not."""
        state = next((h.state for h in self.holders.of(group) if h.server == server), None)
        if state is None:
            return Outcome()
        # It had failed before, and shows that until the order has arrived.
        if state == GroupState.STOP_FAILED and self.step.now - pending.since > _WHY_MS:
            return Outcome(code=FAILED, text=of_groups.GroupStuck(group, server).sentence())
        return None

    # ------------------------------------------------------------------ groups (coordinator)

    def _no_group(self, name: str) -> Outcome:
        known = ", ".join(g.name for g in self.step.settings.groups) or "none"
        return Outcome(code=NO_SUCH, text=f"No such group: {name}; known: {known}.")

    def _cannot_take(self, group: Group, server: str, force: bool) -> Outcome | None:
        step = self.step
        if server not in step.settings.names:
            return self.forwarding.no_server(server)
        if server not in group.servers:
            text = replies.cannot_take(group.name, server, "it is not among the group's servers")
            return Outcome(code=REFUSED, text=text)
        why = self.selection.cannot_run(group, server)
        if why:
            return Outcome(code=REFUSED, text=replies.cannot_take(group.name, server, why))
        if self.selection.is_barred(server) and not force:
            return Outcome(
                code=REFUSED,
                text=replies.barred(group.name, server, self.selection.fatal_event(server)),
                hint="Move it all the same: -f",
            )
        if self.selection.is_purging(group, server) and not force:
            # Accepted, it would be given up at once: such a server is no first choice.
            return Outcome(
                code=REFUSED,
                text=replies.cannot_take(group.name, server, say.purges),
                hint="Try again in a moment, or do it all the same: -f",
            )
        other = self.exclusion.bars(group.name, server)
        if other:
            return Outcome(
                code=REFUSED,
                text=replies.cannot_take(group.name, server, say.kept_apart(other)),
                hint=f"Move or stop that first: clpgrp -m {other}",
            )
        return None

    def _refused(self, group: str) -> Outcome | None:
        """What refuses any request about a group: the coordinator's state, or an unknown name."""
        refused = self.cluster.refused_now()
        return refused if refused is not None or self._groups(group) else self._no_group(group)

    def _unproven(self, group: Group) -> Outcome | None:
        """Refuses a group that may still run on servers that do not answer: it would only wait.

        A moved group would be stopped first, and then wait.  No force overrides this.
        """
        dark = [
            s
            for s in self.peers
            if not self.peers.is_online(s) and not self.clearance.cleared(group.name, s).ok
        ]
        if not dark:
            return None
        wanted = self.policy.intent_of(group.name).wanted and self.holders.where(group.name)[0] in (
            "",
            *dark,
        )
        return Outcome(
            code=REFUSED,
            text=replies.no_proof_yet(group.name, dark),
            hint=replies.how_to_prove(
                *(group.name, dark, wanted), next(filter(None, map(self._mend, dark)), "")
            ),
        )

    def _mend(self, server: str) -> str:
        """What makes a server that lives be heard again, where that is known."""
        why = self.peers.why_refused(server)
        return f"{why[:1].upper()}{why[1:]}. {self.peers.mend_of_refusal(server)}" if why else ""

    def start(self, pending: Pending) -> Outcome | None:
        """Starts a group, or all, on a named server or by its order."""
        request = pending.request
        assert isinstance(request, GroupStart)
        refused = self._refused(request.group)
        if refused is not None:
            return refused
        groups = self._groups(request.group)
        for group in groups:
            server, state = self.holders.where(group.name)
            refused = self._unproven(group)
            if refused is not None and not (server and self.peers.is_online(server)):
                return refused
            refused = self._is_to_end(group.name, server, state)
            if refused is not None:
                return refused
            if state == GroupState.STOP_FAILED and request.group:
                return _stuck(group.name, server)
        begun = False
        said = ""
        for group in groups:
            server, _ = self.holders.where(group.name)
            if server and (not request.server or request.server == server):
                self._call_stop_off(group.name, pending.user)
                said = replies.already(group.name, server)
                continue
            if server:
                return Outcome(
                    code=REFUSED,
                    text=replies.runs_on(group.name, server),
                    hint=f"Move it: clpgrp -m {group.name} -a {request.server}",
                )
            if request.server:
                refused = self._cannot_take(group, request.server, request.force)
                if refused is not None:
                    return refused
            begun = True
            self._begin(pending, group, server)
            self.start_order.begin_anew(group.name)
            old = self.policy.intent_of(group.name)
            self.policy.amend(
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

    def _is_to_end(self, group: str, server: str, state: str) -> Outcome | None:
        """Refuses a group whose stop by command has begun: nothing calls that off any more."""
        begun = not self.policy.intent_of(group).wanted and not self.stop_order.is_waiting(group)
        if not server or not begun or state == GroupState.STOP_FAILED:
            return None
        return Outcome(
            code=REFUSED,
            text=replies.being_stopped(group, server),
            hint=f"Once it has stopped: clpgrp -s {group}",
        )

    def _call_stop_off(self, group: str, user: str) -> None:
        """Keeps a group running whose stop still waits for other groups."""
        if self.stop_order.is_waiting(group):
            old = self.policy.intent_of(group)
            calm = Intent(group=group, wanted=True, event="FAILOVER", handled=old.handled)
            self.policy.amend(msgspec.structs.replace(calm, reason=f"{user} started it"))

    def stop(self, pending: Pending) -> Outcome | None:
        """Stops a group, or all; it stays stopped until it is started again."""
        request = pending.request
        assert isinstance(request, GroupStop)
        refused = self._refused(request.group)
        if refused is not None:
            return refused
        groups = self._groups(request.group)
        begun = False
        said = ""
        for group in groups:
            old = self.policy.intent_of(group.name)
            server, state = self.holders.where(group.name)
            if request.server and server != request.server:
                if not request.group:
                    continue
                if self.placement.stop_older(group, request.server):
                    begun = True
                    self._begin(pending, group, request.server)
                    continue
                if server:
                    return _elsewhere(group.name, server)
            if not server and not old.wanted:
                said = replies.already_stopped(group.name)
                continue
            if state == GroupState.STOP_FAILED and not request.force:
                return _stuck(group.name, server)
            begun = True
            self._begin(pending, group, server)
            self.policy.amend(
                Intent(
                    group=group.name,
                    wanted=False,
                    force=request.force,
                    reason=f"{pending.user} stopped it",
                    handled=old.handled,
                )
            )
        return (
            None if begun else Outcome(text=said or replies.nothing_there(request.server, "stop"))
        )

    def move(self, pending: Pending) -> Outcome | None:
        """Moves a group, or all of a server, to a named server or the next."""
        request = pending.request
        assert isinstance(request, GroupMove)
        refused = self._refused(request.group)
        if refused is not None:
            return refused
        begun = False
        said = ""
        for group in self._groups(request.group):
            server, state = self.holders.where(group.name)
            asked = request.server or pending.origin or self.step.me
            if not request.group and server != asked:
                continue
            if request.server and server not in ("", request.server):
                return _elsewhere(group.name, server)
            refused = self._is_to_end(group.name, server, state)
            if refused is not None and request.group:
                return refused
            if refused is not None:
                continue
            if not server and not request.failover:
                return Outcome(
                    code=REFUSED,
                    text=replies.not_running(group.name),
                    hint=f"Start it: clpgrp -s {group.name}",
                )
            if request.to and server == request.to:
                said = replies.already(group.name, server)
                continue
            to, refused = self._target(group, server, request)
            if refused is not None:
                return refused
            begun = True
            self._begin(pending, group, server)
            pending.server = to
            self.policy.amend(self._moved_to(to, group, server, pending, request))
        asked = request.server or pending.origin or self.step.me
        return None if begun else Outcome(text=said or replies.nothing_there(asked, "move"))

    def cancel(self, pending: Pending) -> Outcome | None:
        """Calls the planned move of a group off, also while the cluster is suspended."""
        request = pending.request
        assert isinstance(request, GroupCancel)
        refused = self.cluster.no_office()
        if refused is None and self.step.settings.group(request.group) is None:
            refused = self._no_group(request.group)
        return refused or self.planned.cancel(request.group, pending.user)

    def _target(self, group: Group, server: str, request: GroupMove) -> tuple[str, Outcome | None]:
        """Where a group goes that `server` holds now (empty: none does), or what refuses it."""
        to = request.to
        if not to:
            old = self.policy.intent_of(group.name)
            elsewhere = msgspec.structs.replace(old, preferred="", avoid=(server,))
            to, why = self.selection.choose(group, elsewhere)
            if not to and not server:
                text = of_groups.GroupWaits(group.name, why).told()
                return "", Outcome(code=REFUSED, text=text)
            if not to or to == server:
                others = self.selection.why_not(group, elsewhere, beside=server)
                return "", Outcome(
                    code=REFUSED,
                    text=of_monitors.GroupStays(group.name, "", say.nowhere).sentence(server),
                    hint=replies.nobody_else(group.name, others),
                )
        refused = self._cannot_take(group, to, request.force) or self._unproven(group)
        if refused is None and server and not request.force:
            refused = self._would_wait(group, to)
        return to, refused

    def _would_wait(self, group: Group, to: str) -> Outcome | None:
        """Refuses to stop a group that runs, to start it after groups that nothing starts now."""
        awaited = self.start_order.held_up(group, to)
        if not awaited:
            return None
        return Outcome(
            code=REFUSED,
            text=replies.cannot_take(group.name, to, say.would_wait_for(awaited)),
            hint=f"Start that first: clpgrp -s {awaited[0]}; or move it all the same: -f",
        )

    def _moved_to(
        self, to: str, group: Group, server: str, pending: Pending, request: GroupMove
    ) -> Intent:
        """The intent of a group that moves from `server` to `to`."""
        old = self.policy.intent_of(group.name)
        verb = "failed it over" if request.failover else "moved it"
        how = " by force" if request.force else ""
        return Intent(
            group=group.name,
            wanted=True,
            preferred=to,
            force=request.force,
            event="FAILOVER",
            previous=server or old.previous,
            avoid=(server,) if request.failover and server else (),
            reason=f"{request.reason or pending.user} {verb}{how}",
            handled=old.handled,
            stays=to != group.servers[0],
        )


def _stuck(group: str, server: str) -> Outcome:
    """Its stop failed there, and nothing starts it before that is mended."""
    stuck = of_groups.GroupStuck(group, server)
    return Outcome(code=REFUSED, text=stuck.sentence(), hint=stuck.mend())


def _elsewhere(group: str, server: str) -> Outcome:
    """One server was named, and the group is on another."""
    return Outcome(
        code=REFUSED, text=replies.runs_on(group, server), hint=replies.leave_host_out(server)
    )
