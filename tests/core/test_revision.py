"""While servers or arbiters change, a majority is one in both revisions."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from clptools.core import events as e
from clptools.core.durable import Durable
from clptools.core.settings import Arbiter, Settings
from tests.core.driver import Alone, Cluster, S, settings

ETCD = Arbiter(name="etcd1", type="etcd")
WITNESS = Arbiter(name="witness1", type="witness")
REQUIRED = Arbiter(name="etcd1", type="etcd", required=True)


def voted(me: Alone, **at: int) -> None:
    """The others answered our asking beats of these instants."""
    for name, when in at.items():
        me.node.state.peers[name].vote_at = when


def changed(before: Settings, after: Settings, **more: Any) -> Alone:
    me = Alone(before, durable=Durable(), member=True, **more)
    me.run(4 * S)
    me.tell(e.SettingsChanged(settings=replace(after, revision=2)))
    return me


def has_authority(me: Alone) -> bool:
    return me.t < me.node.votes.authority_until()


def test_two_that_become_four_need_a_majority_of_both() -> None:
    me = changed(settings(2), settings(4))
    voted(me, server3=me.t, server4=me.t)
    assert not has_authority(me), "three of four, but only one of the two before"
    voted(me, server2=me.t)
    assert has_authority(me)


def test_another_arbiter_decides_no_tie_until_all_run_the_new_revision() -> None:
    """One half may still be under the arbiter of before."""
    me = changed(settings(2, arbiter=ETCD), settings(2, arbiter=WITNESS))
    me.node.state.votes.arbiter_at = me.t
    assert not has_authority(me)
    voted(me, server2=me.t)
    assert has_authority(me)
    me.run(4 * S, lambda: me.beat("server2", revision=2) and None)
    voted(me, server2=0)
    me.node.state.votes.arbiter_at = me.t
    assert has_authority(me)


def test_what_the_old_arbiter_gave_is_nothing_to_the_new_one() -> None:
    me = Alone(settings(2, arbiter=ETCD), durable=Durable(), member=True)
    me.node.state.votes.arbiter_at = me.t
    me.tell(e.SettingsChanged(settings=settings(2, arbiter=WITNESS, revision=2)))
    assert me.node.state.votes.arbiter_at < 0


def test_an_arbiter_that_is_not_required_any_more_leaves_the_votes_of_all() -> None:
    me = changed(settings(3, arbiter=REQUIRED), settings(3))
    voted(me, server2=me.t)
    assert not has_authority(me), "whoever holds it may still rule by it"
    voted(me, server3=me.t)
    assert has_authority(me)


def test_it_ends_when_every_server_that_is_not_out_runs_the_new_one_for_L_and_d() -> None:
    me = changed(settings(2), settings(3))
    me.run(4 * S, lambda: me.beat("server2", revision=2) and None)
    assert me.node.state.revision_names, "server3 is behind"
    me.node.state.peers["server3"].confirmed = "anna"
    me.run(3160 - 250, lambda: me.beat("server2", revision=2) and None)
    assert me.node.state.revision_names
    me.run(500, lambda: me.beat("server2", revision=2) and None)
    assert not me.node.state.revision_names


def test_an_agent_that_finds_another_configuration_at_its_start_counts_both() -> None:
    first = Alone(settings(2), durable=Durable(), member=True)
    from clptools.core import actions as a

    written = [x.durable for x in first.of(a.Persist, last=False)][-1]
    again = Alone(settings(4, revision=2), durable=written, member=True)
    assert again.node.state.revision_names == ("server1", "server2")
    kept = [x.durable for x in again.of(a.Persist, last=False)][-1]
    third = Alone(settings(4, revision=2), durable=kept, member=True)
    assert third.node.state.revision_names == ("server1", "server2")
    same = Alone(settings(2), durable=written, member=True)
    assert not same.node.state.revision_names


def test_a_server_that_takes_part_cannot_be_configured_away() -> None:
    c = Cluster(settings(3))
    c.settle()
    less = settings(2, groups=settings(3).groups, revision=2)
    assert "server3" in c.node("server1").refuses(less)
    c.power_off("server3")
    c.run(5 * S)
    assert "clpnode confirm-down server3" in c.node("server1").refuses(less), (
        "it may boot with the old configuration while these two are off"
    )
    c.node("server1").state.peers["server3"].confirmed = "anna"
    assert c.node("server1").refuses(less) == ""


def test_no_second_change_of_servers_before_the_first_is_through() -> None:
    me = changed(settings(2), settings(3))
    assert me.node.refuses(settings(4, revision=3))
    assert me.node.refuses(settings(3, revision=3)) == ""


def test_a_cluster_grows_and_shrinks_under_its_groups() -> None:
    c = Cluster(settings(2, watchdog=True))
    assert c.settle() == "server1"
    grown = settings(3, groups=c.cfg.groups, revision=2)
    from tests.core.driver import Host

    c.cfg = grown
    c.hosts["server3"] = Host("server3", c.t - 50_000)
    for name in ("server1", "server2"):
        c.tell(name, e.SettingsChanged(settings=grown))
    c.start("server3")
    c.run(30 * S)
    assert c.online() == "server1"
    assert c.view("server2").cluster.electorate == ("server1", "server2", "server3")
    assert not c.node("server1").state.revision_names
    assert not c.node("server3").state.newcomer


def test_without_a_configuration_one_is_no_member_and_stands_for_nothing() -> None:
    me = Alone(Settings(), durable=None, member=False)
    me.run(10 * S)
    assert me.node.state.newcomer
    me.tell(e.SettingsChanged(settings=settings(3)))
    me.run(5 * S)
    assert me.node.state.newcomer
    for name in ("server2", "server3"):
        me.beat(name)
    assert not me.node.state.newcomer


def test_one_that_is_configured_away_does_no_harm() -> None:
    me = Alone(settings(3), "server3", durable=Durable(), member=True)
    me.run(5 * S, lambda: me.beat("server1") and None)
    me.tell(e.SettingsChanged(settings=settings(2, revision=2)))
    me.run(10 * S, lambda: me.beat("server1") and None)
    assert not me.node.votes.in_office()
