"""Questions that several rooms ask of this server's open hardware events."""

from __future__ import annotations

from collections.abc import Mapping

from clptools.core.model.state import OpenEvent
from clptools.core.model.words import EventClass

Events = Mapping[str, OpenEvent]
"""`monitor/key` -> open event; to read."""


def bars(events: Events) -> bool:
    """Whether an open fatal event keeps groups away from this server."""
    return any(e.event_class == EventClass.FATAL for e in events.values())


def open_of(events: Events, monitor: str) -> list[OpenEvent]:
    """Open events of one monitor, oldest first."""
    return [e for e in events.values() if e.monitor == monitor]
