"""The cluster service by command: leaving, stopping all, suspending, the end of an agent."""

from __future__ import annotations

import pytest

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.requests import (
    GroupStart,
    GroupStop,
    Resume,
    ServiceStart,
    ServiceStop,
    Suspend,
)
from clptools.core.model.settings import Group
from clptools.core.model.words import AfterStop
from tests.core.alone import Alone
from tests.core.cluster import Cluster, S, settings

MANUAL = Group(name="failover1", servers=("server1", "server2"), failover="manual")


def test_leaving_hands_the_groups_over_and_clears_the_bit_before_the_word() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    assert c.hosts["server1"].disk.member
    assert c.answer("server1", ServiceStop()).code == 0
    assert c.settle() == "server2"
    host = c.hosts["server1"]
    assert (host.disk.member, host.run, host.service_stopped) == (False, None, True)
    order = [
        type(x).__name__
        for _, n, x in c.done
        if n == "server1" and isinstance(x, a.RunResource | a.SetMember | a.SetService)
    ]
    assert order[-4:] == ["RunResource", "RunResource", "SetMember", "SetService"]
    assert "server1" in c.view("server2").cluster.out
    assert c.view("server2").cluster.electorate == ("server1", "server2", "server3")
    c.run(4 * S)
    assert c.view("server2").cluster.electorate == ("server2", "server3")


def test_leaving_does_not_wait_for_a_group_that_nobody_takes_over() -> None:
    c = Cluster(settings(2, groups=(MANUAL,)))
    assert c.settle() == "server1"
    began = c.t
    assert c.answer("server1", ServiceStop()).code == 0
    assert c.t - began < 5 * S


def test_a_stopped_service_answers_and_starts_again() -> None:
    c = Cluster(settings(3))
    c.settle()
    assert c.answer("server1", ServiceStop()).code == 0
    assert c.answer("server1", GroupStop(group="failover1")).code == 3
    assert c.view("server1").cluster.status == "Stopped"
    assert c.answer("server1", ServiceStop()).text.endswith("already stopped.")
    assert c.answer("server1", ServiceStart()).code == 0
    c.run(5 * S)
    assert "server1" not in c.view("server2").cluster.out
    assert c.view("server1").servers[0].status == "Online"


def test_a_server_that_is_so_already_says_that_the_others_are_told() -> None:
    c = Cluster(settings(2))
    c.settle()
    assert c.answer("server1", ServiceStart(server="*")).text.endswith("already running.")
    assert c.answer("server1", ServiceStop(server="server2")).code == 0
    c.run(5 * S)
    assert c.answer("server1", ServiceStart(server="*")).did == (
        "The cluster service of server1 is already running; server2 is told to start."
    )
    c.run(5 * S)
    assert not c.hosts["server2"].service_stopped
    assert c.answer("server1", ServiceStop()).code == 0
    assert c.answer("server1", ServiceStop(server="*")).did.endswith("server2 is told to stop.")
    c.run(5 * S)
    assert c.hosts["server2"].service_stopped


def test_a_server_is_stopped_and_started_from_another() -> None:
    c = Cluster(settings(3))
    c.settle()
    assert c.answer("server1", ServiceStop(server="server3")).code == 0
    assert c.hosts["server3"].service_stopped
    c.run(5 * S)
    assert c.answer("server1", ServiceStart(server="server3")).code == 0
    c.run(5 * S)
    assert not c.hosts["server3"].service_stopped
    assert c.view("server1").servers[2].status == "Online"


def test_a_stopped_server_far_away_is_given_time_to_answer() -> None:
    """A connection that takes longer than a heartbeat is no lost server."""
    c = Cluster(settings(3))
    c.settle()
    assert c.answer("server1", ServiceStop(server="server3")).code == 0
    c.perform("late 1 0.8")
    assert c.answer("server1", ServiceStart(server="server3")).code == 0


@pytest.mark.parametrize("asked", ["server1", "server3"])
def test_all_stop_without_moving_groups_and_all_start_again(asked: str) -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    assert c.answer(asked, ServiceStop(server="*")).code == 0
    c.run(5 * S)
    assert all(h.service_stopped for h in c.hosts.values())
    assert c.active() == []
    starts = [r for r in c.did(a.RunResource) if r.op == "start"]
    assert len(starts) == 2, "the group moved nowhere"
    stops = [r for r in c.did(a.RunResource, "server1") if r.op == "stop"]
    assert {r.factor for r in stops[-2:]} == {"CLUSTERSTOP"}
    assert c.answer(asked, ServiceStart(server="*")).code == 0
    assert c.settle() == "server1"


def test_all_stop_asked_on_a_server_that_is_stopped_already() -> None:
    c = Cluster(settings(3))
    c.settle()
    c.answer("server1", ServiceStop())
    c.run(2 * S)
    c.ask("server1", ServiceStop(server="*"))
    c.run(5 * S)
    assert all(h.service_stopped for h in c.hosts.values())


def test_after_a_stop_of_all_that_one_could_not_follow_all_start_again() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    c.scripts[("server1", "exec1 stop")] = "fail"
    c.ask("server2", ServiceStop(server="*"))
    c.run(5 * S)
    assert [n for n, h in c.hosts.items() if h.service_stopped] == ["server2", "server3"]
    c.scripts.clear()
    assert c.answer("server2", ServiceStart(server="*")).code == 0
    c.run(5 * S)
    assert c.answer("server2", GroupStop(group="failover1", force=True)).code == 0
    assert c.answer("server2", GroupStart(group="failover1")).code == 0
    assert c.settle() != ""


def test_one_that_missed_the_stop_of_all_does_not_keep_the_others_from_starting() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    c.cut("server3")
    c.ask("server1", ServiceStop(server="*"))
    c.run(8 * S)
    assert c.hosts["server1"].service_stopped
    c.heal()
    c.run(2 * S)
    c.answer("server1", ServiceStart(server="*"))
    assert c.settle() != ""


def test_a_stuck_group_keeps_its_server_from_leaving() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    c.scripts[("server1", "exec1 stop")] = "fail"
    outcome = c.answer("server1", ServiceStop())
    assert outcome.code == 1
    assert "failover1" in outcome.text
    assert c.hosts["server1"].disk.member
    assert c.view("server1").servers[0].status == "Online"


def test_sigterm_moves_the_groups_and_ends() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    c.leave("server1")
    c.until(lambda: c.hosts["server1"].node is None)
    assert c.settle() == "server2"


def test_suspended_sigterm_leaves_the_groups_running() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    assert c.answer("server2", Suspend()).code == 0
    c.run(1 * S)
    c.leave("server1")
    c.run(1 * S)
    assert c.hosts["server1"].node is None
    assert c.did(a.DisarmWatchdog, "server1")
    c.run(60 * S)
    assert c.active() == ["server1"]


def test_suspended_an_agent_may_be_down_for_longer_than_its_lease() -> None:
    """Suspend, upgrade, resume: nothing stops."""
    for count in (2, 3):
        c = Cluster(settings(count))
        assert c.settle() == "server1"
        assert c.answer("server1", Suspend()).code == 0
        c.run(1 * S)
        before = len(c.did(a.RunResource))
        c.leave("server1")
        c.run(30 * S)
        c.start("server1")
        c.run(5 * S)
        assert c.answer("server2", Resume()).code == 0
        c.run(20 * S)
        assert c.active() == ["server1"]
        assert c.online() == "server1"
        assert len(c.did(a.RunResource)) == before


def test_suspended_all_agents_may_be_upgraded_at_once() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    assert c.answer("server1", Suspend()).code == 0
    c.run(1 * S)
    before = len(c.did(a.RunResource))
    for name in c.cfg.names:
        c.leave(name)
    c.run(60 * S)
    for name in c.cfg.names:
        c.start(name)
    c.until(lambda: c.coordinator() != "")
    c.run(5 * S)
    assert c.answer("server2", Resume()).code == 0
    c.run(20 * S)
    assert c.online() == "server1"
    assert len(c.did(a.RunResource)) == before


def test_sigterm_right_after_the_suspension_waits_until_all_know_it() -> None:
    """Whoever does not know may clear this server by its lease: its groups must not outlive it."""
    c = Cluster(settings(5, bmc=False))
    assert c.settle() == "server1"
    c.run(3 * S)
    holder, ally = "server1", "server2"
    for name in ("server3", "server4", "server5"):
        c.cut(name, holder, ally)
    assert c.coordinator() in (holder, ally)
    c.ask(c.coordinator(), Suspend(force=True))
    c.run(20)
    c.leave(holder)
    c.run(60 * S)
    assert len(c.active()) == 1


def test_a_holder_cut_off_while_suspended_is_not_stopped_by_the_resumption() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    c.answer("server1", Suspend())
    c.run(2 * S)
    c.cut("server1")
    c.run(30 * S)
    assert c.active() == ["server1"]
    before = len(c.did(a.RunResource))
    assert c.answer("server2", Resume()).code == 0
    c.heal()
    c.run(30 * S)
    assert c.online() == "server1"
    assert len(c.did(a.RunResource)) == before


def test_suspending_needs_every_server_or_force() -> None:
    c = Cluster(settings(3))
    c.settle()
    c.power_off("server3")
    c.run(5 * S)
    refused = c.answer("server2", Suspend())
    assert refused.code == 6
    assert "server3" in refused.text
    assert c.answer("server2", Suspend(force=True)).code == 0
    assert c.view("server1").cluster.suspended
    assert c.answer("server2", Suspend(force=True)).text.endswith("already suspended.")


def test_suspended_nothing_is_taken_over_and_nothing_is_asked() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    c.answer("server2", Suspend())
    c.power_off("server1")
    c.run(60 * S)
    assert c.active() == []
    for request in (GroupStart(group="failover1"), ServiceStop()):
        refused = c.answer("server2", request)
        assert refused.code == 6
        assert "suspended" in refused.text
    assert c.answer("server2", Resume()).code == 0
    assert c.settle() == "server2"


def test_a_second_stop_while_leaving_ends_with_the_first() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    c.scripts[("server1", "exec1 stop")] = 2 * S
    ids = [c.ask("server1", ServiceStop()), c.ask("server1", ServiceStop())]
    c.until(lambda: all(i in c.outcomes for i in ids))
    assert {c.outcomes[i].code for i in ids} == {0}


def test_shutdown_and_restart_after_leaving() -> None:
    c = Cluster(settings(3))
    c.settle()
    assert c.answer("server3", ServiceStop(then=AfterStop.SHUTDOWN)).code == 0
    assert [x.action for x in c.did(a.HostAction, "server3")] == ["shutdown"]
    assert c.answer("server2", ServiceStop(then=AfterStop.START)).code == 0
    c.run(5 * S)
    assert not c.hosts["server2"].service_stopped
    assert c.view("server1").servers[1].status == "Online"


def test_an_agent_that_starts_stopped_tells_everybody_that_it_has_left() -> None:
    c = Cluster(settings(3))
    c.settle()
    c.answer("server3", ServiceStop())
    c.kill("server3")
    c.power_off("server2")
    c.run(10 * S)
    c.start("server3")
    c.power_on("server2")
    c.run(30 * S)
    assert "server3" in c.view("server2").cluster.out


def test_a_stopped_server_answers_the_beat_it_heard_last() -> None:
    """Not one of an incarnation that it never came to believe."""
    me = Alone(settings(3), "server3")
    me.beat("server2", echo=None, incarnation="server2#1")
    assert me.node.state.peers.known["server2"].stranger is not None
    me.tell(e.RequestSeen(id="r1", user="root", request=ServiceStop()))
    me.scripts_end()
    me.run(3 * S)
    assert me.node.state.life.phase == "stopped"
    me.beat("server2", incarnation="server2#2", sent_at=777)
    (beat,) = [x.beat for x in me.of(a.SendBeat)]
    assert beat.left
    assert beat.echo is not None
    assert (beat.echo.incarnation, beat.echo.sent_at) == ("server2#2", 777)
