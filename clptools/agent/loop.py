"""One queue in front of the core: the only caller of `Node.step`.

Each event is stamped, written into the journal, given to the core, and the actions that come back
are begun in order before the next event is taken.  Nothing here awaits, so no list of actions can
overtake an earlier one.

While there is no room to write the state, the rest of the list waits, and so does every event
behind it.  To the other servers this one has stopped, which the rules provide for.

Traps that are neither grave nor the end of a grave one give way to everything else.  A grave trap
is handled after the earlier ones of the same sensor, so that no fault overtakes its end.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from clptools.agent.slots import MAY_PASS
from clptools.core.model.actions import Action
from clptools.core.model.events import BeatSeen, Event, HardwareSeen, MessageSeen, TimerFired
from clptools.core.model.words import EventClass

_SLICE_MS = 20
"""After this long the queue lets sockets and processes have their turn."""
_YIELDING_SLICE_MS, _REST_MS = 4, 8
"""The same for traps that give way, and the pause then."""
_LONG_REST_MS = 50
"""The pause after a grave trap: its recovery has the loop to itself."""
_QUEUE_LIMIT = 20_000
"""Far above any burst that a cluster of 32 makes; beyond it what others may send is dropped."""
_GRAVE_LIMIT = 2 * _QUEUE_LIMIT
"""Limit above which even grave traps are dropped; nothing else from others uses this reserve."""
_BOUNDED = (BeatSeen, HardwareSeen, MessageSeen)
"""Events that others may send at any rate.  All the rest answers what the core asked for: it would
wait forever for a timer, or for the end of a resource, that was dropped."""

_RETRY_S = 0.1


class Steps(Protocol):
    """The core, as far as the loop needs it."""

    def step(self, event: Event, now: int) -> list[Action]:
        """See `clptools.core.node.Node`."""


class Loop:
    """The queue and the timers of one core."""

    def __init__(
        self,
        node: Steps,
        now: Callable[[], int],
        journal: Callable[[int, Event], None],
        perform: Callable[[Action], None],
        failed: Callable[[BaseException], None],
        held: Callable[[OSError | None], None] = lambda _: None,
    ) -> None:
        """`failed` is told of what `step` or an action raised: the loop has then stopped for
        good, and nothing after the failed action is done.  `held` is told when an action first
        fails for a reason that may pass, and with None once it succeeded: nothing after it is
        done before that."""
        self._node = node
        self._now = now
        self._journal = journal
        self._perform = perform
        self._failed = failed
        self._held = held
        self._left: deque[Action] = deque()
        """Actions that are still to be done for the event stepped last."""
        self._left_seen: asyncio.Future[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._queue: deque[_Queued] = deque()
        self._yielding: deque[_Queued] = deque()
        self._yielding_of: Counter[str] = Counter()
        """Sensor -> how many traps of it give way at present."""
        self._turn: asyncio.TimerHandle | None = None
        self._rests_until = 0
        self._rested = False
        """Whether they had a long rest since their last turn; they get no second one."""
        self._scheduled = False
        self._stopped = False
        self._timers: dict[str, tuple[int, int]] = {}
        self._heap: list[tuple[int, int, str]] = []
        self._count = 0
        self._wake: asyncio.TimerHandle | None = None
        self._wake_at = 0
        self.dropped = 0
        """Events that found the queue full, or the loop stopped."""
        self.lag_ms = 0
        """How late the last due timer was."""
        self.worst_lag_ms = 0
        self._untold_lag_ms = 0
        self.steps = 0
        self.grave = frozenset({"FATAL"})
        """Classes of traps that never give way (`grave_classes`)."""

    @property
    def held(self) -> bool:
        """Whether an action is tried again until it succeeds, and everything waits for it."""
        return self._retry is not None

    def put(self, event: Event) -> None:
        """Queue `event`; the core sees it soon, in order."""
        self._add(event, None)

    async def stepped(self, event: Event) -> None:
        """Queue `event` and return once the core has seen it and its actions are begun.

        Raises OSError where the core will not see it: the queue is full, or the loop stopped.
        """
        seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._add(event, seen)
        await seen

    def set_timer(self, name: str, at: int) -> None:
        """`TimerFired(name)` at `at` (boot time, ms); replaces the timer of that name."""
        self._count += 1
        self._timers[name] = (at, self._count)
        heapq.heappush(self._heap, (at, self._count, name))
        if len(self._heap) > 64 + 4 * len(self._timers):
            self._heap = [(at, n, name) for name, (at, n) in self._timers.items()]
            heapq.heapify(self._heap)
        self._arrange_wake()

    def take_lag_ms(self) -> int:
        """How late the latest timer was since this was asked last."""
        found, self._untold_lag_ms = self._untold_lag_ms, 0
        return found

    def clear_timer(self, name: str) -> None:
        """Forget the timer of that name, if there is one."""
        self._timers.pop(name, None)

    def stop(self) -> None:
        """Step no more events."""
        self._stopped = True
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            self._left.clear()
            _unseen(self._left_seen, "the cluster service ended")
        for queue in (self._queue, self._yielding):
            while queue:
                _unseen(queue.popleft()[1], "the cluster service ended")
        self._yielding_of.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _add(self, event: Event, seen: asyncio.Future[None] | None) -> None:
        if self._stopped:
            self.dropped += 1
            _unseen(seen, "the cluster service ended")
            return
        queue, limit = self._queue, _QUEUE_LIMIT
        if isinstance(event, HardwareSeen):
            if self._is_grave(event):
                limit = _GRAVE_LIMIT
                self._before(event)
            else:
                queue = self._yielding
        if len(queue) >= limit and isinstance(event, _BOUNDED):
            self.dropped += 1
            _unseen(seen, f"{limit} events wait for the core already")
            return
        queue.append((event, seen))
        if queue is self._yielding:
            self._yielding_of[_sensor(event)] += 1
            self._arrange_turn()
        else:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and not self.held:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _is_grave(self, event: HardwareSeen) -> bool:
        """Whether it is of these classes, or may be the end of one that is."""
        clear = event.event_class == EventClass.CLEAR
        told = event.clears if clear else event.event_class
        return told in self.grave or (clear and not told)

    def _before(self, event: HardwareSeen) -> None:
        """Let traps of the same sensor that gave way, but came first, go before `event`."""
        if not self._rested:
            self._rested = True
            self._rests_until = self._now() + _LONG_REST_MS
        if not self._yielding_of.pop(sensor := _sensor(event), 0):
            return
        yielding, self._yielding = self._yielding, deque()
        for queued in yielding:
            (self._queue if _sensor(queued[0]) == sensor else self._yielding).append(queued)

    def _run(self) -> None:
        self._scheduled = False
        until = self._now() + _SLICE_MS
        while self._queue and not self._stopped:
            now = self._now()
            if not self._step(*self._queue.popleft(), now):
                return
            if now >= until and self._queue:
                self._schedule()
                return

    def _arrange_turn(self) -> None:
        if self._turn is None and self._yielding and not self.held:
            delay_s = max(0, self._rests_until - self._now()) / 1000
            self._turn = asyncio.get_running_loop().call_later(delay_s, self._take_turn)

    def _take_turn(self) -> None:
        """Handle the traps that give way, unless they must wait again."""
        self._turn = None
        now = self._now()
        until = now + _YIELDING_SLICE_MS
        if now >= self._rests_until and not self.held:
            self._rested = False
            while self._yielding and not self._queue and not self._stopped and now < until:
                event, seen = self._yielding.popleft()
                sensor = _sensor(event)
                self._yielding_of[sensor] -= 1
                if not self._yielding_of[sensor]:
                    del self._yielding_of[sensor]
                now = self._now()
                if not self._step(event, seen, now):
                    return
            self._rests_until = now + (_REST_MS if now >= until else 0)
        self._arrange_turn()

    def _step(self, event: Event, seen: asyncio.Future[None] | None, now: int) -> bool:
        """Gives one event to the core and begins its actions; False: no other may follow now."""
        self._left_seen = seen
        try:
            self._journal(now, event)
            self._left.extend(self._node.step(event, now))
        except Exception as error:
            self._end(error)
            return False
        return self._carry_out()

    def _carry_out(self) -> bool:
        """Carries out the rest of the list; False: it is held, or the loop has stopped for good."""
        while self._left:
            try:
                self._perform(self._left[0])
            except OSError as error:
                if error.errno not in MAY_PASS:
                    self._end(error)
                    return False
                first = self._retry is None
                self._retry = asyncio.get_running_loop().call_later(_RETRY_S, self._try_again)
                if first:
                    self._held(error)
                return False
            except Exception as error:
                self._end(error)
                return False
            self._left.popleft()
        self.steps += 1
        if self._left_seen is not None and not self._left_seen.done():
            self._left_seen.set_result(None)
        return True

    def _try_again(self) -> None:
        if self._carry_out():
            self._retry = None
            self._held(None)
            self._schedule()
            self._arrange_turn()

    def _end(self, error: Exception) -> None:
        self._left.clear()
        _unseen(self._left_seen, "the core failed on it")
        self.stop()
        self._failed(error)

    def _arrange_wake(self) -> None:
        while self._heap and self._timers.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)  # replaced or cleared
        if not self._heap or self._stopped:
            return
        at = self._heap[0][0]
        if self._wake is not None:
            if self._wake_at == at:
                return
            self._wake.cancel()
        self._wake_at = at
        delay_s = max(0, at - self._now()) / 1000
        self._wake = asyncio.get_running_loop().call_later(delay_s, self._due)

    def _due(self) -> None:
        self._wake = None
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            at, count, name = heapq.heappop(self._heap)
            if self._timers.get(name) == (at, count):
                del self._timers[name]
                self.lag_ms = now - at
                self.worst_lag_ms = max(self.worst_lag_ms, self.lag_ms)
                self._untold_lag_ms = max(self._untold_lag_ms, self.lag_ms)
                self.put(TimerFired(name=name))
        self._arrange_wake()


_Queued = tuple[Event, asyncio.Future[None] | None]
"""An event and who waits until the core has seen it."""


def _sensor(event: Event) -> str:
    """The monitor and sensor of a trap: its key without the offset."""
    assert isinstance(event, HardwareSeen)
    return f"{event.monitor} {event.key.rpartition('/')[0]}"


def _unseen(seen: asyncio.Future[None] | None, why: str) -> None:
    # Not a cancellation: the task that waits goes on, and answers that it was not taken.
    if seen is not None and not seen.done():
        seen.set_exception(OSError(why))
