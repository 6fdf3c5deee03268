"""Which events came already, by which way, and which were overtaken."""

from __future__ import annotations

from collections import OrderedDict

from clptools.intake.redfish_events import Told

KEPT = 2048
"""Events, and faults, that are remembered."""
LATE_S = 60.0
"""An event that is so much older than the newest of its fault, and comes as shortly after that,
was overtaken; a greater difference is a clock that was set."""


class Seen:
    """Events that came.

    Two events of one second may be alike: then the way that told both, under two ids, is right,
    and another way that told one has told one of them.
    """

    def __init__(self) -> None:
        self._events: OrderedDict[str, dict[str, set[str]]] = OrderedDict()
        self._taken: dict[str, int] = {}
        self._newest: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Fault -> the BMC's and our own time of its newest event."""

    def first(self, way: str, told: Told) -> bool:
        """Whether it is news; remembers it."""
        ways = self._events.setdefault(told.identity, {})
        ids = ways.setdefault(way, set())
        known = told.id in ids
        if not known and len(ids) < KEPT:
            ids.add(told.id)
        self._events.move_to_end(told.identity)
        if len(self._events) > KEPT:
            self._taken.pop(self._events.popitem(last=False)[0], None)
        if known or len(ids) <= self._taken.get(told.identity, 0):
            return False
        self._taken[told.identity] = len(ids)
        return True

    def knows(self, way: str, told: Told) -> bool:
        """Whether it came by that way."""
        return told.id in self._events.get(told.identity, {}).get(way, ())

    def tells(self, way: str, told: Told) -> bool:
        """Whether one like it came by that way, under whatever id."""
        return bool(self._events.get(told.identity, {}).get(way))

    def forget(self, told: Told) -> None:
        """As if it had never come."""
        self._events.pop(told.identity, None)
        self._taken.pop(told.identity, None)

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
