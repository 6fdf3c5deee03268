"""The simulated world itself: clocks, power, network, disk, watchdog, interruptions."""

from __future__ import annotations

from typing import Any

import pytest

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.durable import Durable
from clptools.core.model.settings import Resource
from clptools.core.node import Node
from clptools.sim.clusters import Unknown, sample
from clptools.sim.host import Host
from clptools.sim.verbs import VERBS, perform
from clptools.sim.words import BadLine
from clptools.sim.world import World
from tests.sim.stub import Stub


def world(name: str = "2bmc", *orders: a.Action, seed: int = 1) -> World:
    made: Any = type("Ordered", (Stub,), {"orders": orders})
    w = World(sample(name), seed, made, made.restore)
    w.check.strict = False  # a stub has no state to judge by
    for host in w.hosts.values():
        host.rate = 1_000_000
    return w


def started(name: str = "2bmc", *orders: a.Action, seed: int = 1) -> tuple[World, list[Host]]:
    w = world(name, *orders, seed=seed)
    perform(w, "start")
    return w, list(w.hosts.values())


def events_of(host: Host, kind: type) -> list[Any]:
    return [x for _, x in host.node.seen if type(x) is kind]


def test_heartbeats_arrive_within_a_millisecond_or_so() -> None:
    w, (one, two) = started()
    w.advance(1.0)
    assert {two.node.heard("server1"), one.node.heard("server2")} <= {5, 6}


def test_a_cut_is_as_wide_as_it_says() -> None:
    w, (one, two) = started()
    perform(w, "cut-oneway server1 server2")
    w.advance(1.0)
    assert one.node.heard("server2") >= 5
    assert two.node.heard("server1") <= 1
    perform(w, "heal server1 server2")
    w.advance(1.0)
    assert two.node.heard("server1") > 4


def test_the_same_seed_is_the_same_run() -> None:
    def run() -> list[tuple[int, e.Event]]:
        w, (one, _) = started(seed=7)
        perform(w, "lose 0.5")
        perform(w, "late 0.5 1")
        w.advance(20)
        seen: list[tuple[int, e.Event]] = one.node.seen
        return seen

    assert run() == run()


def test_a_drifting_clock_runs_on_and_does_not_jump() -> None:
    w, (one, _) = started()
    before = one.now(w.t)
    perform(w, "drift server1 10000")
    assert one.now(w.t) == before
    w.advance(100)
    assert one.now(w.t) - before == pytest.approx(101_000, abs=1)
    assert one.when(before + 1000) == pytest.approx(1_000_000 / 1.01, abs=1100)


def test_state_in_run_outlives_the_agent_and_not_the_boot() -> None:
    w, (one, _) = started("2bmc", a.Persist(durable=Durable(vote="server2")))
    perform(w, "kill server1")
    perform(w, "start server1")
    assert events_of(one, e.AgentStarted)[0].durable.vote == "server2"
    perform(w, "reset server1")
    assert one.node is None
    w.advance(60)
    assert events_of(one, e.AgentStarted)[0].durable is None


def test_a_member_bit_that_was_not_written_back_is_lost_with_the_power() -> None:
    w, (one, _) = started("2bmc", a.SetMember(member=True))
    perform(w, "off server1")
    assert not one.disk.member
    perform(w, "on server1")
    w.advance(100)
    perform(w, "off server1")
    assert one.disk.member


def test_what_runs_dies_with_the_power_and_outlives_the_agent() -> None:
    run = a.RunResource(
        group="failover1", resource="exec1", op="start", epoch=1, event="START", factor=""
    )
    w, (one, _) = started("2bmc", run)
    w.advance(1)
    perform(w, "kill server1")
    assert one.groups_active() == {"failover1"}
    perform(w, "off server1")
    assert one.groups_active() == set()


def test_two_servers_that_run_one_group_are_noticed() -> None:
    run = a.RunResource(
        group="failover1", resource="exec1", op="start", epoch=1, event="START", factor=""
    )
    w, _ = started("2bmc", run)
    found = w.check.violations[0]
    assert (found.invariant, found.group) == ("I1", "failover1")
    assert found.servers == ("server1", "server2")


def test_a_failed_or_hung_stop_leaves_the_resource_active() -> None:
    w = world("2bmc")
    one = w.hosts["server1"]
    for how in ("fails", "hangs"):
        perform(w, "kill server1")
        perform(w, "start server1")
        for op in ("start", "stop"):
            if op == "stop":
                perform(w, f"script server1 exec1 stop {how}")
            order = a.RunResource(
                group="failover1", resource="exec1", op=op, epoch=1, event="", factor=""
            )
            w.executor.do[a.RunResource](one, order, 0)
            w.advance(11)
        assert one.groups_active() == {"failover1"}
        assert events_of(one, e.ResourceDone)[-1].timed_out is (how == "hangs")
        perform(w, "script server1 mend")


def test_an_unfed_watchdog_resets_the_server() -> None:
    w, (one, _) = started("2bmc", a.ArmWatchdog(timeout_ms=2700, method="softdog"))
    boots = one.boots
    w.advance(2.6)
    assert one.node is not None
    w.advance(0.2)
    assert one.node is None
    assert one.boots > boots
    w.advance(60)
    assert one.incarnations > 1


def resource_order(op: str) -> a.RunResource:
    return a.RunResource(
        group="failover1", resource="exec1", op=op, epoch=1, event="START", factor=""
    )


def test_a_resource_has_one_operation_at_a_time_and_the_last_order_counts() -> None:
    w = world("2bmc")
    perform(w, "script server1 exec1 start takes 8")
    perform(w, "start server1")
    one = w.hosts["server1"]
    for op in ("start", "stop", "start", "stop"):
        w.executor.do[a.RunResource](one, resource_order(op), 0)
        assert len(one.operations) == 1
    assert one.groups_active() == {"failover1"}
    w.advance(5)
    assert [x.op for x in events_of(one, e.ResourceDone)] == ["stop"]
    assert one.groups_active() == set()


def test_what_was_to_follow_dies_with_the_agent_and_what_is_half_done_stays() -> None:
    w = world("2bmc")
    perform(w, "script server1 exec1 start takes 8")
    perform(w, "start server1")
    one = w.hosts["server1"]
    for op in ("start", "stop"):
        w.executor.do[a.RunResource](one, resource_order(op), 0)
    perform(w, "kill server1")
    w.advance(20)
    assert not one.operations
    assert one.active == {("failover1", "exec1"): "broken"}


def test_a_watchdog_counts_on_without_its_agent_and_the_next_one_does_not_feed_it() -> None:
    orders = (a.ArmWatchdog(timeout_ms=2700, method="softdog"),)
    w, (one, _) = started("2bmc", *orders)
    due = one.watchdog.due_us
    perform(w, "kill server1")
    w.make_node = Stub
    perform(w, "start server1")
    w.executor.do[a.PetWatchdog](one, a.PetWatchdog(), 0)
    assert one.watchdog.due_us == due
    w.advance(2.8)
    assert one.node is None


@pytest.mark.parametrize(("method", "armed"), [("softdog", [True, False]), ("guard", [1, 0, 1])])
def test_a_watchdog_that_dies_acts_no_more_and_is_missed(method: str, armed: list[bool]) -> None:
    w, (one, _) = started("2bmc", a.ArmWatchdog(timeout_ms=2700, method=method))
    w.advance(1)
    perform(w, "watchdog server1 dies")
    if method == "softdog":
        w.advance(5)
        assert len(events_of(one, e.WatchdogChanged)) == 1
        w.executor.do[a.PetWatchdog](one, a.PetWatchdog(), 0)
    w.advance(1)
    assert [x.armed for x in events_of(one, e.WatchdogChanged)] == armed


def test_an_agent_that_cannot_write_to_run_ends_and_is_back_once_it_can() -> None:
    persist = a.Persist(durable=Durable(vote="server2"))
    w = world("2bmc", persist, a.SetMember(member=True))
    one = w.hosts["server1"]
    perform(w, "start server1")
    assert (one.run, one.disk.member) == (Durable(vote="server2"), True)
    perform(w, "kill server1")
    one.disk.member = False
    perform(w, "run server1 fails")
    perform(w, "start server1")
    w.advance(5)
    assert one.node is None
    perform(w, "run server1 works")
    assert one.node is not None
    one.run_fails = True
    one.disk.member = False
    w.executor.do[a.Persist](one, persist, 0)
    assert one.node is None
    w.advance(1)
    assert not one.disk.member


def test_what_was_wiped_from_run_is_missed_by_the_next_agent() -> None:
    w, (one, _) = started("2bmc", a.Persist(durable=Durable(vote="server2")))
    perform(w, "run server1 wiped")
    perform(w, "kill server1")
    perform(w, "start server1")
    assert events_of(one, e.AgentStarted)[0].durable is None


def test_the_first_agent_of_a_boot_is_told_so_if_the_disk_notes_boots() -> None:
    w, (one, _) = started()

    def last() -> tuple[bool, bool]:
        seen = events_of(one, e.AgentStarted)[0]
        return seen.first_of_boot, seen.noted

    assert last() == (True, True)
    for lines, expected in (
        (["kill server1", "start server1"], (False, True)),
        (["reset server1"], (True, True)),
        (["disk server1 no-notes", "reset server1"], (True, False)),
        (["kill server1", "start server1"], (True, False)),
    ):
        for line in lines:
            perform(w, line)
        w.advance(30)
        assert last() == expected


def test_a_paused_agent_finds_everything_when_it_runs_on() -> None:
    w, (one, _) = started()
    w.advance(1)
    heard = one.node.heard("server2")
    perform(w, "pause server1 3")
    w.advance(2.9)
    assert one.node.heard("server2") == heard
    w.advance(0.2)
    assert one.node.heard("server2") >= heard + 15
    assert events_of(one, e.TimerFired)


def test_a_list_of_actions_can_be_cut_short_anywhere() -> None:
    w = world("2bmc", a.Persist(durable=Durable(vote="x")), a.SetMember(member=True))
    perform(w, "interrupt server1 1 kill")
    perform(w, "start")
    one = w.hosts["server1"]
    assert one.node is None
    assert (one.run == Durable(vote="x"), one.disk.member) == (True, False)


def test_a_bmc_tells_power_and_what_an_order_did_is_seen_by_reading() -> None:
    w, (one, _) = started("2bmc", a.ReadPower(server="server2"))
    w.advance(1)
    read = events_of(one, e.PowerRead)[0]
    assert read.power == "on"
    assert read.session
    fence = a.Fence(server="server2", action="power-off", ordered_at=one.now(w.t))
    w.executor.do[a.Fence](one, fence, one.now(w.t))
    w.advance(0.1)
    assert events_of(one, e.FenceDone)[0].sent
    assert w.hosts["server2"].powered, "it is carried out a while later"
    w.advance(8)
    assert not w.hosts["server2"].powered
    w.executor.do[a.ReadPower](one, a.ReadPower(server="server2", echo=True), one.now(w.t))
    w.advance(1)
    last = events_of(one, e.PowerRead)[-1]
    assert (last.power, last.session, last.echoed) == ("off", read.session, False)


def test_an_order_that_cannot_leave_in_time_never_does() -> None:
    w, (one, two) = started()
    w.bmcs.of["server2"].busy_until["server1"] = w.t + 600_000
    w.executor.do[a.Fence](
        one, a.Fence(server="server2", action="power-off", ordered_at=one.now(w.t)), one.now(w.t)
    )
    w.advance(8)
    assert not events_of(one, e.FenceDone)[0].sent
    assert two.powered


def test_a_bmc_that_restarted_says_off_in_a_new_session() -> None:
    w, (one, two) = started("2bmc", a.ReadPower(server="server2"))
    w.advance(1)
    perform(w, "bmc server2 restart 2")
    w.executor.do[a.ReadPower](one, a.ReadPower(server="server2"), one.now(w.t))
    w.advance(1)
    before, after = events_of(one, e.PowerRead)
    assert (before.power, after.power) == ("on", "off")
    assert before.session != after.session
    assert two.powered


def test_a_dead_bmc_proves_nothing() -> None:
    w = world("2bmc", a.ReadPower(server="server2"))
    perform(w, "bmc server2 dead")
    perform(w, "start server1")
    w.advance(3)
    assert events_of(w.hosts["server1"], e.PowerRead)[0].power == "unknown"


def test_a_strong_arbiter_says_yes_to_one() -> None:
    w, (one, two) = started("2strong", a.HoldArbiter(name="etcd1", lease_ms=3000))
    w.advance(1)
    held = [events_of(h, e.ArbiterAnswered)[0].held for h in (one, two)]
    assert sorted(held) == [False, True]


def test_a_weak_arbiter_says_yes_to_all() -> None:
    w, (one, two) = started("2weak", a.HoldArbiter(name="ping1", lease_ms=3000))
    w.advance(1)
    assert all(events_of(h, e.ArbiterAnswered)[0].held for h in (one, two))


def test_held_messages_arrive_when_released() -> None:
    w, (_, two) = started()
    w.advance(1)
    heard = two.node.heard("server1")
    perform(w, "hold server1 server2")
    w.advance(1)
    assert two.node.heard("server1") <= heard + 1
    perform(w, "release server1 server2")
    w.advance(0.1)
    assert two.node.heard("server1") >= heard + 4


def test_large_datagrams_may_be_lost_alone() -> None:
    w, (one, two) = started()
    perform(w, "lose-large 90 server1 server2")
    w.advance(1.0)
    assert two.node.heard("server1") <= 1
    assert one.node.heard("server2") >= 5
    perform(w, "lose-large 0")
    w.advance(1.0)
    assert two.node.heard("server1") >= 5


def test_recorded_heartbeats_arrive_again_after_their_sender_is_off() -> None:
    w, (_, two) = started()
    perform(w, "record server1 server2")
    w.advance(2.0)
    perform(w, "off server1")
    w.advance(1.0)
    heard = two.node.heard("server1")
    perform(w, "replay server1 server2 50 2")
    w.advance(2.0)
    assert two.node.heard("server1") == heard + 100


def test_something_can_happen_right_after_the_nth_action_of_a_kind() -> None:
    orders = (a.SetMember(member=True), a.Persist(durable=Durable(vote="x")))
    w = world("2bmc", *orders, *orders[:1])
    perform(w, "upon server1 set-member 1 cut server1 server2")
    perform(w, "upon server1 persist 1 off server1")
    perform(w, "start")
    one = w.hosts["server1"]
    assert ("server1", "server2", "lankhb1") in w.network.cuts
    assert not one.powered
    with pytest.raises(BadLine):
        perform(w, "upon server2 explode 1 off server1")
    with pytest.raises(BadLine):
        perform(w, "upon server2 fence 1 advance 5")


def test_a_server_can_be_cut_off_between_two_actions_and_is_mended_by_itself() -> None:
    w = world("2bmc", a.SetMember(member=True), a.Persist(durable=Durable(vote="x")))
    perform(w, "interrupt server1 1 mute 2")
    perform(w, "start")
    one, two = w.hosts.values()
    assert (one.disk.member, one.run) == (True, Durable(vote="x"))
    w.advance(1.9)
    assert (two.node.heard("server1"), one.node.heard("server2") > 5) == (0, True)
    w.advance(1.0)
    assert two.node.heard("server1") > 3


def test_a_clock_that_changes_its_rate_moves_the_timers() -> None:
    w, (one, _) = started()
    perform(w, "drift server1 500000")
    before = len(events_of(one, e.TimerFired))
    w.advance(1.0)
    assert len(events_of(one, e.TimerFired)) - before in (7, 8)


def test_a_machine_set_back_to_its_snapshot_is_as_it_was() -> None:
    w = World(sample("3lease"), 1, Node, Node.restore)
    perform(w, "start")
    w.advance(8)
    holder = next(h for h in w.hosts.values() if h.active)
    perform(w, f"snapshot {holder.name}")
    now, run = holder.now(w.t), holder.run
    perform(w, f"off {holder.name}")
    w.advance(30)
    assert holder.run is None
    perform(w, f"restore {holder.name}")
    assert abs(holder.now(w.t) - now) <= 1
    assert holder.run == run and holder.active
    assert "I1" in {v.invariant for v in w.check.violations}


def test_every_verb_understands_its_own_example() -> None:
    for verb in VERBS.values():
        w = World(sample("3bmc"), 1, Node, Node.restore)
        w.check.strict = False
        perform(w, "start")
        perform(w, verb.example)


def test_a_line_that_cannot_be_played_says_how_it_would_look() -> None:
    w = world()
    with pytest.raises(BadLine, match="no such verb"):
        perform(w, "explode server1")
    with pytest.raises(BadLine, match="an example: cut server1 server2"):
        perform(w, "cut server1")


def test_sample_clusters_are_made_by_name() -> None:
    assert len(sample("5bmcstrong").servers) == 5
    assert sample("3lease").servers[0].bmc is None
    assert isinstance(sample("2bmc", resources=2).groups[0].resources[1], Resource)
    with pytest.raises(Unknown):
        sample("many")


def test_stopped_servers_are_quiet() -> None:
    world = World(sample("3lease"), 1, Node, Node.restore)
    perform(world, "start")
    world.advance(10)
    perform(world, "double 0.2")
    perform(world, "request server1 service-stop *")
    world.advance(10)
    steps = world.steps
    world.advance(30)
    assert world.steps - steps < 10
    assert not world.check.violations
