"""The form of an explanation, and the records that it is told from.

Times of records are wall clock of the server that recorded them, seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from clptools.core.model.view import StatusView
from clptools.core.notices import cluster, groups
from clptools.core.notices.form import Kinds
from clptools.core.phrases import listed, with_reasons

MOST_STEPS = 30
_GONE = (Kinds(cluster.ServerLost), Kinds(cluster.ServerReadsOff), Kinds(groups.TwoCopies))
_BACK = (Kinds(cluster.HeardAgain), Kinds(groups.OneCopy))
_SEEN = Kinds(
    cluster.ServerLost,
    cluster.ServerReadsOff,
    cluster.HeardAgain,
    groups.TwoCopies,
    groups.OneCopy,
)
"""What every server that sees it records."""
_TOGETHER_S = 2.0
"""What servers saw further apart than this are two observations, each with its time."""


class Recorded(Protocol):
    """One record, as `api.messages.EventRecord` keeps it."""

    @property
    def time(self) -> float:
        """Wall clock."""

    @property
    def server(self) -> str:
        """Who recorded it."""

    @property
    def code(self) -> str:
        """Of the notice that it tells."""

    @property
    def module(self) -> str:
        """With `event_id`: the number in the alert log."""

    @property
    def event_id(self) -> int:
        """See `module`."""

    @property
    def level(self) -> str:
        """INFO, WARN, ERROR."""

    @property
    def text(self) -> str:
        """One sentence."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names it is about."""

    @property
    def because(self) -> tuple[str, ...]:
        """Evidence."""

    @property
    def event(self) -> int:
        """Open hardware event, or 0."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a story; the agent makes a `Because` of it."""

    time: float
    server: str
    text: str
    event: dict[str, str | int] = {}


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A whole explanation; the agent makes an `Explanation` of it."""

    subject: str
    state: str
    because: tuple[Step, ...] = ()
    then: tuple[str, ...] = ()
    """What happened since (time, two blanks, sentence), what keeps it so, what to do."""
    waiting_for: str | None = None


class Teller(msgspec.Struct, frozen=True, kw_only=True):
    """What every story is told from."""

    status: StatusView
    records: tuple[Recorded, ...]
    """By time."""
    now: float
    clock: Callable[[float], str]
    """Wall clock -> local time as text, with the date where it is not today's."""

    def since(self, at: float) -> str:
        """`since 03:12:07.4 (4 min ago)`."""
        return f"since {self.clock(at)} ({ago(self.now - at)} ago)"

    def about(self, *names: str) -> list[Recorded]:
        """Records with one of these subjects."""
        wanted = set(names)
        return [r for r in self.records if not wanted.isdisjoint(r.subjects)]

    def step(self, record: Recorded, by: Sequence[str] = ()) -> Step:
        """A record as a step, its evidence after it, its hardware event named.

        `by`: the servers that recorded it, where they are several.
        """
        told = [f"{listed(by)} say so."] if len(by) > 1 else []
        return Step(
            time=record.time,
            server=record.server,
            text=with_reasons(record.text, [*record.because, *told]),
            event=self._event(record),
        )

    def steps(self, records: Iterable[Recorded]) -> tuple[Step, ...]:
        """Records as steps, what several servers saw but once; of a very long chain the beginning
        and the end."""
        told = seen_once(records)
        if len(told) > MOST_STEPS:
            told = told[: MOST_STEPS // 3] + told[-(MOST_STEPS - MOST_STEPS // 3) :]
        return tuple(self.step(record, by) for record, by in told)

    def _event(self, record: Recorded) -> dict[str, str | int]:
        if not record.event:
            return {}
        monitors = {monitor.name for monitor in self.status.monitors}
        monitor = next((name for name in record.subjects if name in monitors), "")
        found: dict[str, str | int] = {"id": record.event, "server": record.server}
        return {**found, "monitor": monitor} if monitor else found


def seen_once(records: Iterable[Recorded]) -> list[tuple[Recorded, list[str]]]:
    """The records with the servers that made them: a loss that two servers saw is one entry.

    Its text is the first one's; the others differ in how long ago they heard of it.
    """
    found: list[tuple[Recorded, list[str]]] = []
    seen: dict[tuple[Kinds, tuple[str, ...]], tuple[Recorded, list[str]]] = {}
    for record in records:
        kinds = (
            next((k for k in (*_GONE, *_BACK) if record in k), None) if record in _SEEN else None
        )
        if kinds is not None:
            first, by = seen.get((kinds, record.subjects), (record, [record.server]))
            if record.server not in by and record.time - first.time <= _TOGETHER_S:
                by.append(record.server)
                continue
            for opposite in _GONE if kinds in _BACK else _BACK:
                seen.pop((opposite, record.subjects), None)
        entry = (record, [record.server])
        found.append(entry)
        if kinds is not None:
            seen[kinds, record.subjects] = entry
    return found


def ago(seconds: float) -> str:
    """A span as a person says it: `0.3 s`, `35 s`, `4 min`, `5 h 12 min`, `2 d 3 h`."""
    whole = int(max(seconds, 0.0) + 0.5)
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"
