"""Journal replay: the same core, fed the same events, decides the same again.

A segment begins with a snapshot of the core and goes on with events.  Where the next segment of
that incarnation is there too, the core must arrive at exactly its snapshot: that is the check
that the incident shown is the incident that was (I9).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from clptools.core import actions as a
from clptools.core import events as e
from clptools.core.describe import describe_action, describe_event
from clptools.core.journal import BadJournal, Head, read
from clptools.core.node import Node


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

    @property
    def routine(self) -> bool:
        """Whether nothing but heartbeats and timers happened."""
        return isinstance(self.event, e.BeatSeen | e.TimerFired) and not any(
            not isinstance(x, a.SendBeat | a.SetTimer | a.PetWatchdog | a.ReadPower)
            for x in self.actions
        )


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The replay did not arrive where the agent was, or could not go on."""

    server: str
    incarnation: str
    segment: int
    text: str


def in_order(segments: Iterable[tuple[str, bytes]]) -> list[tuple[str, Head, bytes]]:
    """(file, head, bytes) of each segment, by server, time of start and number.

    Raises BadJournal with the name of the file.
    """
    found = []
    for name, data in segments:
        try:
            head, _ = read(data)
        except BadJournal as error:
            raise BadJournal(f"{name}: {error}") from None
        found.append((name, head, data))
    return sorted(found, key=lambda s: (s[1].server, s[1].wall - s[1].now / 1000, s[1].number))


def replay(segments: Iterable[tuple[str, bytes]]) -> Iterator[Step | Difference]:
    """Every step of every segment again, and where it differs.  Raises BadJournal."""
    node: Node | None = None
    before: Head | None = None
    for _, head, data in in_order(segments):
        follows = (
            before is not None
            and before.incarnation == head.incarnation
            and before.number + 1 == head.number
        )
        if follows and node is not None and node.snapshot() != head.snapshot:
            yield _difference(head, "begins with another state than the replay arrived at")
        node = Node.restore(head.settings, head.snapshot)
        before = head
        for entry in read(data)[1]:
            actions = tuple(node.step(entry.event, entry.now))
            wall = head.wall + (entry.now - head.now) / 1000
            yield Step(
                server=head.server,
                incarnation=head.incarnation,
                now=entry.now,
                wall=wall,
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
