"""The ledger of open hardware events: faults that were reported and are not over.

An assertion opens one event under its fault key and later ones fold into it; a deassertion
closes exactly what the key opened; an operator may acknowledge what never deasserts.  The status
of a message receive monitor follows from its open events alone.
"""

from __future__ import annotations

from clptools.core import phrases as say
from clptools.core.model.durable import LedgerFile
from clptools.core.model.events import HardwareSeen, MessageSeen
from clptools.core.model.monitor_state import LedgerState, OpenEvent, Unclaimed, open_of
from clptools.core.model.settings import Monitor, Settings
from clptools.core.model.states import MonitorStatus
from clptools.core.model.words import EventClass, known_class
from clptools.core.monitors.final_action import FinalActions
from clptools.core.monitors.recovery import Recovery
from clptools.core.monitors.status import OPENING, MonitorRuns, grave_classes, rank, status_of
from clptools.core.notices import hardware as notices
from clptools.core.notices.form import Notice
from clptools.core.step import Change, Step

_DUPLICATES_KEPT = 512
DUPLICATES_MS = 1_800_000
"""No BMC resends a trap for half an hour: seven times, 255 s apart (IPMI 2.0, table 23-4)."""
_WATCHDOG_ROWS = ("23h/6F/", "11h/6F/")
"""Rows of the class table about the BMC's watchdog timer (IPMI 2.0, table 42-3)."""
_OPEN_KEPT = 500
"""Open events of one monitor, those it recovers on and others apart: more at once are one fault,
and every change of the ledger costs what is in it."""
_MORE_KEY = "more"
"""Fault key of one event that stands for all grave ones above `_OPEN_KEPT`: no deassertion
closes it, since nobody remembers which they were."""
_ANY = "*"
_PATTERNS = ("|*", "~*", "*~")
"""What makes a pattern of a key that is closed: a `*` in it stands for any text."""
_UNCLAIMED_KEPT = 256
_UNCLAIMED_AGAIN_MS = 3_600_000
"""A message that no monitor takes and that keeps coming is recorded this often."""


class EventLedger:
    """Open hardware events and the monitors they belong to."""

    def __init__(
        self,
        step: Step,
        state: LedgerState,
        runs: MonitorRuns,
        final: FinalActions,
        recovery: Recovery,
    ) -> None:
        self.step = step
        self.state = state
        self.runs = runs
        self.final = final
        self.recovery = recovery

    def restore(self, ledger: LedgerFile) -> None:
        """Takes over what the disk had open: it is shown and counts, but is not recovered again."""
        self.state.next_event = ledger.next_event
        for e in ledger.entries:
            monitor = self.step.settings.monitor(e.monitor)
            if monitor is None:
                continue
            self.state.events[f"{e.monitor}/{e.key}"] = OpenEvent(
                id=e.id,
                monitor=e.monitor,
                key=e.key,
                event_class=known_class(e.event_class),
                meaning=e.meaning,
                source=e.source,
                first_at=e.first_at,
                last_at=e.last_at,
                count=e.count,
            )
            self.runs.run(e.monitor).status = status_of(monitor, self.state.events)

    # ------------------------------------------------------------------ what comes in

    def hardware(self, event: HardwareSeen) -> None:
        """A trap for one monitor."""
        monitor = self.step.settings.monitor(event.monitor)
        if monitor is None or self._duplicate(monitor, event.duplicate_key):
            return
        expected = self.step.now < self.final.state.deadman_until
        ours = expected and (event.own_watchdog or event.row.startswith(_WATCHDOG_ROWS))
        clears = event.event_class == EventClass.CLEAR
        if clears or (event.event_class == EventClass.INFO and event.closes):
            for key in event.closes or (event.key,):
                self._close_all(monitor, key, event)
        if clears:
            return
        if event.event_class in OPENING and not ours:
            self._open(monitor, event.key, event.event_class, event.meaning, event.source)
        elif event.event_class == EventClass.INFO or ours:
            self.step.notice(notices.HardwareNoted(monitor.name, event.source, event.meaning))

    def message(self, event: MessageSeen) -> None:
        """A driver's or a program's message: to every monitor that matches."""
        found = takers(self.step.settings, self.step.me, event)
        if not found:
            self._unclaimed(event)
        for monitor in found:
            self.take(monitor, event)

    def take(self, monitor: Monitor, event: MessageSeen) -> None:
        """A message for one monitor."""
        key = key_of(event)
        if event.recovered:
            self._close(monitor, key, "", event.text)
            return
        self.runs.run(monitor.name).device = event.keyword
        event_class = EventClass.PREDICT if event.predictive else EventClass.FATAL
        source = event.origin or event.category
        self._open(monitor, key, event_class, event.text or key, source, message=True)

    def _unclaimed(self, event: MessageSeen) -> None:
        """Records a message that no monitor takes: once, then hourly while it keeps coming."""
        step = self.step
        key = key_of(event)
        known = self.state.unclaimed
        if event.recovered:
            known.pop(key, None)
            return
        found = known.get(key)
        if found is not None and step.now - found.told_at < _UNCLAIMED_AGAIN_MS:
            found.count += 1
            return
        again = found.count + 1 if found is not None else 0
        known.pop(key, None)
        while len(known) >= _UNCLAIMED_KEPT:
            del known[next(iter(known))]
        known[key] = Unclaimed(told_at=step.now)
        words = event.text or say.no_text
        step.notice(
            notices.MessageUnclaimed(event.category, event.keyword, words),
            because=say.no_taker(step.me, again),
        )

    def _duplicate(self, monitor: Monitor, key: str) -> bool:
        """Whether a trap is a resend of one already taken."""
        if not key:
            return False
        now, known = self.step.now, self.state.traps_taken
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
        event_class: EventClass,
        meaning: str,
        source: str,
        *,
        message: bool = False,
    ) -> None:
        step = self.step
        full = f"{monitor.name}/{key}"
        found = self.state.events.get(full)
        grave = event_class in grave_classes((monitor,))
        if found is None and self._full(monitor, grave):
            if not grave:
                return
            key, meaning = _MORE_KEY, say.more_grave(_OPEN_KEPT)
            full = f"{monitor.name}/{key}"
            found = self.state.events.get(full)
        if found is not None and rank(event_class) <= rank(found.event_class):
            # The same fault, not graver: the gravest class of it stays open.
            found.count += 1
            found.last_at = step.now
            step.changed(Change.REPORT)
            return
        number = self.state.next_event
        self.state.next_event += 1
        first = step.now
        self.state.events[full] = OpenEvent(
            id=number,
            monitor=monitor.name,
            key=key,
            event_class=event_class,
            meaning=meaning,
            source=source,
            first_at=first,
            last_at=first,
        )
        own = step.settings.server(step.me)
        from_bmc = own is not None and own.bmc is not None and own.bmc.address == source
        who = say.reporter(step.me, source, from_bmc)
        step.notice(_opened(monitor.name, who, event_class, meaning, message), event=number)
        if event_class == EventClass.FATAL:
            step.changed(Change.BEATS)
        if not grave and self._full(monitor, grave):
            step.notice(notices.LedgerFull(monitor.name, _OPEN_KEPT))
        self._status_follows(monitor, number, meaning)

    def _full(self, monitor: Monitor, grave: bool) -> bool:
        """Whether a monitor has as many events of that gravity open as are kept apart."""
        if len(self.state.events) < _OPEN_KEPT:
            return False
        classes = grave_classes((monitor,))
        same = (
            e
            for e in open_of(self.state.events, monitor.name)
            if (e.event_class in classes) is grave
        )
        return sum(1 for _ in same) >= _OPEN_KEPT

    def _close_all(self, monitor: Monitor, key: str, event: HardwareSeen) -> None:
        """Closes what is open under `key`, which may be a pattern."""
        keys = [key]
        if any(mark in key for mark in _PATTERNS):
            keys = [e.key for e in open_of(self.state.events, monitor.name) if _fits(e.key, key)]
        for one in keys:
            self._close(monitor, one, event.clears, event.meaning)

    def _close(self, monitor: Monitor, key: str, clears: str, meaning: str) -> None:
        step = self.step
        full = f"{monitor.name}/{key}"
        found = self.state.events.get(full)
        if found is None or (clears and found.event_class != clears):
            return
        del self.state.events[full]
        closed = notices.HardwareClosed(monitor.name, found.meaning, meaning)
        step.notice(closed, event=found.id)
        step.changed(Change.BEATS)
        self._status_follows(monitor, 0, "")

    def acknowledge(self, monitor: Monitor, number: int, user: str, key: str = "") -> int:
        """Closes open events by an operator's word; returns how many.

        With `number` or `key` that one alone.
        """
        step = self.step
        closing = [
            full
            for full, e in self.state.events.items()
            if e.monitor == monitor.name and number in (0, e.id) and key in ("", e.key)
        ]
        for full in closing:
            found = self.state.events.pop(full)
            by_hand = notices.HardwareAcknowledged(monitor.name, user, found.meaning)
            step.notice(by_hand, event=found.id)
        if closing:
            step.changed(Change.BEATS)
            self._status_follows(monitor, 0, "")
        return len(closing)

    # ------------------------------------------------------------------ status

    def _status_follows(self, monitor: Monitor, number: int, meaning: str) -> None:
        """The monitor's status after the ledger changed; a new Error starts recovery once."""
        step = self.step
        run = self.runs.run(monitor.name)
        was = run.status
        status = status_of(monitor, self.state.events)
        step.changed(Change.REPORT)
        if run.suspended and status is MonitorStatus.ERROR and status is not was:
            self.recovery.hold_back(monitor, run)
        if run.suspended or status is was:
            return
        self.recovery.set_status(monitor, run, status, meaning, number)


def _fits(key: str, pattern: str) -> bool:
    """Whether a pattern, which has a `*` or more, stands for a key."""
    head, *middle, tail = pattern.split(_ANY)
    if len(key) < len(head) + len(tail) or not key.startswith(head) or not key.endswith(tail):
        return False
    at, end = len(head), len(key) - len(tail)
    for piece in middle:
        at = key.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def key_of(event: MessageSeen) -> str:
    """Identity of a message's fault."""
    key = f"{event.category}/{event.keyword}"
    return f"{key}#{event.fault}" if event.fault else key


def takers(settings: Settings, server: str, event: MessageSeen) -> list[Monitor]:
    """The message receive monitors of a server that take a message."""
    return [
        monitor
        for monitor in settings.monitors
        if monitor.type == "mrw"
        and server in monitor.servers
        and matches(monitor, server, event.category, event.keyword)
    ]


def matches(monitor: Monitor, server: str, category: str, keyword: str) -> bool:
    """Category equal; the keyword compared where the monitor has one there (guide 3.4.1)."""
    if monitor.category != category:
        return False
    own = monitor.keywords.get(server, "")
    return not own or own == keyword


def _opened(monitor: str, who: str, event_class: EventClass, meaning: str, message: bool) -> Notice:
    """The notice of an event that opens; of messages only fatal ones have their own."""
    if event_class == EventClass.FATAL:
        fatal = notices.MessageFatal if message else notices.HardwareFatal
        return fatal(monitor, who, meaning)
    if event_class == EventClass.PERFORMANCE and not message:
        return notices.HardwareDegraded(monitor, who, meaning)
    if event_class == EventClass.PREDICT and not message:
        return notices.HardwarePredicted(monitor, who, meaning)
    return notices.HardwareFault(monitor, who, say.class_words[event_class], meaning)
