"""Requests about monitors, open hardware events, and notices from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core import sentences as say
from clptools.core.model.codes import NO_SUCH, REFUSED
from clptools.core.model.events import MessageSeen
from clptools.core.model.requests import (
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
from clptools.core.monitors.event_ledger import is_linked, key_of, matches

if TYPE_CHECKING:
    from clptools.core.node import Node


class MonitorRequests:
    """Suspend, resume, clear, acknowledge, notice."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def _unknown_monitor(self, names: tuple[str, ...]) -> Outcome | None:
        known = [m.name for m in self.node.recovery.here()]
        for name in names:
            if name not in known:
                text = f"No such monitor on {self.node.me}: {name}; known: {', '.join(known)}."
                return Outcome(code=NO_SUCH, text=text)
        return None

    def suspend(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, MonitorSuspend | MonitorResume)
        unknown = self._unknown_monitor(request.monitors)
        if unknown is not None:
            return unknown
        on = isinstance(request, MonitorSuspend)
        changed = self.node.recovery.suspend(request.monitors, on, pending.user)
        if changed:
            return Outcome()
        here = [m.name for m in self.node.recovery.here()]
        return Outcome(text=say.monitors_already(request.monitors or here, self.node.me, on))

    def clear(self, pending: Pending) -> Outcome | None:
        request = pending.request
        assert isinstance(request, MonitorClear)
        unknown = self._unknown_monitor(request.monitors)
        if unknown is None:
            self.node.recovery.clear_counters(request.monitors)
        return unknown or Outcome()

    def fault(self, pending: Pending) -> Outcome | None:
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

    def clear_halts(self, pending: Pending) -> Outcome | None:
        """Starts the count of final actions that ended this machine again."""
        request = pending.request
        assert isinstance(request, ClearHalts)
        if self.node.state.halts.pop(request.kind, 0):
            self.node.ledger.keep()
        self.node.report_due = True
        return Outcome()

    def server_with(self, request: Acknowledge) -> str:
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

    def acknowledge(self, pending: Pending) -> Outcome | None:
        node = self.node
        request = pending.request
        assert isinstance(request, Acknowledge)
        monitor = node.settings.monitor(request.monitor)
        if monitor is None or monitor.type != "mrw":
            known = ", ".join(m.name for m in node.settings.monitors if m.type == "mrw") or "none"
            text = f"No such message receive monitor: {request.monitor}; known: {known}."
            return Outcome(code=NO_SUCH, text=text)
        closed = node.ledger.acknowledge(monitor, request.event, pending.user)
        if closed:
            self._counted_anew(monitor)
        if not closed and request.event:
            return Outcome(code=NO_SUCH, text=f"{monitor.name} has no open event {request.event}.")
        return Outcome(text="" if closed else f"{monitor.name} has no open event.")

    def _counted_anew(self, monitor: Monitor) -> None:
        """Somebody has seen to all that was open: the next fault is recovered like the first."""
        if not self.node.ledger.open_of(monitor.name):
            self.node.recovery.clear_counters((monitor.name,))

    def external(self, pending: Pending) -> Outcome | None:
        node = self.node
        request = pending.request
        assert isinstance(request, ExternalNotice)
        here = [m for m in node.recovery.here() if m.type == "mrw"]
        if not request.monitor and is_linked(request.category):
            # Whatever the keyword, and whether or not a monitor here has it.
            category = request.category
            name = next((m.name for m in here if m.category == category), "MONITOR")
            return Outcome(
                code=REFUSED,
                text=f"Monitors of category {category} follow the hardware alone: "
                "no request from outside changes them.",
                hint=f"Close an open event: clpmonctrl --acknowledge -m {name}",
            )
        found = [m for m in here if _meant(m, node.me, request)]
        thing = request.monitor or f"{request.category}.{request.keyword}".rstrip(".")
        if not found:
            return Outcome(code=NO_SUCH, text=f"No message receive monitor here takes {thing}.")
        for monitor in found:
            if is_linked(monitor.category):
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
            f"A notification ({'clear' if request.clear else 'notice'} {thing}) came from outside, "
            f"by {pending.user}.",
        )
        for monitor in found:
            told = MessageSeen(
                category=monitor.category,
                keyword=request.keyword or monitor.keywords.get(node.me, ""),
                text=request.text,
                origin=request.origin or pending.user,
            )
            if request.clear:
                # A keyword is one device: what is open of the monitor's others stays open.
                key = key_of(told) if request.keyword else ""
                node.ledger.acknowledge(monitor, 0, pending.user, key)
                self._counted_anew(monitor)
            else:
                node.ledger.take(monitor, told)
        return Outcome()


def _meant(monitor: Monitor, server: str, request: ExternalNotice) -> bool:
    """By its name, or by category; the keyword narrows that down, if there is one."""
    if request.monitor:
        return monitor.name == request.monitor
    if not request.keyword:
        return monitor.category == request.category
    return matches(monitor, server, request.category, request.keyword)
