"""The data behind the picture of an incident, from the records: marks, lanes and time spans.

Pure: records in order, the view of the cluster before them; no pixel is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from clptools.api.messages import EventRecord
from clptools.cli.render.marks import Kind, Lane, Place, is_grave, kind_of, lane_of
from clptools.core.model.view import StatusView
from clptools.core.phrases import with_reasons
from clptools.core.report import history
from clptools.core.report.facts import facts, seconds
from clptools.core.report.presence import LOST, Presence, about

QUIET_S = 60.0
"""An incident ends when nothing is reported for this long."""
MOST_MARKS = 150
MOST_LANES = 12
"""Of servers, and of groups, that nothing happened to."""


GONE = "Gone"
"""Of a group: its server is not heard, or is off, and it was not given to another one yet."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One record in the picture."""

    number: int
    """As the table below has it, from 1."""
    time: float
    lane: Lane
    kind: Kind
    level: str
    server: str
    text: str


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """How something in a lane was for a while."""

    lane: Lane
    begin: float
    end: float
    state: str
    """Of a server: heard, silent, off. Of a group: the word of its status, Waits, or `GONE`."""
    label: str
    """A group: the server."""


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A group was in service nowhere for a while."""

    group: str
    begin: float
    end: float | None
    """None: it was not in service again."""
    was: str
    came: str


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    begin: float
    end: float
    marks: tuple[Mark, ...]
    lanes: tuple[Lane, ...]
    spans: tuple[Span, ...]
    outages: tuple[Outage, ...]
    left_out: int = 0
    """Records that found no room; those that change nothing are left out first."""


# ---------------------------------------------------------------------- which records


def newest(records: Sequence[EventRecord]) -> tuple[float, float] | None:
    """Begin and end of the newest incident; None where nothing went wrong."""
    grave = [index for index, record in enumerate(records) if is_grave(record)]
    if not grave:
        return None
    first = last = grave[-1]
    while first > 0 and records[first].time - records[first - 1].time <= QUIET_S:
        first -= 1
    while last + 1 < len(records) and records[last + 1].time - records[last].time <= QUIET_S:
        last += 1
    return records[first].time, records[last].time


# ---------------------------------------------------------------------- the picture


def incident(
    present: StatusView,
    records: Sequence[EventRecord],
    begin: float,
    end: float,
    now: float,
    of: str = "",
) -> Incident:
    """What happened between two instants; `of`: only what concerns this object."""
    inside = [r for r in records if begin <= r.time <= end]
    chosen = [r for r in inside if not of or history.tells_of(of, (r,))]
    shown = _that_fit(chosen)
    marks = tuple(
        Mark(
            number=number,
            time=record.time,
            lane=lane_of(record),
            kind=kind_of(record),
            level=record.level,
            server=record.server,
            text=with_reasons(record.text, record.because),
        )
        for number, record in enumerate(shown, 1)
    )
    was = history.at(present, [r for r in records if r.time < end], begin - 0.001, now)
    group_names = _groups(was, chosen, of)
    server_names = _servers(was, chosen)
    spans = _server_spans(was, inside, server_names, begin, end)
    outages: list[Outage] = []
    for name in group_names:
        of_group = _with_gone(_group_spans(was, inside, name, begin, end), spans)
        spans += of_group
        outages += _outages(of_group)
    return Incident(
        begin=begin,
        end=end,
        marks=marks,
        lanes=_lanes(server_names, group_names, marks),
        spans=tuple(spans),
        outages=tuple(outages),
        left_out=len(chosen) - len(shown),
    )


def _that_fit(records: Sequence[EventRecord]) -> list[EventRecord]:
    """If there are very many, those that change something, and of these the first."""
    if len(records) <= MOST_MARKS:
        return list(records)
    telling = [r for r in records if kind_of(r) is not Kind.NOTE]
    return telling[:MOST_MARKS]


def _servers(was: StatusView, records: Iterable[EventRecord]) -> list[str]:
    names = [server.name for server in was.servers]
    touched = {lane_of(r)[1] for r in records}
    extra = sorted(touched - set(names))
    if len(names) > MOST_LANES:
        names = [name for name in names if name in touched]
    return [*names, *extra]


def _groups(was: StatusView, records: Iterable[EventRecord], of: str) -> list[str]:
    touched = {name for r in records for name in r.subjects}
    names = [g.name for g in was.groups if g.name in touched or g.name == of]
    return names or [g.name for g in was.groups][:MOST_LANES]


def _lanes(servers: list[str], group_names: list[str], marks: Sequence[Mark]) -> tuple[Lane, ...]:
    used = {mark.lane for mark in marks}
    lanes: list[Lane] = []
    for name in servers:
        lanes.append((Place.SERVER, name))
        if (Place.BMC, name) in used:
            lanes.append((Place.BMC, name))
    return (*lanes, *((Place.GROUP, name) for name in group_names))


# ---------------------------------------------------------------------- what was when


def _server_spans(
    was: StatusView, records: Sequence[EventRecord], names: Sequence[str], begin: float, end: float
) -> list[Span]:
    """When each server was heard, silent, or off."""
    status = {server.name: server.status for server in was.servers}
    presence = Presence(dict.fromkeys((*status, *names)), status)
    changes = {name: [(begin, presence.state(name))] for name in names}
    for record in records:
        presence.take(record)
        who = about(record)
        if who not in changes:
            continue
        known, state, at = changes[who], presence.state(who), record.time
        if record in LOST:
            # Its last heartbeat was some seconds before anybody called it lost.
            at = max(at - seconds(facts(record).get("ago_ms", "")), begin)
            if state == "off" and len(known) > 1 and known[-2][0] < at < known[-1][0]:
                # Its BMC was faster than the time-out: it was silent before that read off.
                if known[-2][1] == "heard":
                    known.insert(-1, (at, "silent"))
                continue
        if state != known[-1][1]:
            known.append((max(at, known[-1][0]), state))
    found = []
    for name, known in changes.items():
        ends = [at for at, _ in known[1:]] + [end]
        found += [
            Span(lane=(Place.SERVER, name), begin=at, end=until, state=state, label=name)
            for (at, state), until in zip(known, ends, strict=True)
        ]
    return found


def _group_spans(
    was: StatusView, records: Sequence[EventRecord], name: str, begin: float, end: float
) -> list[Span]:
    group = next(g for g in was.groups if g.name == name)
    waits = group.waiting_for.text if group.waiting_for is not None else ""
    run = history.Run(group.status, group.current, begin, group.epoch, waits)
    found: list[Span] = []

    def ended(at: float) -> None:
        if at >= run.since:
            state = "Waits" if run.waits else run.status
            label = run.server or run.waits or run.status
            lane = (Place.GROUP, name)
            found.append(Span(lane=lane, begin=run.since, end=at, state=state, label=label))

    for record in records:
        if name not in record.subjects:
            continue
        after = history.run_after(run, record) or run
        if (after.status, after.server, after.waits) != (run.status, run.server, run.waits):
            ended(record.time)
            run = after
    ended(end)
    return found


def _with_gone(of_group: Sequence[Span], spans: Sequence[Span]) -> list[Span]:
    """A group that counts as Online is in service only as long as its server is heard."""
    found: list[Span] = []
    for span in of_group:
        gone = [
            s.begin
            for s in spans
            if s.lane == (Place.SERVER, span.label)
            and s.state != "heard"
            and span.begin < s.begin < span.end
        ]
        if span.state != "Online" or not gone:
            found.append(span)
            continue
        found.append(msgspec.structs.replace(span, end=min(gone)))
        found.append(msgspec.structs.replace(span, begin=min(gone), state=GONE))
    return found


def _outages(of_group: Sequence[Span]) -> list[Outage]:
    """When a group that had been in service was so nowhere."""
    found: list[Outage] = []
    was, since = "", 0.0
    for span in of_group:
        if span.state == "Online":
            if was and since < span.begin:
                group = span.lane[1]
                found.append(
                    Outage(group=group, begin=since, end=span.begin, was=was, came=span.label)
                )
            was, since = span.label, span.end
    if was and of_group[-1].state != "Online":
        group = of_group[-1].lane[1]
        found.append(Outage(group=group, begin=since, end=None, was=was, came=""))
    return found
