"""What a core remembers of monitors and open hardware events.

Instants are of this server's clock; `NEVER` stands for "not yet".
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from clptools.core.model.states import (
    MonitorStatus,
)
from clptools.core.model.timing import NEVER
from clptools.core.model.words import EventClass, Quiet, RecoveryStage

NOTICE_MS = 300_000
"""How long before its begin a planned move is announced."""


class OpenEvent(msgspec.Struct):
    """One open hardware event."""

    id: int
    monitor: str
    key: str
    event_class: EventClass
    meaning: str
    source: str
    first_at: int
    last_at: int
    count: int = 1
    acknowledged: bool = False


class Unclaimed(msgspec.Struct):
    """Messages of one fault that no monitor takes."""

    told_at: int
    count: int = 0
    """How many messages came since the last record."""


class LedgerState(msgspec.Struct):
    """Open hardware events, and messages that no monitor takes."""

    events: dict[str, OpenEvent] = {}
    """`monitor/key` -> open hardware event."""
    unclaimed: dict[str, Unclaimed] = {}
    """Key of a message -> what was recorded of it; only for faults that no monitor takes."""
    next_event: int = 1
    traps_taken: dict[str, int] = {}
    """Duplicate key of a trap -> when it was taken."""


class MonitorRun(msgspec.Struct):
    """One monitor on this server."""

    status: MonitorStatus = MonitorStatus.NORMAL
    text: str = ""
    device: str = ""
    """Keyword of the newest message that the monitor took."""
    suspended: bool = False
    suspended_by: str = ""
    suspended_at: int = NEVER
    suspended_days: int = 0
    """Whole days for which people were reminded of it."""
    running: bool = False
    """The periodic checks of an active monitor run."""
    fault: bool = False
    scripts: list[int] = []
    restarts: list[int] = []
    failovers: list[int] = []
    stays: dict[str, str] = {}
    """Group that it could not move -> why, as recorded."""
    held_back: str = ""
    """What kept this incident from being recovered, as recorded."""
    finals: int = 0
    step: RecoveryStage = RecoveryStage.NONE
    token: str = ""
    incident: int = 0
    deadline: int = NEVER


class Window(msgspec.Struct, frozen=True):
    """The present or next quiet window of a monitor."""

    opens_at: int
    closes_at: int
    when: str
    """The window in local time, for people."""

    def is_open(self, now: int) -> bool:
        """Whether `now` is within the window."""
        return self.opens_at <= now < self.closes_at

    def stage(self, now: int) -> Quiet:
        """Whether the window is open, near, or neither."""
        if not self.opens_at - NOTICE_MS <= now < self.closes_at:
            return Quiet.CLOSED
        return Quiet.OPEN if now >= self.opens_at else Quiet.NEAR


class PlansState(msgspec.Struct):
    """What this server itself knows of planned moves; the plans are in the shared policy."""

    windows: dict[str, Window] = {}
    """Monitor -> its present or next quiet window, by this server's wall clock."""
    announced_at: dict[str, int] = {}
    """As coordinator: group -> when its move was announced, or when we learned that it had been."""
    hindered: dict[str, str] = {}
    """As coordinator: group -> what last kept it from moving in its window."""
    prepared: list[tuple[str, str, int]] = []
    """`Plan.source` of the plans for which this server was prepared."""
    scripts: dict[str, tuple[str, str]] = {}
    """Token of a prepare script that runs here -> its group and resource."""


class FinalState(msgspec.Struct):
    """Final actions in a row."""

    halts: dict[str, int] = {}
    """`rm` (monitors), `rc` (resources) -> how many in a row ended this machine."""
    deadman_until: int = NEVER
    """Until then, a report that the BMC's watchdog timer expired is about the timer that we
    armed."""


# Questions that several rooms ask of this server's open hardware events.

Events = Mapping[str, OpenEvent]
"""`monitor/key` -> open event; read-only."""

Windows = Mapping[str, Window]
"""Monitor -> its present or next quiet window here; read-only."""


def in_window(windows: Windows, monitor: str, now: int) -> bool:
    """Whether a monitor's quiet window is open, by this server's clock."""
    return monitor in windows and windows[monitor].is_open(now)


def bars(events: Events) -> bool:
    """Whether an open fatal event keeps groups away from this server."""
    return any(e.event_class == EventClass.FATAL for e in events.values())


def open_of(events: Events, monitor: str) -> list[OpenEvent]:
    """Open events of one monitor, oldest first."""
    return [e for e in events.values() if e.monitor == monitor]
