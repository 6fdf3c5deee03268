"""The cluster service by command: start and leave (`docs/rules.md`, *Newcomer, leaving*).

    RUNNING --stop--> LEAVING --all released--> TELLING --all know--> STOPPED --start--> (new core)

Leaving releases everything, clears the `member` bit, deletes the state and only then answers
"left".  Suspended, an agent ends without leaving: its groups run on.
"""

from __future__ import annotations

import msgspec

from clptools.core import replies
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.heartbeats import Heartbeats
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.grants import Grants
from clptools.core.groups.holders import Holders
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.runs import GroupRuns
from clptools.core.groups.selection import Selection
from clptools.core.groups.start_order import StartOrder
from clptools.core.groups.stop_order import StopOrder
from clptools.core.model.actions import (
    Exit,
    HostAction,
    Persist,
    Reincarnate,
    SetMember,
    SetService,
)
from clptools.core.model.events import AgentStopping, HostActionDone
from clptools.core.model.messages import Beat, Echo
from clptools.core.model.requests import FAILED, REFUSED, Outcome, ServiceStop
from clptools.core.model.state import Pending, Phase
from clptools.core.model.states import GroupState
from clptools.core.model.words import AfterStop, Stage
from clptools.core.notices import requests as notices
from clptools.core.notices.monitors import HostActionFailed
from clptools.core.phrases import listed
from clptools.core.requests.cluster import ClusterRequests
from clptools.core.requests.forwarding import Forwarding
from clptools.core.safety.lease import Lease
from clptools.core.step import Change, Step

_TELL_MS = 2_000
"""How long servers that do not answer are told that we left."""
_HAND_OVER_MS = 30_000
"""How long a leaving coordinator waits for what it held to start elsewhere."""


class Service:
    """Starts and stops the cluster service of this server."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        policy: SharedPolicy,
        authority: Authority,
        heartbeats: Heartbeats,
        lease: Lease,
        selection: Selection,
        start_order: StartOrder,
        stop_order: StopOrder,
        groups: GroupRuns,
        lifecycle: Lifecycle,
        holders: Holders,
        grants: Grants,
        forwarding: Forwarding,
        cluster: ClusterRequests,
    ) -> None:
        self.step = step
        self.peers = peers
        self.policy = policy
        self.authority = authority
        self.heartbeats = heartbeats
        self.lease = lease
        self.selection = selection
        self.start_order = start_order
        self.stop_order = stop_order
        self.groups = groups
        self.lifecycle = lifecycle
        self.holders = holders
        self.grants = grants
        self.forwarding = forwarding
        self.cluster = cluster

    def start(self, pending: Pending) -> Outcome | None:
        step = self.step
        request = pending.request
        if request.server == "*":
            self._to_all(pending)
        if step.life.phase is Phase.RUNNING:
            self.policy.stop_is_over()
            step.changed(Change.DECISIONS)
            return self._already(
                "running", "start", [n for n in self.peers if self.peers[n].left], request.server
            )
        if step.life.phase in (Phase.LEAVING, Phase.TELLING) and not step.life.then:
            # It is stopping: it starts again as soon as it has left.
            step.life.then = AfterStop.START
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
        refused = self.cluster.refused_suspended()
        if refused is not None:
            return refused
        everywhere = request.server == "*" or request.everywhere
        if everywhere:
            self.policy.stop_begins()
            if self.authority.in_office():
                shared = msgspec.structs.replace(self.policy.shared, closing=True)
                self.policy.share(shared)
        if request.server == "*":
            self._to_all(pending)
        step.notice(notices.ServiceStops(pending.user))
        self.lifecycle.leave(request.then, no_move=everywhere)
        pending.stage = Stage.LEAVING
        return None

    def _stop_again(self, pending: Pending, then: AfterStop) -> Outcome | None:
        """Already stopped: what was to follow is done all the same."""
        step = self.step
        if then is AfterStop.START:
            return self.start(pending)
        if pending.request.server == "*":
            self._to_all(pending)
        if not then:
            running = [n for n in self.peers if not self.peers.is_out(n)]
            return self._already("stopped", "stop", running, pending.request.server)
        pending.stage = Stage.HOST
        step.do(HostAction(action=then, reason=f"{pending.user} asked for it"))
        return None

    def _already(self, state: str, verb: str, others: list[str], server: str) -> Outcome:
        """Nothing to do here.  `others`: of which that is not known; all are told if all are
        meant, and an answer about this server alone would read as if they were not."""
        text = f"The cluster service of {self.step.me} is already {state}"
        if server != "*" or not others:
            return Outcome(text=f"{text}.")
        be = "is" if len(others) == 1 else "are"
        return Outcome(did=f"{text}; {listed(others)} {be} told to {verb}.")

    def _to_all(self, pending: Pending) -> None:
        """The same request to every other server, by name."""
        for name in self.peers:
            one = msgspec.structs.replace(pending.request, server=name)
            if isinstance(one, ServiceStop):
                one = msgspec.structs.replace(one, everywhere=True)
            self.forwarding.pass_on(name, pending.user, one)

    def agent_stopping(self, event: AgentStopping) -> None:
        """SIGTERM.  Suspended, or with the service stopped, nothing is released."""
        step = self.step
        step.changed(Change.DECISIONS)
        if step.life.phase in (Phase.STOPPED, Phase.DONE):
            self._exit()
        elif step.life.phase is Phase.RUNNING and not self.policy.shared.suspended:
            self.lifecycle.leave(AfterStop.EXIT, no_move=False)
        else:
            step.life.then = AfterStop.EXIT

    def _exit(self) -> None:
        step = self.step
        self.lease.disarm()
        step.do(Exit())
        step.life.phase = Phase.DONE

    def _end_suspended(self) -> None:
        """Ends while suspended, once no server would clear us by our lease: our groups run on."""
        if not self.policy.shared.suspended:
            self.lifecycle.leave(AfterStop.EXIT, no_move=False)
        elif not self.lease.binds() or not self.groups.held():
            self._exit()

    def settle(self) -> None:
        """Goes on with leaving."""
        step = self.step
        if step.life.phase is Phase.RUNNING and step.life.then is AfterStop.EXIT:
            self._end_suspended()
        elif step.life.phase is Phase.LEAVING:
            held = self.groups.held()
            stuck = [n for n in held if self.groups.runs[n].state is GroupState.STOP_FAILED]
            if held and len(stuck) == len(held):
                self._cannot_leave(stuck)
            elif not held and not step.beats_due and not self._stays_for_others():
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

    def _stays_for_others(self) -> bool:
        """Whether this server, which has released all, is still needed by others."""
        if self.step.life.no_move:
            return self.stop_order.is_under_way(self.step.life.left_at)
        return self.authority.in_office() and self._waits_to_hand_over()

    def _waits_to_hand_over(self) -> bool:
        """As coordinator: whether a group of ours is still to start on another server."""
        step = self.step
        if step.now - step.life.left_at > _HAND_OVER_MS:
            return False
        for group in step.settings.groups:
            if self.grants.is_under_way(group.name):
                return True
            intent = self.policy.intent_of(group.name)
            server, _ = self.holders.where(group.name)
            target = self.selection.choose(group, intent)[0] if intent.wanted and not server else ""
            # What it waits for counts by itself, if that is to start.
            if target and not self.start_order.awaited(group, target):
                return True
        return False

    def _cannot_leave(self, stuck: list[str]) -> None:
        step = self.step
        notice = notices.CannotLeave(stuck)
        step.notice(notice)
        if step.life.then is AfterStop.EXIT:
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
        """Everything is released: clears the bit and the state, then tells the others."""
        step = self.step
        step.life.phase = Phase.TELLING
        step.life.left_at = step.now
        step.life.member = False
        self.authority.state.vote = ""
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
        if then is AfterStop.EXIT:
            step.do(Exit())
            step.life.phase = Phase.DONE
            return
        if then is not AfterStop.START:
            step.do(SetService(stopped=True))
        if then in (AfterStop.NOTHING, AfterStop.START):
            self._end_leaving(Outcome())
        if then is AfterStop.START:
            step.do(Reincarnate())
            step.life.phase = Phase.DONE
        elif then:
            for pending in self.forwarding.state.pending.values():
                if pending.stage == Stage.LEAVING:
                    pending.stage = Stage.HOST
            step.do(HostAction(action=then, reason=f"{step.me} has left the cluster for it"))

    def host_action_done(self, event: HostActionDone) -> None:
        """Answers requests for this server's shutdown, which has begun, or has failed."""
        outcome = Outcome()
        if not event.ok:
            text = replies.not_shut_down(self.step.me, event.action, event.text)
            outcome = Outcome(code=FAILED, text=text)
        for pending in list(self.forwarding.state.pending.values()):
            if pending.stage == Stage.HOST:
                self.forwarding.finish(pending, outcome)
        if not event.ok:
            self.step.notice(HostActionFailed(event.action, event.text))

    # ------------------------------------------------------------------ heard after leaving

    def heard_while_telling(self, beat: Beat) -> None:
        """A heartbeat arrived while the others are told that we have left."""
        p = self.peers.get(beat.sender)
        if p is not None and beat.left:
            # It has left as well: nobody there has to be told.
            p.beat = None
        elif p is not None and self.step.me not in beat.out:
            self.heartbeats.tell_left([beat.sender])
        self.step.changed(Change.DECISIONS)

    def tell_again(self) -> None:
        """Tells every server that does not know yet that we have left."""
        me = self.step.me
        self.heartbeats.tell_left(
            [n for n, p in self.peers.items() if p.beat and me not in p.beat.out]
        )

    def heard_after_leaving(self, beat: Beat) -> None:
        """A heartbeat arrived although we have left: its sender is told again."""
        if beat.page:
            return
        p = self.peers.get(beat.sender)
        # A server that has left as well would answer, and so on without end.
        told = beat.left or self.step.me in beat.out
        if p is not None and beat.to == self.step.me and not told:
            p.echo = Echo(incarnation=beat.incarnation, sent_at=beat.sent_at)
            p.stranger = None
            self.heartbeats.tell_left([beat.sender])
