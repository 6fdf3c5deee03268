"""Requests: who decides them, how they get there, and how their end comes back.

Groups are the coordinator's; resources are the holder's; the rest is the named server's.  A
request for somebody else is forwarded, and its end comes back as an answer.  Whoever decides
keeps the request pending and watches for its end after each settling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from clptools.core import sentences as say
from clptools.core.actions import Progress, Reply, SendControl
from clptools.core.codes import NO_AGENT, NO_SUCH, REFUSED, TIMED_OUT
from clptools.core.describe import describe_request
from clptools.core.events import RequestSeen
from clptools.core.messages import Answer, Forward
from clptools.core.requests import (
    LASTS_MS,
    Acknowledge,
    ClearHalts,
    ConfirmDown,
    ExternalNotice,
    ForceStop,
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
    StretchTimeouts,
    Suspend,
)
from clptools.core.state import Pending, Phase

if TYPE_CHECKING:
    from clptools.core.node import Node

_COORDINATORS = (GroupStart, GroupStop, GroupMove, Suspend, Resume, StretchTimeouts)
_GIVE_UP_MS = 3_600_000
_ANSWERED_KEPT = 64
_RECOVERY = "recovery"
"""The user of what a recovery asks for."""
_LAST_WORD_MS = 3_000
"""A server that left to be shut down and is silent for so long is going down."""


class Operations:
    """Routes requests and keeps those whose end is awaited."""

    def __init__(self, node: Node) -> None:
        self.node = node
        groups, service, monitors = node.group_requests, node.service, node.monitor_requests
        self._handlers: dict[type[Request], Callable[[Pending], Outcome | None]] = {
            ServiceStart: service.start,
            ServiceStop: service.stop,
            Suspend: service.suspend,
            Resume: service.resume,
            StretchTimeouts: node.stretching.request,
            GroupStart: groups.start,
            GroupStop: groups.stop,
            GroupMove: groups.move,
            ResourceStart: groups.resource,
            ResourceStop: groups.resource,
            MonitorSuspend: monitors.suspend,
            MonitorResume: monitors.suspend,
            MonitorClear: monitors.clear,
            MonitorFault: monitors.fault,
            Acknowledge: monitors.acknowledge,
            ExternalNotice: monitors.external,
            ClearHalts: monitors.clear_halts,
            ConfirmDown: node.vouching.confirm,
            ForceStop: node.vouching.force_stop,
        }

    # ------------------------------------------------------------------ in and out

    def request(self, event: RequestSeen) -> None:
        """A request came in on this server."""
        pending = Pending(
            id=event.id, request=event.request, user=event.user, origin="", since=self.node.now
        )
        waited_ms = self.node.now - event.asked_at if event.asked_at else 0
        if waited_ms > LASTS_MS:
            self.finish(pending, self.late(pending, waited_ms))
        else:
            self._route(pending)

    def late(self, pending: Pending, waited_ms: int) -> Outcome:
        """It waited behind a disk that took nothing: whoever asked may have asked elsewhere."""
        text = say.asked_late(describe_request(pending.request), pending.user, waited_ms)
        self.node.record("nm", 934, "WARN", (self.node.me,), text)
        return Outcome(code=REFUSED, text=text, hint=say.ASK_AGAIN)

    def forwarded(self, message: Forward) -> None:
        """A request came from another server."""
        pending = Pending(
            id=message.id,
            request=message.request,
            user=message.user,
            origin=message.sender,
            since=self.node.now,
            sent_at=message.sent_at,
        )
        if message.id in self.node.state.answered or not self._meant(message):
            return
        waited_ms = self._waited_ms(message)
        if waited_ms > LASTS_MS:
            self.finish(pending, self.late(pending, waited_ms))
            return
        service = isinstance(message.request, ServiceStart | ServiceStop)
        if self.node.state.phase is Phase.STOPPED and not service:
            self._stopped(pending)
            return
        self._decide(pending)

    def _meant(self, message: Forward) -> bool:
        """Whether it was sent to this incarnation: what was on its way over a boot is over.

        Of a server whose service is stopped nobody knows one.
        """
        if message.incarnation:
            return message.incarnation == self.node.state.incarnation
        stopped = self.node.state.phase in (Phase.STOPPED, Phase.DONE)
        return stopped or isinstance(message.request, ServiceStart)

    def _waited_ms(self, message: Forward) -> int:
        """How long ago a person asked, at most by a heartbeat less; 0: not known.

        By the send time of our own beat that the sender had heard last.  What a server asks for
        by itself it means until it is done, and a word that another one is down has its own rule.
        """
        known = message.incarnation and message.sent_at and message.user != _RECOVERY
        if not known or isinstance(message.request, ConfirmDown):
            return 0
        return self.node.now - message.sent_at

    def _stopped(self, pending: Pending) -> None:
        text = f"The cluster service of {self.node.me} is stopped."
        self.finish(pending, Outcome(code=NO_AGENT, text=text, hint="Start it: clpcl -s"))

    def answered(self, message: Answer) -> None:
        """The outcome of a request that we forwarded."""
        pending = self.node.state.pending.pop(message.id, None)
        if pending is not None and pending.asks_for:
            self.node.vouching.answered(pending, message.outcome)
        elif pending is not None:
            self.node.emit(Reply(id=message.id, outcome=message.outcome))

    def ask_coordinator(self, request: Request) -> None:
        """A recovery's own request to whoever is coordinator."""
        self._route(
            Pending(
                id=self._new_id(),
                request=request,
                user=_RECOVERY,
                origin=self.node.me,
                since=self.node.now,
            )
        )

    def pass_on(self, name: str, user: str, request: Request) -> None:
        """Tells another server to do the same; nobody waits for its answer."""
        self._send(name, self._new_id(), user, request)

    def ask(self, name: str, request: Request, asks_for: Pending) -> None:
        """Asks another server on behalf of a request of ours."""
        pending = Pending(
            id=self._new_id(),
            request=request,
            user=asks_for.user,
            origin=self.node.me,
            since=self.node.now,
            stage="forwarded",
            server=name,
            incarnation=self.node.state.peers[name].incarnation,
            asks_for=asks_for.id,
        )
        self.node.state.pending[pending.id] = pending
        self._send(name, pending.id, pending.user, request)

    def _send(self, name: str, number: str, user: str, request: Request) -> None:
        node = self.node
        p = node.state.peers[name]
        message = Forward(
            id=number,
            sender=node.me,
            user=user,
            request=request,
            incarnation=p.incarnation,
            sent_at=p.beat.sent_at if p.beat is not None else 0,
        )
        node.emit(SendControl(to=name, message=message))

    def _new_id(self) -> str:
        state = self.node.state
        number = state.next_token
        state.next_token += 1
        return f"{self.node.me}#{state.incarnation}#{number}"

    def _route(self, pending: Pending) -> None:
        node = self.node
        request = pending.request
        of_service = isinstance(request, ServiceStart | ServiceStop)
        stopped = node.state.phase is Phase.STOPPED and not of_service
        if stopped and request.server in ("", node.me):
            self._stopped(pending)
            return
        if request.server not in ("", "*", *node.settings.names):
            self.finish(pending, self.no_server(request.server))
            return
        if isinstance(request, _COORDINATORS):
            target = node.votes.coordinator()
            if target not in ("", node.me) and node.stretching.silent(target):
                target = ""
            if not target and isinstance(request, StretchTimeouts) and request.ratio == 1:
                target = node.me
            if not target:
                dark = [
                    n
                    for n, p in node.state.peers.items()
                    if p.lost and not node.membership.is_out(n)
                ]
                needed = say.waits_for_quorum(dark) if dark else "a majority"
                text = say.no_coordinator(f"that takes {needed}")
                self.finish(
                    pending,
                    Outcome(code=REFUSED, text=text, hint="What it waits for: clpstat --explain"),
                )
                return
        elif isinstance(request, ResourceStart | ResourceStop):
            target = node.group_requests.holder_of(request.resource) or node.me
        elif isinstance(request, Acknowledge) and not request.server:
            target = node.monitor_requests.server_with(request) or node.me
        else:
            target = request.server or node.me
            if target == "*":
                target = node.me
        if target == node.me:
            self._decide(pending)
            return
        pending.stage = "forwarded"
        pending.server = target
        pending.incarnation = node.state.peers[target].incarnation
        node.state.pending[pending.id] = pending
        self._send(target, pending.id, pending.user, request)

    def _decide(self, pending: Pending) -> None:
        if pending.id in self.node.state.pending:
            return
        outcome = self._handlers[type(pending.request)](pending)
        if outcome is not None:
            self.finish(pending, outcome)
            return
        pending.stage = pending.stage or "watch"
        self.node.state.pending[pending.id] = pending
        self.node.requests_due = True

    def finish(self, pending: Pending, outcome: Outcome) -> None:
        """Tells whoever asked how a request ended."""
        node = self.node
        node.state.pending.pop(pending.id, None)
        if not pending.origin:
            node.emit(Reply(id=pending.id, outcome=outcome))
        elif pending.origin != node.me:
            node.state.answered = [*node.state.answered, pending.id][-_ANSWERED_KEPT:]
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
                self.finish(pending, outcome)
        node.service.settle()

    def _through(self, pending: Pending) -> Outcome | None:
        node = self.node
        if pending.stage == "forwarded":
            p = node.state.peers.get(pending.server)
            if p is not None and p.left and isinstance(pending.request, ServiceStop):
                return self._left(pending)
            service = isinstance(pending.request, ServiceStart | ServiceStop)
            answering = node.now - pending.since <= node.stretching.patience_ms()
            heard = p is not None and not node.stretching.silent(pending.server)
            online = heard and node.membership.is_online(pending.server)
            gone = p is None or not (answering or online)
            anew = p is None or not (service or p.incarnation in ("", pending.incarnation))
            if gone or anew:
                text = f"{pending.server} was asked, but is lost now; what it did is unknown."
                return Outcome(code=TIMED_OUT, text=text, hint="Look: clpstat -s")
            if node.now - pending.since <= _GIVE_UP_MS:
                return None
        if node.now - pending.since > _GIVE_UP_MS:
            return Outcome(code=TIMED_OUT, text="It did not come to an end within an hour.")
        return (
            node.group_requests.through(pending)
            or node.service.through(pending)
            or node.stretching.through(pending)
            or node.vouching.through(pending)
        )

    def _left(self, pending: Pending) -> Outcome | None:
        """A server that was to stop has left; of a shutdown to follow it tells itself."""
        request = pending.request
        assert isinstance(request, ServiceStop)
        if request.then in ("", "start"):
            return Outcome()
        heard_at = max(self.node.state.peers[pending.server].any_heard_at, pending.since)
        return Outcome() if self.node.now - heard_at > _LAST_WORD_MS else None

    def no_server(self, name: str) -> Outcome:
        """There is no such server."""
        known = ", ".join(self.node.settings.names)
        return Outcome(code=NO_SUCH, text=f"No such server: {name}; known: {known}.")
