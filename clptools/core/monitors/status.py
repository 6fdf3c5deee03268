"""How the monitors of this server stand, and what open hardware events make of their status."""

from __future__ import annotations

from collections.abc import Iterable

from clptools.core.model.monitor_state import Events, MonitorRun, open_of
from clptools.core.model.settings import Monitor
from clptools.core.model.states import MonitorStatus
from clptools.core.model.words import EventClass
from clptools.core.step import Step

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


class MonitorRuns:
    """Name -> state of a monitor here."""

    def __init__(self, step: Step, state: dict[str, MonitorRun]) -> None:
        self.step = step
        self.state = state

    def run(self, name: str) -> MonitorRun:
        """The state of a monitor here, made when first asked for."""
        runs = self.state
        found = runs.get(name)
        if found is None:
            found = runs[name] = MonitorRun()
        return found

    def here(self) -> tuple[Monitor, ...]:
        """The monitors that run on this server."""
        return self.step.settings.monitors_on(self.step.me)
