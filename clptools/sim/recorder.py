"""A core's journal while it runs, as bytes, and the proof that it says everything (I9).

A segment begins with a snapshot.  A fresh core restored from it and fed the events, as they are
read back from the journal's bytes, must give the same actions and end in the same state; the
next segment begins in the middle of whatever is going on.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from msgspec import msgpack

from clptools.core.model.actions import Action
from clptools.core.model.events import Event
from clptools.core.model.settings import Settings
from clptools.core.report.journal import Entry

_SEGMENT = 700
"""Events of a segment: a few heartbeats' worth up to half a minute."""

_encoder = msgpack.Encoder()
_entries = msgpack.Decoder(Entry)


class Recorder:
    """One segment of one core."""

    def __init__(self, restore: Callable[..., Any], node: Any, settings: Settings) -> None:
        self._restore = restore
        self._settings = settings
        self._snapshot: bytes = node.snapshot()
        self._entries: list[bytes] = []
        self._actions: list[list[Action]] = []

    def keep(self, now: int, event: Event, actions: list[Action]) -> None:
        """One event and what it led to."""
        self._entries.append(_encoder.encode(Entry(now, event)))
        self._actions.append(actions)

    @property
    def full(self) -> bool:
        """Whether the segment is long enough."""
        return len(self._entries) >= _SEGMENT

    def replay(self, node: Any) -> str:
        """What comes out differently from what `node` did; nothing, as it must be."""
        again = self._restore(self._settings, self._snapshot)
        for number, body in enumerate(self._entries):
            entry = _entries.decode(body)
            actions, then = again.step(entry.event, entry.now), self._actions[number]
            if actions != then:
                pairs = zip_longest(then, actions)
                what = next((f"{x} / {y}" for x, y in pairs if x != y), "")
                kind = type(entry.event).__name__
                return f"event {number} ({kind}) replays differently: {what[:300]}"
        if again.snapshot() != node.snapshot():
            return f"after {len(self._entries)} events the state replays differently"
        return ""
