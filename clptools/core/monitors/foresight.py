"""What each server says of failures that it expects, and of its quiet windows.

Of itself a server knows it at once, of the others by their newest reports: one that is old, or of
an incarnation that is over, says nothing.
"""

from __future__ import annotations

from clptools.core.cluster.peers import Peers
from clptools.core.model.messages import Report
from clptools.core.model.monitor_state import Events, MonitorRun, Windows, open_of
from clptools.core.model.settings import Monitor
from clptools.core.model.states import MonitorStatus
from clptools.core.model.words import EventClass, Quiet
from clptools.core.step import Step

_FRESH_MS = 20_000
"""A report is repeated every 5 s (`core/node.py`)."""


class Foresight:
    """Questions about predicted failures on all servers."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        runs: dict[str, MonitorRun],
        events: Events,
        windows: Windows,
    ) -> None:
        self.step = step
        self.peers = peers
        self.runs = runs
        self.events = events
        self.windows = windows

    def predicted(self, server: str, monitor: str) -> dict[int, str] | None:
        """Number -> meaning of a monitor's open predictions there; None: it is not known now."""
        if server == self.step.me:
            own = open_of(self.events, monitor)
            return {e.id: e.meaning for e in own if e.event_class is EventClass.PREDICT}
        report = self._report(server)
        if report is None:
            return None
        return {
            e.id: e.meaning
            for e in report.server.open_events
            if e.monitor == monitor and e.event_class == EventClass.PREDICT
        }

    def status(self, server: str, monitor: str) -> str:
        """How a monitor stands there; empty: it is not known now."""
        if server == self.step.me:
            run = self.runs.get(monitor)
            if run is None:
                return MonitorStatus.NORMAL
            return MonitorStatus.SUSPEND if run.suspended else run.status
        report = self._report(server)
        found = report.server.monitors.get(monitor) if report is not None else None
        return found.status if found is not None else ""

    def stalls(self, server: str, monitor: Monitor) -> bool:
        """Whether a monitor expects a failure there, and nothing worse."""
        return self.status(server, monitor.name) == MonitorStatus.STALL and bool(
            self.predicted(server, monitor.name)
        )

    def window(self, server: str, monitor: str) -> Quiet:
        """How far a monitor's quiet window is, by the clock of that server."""
        if server == self.step.me:
            own = self.windows.get(monitor)
            return own.stage(self.step.now) if own is not None else Quiet.CLOSED
        report = self._report(server)
        if report is None:
            return Quiet.UNKNOWN
        said = report.server.quiet.get(monitor, "")
        return Quiet(said) if said in (Quiet.NEAR, Quiet.OPEN) else Quiet.CLOSED

    def _report(self, server: str) -> Report | None:
        p = self.peers.get(server)
        if p is None or p.report is None or p.report.incarnation != p.incarnation:
            return None
        return p.report if self.step.now - p.reported_at <= _FRESH_MS else None
