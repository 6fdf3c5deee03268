"""Records of several servers in the one order in which things happened, by one clock.

Clocks of different servers are never compared.  What is known for certain is

- the order of each server's own records: their cursors count;
- when a record of another server arrived here, live, by our own clock;
- that a group is released before its next epoch is granted, and granted before it is started; but
  not that a server released it first for which a person had vouched.

So own records and those that came live stand as they came, by our clock as it goes now: what it
was set by since is told by our own records.  What was caught up
after a time apart stands where its server's clock puts it, less the difference that live records
show between that clock and ours; never after what was known when it arrived.  So does what a
connection that outlived a short cut held back: those before and after it came sooner by that
clock.  Heartbeats are faster than records: where the epochs of a group say otherwise, they win.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import Protocol, TypeVar

import msgspec

from clptools.core.notices import cluster, groups
from clptools.core.report.facts import facts, number, seconds

LATE_S = 30.0
"""A record that arrives live is never later than this behind what it tells: heartbeats, which
are faster, may have led to a grant within that time."""

HELD_BACK_S = 0.5
"""A busy machine delays a record by less."""
_NOTICED_S = 2.0
"""Within this an agent records that its clock was set."""
_AROUND_S = 600.0
"""Within this, two clocks drift apart by less than `HELD_BACK_S`."""

_STAGES = {
    groups.GroupReleased.code(): 0,
    groups.GroupGranted.code(): 1,
    groups.GroupStarts.code(): 2,
}
"""Of an epoch: the one before it is released, it is granted, it is started."""


class Recorded(Protocol):
    """One record, as far as its place goes."""

    @property
    def cursor(self) -> str:
        """SERVER:INCARNATION:NUMBER."""

    @property
    def time(self) -> float:
        """Wall clock of its server, seconds since 1970."""

    @property
    def heard(self) -> float:
        """Our wall clock when it came live from its server; 0: our own; -1: caught up later."""

    @property
    def server(self) -> str:
        """Who recorded it."""

    @property
    def code(self) -> str:
        """Of the notice that it tells."""

    @property
    def text(self) -> str:
        """Its sentence."""

    @property
    def because(self) -> tuple[str, ...]:
        """Evidence."""


R = TypeVar("R", bound=Recorded)


def in_order(records: Sequence[R], me: str) -> tuple[R, ...]:
    """The records, which stand as they became known on `me`, in the order of what happened.

    The `time` of each is by the clock of `me`, and none is before that of the one before it.
    """
    times = _by_one_clock(records, me)
    _move_held_back(records, times)
    order = _sorted(records, times)
    placed: list[R] = []
    latest = float("inf")
    for index in reversed(order):
        latest = min(latest, times[index])
        placed.append(_at(records[index], latest))
    placed.reverse()
    return tuple(placed)


def apart_s(records: Sequence[Recorded], me: str) -> dict[str, float]:
    """Server -> by how many seconds its clock was ahead of ours when its last live record came.

    Of ours as it goes now.
    """
    since = _set_since(records, me)
    return {
        r.server: r.time - r.heard - by for r, by in zip(records, since, strict=True) if r.heard > 0
    }


def _at(record: R, time: float) -> R:
    if record.time == time:
        return record
    changed: R = msgspec.structs.replace(record, time=time)  # type: ignore[type-var]  # a struct
    return changed


# ---------------------------------------------------------------------- by one clock


def _by_one_clock(records: Sequence[Recorded], me: str) -> list[float]:
    """When each happened by the clock of `me`, as it goes now."""
    own = [
        at and at + by for at, by in zip(_came(records, me), _set_since(records, me), strict=True)
    ]
    times = [0.0] * len(records)
    # From the newest back: where our clock was set back and no agent saw it, as while none ran,
    # what came before moves with it.
    shift, after = 0.0, float("inf")
    bounds = [0.0] * len(records)
    for index in range(len(records) - 1, -1, -1):
        if own[index]:
            shift -= max(own[index] + shift - after, 0.0)
            after = times[index] = own[index] + shift
        bounds[index] = after
    ahead: dict[str, float] = {me: 0.0}
    for index in range(len(records) - 1, -1, -1):
        record = records[index]
        if record.server != me and own[index]:
            ahead[record.server] = record.time - times[index]
        elif not own[index]:
            if record.server not in ahead:
                ahead[record.server] = _first_ahead(records, times, bounds, record.server)
            times[index] = min(record.time - ahead[record.server], bounds[index])
    return times


def _came(records: Sequence[Recorded], me: str) -> list[float]:
    """When each became known here, by our clock at that time; 0: it was caught up."""
    return [max(r.heard or (r.time if r.server == me else 0.0), 0.0) for r in records]


def _set_since(records: Sequence[Recorded], me: str) -> list[float]:
    """By how many seconds our clock was set forward after each record, as our own ones tell."""
    found = [0.0] * len(records)
    shift = 0.0
    noticed: list[tuple[float, float]] = []
    """When a step that came before what follows was recorded, by the clock since, and its size."""
    came = _came(records, me)
    for index in range(len(records) - 1, -1, -1):
        at = came[index]
        if at:
            # Between the step and its record stands what has the times of the new clock.
            over = [n for n in noticed if not n[0] - _NOTICED_S <= at <= n[0]]
            shift += sum(by for _, by in over)
            noticed = [n for n in noticed if n not in over]
        found[index] = shift
        record = records[index]
        if record.server == me and record.code == cluster.ClockSet.code():
            told = facts(record)
            by = seconds(told.get("by_ms", ""))
            noticed.append((at, by if told.get("which") == "forward" else -by))
    return found


def _first_ahead(
    records: Sequence[Recorded], times: Sequence[float], bounds: Sequence[float], server: str
) -> float:
    """How far a server's clock is ahead by its newest live record.

    Without any: so far at least that none of its records is from after it was known here.
    """
    ahead = 0.0
    for index in range(len(records) - 1, -1, -1):
        record = records[index]
        if record.server == server and record.heard > 0:
            return record.time - times[index]
        if record.server == server:
            ahead = max(ahead, record.time - bounds[index])
    return ahead


def _move_held_back(records: Sequence[Recorded], times: list[float]) -> None:
    """Live records that came late back to when they were recorded.

    A cut of some seconds holds back what was sent, and then everything comes at once.  If a clock
    was set, all later records show the other difference; of those held back, only these do.
    """
    live: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        if record.heard > 0:
            live.setdefault(record.server, []).append(index)
    for indices in live.values():
        came = [times[index] for index in indices]
        ahead = [records[index].time - times[index] for index in indices]
        before = _highest_until(came, ahead)
        after = _highest_until([-at for at in reversed(came)], ahead[::-1])[::-1]
        for index, one, *around in zip(indices, ahead, before, after, strict=True):
            late = min(around) - one
            if HELD_BACK_S < late <= LATE_S:
                times[index] -= late


def _highest_until(at: Sequence[float], values: Sequence[float]) -> list[float]:
    """Of each value: the highest of it and those that came up to `_AROUND_S` before."""
    highest: list[float] = []
    window: deque[int] = deque()
    for index, value in enumerate(values):
        while window and values[window[-1]] <= value:
            window.pop()
        window.append(index)
        while at[window[0]] < at[index] - _AROUND_S:
            window.popleft()
        highest.append(values[window[0]])
    return highest


# ---------------------------------------------------------------------- in one order


def _sorted(records: Sequence[Recorded], times: list[float]) -> list[int]:
    """Indices in an order that keeps every certain one, else by time, else as they came."""
    after: list[list[int]] = [[] for _ in records]
    before = [0] * len(records)

    def put(first: int, then: int) -> None:
        after[first].append(then)
        before[then] += 1

    for sequence in _of_servers(records):
        latest = float("inf")
        for index in reversed(sequence):
            latest = times[index] = min(times[index], latest)
        for first, then in pairwise(sequence):
            put(first, then)
    for first, then in _of_epochs(records, times):
        put(first, then)
    ready = [(times[i], i) for i in range(len(records)) if not before[i]]
    heapify(ready)
    order: list[int] = []
    done = [False] * len(records)
    while len(order) < len(records):
        if not ready:
            # Two certain orders contradict each other: somebody's records were changed by hand.
            ready = [min((times[i], i) for i in range(len(records)) if not done[i])]
        _, index = heappop(ready)
        if done[index]:
            continue
        done[index] = True
        order.append(index)
        for then in after[index]:
            before[then] -= 1
            if not before[then]:
                heappush(ready, (times[then], then))
    return order


def _of_servers(records: Sequence[Recorded]) -> list[list[int]]:
    """The records of each server as its cursors count; its runs as the first of each came."""
    runs: dict[str, dict[str, list[tuple[int, int]]]] = {}
    late: set[str] = set()
    for index, record in enumerate(records):
        run, _, count = record.cursor.rpartition(":")
        place = int(count) if count.isascii() and count.isdigit() else index
        of_server = runs.setdefault(record.server, {})
        if run not in of_server and record.heard < 0 and of_server:
            late.add(run)
        of_server.setdefault(run, []).append((place, index))
        if record.heard >= 0:
            late.discard(run)
    return [
        [index for run in _one_after_another(of_server, late) for _, index in sorted(run)]
        for of_server in runs.values()
    ]


def _one_after_another(
    runs: dict[str, list[tuple[int, int]]], late: set[str]
) -> list[list[tuple[int, int]]]:
    """The runs of one server.

    One of `late` was caught up as a whole: if a run that was known before it goes on after it, that
    is the newer one.
    """
    came = {name: (run[0][1], run[-1][1]) for name, run in runs.items()}

    def key(name: str) -> tuple[int, bool, int]:
        first, last = came[name]
        around = [a for a, z in came.values() if a < first and last < z] if name in late else []
        return min(around, default=first), not around, first

    return [runs[name] for name in sorted(runs, key=key)]


def _of_epochs(records: Sequence[Recorded], times: Sequence[float]) -> list[tuple[int, int]]:
    """Pairs of which the first comes before the second, by the epochs of groups."""
    stages: dict[str, list[tuple[int, int, int]]] = {}
    for index, record in enumerate(records):
        stage = _STAGES.get(record.code)
        epoch = number(record, "epoch") if stage is not None else None
        if stage is None or epoch is None:
            continue
        # What is released is over: it stands before the epoch that comes next.
        next_epoch = epoch + 1 if stage == 0 else epoch
        stages.setdefault(facts(record).get("group", ""), []).append((next_epoch, stage, index))
    found: list[tuple[int, int]] = []
    for of_group in stages.values():
        of_group.sort()
        for (epoch, stage, first), (next_epoch, next_stage, then) in pairwise(of_group):
            near = abs(times[first] - times[then]) <= LATE_S
            vouched = not stage and _is_vouched_for(records[first], records[then])
            if epoch == next_epoch and stage < next_stage and near and not vouched:
                found.append((first, then))
    return found


def _is_vouched_for(released: Recorded, granted: Recorded) -> bool:
    """Whether nothing but a person's word, or no proof at all, stood for the server that released.

    If the word was wrong, two servers ran the group, and the release came after the grant.
    """
    about = f"{released.server} is proven not to run "
    return any(
        why.startswith(about) and why.endswith((": operator.", ": no proof."))
        for why in granted.because
    )
