"""One order of the records of several servers, whatever their clocks say."""

from __future__ import annotations

import random
from itertools import count, pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clptools.api.messages import EventRecord
from clptools.core.notices.cluster import ClockSet
from clptools.core.notices.form import record_of
from clptools.core.report.facts import facts, kinds, recognised, subjects
from clptools.core.report.order import apart_s, in_order
from tests.core.told_by_servers import CAUGHT_UP, ON_ITS_WAY_S, Servers, T

DAY = 86_400.0
CLOCKS = (
    {},
    {"server2": 2 * DAY},
    {"server2": -2 * DAY},
    {"server1": -730 * DAY},
    {"server1": 3600.0, "server2": -3600.0},
)


def record(server: str, number: int, time: float, **more: object) -> EventRecord:
    return EventRecord(
        **{
            "cursor": f"{server}:run:{number}",
            "time": time,
            "server": server,
            "module": "rm",
            "event_id": 1,
            "level": "INFO",
            "text": f"{server} {number}",
            **more,
        }  # type: ignore[arg-type]
    )


def failover(ahead: dict[str, float]) -> Servers:
    servers = Servers(ahead=ahead)
    servers.play("start server1 server2", "advance 20", "trap server1 mrw1 FATAL cpu1", "advance 8")
    servers.play("off server2", "advance 20")
    return servers


@pytest.mark.parametrize("ahead", CLOCKS, ids=str)
@pytest.mark.parametrize("me", ["server1", "server2"])
def test_a_failover_is_told_in_its_order_by_any_clock(me: str, ahead: dict[str, float]) -> None:
    servers = failover(ahead)
    found = in_order(servers.known_to(me), me)
    truth = {true.record.cursor: true.at for true in servers.told}
    assert len(found) == len(truth)
    for first, then in pairwise(found):
        # What lies closer together than a record travels may be exchanged, but for its epochs.
        assert truth[first.cursor] <= truth[then.cursor] + ON_ITS_WAY_S
        assert first.time <= then.time
    for one in found:
        mine = truth[one.cursor] + ahead.get(me, 0.0)
        assert one.time == pytest.approx(mine, abs=2 * ON_ITS_WAY_S)


@pytest.mark.parametrize("ahead", CLOCKS, ids=str)
def test_an_epoch_is_released_granted_and_started_in_that_order(ahead: dict[str, float]) -> None:
    servers = failover(ahead)
    for me in ("server1", "server2"):
        codes = [
            (r.code, facts(r).get("epoch"))
            for r in in_order(servers.known_to(me), me)
            if r.code in ("GroupReleased", "GroupGranted", "GroupStarts")
        ]
        begin = codes.index(("GroupReleased", "1"))
        told = [("GroupReleased", "1"), ("GroupGranted", "2"), ("GroupStarts", "2")]
        assert codes[begin : begin + 3] == told


def test_a_release_that_came_after_the_grant_it_led_to_stands_before_it() -> None:
    granted = record(
        *("server2", 1, 100.0),
        code="GroupGranted",
        text="server2 (coordinator) granted epoch 9 of failover1 to server2: next in order.",
    )
    released = record(
        *("server1", 1, 5_000.0),
        heard=100.2,
        code="GroupReleased",
        text="server1 stopped exec1 (0.3 s) and released epoch 8 of failover1.",
    )
    found = in_order([granted, released], "server2")
    assert [r.server for r in found] == ["server1", "server2"]
    assert [r.time for r in found] == [100.0, 100.0]


def test_two_copies_after_a_wrong_word_are_told_in_their_order() -> None:
    """A person vouched for server1, which still ran the group: its release came later."""
    granted = record(
        *("server2", 1, 100.0),
        code="GroupGranted",
        text="server2 (coordinator) granted epoch 9 of failover1 to server2: next in order.",
        because=("server1 is proven not to run failover1: operator.",),
    )
    released = record(
        *("server1", 1, 5_000.0),
        heard=103.5,
        code="GroupReleased",
        text="server1 stopped exec1 (0.3 s) and released epoch 8 of failover1.",
    )
    found = in_order([granted, released], "server2")
    assert [(r.server, r.time) for r in found] == [("server2", 100.0), ("server1", 103.5)]


def test_an_agent_s_run_that_nobody_had_heard_of_stands_before_the_present_one() -> None:
    """server2 ran for a while with a wrong authkey, then again: its first news came before that."""
    came = [
        record("server2", 9, 10.0, cursor="server2:a:9", heard=10.0),
        record("server2", 1, 40.0, cursor="server2:c:1", heard=40.0),
        record("server2", 1, 20.0, cursor="server2:b:1", heard=CAUGHT_UP),
        record("server2", 2, 30.0, cursor="server2:b:2", heard=CAUGHT_UP),
        record("server2", 2, 200.0, cursor="server2:c:2", heard=200.0),
    ]
    found = in_order(came, "server1")
    assert [(r.cursor[8:], r.time) for r in found] == [
        ("a:9", 10.0), ("b:1", 20.0), ("b:2", 30.0), ("c:1", 40.0), ("c:2", 200.0),
    ]  # fmt: skip


@pytest.mark.parametrize("ahead", CLOCKS, ids=str)
def test_what_was_caught_up_stands_where_it_happened(ahead: dict[str, float]) -> None:
    servers = Servers("3bmc", ahead)
    servers.play("start server1 server2 server3", "advance 20")
    begin = servers.now
    servers.play("isolate server3", "advance 40", "request server1 move failover1 server2")
    servers.play("advance 10", "heal", "advance 2")
    servers.apart.append((begin, servers.now - 1.0))
    servers.play("advance 10")
    known = servers.known_to("server3")
    assert any(r.heard == CAUGHT_UP for r in known)
    truth = {true.record.cursor: true.at for true in servers.told}
    for one in in_order(known, "server3"):
        mine = truth[one.cursor] + ahead.get("server3", 0.0)
        assert one.time == pytest.approx(mine, abs=0.2)


def test_a_clock_that_was_set_back_exchanges_nothing() -> None:
    own = [record("server1", n, at) for n, at in enumerate((1000.0, 1001.0, 101.0, 102.0), 1)]
    found = in_order(own, "server1")
    assert [r.cursor for r in found] == [r.cursor for r in own]
    # All by the clock as it goes now.
    assert [r.time for r in found] == [100.0, 101.0, 101.0, 102.0]


@pytest.mark.parametrize("steps", [(3600.0,), (-1800.0,), (3600.0, -5400.0, 1800.0), (7.0, 900.0)])
def test_what_our_clock_was_set_by_moves_what_came_before(steps: tuple[float, ...]) -> None:
    """All times are by the clock as it goes now; the clock of server2 is right all the time."""
    records: list[EventRecord] = []
    ahead = -sum(steps)
    numbers = count(1)

    def both(at: float) -> None:
        number = next(numbers)
        records.append(record("server1", number, at + ahead))
        records.append(record("server2", number, at + 5.0, heard=at + ahead + 0.1))

    for n, by in enumerate(steps):
        begin = T + 100.0 * n
        both(begin)
        both(begin + 50.0)
        ahead += by
        both(begin + 50.3)  # before the step is noticed
        was, became = f"{begin:.1f}", f"{begin + by:.1f}"
        told = ClockSet("forward" if by > 0 else "back", round(abs(by) * 1000), was, became)
        noted = record_of(told, "server1")
        records.append(
            record(
                *("server1", next(numbers), begin + 50.8 + ahead),
                text=noted.text,
                code=noted.code,
            )
        )
        both(begin + 60.0)
    found = in_order(records, "server1")
    assert [one.cursor for one in found] == [one.cursor for one in records]
    times = {one.cursor: one.time for one in found}
    for n in range(len(steps)):
        for place, at in enumerate((0.0, 50.0, 50.3)):
            number = 1 + 5 * n + place
            assert times[f"server1:run:{number}"] == pytest.approx(T + 100.0 * n + at, abs=0.1)
            assert times[f"server2:run:{number}"] == pytest.approx(
                T + 100.0 * n + at + 0.1, abs=0.1
            )
    assert apart_s(records, "server1") == {"server2": pytest.approx(4.9, abs=0.1)}


def test_what_an_agent_lost_and_its_peer_had_kept_goes_before_its_next_run() -> None:
    own = [
        record("server1", 1, 10.0, cursor="server1:a:1"),
        record("server1", 1, 20.0, cursor="server1:b:1"),
        record("server1", 2, 12.0, cursor="server1:a:2", heard=CAUGHT_UP),
        record("server1", 2, 21.0, cursor="server1:b:2"),
    ]
    found = in_order(own, "server1")
    assert [r.cursor for r in found] == ["server1:a:1", "server1:a:2", "server1:b:1", "server1:b:2"]
    assert [r.time for r in found] == [10.0, 12.0, 20.0, 21.0]


def test_how_far_clocks_are_apart_is_known_from_what_came_live() -> None:
    records = [
        record("server1", 1, 10.0),
        record("server2", 1, 510.0, heard=10.0),
        record("server3", 1, 11.0, heard=CAUGHT_UP),
    ]
    assert apart_s(records, "server1") == {"server2": 500.0}


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_whatever_is_kept_nothing_is_lost_and_cursors_keep_their_order(seed: int, n: int) -> None:
    rng = random.Random(seed)
    counts: dict[str, int] = {}
    records = []
    for _ in range(n):
        server = rng.choice(["server1", "server2", "server3"])
        counts[server] = counts.get(server, 0) + 1
        code, text = rng.choice(
            [
                ("", "x"),
                ("GroupGranted", f"a granted epoch {rng.randrange(5)} of g to b: c."),
                ("GroupGranted", f"{server} (coordinator) granted epoch 3 of g to b: c."),
                ("GroupReleased", f"{server} stopped r (0.1 s) and released epoch 2 of g."),
                ("GroupStarts", f"{server} starts g (epoch {rng.randrange(5)})."),
            ]
        )
        heard = rng.choice([0.0, CAUGHT_UP, rng.random() * 100])
        records.append(
            record(server, counts[server], rng.random() * 100, heard=heard, code=code, text=text)
        )
    found = in_order(records, "server1")
    assert sorted(r.cursor for r in found) == sorted(r.cursor for r in records)
    assert all(a.time <= b.time for a, b in pairwise(found))
    for server in counts:
        numbers = [int(r.cursor.rpartition(":")[2]) for r in found if r.server == server]
        assert numbers == sorted(numbers)


def test_ten_thousand_records_are_sorted_within_a_few_heartbeats_time() -> None:
    import time

    records = [
        record(f"server{1 + n % 2}", n, T + n + 3_600 * (n % 2), heard=(T + n) * (n % 2))
        for n in range(10_000)
    ]
    took = []
    for _ in range(3):
        before = time.process_time()
        found = in_order(records, "server1")
        took.append(time.process_time() - before)
    assert [r.cursor for r in found] == [r.cursor for r in records]
    assert min(took) < 0.2


def test_facts_are_read_back_from_every_sentence_that_was_told() -> None:
    servers = failover({})
    for true in servers.told:
        record = true.record
        assert record.code in kinds()
        code, _, said = recognised(record.module, record.level, record.text)
        assert code == record.code or kinds()[code].says == kinds()[record.code].says
        assert set(subjects(code, said, record.server)) <= set(record.subjects)
        assert facts(msgspec.structs.replace(record, code=code)) == said


def held_back(ahead: float, by: dict[int, float]) -> list[EventRecord]:
    """A record a second of server2 as server1 has them; `by`: number -> how late it came."""
    came = sorted((n + by.get(n, 0.01), n) for n in range(1, 21))
    return [record("server2", n, T + n + ahead, heard=T + at) for at, n in came]


@pytest.mark.parametrize("ahead", [0.0, 2 * DAY, -2 * DAY])
def test_what_a_short_cut_held_back_stands_where_it_happened(ahead: float) -> None:
    late = {n: 15.1 - n for n in range(8, 16)}
    own = [record("server1", n, T + n + 0.5) for n in range(1, 21)]
    known = sorted(
        [*own, *held_back(ahead, late)],
        key=lambda one: (one.heard or one.time, int(one.cursor.rpartition(":")[2])),
    )
    found = in_order(known, "server1")
    assert [one.text for one in found] == [
        f"{server} {n}" for n in range(1, 21) for server in ("server2", "server1")
    ]
    for one in found:
        if one.server == "server2":
            number = int(one.cursor.rpartition(":")[2])
            assert one.time == pytest.approx(T + number, abs=0.11)


@pytest.mark.parametrize("by", [-8.0, 8.0])
def test_a_clock_that_was_set_holds_nothing_back(by: float) -> None:
    set_at = 10
    known = [
        record("server2", n, T + n + (by if n >= set_at else 0.0), heard=T + n)
        for n in range(1, 21)
    ]
    assert [one.time for one in in_order(known, "server1")] == [T + n for n in range(1, 21)]
