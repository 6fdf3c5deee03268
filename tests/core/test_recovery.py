"""From a monitor's error to what is done about it, in the words of the hardware guide."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from clptools.core import notices
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.requests import (
    ExternalNotice,
    GroupStop,
    MonitorResume,
    MonitorSuspend,
    Resume,
    Suspend,
)
from clptools.core.model.settings import Monitor, Recovery, ServerGroup
from tests.core.cluster import Cluster, S, names, settings


def genw(count: int = 3, **recovery: Any) -> Monitor:
    base: dict[str, Any] = {"action": "restart", "target": "failover1"}
    made = Recovery(**{**base, **recovery})
    return Monitor(
        name="genw1",
        type="genw",
        servers=names(count),
        timing="active",
        target="failover1",
        recovery=made,
    )


def mrw(count: int = 3, **recovery: Any) -> Monitor:
    base: dict[str, Any] = {"action": "failover", "target": "failover1"}
    made = Recovery(**{**base, **recovery})
    return Monitor(
        name="mrw1", type="mrw", servers=names(count), category="BMCNOTICE", recovery=made
    )


def cluster(monitor: Monitor, count: int = 3, **cfg: Any) -> Cluster:
    c = Cluster(settings(count, monitors=(monitor,), **cfg))
    assert c.settle() == "server1"
    return c


def error(c: Cluster, server: str = "server1") -> None:
    c.tell(server, e.MonitorResult(monitor="genw1", status="error", text="no answer"))


def fatal(c: Cluster, server: str = "server1", key: str = "k1", **fields: Any) -> None:
    base: dict[str, Any] = {
        "monitor": "mrw1",
        "key": key,
        "duplicate_key": "",
        "event_class": "FATAL",
        "meaning": "processor: thermal trip",
        "source": "192.168.0.10",
    }
    c.tell(server, e.HardwareSeen(**{**base, **fields}))


def stops(c: Cluster, server: str = "server1") -> int:
    return sum(1 for r in c.did(a.RunResource, server) if r.op == "stop" and r.epoch)


def test_script_restart_failover_final_in_this_order_while_counts_last() -> None:
    c = cluster(
        genw(
            action="script",
            script="/x/recover.sh",
            restart_count=2,
            failover_count=1,
            final_action="reboot",
        )
    )
    error(c)
    (script,) = c.did(a.RunScript)
    assert (script.script, c.online()) == ("/x/recover.sh", "server1")
    assert script.environment["CLP_MONITORNAME"] == "genw1"
    c.tell("server1", e.ScriptDone(token=script.token, ok=True))
    for count in (1, 2):
        error(c)
        assert c.node("server1").state.lifecycle.runs["failover1"].state != "online"
        c.until(lambda: c.online() == "server1")
        assert len(c.node("server1").state.monitors["genw1"].restarts) == count
    error(c)
    c.until(lambda: c.online() == "server2")
    assert not c.did(a.HostAction)


def test_the_record_of_an_error_says_what_was_found_before_what_follows() -> None:
    c = cluster(genw())
    error(c)
    (told,) = c.said(notices.monitors.MonitorError)
    assert told.endswith(
        "genw1 on server1 went Normal -> Error: no answer; its recovery is: restart failover1."
    )


def test_the_final_action_follows_when_all_counts_are_used_up() -> None:
    c = cluster(genw(action="restart", restart_count=0, failover_count=0, final_action="reboot"))
    error(c)
    c.until(lambda: bool(c.did(a.HostAction)))
    assert [x.action for x in c.did(a.HostAction, "server1")] == ["reboot"]
    assert c.settle() == "server2"


def test_a_monitor_with_nowhere_to_go_says_so_once() -> None:
    c = cluster(genw(2, action="failover"), 2)
    c.power_off("server2")
    c.run(10 * S)
    for _ in range(4):
        error(c)
        c.run(10 * S)
    assert len(c.said(notices.monitors.GroupStays)) == 1
    c.tell("server1", e.MonitorResult(monitor="genw1", status="normal", text=""))
    error(c)
    c.run(10 * S)
    assert len(c.said(notices.monitors.GroupStays)) == 2
    assert c.online() == "server1"


def test_counts_are_forgotten_after_their_window() -> None:
    c = cluster(genw(restart_count=1, failover_count=0, final_action="reboot", window_ms=30 * S))
    for _ in range(3):
        error(c)
        c.run(40 * S)
        assert c.online() == "server1"
    assert not c.did(a.HostAction)


def test_counts_outlive_the_agent() -> None:
    c = cluster(genw(restart_count=1, failover_count=1))
    error(c)
    c.until(lambda: c.online() == "server1")
    c.kill("server1")
    c.run(200)
    c.start("server1")
    c.run(5 * S)
    error(c)
    c.until(lambda: c.online() == "server2")


def test_a_restart_of_a_resource_takes_those_along_that_need_it() -> None:
    c = cluster(genw(target="fip1", action="restart"))
    before = len(c.did(a.RunResource, "server1"))
    error(c)
    c.run(1 * S)
    did = [f"{r.resource} {r.op}" for r in c.did(a.RunResource, "server1")[before:]]
    assert did == ["exec1 stop", "fip1 stop", "fip1 start", "exec1 start"]
    assert c.online() == "server1"


def test_a_restart_of_the_last_resource_leaves_the_others_alone() -> None:
    c = cluster(genw(target="exec1", action="restart"))
    before = len(c.did(a.RunResource, "server1"))
    error(c)
    c.run(1 * S)
    did = [f"{r.resource} {r.op}" for r in c.did(a.RunResource, "server1")[before:]]
    assert did == ["exec1 stop", "exec1 start"]


def test_recovery_is_skipped_with_an_alert_if_the_target_is_not_active() -> None:
    c = cluster(mrw())
    fatal(c, "server2")
    c.run(2 * S)
    assert c.online() == "server1"
    assert c.said(notices.monitors.RecoveryTargetInactive)


def test_a_target_that_is_not_active_is_told_once_an_incident() -> None:
    always = msgspec.structs.replace(genw(), timing="always", target="")
    c = cluster(always)
    for _ in range(4):
        error(c, "server2")
        c.run(10 * S)
    assert len(c.said(notices.monitors.RecoveryTargetInactive)) == 1
    c.tell("server2", e.MonitorResult(monitor="genw1", status="normal", text=""))
    error(c, "server2")
    assert len(c.said(notices.monitors.RecoveryTargetInactive)) == 2


def test_a_second_message_while_in_error_starts_no_second_recovery() -> None:
    c = cluster(mrw(action="restart"))
    fatal(c, key="k1")
    fatal(c, key="k2")
    c.run(3 * S)
    fatal(c, key="k3")
    c.run(3 * S)
    assert len(c.node("server1").state.monitors["mrw1"].restarts) == 1


def test_a_failover_needs_somewhere_to_go() -> None:
    c = cluster(mrw(2), count=2)
    c.power_off("server2")
    c.run(5 * S)
    before = stops(c)
    fatal(c)
    c.run(5 * S)
    assert (c.online(), stops(c)) == ("server1", before)


@pytest.mark.parametrize("action", ["shutdown", "reboot", "bmc-power-off", "stop-cluster"])
def test_a_final_action_never_takes_the_last_server(action: str) -> None:
    c = cluster(mrw(2, action="final", final_action=action), count=2)
    c.power_off("server2")
    c.run(5 * S)
    fatal(c)
    c.run(10 * S)
    assert c.online() == "server1"
    assert not c.did(a.HostAction)
    assert c.said(notices.monitors.LastServer)


def test_stop_group_stops_it_for_good() -> None:
    c = cluster(mrw(action="final", final_action="stop-group"))
    fatal(c)
    c.run(30 * S)
    assert c.active() == []


def test_stop_resource_stops_it_and_what_depends_on_it_and_nothing_else() -> None:
    c = cluster(mrw(action="final", final_action="stop-resource", target="exec1"))
    fatal(c)
    c.run(30 * S)
    assert c.online() == "server1"
    words = {r.name: r.status for r in c.group().resources}
    assert words == {"fip1": "Online", "exec1": "Offline"}
    below = cluster(mrw(action="final", final_action="stop-resource", target="fip1"))
    before = len(below.did(a.RunResource, "server1"))
    fatal(below)
    below.run(30 * S)
    did = [f"{r.resource} {r.op}" for r in below.did(a.RunResource, "server1")[before:]]
    assert did == ["exec1 stop", "fip1 stop"]


def test_a_suspended_monitor_records_and_does_not_act() -> None:
    c = cluster(mrw())
    assert c.answer("server1", MonitorSuspend(monitors=("mrw1",))).code == 0
    c.run(1 * S)
    for server in ("server1", "server2"):
        monitor = next(m for m in c.view(server).monitors if m.name == "mrw1")
        assert monitor.status == "Suspend", "clpstat -s names it, whoever answers"
        assert monitor.servers["server1"].status == "Suspend"
    fatal(c)
    c.run(3 * S)
    assert c.online() == "server1"
    assert c.view("server1").servers[0].open_events
    assert c.answer("server1", MonitorResume(monitors=("mrw1",))).code == 0
    c.run(3 * S)
    assert c.online() == "server1", "it is shown, the operator decides"
    assert c.view("server1").monitors[-1].servers["server1"].status == "Error"


def test_resuming_the_cluster_recovers_nothing_of_what_happened_meanwhile() -> None:
    c = cluster(mrw())
    c.answer("server1", Suspend())
    fatal(c)
    c.run(1 * S)
    assert c.said(notices.monitors.RecoveryHeldBack)
    assert c.answer("server1", Resume()).code == 0
    c.run(20 * S)
    assert c.online() == "server1"
    assert c.view("server2").monitors[-1].servers["server1"].status == "Error"


@pytest.mark.parametrize("ok", [True, False])
def test_a_pre_action_script_runs_first_and_recovery_goes_on_either_way(ok: bool) -> None:
    c = cluster(mrw(pre_action_script="pre.sh"))
    fatal(c)
    (script,) = c.did(a.RunScript)
    c.run(2 * S)
    assert c.online() == "server1"
    c.tell("server1", e.ScriptDone(token=script.token, ok=ok, timed_out=not ok))
    c.until(lambda: c.online() == "server2")


def test_no_pre_action_script_runs_once_nothing_is_left_that_it_could_precede() -> None:
    c = cluster(
        genw(
            pre_action_script="/x/pre.sh",
            action="failover",
            failover_count=0,
            final_action="stop-group",
        )
    )
    error(c)
    (script,) = c.did(a.RunScript)
    c.tell("server1", e.ScriptDone(token=script.token, ok=True))
    c.run(5 * S)
    for _ in range(3):
        error(c)
        c.run(10 * S)
    assert len(c.did(a.RunScript)) == 1


def test_a_pre_action_script_whose_error_went_away_leads_to_nothing() -> None:
    c = cluster(mrw(pre_action_script="pre.sh"))
    fatal(c)
    (script,) = c.did(a.RunScript)
    fatal(c, event_class="CLEAR")
    c.tell("server1", e.ScriptDone(token=script.token, ok=True))
    c.run(3 * S)
    assert c.online() == "server1"


def test_after_recovery_arms_the_timer_then_stops_then_acts_once_it_runs_elsewhere() -> None:
    c = cluster(mrw(after_recovery="reset", after_recovery_deadline_ms=60 * S))
    c.scripts[("server1", "exec1 stop")] = 3 * S
    fatal(c)
    order = [type(x) for x in c.did(object, "server1")]
    assert order.index(a.ArmDeadman) < len(order) - 1 - order[::-1].index(a.RunResource)
    (timer,) = c.did(a.ArmDeadman)
    assert (timer.action, timer.deadline_ms) == ("reset", 60 * S)
    c.run(2 * S)
    assert not c.did(a.HostAction)
    c.until(lambda: bool(c.did(a.HostAction)))
    assert c.online() == "server2"
    c.run(5 * S)
    assert [x.action for x in c.did(a.HostAction)] == ["bmc-reset"]


def test_a_server_that_its_bmc_resets_after_the_recovery_is_not_powered_off_for_its_silence() -> (
    None
):
    c = cluster(mrw(2, after_recovery="reset"), count=2, forced_stop="power-off")
    fatal(c)
    c.until(lambda: bool(c.did(a.HostAction)))
    assert c.online() == "server2"
    c.reset("server1")
    c.run(9 * S)
    assert not c.did(a.Fence)
    assert c.hosts["server1"].powered
    assert c.online() == "server2"
    c.run(10 * S)
    assert not c.node("server1").state.life.newcomer


def test_the_timer_is_not_armed_where_nothing_fails_over() -> None:
    """Otherwise the BMC would take the group that restarted here, or the last server."""
    c = cluster(mrw(action="restart", after_recovery="reset"))
    fatal(c)
    c.run(3 * S)
    assert c.online() == "server1"
    assert not c.did(a.ArmDeadman)
    c = cluster(mrw(2, after_recovery="reset"), count=2)
    c.power_off("server2")
    c.run(5 * S)
    fatal(c)
    assert not c.did(a.ArmDeadman)


def test_the_bmc_acts_after_the_failover_even_if_the_fault_went_away_meanwhile() -> None:
    c = cluster(mrw(after_recovery="reset", after_recovery_deadline_ms=60 * S))
    c.scripts[("server1", "exec1 stop")] = 3 * S
    fatal(c)
    c.run(1 * S)
    fatal(c, event_class="CLEAR")
    c.until(lambda: bool(c.did(a.HostAction)), 20 * S)


def test_our_own_dead_man_timer_is_information() -> None:
    c = cluster(mrw(after_recovery="reset"))
    fatal(c)
    c.until(lambda: c.online() == "server2")
    before = len(c.node("server1").state.ledger.events)
    fatal(c, key="watchdog", row="23h/6F/1", meaning="watchdog: hard reset")
    assert len(c.node("server1").state.ledger.events) == before
    assert c.said(notices.hardware.HardwareNoted)


def test_a_watchdog_that_we_did_not_arm_is_a_fault() -> None:
    c = cluster(mrw())
    fatal(c, key="watchdog", row="23h/6F/1", meaning="watchdog: hard reset")
    c.until(lambda: c.online() == "server2")


ROOMS = (
    ServerGroup(name="room1", servers=("server1", "server2")),
    ServerGroup(name="room2", servers=("server3", "server4")),
    ServerGroup(name="all", servers=names(4)),
)
"""The last is another group's, and says nothing of this one."""


def in_rooms() -> Cluster:
    made = settings(4, monitors=(mrw(4, failover_outside_server_group=True),), watchdog=True)
    (group,) = made.groups
    group = msgspec.structs.replace(group, server_groups=("room1", "room2"))
    c = Cluster(msgspec.structs.replace(made, groups=(group,), server_groups=ROOMS))
    assert c.settle() == "server1"
    return c


def started_on(c: Cluster) -> set[str]:
    return {n for _, n, x in c.done if isinstance(x, a.RunResource) and x.op == "start"}


def test_failover_outside_the_server_group() -> None:
    c = in_rooms()
    fatal(c)
    c.run(5 * S)
    assert c.online() == "server3"
    assert "server2" not in started_on(c)


def test_outside_the_server_group_a_server_with_a_fatal_event_is_passed_over() -> None:
    c = in_rooms()
    fatal(c, "server3")
    c.run(1 * S)
    fatal(c)
    c.run(5 * S)
    assert c.online() == "server4"


def test_with_no_server_outside_it_fails_over_inside_and_says_so() -> None:
    c = in_rooms()
    for server in ("server3", "server4"):
        fatal(c, server)
    c.run(1 * S)
    fatal(c)
    c.run(5 * S)
    assert c.online() == "server2"
    (given_up,) = [r for r in c.did(a.Record, "server1") if r.code == "RecoveryFailsOver"]
    assert "No server outside its server group" in given_up.because[0]


def test_no_script_comes_before_the_final_action_of_a_linked_monitor() -> None:
    c = cluster(mrw(action="final", final_action="bmc-nmi", pre_action_script="/x/before.sh"))
    fatal(c)
    assert not c.did(a.RunScript)
    assert [x.action for x in c.did(a.HostAction)] == ["bmc-nmi"]
    other = cluster(mrw(action="failover", pre_action_script="/x/before.sh"))
    fatal(other)
    assert [x.script for x in other.did(a.RunScript)] == ["/x/before.sh"]
    own = genw(action="final", target="", final_action="bmc-nmi", pre_action_script="/x/before.sh")
    free = cluster(own)
    error(free)
    assert [x.script for x in free.did(a.RunScript)] == ["/x/before.sh"]


def test_at_most_one_final_action_an_incident() -> None:
    c = cluster(mrw(action="final", final_action="bmc-nmi"))
    c.scripts["server1", "bmc-nmi act"] = "fail"
    for key in ("k1", "k2", "k3"):
        fatal(c, key=key)
        c.run(1 * S)
    assert [x.action for x in c.did(a.HostAction)] == ["bmc-nmi"]
    fatal(c, event_class="CLEAR", closes=("k1", "k2", "k3"))
    fatal(c, key="k4")
    assert len(c.did(a.HostAction)) == 2


def test_active_monitors_run_only_where_and_while_their_target_is_online() -> None:
    c = cluster(genw())
    assert [n for n, h in c.hosts.items() if "genw1" in h.monitors] == ["server1"]
    c.answer("server1", GroupStop(group="failover1"))
    c.run(1 * S)
    assert [n for n, h in c.hosts.items() if "genw1" in h.monitors] == []


def test_a_result_that_comes_after_the_monitor_was_stopped_counts_for_nothing() -> None:
    c = cluster(genw())
    c.answer("server1", GroupStop(group="failover1"))
    error(c)
    assert c.node("server1").state.monitors["genw1"].status == "Normal"


def test_a_fault_that_somebody_takes_back_from_outside_leaves_no_count_behind() -> None:
    monitor = msgspec.structs.replace(mrw(2), category="backup")
    c = cluster(monitor, 2)
    for goes_to in ("server2", "server1"):
        here = c.online()
        assert c.answer(here, ExternalNotice(category="backup", text="tape")).code == 0
        c.until(lambda goes_to=goes_to: c.online() == goes_to)  # type: ignore[misc]
        assert c.answer(here, ExternalNotice(category="backup", clear=True)).code == 0
    assert not c.node("server1").state.monitors["mrw1"].failovers
    assert not c.node("server2").state.monitors["mrw1"].failovers
