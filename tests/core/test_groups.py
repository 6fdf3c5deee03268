"""Failover groups as a user sees them: start order, retries, failed stops, parts of a group."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from clptools.core import notices
from clptools.core import phrases as say
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.group_state import purging
from clptools.core.model.requests import (
    GroupMove,
    GroupStart,
    GroupStop,
    ResourceStart,
    ResourceStop,
    Resume,
    Suspend,
)
from clptools.core.model.settings import Group, Resource
from clptools.core.model.states import GroupState
from clptools.core.model.words import Severity
from tests.core.cluster import CALM, EXEC, FIP, Cluster, S, names, settings

DISK = Resource(name="disk1", type="exec")
EXEC_ALONE = Resource(name="exec1", type="exec")
APP = Resource(name="app1", type="exec", depends=("fip1", "disk1"))


def group(*resources: Resource, servers: int = 2, **fields: object) -> Group:
    return Group(name="failover1", servers=names(servers), resources=resources, **fields)  # type: ignore[arg-type]


def started(c: Cluster, server: str = "") -> list[str]:
    return [f"{r.resource} {r.op}" for r in c.did(a.RunResource, server)]


def starts(c: Cluster) -> list[tuple[int, str]]:
    """When exec1 was started, and where."""
    return [
        (t, n)
        for t, n, x in c.done
        if isinstance(x, a.RunResource) and (x.resource, x.op) == ("exec1", "start")
    ]


def test_resources_start_in_order_and_stop_in_reverse() -> None:
    c = Cluster(settings(groups=(group(FIP, EXEC),)))
    here = c.settle()
    assert started(c, here)[-2:] == ["fip1 start", "exec1 start"]
    assert c.answer("server1", GroupStop(group="failover1")).code == 0
    assert started(c, here)[-2:] == ["exec1 stop", "fip1 stop"]
    assert c.active() == []


def test_what_does_not_depend_on_another_starts_at_the_same_time() -> None:
    c = Cluster(settings(groups=(group(FIP, DISK, APP),)))
    c.until(lambda: "disk1 start" in started(c))
    runs = [(t, x.resource) for t, _, x in c.done if isinstance(x, a.RunResource)]
    times = {r: t for t, r in runs if r in ("fip1", "disk1")}
    assert times["fip1"] == times["disk1"]
    assert c.settle()
    assert started(c)[-1] == "app1 start"


def test_a_newcomer_first_stops_what_may_have_been_left_running() -> None:
    c = Cluster(settings())
    assert [f"{r.resource} {r.op}" for r in c.did(a.RunResource, "server1")] == ["exec1 stop"]
    c.run(100)
    assert started(c, "server1") == ["exec1 stop", "fip1 stop"]
    assert started(c, "server2") == ["exec1 stop", "fip1 stop"]


def test_a_start_is_tried_again_as_often_as_configured() -> None:
    often = Resource(name="exec1", type="exec", start_retries=2)
    c = Cluster(settings(groups=(group(often),)))
    c.scripts[("server1", "exec1 start")] = "fail"
    c.until(lambda: c.online() == "server2")
    assert started(c, "server1").count("exec1 start") == 3


def test_a_start_that_would_fail_again_is_tried_once_and_its_server_passed_over() -> None:
    often = Resource(name="exec1", type="exec", start_retries=2)
    one = msgspec.structs.replace(group(often), failback="auto")
    c = Cluster(settings(groups=(one,)))
    c.scripts[("server1", "exec1 start")] = Severity.HARD
    c.until(lambda: c.online() == "server2")
    assert started(c, "server1").count("exec1 start") == 1
    c.run(60 * S)
    assert c.online() == "server2", "it does not go back by itself"
    server1 = c.view("server2").servers[0]
    assert server1.unfit == ("failover1",) and "failover1" in server1.failed_starts
    assert c.node("server2").placement.stays(one) == say.nowhere
    # Nobody else is left: then it is tried all the same.
    c.scripts.clear()
    c.power_off("server2")
    c.until(lambda: c.online() == "server1", 20 * S)
    assert not c.view("server1").servers[0].unfit


def test_nobody_tells_of_a_mend_so_a_server_is_tried_again_later() -> None:
    c = Cluster(settings(groups=(group(EXEC_ALONE),)))
    c.scripts[("server1", "exec1 start")] = Severity.HARD
    c.until(lambda: c.online() == "server2")
    one = c.view("server1").servers[0]
    assert one.unfit
    c.run(590 * S)
    assert c.view("server2").servers[0].unfit
    c.run(20 * S)
    assert not c.view("server2").servers[0].unfit and c.online() == "server2"
    assert c.view("server2").servers[0].failed_starts, "why it failed is still known"


def test_a_start_that_would_fail_everywhere_is_tried_on_one_server_a_round() -> None:
    c = Cluster(settings(3, groups=(group(EXEC_ALONE, servers=3),), **CALM))
    c.scripts[("*", "exec1 start")] = Severity.FATAL
    c.run(120 * S)
    assert [x for _, x in starts(c)] == ["server1"] * 3, "one at once, then after 30 s and 60 s"
    assert c.group().status == "Error"
    assert all("untried" not in x for x in c.said(notices.groups.GroupStartsNowhere))
    c.scripts.clear()
    assert c.answer("server1", GroupStart(group="failover1", server="server3")).code == 0
    assert not c.node("server1").policy.intent_of("failover1").fatal


def test_the_final_action_after_a_start_that_would_fail_everywhere_comes_at_once() -> None:
    last = Resource(name="exec1", type="exec", final_action="bmc-reset")
    c = Cluster(settings(3, groups=(group(last, servers=3),)))
    c.scripts[("*", "exec1 start")] = Severity.FATAL
    c.run(20 * S)
    assert len(c.did(a.HostAction)) == 1
    assert [x for _, x in starts(c)] == ["server1"]


def test_a_new_configuration_may_mend_what_kept_a_group_from_a_server() -> None:
    c = Cluster(settings())
    c.scripts[("server1", "exec1 start")] = Severity.HARD
    c.until(lambda: c.online() == "server2")
    c.run(5 * S)
    assert c.view("server2").servers[0].unfit
    c.tell("server1", e.SettingsChanged(settings=settings(revision=2)))
    c.run(5 * S)
    assert not c.view("server2").servers[0].unfit


def test_a_failed_start_is_stopped_and_the_next_server_tried() -> None:
    c = Cluster(settings(groups=(group(FIP, EXEC),)))
    c.scripts[("server1", "exec1 start")] = "fail"
    assert c.settle() == "server2"
    assert started(c, "server1")[-2:] == ["exec1 stop", "fip1 stop"]


def test_a_group_that_starts_nowhere_is_tried_again_after_pauses_and_says_so() -> None:
    c = Cluster(settings(groups=(group(FIP, EXEC),), **CALM))
    c.scripts[("*", "exec1 start")] = "fail"
    c.run(16 * S)
    tries = started(c).count("exec1 start")
    assert tries == 2, "once on each server: failover_on_failure = 1"
    assert c.group().status == "Error"
    assert c.view("server1").cluster.status != "Normal"
    (told,) = c.said(notices.groups.GroupStartsNowhere)
    assert "on server1 (exec1: it failed) and server2" in told and "again in 30 s" in told
    waiting = c.group(at=c.coordinator()).waiting_for
    assert waiting is not None and "next try" in waiting.text
    assert "clpgrp -s failover1" in waiting.text
    c.run(1_000 * S)
    begun = [t for t, x in starts(c) if x == "server1"]
    pauses = [round((later - one) / S) for one, later in itertools.pairwise(begun)]
    assert pauses == pytest.approx([30, 60, 120, 240, 480], abs=2)
    assert [x for _, x in starts(c)] == ["server1", "server2"] * 6
    assert len(c.said(notices.groups.GroupStartsNowhere)) == 6
    assert not c.said(notices.groups.GroupWaits), "told once what it waits for"
    c.scripts.clear()
    c.until(lambda: c.online() == "server1", 700 * S)
    assert c.node("server1").policy.intent_of("failover1").rounds == 0


def test_an_operators_start_does_not_wait_for_the_next_try() -> None:
    c = Cluster(settings())
    c.scripts[("*", "exec1 start")] = "fail"
    c.run(100 * S)
    outcome = c.answer("server1", GroupStart(group="failover1"))
    assert outcome.code == 1 and "server2" in outcome.text
    c.scripts.clear()
    assert c.answer("server1", GroupStart(group="failover1")).code == 0
    assert c.online() == "server1"


def test_an_operators_stop_ends_the_tries() -> None:
    c = Cluster(settings(**CALM))
    c.scripts[("*", "exec1 start")] = "fail"
    c.run(20 * S)
    assert c.answer("server1", GroupStop(group="failover1")).code == 0
    before = len(starts(c))
    c.run(1_000 * S)
    assert len(starts(c)) == before
    assert c.group().status == "Offline"


def test_with_one_server_left_the_group_is_tried_there_again() -> None:
    """failover_on_failure is not used up, but nobody else is there."""
    c = Cluster(settings())
    assert c.settle() == "server1"
    c.scripts[("server2", "exec1 start")] = "fail"
    c.power_off("server1")
    c.hosts["server1"].powered = False
    c.until(lambda: bool(c.said(notices.groups.GroupStartsNowhere)))
    assert c.group(at="server2").status == "Error"
    before = len(starts(c))
    c.run(25 * S)
    assert len(starts(c)) == before
    c.scripts.clear()
    c.until(lambda: c.online() == "server2", 10 * S)


def test_a_server_that_comes_is_tried_without_a_pause() -> None:
    c = Cluster(settings())
    assert c.settle() == "server1"
    c.scripts[("server2", "exec1 start")] = "fail"
    c.power_off("server1")
    c.until(lambda: bool(c.said(notices.groups.GroupStartsNowhere)))
    c.power_on("server1")
    c.until(lambda: c.online() == "server1", 20 * S)


def test_a_new_coordinator_goes_on_with_the_pauses() -> None:
    c = Cluster(settings(3))
    c.scripts[("*", "exec1 start")] = "fail"
    c.run(100 * S)
    rounds = c.node("server1").policy.intent_of("failover1").rounds
    assert rounds
    c.power_off(c.coordinator())
    c.until(lambda: bool(c.coordinator()))
    assert c.node(c.coordinator()).policy.intent_of("failover1").rounds == rounds


def test_the_final_action_of_a_resource_is_not_repeated_with_the_tries() -> None:
    last = Resource(name="exec1", type="exec", final_action="bmc-reset")
    c = Cluster(settings(3, groups=(group(last, servers=3),)))
    c.scripts[("*", "exec1 start")] = "fail"
    c.run(200 * S)
    assert c.node("server1").policy.intent_of("failover1").rounds
    assert len(c.did(a.HostAction)) == 1


def test_failover_on_failure_zero_tries_no_other_server() -> None:
    once = Resource(name="exec1", type="exec", failover_on_failure=0)
    c = Cluster(settings(groups=(group(once),)))
    c.scripts[("server1", "exec1 start")] = "fail"
    c.run(10 * S)
    assert started(c, "server2") == ["exec1 stop"], "only the newcomer's purge"
    assert c.active() == []


def test_a_failed_stop_holds_the_group_where_it_is() -> None:
    """A stop that failed makes the group Offline Failure; it is not started elsewhere."""
    c = Cluster(settings(forced_stop="none"))
    assert c.settle() == "server1"
    c.scripts[("server1", "exec1 stop")] = "fail"
    outcome = c.answer("server1", GroupMove(group="failover1", to="server2"))
    assert outcome.code == 1
    assert c.group().status == "Offline Failure"
    assert c.group().current == "server1"
    c.run(60 * S)
    assert c.active() == ["server1"]
    assert "exec1 start" not in started(c, "server2")


def test_a_resource_below_a_failed_stop_stays_up() -> None:
    c = Cluster(settings())
    assert c.settle() == "server1"
    c.scripts[("server1", "exec1 stop")] = "fail"
    c.answer("server1", GroupStop(group="failover1"))
    resources = {r.name: r.status for r in c.group().resources}
    assert resources == {"fip1": "Online", "exec1": "Offline Failure"}


def test_a_stuck_group_is_stopped_by_force_once_its_script_is_mended() -> None:
    for holder, asked in (("server1", "server1"), ("server1", "server2")):
        c = Cluster(settings())
        assert c.settle() == holder
        c.scripts[("server1", "exec1 stop")] = "fail"
        assert c.answer(asked, GroupStop(group="failover1")).code == 1
        assert c.answer(asked, GroupStop(group="failover1")).code == 6
        c.scripts.clear()
        assert c.answer(asked, GroupStop(group="failover1", force=True)).code == 0
        assert c.active() == []


def test_a_forced_stop_of_a_stuck_group_tries_once_and_tells_the_end() -> None:
    """It must neither try for ever nor say that it failed before it tried."""
    for coordinator_first in (True, False):
        c = Cluster(settings())
        assert c.settle() == "server1"
        if not coordinator_first:
            c.answer("server1", GroupMove(group="failover1", to="server2"))
            c.run(1 * S)
        holder = c.online()
        c.scripts[(holder, "exec1 stop")] = "fail"
        assert c.answer("server1", GroupStop(group="failover1")).code == 1
        c.run(2 * S)
        before = started(c, holder).count("exec1 stop")
        assert c.answer("server1", GroupStop(group="failover1", force=True)).code == 1
        c.run(20 * S)
        assert started(c, holder).count("exec1 stop") == before + 1


def test_one_resource_stops_and_starts_in_an_online_group() -> None:
    c = Cluster(settings())
    here = c.settle()
    assert c.answer("server2", ResourceStop(resource="exec1")).code == 0
    assert c.group(at=here).status == "Online"
    assert {r.name: r.status for r in c.group(at=here).resources} == {
        "fip1": "Online",
        "exec1": "Offline",
    }
    assert c.said(notices.groups.ResourcesStop) == [f"{here} stops exec1 of failover1."]
    assert c.answer("server1", ResourceStop(resource="exec1")).text == ("exec1 is already offline.")
    assert c.answer("server2", ResourceStart(resource="exec1")).code == 0
    assert c.said(notices.groups.ResourcesStart) == [f"{here} starts exec1 of failover1."]
    assert {r.status for r in c.group(at=here).resources} == {"Online"}


def test_a_resource_that_others_need_stops_only_with_them() -> None:
    c = Cluster(settings())
    here = c.settle()
    refused = c.answer(here, ResourceStop(resource="fip1"))
    assert refused.code == 6
    assert "exec1" in refused.text
    assert c.answer(here, ResourceStop(resource="fip1", force=True)).code == 0
    assert c.active() == []
    refused = c.answer(here, ResourceStart(resource="exec1"))
    assert (refused.code, "fip1" in refused.text) == (6, True)
    assert c.answer(here, ResourceStart(resource="exec1", force=True)).code == 0
    assert {r.status for r in c.group(at=here).resources} == {"Online"}


def test_a_resource_that_fails_to_stop_alone_holds_the_group() -> None:
    c = Cluster(settings())
    here = c.settle()
    c.scripts[(here, "exec1 stop")] = "fail"
    assert c.answer(here, ResourceStop(resource="exec1")).code == 1
    assert c.group(at=here).status == "Offline Failure"
    assert c.active() == [here]


def test_a_killed_agent_finds_its_online_group_again_and_stops_nothing() -> None:
    c = Cluster(settings(3))
    here = c.settle()
    before = len(started(c, here))
    c.kill(here)
    c.run(1 * S)
    c.start(here)
    c.run(30 * S)
    assert c.online() == here
    assert len(started(c, here)) == before


def test_an_agent_killed_while_its_group_starts_stops_it_before_anything_else() -> None:
    c = Cluster(settings())
    c.scripts[("server1", "exec1 start")] = 2 * S
    c.until(lambda: "exec1 start" in started(c, "server1"))
    c.kill("server1")
    c.run(500)
    c.start("server1")
    last = started(c, "server1")[-1]
    assert last == "exec1 stop"
    c.scripts.clear()
    assert c.settle()


def test_an_agent_killed_while_its_group_stops_ends_the_stop() -> None:
    c = Cluster(settings())
    assert c.settle() == "server1"
    c.scripts[("server1", "exec1 stop")] = 2 * S
    c.ask("server1", GroupStop(group="failover1"))
    c.run(500)
    c.kill("server1")
    c.scripts.clear()
    c.run(500)
    c.start("server1")
    c.run(10 * S)
    assert c.active() == []
    assert c.online() == "", "an operator stopped it: it stays stopped"


def test_an_agent_without_state_stops_every_group_before_it_says_it_holds_none() -> None:
    c = Cluster(settings(3, watchdog=False))
    here = c.settle()
    c.kill(here)
    c.hosts[here].run = None
    c.scripts[(here, "exec1 stop")] = 4 * S
    c.run(500)
    c.start(here)
    c.run(3 * S)
    assert c.active() == [here]
    assert c.settle() != ""
    assert len(c.active()) == 1


def test_an_agent_without_state_stops_groups_that_were_taken_from_it_too() -> None:
    """Until a push just before, it ran them."""
    there = Group(name="failover2", servers=("server2",), resources=(DISK,))
    c = Cluster(settings(groups=(group(FIP, EXEC), there)), start=False)
    c.hosts["server1"].disk.noted = c.hosts["server1"].boots
    c.scripts[("server1", "disk1 stop")] = 5 * S
    c.start("server1")
    c.start("server2")
    assert "disk1 stop" in started(c, "server1")
    c.run(4 * S)
    assert c.online("failover2") == "", "nobody knows that it does not run on server1"
    assert c.settle("failover2") == "server2"


def test_a_purge_within_a_boot_that_fails_holds_the_group_and_is_shown() -> None:
    c = Cluster(settings(), start=False)
    c.hosts["server1"].disk.noted = c.hosts["server1"].boots
    c.scripts[("server1", "exec1 stop")] = "fail"
    c.start("server1")
    c.start("server2")
    c.run(20 * S)
    assert c.node("server1").state.lifecycle.runs["failover1"].state is GroupState.STOP_FAILED
    assert started(c, "server2") == ["exec1 stop", "fip1 stop"]
    assert c.group(at="server2").status == "Offline Failure"


@pytest.mark.parametrize("how", ["fail", "hang"])
def test_a_purge_after_a_boot_holds_nothing_however_it_ends(how: str) -> None:
    """The boot is the proof: a stop script that fails where nothing runs keeps nobody down."""
    c = Cluster(settings(), start=False)
    c.scripts[("*", "exec1 stop")] = how
    for name in c.cfg.names:
        c.start(name)
    assert purging(c.node("server1").groups.runs) == ("failover1",)
    assert not c.node("server1").groups.held()
    c.until(lambda: bool(c.online()))
    here = c.node(c.online())
    assert purging(here.groups.runs) == (), "it was started: now it is held"


def test_a_purge_that_failed_is_told_once_and_tried_again_less_and_less_often() -> None:
    manual = group(FIP, EXEC, startup="manual")
    c = Cluster(settings(groups=(manual,), **CALM), start=False)
    c.scripts[("server1", "exec1 stop")] = "fail"
    for name in c.cfg.names:
        c.start(name)
    begun = c.t
    c.run(1_000 * S)
    tries = [
        round((t - begun) / S)
        for t, name, x in c.done
        if name == "server1" and isinstance(x, a.RunResource) and x.resource == "exec1"
    ]
    pauses = [later - one for one, later in itertools.pairwise(tries)]
    assert pauses == pytest.approx([30, 60, 120, 240, 480], abs=1)
    (told,) = c.said(notices.groups.PurgeFailed)
    assert "exec1" in told and "last choice" in told and "30 s" in told
    assert not c.said(notices.groups.ResourceStopFailed) and not c.said(notices.groups.GroupStuck)
    assert purging(c.node("server1").groups.runs) == ("failover1",)
    c.scripts.clear()
    c.run(600 * S)
    assert purging(c.node("server1").groups.runs) == ()
    assert started(c, "server1")[-2:] == ["exec1 stop", "fip1 stop"]
    assert "Nothing of failover1 is left on server1" in c.said(notices.groups.PurgeDone)[-1]


def test_a_purge_goes_on_in_the_next_agent() -> None:
    c = Cluster(settings(groups=(group(FIP, EXEC, startup="manual"),)), start=False)
    c.scripts[("server1", "exec1 stop")] = "hang"
    c.start("server1")
    c.run(2 * S)
    c.kill("server1")
    c.scripts.clear()
    c.start("server1")
    assert purging(c.node("server1").groups.runs) == ("failover1",)
    assert not c.node("server1").groups.held()
    c.run(1 * S)
    assert purging(c.node("server1").groups.runs) == ()


def test_a_final_action_is_not_for_a_purge_after_a_boot() -> None:
    """It would boot for ever."""
    last = Resource(name="exec1", type="exec", final_action="bmc-reset")
    c = Cluster(settings(3, groups=(group(last, servers=3, startup="manual"),)), start=False)
    c.scripts[("server1", "exec1 stop")] = "fail"
    for name in c.cfg.names:
        c.start(name)
    c.run(60 * S)
    assert not c.did(a.HostAction)


def test_a_stop_during_a_start_is_ordered_once_and_ends_with_its_own_end() -> None:
    c = Cluster(settings(groups=(group(EXEC_ALONE),)))
    c.scripts[("*", "exec1 start")] = 2 * S
    c.until(lambda: "exec1 start" in started(c, "server1"))
    c.scripts[("*", "exec1 stop")] = 5 * S
    before = len(started(c, "server1"))
    c.ask("server1", GroupStop(group="failover1"))
    c.run(4 * S)  # the start has ended long since, as an agent would not let it
    assert started(c, "server1")[before:] == ["exec1 stop"]
    assert c.group().status == "Offline Pending"
    c.run(2 * S)
    assert c.group().status == "Offline"


@pytest.mark.parametrize("ok", [True, False])
def test_the_end_of_an_operation_that_gave_way_counts_for_nothing(ok: bool) -> None:
    """Not for the stop that ended it, nor for a start of the same epoch after that."""
    c = Cluster(settings(groups=(group(EXEC_ALONE),)))
    here = c.settle()
    c.scripts[("*", "exec1 stop")] = c.scripts[("*", "exec1 start")] = "hang"
    with c.changed(here) as node:
        node.lifecycle.restart("failover1")
        stop = node.context.actions.pop()
        node.context.actions.clear()
    assert isinstance(stop, a.RunResource)

    def done(run: a.RunResource, ok: bool = True) -> None:
        c.tell(
            here,
            e.ResourceDone(
                group=run.group,
                resource=run.resource,
                op=run.op,
                epoch=run.epoch,
                number=run.number,
                ok=ok,
            ),
        )

    done(stop)
    start = c.did(a.RunResource, here)[-1]
    assert (start.op, start.epoch) == ("start", stop.epoch)
    for late in (stop, msgspec.structs.replace(start, number=start.number - 2)):
        done(late, ok)
        assert c.node(here).state.lifecycle.runs["failover1"].state is GroupState.STARTING
    done(start)
    assert c.online() == here


def test_what_a_start_says_before_its_end_is_recorded() -> None:
    c = Cluster(settings())
    here = c.settle()
    c.tell(here, e.ResourceSaid(group="failover1", resource="fip1", text="02:.. answers"))
    assert c.said(notices.groups.ResourceSaid) == [f"fip1 on {here}: 02:.. answers."]


@pytest.mark.parametrize("twin", [False, True])
def test_a_start_knows_the_mac_addresses_of_servers_that_are_off(twin: bool) -> None:
    c = Cluster(settings(3, bmc=True))
    assert c.settle() == "server1"
    c.run(10 * S)
    if twin:
        for name in ("server2", "server3"):
            with c.changed(name) as node:
                node.state.peers.known["server1"].macs = ("02:00:00:00:00:02",)
    c.power_off("server1")
    c.until(lambda: c.online() not in ("", "server1"))
    start = c.did(a.RunResource, c.online())[-1]
    assert start.off == ("server1",)
    assert start.macs_off == (() if twin else ("02:00:00:00:00:01",))
    here = c.online()
    c.power_on("server1")
    c.run(30 * S)
    assert c.answer(here, ResourceStop(resource="exec1")).code == 0
    assert c.answer(here, ResourceStart(resource="exec1")).code == 0
    again = c.did(a.RunResource, here)[-1]
    assert (again.op, again.off, again.macs_off) == ("start", (), ())


def test_mac_addresses_of_others_outlive_them_and_an_agent_restart() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    c.run(10 * S)
    c.power_off("server1")
    c.run(60 * S)
    c.kill("server2")
    c.start("server2")
    assert c.node("server2").state.peers.known["server1"].macs == ("02:00:00:00:00:01",)


def test_the_watchdog_is_armed_after_a_purge_that_an_agent_restart_interrupted() -> None:
    c = Cluster(settings(3), start=False)
    c.scripts[("server1", "exec1 stop")] = 2 * S
    for name in c.cfg.names:
        c.start(name)
    c.run(500)
    c.kill("server1")
    c.scripts.clear()
    c.run(100)
    c.start("server1")
    c.run(10 * S)
    assert c.node("server1").state.lease.armed


def test_a_group_without_resources_comes_online_and_goes() -> None:
    c = Cluster(settings(groups=(group(),)))
    here = c.settle()
    assert c.answer(here, GroupMove(group="failover1")).code == 0
    assert c.online() not in ("", here)


@pytest.mark.parametrize(("servers", "tries"), [(3, 1), (2, 9)])
def test_the_final_action_of_a_resource_waits_until_no_other_server_is_tried(
    servers: int, tries: int
) -> None:
    last = Resource(name="exec1", type="exec", failover_on_failure=tries, final_action="bmc-reset")
    c = Cluster(settings(3, groups=(group(last, servers=servers),)))
    for server in ("server1", "server2"):
        c.scripts[(server, "exec1 start")] = "fail"
    c.until(lambda: bool(c.did(a.HostAction)))
    assert not c.did(a.HostAction, "server1")
    assert [x.action for x in c.did(a.HostAction, "server2")] == ["bmc-reset"]
    told = c.said(notices.monitors.ResourceFinalAction)
    assert told == ["server2 runs bmc-reset: final action of exec1."]


def test_the_final_action_of_a_resource_that_cannot_be_stopped_comes_at_once() -> None:
    stuck = Resource(name="exec1", type="exec", final_action="bmc-reset")
    c = Cluster(settings(3, groups=(group(stuck, servers=3),)))
    here = c.settle()
    c.scripts[(here, "exec1 stop")] = "fail"
    c.ask(here, GroupStop(group="failover1"))
    c.run(1 * S)
    assert [x.action for x in c.did(a.HostAction, here)] == ["bmc-reset"]


LOST = e.ResourceLost(group="failover1", resource="fip1", text="another machine has it")


def test_a_resource_that_is_lost_starts_again_with_what_depends_on_it() -> None:
    c = Cluster(settings(groups=(group(FIP, DISK, APP),)))
    here = c.settle()
    before = len(started(c, here))
    c.tell(here, LOST)
    c.run(10 * S)
    assert started(c, here)[before:] == ["app1 stop", "fip1 stop", "fip1 start", "app1 start"]
    assert c.online() == here
    (told,) = c.said(notices.groups.ResourceLost)
    assert "fip1 of failover1 is lost" in told and "another machine has it" in told


def test_a_lost_resource_waits_until_the_cluster_is_resumed() -> None:
    c = Cluster(settings(groups=(group(FIP),)))
    here = c.settle()
    assert c.answer(here, Suspend()).code == 0
    before = len(started(c, here))
    for _ in range(3):
        c.tell(here, LOST)
        c.run(5 * S)
    assert started(c, here)[before:] == []
    (told,) = c.said(notices.groups.ResourceLost)
    assert "once the cluster is resumed" in told
    assert c.answer(here, Resume()).code == 0
    c.tell(here, LOST)
    c.run(5 * S)
    assert started(c, here)[before:] == ["fip1 stop", "fip1 start"]


def test_what_is_lost_of_a_group_that_stops_counts_for_nothing() -> None:
    c = Cluster(settings(groups=(group(FIP),)))
    here = c.settle()
    assert c.answer("server1", GroupStop(group="failover1")).code == 0
    c.tell(here, LOST)
    assert not c.said(notices.groups.ResourceLost) and c.active() == []


def test_a_floating_address_that_is_online_is_started_again_by_command() -> None:
    """It may be gone, and nobody has noticed yet."""
    c = Cluster(settings(groups=(group(FIP, EXEC),)))
    here = c.settle()
    before = len(started(c, here))
    assert c.answer(here, ResourceStart(resource="fip1")).code == 0
    assert started(c, here)[before:] == ["fip1 start"] and c.online() == here
    said = c.answer(here, ResourceStart(resource="exec1"))
    assert "already online" in said.text


def test_an_agent_that_starts_again_has_the_address_watched() -> None:
    c = Cluster(settings(groups=(group(FIP, EXEC),)))
    here = c.settle()
    assert not c.did(a.WatchResource)
    c.kill(here)
    c.start(here)
    c.run(5 * S)
    (watched,) = c.did(a.WatchResource, here)
    assert watched.resource == "fip1" and c.online() == here
