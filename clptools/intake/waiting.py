"""Datagrams that may wait for their turn, sensor by sensor; what is too much is shed, oldest first.

Each sensor's are judged in the order in which they came.  Sensors do not wait for one another, so
the ones of a single sensor can be caught up with before a trap of it that may not wait.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

MOST = 4_096
"""Datagrams that wait, of all sensors."""
MOST_OF_ONE = 256
"""Of one sensor: the newest tell how it stands, and a fatal trap of it must not wait for long."""

Item = TypeVar("Item")


class Waiting(Generic[Item]):
    """What waits."""

    def __init__(self) -> None:
        self.count = 0
        self._of: OrderedDict[bytes, deque[Item]] = OrderedDict()

    def add(self, sensor: bytes, item: Item) -> bool:
        """Takes one more; False: it, or an older one of its sensor, was shed for that."""
        found = self._of.get(sensor)
        full = self.count >= MOST
        if found is None:
            if full:
                return False
            found = self._of[sensor] = deque()
        room = not full and len(found) < MOST_OF_ONE
        if room:
            self.count += 1
        else:
            found.popleft()
        found.append(item)
        return room

    def next(self) -> Item | None:
        """The one whose turn it is, or None."""
        for sensor, found in self._of.items():
            item = found.popleft()
            self.count -= 1
            if not found:
                del self._of[sensor]
            return item
        return None

    def of(self, sensor: bytes) -> tuple[Item, ...]:
        """All that wait of one sensor, in order; they wait no more."""
        found = self._of.pop(sensor, ())
        self.count -= len(found)
        return tuple(found)
