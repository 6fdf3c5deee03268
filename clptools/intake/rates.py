"""How much is taken of a source that never stops talking: repeats, storms, rates and turns.

Beginnings of fatal faults always pass; everything else has bounds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Generic, NamedTuple, TypeVar

KEEP_MS = 1_800_000
"""A BMC waits up to 255 s for an acknowledgement and sends up to 8 times (IPMI table 23-4)."""
KEEP = 4_096
RATE = 50
BURST = 200
"""Traps a second from one BMC, and at once, before repeats are dropped."""
REPEAT_MS = 10_000
"""In a storm, one trap of each fault passes in this time; its beginning always passes."""
FAULTS = 512
"""The most new faults that pass in a storm within two such times; servers have fewer sensors."""
GRAVE = 4_096
"""Fatal faults remembered in addition: any number of them passes, but memory is bounded."""
ENDS, ENDS_BURST = 1, 10
"""Ends of one fatal fault that pass, a second and at once: it may flap."""
HELD = 1_024
"""Faults whose newest trap is held back."""
JUDGE_S, REST_S = 0.002, 0.006
"""How long events are judged in one turn, and the pause before the next."""

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Keys seen within the last half hour, each with a value; the oldest go first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[int, Value]] = OrderedDict()

    def find(self, key: str, now_ms: int) -> Value | None:
        """What was remembered under `key`, or None."""
        found = self._seen.get(key)
        return found[1] if found is not None and now_ms - found[0] <= KEEP_MS else None

    def remember(self, key: str, value: Value, now_ms: int) -> None:
        """Remembers `value` under `key`."""
        self._seen[key] = (now_ms, value)
        self._seen.move_to_end(key)
        if len(self._seen) > KEEP:
            self._seen.popitem(last=False)

    def forget(self, key: str) -> None:
        """Forgets `key`."""
        self._seen.pop(key, None)


class Bucket:
    """Lets through `rate` a second, `burst` at once."""

    def __init__(self, rate: int, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst * 1000
        self._at_ms: int | None = None

    def take(self, now_ms: int) -> bool:
        """Whether one more may pass now."""
        if self._at_ms is not None:
            self._tokens += max(0, now_ms - self._at_ms) * self._rate
            self._tokens = min(self._tokens, self._burst * 1000)
        self._at_ms = now_ms
        if self._tokens < 1000:
            return False
        self._tokens -= 1000
        return True


class _Passed(NamedTuple):
    """The last trap of a fault that passed."""

    state: str
    at_ms: int
    ends: Bucket | None
    """How often the end of an urgent fault may pass; None: this is no such fault."""


class Storm(Generic[Value]):
    """One BMC's storm: what is new passes at once, repeats of one fault are held back.

    A BMC that sends a thousand traps a second for a flapping sensor must hide neither a fatal trap
    among them nor the final state.  So the latest held trap of each fault is released if its state
    differs from the last that passed.  Thousands of faults at once are an attack, not a server:
    `FAULTS` of them pass, and any number of fatal ones.
    """

    def __init__(self) -> None:
        self._bucket = Bucket(RATE, BURST)
        self._passed: OrderedDict[str, _Passed] = OrderedDict()
        self._grave = 0
        """How many of these were fatal, or the end of a fatal fault."""
        self._held: dict[str, tuple[str, bool, Value]] = {}
        self.dropped = 0
        """Traps held back in the present storm; 0: there is no storm."""
        self.quiet_since_ms = 0

    def admit(
        self,
        fault: str,
        state: str,
        urgent: bool,
        item: Value,
        now_ms: int,
        *,
        ends_urgent: bool = False,
    ) -> bool:
        """Whether `item` passes now.

        `fault` is its subject and `state` its statement.  An `urgent` one never waits for the storm
        to end, unless it only repeats what passed last.  `ends_urgent`: it may end an urgent fault,
        and counts among those.
        """
        grave = urgent or ends_urgent
        calm = self._bucket.take(now_ms)
        last = self._passed.get(fault)
        if last is None:
            passes = calm or self._has_place(grave)
        else:
            passes = calm or now_ms - last.at_ms >= REPEAT_MS
            if not passes and last.state != state:
                # The end also passes now and then: if it were held back, the fault would be no news
                # when it begins again.
                ended = ends_urgent and last.ends is not None and last.ends.take(now_ms)
                passes = urgent or ended
        if not passes:
            return self._hold(fault, state, grave, item, now_ms)
        self._pass(fault, state, grave, now_ms)
        return True

    def release(self, now_ms: int) -> list[Value]:
        """The held traps that say something new; to be called every REPEAT_MS of a storm."""
        self._fade(now_ms)
        held, self._held = self._held, {}
        news: list[Value] = []
        for fault, (state, grave, item) in held.items():
            last = self._passed.get(fault)
            if last is None and not self._has_place(grave):
                self._held[fault] = (state, grave, item)
            elif last is None or last.state != state:
                self._pass(fault, state, grave, now_ms)
                news.append(item)
        return news

    def drop(self, now_ms: int) -> None:
        """Counts one that did not pass."""
        self.dropped += 1
        self.quiet_since_ms = now_ms

    def _has_place(self, grave: bool) -> bool:
        return grave or len(self._passed) - self._grave < FAULTS

    def _hold(self, fault: str, state: str, grave: bool, item: Value, now_ms: int) -> bool:
        if fault in self._held or fault in self._passed or len(self._held) < HELD:
            self._held[fault] = (state, grave, item)
        self.drop(now_ms)
        return False

    def _pass(self, fault: str, state: str, grave: bool, now_ms: int) -> None:
        self._held.pop(fault, None)
        last = self._passed.get(fault)
        ends = last.ends if last is not None else None
        if grave and ends is None:
            ends = Bucket(ENDS, ENDS_BURST)
        self._forget(fault)
        self._passed[fault] = _Passed(state, now_ms, ends)
        self._grave += ends is not None
        self._fade(now_ms)

    def _fade(self, now_ms: int) -> None:
        while self._passed:
            oldest, passed = next(iter(self._passed.items()))
            # A held trap is compared with the one that passed, so that one is kept as long.
            old = now_ms - passed.at_ms >= 2 * REPEAT_MS and oldest not in self._held
            if not old and self._grave <= GRAVE:
                break
            self._forget(oldest)

    def _forget(self, fault: str) -> None:
        known = self._passed.pop(fault, None)
        if known is not None:
            self._grave -= known.ends is not None


class Pace:
    """Gives turns, between which heartbeats and everything else in the loop are handled."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ends_at = 0.0
        self._lock = asyncio.Lock()

    async def turn(self) -> None:
        """Returns when one more event may be judged: at once, unless many came before it."""
        async with self._lock:
            since_s = self._loop.time() - self._ends_at
            if since_s < 0:
                return
            await asyncio.sleep(REST_S if since_s < REST_S else 0)
            self._ends_at = self._loop.time() + JUDGE_S
