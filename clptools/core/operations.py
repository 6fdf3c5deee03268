"""Requests: who decides them, what refuses them, and when they are through.

Groups are the coordinator's; resources are the holder's; the rest is the named server's.  A
request for somebody else is forwarded, and its end comes back as an answer.  Whoever decides
keeps the request pending and watches for its end after each settling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from clptools.core import sentences as say
from clptools.core.actions import (
    Exit,
    HostAction,
    Persist,
    Progress,
    Reincarnate,
    Reply,
    SendControl,
    SetMember,
    SetService,
)
from clptools.core.events import MessageSeen, RequestSeen
from clptools.core.ledger import LINKAGE, matches
from clptools.core.messages import Answer, Forward, Intent
from clptools.core.requests import (
    Acknowledge,
    ConfirmDown,
    ExternalNotice,
    GroupMove,
    GroupStart,
    GroupStop,
    MonitorClear,
    MonitorFault,
    MonitorResume,
    MonitorSuspend,
    Outcome,
    Request,
    ResourceStart,
    ResourceStop,
    Resume,
    ServiceStart,
    ServiceStop,
    Suspend,
)
from clptools.core.settings import Group, Monitor
from clptools.core.state import Pending, Phase
from clptools.core.states import GroupState, GroupWhy, ResourceState

if TYPE_CHECKING:
    from clptools.core.node import Node

DONE, FAILED, NO_SUCH, REFUSED, TIMED_OUT = 0, 1, 5, 6, 7
"""Exit codes of `interface.md` section 3, as far as the core decides them."""

_COORDINATORS = (GroupStart, GroupStop, GroupMove, Suspend, Resume)
_TELL_MS = 2_000
_GIVE_UP_MS = 3_600_000
_MOVE_AWAY_MS = 30_000


class Operations:
    """Carries requests through, and this server's leaving."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._handlers = {
            ServiceStart: self._service_start,
            ServiceStop: self._service_stop,
            Suspend: self._suspend,
            Resume: self._resume,
            GroupStart: self._group_start,
            GroupStop: self._group_stop,
            GroupMove: self._group_move,
            ResourceStart: self._resource,
            ResourceStop: self._resource,
            MonitorSuspend: self._monitor_suspend,
            MonitorResume: self._monitor_suspend,
            MonitorClear: self._monitor_clear,
            MonitorFault: self._monitor_fault,
            Acknowledge: self._acknowledge,
            ExternalNotice: self._external,
            ConfirmDown: self._confirm_down,
        }

    # ------------------------------------------------------------------ in and out

    def request(self, event: RequestSeen) -> None:
        """A request came in on this server."""
        pending = Pending(
            id=event.id, request=event.request, user=event.user, origin="", since=self.node.now
        )
        self._route(pending)

    def forwarded(self, message: Forward) -> None:
        """A request came from another server."""
        pending = Pending(
            id=message.id,
            request=message.request,
            user=message.user,
            origin=message.sender,
            since=self.node.now,
        )
        self._decide(pending)

    def answered(self, message: Answer) -> None:
        """The outcome of a request that we forwarded."""
        pending = self.node.state.pending.pop(message.id, None)
        if pending is not None:
            self.node.emit(Reply(id=message.id, outcome=message.outcome))

    def ask_coordinator(self, request: Request) -> None:
        """A recovery's own request to whoever is coordinator."""
        node = self.node
        number = node.state.next_token
        node.state.next_token += 1
        pending = Pending(
            id=f"{node.me}#{number}",
            request=request,
            user="recovery",
            origin=node.me,
            since=node.now,
        )
        self._route(pending)

    def _route(self, pending: Pending) -> None:
        node = self.node
        request = pending.request
        stopped = node.state.phase is Phase.STOPPED and not isinstance(request, ServiceStart)
        if stopped and request.server in ("", node.me):
            text = f"The cluster service of {node.me} is stopped."
            self._finish(pending, Outcome(code=3, text=text, hint="Start it: clpcl -s"))
            return
        if request.server not in ("", "*", *node.settings.names):
            self._finish(pending, self._no_server(request.server))
            return
        if isinstance(request, _COORDINATORS):
            target = node.votes.coordinator()
            if not target:
                text = say.no_coordinator("a majority is needed")
                self._finish(pending, Outcome(code=REFUSED, text=text, hint="clpstat -s"))
                return
        elif isinstance(request, ResourceStart | ResourceStop):
            target = self._holder_of(request.resource) or node.me
        elif isinstance(request, Acknowledge) and not request.server:
            target = self._has_event(request) or node.me
        else:
            target = request.server or node.me
            if target == "*":
                target = node.me
        if target == node.me:
            self._decide(pending)
            return
        pending.stage = "forwarded"
        pending.server = target
        node.state.pending[pending.id] = pending
        node.emit(
            SendControl(
                to=target,
                message=Forward(id=pending.id, sender=node.me, user=pending.user, request=request),
            )
        )

    def _decide(self, pending: Pending) -> None:
        if pending.id in self.node.state.pending:
            return
        outcome = self._handlers[type(pending.request)](pending)
        if outcome is not None:
            self._finish(pending, outcome)
            return
        pending.stage = pending.stage or "watch"
        self.node.state.pending[pending.id] = pending
        self.node.requests_due = True

    def _finish(self, pending: Pending, outcome: Outcome) -> None:
        node = self.node
        node.state.pending.pop(pending.id, None)
        if not pending.origin:
            node.emit(Reply(id=pending.id, outcome=outcome))
        elif pending.origin != node.me:
            answer = Answer(id=pending.id, outcome=outcome)
            node.emit(SendControl(to=pending.origin, message=answer))

    def progress(self, text: str, subjects: tuple[str, ...]) -> None:
        """Tells those who wait for something about these subjects what happened."""
        for pending in self.node.state.pending.values():
            if pending.origin:
                continue
            named = getattr(pending.request, "group", "")
            if named == "" or named in subjects:
                self.node.emit(Progress(id=pending.id, text=text))

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Ends what is through; goes on with leaving."""
        node = self.node
        for pending in list(node.state.pending.values()):
            outcome = self._through(pending)
            if outcome is not None:
                self._finish(pending, outcome)
        self._go_on_leaving()

    def _through(self, pending: Pending) -> Outcome | None:
        node = self.node
        if pending.stage == "forwarded":
            if pending.server in node.state.peers and not node.membership.is_online(pending.server):
                text = f"{pending.server} was asked, but is lost now; what it did is unknown."
                return Outcome(code=TIMED_OUT, text=text, hint="clpstat -s")
            return None
        if node.now - pending.since > _GIVE_UP_MS:
            return Outcome(code=TIMED_OUT, text="It did not come to an end within an hour.")
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
            outcome = check(each, pending)
            if outcome is None:
                return None
            if outcome.code > worst.code:
                worst = outcome
        return worst

    def _groups(self, name: str) -> list[Group]:
        return [g for g in self.node.settings.groups if name in ("", g.name)]

    def _where(self, group: str) -> tuple[str, str]:
        """The server that holds a group and the state it is in there; or nothing."""
        held = list(self.node.placement.holders(group))
        if not held:
            return "", ""
        newest = max(held, key=lambda h: h.seen)
        return newest.server, newest.state

    def _started(self, group: Group, pending: Pending) -> Outcome | None:
        server, state = self._where(group.name)
        intent = self.node.placement.intent(group.name)
        if server and state == GroupState.ONLINE:
            return Outcome()
        if server and state == GroupState.STOP_FAILED:
            return Outcome(code=FAILED, text=say.group_stuck(group.name, server))
        if not server and not intent.wanted:
            tried = intent.avoid or ("any server",)
            return Outcome(code=FAILED, text=say.start_ended_badly(group.name, tried[-1]))
        return None

    def _moved(self, group: Group, pending: Pending) -> Outcome | None:
        server, state = self._where(group.name)
        intent = self.node.placement.intent(group.name)
        if server and state == GroupState.STOP_FAILED:
            return Outcome(code=FAILED, text=say.group_stuck(group.name, server))
        if server and state == GroupState.ONLINE and not intent.preferred:
            wanted = pending.server
            if wanted and server != wanted and not isinstance(pending.request, GroupStart):
                return Outcome(
                    code=FAILED,
                    text=f"{say.start_ended_badly(group.name, wanted)} It runs on {server}.",
                )
            return Outcome()
        if not server and not intent.wanted:
            return Outcome(code=FAILED, text=say.start_ended_badly(group.name, pending.server))
        return None

    def _stopped(self, group: Group, pending: Pending) -> Outcome | None:
        server, state = self._where(group.name)
        if not server:
            return Outcome()
        if state == GroupState.STOP_FAILED:
            return Outcome(code=FAILED, text=say.group_stuck(group.name, server))
        return None

    # ------------------------------------------------------------------ groups (coordinator)

    def _refused_now(self) -> Outcome | None:
        node = self.node
        if not node.votes.in_office():
            text = say.no_coordinator(f"{node.me} was asked, and is not it any more")
            return Outcome(code=REFUSED, text=text)
        if node.state.shared.suspended:
            by = node.state.shared.suspended_by
            return Outcome(
                code=REFUSED, text=say.cluster_suspended(by), hint="Resume it: clpcl --resume"
            )
        return None

    def _no_group(self, name: str) -> Outcome:
        known = ", ".join(g.name for g in self.node.settings.groups) or "none"
        return Outcome(code=NO_SUCH, text=f"No such group: {name}; known: {known}.")

    def _no_server(self, name: str) -> Outcome:
        known = ", ".join(self.node.settings.names)
        return Outcome(code=NO_SUCH, text=f"No such server: {name}; known: {known}.")

    def _cannot_take(self, group: Group, server: str, force: bool) -> Outcome | None:
        node = self.node
        if server not in node.settings.names:
            return self._no_server(server)
        if server not in group.servers:
            text = say.cannot_take(group.name, server, "it is not among the group's servers")
            return Outcome(code=REFUSED, text=text)
        why = node.placement.not_eligible(server)
        if why:
            return Outcome(code=REFUSED, text=say.cannot_take(group.name, server, why))
        if node.placement.is_barred(server) and not force:
            return Outcome(
                code=REFUSED,
                text=say.barred(group.name, server),
                hint="Close the event: clpmonctrl --acknowledge; or move it all the same: -f",
            )
        return None

    def _group_start(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, GroupStart)
        refused = self._refused_now()
        if refused is not None:
            return refused
        groups = self._groups(request.group)
        if not groups:
            return self._no_group(request.group)
        begun = False
        said = ""
        for group in groups:
            server, _ = self._where(group.name)
            if server and (not request.server or request.server == server):
                said = say.already(group.name, server)
                continue
            if server:
                return Outcome(
                    code=REFUSED,
                    text=f"{group.name} runs on {server}.",
                    hint=f"Move it: clpgrp -m {group.name} -a {request.server}",
                )
            if request.server:
                refused = self._cannot_take(group, request.server, request.force)
                if refused is not None:
                    return refused
            begun = True
            old = self.node.placement.intent(group.name)
            self.node.placement.amend(
                Intent(
                    group=group.name,
                    wanted=True,
                    preferred=request.server,
                    force=request.force,
                    event="START",
                    reason=f"{pending.user} started it",
                    handled=old.handled,
                )
            )
        return None if begun else Outcome(text=said)

    def _group_stop(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, GroupStop)
        refused = self._refused_now()
        if refused is not None:
            return refused
        groups = self._groups(request.group)
        if not groups:
            return self._no_group(request.group)
        begun = False
        said = ""
        for group in groups:
            old = self.node.placement.intent(group.name)
            server, state = self._where(group.name)
            if not server and not old.wanted:
                said = say.already_stopped(group.name)
                continue
            if state == GroupState.STOP_FAILED and not request.force:
                return Outcome(
                    code=REFUSED,
                    text=say.group_stuck(group.name, server),
                    hint=f"clpgrp -t {group.name} -f",
                )
            begun = True
            self.node.placement.amend(
                Intent(
                    group=group.name,
                    wanted=False,
                    force=request.force,
                    reason=f"{pending.user} stopped it",
                    handled=old.handled,
                )
            )
        return None if begun else Outcome(text=said)

    def _group_move(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, GroupMove)
        refused = self._refused_now()
        if refused is not None:
            return refused
        groups = self._groups(request.group)
        if not groups:
            return self._no_group(request.group)
        begun = False
        said = ""
        node = self.node
        for group in groups:
            server, _ = self._where(group.name)
            if not request.group and server != (request.server or node.me):
                continue
            if not server and not request.failover:
                return Outcome(code=REFUSED, text=say.not_running(group.name))
            if request.to and server == request.to:
                said = say.already(group.name, server)
                continue
            old = node.placement.intent(group.name)
            to = request.to
            if not to:
                elsewhere = msgspec.structs.replace(old, preferred="", avoid=(server,))
                to, why = node.placement.choose(group, elsewhere)
                if not to or to == server:
                    text = say.nowhere(group.name, server)
                    return Outcome(code=REFUSED, text=text, hint=f"It waits for {why}.")
            refused = self._cannot_take(group, to, request.force)
            if refused is not None:
                return refused
            begun = True
            pending.server = to
            verb = "failed it over" if request.failover else "moved it"
            node.placement.amend(
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
                )
            )
        return None if begun else Outcome(text=said)

    # ------------------------------------------------------------------ resources (holder)

    def _holder_of(self, resource: str) -> str:
        group = self.node.settings.group_of(resource)
        return self._where(group.name)[0] if group is not None else ""

    def _resource(self, pending: Pending) -> Outcome | None:
        node = self.node
        request = pending.request
        assert isinstance(request, ResourceStart | ResourceStop)
        group = node.settings.group_of(request.resource)
        if group is None or group.resource(request.resource) is None:
            known = ", ".join(r.name for g in node.settings.groups for r in g.resources)
            return Outcome(
                code=NO_SUCH, text=f"No such resource: {request.resource}; known: {known}."
            )
        if node.state.shared.suspended:
            return Outcome(code=REFUSED, text=say.cluster_suspended(node.state.shared.suspended_by))
        run = node.state.groups.get(group.name)
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
        act = node.groups.start_resource if starting else node.groups.stop_resource
        refusal = act(group, request.resource, request.force)
        if refusal:
            return Outcome(code=REFUSED, text=refusal, hint="Include them: -f")
        return None

    def _resource_through(self, request: ResourceStart | ResourceStop) -> Outcome | None:
        node = self.node
        group = node.settings.group_of(request.resource)
        run = node.state.groups.get(group.name) if group is not None else None
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

    # ------------------------------------------------------------------ cluster service

    def _service_start(self, pending: Pending) -> Outcome | None:
        node = self.node
        request = pending.request
        if request.server == "*":
            self._to_all(pending, ServiceStart)
        if node.state.phase is Phase.RUNNING:
            return Outcome(text=f"The cluster service of {node.me} is already running.")
        if node.state.phase is not Phase.STOPPED:
            return Outcome(
                code=REFUSED, text=f"{node.me} is stopping.", hint="Try again in a moment."
            )
        node.emit(SetService(stopped=False))
        self._finish(pending, Outcome())
        node.emit(Reincarnate())
        node.state.phase = Phase.DONE
        return None

    def _service_stop(self, pending: Pending) -> Outcome | None:
        node = self.node
        request = pending.request
        assert isinstance(request, ServiceStop)
        if node.state.shared.suspended:
            by = node.state.shared.suspended_by
            return Outcome(
                code=REFUSED, text=say.cluster_suspended(by), hint="Resume it: clpcl --resume"
            )
        if node.state.phase is Phase.STOPPED:
            return Outcome(text=f"The cluster service of {node.me} is already stopped.")
        everywhere = request.server == "*"
        if everywhere:
            if node.votes.in_office():
                shared = msgspec.structs.replace(node.state.shared, closing=True)
                node.placement.share(shared)
            self._to_all(pending, ServiceStop)
        node.record("pm", 31, "INFO", (node.me,), say.service_stops(node.me, pending.user))
        self.leave(request.then, no_move=everywhere)
        pending.stage = "leaving"
        return None

    def _to_all(self, pending: Pending, kind: type[ServiceStart | ServiceStop]) -> None:
        node = self.node
        request = pending.request
        for name in node.state.peers:
            one = msgspec.structs.replace(request, server=name)
            number = node.state.next_token
            node.state.next_token += 1
            node.emit(
                SendControl(
                    to=name,
                    message=Forward(
                        id=f"{node.me}#{number}", sender=node.me, user=pending.user, request=one
                    ),
                )
            )

    def leave(self, then: str, *, no_move: bool) -> None:
        """Begins to leave: no group is taken any more, those held are stopped."""
        node = self.node
        state = node.state
        if state.phase is not Phase.RUNNING:
            return
        state.phase = Phase.LEAVING
        state.then = then
        state.no_move = no_move
        state.left_at = node.now
        for name in node.groups.held():
            node.groups.stop(name, GroupWhy.LEAVING, "CLUSTERSTOP" if no_move else "SERVERSTOP")
        node.urgent = True
        node.changed = True

    def agent_stopping(self) -> None:
        """SIGTERM.  Suspended, or with the service stopped, nothing is released."""
        node = self.node
        if node.state.shared.suspended or node.state.phase in (Phase.STOPPED, Phase.DONE):
            node.emit(Exit())
            node.state.phase = Phase.DONE
            return
        if node.state.phase is Phase.RUNNING:
            self.leave("exit", no_move=False)
        else:
            node.state.then = "exit"

    def _go_on_leaving(self) -> None:
        node = self.node
        state = node.state
        if state.phase is Phase.LEAVING:
            held = node.groups.held()
            stuck = [n for n in held if state.groups[n].state is GroupState.STOP_FAILED]
            if held and len(stuck) == len(held):
                self._cannot_leave(stuck)
            elif not held and not node.urgent and not self._waits_to_hand_over():
                # The beat that tells of the last release goes out before the word "left".
                self._left()
        elif state.phase is Phase.TELLING:
            untold = [
                name
                for name, p in state.peers.items()
                if p.beat is not None
                and node.me not in p.beat.out
                and node.now - p.heard_at <= node.times.hear_ms
            ]
            if not untold or node.now - state.left_at > _TELL_MS:
                self._after_leaving()

    def _waits_to_hand_over(self) -> bool:
        """As coordinator: until what we held is started elsewhere, if anybody would take it."""
        node = self.node
        state = node.state
        if state.no_move or not node.votes.in_office():
            return False
        if node.now - state.left_at > _MOVE_AWAY_MS:
            return False
        for group in node.settings.groups:
            if group.name in state.grants:
                return True
            intent = node.placement.intent(group.name)
            server, _ = self._where(group.name)
            if intent.wanted and not server and node.placement.elsewhere(group):
                return True
        return False

    def _cannot_leave(self, stuck: list[str]) -> None:
        node = self.node
        text = say.leave_failed(node.me, stuck)
        node.record("pm", 13, "ERROR", (node.me, *stuck), text)
        if node.state.then == "exit":
            node.emit(Exit())
            node.state.phase = Phase.DONE
            return
        node.state.phase = Phase.RUNNING
        node.changed = True
        self._end_leaving(Outcome(code=FAILED, text=text))

    def _end_leaving(self, outcome: Outcome) -> None:
        for pending in list(self.node.state.pending.values()):
            if pending.stage == "leaving":
                self._finish(pending, outcome)

    def _left(self) -> None:
        """Everything is released: the bit, the state, then the word."""
        node = self.node
        state = node.state
        state.phase = Phase.TELLING
        state.left_at = node.now
        state.member = False
        state.votes.vote = ""
        node.lease.disarm()
        node.emit(SetMember(member=False))
        node.emit(Persist(durable=None))
        node.record("nm", 2, "INFO", (node.me,), say.service_stopped(node.me))
        node.beats.tell_left(list(state.peers))
        node.changed = True

    def _after_leaving(self) -> None:
        node = self.node
        state = node.state
        then = state.then
        state.phase = Phase.STOPPED
        if then == "exit":
            node.emit(Exit())
            state.phase = Phase.DONE
            return
        if then != "start":
            node.emit(SetService(stopped=True))
        self._end_leaving(Outcome())
        if then == "start":
            node.emit(Reincarnate())
            state.phase = Phase.DONE
        elif then:
            node.emit(HostAction(action=then, reason=f"{node.me} has left the cluster for it"))

    # ------------------------------------------------------------------ suspend and resume

    def _suspend(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, Suspend)
        return self._set_suspended(pending, True, request.force)

    def _resume(self, pending: Pending) -> Outcome | None:
        return self._set_suspended(pending, False, True)

    def _set_suspended(self, pending: Pending, on: bool, force: bool) -> Outcome | None:
        node = self.node
        shared = node.state.shared
        if not node.votes.in_office():
            return self._refused_now()
        if shared.suspended is on:
            return Outcome(text=f"The cluster is already {'suspended' if on else 'running'}.")
        away = [s for s in node.state.peers if not node.membership.is_online(s)]
        if away and not force:
            return Outcome(
                code=REFUSED,
                text=f"All servers must be online to suspend; {say.listed(away)} "
                f"{'is' if len(away) == 1 else 'are'} not.",
                hint="Suspend all the same: clpcl --suspend --force",
            )
        node.placement.share(
            msgspec.structs.replace(shared, suspended=on, suspended_by=pending.user if on else "")
        )
        return Outcome()

    # ------------------------------------------------------------------ monitors

    def _unknown_monitor(self, names: tuple[str, ...]) -> Outcome | None:
        known = [m.name for m in self.node.recovery.here()]
        for name in names:
            if name not in known:
                text = f"No such monitor on {self.node.me}: {name}; known: {', '.join(known)}."
                return Outcome(code=NO_SUCH, text=text)
        return None

    def _monitor_suspend(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, MonitorSuspend | MonitorResume)
        unknown = self._unknown_monitor(request.monitors)
        if unknown is not None:
            return unknown
        on = isinstance(request, MonitorSuspend)
        changed = self.node.recovery.suspend(request.monitors, on, pending.user)
        if changed:
            return Outcome()
        return Outcome(text=f"Already {'suspended' if on else 'running'}.")

    def _monitor_clear(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, MonitorClear)
        unknown = self._unknown_monitor(request.monitors)
        if unknown is None:
            self.node.recovery.clear_counters(request.monitors)
        return unknown or Outcome()

    def _monitor_fault(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, MonitorFault)
        names = (request.monitor,) if request.monitor else ()
        unknown = self._unknown_monitor(names)
        if unknown is not None:
            return unknown
        for monitor in self.node.recovery.here():
            if names and monitor.name not in names:
                continue
            if monitor.type in ("mrw", "userw"):
                if names:
                    text = f"{monitor.name} ({monitor.type}) takes no dummy failure."
                    return Outcome(code=REFUSED, text=text)
                continue
            self.node.recovery.fault(monitor, request.on)
        return Outcome()

    def _has_event(self, request: Acknowledge) -> str:
        """The server that has the named open event; we first."""
        node = self.node
        if any(request.event in (0, e.id) for e in node.ledger.open_of(request.monitor)):
            return node.me
        for name, p in node.state.peers.items():
            if p.report is None:
                continue
            for event in p.report.server.open_events:
                if event.monitor == request.monitor and request.event in (0, event.id):
                    return name
        return ""

    def _acknowledge(self, pending: Pending) -> Outcome | None:
        node = self.node
        request = pending.request
        assert isinstance(request, Acknowledge)
        monitor = node.settings.monitor(request.monitor)
        if monitor is None or monitor.type != "mrw":
            known = ", ".join(m.name for m in node.settings.monitors if m.type == "mrw") or "none"
            text = f"No such message receive monitor: {request.monitor}; known: {known}."
            return Outcome(code=NO_SUCH, text=text)
        closed = node.ledger.acknowledge(monitor, request.event, pending.user)
        if not closed and request.event:
            return Outcome(code=NO_SUCH, text=f"{monitor.name} has no open event {request.event}.")
        return Outcome(text="" if closed else f"{monitor.name} has no open event.")

    def _external(self, pending: Pending) -> Outcome | None:
        node = self.node
        request = pending.request
        assert isinstance(request, ExternalNotice)
        found: list[Monitor] = []
        for monitor in node.recovery.here():
            if monitor.type != "mrw":
                continue
            if request.monitor:
                if monitor.name == request.monitor:
                    found.append(monitor)
            elif matches(monitor, node.me, request.category, request.keyword):
                found.append(monitor)
        if not found:
            thing = request.monitor or f"{request.category}.{request.keyword}".rstrip(".")
            return Outcome(code=NO_SUCH, text=f"No message receive monitor here takes {thing}.")
        for monitor in found:
            if monitor.category in LINKAGE:
                text = say.linkage_owned(monitor.name, monitor.category)
                return Outcome(
                    code=REFUSED,
                    text=text,
                    hint=f"Close its events: clpmonctrl --acknowledge -m {monitor.name}",
                )
        node.record(
            "trnsv",
            10,
            "INFO",
            (node.me, *(m.name for m in found)),
            f"A notification came from outside ({request.origin or pending.user}).",
        )
        for monitor in found:
            if request.clear:
                node.ledger.acknowledge(monitor, 0, pending.user)
                continue
            node.ledger.message(
                MessageSeen(
                    category=monitor.category,
                    keyword=request.keyword or monitor.keywords.get(node.me, ""),
                    text=request.text,
                    origin=request.origin or pending.user,
                )
            )
        return Outcome()

    # ------------------------------------------------------------------ confirm-down

    def _confirm_down(self, pending: Pending) -> Outcome | None:
        node = self.node
        request = pending.request
        assert isinstance(request, ConfirmDown)
        p = node.state.peers.get(request.down)
        if request.down == node.me:
            return Outcome(code=REFUSED, text=f"{node.me} itself answers: it is not down.")
        if p is None:
            return self._no_server(request.down)
        if node.membership.hears(request.down):
            text = f"{request.down} is heard now: it is not down."
            return Outcome(code=REFUSED, text=text)
        if p.confirmed:
            return Outcome(text=f"{request.down} is already confirmed down.")
        p.confirmed = pending.user
        node.dirty = True
        node.changed = True
        node.record(
            "rc",
            90,
            "WARN",
            (request.down, node.me),
            say.confirmed_down(request.down, pending.user),
        )
        if not pending.origin:
            for name in node.state.peers:
                if node.membership.hears(name):
                    number = node.state.next_token
                    node.state.next_token += 1
                    node.emit(
                        SendControl(
                            to=name,
                            message=Forward(
                                id=f"{node.me}#{number}",
                                sender=node.me,
                                user=pending.user,
                                request=request,
                            ),
                        )
                    )
        return Outcome()
