"""The same incident under another configuration: where it would have been decided otherwise.

The recorded events are what happened under the configuration in force.  Up to the first different
decision they are what the other one would have met as well; after it they are only a
guess, and every display of them says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from clptools.core.describe import describe_action, describe_event
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.settings import Settings
from clptools.core.node import Node
from clptools.core.notices.form import Kinds
from clptools.core.notices.groups import OneCopy, TwoCopies
from clptools.core.report.journal import UNDECODABLE, Damaged, Head, read
from clptools.sim.replay import LeftOut, Segment, is_told

_COPIES = Kinds(TwoCopies, OneCopy)
"""Behind the first difference other servers run what they ran: copies are no finding there."""


class OtherVoters(Exception):
    """What the other servers would have answered is in no journal; the text names the server."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """An event after which one of the two decided something."""

    server: str
    wall: float
    """Seconds since 1970 on that server's wall clock."""
    event: str
    decided: tuple[str, ...]
    """What was decided."""
    would: tuple[str, ...]
    """What the other configuration would have decided."""

    @property
    def differs(self) -> bool:
        """Whether it is not the same."""
        return self.decided != self.would


def compare(segments: Iterable[Segment], other: Settings) -> Iterator[Compared | LeftOut]:
    """Every event that led to a decision, under both.  Raises OtherVoters.

    A segment that does not follow the one before begins with the recorded state for both.
    """
    other = other.without_communities()
    theirs: Node | None = None
    before: Head | None = None
    differed = False
    for segment in segments:
        head = segment.head
        if head.settings.voters != other.voters:
            raise OtherVoters(head.server)
        follows = (
            before is not None
            and before.incarnation == head.incarnation
            and before.number + 1 == head.number
        )
        before = head
        try:
            ours = Node.restore(head.settings, head.snapshot)
            if theirs is None or not follows:
                settings = msgspec.structs.replace(other, revision=head.settings.revision)
                theirs = Node.restore(head.settings, head.snapshot)
                theirs.step(e.SettingsChanged(settings=settings), head.now)
            for entry in read(segment.data)[1]:
                decided, would = _both(ours, theirs, entry.event, entry.now, other)
                if differed:
                    would = [x for x in would if not isinstance(x, a.Record) or x not in _COPIES]
                if decided or would:
                    found = Compared(
                        server=head.server,
                        wall=head.wall + (entry.now - head.now) / 1000,
                        event=describe_event(entry.event, entry.now),
                        decided=_lines(decided, entry.now),
                        would=_lines(would, entry.now),
                    )
                    differed = differed or found.differs
                    yield found
        except (Damaged, *UNDECODABLE) as error:
            theirs = None
            yield LeftOut(file=segment.file, text=str(error), damaged=True)


def _both(
    ours: Node, theirs: Node, event: e.Event, now: int, other: Settings
) -> tuple[list[a.Action], list[a.Action]]:
    """The decisions of each."""
    decided = ours.step(event, now)
    would = theirs.step(_as_if(event, other), now)
    return [x for x in decided if is_told(x)], [x for x in would if is_told(x)]


def _as_if(event: e.Event, other: Settings) -> e.Event:
    """A push in the journal brings its number, not its policy."""
    if isinstance(event, e.SettingsChanged | e.SettingsOffered):
        revision = event.settings.revision
        return msgspec.structs.replace(
            event, settings=msgspec.structs.replace(other, revision=revision)
        )
    return event


def _lines(actions: Iterable[a.Action], now: int) -> tuple[str, ...]:
    return tuple(x.text if isinstance(x, a.Record) else describe_action(x, now) for x in actions)
