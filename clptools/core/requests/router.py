"""Requests: which server decides them, how they get there, and how their end comes back.

The coordinator decides about groups, the holder about resources, the named server about the rest.
A request for another server is forwarded, and its outcome comes back as an answer.  The server
that decides keeps the request pending and looks for its end after each settling.
"""

from __future__ import annotations

from collections.abc import Callable

from clptools.core import phrases as say
from clptools.core import replies
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.timeout_ratio import TimeoutRatio
from clptools.core.model.actions import Reply
from clptools.core.model.events import RequestSeen
from clptools.core.model.messages import Answer, Forward
from clptools.core.model.requests import (
    LASTS_MS,
    NO_AGENT,
    REFUSED,
    TIMED_OUT,
    Acknowledge,
    ClearHalts,
    ConfirmDown,
    ExternalNotice,
    ForceStop,
    GroupCancel,
    GroupMove,
    GroupStart,
    GroupStop,
    MonitorClear,
    MonitorFault,
    MonitorResume,
    MonitorSuspend,
    Outcome,
    OutdateCopy,
    Request,
    ResourceStart,
    ResourceStop,
    Resume,
    ServiceStart,
    ServiceStop,
    StretchTimeouts,
    Suspend,
)
from clptools.core.model.state import Pending, Phase
from clptools.core.model.words import AfterStop, Stage
from clptools.core.requests.cluster import ClusterRequests
from clptools.core.requests.forwarding import Forwarding
from clptools.core.requests.groups import GroupRequests
from clptools.core.requests.mirrors import MirrorRequests
from clptools.core.requests.monitors import MonitorRequests
from clptools.core.requests.resources import ResourceRequests
from clptools.core.requests.service import Service
from clptools.core.requests.vouching import Vouching
from clptools.core.step import Change, Step

_COORDINATORS = (
    GroupStart,
    GroupStop,
    GroupMove,
    GroupCancel,
    Suspend,
    Resume,
    StretchTimeouts,
)
_GIVE_UP_MS = 3_600_000
_RECOVERY = "recovery"
"""The user of what a recovery asks for."""
_LAST_WORD_MS = 3_000
"""A server that left to be shut down and is silent for so long is going down."""


class Router:
    """Routes requests, and finds the end of those that are pending."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        ratio: TimeoutRatio,
        authority: Authority,
        forwarding: Forwarding,
        cluster_requests: ClusterRequests,
        group_requests: GroupRequests,
        resource_requests: ResourceRequests,
        monitor_requests: MonitorRequests,
        service: Service,
        vouching: Vouching,
        mirror_requests: MirrorRequests,
    ) -> None:
        self.step = step
        self.peers = peers
        self.ratio = ratio
        self.authority = authority
        self.forwarding = forwarding
        self.cluster_requests = cluster_requests
        self.group_requests = group_requests
        self.resource_requests = resource_requests
        self.monitor_requests = monitor_requests
        self.service = service
        self.vouching = vouching
        self.mirror_requests = mirror_requests
        groups, monitors = group_requests, monitor_requests
        self._handlers: dict[type[Request], Callable[[Pending], Outcome | None]] = {
            ServiceStart: service.start,
            ServiceStop: service.stop,
            Suspend: cluster_requests.suspend,
            Resume: cluster_requests.resume,
            StretchTimeouts: cluster_requests.stretch,
            GroupStart: groups.start,
            GroupStop: groups.stop,
            GroupMove: groups.move,
            GroupCancel: groups.cancel,
            ResourceStart: resource_requests.request,
            ResourceStop: resource_requests.request,
            MonitorSuspend: monitors.suspend,
            MonitorResume: monitors.suspend,
            MonitorClear: monitors.clear,
            MonitorFault: monitors.fault,
            Acknowledge: monitors.acknowledge,
            ExternalNotice: monitors.external,
            ClearHalts: monitors.clear_halts,
            ConfirmDown: vouching.confirm,
            ForceStop: vouching.force_stop,
            OutdateCopy: mirror_requests.request,
        }

    # ------------------------------------------------------------------ in and out

    def request(self, event: RequestSeen) -> None:
        """A request came in on this server."""
        pending = Pending(
            id=event.id, request=event.request, user=event.user, origin="", since=self.step.now
        )
        waited_ms = self.step.now - event.asked_at if event.asked_at else 0
        if waited_ms > LASTS_MS:
            self.forwarding.finish(pending, self.forwarding.late(pending, waited_ms))
        else:
            self._route(pending)

    def forwarded(self, sender: str, message: Forward) -> None:
        """A request came from another server."""
        if message.sender != sender:
            return
        pending = Pending(
            id=message.id,
            request=message.request,
            user=message.user,
            origin=message.sender,
            since=self.step.now,
            sent_at=message.sent_at,
        )
        if message.id in self.forwarding.state.answered or not self._meant(message):
            return
        waited_ms = self._waited_ms(message)
        if waited_ms > LASTS_MS:
            self.forwarding.finish(pending, self.forwarding.late(pending, waited_ms))
            return
        # A copy of the data is there whether or not the service runs.
        answered = isinstance(message.request, ServiceStart | ServiceStop | OutdateCopy)
        if self.step.life.phase is Phase.STOPPED and not answered:
            self._stopped(pending)
            return
        self._decide(pending)

    def _meant(self, message: Forward) -> bool:
        """Whether it was sent to this incarnation: a request from before a boot is outdated.

        No server knows the incarnation of one whose service is stopped.
        """
        if message.incarnation:
            return message.incarnation == self.step.life.incarnation
        stopped = self.step.life.phase in (Phase.STOPPED, Phase.DONE)
        return stopped or isinstance(message.request, ServiceStart)

    def _waited_ms(self, message: Forward) -> int:
        """How long ago a person asked, at most by a heartbeat less; 0: not known.

        It counts from the newest beat of ours that the sender had heard.  What a recovery asks for
        does not become outdated, and a word that a server is down has its own rule.
        """
        known = message.incarnation and message.sent_at and message.user != _RECOVERY
        if not known or isinstance(message.request, ConfirmDown):
            return 0
        return self.step.now - message.sent_at

    def _stopped(self, pending: Pending) -> None:
        text = f"The cluster service of {self.step.me} is stopped."
        self.forwarding.finish(
            pending, Outcome(code=NO_AGENT, text=text, hint="Start it: clpcl -s")
        )

    def answered(self, message: Answer) -> None:
        """The outcome of a request that we forwarded."""
        pending = self.forwarding.state.pending.pop(message.id, None)
        if pending is not None and pending.asks_for:
            of_mirror = isinstance(pending.request, OutdateCopy)
            asker = self.mirror_requests if of_mirror else self.vouching
            asker.answered(pending, message.outcome)
        elif pending is not None:
            self.step.do(Reply(id=message.id, outcome=message.outcome))

    def ask_coordinator(self, request: Request) -> None:
        """A recovery's own request to the coordinator."""
        self._route(
            Pending(
                id=self.forwarding.new_id(),
                request=request,
                user=_RECOVERY,
                origin=self.step.me,
                since=self.step.now,
            )
        )

    def _route(self, pending: Pending) -> None:
        step = self.step
        request = pending.request
        of_service = isinstance(request, ServiceStart | ServiceStop)
        answered = of_service or isinstance(request, OutdateCopy)
        stopped = step.life.phase is Phase.STOPPED and not answered
        if stopped and request.server in ("", step.me):
            self._stopped(pending)
            return
        if request.server not in ("", "*", *step.settings.names):
            self.forwarding.finish(pending, self.forwarding.no_server(request.server))
            return
        if isinstance(request, _COORDINATORS):
            target = self.authority.coordinator()
            if target not in ("", step.me) and self.ratio.silent(target):
                target = ""
            if not target and isinstance(request, StretchTimeouts) and request.ratio == 1:
                target = step.me
            if not target:
                dark = [n for n, p in self.peers.items() if p.lost and not self.peers.is_out(n)]
                needed = say.waits_for_quorum(dark) if dark else "a majority"
                text = replies.no_coordinator(f"that takes {needed}")
                # Where nobody is missing, the next election is a matter of seconds.
                soon = "" if dark else "Try again in a moment. "
                hint = f"{soon}What it waits for: clpstat --explain"
                self.forwarding.finish(pending, Outcome(code=REFUSED, text=text, hint=hint))
                return
        elif isinstance(request, ResourceStart | ResourceStop):
            target = self.resource_requests.holder_of(request.resource) or step.me
        elif isinstance(request, Acknowledge) and not request.server:
            target = self.monitor_requests.server_with(request) or step.me
        else:
            target = request.server or step.me
            if target == "*":
                target = step.me
        if target == step.me:
            self._decide(pending)
            return
        pending.stage = Stage.FORWARDED
        pending.server = target
        pending.incarnation = self.peers[target].incarnation
        self.forwarding.state.pending[pending.id] = pending
        self.forwarding.send(target, pending.id, pending.user, request)

    def _decide(self, pending: Pending) -> None:
        if pending.id in self.forwarding.state.pending:
            return
        outcome = self._handlers[type(pending.request)](pending)
        if outcome is not None:
            self.forwarding.finish(pending, outcome)
            return
        pending.stage = pending.stage or Stage.WATCHED
        self.forwarding.state.pending[pending.id] = pending
        self.step.changed(Change.REQUESTS)

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Ends requests that are through; goes on with leaving."""
        for pending in list(self.forwarding.state.pending.values()):
            outcome = self._through(pending)
            if outcome is not None:
                self.forwarding.finish(pending, outcome)
        self.service.settle()

    def _through(self, pending: Pending) -> Outcome | None:
        step = self.step
        if pending.stage == Stage.FORWARDED:
            p = self.peers.get(pending.server)
            if p is not None and p.left and isinstance(pending.request, ServiceStop):
                return self._left(pending)
            service = isinstance(pending.request, ServiceStart | ServiceStop)
            answering = step.now - pending.since <= self.ratio.patience_ms()
            heard = p is not None and not self.ratio.silent(pending.server)
            online = heard and self.peers.is_online(pending.server)
            gone = p is None or not (answering or online)
            anew = p is None or not (service or p.incarnation in ("", pending.incarnation))
            if gone or anew:
                text = f"{pending.server} was asked, but is lost now; what it did is unknown."
                return Outcome(code=TIMED_OUT, text=text, hint="Look: clpstat -s")
            if step.now - pending.since <= _GIVE_UP_MS:
                return None
        if step.now - pending.since > _GIVE_UP_MS:
            return Outcome(code=TIMED_OUT, text="It did not come to an end within an hour.")
        return (
            self.group_requests.through(pending)
            or self.resource_requests.through(pending)
            or self.cluster_requests.through(pending)
            or self.vouching.through(pending)
            or self.mirror_requests.through(pending)
        )

    def _left(self, pending: Pending) -> Outcome | None:
        """The outcome of a stop whose server has left; that server reports a shutdown itself."""
        request = pending.request
        assert isinstance(request, ServiceStop)
        if request.then in (AfterStop.NOTHING, AfterStop.START):
            return Outcome()
        heard_at = max(self.peers[pending.server].any_heard_at, pending.since)
        return Outcome() if self.step.now - heard_at > _LAST_WORD_MS else None
