"""Redfish events of one BMC on their way to the core: news or known, judged, made durable.

An event may come by the stream, by a push and from the log: it counts once.  What cannot be made
durable is forgotten, so that it counts when it is reported again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from clptools.core.model.events import HardwareSeen
from clptools.core.model.words import EventClass
from clptools.core.notices.form import Notice
from clptools.intake.notices import RedfishTestArrived
from clptools.intake.rates import BURST, RATE, Bucket
from clptools.intake.redfish_events import EventTable, Told
from clptools.intake.redfish_reports import KEPT, RedfishCounters, RedfishNotes, event_of

PENDING, GRAVE_PENDING = 256, 4096
"""Events taken and not yet durable: all, and fatal ones and ends."""
_GRAVE = (EventClass.FATAL, EventClass.CLEAR)
_ALIKE = 8 * KEPT
"""Ids of events that are remembered, also of events that are alike."""
LATE_S = 60.0
"""An event that is at most this much older than the newest of its fault, and arrives within this
time after it, was overtaken; a greater difference means that a clock was set."""


class Seen:
    """Events that were received.

    Two events within one second may be identical.  If one channel reported both, under two ids,
    there were two; a channel that reported one reported one of them.
    """

    def __init__(self) -> None:
        self._events: OrderedDict[str, dict[str, _Ids]] = OrderedDict()
        self._ids = 0
        """How many there are in all."""
        self._taken: dict[str, int] = {}
        self._newest: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Fault -> the BMC's and our own time of its newest event."""

    def first(self, way: str, told: Told) -> bool:
        """Whether it is news; remembers it.

        What has neither a time nor an id cannot be told from the next of its kind, which must not
        be lost: it is always news.
        """
        if not told.id and not told.stamp:
            return True
        ids, known = self._noted(way, told)
        if known or ids.count <= self._taken.get(told.identity, 0):
            return False
        self._taken[told.identity] = ids.count
        return True

    def remember(self, way: str, told: Told) -> None:
        """Not news on this channel any more; a live report on another channel still counts."""
        self._noted(way, told)

    def _noted(self, way: str, told: Told) -> tuple[_Ids, bool]:
        """The ids on that channel, and whether this one was among them."""
        ways = self._events.setdefault(told.identity, {})
        ids = ways.setdefault(way, _Ids())
        before = len(ids.last)
        known = ids.knew(told.id)
        self._ids += len(ids.last) - before
        self._events.move_to_end(told.identity)
        while len(self._events) > KEPT or (self._ids > _ALIKE and len(self._events) > 1):
            self._drop(next(iter(self._events)))
        return ids, known

    def knows(self, way: str, told: Told) -> bool:
        """Whether it came by that way."""
        ids = self._events.get(told.identity, {}).get(way)
        return ids is not None and told.id in ids.last

    def tells(self, way: str, told: Told) -> bool:
        """Whether one like it came by that way, under whatever id."""
        return way in self._events.get(told.identity, {})

    def forget(self, told: Told) -> None:
        """As if it had never come."""
        self._drop(told.identity)

    def _drop(self, identity: str) -> None:
        ways = self._events.pop(identity, {})
        self._ids -= sum(len(ids.last) for ids in ways.values())
        self._taken.pop(identity, None)

    def count(self, told: Told) -> int:
        """How many alike were taken."""
        return self._taken.get(told.identity, 0)

    def is_late(self, key: str, told: Told, now_s: float) -> bool:
        """Whether a newer event of that fault has overtaken it."""
        if told.at_s is None:
            return False
        last = self._newest.get(key)
        if last is not None and 0 < last[0] - told.at_s <= LATE_S and now_s - last[1] <= LATE_S:
            return True
        self._newest[key] = (told.at_s, now_s)
        self._newest.move_to_end(key)
        if len(self._newest) > KEPT:
            self._newest.popitem(last=False)
        return False


class _Ids:
    """The ids under which one channel reported identical events."""

    def __init__(self) -> None:
        self.last: OrderedDict[str, None] = OrderedDict()
        """The last `KEPT` of them."""
        self.count = 0
        """Of all: a service without a clock says the same for ever."""

    def knew(self, id: str) -> bool:
        """Whether that one came already; remembers it."""
        known = id in self.last
        self.last[id] = None
        self.last.move_to_end(id)
        if not known:
            self.count += 1
        if len(self.last) > KEPT:
            self.last.popitem(last=False)
        return known


class Owner(Protocol):
    """`redfish.RedfishEvents`, as the delivery of its BMC's events needs it."""

    counters: RedfishCounters

    @property
    def server(self) -> str:
        """Whose BMC it is."""

    def note(self, notice: Notice) -> None:
        """One line for people."""

    async def deliver(self, event: HardwareSeen) -> None:
        """Returns once it is durable.  Raises OSError."""


class RedfishDelivery:
    """What one BMC tells."""

    def __init__(
        self,
        owner: Owner,
        notes: RedfishNotes,
        source: str,
        monitors: tuple[str, ...],
        table: EventTable,
    ) -> None:
        """`source`: the BMC's address."""
        self.monitors = monitors
        self.table = table
        self.makers: frozenset[int] | None = None
        """Who made the BMC; None: not asked yet."""
        self.seen = Seen()
        self._owner = owner
        self._counters = owner.counters
        self._notes = notes
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._bucket = Bucket(RATE, BURST)
        self._pending: set[asyncio.Task[bool]] = set()

    async def done(self) -> None:
        """Returns once what was taken is durable, or cannot be."""
        await asyncio.gather(*self._pending, return_exceptions=True)

    def take(self, told: Told, way: str, *, fills: bool = False) -> asyncio.Task[bool] | None:
        """Judges one event; the task that makes it durable, or None: there is nothing to keep.

        `fills`: other ways work, and if it is news they lacked it.
        """
        self._counters.received += 1
        if not self.seen.first(way, told):
            self._counters.duplicate += 1
            return None
        if fills:
            self._counters.log_filled += 1
        judged = self.table.judge(told, self.makers or frozenset())
        if self.seen.is_late(judged.key, told, self._loop.time()):
            self._counters.late += 1
            return None
        if told.test:
            self._counters.test += 1
            self._owner.note(RedfishTestArrived(told.test))
        if judged.event_class is EventClass.UNKNOWN:
            self._counters.unknown += 1
        if not judged.known and judged.event_class is not EventClass.CLEAR:
            self._notes.unknown(told, judged.event_class)
        grave = judged.event_class in _GRAVE
        calm = self._bucket.take(int(self._loop.time() * 1000))
        most = GRAVE_PENDING if grave else PENDING
        if not (calm or grave) or len(self._pending) >= most:
            self._counters.storm += 1
            text = "more events at once than are taken: those below FATAL are dropped"
            self._notes.seldom("storm", text)
            return None
        self._counters.accepted += 1
        count = self.seen.count(told)
        events = tuple(
            event_of(monitor, told, judged, count, self._source, way) for monitor in self.monitors
        )
        task = self._loop.create_task(self._deliver(told, events))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return task

    async def _deliver(self, told: Told, events: tuple[HardwareSeen, ...]) -> bool:
        try:
            for event in events:
                await self._owner.deliver(event)
        except OSError:
            # It is reported again: pushed by the BMC, or read from its log.
            self.seen.forget(told)
            self._counters.undelivered += 1
            return False
        return True
