"""Notices that no story of another test tells."""

from __future__ import annotations

from typing import Any

import pytest

from clptools.core import notices
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.messages import Beat
from clptools.core.model.requests import ServiceStop
from clptools.core.model.settings import Monitor, Recovery
from clptools.core.notices.form import Notice
from tests.core.alone import Alone
from tests.core.cluster import Cluster, S, names, settings


def genw(**recovery: Any) -> Monitor:
    """A monitor whose recovery is a script."""
    made = Recovery(action="script", script="/x/mend.sh", **recovery)
    return Monitor(name="genw1", type="genw", servers=names(2), recovery=made)


def mrw() -> Monitor:
    """A monitor of messages from NICs."""
    return Monitor(name="mrw1", type="mrw", servers=names(2), category="NIC")


def one(*monitors: Monitor) -> Alone:
    """server1, member for long, alone."""
    return Alone(settings(2, monitors=monitors), member=True)


def test_another_agent_of_the_same_name_is_told() -> None:
    me = one()
    me.tell(
        e.BeatSeen(
            link="lankhb1",
            beat=Beat(sender="server1", to="server2", incarnation="twin", seq=1, sent_at=1),
        )
    )
    (text,) = me.said(notices.cluster.DuplicateName)
    assert text.startswith("Another agent calls itself server1 as well; it is not listened to.")


def test_a_path_that_is_about_to_time_out_is_told_by_its_own_module() -> None:
    c = Cluster(settings(2))
    c.settle()
    c.cut("server1", "server2")
    c.until(lambda: bool(c.said(notices.cluster.HeartbeatsLate)))
    late = [r for _, _, r in c.records if r.code == notices.cluster.HeartbeatsLate.code()]
    assert {(r.module, r.event_id, r.level) for r in late} == {("lankhb", 71, "WARN")}
    assert late[0].text.startswith("Heartbeats of server")


def test_a_path_that_is_cut_is_told_with_what_still_carries_and_when_it_is_back() -> None:
    c = Cluster(settings(2, links=2))
    c.settle()
    cut, other = (link.name for link in c.world.settings.interconnects)
    c.world.network.cut("server1", "server2", cut)
    c.until(lambda: len(c.said(notices.cluster.PathSilent)) == 2)
    c.run(10 * S)
    silent = c.said(notices.cluster.PathSilent)
    assert len(silent) == 2, "once on each server, while it lasts"
    assert f"no longer arrive on {cut} of server" in silent[0]
    assert f"; they still arrive on {other}." in silent[0]
    assert not c.said(notices.cluster.PathHeard)
    c.world.network.heal()
    c.until(lambda: len(c.said(notices.cluster.PathHeard)) == 2)
    assert f"arrive on {cut} of server" in c.said(notices.cluster.PathHeard)[0]
    assert not c.said(notices.cluster.ServerLost)


def test_paths_that_return_one_after_the_other_are_not_told_of_apart() -> None:
    c = Cluster(settings(2, links=2))
    c.settle()
    _, second = (link.name for link in c.world.settings.interconnects)
    c.world.network.cut("server1", "server2")
    c.until(lambda: len(c.said(notices.cluster.ServerLost)) == 2)
    c.run(10 * S)
    c.world.network.heal()
    c.world.network.cut("server1", "server2", second)
    c.until(lambda: len(c.said(notices.cluster.HeardAgain)) == 2)
    c.run(1 * S)
    c.world.network.heal()
    c.run(10 * S)
    assert not c.said(notices.cluster.PathSilent)


def test_rules_that_come_to_no_end_are_told() -> None:
    me = one()
    me.node._report_unsettled()
    (record,) = (r for r in me.node.context.take() if isinstance(r, a.Record))
    assert (record.code, record.level) == (notices.cluster.RulesUnsettled.code(), "ERROR")


def verdict(c: Cluster, status: str) -> None:
    c.tell("server1", e.MonitorResult(monitor="genw1", status=status, text="no answer"))


@pytest.mark.parametrize(
    ("ok", "ended"),
    [
        (True, notices.monitors.RecoveryScriptEnded),
        (False, notices.monitors.RecoveryScriptFailed),
    ],
)
def test_a_recovery_script_begins_and_ends(ok: bool, ended: type[Notice]) -> None:
    c = Cluster(settings(2, monitors=(genw(),)))
    c.settle()
    verdict(c, "error")
    begun = c.said(notices.monitors.RecoveryScriptRuns)
    assert begun == ["server1 runs /x/mend.sh for genw1."]
    script = c.did(a.RunScript)[-1]
    c.tell("server1", e.ScriptDone(token=script.token, ok=ok, text=""))
    assert len(c.said(ended)) == 1


@pytest.mark.parametrize(
    ("ok", "ended", "text"),
    [
        (True, notices.monitors.PreActionEnded, "is through."),
        (False, notices.monitors.PreActionFailed, "failed: it did not end in time."),
    ],
)
def test_a_script_before_the_recovery_is_told_apart(
    ok: bool, ended: type[Notice], text: str
) -> None:
    c = Cluster(settings(2, monitors=(genw(pre_action_script="/x/pre.sh"),)))
    c.settle()
    verdict(c, "error")
    assert c.said(notices.monitors.PreActionRuns) == ["server1 runs /x/pre.sh for genw1."]
    (script,) = c.did(a.RunScript)
    c.tell("server1", e.ScriptDone(token=script.token, ok=ok, timed_out=not ok, text=""))
    assert c.said(ended) == [f"The script for genw1 {text}"]


def test_a_monitor_that_cannot_find_out_is_told() -> None:
    c = Cluster(settings(2, monitors=(genw(),)))
    c.settle()
    verdict(c, "unknown")
    told = c.said(notices.monitors.MonitorUnknown)
    assert told == ["genw1 on server1 went Normal -> Unknown: no answer."]


def test_a_fatal_message_and_a_degradation_are_told_by_their_numbers() -> None:
    me = one(mrw())
    fault = {"monitor": "mrw1", "duplicate_key": "", "source": "192.168.0.10"}
    me.tell(e.HardwareSeen(key="k1", event_class="PERFORMANCE", meaning="a fan is slow", **fault))
    (text,) = me.said(notices.hardware.HardwareDegraded)
    assert text.endswith(" (192.168.0.10) reported a performance degradation: a fan is slow.")
    me.tell(e.MessageSeen(category="NIC", keyword="eth0", text="gone"))
    assert me.said(notices.hardware.MessageFatal) == [
        "NIC on server1 reported a fatal error: gone."
    ]


def test_a_server_that_cannot_stop_a_group_does_not_leave_and_says_so() -> None:
    c = Cluster(settings(2))
    here = c.settle()
    c.scripts[(here, "exec1 stop")] = "fail"
    c.ask(here, ServiceStop(server=here))
    c.until(lambda: bool(c.said(notices.requests.CannotLeave)))
    told = c.said(notices.requests.CannotLeave)
    assert told[0] == f"{here} cannot leave: failover1 could not be stopped."


def test_a_server_that_its_bmc_does_not_switch_on_again_is_told() -> None:
    me = one()
    done = e.FenceDone(server="server2", action="power-on", sent=False, asked_at=me.t, error="")
    me.tell(done)
    told = me.said(notices.safety.ForcedStopStaysOff)
    assert told == ["server2 was stopped and stays off: its BMC did not switch it on."]
