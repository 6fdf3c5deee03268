"""The words of `clpstat`: cluster, servers, heartbeats, NP resolution, groups, monitors."""

from __future__ import annotations

import copy

import msgspec
import pytest

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.requests import GroupMove, GroupStart, GroupStop, ServiceStop
from clptools.core.model.settings import Arbiter, Interconnect, Monitor
from clptools.core.model.view import HeartbeatView, ServerView
from clptools.core.notices.form import Kinds
from clptools.core.notices.groups import OneCopy, TwoCopies
from clptools.core.phrases import waits_for_quorum
from clptools.core.report.status import monitor_word
from tests.core.cluster import Cluster, S, names, settings

MRW = Monitor(
    name="mrw1",
    type="mrw",
    servers=names(3),
    category="BMCNOTICE",
    stall_on_predictive_failure=True,
)


def cluster(count: int = 3, breaks: tuple[str, ...] = (), **cfg: object) -> Cluster:
    c = Cluster(settings(count, **cfg), breaks=breaks)  # type: ignore[arg-type]
    c.settle()
    c.run(6 * S)
    return c


def servers(c: Cluster, at: str = "server1") -> dict[str, str]:
    return {s.name: s.status for s in c.view(at).servers}


def server(c: Cluster, name: str, at: str = "server1") -> ServerView:
    return next(s for s in c.view(at).servers if s.name == name)


def test_all_is_well() -> None:
    c = cluster()
    for at in c.cfg.names:
        view = c.view(at)
        assert view.cluster.status == "Normal"
        assert view.cluster.quorate
        assert set(servers(c, at).values()) == {"Online"}
        assert [g.status for g in view.groups] == ["Online"]
        assert [h.status for s in view.servers for h in s.heartbeats] == ["Normal"] * 3


def test_a_server_shows_its_addresses_by_priority() -> None:
    lan = {"server1": "10.0.0.1", "server2": "10.0.0.2"}
    paths = (
        Interconnect(name="lankhb1", type="lankhb", addresses=lan),
        Interconnect(name="lanhb1", type="lanhb", addresses={"server1": "10.0.1.1"}),
        Interconnect(name="lanhb2", type="lanhb", addresses=lan),
        Interconnect(name="bmchb1", type="bmchb", addresses={"server1": "10.0.9.1"}),
    )
    found = msgspec.structs.replace(settings(2), interconnects=paths)
    assert found.addresses_of("server1") == ("10.0.0.1", "10.0.1.1")
    assert found.addresses_of("server2") == ("10.0.0.2",)
    c = Cluster(found)
    assert [s.addresses for s in c.view("server1").servers] == [
        ("10.0.0.1", "10.0.1.1"),
        ("10.0.0.2",),
    ]


def test_a_slower_path_carries_as_long_as_its_beats_are_not_older_than_the_time_out() -> None:
    """A witness brings a beat up to two intervals after the LAN did."""

    def slow(detour_ms: int) -> HeartbeatView:
        c = Cluster(settings(3, links=2))
        c.world.network.longer_us["lankhb2"] = detour_ms * 1000
        c.settle()
        c.run(6 * S)
        return server(c, "server1").heartbeats[1]

    path = slow(450)
    assert path.status == "Normal"
    assert all(p.last_seen_s and p.last_seen_s >= 0.45 for p in path.peers.values())
    assert slow(5_000).status == "Error"


def test_a_server_that_lost_power_is_offline_and_the_cluster_wants_care() -> None:
    c = cluster()
    c.power_off("server3")
    c.run(5 * S)
    assert servers(c) == {"server1": "Online", "server2": "Online", "server3": "Offline"}
    assert c.view("server1").cluster.status == "Caution"
    bmc = server(c, "server3").bmc
    assert bmc is not None
    assert (bmc.power, bmc.reachable, bmc.can_prove) == ("off", True, True)


def test_a_server_of_which_nobody_knows_is_unknown() -> None:
    c = cluster(bmc=False)
    c.cut("server3")
    c.run(5 * S)
    assert servers(c)["server3"] == "Unknown"
    assert c.view("server3").cluster.status == "Error", "no majority"


def test_a_group_of_a_server_that_is_not_heard_is_unknown_there_too() -> None:
    c = Cluster(settings(2, bmc=False))
    assert c.settle() == "server1"
    c.cut("server1")
    c.run(10 * S)
    (group,) = c.view("server2").groups
    assert (group.status, group.on) == ("Unknown", {"server1": "Unknown"})


def test_a_server_that_left_is_offline() -> None:
    c = cluster()
    c.answer("server3", ServiceStop())
    c.run(5 * S)
    assert servers(c)["server3"] == "Offline"
    assert c.view("server3").cluster.status == "Stopped"
    assert set(servers(c, "server3").values()) == {"Offline"}


def test_a_starting_newcomer_is_online_pending() -> None:
    c = cluster(bmc=False)
    c.cut("server3")
    c.kill("server3")
    c.hosts["server3"].run = None
    c.perform("wipe server3")
    c.start("server3")
    c.run(2 * S)
    assert servers(c, "server3")["server3"] == "Online Pending"


def test_a_path_that_is_bad_towards_some_is_caution_and_towards_all_is_error() -> None:
    c = cluster()
    c.cut("server1", "server2")
    c.run(8 * S)
    (path,) = server(c, "server1").heartbeats
    assert path.status == "Caution"
    assert {n: p.status for n, p in path.peers.items()} == {
        "server2": "Error",
        "server3": "Normal",
    }
    c.cut("server1", "server3")
    c.run(8 * S)
    (path,) = server(c, "server1").heartbeats
    assert path.status == "Error"


def test_an_arbiter_that_does_not_answer_is_in_error() -> None:
    c = cluster(4, arbiter=Arbiter(name="etcd1", type="etcd"))
    assert [n.status for n in server(c, "server1").np] == ["Normal"]
    c.reach_arbiter()
    c.run(8 * S)
    coordinator = c.coordinator()
    assert [n.status for n in server(c, coordinator, coordinator).np] == ["Error"]


def test_a_group_on_its_way_is_pending_and_its_resources_too() -> None:
    c = cluster()
    c.scripts[("server1", "exec1 stop")] = 3 * S
    c.ask("server1", GroupStop(group="failover1"))
    c.run(500)
    for at in ("server1", "server2"):
        group = c.group(at=at)
        assert (group.status, group.current) == ("Offline Pending", "server1")
    c.run(5 * S)
    assert c.group().status == "Offline"
    assert not c.group().wanted
    assert c.view("server1").cluster.status in ("Normal", "Caution"), "an operator wants it so"


def test_a_group_that_waits_for_proof_makes_the_cluster_error() -> None:
    c = cluster(2)
    c.perform("bmc server1 dead")
    c.power_off("server1")
    c.run(20 * S)
    view = c.view("server2")
    assert view.cluster.status == "Error"
    assert view.groups[0].status != "Online"


def test_a_server_that_boots_while_the_other_is_dark_says_what_it_waits_for() -> None:
    c = cluster(2)
    c.perform("bmc server1 dead")
    c.power_off("server1")
    c.power_off("server2")
    c.power_on("server2")
    c.run(400 * S)
    waiting = c.group(at="server2").waiting_for
    assert waiting is not None
    assert waiting.text == "waits for a majority, or proof that server1 is down"
    assert waiting.server == "server1"
    assert waiting.mend == "clpnode confirm-down server1 --yes"
    assert waits_for_quorum(("server1", "server3")).endswith("server1 and server3 are down")


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["Normal", "Normal"], "Normal"),
        (["Normal", "Error"], "Caution"),
        (["Normal", "Stall"], "Caution"),
        (["Error", "Error"], "Error"),
        (["Error", "Stall"], "Error"),
        (["Stall", "Stall"], "Stall"),
        (["Stall", "Caution"], "Stall"),
        (["Caution", "Normal"], "Caution"),
        (["Normal", "Offline"], "Normal"),
        (["Error", "Offline"], "Error"),
        (["Suspend", "Suspend"], "Suspend"),
        (["Suspend", "Normal"], "Suspend"),
        (["Suspend", "Offline"], "Suspend"),
        (["Suspend", "Error"], "Error"),
        (["Offline", "Offline"], "Offline"),
        (["Unknown", "Unknown"], "Unknown"),
        (["Normal", "Unknown"], "Normal"),
        ([], "Unused"),
    ],
)
def test_one_word_for_a_monitor_on_all_servers(words: list[str], word: str) -> None:
    """Normal if all are, Caution if some are bad, the worst if all are; Suspend shows."""
    assert monitor_word(words) == word


def test_a_fatal_event_on_one_server_is_error_there_and_caution_for_all() -> None:
    c = cluster(monitors=(MRW,))
    c.tell(
        "server2",
        e.HardwareSeen(
            monitor="mrw1",
            key="k",
            duplicate_key="",
            event_class="FATAL",
            meaning="memory: uncorrectable ECC",
            source="192.168.0.11",
        ),
    )
    c.run(1 * S)
    for at in c.cfg.names:
        monitor = c.view(at).monitors[-1]
        assert monitor.status == "Caution"
        assert monitor.servers["server2"].status == "Error"
        assert "uncorrectable" in monitor.servers["server2"].text
        assert [x.event_class for x in server(c, "server2", at).open_events] == ["FATAL"]


def test_a_single_server_is_a_cluster() -> None:
    c = Cluster(settings(1))
    assert c.settle() == "server1"
    assert c.view("server1").cluster.status == "Normal"
    c.kill("server1")
    c.run(2 * S)
    c.start("server1")
    c.run(10 * S)
    assert c.online() == "server1"
    assert c.answer("server1", ServiceStop()).code == 0


def test_thirty_two_servers_take_over_as_well() -> None:
    lengths = {"heartbeat_interval_ms": 1_000, "lease_ms": 2_500, "self_stop_ms": 2_500}
    c = Cluster(settings(32, bmc=False, **lengths))
    for name in c.cfg.names[3:]:
        c.hosts[name].recorder = None  # they are all alike: three journals are replayed
    assert c.settle() == "server1"
    c.power_off("server1")
    c.until(lambda: c.online() == "server2", 30 * S)
    assert c.coordinator() == "server2"


def test_the_servers_on_which_its_start_failed_are_counted_until_it_runs() -> None:
    c = Cluster(settings(3))
    for name in ("server1", "server2"):
        c.scripts[(name, "exec1 start")] = "fail"
    c.run(20 * S)
    assert [c.view(name).groups[0].failures for name in c.hosts] == [2, 2, 2]
    assert c.answer("server3", GroupStart(group="failover1", server="server3")).code == 0
    c.run(1 * S)
    assert c.view("server1").groups[0].failures == 0


def two_copies(c: Cluster) -> None:
    """server2 runs failover1, too, by the grant of before: no rule lets it come to that."""
    with c.changed("server1") as holder, c.changed("server2") as other:
        run = holder.state.lifecycle.runs["failover1"]
        other.state.lifecycle.runs["failover1"] = copy.deepcopy(run)
        run.seen = run.seen._replace(n=run.seen.n + 1)
    c.hosts["server2"].active.update(c.hosts["server1"].active)
    c.world.check.changed(c.hosts["server2"])


def test_two_servers_that_run_a_group_are_an_error_wherever_anybody_looks() -> None:
    """By a fault of ours, or of whoever vouched for a server: it must never be, and is told."""
    c = cluster(breaks=("I1",))
    assert c.online() == "server1"
    two_copies(c)
    c.scripts["server2", "exec1 stop"] = 10_000
    c.run(2 * S)
    for at in c.cfg.names:
        (group,) = c.view(at).groups
        assert (group.status, group.copies) == ("Error", ("server1", "server2"))
        assert group.current == "server1"
        assert c.view(at).cluster.status == "Error"
        assert [name for name, _ in alerts(c)].count(at) == 1
    _, record = alerts(c)[0]
    assert (record.level, record.subjects) == ("ERROR", ("failover1", "server1", "server2"))
    assert record.text == (
        "CRITICAL: failover1 runs on server1 and server2 at once: its data is at risk. "
        "The older copy is told to stop; where that failed, mend it, then: clpgrp -t failover1 -h "
        "server2"
    )
    c.run(10 * S)
    for at in c.cfg.names:
        assert c.view(at).groups[0].status == "Online"
        assert c.view(at).cluster.status == "Normal"
    assert [r.level for _, r in alerts(c)] == ["ERROR"] * 3 + ["WARN"] * 3


def test_a_server_that_stops_at_once_what_another_has_by_a_newer_grant_tells_it() -> None:
    c = cluster(breaks=("I1",))
    two_copies(c)
    c.scripts["server2", "exec1 stop"] = 300  # a heartbeat interval, and too short for the others
    c.run(2 * S)
    assert "server2" in [name for name, record in alerts(c) if record.level == "ERROR"]
    assert c.active() == ["server1"]


def test_a_server_without_state_that_stops_what_may_be_left_is_no_second_copy() -> None:
    c = cluster()
    c.kill("server2")
    c.hosts["server2"].run = None
    c.scripts["server2", "exec1 stop"] = 5_000
    c.start("server2")
    c.run(10 * S)
    assert not alerts(c)


def alerts(c: Cluster) -> list[tuple[str, a.Record]]:
    """Records of it, with the servers that made them."""
    return [(n, r) for _, n, r in c.records if r in Kinds(TwoCopies, OneCopy)]


def test_no_move_and_no_failover_looks_like_two_copies() -> None:
    c = cluster()
    for to in ("server2", "server3", "server1"):
        c.ask("server1", GroupMove(group="failover1", to=to))
        for _ in range(100):
            c.run(50)
            assert not any(c.view(at).groups[0].copies for at in c.cfg.names)
    c.power_off("server1")
    for _ in range(100):
        c.run(50)
        assert not any(c.view(at).groups[0].copies for at in c.cfg.names[1:])
    assert c.online() in ("server2", "server3")
    assert not alerts(c)


DEAF = e.ConditionSeen(
    name="trap receiver 10.0.0.1:162",
    text="Trap receiver 10.0.0.1:162: another program has this port",
    monitors=("mrw1",),
)


def test_what_is_not_well_on_a_server_makes_it_caution_for_all_until_it_is_over() -> None:
    c = cluster(monitors=(MRW,))
    c.tell("server2", DEAF)
    c.run(6 * S)
    for at in c.cfg.names:
        view = c.view(at)
        assert view.cluster.status == "Caution"
        assert servers(c, at) == {"server1": "Online", "server2": "Caution", "server3": "Online"}
        (found,) = server(c, "server2", at).conditions
        assert found.text == DEAF.text and found.since_s > 5
        mrw = next(m for m in view.monitors if m.name == "mrw1")
        assert mrw.status == "Caution" and mrw.servers["server2"].text == DEAF.text
        assert mrw.servers["server1"].status == "Normal"
    c.tell("server2", e.ConditionSeen(name=DEAF.name))
    c.run(6 * S)
    assert {c.view(at).cluster.status for at in c.cfg.names} == {"Normal"}
    assert not server(c, "server2").conditions


def test_conditions_are_bounded_and_decide_nothing() -> None:
    c = cluster(monitors=(MRW,))
    here = c.online()
    for number in range(100):
        c.tell(here, e.ConditionSeen(name=f"disk {number}", text="full"))
    c.run(6 * S)
    assert len(server(c, here).conditions) == 16
    assert c.online() == here
