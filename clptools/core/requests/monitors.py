"""Requests about monitors, open hardware events, and notices from outside."""

from __future__ import annotations

from clptools.core import replies
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import DAY_MS
from clptools.core.model.actions import FaultMonitor
from clptools.core.model.events import MessageSeen
from clptools.core.model.monitor_state import open_of
from clptools.core.model.requests import (
    NO_SUCH,
    REFUSED,
    Acknowledge,
    ClearHalts,
    ExternalNotice,
    MonitorClear,
    MonitorFault,
    MonitorResume,
    MonitorSuspend,
    Outcome,
)
from clptools.core.model.settings import Monitor
from clptools.core.model.state import Pending
from clptools.core.model.states import MonitorStatus
from clptools.core.monitors.event_ledger import EventLedger, key_of, matches
from clptools.core.monitors.final_action import FinalActions
from clptools.core.monitors.status import MonitorRuns, is_linked, status_of
from clptools.core.notices import monitors as of_monitors
from clptools.core.notices import requests as notices
from clptools.core.step import Change, Step


class MonitorRequests:
    """Suspend, resume, clear, acknowledge, notice."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        runs: MonitorRuns,
        final: FinalActions,
        ledger: EventLedger,
    ) -> None:
        self.step = step
        self.peers = peers
        self.runs = runs
        self.final = final
        self.ledger = ledger

    def _unknown_monitor(self, names: tuple[str, ...]) -> Outcome | None:
        known = [m.name for m in self.runs.here()]
        for name in names:
            if name not in known:
                text = f"No such monitor on {self.step.me}: {name}; known: {', '.join(known)}."
                return Outcome(code=NO_SUCH, text=text)
        return None

    def suspend(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, MonitorSuspend | MonitorResume)
        unknown = self._unknown_monitor(request.monitors)
        if unknown is not None:
            return unknown
        on = isinstance(request, MonitorSuspend)
        changed = self._set_suspended(request.monitors, on, pending.user)
        here = [m.name for m in self.runs.here()]
        if changed:
            many = len(set(request.monitors) or here)
            return Outcome(did=replies.monitors_changed(changed, many, self.step.me, on))
        return Outcome(text=replies.monitors_already(request.monitors or here, self.step.me, on))

    def clear(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, MonitorClear)
        unknown = self._unknown_monitor(request.monitors)
        if unknown is not None:
            return unknown
        cleared = self._clear_counters(request.monitors)
        return Outcome(did=replies.counters_cleared(cleared, self.step.me) if cleared else "")

    def fault(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, MonitorFault)
        names = (request.monitor,) if request.monitor else ()
        unknown = self._unknown_monitor(names)
        if unknown is not None:
            return unknown
        changed = []
        for monitor in self.runs.here():
            if names and monitor.name not in names:
                continue
            if monitor.type in ("mrw", "userw"):
                if names:
                    text = f"{monitor.name} ({monitor.type}) takes no dummy failure."
                    return Outcome(code=REFUSED, text=text)
                continue
            # Of one that checks in earnest already, an end would be told and recorded in vain.
            if request.on or self.runs.run(monitor.name).fault:
                self._set_fault(monitor, request.on)
                changed.append(monitor.name)
        if not changed:
            return Outcome(text=replies.no_dummy_failure(request.monitor, self.step.me, request.on))
        return Outcome(did=replies.dummy_failure(changed, self.step.me, request.on))

    def clear_halts(self, pending: Pending) -> Outcome | None:
        """Starts the count of final actions that ended this machine again."""
        request = pending.request
        assert isinstance(request, ClearHalts)
        self.final.state.halts.pop(request.kind, None)
        self.step.changed(Change.REPORT)
        return Outcome()

    def server_with(self, request: Acknowledge) -> str:
        """The server that has the named open event; ours first."""
        step = self.step
        if any(
            request.event in (0, e.id) for e in open_of(self.ledger.state.events, request.monitor)
        ):
            return step.me
        for name, p in self.peers.items():
            if p.report is None:
                continue
            for event in p.report.server.open_events:
                if event.monitor == request.monitor and request.event in (0, event.id):
                    return name
        return ""

    def acknowledge(self, pending: Pending) -> Outcome | None:
        step = self.step
        request = pending.request
        assert isinstance(request, Acknowledge)
        monitor = step.settings.monitor(request.monitor)
        if monitor is None or monitor.type != "mrw":
            known = ", ".join(m.name for m in step.settings.monitors if m.type == "mrw") or "none"
            text = f"No such message receive monitor: {request.monitor}; known: {known}."
            return Outcome(code=NO_SUCH, text=text)
        closed = self.ledger.acknowledge(monitor, request.event, pending.user)
        if closed:
            self._counted_anew(monitor)
        if not closed and request.event:
            return Outcome(code=NO_SUCH, text=f"{monitor.name} has no open event {request.event}.")
        if not closed:
            return Outcome(text=f"{monitor.name} has no open event.")
        left = len(open_of(self.ledger.state.events, monitor.name))
        return Outcome(did=replies.events_closed(monitor.name, step.me, closed, left))

    def _counted_anew(self, monitor: Monitor) -> None:
        """Once all events are closed by hand, the next fault is recovered like the first."""
        if not open_of(self.ledger.state.events, monitor.name):
            self._clear_counters((monitor.name,))

    def external(self, pending: Pending) -> Outcome | None:
        step = self.step
        request = pending.request
        assert isinstance(request, ExternalNotice)
        here = [m for m in self.runs.here() if m.type == "mrw"]
        if not request.monitor and is_linked(request.category):
            # With any keyword, and whether or not a monitor here has the category.
            category = request.category
            name = next((m.name for m in here if m.category == category), "MONITOR")
            return Outcome(
                code=REFUSED,
                text=f"Monitors of category {category} follow the hardware alone: "
                "no request from outside changes them.",
                hint=f"Close an open event: clpmonctrl --acknowledge -m {name}",
            )
        found = [m for m in here if _meant(m, step.me, request)]
        thing = request.monitor or f"{request.category}.{request.keyword}".rstrip(".")
        if not found:
            return Outcome(code=NO_SUCH, text=f"No message receive monitor here takes {thing}.")
        for monitor in found:
            if is_linked(monitor.category):
                text = replies.linkage_owned(monitor.name, monitor.category)
                return Outcome(
                    code=REFUSED,
                    text=text,
                    hint=f"Close its events: clpmonctrl --acknowledge -m {monitor.name}",
                )
        what = f"{'clear' if request.clear else 'notice'} {thing}"
        step.notice(notices.OutsideAccepted(what, pending.user, [m.name for m in found]))
        for monitor in found:
            told = MessageSeen(
                category=monitor.category,
                keyword=request.keyword or monitor.keywords.get(step.me, ""),
                text=request.text,
                origin=request.origin or pending.user,
            )
            if request.clear:
                # A keyword is one device: what is open of the monitor's others stays open.
                key = key_of(told) if request.keyword else ""
                self.ledger.acknowledge(monitor, 0, pending.user, key)
                self._counted_anew(monitor)
            else:
                self.ledger.take(monitor, told)
        return Outcome()

    # ------------------------------------------------------------------ carried out

    def _set_suspended(self, names: tuple[str, ...], on: bool, user: str) -> list[str]:
        """Suspends or resumes monitors (empty: all); returns which were changed."""
        step = self.step
        changed = []
        for monitor in self.runs.here():
            run = self.runs.run(monitor.name)
            if (names and monitor.name not in names) or run.suspended is on:
                continue
            run.suspended = on
            run.suspended_by = user if on else ""
            run.suspended_at = step.now
            run.suspended_days = 0
            run.held_back = ""
            changed.append(monitor.name)
            if not on and monitor.type == "mrw":
                run.status = status_of(monitor, self.ledger.state.events)
            if on:
                step.notice(of_monitors.MonitorSuspended(monitor.name, user))
                continue
            bad = monitor.type == "mrw" and run.status is not MonitorStatus.NORMAL
            status = run.status.value if bad else ""
            step.notice(of_monitors.MonitorResumed(monitor.name, user, status))
        step.changed(Change.DECISIONS, Change.REPORT)
        return changed

    def remind(self) -> None:
        """Reminds people once a day of each monitor that is suspended here."""
        step = self.step
        for monitor in self.runs.here():
            run = self.runs.run(monitor.name)
            if not run.suspended:
                continue
            days = (step.now - run.suspended_at) // DAY_MS
            if days > run.suspended_days:
                run.suspended_days = days
                told = of_monitors.MonitorStillSuspended
                step.notice(told(monitor.name, days * DAY_MS, run.suspended_by))

    def _clear_counters(self, names: tuple[str, ...]) -> list[str]:
        """Sets the recovery counters of monitors (empty: all) to zero."""
        cleared = []
        for monitor in self.runs.here():
            if names and monitor.name not in names:
                continue
            run = self.runs.run(monitor.name)
            run.scripts, run.restarts, run.failovers, run.finals = [], [], [], 0
            cleared.append(monitor.name)
        self.step.changed(Change.REPORT)
        return cleared

    def _set_fault(self, monitor: Monitor, on: bool) -> None:
        """Dummy failure of an active monitor."""
        run = self.runs.run(monitor.name)
        run.fault = on
        self.step.do(FaultMonitor(monitor=monitor.name, on=on))
        dummy = of_monitors.DummyFailureOn if on else of_monitors.DummyFailureOff
        self.step.notice(dummy(monitor.name))


def _meant(monitor: Monitor, server: str, request: ExternalNotice) -> bool:
    """By its name, or by category; the keyword narrows that down, if there is one."""
    if request.monitor:
        return monitor.name == request.monitor
    if not request.keyword:
        return monitor.category == request.category
    return matches(monitor, server, request.category, request.keyword)
