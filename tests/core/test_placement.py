"""Where a group goes, and where it does not: order, health, failback, operators' moves."""

from __future__ import annotations

from clptools.core import notices
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.group_state import purging
from clptools.core.model.messages import Grant, Holding, Order
from clptools.core.model.requests import Acknowledge, GroupMove, GroupStart, GroupStop
from clptools.core.model.settings import Group, Monitor, Recovery, ServerGroup
from tests.core.alone import Alone
from tests.core.cluster import EXEC, FIP, Cluster, S, names, settings


def group(servers: tuple[str, ...], **fields: object) -> Group:
    return Group(name="failover1", servers=servers, resources=(FIP, EXEC), **fields)  # type: ignore[arg-type]


def mrw(count: int, **recovery: object) -> Monitor:
    made = Recovery(action="failover", target="failover1", **recovery)  # type: ignore[arg-type]
    return Monitor(
        name="mrw1", type="mrw", servers=names(count), category="BMCNOTICE", recovery=made
    )


def fatal(c: Cluster, server: str, key: str = "k1") -> None:
    c.tell(
        server,
        e.HardwareSeen(
            monitor="mrw1",
            key=key,
            duplicate_key="",
            event_class="FATAL",
            meaning="processor: thermal trip",
            source="192.168.0.11",
        ),
    )


def test_a_group_starts_on_the_first_of_its_servers() -> None:
    c = Cluster(settings(3, groups=(group(("server3", "server1", "server2")),)))
    assert c.settle() == "server3"


def test_a_server_outside_the_group_never_gets_it() -> None:
    c = Cluster(settings(3, groups=(group(("server1", "server2")),)))
    assert c.settle() == "server1"
    c.power_off("server1")
    c.run(5 * S)
    assert c.settle() == "server2"
    c.power_off("server2")
    c.run(60 * S)
    assert c.active() == []
    refused = c.answer("server3", GroupStart(group="failover1", server="server3"))
    assert refused.code == 6


def test_startup_manual_waits_for_an_operator() -> None:
    c = Cluster(settings(groups=(group(names(2), startup="manual"),)))
    c.run(20 * S)
    assert c.active() == []
    assert c.view("server1").cluster.status == "Normal", "nobody wants it yet"
    assert c.answer("server2", GroupStart(group="failover1")).code == 0
    assert c.online() == "server1"


def test_failover_manual_stays_down_until_an_operator_starts_it() -> None:
    c = Cluster(settings(groups=(group(names(2), failover="manual"),)))
    assert c.settle() == "server1"
    c.power_off("server1")
    c.run(30 * S)
    assert c.active() == []
    waiting = c.group().waiting_for
    assert waiting is not None
    assert "manual" in waiting.text
    assert c.answer("server2", GroupStart(group="failover1", server="server2")).code == 0


def test_failover_manual_is_started_by_a_plain_start_too() -> None:
    c = Cluster(settings(groups=(group(names(2), failover="manual"),)))
    assert c.settle() == "server1"
    c.power_off("server1")
    c.run(30 * S)
    assert c.answer("server2", GroupStart(group="failover1")).code == 0
    assert c.online() == "server2"


def test_dynamic_goes_to_the_server_with_the_fewest_ailing_monitors() -> None:
    genw = Monitor(name="genw1", type="genw", servers=names(3))
    c = Cluster(settings(3, groups=(group(names(3), failover="dynamic"),), monitors=(genw,)))
    assert c.settle() == "server1"
    c.tell("server2", e.MonitorResult(monitor="genw1", status="caution"))
    c.run(1 * S)
    c.power_off("server1")
    c.run(3 * S)
    assert c.settle() == "server3"


def test_dynamic_stays_in_its_server_group_first() -> None:
    pair = (
        ServerGroup(name="room1", servers=("server1", "server3")),
        ServerGroup(name="room2", servers=("server2", "server4")),
    )
    made = group(names(4), failover="dynamic", server_groups=("room1", "room2"))
    from msgspec.structs import replace

    c = Cluster(replace(settings(4, groups=(made,)), server_groups=pair))
    assert c.settle() == "server1"
    c.power_off("server1")
    c.run(3 * S)
    assert c.settle() == "server3"


def test_a_server_with_an_open_fatal_event_receives_no_group() -> None:
    c = Cluster(settings(3, monitors=(mrw(3),)))
    assert c.settle() == "server1"
    fatal(c, "server2")
    c.run(1 * S)
    c.power_off("server1")
    c.run(3 * S)
    assert c.settle() == "server3"


def test_unless_no_other_server_may_run_it() -> None:
    c = Cluster(settings(2, monitors=(mrw(2),)))
    assert c.settle() == "server1"
    fatal(c, "server2")
    c.run(1 * S)
    c.power_off("server1")
    c.run(3 * S)
    assert c.settle() == "server2"


def test_a_move_to_a_barred_server_needs_force() -> None:
    c = Cluster(settings(2, monitors=(mrw(2),)))
    assert c.settle() == "server1"
    fatal(c, "server2")
    c.run(1 * S)
    refused = c.answer("server1", GroupMove(group="failover1", to="server2"))
    assert refused.code == 6
    assert "-f" in refused.hint
    moved = c.answer("server1", GroupMove(group="failover1", to="server2", force=True))
    assert (moved.code, c.online()) == (0, "server2")


def test_failback_manual_stays_where_it_is() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    c.power_off("server1")
    c.run(10 * S)
    c.power_on("server1")
    c.run(60 * S)
    assert c.online() == "server2"


def test_failback_auto_returns_when_the_best_server_has_come_back() -> None:
    c = Cluster(settings(3, groups=(group(names(3), failback="auto"),)))
    assert c.settle() == "server1"
    c.power_off("server1")
    c.run(10 * S)
    assert c.online() == "server2"
    c.power_on("server1")
    c.until(lambda: c.online() == "server1", 60 * S)


def test_failback_auto_waits_until_nothing_may_be_left_there_from_before_the_boot() -> None:
    """It is the last choice until then: sent there, the group would be sent back at once."""
    c = Cluster(settings(3, groups=(group(names(3), failback="auto"),)))
    assert c.settle() == "server1"
    c.power_off("server1")
    c.run(10 * S)
    c.scripts[("server1", "exec1 stop")] = "fail"
    c.power_on("server1")
    c.run(20 * S)
    begun = len(c.done)
    c.run(30 * S)
    assert purging(c.node("server1").groups.runs) == ("failover1",)
    assert c.online() == "server2"
    moved = [x for _, name, x in c.done[begun:] if name == "server2"]
    assert not [x for x in moved if isinstance(x, a.RunResource)]
    c.scripts.clear()
    c.until(lambda: c.online() == "server1", 120 * S)


def test_a_reason_says_why_the_last_choice_was_taken() -> None:
    c = Cluster(settings(), start=False)
    c.scripts[("*", "exec1 stop")] = "fail"
    for name in c.cfg.names:
        c.start(name)
    c.until(lambda: bool(c.online()))
    assert any(
        "may be left there from before the boot" in text
        for text in c.said(notices.groups.GroupGranted)
    )


def test_failback_auto_does_not_undo_an_operators_move() -> None:
    c = Cluster(settings(3, groups=(group(names(3), failback="auto"),)))
    assert c.settle() == "server1"
    assert c.answer("server1", GroupMove(group="failover1", to="server3")).code == 0
    c.run(30 * S)
    assert c.online() == "server3"


def test_failback_auto_does_not_undo_a_recovery() -> None:
    """The monitor that found it ailing there would only find it ailing again."""
    genw = Monitor(
        name="genw1",
        type="genw",
        servers=names(3),
        timing="active",
        target="failover1",
        recovery=Recovery(action="failover", target="failover1"),
    )
    c = Cluster(settings(3, groups=(group(names(3), failback="auto"),), monitors=(genw,)))
    assert c.settle() == "server1"
    c.tell("server1", e.MonitorResult(monitor="genw1", status="error", text="no answer"))
    c.run(30 * S)
    assert c.online() == "server2"


def test_failback_auto_does_not_return_to_where_the_start_failed() -> None:
    c = Cluster(settings(3, groups=(group(names(3), failback="auto"),)))
    c.scripts[("server1", "exec1 start")] = "fail"
    assert c.settle() == "server2"
    c.run(30 * S)
    assert c.online() == "server2"
    c.scripts.clear()
    c.power_off("server1")
    c.run(10 * S)
    c.power_on("server1")
    c.until(lambda: c.online() == "server1", 60 * S)


def test_a_move_without_a_destination_takes_the_next_in_order() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    assert c.answer("server1", GroupMove(group="failover1")).code == 0
    assert c.online() == "server2"


def test_a_move_whose_destination_is_lost_on_the_way_ends_and_is_forgotten() -> None:
    """The group must not leap there hours later, when that server comes back."""
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    c.scripts[("server1", "exec1 stop")] = 2 * S
    number = c.ask("server1", GroupMove(group="failover1", to="server3"))
    c.run(500)
    c.power_off("server3")
    c.until(lambda: number in c.outcomes, 30 * S)
    assert c.outcomes[number].code == 1
    here = c.settle()
    c.power_on("server3")
    c.run(60 * S)
    assert c.online() == here


def test_a_move_to_a_server_that_vanishes_before_the_stop_is_given_up() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server2" or c.online()
    here = c.online()
    coordinator = c.coordinator()
    target = next(n for n in c.cfg.names if n not in (here, coordinator))
    node = c.node(coordinator)
    c.drop = lambda sender, to, message: isinstance(message, Order)
    number = c.ask(coordinator, GroupMove(group="failover1", to=target))
    c.power_off(target)
    if number not in c.outcomes:
        c.until(lambda: number in c.outcomes, 60 * S)
    c.drop = lambda sender, to, message: False
    c.run(10 * S)
    assert node.policy.intent_of("failover1").preferred == ""


def test_a_stopped_group_stays_stopped_over_a_new_coordinator() -> None:
    c = Cluster(settings(3))
    c.settle()
    assert c.answer("server2", GroupStop(group="failover1")).code == 0
    c.run(1 * S)
    c.power_off(c.coordinator())
    c.run(30 * S)
    assert c.active() == []


def test_all_groups_start_stop_and_move_at_once() -> None:
    two = (
        Group(name="failover1", servers=names(2), resources=(FIP, EXEC)),
        Group(name="failover2", servers=("server2", "server1")),
    )
    c = Cluster(settings(groups=two))
    c.settle()
    c.settle("failover2")
    assert (c.online("failover1"), c.online("failover2")) == ("server1", "server2")
    assert c.answer("server1", GroupStop()).code == 0
    assert (c.online("failover1"), c.online("failover2")) == ("", "")
    assert c.answer("server1", GroupStart()).code == 0
    assert (c.online("failover1"), c.online("failover2")) == ("server1", "server2")
    assert c.answer("server2", GroupMove(server="server2")).code == 0
    assert c.online("failover2") == "server1"


def test_moving_all_groups_of_a_server_is_not_about_those_elsewhere() -> None:
    three = (
        Group(name="failover1", servers=("server3", "server1", "server2")),
        Group(name="failover2", servers=("server2", "server1", "server3")),
        Group(name="failover3", servers=("server2", "server3", "server1")),
        Group(name="failover4", servers=names(3), startup="manual"),
    )
    c = Cluster(settings(3, groups=three))
    for name in ("failover1", "failover2", "failover3"):
        c.settle(name)
    assert c.answer("server1", GroupMove(server="server2")).code == 0
    c.run(1 * S)
    assert c.online("failover1") == "server3"
    assert c.online("failover2") == "server1"
    assert c.online("failover3") == "server3"
    assert c.online("failover4") == ""


def test_failover_manual_is_about_lost_servers_not_about_a_monitors_error() -> None:
    c = Cluster(settings(groups=(group(names(2), failover="manual"),), monitors=(mrw(2),)))
    assert c.settle() == "server1"
    fatal(c, "server1")
    c.until(lambda: c.online() == "server2")


def test_failover_manual_still_tries_the_next_server_when_a_start_fails() -> None:
    c = Cluster(settings(groups=(group(names(2), failover="manual"),)))
    c.scripts[("server1", "exec1 start")] = "fail"
    assert c.settle() == "server2"


def test_an_acknowledged_event_lets_the_group_come_again() -> None:
    c = Cluster(settings(2, monitors=(mrw(2),)))
    assert c.settle() == "server1"
    fatal(c, "server1")
    c.until(lambda: c.online() == "server2")
    assert c.answer("server2", Acknowledge(monitor="mrw1")).code == 0
    c.run(1 * S)
    assert c.answer("server2", GroupMove(group="failover1", to="server1")).code == 0


def rule(me: Alone, others: tuple[str, ...] = ("server2", "server3")) -> None:
    """Makes the lone core coordinator: its peers vote and hold nothing."""

    def peers() -> None:
        for name in others:
            me.votes(name)

    me.scripts_end()  # nothing is left from before
    me.run(6 * S, peers)
    assert me.node.authority.in_office()


def test_two_that_say_they_hold_it_the_older_is_told_to_stop() -> None:
    me = Alone(settings(3, groups=(group(("server2", "server3")),)))
    rule(me)
    grant = me.grants[-1][1]
    old = grant.epoch
    new = old._replace(n=old.n + 5)
    for _ in range(3):
        me.votes(
            "server2", holdings=(Holding(group="failover1", seen=old, held=True, state="online"),)
        )
        me.votes(
            "server3", holdings=(Holding(group="failover1", seen=new, held=True, state="online"),)
        )
        me.run(200)
    orders = me.control_of(Order)
    assert [to for to, _ in orders][:1] == ["server2"]
    assert all(to == "server2" for to, _ in orders)


def test_a_grant_is_said_again_until_it_shows_and_never_to_one_that_is_out() -> None:
    me = Alone(settings(3, groups=(group(("server2", "server3")),)))
    rule(me)
    assert len({g.epoch for _, g in me.grants}) < len(me.grants), "it was said again"
    me.run(500, lambda: me.votes("server3"))
    before = len(me.grants)
    me.power("server2", "off")
    me.run(400, lambda: me.votes("server3"))
    later = [(to, g) for to, g in me.grants[before:]]
    assert {to for to, _ in later} <= {"server3"}
    assert later, "the next server is granted it"


def test_a_target_that_is_configured_away_while_granted_does_no_harm() -> None:
    me = Alone(settings(3, groups=(group(("server2", "server3")),)))
    rule(me)
    assert any(isinstance(g, Grant) for _, g in me.grants)
    without = settings(3, groups=(group(("server1", "server3")),), revision=2)
    less = without.__class__(
        **{
            **{f: getattr(without, f) for f in without.__struct_fields__},
            "servers": (without.servers[0], without.servers[2]),
        }
    )
    me.tell(e.SettingsChanged(settings=less))
    me.run(2 * S, lambda: me.votes("server3"))


def test_a_group_that_does_not_go_back_says_why() -> None:
    auto = Group(name="failover1", servers=names(3), failback="auto")
    c = Cluster(settings(3, groups=(auto,)))
    c.settle()

    def why() -> str:
        [group] = c.view("server3").groups
        return group.failback

    assert why() == ""
    assert c.answer("server2", GroupMove(group="failover1", to="server2")).code == 0
    c.run(2 * S)
    assert why() == (
        "It does not go back to server1 by itself (failback = auto): a command or a recovery "
        "moved it. It will once server1 has been away and is back; or now: "
        "clpgrp -m failover1 -a server1"
    )
    c.power_off("server1")
    c.run(20 * S)
    assert why().startswith("It goes back to server1 by itself (failback = auto) as soon as that")
