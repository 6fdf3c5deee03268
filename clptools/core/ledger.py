"""The open-event ledger: what hardware said and has not taken back.

An assertion opens one event under its fault key and later ones fold into it; a deassertion
closes exactly what the key opened; an operator may acknowledge what never deasserts.  The status
of a message receive monitor follows from what is open, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from clptools.core import sentences as say
from clptools.core.actions import KeepLedger
from clptools.core.durable import LedgerFile, OpenEntry
from clptools.core.events import HardwareSeen, MessageSeen
from clptools.core.settings import Monitor
from clptools.core.state import MonitorRun, OpenEvent, Unclaimed
from clptools.core.states import MonitorStatus

if TYPE_CHECKING:
    from clptools.core.node import Node

_LINKAGE = frozenset({"BMCNOTICE", "NIC", "FC", "SPS", "MCE"})

_DUPLICATES_KEPT = 512
DUPLICATES_MS = 1_800_000
"""No BMC resends a trap for half an hour: seven times, 255 s apart (IPMI 2.0, table 23-4)."""
_OPENING = ("FATAL", "ERROR", "REDUNDANCY", "PREDICT", "PERFORMANCE")
"""Classes that open an event, the gravest first."""
_WATCHDOG_ROWS = ("23h/6F/", "11h/6F/")
"""Rows of the class table about the BMC's watchdog timer (IPMI 2.0, table 42-3)."""
_MM = {"FATAL": 914, "PERFORMANCE": 915, "PREDICT": 916}
"""Number in the alert log by class, for traps; all others are 903, as are messages."""
_OPEN_KEPT = 500
"""Open events of one monitor, those it recovers on and others apart: more at once are one fault,
and every change of the ledger costs what is in it."""
_MORE_KEY = "more"
"""Fault key of one event that stands for all grave ones above `_OPEN_KEPT`: no deassertion
closes it, since nobody remembers which they were."""
_UNCLAIMED_KEPT = 256
_UNCLAIMED_AGAIN_MS = 3_600_000
"""A message that no monitor takes and that keeps coming is told of this often."""


class Ledger:
    """Open hardware events and the monitors they belong to."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._entries: dict[int, OpenEntry] = {}
        """What went to the disk last, by event id: in a storm it is nearly all of the next."""

    def barred(self) -> bool:
        """Whether an open fatal event keeps groups away from this server."""
        return any(e.event_class == "FATAL" for e in self.node.state.events.values())

    def open_of(self, monitor: str) -> list[OpenEvent]:
        """Open events of one monitor, oldest first."""
        return [e for e in self.node.state.events.values() if e.monitor == monitor]

    def restore(self, ledger: LedgerFile) -> None:
        """Takes over what the disk had open; shown and binding, but not recovered again."""
        state = self.node.state
        state.next_event = ledger.next_event
        state.halts = dict(ledger.halts)
        for name in ledger.liars:
            if name in state.peers:
                state.peers[name].bmc.lies = True
        for e in ledger.entries:
            monitor = self.node.settings.monitor(e.monitor)
            if monitor is None:
                continue
            state.events[f"{e.monitor}/{e.key}"] = OpenEvent(
                id=e.id,
                monitor=e.monitor,
                key=e.key,
                event_class=e.event_class,
                meaning=e.meaning,
                source=e.source,
                first_at=e.first_at,
                last_at=e.last_at,
                count=e.count,
            )
            self.node.recovery.run(e.monitor).status = self.status_of(monitor)

    def keep(self) -> None:
        """The ledger changed: the disk shall know."""
        state = self.node.state
        self._entries = {e.id: self._entry(e) for e in state.events.values()}
        self.node.emit(
            KeepLedger(
                ledger=LedgerFile(
                    next_event=state.next_event,
                    halts=dict(state.halts),
                    liars=tuple(n for n, p in state.peers.items() if p.bmc.lies),
                    entries=tuple(self._entries.values()),
                )
            )
        )

    def _entry(self, event: OpenEvent) -> OpenEntry:
        known = self._entries.get(event.id)
        if known is not None and known.count == event.count and known.last_at == event.last_at:
            return known
        return OpenEntry(
            id=event.id,
            monitor=event.monitor,
            key=event.key,
            event_class=event.event_class,
            meaning=event.meaning,
            source=event.source,
            first_at=event.first_at,
            last_at=event.last_at,
            count=event.count,
        )

    # ------------------------------------------------------------------ what comes in

    def hardware(self, event: HardwareSeen) -> None:
        """A trap for one monitor."""
        monitor = self.node.settings.monitor(event.monitor)
        if monitor is None or self._duplicate(monitor, event.duplicate_key):
            return
        expected = self.node.now < self.node.state.deadman_until
        ours = expected and event.row.startswith(_WATCHDOG_ROWS)
        if event.event_class == "CLEAR":
            for key in event.closes or (event.key,):
                self._close(monitor, key, event.clears, event.meaning)
        elif event.event_class in _OPENING and not ours:
            self._open(monitor, event.key, event.event_class, event.meaning, event.source)
        elif event.event_class == "INFO" or ours:
            self.node.record(
                "mm",
                912,
                "INFO",
                (monitor.name, self.node.me),
                say.trap_noted(self.node.me, event.source, event.meaning),
            )

    def message(self, event: MessageSeen) -> None:
        """A driver's or a program's message: to every monitor that matches."""
        node = self.node
        takers = [
            m
            for m in node.settings.monitors
            if m.type == "mrw"
            and node.me in m.servers
            and matches(m, node.me, event.category, event.keyword)
        ]
        if not takers:
            self._unclaimed(event)
        for monitor in takers:
            self.take(monitor, event)

    def take(self, monitor: Monitor, event: MessageSeen) -> None:
        """A message for one monitor."""
        key = key_of(event)
        if event.recovered:
            self._close(monitor, key, "", event.text)
            return
        self.node.recovery.run(monitor.name).device = event.keyword
        event_class = "PREDICT" if event.predictive else "FATAL"
        source = event.origin or event.category
        self._open(monitor, key, event_class, event.text or key, source, message=True)

    def _unclaimed(self, event: MessageSeen) -> None:
        """No monitor takes it: said once, and now and then while it keeps coming."""
        node = self.node
        key = key_of(event)
        known = node.state.unclaimed
        if event.recovered:
            known.pop(key, None)
            return
        found = known.get(key)
        if found is not None and node.now - found.told_at < _UNCLAIMED_AGAIN_MS:
            found.count += 1
            return
        again = found.count + 1 if found is not None else 0
        known.pop(key, None)
        while len(known) >= _UNCLAIMED_KEPT:
            del known[next(iter(known))]
        known[key] = Unclaimed(told_at=node.now)
        node.record(
            "mm",
            903,
            "WARN",
            (node.me,),
            say.unclaimed(event.category, event.keyword, event.text),
            because=say.no_taker(node.me, again),
        )

    def _duplicate(self, monitor: Monitor, key: str) -> bool:
        """Whether a trap is a resend of one already taken."""
        if not key:
            return False
        now, known = self.node.now, self.node.state.traps_taken
        full = f"{monitor.name}/{key}"
        if now - known.get(full, now - DUPLICATES_MS - 1) <= DUPLICATES_MS:
            return True
        known.pop(full, None)
        known[full] = now
        if len(known) > _DUPLICATES_KEPT:
            del known[next(iter(known))]
        return False

    # ------------------------------------------------------------------ opening and closing

    def _open(
        self,
        monitor: Monitor,
        key: str,
        event_class: str,
        meaning: str,
        source: str,
        *,
        message: bool = False,
    ) -> None:
        node = self.node
        state = node.state
        full = f"{monitor.name}/{key}"
        found = state.events.get(full)
        grave = event_class in grave_classes((monitor,))
        if found is None and self._full(monitor, grave):
            if not grave:
                return
            key, meaning = _MORE_KEY, say.more_grave(_OPEN_KEPT)
            full = f"{monitor.name}/{key}"
            found = state.events.get(full)
        if found is not None and _rank(event_class) <= _rank(found.event_class):
            # The same again, or a lesser word of the same fault: the worst of it stays open.
            found.count += 1
            found.last_at = node.now
            node.report_due = True
            return
        number = state.next_event
        state.next_event += 1
        first = node.now
        state.events[full] = OpenEvent(
            id=number,
            monitor=monitor.name,
            key=key,
            event_class=event_class,
            meaning=meaning,
            source=source,
            first_at=first,
            last_at=first,
        )
        module_id = 903 if message else _MM.get(event_class, 903)
        level = "ERROR" if event_class == "FATAL" else "WARN"
        own = node.settings.server(node.me)
        from_bmc = own is not None and own.bmc is not None and own.bmc.address == source
        node.record(
            "mm",
            module_id,
            level,
            (monitor.name, node.me),
            say.hardware(node.me, source, event_class, meaning, from_bmc),
            event=number,
        )
        node.urgent = node.urgent or event_class == "FATAL"
        if not grave and self._full(monitor, grave):
            node.record(
                "mm", 903, "WARN", (monitor.name, node.me), say.ledger_full(node.me, _OPEN_KEPT)
            )
        self.keep()
        self._status_follows(monitor, number, meaning)

    def _full(self, monitor: Monitor, grave: bool) -> bool:
        """Whether a monitor has as many events of that gravity open as are kept apart."""
        if len(self.node.state.events) < _OPEN_KEPT:
            return False
        classes = grave_classes((monitor,))
        same = (e for e in self.open_of(monitor.name) if (e.event_class in classes) is grave)
        return sum(1 for _ in same) >= _OPEN_KEPT

    def _close(self, monitor: Monitor, key: str, clears: str, meaning: str) -> None:
        node = self.node
        full = f"{monitor.name}/{key}"
        found = node.state.events.get(full)
        if found is None or (clears and found.event_class != clears):
            return
        del node.state.events[full]
        node.record(
            "mm",
            918,
            "INFO",
            (monitor.name, node.me),
            say.hardware_closed(node.me, found.meaning, meaning),
            event=found.id,
        )
        node.urgent = True
        self.keep()
        self._status_follows(monitor, 0, "")

    def acknowledge(self, monitor: Monitor, number: int, user: str, key: str = "") -> int:
        """Closes open events by an operator's word; returns how many.

        With `number` or `key` that one alone.
        """
        node = self.node
        closing = [
            full
            for full, e in node.state.events.items()
            if e.monitor == monitor.name and number in (0, e.id) and key in ("", e.key)
        ]
        for full in closing:
            found = node.state.events.pop(full)
            node.record(
                "mm",
                919,
                "INFO",
                (monitor.name, node.me),
                say.acknowledged(node.me, user, found.meaning),
                event=found.id,
            )
        if closing:
            node.urgent = True
            self.keep()
            self._status_follows(monitor, 0, "")
        return len(closing)

    # ------------------------------------------------------------------ status

    def status_of(self, monitor: Monitor) -> MonitorStatus:
        """What the open events of a monitor make of its status."""
        classes = {event.event_class for event in self.open_of(monitor.name)}
        words = (self._word(monitor, event_class) for event_class in classes)
        return max(words, key=_SEVERITY.index, default=MonitorStatus.NORMAL)

    def _word(self, monitor: Monitor, event_class: str) -> MonitorStatus:
        if event_class in monitor.recover_on:
            return MonitorStatus.ERROR
        if event_class == "PREDICT" and monitor.stall_on_predictive_failure:
            return MonitorStatus.STALL
        if event_class == "PERFORMANCE" and monitor.stall_on_performance_down:
            return MonitorStatus.STALL
        return MonitorStatus.CAUTION

    def _status_follows(self, monitor: Monitor, number: int, meaning: str) -> None:
        """The monitor's status after the ledger changed; a new Error starts recovery once."""
        node = self.node
        run = node.recovery.run(monitor.name)
        was = run.status
        status = self.status_of(monitor)
        node.report_due = True
        if run.suspended or status is was:
            return
        node.recovery.set_status(monitor, run, status, meaning, number)

    def refresh(self, monitor: Monitor, run: MonitorRun) -> None:
        """After a suspension: the status is shown again, but nothing is recovered."""
        run.status = self.status_of(monitor)
        self.node.report_due = True


_SEVERITY = [
    MonitorStatus.NORMAL,
    MonitorStatus.CAUTION,
    MonitorStatus.STALL,
    MonitorStatus.ERROR,
]


def grave_classes(monitors: Iterable[Monitor]) -> frozenset[str]:
    """Classes of events that no storm may cost: fatal ones and whatever a monitor recovers on."""
    return frozenset({"FATAL"}).union(*(monitor.recover_on for monitor in monitors))


def is_linked(category: str) -> bool:
    """Whether its monitors belong to hardware and drivers: `clprexec` may not touch them."""
    return category in _LINKAGE or category.startswith("HA/")


def _rank(event_class: str) -> int:
    """How grave a class is: the first of `_OPENING` most."""
    return -_OPENING.index(event_class)


def key_of(event: MessageSeen) -> str:
    """Identity of a message's fault."""
    key = f"{event.category}/{event.keyword}"
    return f"{key}#{event.fault}" if event.fault else key


def matches(monitor: Monitor, server: str, category: str, keyword: str) -> bool:
    """Category equal; the keyword compared where the monitor has one there (guide 3.4.1)."""
    if monitor.category != category:
        return False
    own = monitor.keywords.get(server, "")
    return not own or own == keyword
