"""The cluster service by command: start, leave, suspend (`docs/rules.md`, *Newcomer, leaving*).

    RUNNING --stop--> LEAVING --all released--> TELLING --all know--> STOPPED --start--> (new core)

Leaving releases everything, clears the `member` bit, deletes the state and only then answers
"left".  Suspended, an agent ends without leaving: its groups run on.
"""

from __future__ import annotations

import msgspec

from clptools.core import phrases as say
from clptools.core.cluster.election import Election
from clptools.core.cluster.heartbeats import Heartbeats
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.intents import Intents
from clptools.core.groups.leaving import Leaving
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.placement import Placement
from clptools.core.groups.selection import Selection
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
from clptools.core.model.states import GroupState
from clptools.core.model.words import Stage
from clptools.core.notices import requests as notices
from clptools.core.requests.forwarding import Forwarding
from clptools.core.requests.groups import GroupRequests
from clptools.core.safety.lease import Lease
from clptools.core.step import Change, Step

_TELL_MS = 2_000
"""How long those who do not answer are told that we left."""
_HAND_OVER_MS = 30_000
"""How long a leaving coordinator waits for what it held to start elsewhere."""


class Service:
    """This server's cluster service, and the suspension of the cluster."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        policy: SharedPolicy,
        election: Election,
        heartbeats: Heartbeats,
        lease: Lease,
        intents: Intents,
        selection: Selection,
        lifecycle: Lifecycle,
        placement: Placement,
        leaving: Leaving,
        forwarding: Forwarding,
        group_requests: GroupRequests,
    ) -> None:
        self.step = step
        self.peers = peers
        self.policy = policy
        self.election = election
        self.heartbeats = heartbeats
        self.lease = lease
        self.intents = intents
        self.selection = selection
        self.lifecycle = lifecycle
        self.placement = placement
        self.leaving = leaving
        self.forwarding = forwarding
        self.group_requests = group_requests

    def start(self, pending: Pending) -> Outcome | None:
        step = self.step
        request = pending.request
        if request.server == "*":
            self._to_all(pending)
        if step.life.phase is Phase.RUNNING:
            self.policy.stop_is_over()
            step.changed(Change.DECISIONS)
            return Outcome(text=f"The cluster service of {step.me} is already running.")
        if step.life.phase in (Phase.LEAVING, Phase.TELLING) and not step.life.then:
            # It is stopping: it starts again as soon as it has left.
            step.life.then = "start"
            pending.stage = Stage.LEAVING
            return None
        if step.life.phase is not Phase.STOPPED:
            return Outcome(
                code=REFUSED, text=f"{step.me} is stopping.", hint="Try again in a moment."
            )
        step.do(SetService(stopped=False))
        self.forwarding.finish(pending, Outcome())
        step.do(Reincarnate())
        step.life.phase = Phase.DONE
        return None

    def stop(self, pending: Pending) -> Outcome | None:
        step = self.step
        request = pending.request
        assert isinstance(request, ServiceStop)
        if step.life.phase is Phase.STOPPED:
            return self._stop_again(pending, request.then)
        if self.policy.shared.suspended:
            by = self.policy.shared.suspended_by
            return Outcome(
                code=REFUSED, text=say.cluster_suspended(by), hint="Resume it: clpcl --resume"
            )
        everywhere = request.server == "*" or request.everywhere
        if everywhere:
            self.policy.stop_begins()
            if self.election.in_office():
                shared = msgspec.structs.replace(self.policy.shared, closing=True)
                self.policy.share(shared)
        if request.server == "*":
            self._to_all(pending)
        step.notice(notices.ServiceStops(pending.user))
        self.leaving.begin(request.then, no_move=everywhere)
        pending.stage = Stage.LEAVING
        return None

    def _stop_again(self, pending: Pending, then: str) -> Outcome | None:
        """Already stopped: what was to follow is done all the same."""
        step = self.step
        if then == "start":
            return self.start(pending)
        if pending.request.server == "*":
            self._to_all(pending)
        if not then:
            return Outcome(text=f"The cluster service of {step.me} is already stopped.")
        pending.stage = Stage.HOST
        step.do(HostAction(action=then, reason=f"{pending.user} asked for it"))
        return None

    def _to_all(self, pending: Pending) -> None:
        """The same request to every other server, by name."""
        for name in self.peers:
            one = msgspec.structs.replace(pending.request, server=name)
            if isinstance(one, ServiceStop):
                one = msgspec.structs.replace(one, everywhere=True)
            self.forwarding.pass_on(name, pending.user, one)

    def agent_stopping(self) -> None:
        """SIGTERM.  Suspended, or with the service stopped, nothing is released."""
        step = self.step
        if step.life.phase in (Phase.STOPPED, Phase.DONE):
            self._exit()
        elif step.life.phase is Phase.RUNNING and not self.policy.shared.suspended:
            self.leaving.begin("exit", no_move=False)
        else:
            step.life.then = "exit"

    def _exit(self) -> None:
        step = self.step
        self.lease.disarm()
        step.do(Exit())
        step.life.phase = Phase.DONE

    def _end_suspended(self) -> None:
        """Our groups may only outlive us once nobody would clear us by our lease."""
        if not self.policy.shared.suspended:
            self.leaving.begin("exit", no_move=False)
        elif not self.lease.binds() or not self.lifecycle.held():
            self._exit()

    def settle(self) -> None:
        """Goes on with leaving."""
        step = self.step
        if step.life.phase is Phase.RUNNING and step.life.then == "exit":
            self._end_suspended()
        elif step.life.phase is Phase.LEAVING:
            held = self.lifecycle.held()
            stuck = [n for n in held if self.lifecycle.runs[n].state is GroupState.STOP_FAILED]
            if held and len(stuck) == len(held):
                self._cannot_leave(stuck)
            elif not held and not step.beats_due and not self._waits_to_hand_over():
                # The beat that tells of the last release goes out before the word "left".
                self._left()
        elif step.life.phase is Phase.TELLING:
            untold = [
                name
                for name, p in self.peers.items()
                if p.beat is not None
                and step.me not in p.beat.out
                and step.now - p.heard_at <= step.times.hear_ms
            ]
            if not untold or step.now - step.life.left_at > _TELL_MS:
                self._after_leaving()

    def _waits_to_hand_over(self) -> bool:
        """As coordinator: until what we held is started elsewhere, if anybody would take it."""
        step = self.step
        if step.life.no_move or not self.election.in_office():
            return False
        if step.now - step.life.left_at > _HAND_OVER_MS:
            return False
        for group in step.settings.groups:
            if group.name in self.placement.state.grants:
                return True
            intent = self.intents.of(group.name)
            server, _ = self.group_requests.where(group.name)
            if intent.wanted and not server and self.selection.choose(group, intent)[0]:
                return True
        return False

    def _cannot_leave(self, stuck: list[str]) -> None:
        step = self.step
        notice = notices.CannotLeave(stuck)
        step.notice(notice)
        if step.life.then == "exit":
            step.do(Exit())
            step.life.phase = Phase.DONE
            return
        step.life.phase = Phase.RUNNING
        step.changed(Change.DECISIONS)
        self._end_leaving(Outcome(code=FAILED, text=notice.told(step.me)))

    def _end_leaving(self, outcome: Outcome) -> None:
        for pending in list(self.forwarding.state.pending.values()):
            if pending.stage == Stage.LEAVING:
                self.forwarding.finish(pending, outcome)

    def _left(self) -> None:
        """Everything is released: the bit, the state, then the word."""
        step = self.step
        step.life.phase = Phase.TELLING
        step.life.left_at = step.now
        step.life.member = False
        self.election.state.vote = ""
        self.lease.disarm()
        step.do(SetMember(member=False))
        step.do(Persist(durable=None))
        step.notice(notices.ServiceStopped())
        self.heartbeats.tell_left(list(self.peers))
        step.changed(Change.DECISIONS)

    def _after_leaving(self) -> None:
        step = self.step
        then = step.life.then
        step.life.phase = Phase.STOPPED
        if then == "exit":
            step.do(Exit())
            step.life.phase = Phase.DONE
            return
        if then != "start":
            step.do(SetService(stopped=True))
        if then in ("", "start"):
            self._end_leaving(Outcome())
        if then == "start":
            step.do(Reincarnate())
            step.life.phase = Phase.DONE
        elif then:
            for pending in self.forwarding.state.pending.values():
                if pending.stage == Stage.LEAVING:
                    pending.stage = Stage.HOST
            step.do(HostAction(action=then, reason=f"{step.me} has left the cluster for it"))

    def host_action_done(self, event: HostActionDone) -> None:
        """Whoever asked for this server's shutdown hears whether it has begun."""
        outcome = Outcome()
        if not event.ok:
            text = say.not_shut_down(self.step.me, event.action, event.text)
            outcome = Outcome(code=FAILED, text=text)
        for pending in list(self.forwarding.state.pending.values()):
            if pending.stage == Stage.HOST:
                self.forwarding.finish(pending, outcome)

    # ------------------------------------------------------------------ suspend and resume

    def suspend(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, Suspend)
        return self._set_suspended(pending, True, request.force)

    def resume(self, pending: Pending) -> Outcome | None:
        return self._set_suspended(pending, False, True)

    def _set_suspended(self, pending: Pending, on: bool, force: bool) -> Outcome | None:
        shared = self.policy.shared
        if not self.election.in_office():
            return self.group_requests.refused_now()
        if shared.suspended is on:
            return Outcome(text=f"The cluster is already {'suspended' if on else 'running'}.")
        away = [s for s in self.peers if not self.peers.is_online(s)]
        if away and not force:
            return Outcome(
                code=REFUSED,
                text=f"All servers must be online to suspend; {say.listed(away)} "
                f"{'is' if len(away) == 1 else 'are'} not.",
                hint="Suspend all the same: clpcl --suspend --force",
            )
        self.policy.share(
            msgspec.structs.replace(shared, suspended=on, suspended_by=pending.user if on else "")
        )
        return None

    def through(self, pending: Pending) -> Outcome | None:
        """Suspended or resumed is the cluster once everybody who is heard says so."""
        if not isinstance(pending.request, Suspend | Resume):
            return None
        on = isinstance(pending.request, Suspend)
        told = {
            name: p.beat.suspended is on
            for name, p in self.peers.items()
            if p.beat is not None and self.peers.is_online(name)
        }
        # A majority of those that vote: whoever is elected next hears of it from one of them.
        electorate = self.peers.electorate()
        many = 1 + sum(1 for name in electorate if told.get(name, False))
        done = all(told.values()) and many >= majority(len(electorate))
        return Outcome() if done else None
