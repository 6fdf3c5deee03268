"""How grave hardware events are, and what they make of a monitor's status."""

from __future__ import annotations

from collections.abc import Iterable

from clptools.core.model.open_events import Events, open_of
from clptools.core.model.settings import Monitor
from clptools.core.model.states import MonitorStatus
from clptools.core.model.words import EventClass

OPENING = (
    EventClass.FATAL,
    EventClass.ERROR,
    EventClass.REDUNDANCY,
    EventClass.PREDICT,
    EventClass.PERFORMANCE,
)
"""Classes that open an event, the gravest first."""
_LINKAGE = frozenset({"BMCNOTICE", "NIC", "FC", "SPS", "MCE"})
_SEVERITY = [
    MonitorStatus.NORMAL,
    MonitorStatus.CAUTION,
    MonitorStatus.STALL,
    MonitorStatus.ERROR,
]


def grave_classes(monitors: Iterable[Monitor]) -> frozenset[EventClass]:
    """Classes of events that no storm may cost: fatal ones and whatever a monitor recovers on."""
    return frozenset({EventClass.FATAL}).union(*(monitor.recover_on for monitor in monitors))


def rank(event_class: EventClass) -> int:
    """How grave a class is: the first of `OPENING` most, one that opens nothing least."""
    return -OPENING.index(event_class) if event_class in OPENING else -len(OPENING)


def status_of(monitor: Monitor, events: Events) -> MonitorStatus:
    """What the open events of a monitor make of its status."""
    classes = {event.event_class for event in open_of(events, monitor.name)}
    words = (_word(monitor, event_class) for event_class in classes)
    return max(words, key=_SEVERITY.index, default=MonitorStatus.NORMAL)


def _word(monitor: Monitor, event_class: EventClass) -> MonitorStatus:
    if event_class in monitor.recover_on:
        return MonitorStatus.ERROR
    if event_class == EventClass.PREDICT and monitor.stall_on_predictive_failure:
        return MonitorStatus.STALL
    if event_class == EventClass.PERFORMANCE and monitor.stall_on_performance_down:
        return MonitorStatus.STALL
    return MonitorStatus.CAUTION


def is_linked(category: str) -> bool:
    """Whether its monitors belong to hardware and drivers: `clprexec` may not touch them."""
    return category in _LINKAGE or category.startswith("HA/")
