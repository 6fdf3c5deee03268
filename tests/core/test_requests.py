"""Requests: done, already so, refused, no such, forwarded, and a decider that is lost."""

from __future__ import annotations

import msgspec
import pytest

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.messages import Answer, Forward
from clptools.core.model.requests import (
    Acknowledge,
    ConfirmDown,
    GroupMove,
    GroupStart,
    GroupStop,
    MonitorClear,
    MonitorFault,
    MonitorResume,
    MonitorSuspend,
    Request,
    ResourceStart,
    ResourceStop,
    ServiceStop,
)
from clptools.core.model.settings import Group, Monitor, Recovery
from clptools.core.model.state import Phase
from clptools.core.model.words import AfterStop
from tests.core.cluster import Cluster, S, names, settings

MRW = Monitor(name="mrw1", type="mrw", servers=names(3), category="BMCNOTICE")
GENW = Monitor(name="genw1", type="genw", servers=names(3), recovery=Recovery(target="failover1"))


def cluster(count: int = 3, **lengths: int) -> Cluster:
    c = Cluster(settings(count, monitors=(MRW, GENW), **lengths))
    assert c.settle() == "server1"
    return c


@pytest.mark.parametrize(
    "request_",
    [
        GroupStop(group="failover1", server="server2"),
        GroupMove(group="failover1", server="server2"),
        ResourceStop(resource="exec1", server="server2"),
        ResourceStart(resource="exec1", server="server2"),
    ],
    ids=lambda r: type(r).__name__,
)
@pytest.mark.parametrize("asked", ["server1", "server3"])
def test_what_is_asked_of_one_server_is_not_done_on_another(request_: Request, asked: str) -> None:
    c = cluster()
    refused = c.answer(asked, request_)
    assert (refused.code, refused.text) == (6, "failover1 runs on server1.")
    assert refused.hint == "Leave -h out, or name where it runs: -h server1"
    c.run(5 * S)
    assert c.online() == "server1"


@pytest.mark.parametrize("asked", ["server1", "server2"])
def test_without_a_group_only_those_of_the_named_server_stop(asked: str) -> None:
    c = cluster()
    assert c.answer(asked, GroupStop(server="server2")).code == 0
    c.run(5 * S)
    assert c.online() == "server1"
    assert c.answer(asked, GroupStop(server="server1")).code == 0
    assert c.online() == ""


def test_a_move_without_a_group_empties_the_server_where_it_is_asked() -> None:
    c = cluster()
    assert c.answer("server2", GroupMove()).code == 0
    c.run(5 * S)
    assert c.online() == "server1"
    assert c.answer("server1", GroupMove()).code == 0
    assert c.online() == "server2"
    assert c.answer("server2", GroupMove()).code == 0
    assert c.online() == "server1"


@pytest.mark.parametrize("asked", ["server1", "server2"])
def test_start_stop_and_move_are_done_and_then_already_so(asked: str) -> None:
    c = cluster()
    for request, where in (
        (GroupMove(group="failover1", to="server3"), "server3"),
        (GroupStop(group="failover1"), ""),
        (GroupStart(group="failover1", server="server2"), "server2"),
    ):
        first = c.answer(asked, request)
        assert (first.code, c.online()) == (0, where)
        again = c.answer(asked, request)
        assert again.code == 0
        assert "already" in again.text


@pytest.mark.parametrize(
    "request_",
    [
        GroupStart(group="nosuch"),
        GroupStop(group="nosuch"),
        GroupMove(group="nosuch"),
        GroupMove(group="failover1", to="nosuch"),
        GroupStart(group="failover1", server="nosuch"),
        ResourceStart(resource="nosuch"),
        MonitorSuspend(monitors=("nosuch",)),
        MonitorClear(monitors=("nosuch",)),
        MonitorFault(monitor="nosuch"),
        Acknowledge(monitor="nosuch"),
        ConfirmDown(down="nosuch"),
        ServiceStop(server="nosuch"),
    ],
    ids=lambda r: type(r).__name__,
)
def test_what_is_not_there_is_named_with_what_is(request_: Request) -> None:
    c = cluster()
    for asked in ("server1", "server3"):
        outcome = c.answer(asked, request_)
        assert outcome.code == 5
        assert "nosuch" in outcome.text


def test_a_start_elsewhere_is_refused_with_the_command_that_would_do_it() -> None:
    c = cluster()
    outcome = c.answer("server2", GroupStart(group="failover1", server="server3"))
    assert outcome.code == 6
    assert outcome.hint == "Move it: clpgrp -m failover1 -a server3"


def test_a_move_of_what_does_not_run_is_refused() -> None:
    c = cluster()
    c.answer("server1", GroupStop(group="failover1"))
    assert c.answer("server1", GroupMove(group="failover1")).code == 6


def test_a_move_that_no_server_would_take_says_why_each_of_the_others_does_not() -> None:
    c = cluster()
    c.power_off("server3")
    c.run(5 * S)
    assert c.answer("server2", ServiceStop()).code == 0
    c.run(5 * S)
    outcome = c.answer("server1", GroupMove(group="failover1"))
    assert outcome.code == 6
    assert outcome.text == "failover1 stays on server1: no other server would take it now."
    assert outcome.hint == (
        "It can move as soon as another server may run it "
        "(server2: it is out (left); server3: it is out (power off))."
    )


def test_a_failover_of_what_nobody_may_run_says_what_it_waits_for() -> None:
    cfg = settings(3)
    there = tuple(msgspec.structs.replace(g, servers=("server2",)) for g in cfg.groups)
    c = Cluster(msgspec.structs.replace(cfg, groups=there))
    assert c.settle() == "server2"
    c.power_off("server2")
    c.run(5 * S)
    outcome = c.answer("server1", GroupMove(group="failover1", failover=True))
    assert outcome.code == 6
    assert outcome.text == (
        "failover1 waits for a server that may run it (server2: it is out (power off))."
    )


def test_a_move_to_a_server_that_is_away_is_refused_with_the_reason() -> None:
    c = cluster()
    c.power_off("server3")
    c.run(5 * S)
    outcome = c.answer("server2", GroupMove(group="failover1", to="server3"))
    assert outcome.code == 6
    assert "power" in outcome.text


def test_without_a_coordinator_groups_are_refused() -> None:
    c = cluster()
    c.cut("server3")
    c.run(10 * S)
    outcome = c.answer("server3", GroupStart(group="failover1"))
    assert outcome.code == 6
    assert "majority" in outcome.text


def test_monitor_requests_act_on_the_named_server() -> None:
    c = cluster()
    assert c.answer("server1", MonitorSuspend(monitors=("genw1",), server="server2")).code == 0
    c.run(1 * S)
    status = {n: m.status for n, m in c.view("server1").monitors[-1].servers.items()}
    assert status == {"server1": "Normal", "server2": "Suspend", "server3": "Normal"}
    assert c.answer("server1", MonitorResume(monitors=("genw1",), server="server2")).code == 0
    assert c.answer("server1", MonitorResume(server="server2")).code == 0


def test_a_dummy_failure_is_for_active_monitors() -> None:
    c = cluster()
    assert c.answer("server1", MonitorFault(monitor="genw1")).code == 0
    assert [x.on for x in c.did(a.FaultMonitor)] == [True]
    assert c.answer("server1", MonitorFault(monitor="mrw1")).code == 6


def test_a_decider_that_is_lost_ends_the_request_and_says_that_nobody_knows() -> None:
    c = cluster()
    c.scripts[("server1", "exec1 stop")] = 30 * S
    number = c.ask("server2", GroupStop(group="failover1"))
    c.run(1 * S)
    c.power_off("server1")
    c.until(lambda: number in c.outcomes, 10 * S)
    assert c.outcomes[number].code == 7


def test_a_decider_whose_agent_started_anew_has_forgotten_the_request() -> None:
    c = cluster()
    c.scripts[("server1", "exec1 stop")] = 30 * S
    number = c.ask("server2", GroupStop(group="failover1"))
    c.run(1 * S)
    c.kill("server1")
    c.run(200)
    c.start("server1")
    c.until(lambda: number in c.outcomes, 20 * S)
    assert c.outcomes[number].code == 7


def test_an_answer_that_was_lost_does_not_keep_anybody_for_ever() -> None:
    c = cluster(2, heartbeat_interval_ms=3_000, heartbeat_timeout_ms=12_000, lease_ms=20_000)
    c.drop = lambda sender, to, message: isinstance(message, Answer)
    number = c.ask("server2", GroupStop(group="failover1"))
    c.run(3_500 * S)
    assert number not in c.outcomes, "who decides may take an hour"
    c.run(150 * S)
    assert c.outcomes[number].code == 7


def test_a_request_that_arrives_twice_is_done_once() -> None:
    c = cluster()
    moves: list[Forward] = []

    def twice(sender: str, to: str, message: object) -> bool:
        if isinstance(message, Forward):
            moves.append(message)
        return False

    c.drop = twice
    assert c.answer("server2", GroupMove(group="failover1")).code == 0
    here = c.online()
    c.tell("server1", e.ControlSeen(sender="server2", message=moves[0]))
    c.run(5 * S)
    assert c.online() == here


def test_a_request_in_anothers_name_is_dropped() -> None:
    c = cluster()
    forged = Forward(id="x", sender="server3", user="root", request=GroupStop(group="failover1"))
    c.tell("server1", e.ControlSeen(sender="server2", message=forged))
    c.run(3 * S)
    assert c.online() == "server1"


def test_a_request_that_was_on_its_way_over_a_boot_is_over() -> None:
    """A stop of all servers, kept on the wire: who has booted since was not asked."""
    c = cluster()
    held: list[tuple[str, Forward]] = []

    def keeps(sender: str, to: str, message: object) -> bool:
        if isinstance(message, Forward):
            held.append((to, message))
            return True
        return False

    c.drop = keeps
    c.ask("server2", ServiceStop(server="*", then=AfterStop.SHUTDOWN))
    c.run(S)
    orders = dict(held)
    assert set(orders) == {"server1", "server3"}
    c.tell("server3", e.ControlSeen(sender="server2", message=orders["server3"]))
    assert c.node("server3").life.phase is not Phase.RUNNING, "this one was asked"
    c.reset("server1")
    c.run(60 * S)
    c.tell("server1", e.ControlSeen(sender="server2", message=orders["server1"]))
    assert c.node("server1").life.phase is Phase.RUNNING


def test_a_server_whose_service_is_stopped_refuses_what_is_forwarded_to_it() -> None:
    c = cluster()
    assert c.answer("server3", ServiceStop()).code == 0
    outcome = c.answer("server1", MonitorSuspend(server="server3"), 10 * S)
    assert outcome.code == 3


def test_who_waits_hears_what_happens_meanwhile() -> None:
    c = cluster()
    number = c.ask("server1", GroupMove(group="failover1", to="server2"))
    c.until(lambda: number in c.outcomes)
    told = [x.text for x in c.did(a.Progress, "server1") if x.id == number]
    assert any("stop" in text for text in told)


def test_a_start_that_nobody_can_take_ends_instead_of_waiting_for_ever() -> None:
    c = Cluster(settings(2), start=False)
    c.scripts[("server1", "exec1 start")] = "fail"
    c.start("server1")
    c.start("server2")
    c.run(3 * S)
    c.power_off("server2")
    c.run(20 * S)
    c.answer("server1", GroupStop(group="failover1"))
    outcome = c.answer("server1", GroupStart(group="failover1"), 30 * S)
    assert outcome.code == 1


def test_what_was_done_is_told_with_where_and_how_many() -> None:
    c = cluster()
    assert c.answer("server2", GroupMove(group="failover1", to="server3")).did == (
        "failover1 runs on server3 now; it came from server1."
    )
    assert c.answer("server1", GroupStop(group="failover1")).did == (
        "failover1 has stopped on server3. It stays so until: clpgrp -s failover1"
    )
    assert c.answer("server1", GroupStart()).did == "failover1 runs on server1 now."
    assert c.answer("server2", MonitorSuspend()).did == (
        "userw, mrw1 and genw1 are suspended on server2 (3 monitors)."
    )
    assert c.answer("server2", MonitorResume(monitors=("genw1",))).did == (
        "genw1 is running again on server2."
    )
    assert c.answer("server2", MonitorResume()).did == (
        "userw and mrw1 are running again on server2 (2 monitors); 1 was so already."
    )
    assert c.answer("server2", MonitorClear()).did == (
        "The recovery counters of userw, mrw1 and genw1 on server2 are zero."
    )
    assert c.answer("server2", MonitorFault(monitor="genw1")).did == (
        "genw1 finds an error on server2 until: clpmonctrl -n -m genw1"
    )
    assert c.answer("server2", MonitorFault(on=False)).did == (
        "genw1 checks in earnest again on server2."
    )
    again = c.answer("server2", MonitorFault(on=False))
    assert (again.code, again.did) == (0, "")
    assert again.text == "No monitor of server2 has a dummy failure."
    assert c.answer("server2", MonitorFault(monitor="genw1", on=False)).text == (
        "genw1 checks in earnest on server2: it has no dummy failure."
    )


def test_several_groups_are_counted_and_named() -> None:
    three = tuple(Group(name=f"failover{n}", servers=names(3)) for n in (1, 2, 3))
    c = Cluster(settings(3, groups=three))
    c.settle()
    assert c.answer("server1", GroupMove(to="server2")).did == (
        "3 groups moved: failover1 to server2, failover2 to server2, failover3 to server2."
    )
    assert c.answer("server1", GroupStop()).did == (
        "3 groups stopped: failover1 on server2, failover2 on server2, failover3 on server2."
    )
    assert c.answer("server1", GroupStart()).did == (
        "3 groups started: failover1 on server1, failover2 on server1, failover3 on server1."
    )


def test_where_nothing_runs_there_is_nothing_to_move_or_to_stop() -> None:
    c = cluster()
    moved = c.answer("server2", GroupMove())
    assert (moved.code, moved.text) == (
        0,
        "No group runs on server2: there is nothing to move.",
    )
    stopped = c.answer("server1", GroupStop(server="server3"))
    assert (stopped.code, stopped.text) == (
        0,
        "No group runs on server3: there is nothing to stop.",
    )
