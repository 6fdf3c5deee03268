"""Reports of a BMC's Redfish events: counters, notes for people, and events for the core."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from clptools.core.model.events import HardwareSeen
from clptools.core.model.words import EventClass
from clptools.core.notices.form import Notice
from clptools.intake.notices import RedfishEventsCome, RedfishEventsMissed, RedfishMessageUnknown
from clptools.intake.redfish_events import Judged, Told

KEPT = 2048
"""Events, faults and unknown messages that are remembered."""
AGAIN_TOLD_S = 3600.0
"""How often a lasting fault, or a message that no row knows, is reported."""
WAYS = {"stream": "the stream", "push": "pushes", "log": "the log"}


class RedfishCounters(msgspec.Struct, kw_only=True):
    """Events by fate, since the agent started."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    """Came by another way as well, or twice."""
    late: int = 0
    """Overtaken by a newer one of the same fault."""
    unknown: int = 0
    """No class: recorded, no monitor changes."""
    test: int = 0
    malformed: int = 0
    storm: int = 0
    undelivered: int = 0
    refused: int = 0
    """Pushed under another path than ours."""
    stream_ended: int = 0
    stream_silent: int = 0
    """Streams that lacked what the log had."""
    log_filled: int = 0
    """Events that the log alone had."""
    faults: int = 0
    """Requests without a usable answer."""

    def as_dict(self) -> dict[str, int]:
        """Name -> count."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class RedfishNotes:
    """Notes for people about one BMC; each fault is noted once, until it is another."""

    def __init__(
        self, note: Callable[[Notice], None], where: str, now_s: Callable[[], float]
    ) -> None:
        self._note = note
        self._where = where
        self._now_s = now_s
        self._faults: dict[str, str] = {}
        """Way -> why it does not work."""
        self._noted_at: dict[str, float] = {}
        self._unknown: OrderedDict[str, float] = OrderedDict()

    def fails(self, way: str, fault: str) -> None:
        """A way does not work; noted once for all ways with that fault."""
        known = fault in self._faults.values()
        self._faults[way] = fault
        if not known:
            self._missed(f"{WAYS[way]}: {fault}")

    def works(self, way: str) -> None:
        """A way works (again)."""
        fault = self._faults.pop(way, "")
        if fault and fault not in self._faults.values():
            self._note(RedfishEventsCome(self._where, WAYS[way]))

    def seldom(self, name: str, text: str) -> None:
        """A note that is given once an hour."""
        now = self._now_s()
        last = self._noted_at.get(name)
        if last is None or now - last >= AGAIN_TOLD_S:
            self._noted_at[name] = now
            self._missed(text)

    def _missed(self, what: str) -> None:
        self._note(RedfishEventsMissed(self._where, what))

    def unknown(self, told: Told, event_class: EventClass) -> None:
        """A message that no row knows, and how it is given one."""
        now = self._now_s()
        last = self._unknown.get(told.message)
        if last is not None and now - last < AGAIN_TOLD_S:
            return
        self._unknown[told.message] = now
        if len(self._unknown) > KEPT:
            self._unknown.popitem(last=False)
        text = told.text[:120]
        self._note(RedfishMessageUnknown(told.message, text, str(event_class)))


def event_of(
    monitor: str, told: Told, judged: Judged, count: int, source: str, way: str
) -> HardwareSeen:
    """The core's event; `count`: how many alike were taken, with this one."""
    return HardwareSeen(
        monitor=monitor,
        key=judged.key,
        duplicate_key=f"{told.identity}|{count}" if told.stamp else "",
        event_class=judged.event_class,
        closes=judged.closes,
        row=judged.row,
        own_watchdog=judged.own_watchdog,
        meaning=told.text,
        source=source,
        varbinds=(
            ("MessageId", told.message),
            ("Severity", told.severity),
            ("OriginOfCondition", told.origin),
            ("EventTimestamp", told.stamp),
            ("by", way),
        ),
    )
