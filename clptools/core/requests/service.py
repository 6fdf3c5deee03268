"""The cluster service by command: start, leave, suspend (`docs/rules.md`, *Newcomer, leaving*).

    RUNNING --stop--> LEAVING --all released--> TELLING --all know--> STOPPED --start--> (new core)

Leaving releases everything, clears the `member` bit, deletes the state and only then answers
"left".  Suspended, an agent ends without leaving: its groups run on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from clptools.core import sentences as say
from clptools.core.model.actions import (
    Exit,
    HostAction,
    Persist,
    Reincarnate,
    SetMember,
    SetService,
)
from clptools.core.model.codes import FAILED, REFUSED
from clptools.core.model.events import HostActionDone
from clptools.core.model.quorum import majority
from clptools.core.model.requests import Outcome, Resume, ServiceStop, Suspend
from clptools.core.model.state import Pending, Phase
from clptools.core.model.states import GroupState, GroupWhy

if TYPE_CHECKING:
    from clptools.core.node import Node

_TELL_MS = 2_000
"""How long those who do not answer are told that we left."""
_HAND_OVER_MS = 30_000
"""How long a leaving coordinator waits for what it held to start elsewhere."""


class Service:
    """This server's cluster service, and the suspension of the cluster."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def start(self, pending: Pending) -> Outcome | None:
        node = self.node
        request = pending.request
        if request.server == "*":
            self._to_all(pending)
        if node.state.phase is Phase.RUNNING:
            node.state.closing = False
            node.changed = True
            return Outcome(text=f"The cluster service of {node.me} is already running.")
        if node.state.phase in (Phase.LEAVING, Phase.TELLING) and not node.state.then:
            # It is stopping: it starts again as soon as it has left.
            node.state.then = "start"
            pending.stage = "leaving"
            return None
        if node.state.phase is not Phase.STOPPED:
            return Outcome(
                code=REFUSED, text=f"{node.me} is stopping.", hint="Try again in a moment."
            )
        node.emit(SetService(stopped=False))
        self.node.operations.finish(pending, Outcome())
        node.emit(Reincarnate())
        node.state.phase = Phase.DONE
        return None

    def stop(self, pending: Pending) -> Outcome | None:
        node = self.node
        request = pending.request
        assert isinstance(request, ServiceStop)
        if node.state.phase is Phase.STOPPED:
            return self._stop_again(pending, request.then)
        if node.state.shared.suspended:
            by = node.state.shared.suspended_by
            return Outcome(
                code=REFUSED, text=say.cluster_suspended(by), hint="Resume it: clpcl --resume"
            )
        everywhere = request.server == "*" or request.everywhere
        if everywhere:
            node.state.closing = True
            if node.votes.in_office():
                shared = msgspec.structs.replace(node.state.shared, closing=True)
                node.policy.share(shared)
        if request.server == "*":
            self._to_all(pending)
        node.record("pm", 31, "INFO", (node.me,), say.service_stops(node.me, pending.user))
        self.leave(request.then, no_move=everywhere)
        pending.stage = "leaving"
        return None

    def _stop_again(self, pending: Pending, then: str) -> Outcome | None:
        """Already stopped: what was to follow is done all the same."""
        node = self.node
        if then == "start":
            return self.start(pending)
        if pending.request.server == "*":
            self._to_all(pending)
        if not then:
            return Outcome(text=f"The cluster service of {node.me} is already stopped.")
        pending.stage = "host"
        node.emit(HostAction(action=then, reason=f"{pending.user} asked for it"))
        return None

    def _to_all(self, pending: Pending) -> None:
        """The same request to every other server, by name."""
        node = self.node
        for name in node.state.peers:
            one = msgspec.structs.replace(pending.request, server=name)
            if isinstance(one, ServiceStop):
                one = msgspec.structs.replace(one, everywhere=True)
            node.operations.pass_on(name, pending.user, one)

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
        if node.state.phase in (Phase.STOPPED, Phase.DONE):
            self._exit()
        elif node.state.phase is Phase.RUNNING and not node.state.shared.suspended:
            self.leave("exit", no_move=False)
        else:
            node.state.then = "exit"

    def _exit(self) -> None:
        node = self.node
        node.lease.disarm()
        node.emit(Exit())
        node.state.phase = Phase.DONE

    def _end_suspended(self) -> None:
        """Our groups may only outlive us once nobody would clear us by our lease."""
        node = self.node
        if not node.state.shared.suspended:
            self.leave("exit", no_move=False)
        elif not node.lease.binds() or not node.groups.holds_any():
            self._exit()

    def settle(self) -> None:
        """Goes on with leaving."""
        node = self.node
        state = node.state
        if state.phase is Phase.RUNNING and state.then == "exit":
            self._end_suspended()
        elif state.phase is Phase.LEAVING:
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
        if node.now - state.left_at > _HAND_OVER_MS:
            return False
        for group in node.settings.groups:
            if group.name in state.grants:
                return True
            intent = node.policy.intent(group.name)
            server, _ = node.group_requests.where(group.name)
            if intent.wanted and not server and node.choice.choose(group, intent)[0]:
                return True
        return False

    def _cannot_leave(self, stuck: list[str]) -> None:
        node = self.node
        text = say.leave_failed(node.me, stuck)
        node.record("pm", 930, "ERROR", (node.me, *stuck), text)
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
                self.node.operations.finish(pending, outcome)

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
        if then in ("", "start"):
            self._end_leaving(Outcome())
        if then == "start":
            node.emit(Reincarnate())
            state.phase = Phase.DONE
        elif then:
            for pending in state.pending.values():
                if pending.stage == "leaving":
                    pending.stage = "host"
            node.emit(HostAction(action=then, reason=f"{node.me} has left the cluster for it"))

    def host_action_done(self, event: HostActionDone) -> None:
        """Whoever asked for this server's shutdown hears whether it has begun."""
        outcome = Outcome()
        if not event.ok:
            text = say.not_shut_down(self.node.me, event.action, event.text)
            outcome = Outcome(code=FAILED, text=text)
        for pending in list(self.node.state.pending.values()):
            if pending.stage == "host":
                self.node.operations.finish(pending, outcome)

    # ------------------------------------------------------------------ suspend and resume

    def suspend(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, Suspend)
        return self._set_suspended(pending, True, request.force)

    def resume(self, pending: Pending) -> Outcome | None:
        return self._set_suspended(pending, False, True)

    def _set_suspended(self, pending: Pending, on: bool, force: bool) -> Outcome | None:
        node = self.node
        shared = node.state.shared
        if not node.votes.in_office():
            return self.node.group_requests.refused_now()
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
        node.policy.share(
            msgspec.structs.replace(shared, suspended=on, suspended_by=pending.user if on else "")
        )
        return None

    def through(self, pending: Pending) -> Outcome | None:
        """Suspended or resumed is the cluster once everybody who is heard says so."""
        node = self.node
        if not isinstance(pending.request, Suspend | Resume):
            return None
        on = isinstance(pending.request, Suspend)
        told = {
            name: p.beat.suspended is on
            for name, p in node.state.peers.items()
            if p.beat is not None and node.membership.is_online(name)
        }
        # A majority of those that vote: whoever is elected next hears of it from one of them.
        electorate = node.membership.electorate()
        many = 1 + sum(1 for name in electorate if told.get(name, False))
        done = all(told.values()) and many >= majority(len(electorate))
        return Outcome() if done else None
