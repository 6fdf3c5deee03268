"""Groups that wait for groups, or are kept apart: what is shown, and what no scenario tells."""

from __future__ import annotations

import pytest

from clptools.core.model.requests import GroupMove, GroupStart, GroupStop
from clptools.core.model.settings import Group, Resource, Settings
from clptools.core.model.words import Exclusive, StopKind
from clptools.core.notices import groups as notices
from tests.core.cluster import Cluster, S, names, settings


def group(name: str, servers: tuple[str, ...], **fields: object) -> Group:
    made = Resource(name=f"exec-{name}", type="exec", start_timeout_ms=10_000)
    return Group(name=name, servers=servers, resources=(made,), **fields)  # type: ignore[arg-type]


def pair(count: int = 2, **fields: object) -> Settings:
    """`db`, and `app` with these fields."""
    both = (group("app", names(count), **fields), group("db", names(count)))
    return settings(count, groups=both)


def test_every_server_shows_what_a_group_waits_for() -> None:
    c = Cluster(pair(start_after=("db",)))
    c.settle("app")
    c.answer("server1", GroupStop(group="app"))
    c.answer("server1", GroupStop(group="db"))
    c.ask("server2", GroupStart(group="app"))
    c.run(3 * S)
    for name in names(2):
        shown = c.group("app", at=name)
        assert shown.waiting_for is not None
        assert shown.waiting_for.text == "waits for db to be online"
        assert shown.waiting_for.since_s == pytest.approx(3, abs=0.5)
        assert shown.waiting_for.mend == "clpgrp -s app -f"
    assert c.said(notices.WaitsToStart)
    assert c.answer("server1", GroupStart(group="db")).code == 0
    c.settle("app")
    assert c.group("app").waiting_for is None


def test_only_a_group_on_the_same_server_is_waited_for() -> None:
    alike = Cluster(pair(start_after_same_server=("db",)))
    alike.scripts["server1", "exec-db start"] = 3 * S
    alike.until(lambda: bool(alike.active("db")))
    alike.run(2 * S)
    assert not alike.active("app")
    assert alike.settle("app") == "server1"

    both = (
        group("app", ("server2", "server1"), start_after_same_server=("db",)),
        group("db", names(2)),
    )
    c = Cluster(settings(groups=both))
    c.scripts["server1", "exec-db start"] = 3 * S
    c.until(lambda: bool(c.active("db")))
    c.run(1 * S)
    assert c.online("app") == "server2"
    assert not c.online("db")


def test_a_start_that_waited_too_long_is_answered_and_goes_on() -> None:
    c = Cluster(pair(start_after=("db",), start_wait_ms=5 * S))
    c.settle("app")
    c.answer("server1", GroupStop(group="app"))
    c.answer("server1", GroupStop(group="db"))
    late = c.answer("server1", GroupStart(group="app"))
    assert (late.code, late.hint) == (7, "Start it without: clpgrp -s app -f")
    assert late.text == (
        "app is not started: db is not online after 5 s. It starts as soon as it is."
    )
    c.answer("server1", GroupStart(group="db"))
    c.settle("app")
    assert len(c.said(notices.StartWaitOver)) == 1


def test_what_was_awaited_may_stop_and_the_group_runs_on() -> None:
    c = Cluster(pair(start_after=("db",)))
    where = c.settle("app")
    c.answer("server1", GroupStop(group="db"))
    c.run(10 * S)
    assert c.online("app") == where
    refused = c.answer("server1", GroupMove(group="app"))
    assert refused.code == 6
    assert "the group starts after db, which is not online" in refused.text
    assert c.answer("server1", GroupMove(group="app", force=True)).code == 0


def test_a_group_does_not_go_back_by_itself_to_wait() -> None:
    both = (group("app", names(2), start_after=("db",), failback="auto"), group("db", names(2)))
    c = Cluster(settings(groups=both))
    assert c.settle("app") == "server1"
    c.answer("server1", GroupStop(group="db"))
    c.kill("server1")
    c.power_off("server1")
    c.run(1 * S)
    c.answer("server2", GroupStart(group="app", force=True))
    c.power_on("server1")
    c.run(90 * S)
    assert c.online("app") == "server2"
    assert "which is not online" in c.group("app", at="server2").failback
    c.answer("server2", GroupStart(group="db"))
    c.until(lambda: c.online("app") == "server1")


def test_a_stop_waits_only_at_the_stops_that_are_named() -> None:
    c = Cluster(pair(stop_after=("db",)))
    c.settle("app")
    assert c.answer("server1", GroupStop(group="app"), within_ms=2 * S).code == 0

    at = (StopKind.GROUP,)
    named = Cluster(pair(stop_after=("db",), stop_after_at=at))
    named.settle("app")
    named.ask("server1", GroupStop(group="app"))
    named.run(3 * S)
    waits = named.group("app").waiting_for
    assert waits is not None
    assert waits.text == "waits for the stop of db"
    assert waits.mend == "clpgrp -t app -f"
    assert named.answer("server1", GroupMove(group="app")).code == 0


def test_two_that_never_share_a_server_are_not_started_together() -> None:
    both = (
        group("app", names(3), exclusive_with=("db",)),
        group("db", names(3)),
        group("other", names(3)),
    )
    c = Cluster(settings(3, groups=both))
    assert c.settle("app") == "server1"
    assert c.settle("db") == "server2"
    assert c.settle("other") == "server1"
    refused = c.answer("server1", GroupMove(group="db", to="server1", force=True))
    assert refused.code == 6
    assert "it is kept apart from app" in refused.text
    assert refused.hint == "Move or stop that first: clpgrp -m app"
    c.answer("server1", GroupMove(group="db"))
    assert c.settle("db") == "server3"


def test_a_new_coordinator_moves_no_group_that_is_apart_already() -> None:
    both = (
        group("app", ("server2", "server3", "server1"), exclusive_with=("db",)),
        group("db", ("server3", "server2", "server1")),
    )
    c = Cluster(settings(3, groups=both))
    assert (c.settle("app"), c.settle("db")) == ("server2", "server3")
    assert c.coordinator() == "server1"
    c.kill("server1")
    c.until(lambda: c.coordinator() not in ("", "server1"))
    c.run(10 * S)
    assert (c.online("app"), c.online("db")) == ("server2", "server3")
    assert not c.said(notices.GroupStops)


def test_the_stricter_word_of_two_groups_counts() -> None:
    def apart(one: Exclusive, two: Exclusive) -> Exclusive:
        both = (
            group("a", names(2), exclusive_with=("b",), exclusive=one),
            group("b", names(2), exclusive_with=("a",), exclusive=two),
        )
        made = settings(groups=both).apart
        assert made["a"]["b"] is made["b"]["a"]
        return made["a"]["b"]

    assert apart(Exclusive.NORMAL, Exclusive.NORMAL) is Exclusive.NORMAL
    assert apart(Exclusive.NORMAL, Exclusive.ABSOLUTE) is Exclusive.ABSOLUTE
    assert apart(Exclusive.ABSOLUTE, Exclusive.NORMAL) is Exclusive.ABSOLUTE
