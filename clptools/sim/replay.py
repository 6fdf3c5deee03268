"""Journal replay: the same core, fed the same events, decides the same again.

A segment begins with a snapshot of the core and goes on with events.  Where the next segment of
that incarnation is there too, the core must arrive at exactly its snapshot: that is the check
that the incident shown is the incident that was (I9).  In the simulator a `Recorder` keeps the
segments of a core while it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Any

import msgspec
from msgspec import msgpack

from clptools.core.describe import describe_action, describe_event
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.actions import Action
from clptools.core.model.events import Event
from clptools.core.model.settings import Settings
from clptools.core.node import Node
from clptools.core.phrases import with_reasons
from clptools.core.report.journal import (
    UNDECODABLE,
    BadJournal,
    Damaged,
    Entry,
    Head,
    Unfinished,
    read,
)

_SEGMENT = 700
"""Events of a segment: a few heartbeats' worth up to half a minute."""

_encoder = msgpack.Encoder()
_entries = msgpack.Decoder(Entry)
_NOISE = (
    e.BeatSeen, e.TimerFired, e.PowerRead, e.ArbiterAnswered, e.ControlSeen, e.MonitorResult,
    e.ResourceSaid,
)  # fmt: skip
"""Events of which there are many; one that led to nothing is no part of a story."""
_DONE = (
    a.Record, a.RunResource, a.RunScript, a.Fence, a.CallOffFence, a.HostAction, a.ArmDeadman,
    a.StandDown, a.Reply, a.Stretch, a.SetService, a.Reincarnate, a.Exit,
)  # fmt: skip


def is_told(action: a.Action) -> bool:
    """Whether people would call it a decision: not bookkeeping, heartbeats, timers, readings."""
    return isinstance(action, _DONE)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One event and what the core did about it."""

    server: str
    incarnation: str
    now: int
    wall: float
    """Seconds since 1970 on that server's wall clock."""
    event: e.Event
    actions: tuple[a.Action, ...]

    def lines(self) -> list[str]:
        """The event, and its actions below it."""
        told = [f"< {describe_event(self.event, self.now)}"]
        return told + [f"  > {describe_action(action, self.now)}" for action in self.actions]

    def story(self) -> list[str]:
        """As people tell it: what was decided and why, and what led to that; else nothing."""
        told = [x for x in self.actions if is_told(x)]
        if not told and isinstance(self.event, _NOISE):
            return []
        said = [
            with_reasons(x.text, x.because)
            if isinstance(x, a.Record)
            else describe_action(x, self.now)
            for x in told
        ]
        if isinstance(self.event, e.BeatSeen | e.TimerFired):
            return said
        return [describe_event(self.event, self.now), *(f"  {line}" for line in said)]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The replay did not arrive where the agent was."""

    server: str
    incarnation: str
    segment: int
    text: str


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A segment, or the rest of one, that cannot be read."""

    file: str
    text: str
    damaged: bool
    """False: a power loss came before its head was written, so no event is missing."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the journal whose head can be read."""

    file: str
    head: Head
    data: bytes


def in_order(files: Iterable[tuple[str, bytes]]) -> tuple[list[Segment], list[LeftOut]]:
    """The segments by server, time of start and number; and those without a head."""
    found: list[Segment] = []
    left: list[LeftOut] = []
    for file, data in files:
        try:
            head, _ = read(data)
        except BadJournal as error:
            damaged = not isinstance(error, Unfinished)
            left.append(LeftOut(file=file, text=str(error), damaged=damaged))
        else:
            found.append(Segment(file=file, head=head, data=data))
    found.sort(key=lambda s: (s.head.server, s.head.wall - s.head.now / 1000, s.head.number))
    return found, left


def replay(segments: Iterable[Segment]) -> Iterator[Step | Difference | LeftOut]:
    """Every step of every segment again, where it differs, and what cannot be read."""
    node: Node | None = None
    before: Head | None = None
    for segment in segments:
        head = segment.head
        follows = (
            before is not None
            and before.incarnation == head.incarnation
            and before.number + 1 == head.number
        )
        if follows and node is not None and node.snapshot() != head.snapshot:
            yield _difference(head, "begins with another state than the replay arrived at")
        before = head
        try:
            node = Node.restore(head.settings, head.snapshot)
            for entry in read(segment.data)[1]:
                yield _step(node, head, entry)
        except (Damaged, *UNDECODABLE) as error:
            node = None  # the next segment goes on after what is missing here
            text = str(error)
            if not isinstance(error, Damaged):
                text = f"the state in its head is damaged, or of another version ({error})"
            yield LeftOut(file=segment.file, text=text, damaged=True)


def _step(node: Node, head: Head, entry: Entry) -> Step:
    actions = tuple(node.step(entry.event, entry.now))
    return Step(
        server=head.server,
        incarnation=head.incarnation,
        now=entry.now,
        wall=head.wall + (entry.now - head.now) / 1000,
        event=entry.event,
        actions=actions,
    )


def _difference(head: Head, text: str) -> Difference:
    return Difference(
        server=head.server,
        incarnation=head.incarnation,
        segment=head.number,
        text=f"segment {head.number} of {head.server} {text}",
    )


class Recorder:
    """One segment of one simulated core, as bytes, and the proof that it says everything (I9)."""

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
