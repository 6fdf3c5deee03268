"""A predicted failure plans a move: what it waits for, what ends it, what people see of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.requests import (
    REFUSED,
    Acknowledge,
    GroupCancel,
    GroupMove,
    GroupStop,
    MonitorSuspend,
    Suspend,
)
from clptools.core.model.settings import Group, Monitor, QuietWindow, Recovery
from clptools.core.notices import groups as notices
from clptools.core.report.explain import explain
from tests.core.cluster import CALM, EXEC, Cluster, S, names, settings

READY = msgspec.structs.replace(EXEC, depends=(), prepare="failover1/exec1/prepare.sh")
OTHER = msgspec.structs.replace(EXEC, name="exec2", depends=())
SITE = Monitor(
    name="site1",
    type="mrw",
    servers=names(3),
    category="SITE",
    stall_on_predictive_failure=True,
    prepare_on_stall=True,
    quiet_windows=(QuietWindow(begin=120, end=240),),
    recovery=Recovery(action="failover", target="failover1"),
)


def cluster(opens_ms: int = 3_600 * S) -> Cluster:
    groups = (
        Group(name="failover1", servers=names(3), resources=(READY,)),
        Group(name="failover2", servers=("server2", "server3"), resources=(OTHER,)),
    )
    c = Cluster(settings(3, groups=groups, monitors=(SITE,), **CALM))
    assert (c.settle("failover1"), c.settle("failover2")) == ("server1", "server2")
    window(c, opens_ms)
    c.tell("server1", e.MessageSeen(category="SITE", keyword="a", text="hot", predictive=True))
    c.run(6 * S)
    return c


def window(c: Cluster, opens_ms: int, *servers: str) -> None:
    for name in servers or names(3):
        opens_at = c.now(name) + opens_ms
        c.tell(
            name,
            e.WindowChanged(
                monitor="site1", opens_at=opens_at, closes_at=opens_at + 7_200 * S, when="tonight"
            ),
        )


def waits(c: Cluster) -> set[str]:
    """What each server says that the move waits for."""
    found = set()
    for name in (n for n, host in c.hosts.items() if host.node is not None):
        planned = c.group(at=name).planned_move
        assert planned is not None
        found.add(planned.waits_for)
    return found


def test_every_server_shows_where_when_and_why() -> None:
    c = cluster()
    for name in names(3):
        planned = c.group(at=name).planned_move
        assert planned is not None
        assert (planned.to, planned.when, planned.why, planned.waits_for) == (
            "server2",
            "tonight",
            "hot",
            "",
        )
        assert planned.in_s == pytest.approx(3_594, abs=1)
    assert c.group("failover2").planned_move is None
    story = explain("failover1", c.view("server3"), (), 0.0, str)
    assert story is not None
    assert "It is to move to server2 in the quiet window tonight" in story.then[0]
    assert story.then[-1] == "Call it off: clpgrp --cancel failover1"


def test_the_target_alone_is_prepared_once_with_what_it_is_about() -> None:
    c = cluster()
    (script,) = c.did(a.RunScript)
    assert script in c.did(a.RunScript, "server2")
    assert script.script == "failover1/exec1/prepare.sh"
    assert script.environment == {
        "CLP_GROUPNAME": "failover1",
        "CLP_RESOURCENAME": "exec1",
        "CLP_SERVER_PREV": "server1",
        "CLP_MONITORNAME": "site1",
        "CLP_MESSAGE": "hot",
    }
    c.tell("server2", e.ScriptDone(token=script.token, ok=False, text="no room"))
    assert "no room" in c.said(notices.PreparationFailed)[0]
    c.run(10 * S)
    assert len(c.did(a.RunScript)) == 1


def stop_fails(c: Cluster) -> None:
    c.scripts["server2", "exec2 stop"] = "fail"
    c.ask("server2", GroupStop(group="failover2"))


def moving(c: Cluster) -> None:
    c.scripts["server3", "exec2 start"] = 60 * S
    c.ask("server2", GroupMove(group="failover2", to="server3"))


def pushed(c: Cluster) -> None:
    other = msgspec.structs.replace(c.cfg.cluster, lease_ms=c.cfg.cluster.lease_ms + 500)
    offered = msgspec.structs.replace(c.cfg, cluster=other, revision=2)
    for name in names(3):
        c.tell(name, e.SettingsOffered(settings=offered))


def fatal(c: Cluster) -> None:
    c.tell("server3", e.MessageSeen(category="SITE", keyword="b", text="fire"))


def fails_too(c: Cluster) -> None:
    c.tell("server2", e.MessageSeen(category="SITE", keyword="c", text="hot", predictive=True))


HINDRANCES: list[tuple[Callable[[Cluster], object], str]] = [
    (lambda c: c.ask("server1", Suspend()), "the cluster is suspended"),
    (lambda c: c.power_off("server3"), "server3: it is out (power off)"),
    (lambda c: c.cut("server3"), "server3: it is not heard"),
    (fatal, "server3 has an open fatal hardware event"),
    (fails_too, "site1 expects a failure on server2, too"),
    (stop_fails, "failover2 has failed"),
    (moving, "failover2 is being started, stopped or moved"),
    (pushed, "a configuration is being pushed"),
    (
        lambda c: c.ask("server1", MonitorSuspend(monitors=("site1",))),
        "site1 is not at Stall on server1",
    ),
]


@pytest.mark.parametrize(
    ("hinder", "why"), HINDRANCES, ids=lambda x: x if isinstance(x, str) else ""
)
def test_it_waits_while_anything_else_is_wrong_or_under_way(
    hinder: Callable[[Cluster], object], why: str
) -> None:
    c = cluster()
    assert waits(c) == {""}
    hinder(c)
    c.run(6 * S)
    planned = c.group(at="server1").planned_move
    assert planned is not None
    assert planned.waits_for == why


def test_an_acknowledged_event_ends_the_plan_and_another_one_makes_a_new_one() -> None:
    c = cluster()
    assert c.answer("server1", Acknowledge(monitor="site1")).code == 0
    c.run(1 * S)
    assert c.group().planned_move is None
    assert "event 1 (hot) is closed" in c.said(notices.PlanEnds)[0]
    assert all(h.node and not h.node.policy.shared.plans for h in c.hosts.values()), "forgotten"
    c.tell("server1", e.MessageSeen(category="SITE", keyword="d", text="wet", predictive=True))
    c.run(1 * S)
    planned = c.group().planned_move
    assert planned is not None
    assert planned.event == 2


def test_a_group_that_moves_by_command_needs_no_plan() -> None:
    c = cluster()
    assert c.answer("server1", GroupMove(group="failover1", to="server3")).code == 0
    c.run(1 * S)
    assert c.group().planned_move is None
    assert "it runs on server3" in c.said(notices.PlanEnds)[0]


def test_it_is_called_off_by_whom_is_told_and_outlives_the_coordinator() -> None:
    c = cluster()
    assert c.answer("server3", GroupCancel(group="failover1")).code == 0
    assert c.said(notices.MoveCancelled) == [
        "root called off the planned move of failover1 from server1."
    ]
    assert c.group().planned_move is None
    ruler = c.coordinator()
    c.kill(ruler)
    c.start(ruler)
    c.run(15 * S)
    assert c.group().planned_move is None
    assert len(c.said(notices.MovePlanned)) == 1
    again = c.answer("server2", GroupCancel(group="failover1"))
    assert (again.code, again.text) == (0, "failover1 has no planned move.")
    assert c.answer("server2", GroupCancel(group="nosuch")).code == 5


def test_a_suspended_cluster_takes_the_cancellation() -> None:
    c = cluster()
    assert c.answer("server1", Suspend()).code == 0
    assert c.answer("server1", GroupCancel(group="failover1")).did == (
        "The planned move of failover1 is called off: it stays where it is."
    )
    assert c.group().planned_move is None


def test_a_move_that_has_begun_is_not_cancelled() -> None:
    c = cluster(opens_ms=0)
    c.scripts["server1", "exec1 stop"] = 20 * S
    c.until(lambda: bool(c.said(notices.PlannedMoveBegins)), 320 * S)
    c.run(1 * S)
    refused = c.answer("server3", GroupCancel(group="failover1"))
    assert refused.code == REFUSED
    c.until(lambda: c.online() == "server2")
    c.run(1 * S)
    assert c.said(notices.PlannedMoveDone)
    assert c.group().planned_move is None


def test_a_start_that_fails_there_ends_the_plan_where_it_began() -> None:
    c = cluster(opens_ms=0)
    for name in ("server2", "server3"):
        c.scripts[name, "exec1 start"] = "fail"
    c.until(lambda: bool(c.said(notices.PlannedMoveBegins)), 320 * S)
    c.until(lambda: c.online() == "server1" and bool(c.said(notices.PlanEnds)), 200 * S)
    assert "it is back on server1" in c.said(notices.PlanEnds)[0]
    c.run(20 * S)
    assert c.group().planned_move is None
