"""While servers or arbiters change, a majority is one in both revisions."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from clptools.core.cluster.revision import OFFER_MS, joining
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.durable import Durable
from clptools.core.model.requests import ServiceStop
from clptools.core.model.settings import Arbiter, Server, Settings
from clptools.core.model.timing import times as times_of
from clptools.core.notices import cluster as notices
from tests.core.alone import Alone
from tests.core.cluster import Cluster, S, settings

ETCD = Arbiter(name="etcd1", type="etcd")
WITNESS = Arbiter(name="witness1", type="witness")
REQUIRED = Arbiter(name="etcd1", type="etcd", required=True)


def test_who_lacks_the_newest_configuration_is_named() -> None:
    older = notices.NotCounted("b", 1, 2).told("a")
    newer = notices.CountsNewer("b", 2, 1).told("a")
    assert older.endswith("it takes part when it has the newest (clpcfctrl --push).")
    assert newer.endswith("it takes part when a has its newer one (on b: clpcfctrl --push).")


def voted(me: Alone, **at: int) -> None:
    """The others answered our asking beats of these instants."""
    for name, when in at.items():
        me.node.state.peers.known[name].vote_at = when


def changed(before: Settings, after: Settings, **more: Any) -> Alone:
    me = Alone(before, durable=Durable(), member=True, **more)
    me.run(4 * S)
    me.tell(e.SettingsChanged(settings=replace(after, revision=2)))
    return me


def has_authority(me: Alone) -> bool:
    return me.t < me.node.authority.until()


def test_two_that_become_four_need_a_majority_of_both() -> None:
    me = changed(settings(2), settings(4))
    voted(me, server3=me.t, server4=me.t)
    assert not has_authority(me), "three of four, but only one of the two before"
    voted(me, server2=me.t)
    assert has_authority(me)


def test_another_arbiter_decides_no_tie_until_all_run_the_new_revision() -> None:
    """One half may still be under the arbiter of before."""
    me = changed(settings(2, arbiter=ETCD), settings(2, arbiter=WITNESS))
    me.node.state.election.arbiter_at = me.t
    assert not has_authority(me)
    voted(me, server2=me.t)
    assert has_authority(me)
    me.run(4 * S, lambda: me.beat("server2", revision=2) and None)
    voted(me, server2=0)
    me.node.state.election.arbiter_at = me.t
    assert has_authority(me)


def test_an_arbiter_that_is_not_required_any_more_leaves_the_votes_of_all() -> None:
    me = changed(settings(3, arbiter=REQUIRED), settings(3))
    voted(me, server2=me.t)
    assert not has_authority(me), "whoever holds it may still rule by it"
    voted(me, server3=me.t)
    assert has_authority(me)


def test_it_ends_when_every_server_that_is_not_out_runs_the_new_one_for_L_and_d() -> None:
    me = changed(settings(2), settings(3))
    me.run(4 * S, lambda: me.beat("server2", revision=2) and None)
    assert me.node.state.revision.names, "server3 is behind"
    me.learned("server3", confirmed="anna")
    me.run(3160 - 250, lambda: me.beat("server2", revision=2) and None)
    assert me.node.state.revision.names
    me.run(500, lambda: me.beat("server2", revision=2) and None)
    assert not me.node.state.revision.names


def test_an_agent_that_finds_another_configuration_at_its_start_counts_both() -> None:
    first = Alone(settings(2), durable=Durable(), member=True)
    written = [x.durable for x in first.of(a.Persist, last=False)][-1]
    again = Alone(settings(4, revision=2), durable=written, member=True)
    assert again.node.state.revision.names == ("server1", "server2")
    kept = [x.durable for x in again.of(a.Persist, last=False)][-1]
    third = Alone(settings(4, revision=2), durable=kept, member=True)
    assert third.node.state.revision.names == ("server1", "server2")
    same = Alone(settings(2), durable=written, member=True)
    assert not same.node.state.revision.names


def why_not(c: Cluster, settings: Settings) -> str:
    """Why server1 refuses a configuration."""
    refusal = c.node("server1").refuses(settings)
    assert refusal is not None
    return refusal.text


def test_a_server_that_takes_part_cannot_be_configured_away() -> None:
    c = Cluster(settings(3))
    c.settle()
    less = settings(2, groups=settings(3).groups, revision=2)
    assert "server3" in why_not(c, less)
    c.power_off("server3")
    c.run(5 * S)
    assert "clpnode confirm-down server3" in why_not(c, less), (
        "it may boot with the old configuration while these two are off"
    )
    with c.changed("server1") as node:
        node.state.peers.known["server3"].confirmed = "anna"
    assert c.node("server1").refuses(less) is None


def test_no_second_change_of_servers_before_the_first_is_through() -> None:
    me = changed(settings(2), settings(3))
    refusal = me.node.refuses(settings(4, revision=3))
    assert refusal is not None and "has not reached" in refusal.text
    assert me.node.refuses(settings(3, revision=3)) is None


def test_a_cluster_grows_and_shrinks_under_its_groups() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    assert c.answer("server3", ServiceStop()).code == 0
    c.perform("revise server1 remove server3 -nobody")
    c.run(10 * S)
    assert c.view("server2").cluster.electorate == ("server1", "server2")
    c.perform("revise server1 add server3 -nobody")
    c.run(30 * S)
    assert c.online() == "server1"
    assert c.view("server2").cluster.electorate == ("server1", "server2", "server3")
    assert not c.node("server1").state.revision.names
    assert not c.node("server3").state.life.newcomer


def test_without_a_configuration_one_is_no_member_and_stands_for_nothing() -> None:
    me = Alone(Settings(), durable=None, member=False)
    me.run(10 * S)
    assert me.node.state.life.newcomer
    me.tell(e.SettingsChanged(settings=settings(3)))
    me.run(5 * S)
    assert me.node.state.life.newcomer
    for name in ("server2", "server3"):
        me.beat(name)
    assert not me.node.state.life.newcomer


def test_one_that_is_configured_away_does_no_harm() -> None:
    me = Alone(settings(3), "server3", durable=Durable(), member=True)
    me.run(5 * S, lambda: me.beat("server1") and None)
    me.tell(e.SettingsChanged(settings=settings(2, revision=2)))
    me.run(10 * S, lambda: me.beat("server1") and None)
    assert not me.node.authority.in_office()


def lengths(cfg: Settings, lease_ms: int, self_stop_ms: int, revision: int = 2) -> Settings:
    cluster = replace(cfg.cluster, lease_ms=lease_ms, self_stop_ms=self_stop_ms)
    return replace(cfg, cluster=cluster, revision=revision)


def bits(me: Alone) -> list[bool]:
    return [x.member for x in me.of(a.SetMember, last=False)]


def others_agree(me: Alone, revision: int = 2) -> None:
    for name in ("server2", "server3"):
        me.beat(name, revision=revision)


@pytest.mark.parametrize(
    ("before", "after"), [((3000, 6000), (5000, 15000)), ((5000, 15000), (3000, 6000))]
)
def test_of_leases_in_change_the_shorter_binds_and_the_longer_is_waited_for(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    old = lengths(settings(3), *before, revision=1)
    me = changed(old, lengths(old, *after))
    times = me.node.times
    assert (times.holder_ms, times.self_stop_ms) == (6000, 6000)
    assert times.clear_by_lease_ms == 2 * 5000 + 15000 + 600
    me.run(6 * S, lambda: others_agree(me))
    assert me.node.times == times_of(lengths(old, *after).cluster)


def test_what_a_longer_lease_gave_is_shortened_with_it() -> None:
    old = lengths(settings(3, watchdog=True), 5000, 15000, revision=1)
    me = Alone(old, durable=Durable(lease_until=1_010_000), member=True)
    me.tell(e.SettingsChanged(settings=lengths(old, 3000, 6000)))
    assert me.node.state.lease.until == 1_010_000 - (2 * 5000 - 2 * 3000)


def test_the_watchdog_is_armed_anew_where_its_time_out_or_method_changes() -> None:
    cfg = settings(3, watchdog=True)
    me = Alone(cfg, durable=Durable(), member=True)
    me.tell(e.WatchdogChanged(armed=True, method="softdog"))
    me.forget()
    me.tell(e.SettingsChanged(settings=replace(cfg, revision=2)))
    assert me.of(a.ArmWatchdog, last=False) == []
    me.tell(e.SettingsChanged(settings=lengths(cfg, 3000, 4000, revision=3)))
    assert [x.timeout_ms for x in me.of(a.ArmWatchdog, last=False)] == [4000 * 9 // 20]
    assert not me.node.state.lease.armed, "it may still have the longer one"
    monitors = tuple(
        replace(m, options={"method": "guard"}) if m.type == "userw" else m for m in cfg.monitors
    )
    me.tell(e.WatchdogChanged(armed=True, method="softdog"))
    me.forget()
    me.tell(e.SettingsChanged(settings=replace(cfg, monitors=monitors, revision=4)))
    me.run(1 * S, lambda: me.beat("server2", revision=4) and None)
    assert not me.sent["server2"].armed, "it is said first"
    assert me.of(a.ArmWatchdog, last=False) == [], "server3 may not know yet"
    me.run(1 * S, lambda: others_agree(me, 4))
    assert [x.method for x in me.of(a.ArmWatchdog, last=False)] == ["guard"]


def test_a_watchdog_that_is_no_longer_wanted_is_fed_until_all_know() -> None:
    cfg = settings(3, watchdog=True)
    me = Alone(cfg, durable=Durable(), member=True)
    me.tell(e.WatchdogChanged(armed=True, method="softdog"))
    others_agree(me, 1)
    me.run(300)
    assert me.sent["server2"].armed
    old = me.sent["server3"]
    me.forget()
    me.tell(e.SettingsChanged(settings=settings(3, watchdog=False, revision=2)))

    def one_is_behind() -> None:
        me.beat("server2")
        me.beat("server3", answers=old)

    me.run(2 * S, one_is_behind)
    assert not me.sent["server2"].armed
    assert me.of(a.DisarmWatchdog, last=False) == [], "server3 answers what was said before"
    assert me.of(a.PetWatchdog, last=False)
    me.run(1 * S, lambda: others_agree(me))
    assert len(me.of(a.DisarmWatchdog, last=False)) == 1


@pytest.mark.parametrize("added", [True, False])
def test_the_lease_binds_by_either_revision_and_clears_only_whom_it_binds(added: bool) -> None:
    """Whether an arbiter comes or goes: the others may have heard of it, or not.

    Whom the lease of before does not bind says so itself: it promises no watchdog.
    """
    without = settings(2, watchdog=True, revision=2 if not added else 1)
    having = settings(2, watchdog=True, arbiter=ETCD, revision=2 if added else 1)
    old, new = (without, having) if added else (having, without)
    me = Alone(old, durable=Durable(), member=True)
    me.tell(e.WatchdogChanged(armed=True, method="softdog"))
    me.beat("server2", armed=True)
    me.run(300)
    me.tell(e.SettingsChanged(settings=new))
    me.beat("server2", armed=old.leases_armed, voters=old.voters, revision=1)
    assert me.node.lease.binds()
    assert me.node.clearance.lease_clears_at(me.node.state.peers.known["server2"], me.t) > 10**12
    me.run(5 * S, lambda: me.beat("server2", armed=True) and None)
    assert me.node.lease.binds() is added
    clears_at = me.node.clearance.lease_clears_at(me.node.state.peers.known["server2"], me.t)
    assert (clears_at < 10**12) is added


def test_from_the_offer_until_all_vote_by_it_the_disk_does_not_say_member() -> None:
    me = Alone(settings(3), durable=Durable(), member=True)
    others_agree(me, revision=1)
    me.forget()
    longer = lengths(settings(3), 5000, 15000)
    me.tell(e.SettingsOffered(settings=longer))
    assert bits(me) == [False]
    me.run(5 * S, lambda: others_agree(me, revision=1))
    assert bits(me) == [False], "they may take it over yet"
    me.tell(e.SettingsChanged(settings=longer))
    me.run(70 * S, lambda: me.beat("server2", revision=2) and None)
    assert bits(me) == [False], "server3 was not told"
    me.run(6 * S, lambda: others_agree(me))
    assert bits(me) == [False, True]


def test_a_change_that_reached_all_is_through_in_seconds() -> None:
    me = Alone(settings(3), durable=Durable(), member=True)
    longer = lengths(settings(3), 5000, 15000)
    me.tell(e.SettingsOffered(settings=longer))
    me.tell(e.SettingsChanged(settings=longer))
    me.run(6 * S, lambda: others_agree(me))
    assert bits(me) == [False, True]


def test_of_two_offers_the_one_not_taken_may_still_be_taken_elsewhere() -> None:
    me = Alone(settings(3), durable=Durable(), member=True)
    longer, other = lengths(settings(3), 5000, 15000), lengths(settings(3), 4000, 15000)
    me.tell(e.SettingsOffered(settings=other))
    me.tell(e.SettingsOffered(settings=longer))
    me.tell(e.SettingsChanged(settings=longer))
    me.run(30 * S, lambda: others_agree(me))
    assert bits(me) == [False]


def test_an_offer_that_is_not_put_in_force_is_forgotten_after_a_minute() -> None:
    me = Alone(settings(3), durable=Durable(), member=True)
    me.tell(e.SettingsOffered(settings=lengths(settings(3), 5000, 15000)))
    me.run(OFFER_MS - S, lambda: others_agree(me, revision=1))
    assert bits(me) == [False]
    me.run(6 * S, lambda: others_agree(me, revision=1))
    assert bits(me) == [False, True]


def test_an_offer_that_changes_no_votes_changes_nothing() -> None:
    me = Alone(settings(3), durable=Durable(), member=True)
    me.tell(e.SettingsOffered(settings=replace(settings(3), groups=(), revision=2)))
    assert bits(me) == []


def test_an_agent_that_starts_in_the_middle_of_a_change_still_doubts() -> None:
    me = Alone(settings(3), durable=Durable(doubt=True, names=settings(3).names), member=False)
    me.run(4 * S, lambda: me.beat("server2") and None)
    assert bits(me) == []
    me.run(6 * S, lambda: others_agree(me, revision=1))
    assert bits(me) == [True]


@pytest.mark.parametrize(
    ("known", "last"),
    [
        ({"a": ("a", "b"), "b": ("a", "b")}, ()),
        ({"a": ("a", "b"), "b": ("a", "b"), "c": ()}, ("c",)),
        # A removed server that still has its list of before comes anew.
        ({"a": ("a", "b"), "b": ("a", "b"), "c": ("a", "b", "c")}, ("c",)),
        # One that is alone with its configuration is the cluster the others come to, whoever asks.
        ({"a": ("a",), "b": ()}, ("b",)),
        ({"a": (), "b": ("b",)}, ("a",)),
        # Of a cluster whose others are not among the servers any more, the last one stays.
        ({"a": ("a", "x"), "b": ()}, ("b",)),
        # Nobody has one: all are told together.
        ({"a": (), "b": ()}, ("a", "b")),
    ],
)
def test_servers_that_join_are_told_last(
    known: dict[str, tuple[str, ...]], last: tuple[str, ...]
) -> None:
    assert joining(tuple(known), known) == last


def test_who_has_a_bmc_is_part_of_who_votes_how() -> None:
    """One without a BMC is admitted after a boot by its disk alone; the others may have it for
    out by that BMC, until all have the same configuration."""
    assert settings(3).voters != settings(3, bmc=False).voters


def readdressed(cfg: Settings, server: str, address: str) -> Settings:
    def moved(s: Server) -> Server:
        assert s.bmc is not None
        return replace(s, bmc=replace(s.bmc, address=address)) if s.name == server else s

    return replace(cfg, servers=tuple(moved(s) for s in cfg.servers), revision=2)


def test_an_off_counts_only_through_the_address_that_is_in_force() -> None:
    """The other one may be another server's."""
    cfg = settings(3)
    assert cfg.servers[1].bmc is not None
    old, new = cfg.servers[1].bmc.where, "192.168.0.99:623"
    me = Alone(cfg, durable=Durable(), member=True)
    me.run(4 * S)
    peer = me.node.state.peers.known["server2"]
    me.power("server2", "off", where=new)
    assert not me.node.peers.is_out("server2"), "by an address that is yet to come"
    me.power("server2", "off", where=old)
    assert me.node.peers.is_out("server2")
    me.tell(e.SettingsChanged(settings=readdressed(cfg, "server2", "192.168.0.99")))
    assert not me.node.peers.is_out("server2"), "what was read through the one before is over"
    assert isinstance(me.last[0], a.Persist)
    assert "server2" not in me.last[0].durable.off
    me.power("server2", "off", where=old)
    assert not me.node.peers.is_out("server2"), "asked before, answered after"
    assert peer.bmc.power == "unknown"
    me.power("server2", "off", where=new)
    assert me.node.peers.is_out("server2")


@pytest.mark.parametrize(("address", "counts"), [("192.168.0.11", True), ("192.168.0.99", False)])
def test_an_agent_that_starts_with_another_address_takes_no_off_of_the_one_before(
    address: str, counts: bool
) -> None:
    cfg = settings(3)
    me = Alone(cfg, durable=Durable(), member=True)
    me.run(4 * S)
    me.power("server2", "off")
    kept = me.node.durable.now()
    again = Alone(readdressed(cfg, "server2", address), at=me.t, durable=kept, member=True)
    assert again.node.peers.is_out("server2") is counts


def test_a_push_that_leaves_a_bmc_where_it_is_forgets_nothing_of_it() -> None:
    cfg = settings(3)
    me = Alone(cfg, durable=Durable(), member=True)
    me.run(4 * S)
    me.power("server2", "off")
    me.tell(e.SettingsChanged(settings=readdressed(cfg, "server3", "192.168.0.99")))
    assert me.node.peers.is_out("server2")


def test_that_a_bmc_lies_is_known_until_the_one_at_the_new_address_reads_on() -> None:
    """Who corrects the address is no reason to believe the next one at once."""
    cfg = settings(3)
    me = Alone(cfg, durable=Durable(), member=True)
    me.run(4 * S)
    me.node.state.peers.known["server2"].bmc.lies = True
    me.tell(e.SettingsChanged(settings=readdressed(cfg, "server2", "192.168.0.99")))
    me.power("server2", "off", where="192.168.0.99:623")
    assert not me.node.peers.is_out("server2")


# ---------------------------------------------------------------------- without some server


def test_a_push_without_a_server_needs_it_gone_or_off_and_voting_alike() -> None:
    cfg = settings(3, revision=1)
    me = Alone(cfg, durable=Durable(), member=True)
    me.run(4 * S)
    alike = replace(cfg, groups=(), revision=2)
    other = lengths(cfg, 5000, 15000)
    unready = me.node.revision.unready
    assert unready(alike, "server2", False) == "it is not proven down"
    assert unready(alike, "server2", True) == ""
    assert unready(alike, "server9", True) == "it is not proven down", "it joins"
    me.power("server2", "off")
    assert unready(alike, "server2", False) == ""
    for vouched in (False, True):
        why = unready(other, "server2", vouched)
        assert "it may boot with the old configuration and vote by it" in why
    me.node.state.peers.known["server2"].confirmed = "anna"
    assert unready(other, "server2", False) == ""


def test_who_joins_may_fetch_it_when_all_older_servers_have_it() -> None:
    me = changed(settings(2), settings(3))
    reached = me.node.revision.has_reached
    before = ("server1", "server2")
    assert not reached(before, "server3")
    me.beat("server2", revision=2)
    assert reached(before, "server3")
    assert reached(None, "server3")
    assert not reached(None, "server2"), "of which servers are older, nothing is known here"


def test_a_newcomer_that_hears_a_newer_revision_is_not_admitted_by_time() -> None:
    me = Alone(settings(3, bmc=False, revision=1), durable=None, member=True)
    me.node.state.life.newcomer = True
    me.run(5 * S, lambda: me.beat("server2", revision=2, counts=False) and None)
    assert me.node.state.life.newcomer
    me.tell(e.SettingsChanged(settings=settings(3, bmc=False, revision=2)))
    me.run(S)
    assert not me.node.state.life.newcomer


def test_what_the_agent_finds_wrong_makes_its_server_caution_while_it_lasts() -> None:
    me = Alone(settings(2), durable=Durable(), member=True)
    me.run(2 * S, lambda: me.beat("server2") and None)
    me.tell(e.ConditionSeen(name="configuration", text="clp.toml was edited", mend="Push it"))
    own = me.node.view(me.t).servers[0]
    assert own.status == "Caution"
    assert [(c.name, c.text, c.mend) for c in own.conditions] == [
        ("configuration", "clp.toml was edited", "Push it")
    ]
    assert me.node.view(me.t).cluster.status != "Normal"
    me.tell(e.ConditionSeen(name="configuration"))
    own = me.node.view(me.t).servers[0]
    assert (own.status, own.conditions) == ("Online", ())
