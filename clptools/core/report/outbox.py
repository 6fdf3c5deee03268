"""What goes to the other servers at the end of a step: heartbeats, and our report of ourselves."""

from __future__ import annotations

from collections.abc import Iterable

from clptools.core.cluster.heartbeats import Heartbeats
from clptools.core.cluster.peers import Answers, Peers
from clptools.core.model.actions import SendControl
from clptools.core.model.messages import Report
from clptools.core.model.state import Phase
from clptools.core.report.own_status import OwnStatus
from clptools.core.step import Step


class Outbox:
    """Sends what is due."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        answers: Answers,
        heartbeats: Heartbeats,
        own_status: OwnStatus,
    ) -> None:
        self.step = step
        self.peers = peers
        self.answers = answers
        self.heartbeats = heartbeats
        self.own_status = own_status

    def send_to(self, names: Iterable[str]) -> None:
        """Sends a heartbeat to each of these; nothing is urgent any more."""
        self.heartbeats.send_to(names, self.own_status.word())
        self._sent()

    def send_urgent(self) -> None:
        """Sends what cannot wait for the next interval: to all, or to those that are answered."""
        names = list(self.peers) if self.step.beats_due else list(self.answers.due)
        if self.step.life.phase in (Phase.RUNNING, Phase.LEAVING):
            self.send_to(names)
        self._sent()

    def _sent(self) -> None:
        self.step.beats_sent()
        self.answers.due.clear()

    def report(self) -> None:
        """Sends our status to every server that is heard, at most once an interval."""
        step = self.step
        state = step.state
        if step.life.phase not in (Phase.RUNNING, Phase.LEAVING):
            state.report_due = False
            return
        if step.now - state.reported_at < step.times.interval_ms:
            return
        state.report_due = False
        state.reported_at = step.now
        state.reports += 1
        report = Report(
            sender=step.me,
            incarnation=step.life.incarnation,
            number=state.reports,
            server=self.own_status.own(),
        )
        for name in self.peers:
            if self.peers.hears(name):
                step.do(SendControl(to=name, message=report))
