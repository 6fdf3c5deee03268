"""Requests on their way to other servers, and outcomes on their way back."""

from __future__ import annotations

from clptools.core import replies
from clptools.core.cluster.peers import Peers
from clptools.core.describe import describe_request
from clptools.core.model.actions import Progress, Reply, SendControl
from clptools.core.model.messages import Answer, Forward
from clptools.core.model.requests import NO_SUCH, REFUSED, Outcome, Request
from clptools.core.model.state import Pending, RequestsState
from clptools.core.model.words import Stage
from clptools.core.notices.requests import AskedLate
from clptools.core.step import Step

_ANSWERED_KEPT = 64


class Forwarding:
    """The pending requests."""

    def __init__(self, step: Step, state: RequestsState, peers: Peers) -> None:
        self.step = step
        self.state = state
        self.peers = peers

    def pass_on(self, name: str, user: str, request: Request) -> None:
        """Sends a request to another server without waiting for its outcome."""
        self.send(name, self.new_id(), user, request)

    def ask(self, name: str, request: Request, asks_for: Pending) -> None:
        """Asks another server on behalf of a request of ours."""
        pending = Pending(
            id=self.new_id(),
            request=request,
            user=asks_for.user,
            origin=self.step.me,
            since=self.step.now,
            stage=Stage.FORWARDED,
            server=name,
            incarnation=self.peers[name].incarnation,
            asks_for=asks_for.id,
        )
        self.state.pending[pending.id] = pending
        self.send(name, pending.id, pending.user, request)

    def send(self, name: str, number: str, user: str, request: Request) -> None:
        step = self.step
        p = self.peers[name]
        message = Forward(
            id=number,
            sender=step.me,
            user=user,
            request=request,
            incarnation=p.incarnation,
            sent_at=p.beat.sent_at if p.beat is not None else 0,
        )
        step.do(SendControl(to=name, message=message))

    def new_id(self) -> str:
        number = self.step.token()
        return f"{self.step.me}#{self.step.life.incarnation}#{number}"

    def finish(self, pending: Pending, outcome: Outcome) -> None:
        """Sends the outcome of a request to its client, or to the server that it came from."""
        step = self.step
        self.state.pending.pop(pending.id, None)
        if not pending.origin:
            step.do(Reply(id=pending.id, outcome=outcome))
        elif pending.origin != step.me:
            self.state.answered = [*self.state.answered, pending.id][-_ANSWERED_KEPT:]
            answer = Answer(id=pending.id, outcome=outcome)
            step.do(SendControl(to=pending.origin, message=answer))

    def progress(self, text: str, subjects: tuple[str, ...]) -> None:
        """Sends a line of progress to clients that wait for something about these subjects."""
        for pending in self.state.pending.values():
            if pending.origin:
                continue
            named = getattr(pending.request, "group", "")
            if named == "" or named in subjects:
                self.step.do(Progress(id=pending.id, text=text))

    def no_server(self, name: str) -> Outcome:
        """There is no such server."""
        known = ", ".join(self.step.settings.names)
        return Outcome(code=NO_SUCH, text=f"No such server: {name}; known: {known}.")

    def late(self, pending: Pending, waited_ms: int) -> Outcome:
        """Refuses a request that waited too long: its client may have given up."""
        late = AskedLate(describe_request(pending.request), pending.user, waited_ms)
        self.step.notice(late)
        return Outcome(code=REFUSED, text=late.told(), hint=replies.ASK_AGAIN)
