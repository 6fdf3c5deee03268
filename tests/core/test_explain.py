"""Explanations: the story of the present state, and nothing of what went before it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from clptools.api.messages import EventRecord
from clptools.core import phrases as say
from clptools.core.model.actions import Record
from clptools.core.model.view import (
    ArbiterView,
    BmcView,
    ClusterView,
    ConditionView,
    GroupView,
    HeartbeatView,
    MonitorOnServerView,
    MonitorView,
    OpenEventView,
    PeerView,
    ResourceView,
    ServerView,
    StatusView,
    WaitingView,
)
from clptools.core.node import Node
from clptools.core.notices import cluster, groups, hardware, monitors, safety
from clptools.core.notices.form import Notice, record_of
from clptools.core.report.explain import explain, names
from clptools.core.report.story import Story, ago, seen_once
from clptools.sim.clusters import sample
from clptools.sim.verbs import perform
from clptools.sim.world import World

T = 1_000_000.0
"""When the story happens."""
NOW = T + 240.0
_numbers = itertools.count(1)


def clock(at: float) -> str:
    """Seconds after `T`, to be read easily."""
    return f"T{at - T:+.1f}"


def told(
    at: float, server: str, number: tuple[str, int], text: str, *subjects: str, **more: Any
) -> EventRecord:
    """One record, `at` seconds after `T`."""
    return EventRecord(
        cursor=str(next(_numbers)),
        time=T + at,
        server=server,
        module=number[0],
        event_id=number[1],
        level=more.pop("level", "INFO"),
        text=text,
        subjects=subjects,
        **more,
    )


def made(at: float, server: str, notice: Notice, **more: Any) -> EventRecord:
    """One record of a notice, `at` seconds after `T`."""
    record = record_of(notice, server, **more)
    return told(
        *(at, server, (record.module, record.event_id), record.text),
        *record.subjects,
        level=record.level,
        because=record.because,
        event=record.event,
        code=record.code,
    )


def view(**changes: Any) -> StatusView:
    """Two servers, failover1 on server2, mrw1 in Error on server1 by event 4711."""
    opened = OpenEventView(
        id=4711,
        event_class="FATAL",
        meaning="processor 1: internal error (IERR)",
        first_s=240.0,
        last_s=240.0,
        count=1,
        monitor="mrw1",
    )
    fields: dict[str, Any] = {
        "cluster": ClusterView(name="cluster", status="Caution", coordinator="server1"),
        "servers": (
            ServerView(name="server1", status="Online", local=True, open_events=(opened,)),
            ServerView(name="server2", status="Online"),
        ),
        "groups": (
            GroupView(
                name="failover1",
                status="Online",
                current="server2",
                epoch=9,
                since_s=239.5,
                resources=(ResourceView(name="exec1", type="exec", status="Online"),),
            ),
        ),
        "monitors": (
            MonitorView(
                name="mrw1",
                type="mrw",
                status="Caution",
                servers={
                    "server1": MonitorOnServerView(
                        status="Error", text="processor 1: internal error (IERR)"
                    ),
                    "server2": MonitorOnServerView(status="Normal"),
                },
            ),
        ),
    }
    return StatusView(**{**fields, **changes})


def first_stay() -> list[EventRecord]:
    """failover1 starts on server1, long before; a monitor blips and is well again."""
    return [
        told(-9000, "server1", ("rc", 64), "server1 granted epoch 8.", "failover1", "server1"),
        told(-9000, "server1", ("rc", 10), "server1 starts.", "failover1", "server1"),
        told(-8999, "server1", ("rc", 11), "server1 has started.", "failover1", "server1"),
        told(-5000, "server1", ("mm", 905), "mrw1 went Normal -> Stall.", "mrw1", "server1"),
        told(-4000, "server1", ("mm", 26), "mrw1 went Stall -> Normal.", "mrw1", "server1"),
        told(-3000, "server2", ("nm", 80), "server1 was lost.", "server1"),
        told(-2990, "server2", ("nm", 81), "server1 is heard again.", "server1"),
    ]


def trap_story() -> list[EventRecord]:
    """A fatal trap, recovery, release, grant, start, and the BMC's reset afterwards."""
    fatal = hardware.HardwareFatal("mrw1", "192.168.0.11 on server1", "processor 1: IERR")
    error = monitors.MonitorError("mm", "mrw1", "Normal", "fail over failover1", "")
    granted = groups.GroupGranted("failover1", "server2", 9, "next in failover1's order")
    after = monitors.AfterRecovery("mm", "bmc-reset", "reset", ["failover1"], "mrw1")
    return [
        made(0.0, "server1", fatal, event=4711),
        made(0.01, "server1", error, event=4711),
        made(0.02, "server1", monitors.RecoveryFailsOver("mm", "failover1", "mrw1")),
        made(0.03, "server1", groups.GroupStops("failover1", "")),
        made(0.3, "server1", groups.GroupReleased("failover1", ["exec1", "fip1"], 270, 8)),
        made(
            *(0.31, "server1", granted),
            because=say.proofs("failover1", {"server1": "released"}, 0),
        ),
        told(0.35, "server2", ("rc", 10), "server2 starts failover1.", "failover1", "server2"),
        made(0.5, "server2", groups.GroupOnline("failover1", "fip1, exec1", 150)),
        made(0.6, "server1", after),
    ]


def story(
    subject: str, records: Sequence[EventRecord], status: StatusView | None = None, **changes: Any
) -> Story:
    """The explanation, which there must be."""
    found = explain(subject, status or view(**changes), records, NOW, clock)
    assert found is not None
    return found


def test_a_failover_is_told_from_the_trap_to_the_start() -> None:
    found = story("failover1", [*first_stay(), *trap_story()])
    assert found.state == "failover1 is Online on server2 since T+0.5 (4 min ago), epoch 9."
    texts = [step.text for step in found.because]
    assert texts == [
        "192.168.0.11 on server1 reported a fatal error: processor 1: IERR.",
        "mrw1 on server1 went Normal -> Error; its recovery is: fail over failover1.",
        "server1 gives failover1 up for another server because of mrw1.",
        "server1 stops failover1.",
        "server1 stopped exec1, then fip1 (0.3 s) and released epoch 8 of failover1.",
        (
            "server1 (coordinator) granted epoch 9 of failover1 to server2: next in failover1's "
            "order. server1 is proven not to run failover1: released."
        ),
        "server2 starts failover1.",
        "server2 has started fip1, exec1 of failover1 (0.1 s).",
    ]
    assert found.because[0].event == {"id": 4711, "server": "server1", "monitor": "mrw1"}
    assert found.then == (
        "T+0.6  The BMC of server1 does its reset now: recovery is done (after_recovery = reset).",
        (
            "server1 gets no group while event 4711 is open. "
            "Close it: clpmonctrl --acknowledge -m mrw1 --event 4711"
        ),
    )
    assert found.waiting_for is None


def test_a_resource_explains_itself() -> None:
    found = story("exec1", [*first_stay(), *trap_story()])
    assert found.subject == "exec1"
    assert found.state == "exec1 (exec, of failover1) is Online on server2."
    assert [step.server for step in found.because] == ["server2"]
    assert found.then == ()


@pytest.mark.parametrize(
    ("status", "of_group", "mend"),
    [
        ("Offline", "Online", "Start it: clprsc -s exec1"),
        ("Online Failure", "Online", "Mend it, then start it: clprsc -s exec1"),
        (
            "Offline Failure",
            "Offline Failure",
            "Mend what could not be stopped, then: clpgrp -t failover1 -f",
        ),
        (
            "Offline",
            "Error",
            "It starts and stops with its group: clpstat --explain failover1",
        ),
    ],
)
def test_a_resource_that_is_not_well_has_its_mend(status: str, of_group: str, mend: str) -> None:
    group = msgspec.structs.replace(
        view().groups[0],
        status=of_group,
        resources=(ResourceView(name="exec1", type="exec", status=status),),
    )
    assert story("exec1", [], groups=(group,)).then == (mend,)


def heard(name: str, other: str, word: str, age_s: float, **changes: Any) -> ServerView:
    """A server with one interconnect, on which it hears another one or does not."""
    beat = HeartbeatView(
        name="lankhb1",
        type="lankhb",
        status=word,
        peers={other: PeerView(status=word, last_seen_s=age_s)},
    )
    return ServerView(name=name, heartbeats=(beat,), **changes)


def test_a_heartbeat_explains_itself() -> None:
    servers = (
        heard("server1", "server2", "Error", 12.0, status="Caution", local=True),
        heard("server2", "server1", "Normal", 0.1, status="Online"),
    )
    late = cluster.HeartbeatsLate("lankhb", "server2", "lankhb1", 2400, 3000, 80)
    found = story("lankhb1", [made(1.0, "server1", late), *first_stay()], servers=servers)
    assert found.state == (
        "lankhb1 is Error on server1 and Normal on server2. server1 has not heard server2 for 12 s."
    )
    assert [step.text for step in found.because] == [late.told("server1")]
    (mend,) = found.then
    assert mend == (
        "Look at the cables and switch ports of lankhb1 between server1 and server2, and whether "
        "each has its address there: ip -br address"
    )


def test_a_heartbeat_of_a_server_that_is_away_points_to_that_server() -> None:
    away = HeartbeatView(name="lankhb1", type="lankhb", status="Unknown")
    servers = (
        heard("server1", "server2", "Error", 12.0, status="Caution", local=True),
        ServerView(name="server2", status="Unknown", heartbeats=(away,)),
    )
    found = story("lankhb1", [], servers=servers)
    assert found.then == ("server2 is Unknown: clpstat --explain server2",)


def test_a_server_that_is_cut_off_says_so_and_why_it_is_caution() -> None:
    servers = (
        heard("server1", "server2", "Error", 12.0, status="Caution", local=True),
        ServerView(name="server2", status="Unknown"),
    )
    found = story("server1", [], servers=servers)
    assert "is cut off: it hears nothing of server2" in found.state
    assert "hears too little on lankhb1" in found.state
    assert found.then == (
        "Look at its cables and switch ports: ip -br link; clpstat -n",
        "What lankhb1 lacks: clpstat --explain lankhb1",
    )


def test_a_server_with_another_authkey_has_the_mend() -> None:
    refused = "datagrams from 192.168.0.2 are refused: the authkey of server2 differs"
    servers = (
        ServerView(name="server1", status="Online", local=True),
        ServerView(name="server2", status="Unknown", refused=refused, refused_mend="Mend it."),
    )
    assert story("server2", [], servers=servers).then == (f"It runs: {refused}. Mend it.",)


def test_the_server_that_has_another_authkey_is_not_sent_to_its_cables() -> None:
    refused = "datagrams from 192.168.0.2 are refused: the authkey of server2 differs"
    servers = (
        heard("server1", "server2", "Error", 12.0, status="Caution", local=True),
        ServerView(name="server2", status="Unknown", refused=refused, refused_mend="Mend it."),
    )
    assert story("server1", [], servers=servers).then == (
        f"What comes is not taken: {refused}. Mend it.",
        "What lankhb1 lacks: clpstat --explain lankhb1",
    )


def test_an_np_resource_explains_itself() -> None:
    def etcd(status: str, **changes: Any) -> tuple[ArbiterView, ...]:
        return (ArbiterView(name="etcd1", type="etcd", status=status, **changes),)

    servers = (
        ServerView(name="server1", status="Online", local=True, np=etcd("Normal", held=True)),
        ServerView(name="server2", status="Online", np=etcd("Error", error="no answer")),
    )
    found = story("etcd1", [], servers=servers)
    assert found.state == (
        "etcd1 is Normal on server1 and Error on server2 (no answer); server1 holds it."
    )
    assert found.then == ("See on server2 whether its endpoint answers: clpcfchk",)


def test_a_move_by_hand_is_told_without_what_monitors_found_before() -> None:
    rehearsal = [
        made(100.0, "server2", monitors.MonitorError("mm", "mrw1", "Normal", "fail over", "")),
        made(100.1, "server2", monitors.GroupStays("failover1", "mrw1", "nobody takes it")),
    ]
    by_hand = [
        made(110.0, "server2", groups.GroupStops("failover1", "root moved it")),
        made(110.3, "server2", groups.GroupReleased("failover1", ["exec1"], 270, 9)),
        made(110.4, "server1", groups.GroupGranted("failover1", "server1", 10, "root moved it")),
        made(110.4, "server1", groups.GroupStarts("failover1", 10)),
        made(110.5, "server1", groups.GroupOnline("failover1", "exec1", 100)),
    ]
    moved = msgspec.structs.replace(view().groups[0], current="server1", epoch=10)
    records = [*first_stay(), *trap_story(), *rehearsal, *by_hand]
    found = story("failover1", records, groups=(moved,))
    assert [step.text for step in found.because] == [record.text for record in by_hand]


def failed_round(at: float, epoch: int) -> list[EventRecord]:
    """It starts nowhere."""
    nowhere = groups.GroupStartsNowhere("failover1", ["server1", "server2"], 30_000)
    return [
        made(at, "server1", groups.GroupStarts("failover1", epoch)),
        made(at + 1, "server1", groups.ResourceStartFailed("failover1", "exec1", "no disk")),
        made(at + 2, "server2", groups.GroupStarts("failover1", epoch + 1)),
        made(at + 3, "server2", groups.ResourceStartFailed("failover1", "exec1", "no disk")),
        made(at + 4, "server1", nowhere),
    ]


def test_servers_that_are_passed_over_are_named_with_the_mend() -> None:
    failed = ServerView(
        name="server2",
        status="Online",
        failed_starts={"failover1": "exec1: no software"},
        unfit=("failover1",),
    )
    servers = (*(s for s in view().servers if s.name != "server2"), failed)
    group = msgspec.structs.replace(view().groups[0], status="Online", current="server1")
    found = story("failover1", [], groups=(group,), servers=servers)
    (passed_over,) = found.then
    assert passed_over == (
        "server2 is passed over for failover1 for 10 min, as its start would fail there again "
        "(exec1: no software). Once that is mended: clpgrp -m failover1 -a server2"
    )


def test_of_starts_that_fail_the_newest_round_is_told_with_cause_and_mend() -> None:
    rounds = [failed_round(-300.0 + 50 * n, 10 + 2 * n) for n in range(9)]
    failed = {"failover1": "exec1: no disk"}
    servers = tuple(
        ServerView(name=name, status="Online", failed_starts=failed)
        for name in ("server1", "server2")
    )
    group = msgspec.structs.replace(view().groups[0], status="Error", current=None, failures=2)
    records = [record for each in rounds for record in each]
    found = story("failover1", records, groups=(group,), servers=servers)
    assert [step.text for step in found.because] == [record.text for record in rounds[-1]]
    assert found.state == (
        "failover1 is Error: it could not be started on server1 (exec1: no disk) and server2 "
        "(exec1: no disk)."
    )
    assert found.then == ("Mend what could not be started, then: clpgrp -s failover1",)


def test_a_lost_server_and_its_proof_are_part_of_the_story() -> None:
    records = [
        *first_stay(),
        made(0.0, "server2", cluster.ServerLost("server1", 3000, ["lanhb1"])),
        told(0.5, "server2", ("rc", 65), "failover1 waits for proof.", "failover1"),
        made(100.0, "server2", safety.ConfirmedDown("server1", "root", "")),
        told(100.1, "server2", ("rc", 64), "server2 granted epoch 9.", "failover1", "server2"),
        told(100.1, "server2", ("rc", 10), "server2 starts failover1.", "failover1", "server2"),
        told(100.3, "server2", ("rc", 11), "server2 has started.", "failover1", "server2"),
    ]
    texts = [step.text for step in story("failover1", records).because]
    assert texts[0] == "server1 was last heard 3.0 s ago on lanhb1: it is lost."
    assert texts[2].startswith("root confirmed that server1 is down")
    assert len(texts) == 6


def test_a_planned_move_tells_what_was_expected_and_of_its_plan() -> None:
    """Minutes or days before the move, and nothing of what was planned and called off before."""
    drive = "drive slot 2: predictive failure"

    def seen(at: float, meaning: str, event: int) -> EventRecord:
        found = hardware.HardwarePredicted("mrw1", "BMC of server1", meaning)
        return made(at, "server1", found, event=event)

    def plan(at: float, meaning: str) -> EventRecord:
        to, when = "server2", "Tue 02:00-04:00"
        told = groups.MovePlanned("failover1", "server1", to, when, "mrw1", meaning)
        return made(at, "server2", told, because=("server2 could take it now.",))

    begins = groups.PlannedMoveBegins("failover1", "server1", "server2", "mrw1", drive)
    why = "planned, as mrw1 expects a failure"
    records = [
        made(0.0, "server1", groups.GroupStarts("failover1", 8)),
        made(0.2, "server1", groups.GroupOnline("failover1", "fip1, exec1", 150)),
        *(seen(9_000.0, "memory", 1), plan(9_000.1, "memory")),
        *(seen(10_000.0, drive, 2), plan(10_000.1, drive)),
        made(40_000.0, "server2", begins),
        made(40_000.0, "server1", groups.GroupStops("failover1", why)),
        made(40_000.3, "server2", groups.GroupGranted("failover1", "server2", 9, why)),
        made(40_000.3, "server2", groups.GroupStarts("failover1", 9)),
        made(40_000.5, "server2", groups.GroupOnline("failover1", "fip1, exec1", 150)),
    ]
    steps = [step.text for step in story("failover1", records).because]
    assert steps[:2] == [
        f"BMC of server1 reported a predicted failure: {drive}.",
        (
            "failover1 is to move from server1 to server2 in the next quiet window "
            f"(Tue 02:00-04:00), because mrw1 expects a failure on server1: {drive}. "
            "server2 could take it now. Call it off: clpgrp --cancel failover1"
        ),
    ]
    assert steps[2].startswith("The planned move of failover1 from server1 to server2 begins")
    assert len(steps) == 7


def test_a_loss_that_two_servers_saw_is_told_once() -> None:
    def lost(at: float, by: str, ago_ms: int) -> EventRecord:
        return made(at, by, cluster.ServerLost("server1", ago_ms, ["lanhb1"]))

    def heard(at: float, by: str) -> EventRecord:
        return made(at, by, cluster.HeardAgain("server1"))

    records = [
        *(lost(0.0, "server2", 3000), lost(0.1, "server3", 3100)),
        *(heard(5.0, "server3"), heard(5.1, "server2")),
        *(lost(9.0, "server3", 3000), lost(19.0, "server3", 3000)),
    ]
    assert [(by, record.text) for record, by in seen_once(records)] == [
        (["server2", "server3"], "server1 was last heard 3.0 s ago on lanhb1: it is lost."),
        (["server3", "server2"], "server1 is heard again."),
        (["server3"], "server1 was last heard 3.0 s ago on lanhb1: it is lost."),
        (["server3"], "server1 was last heard 3.0 s ago on lanhb1: it is lost."),
    ]
    both = ("server1", "server2")
    copies = [
        made(20.0, "server1", groups.TwoCopies("failover1", both, "stop it")),
        made(20.3, "server2", groups.TwoCopies("failover1", both, "stop it")),
        made(21.0, "server2", groups.OneCopy("failover1", both)),
        made(21.0, "server1", groups.OneCopy("failover1", both)),
    ]
    assert [by for _, by in seen_once(copies)] == [["server1", "server2"], ["server2", "server1"]]
    (step,) = story("failover1", copies[:2], view()).because
    assert step.text.endswith(
        "server1 and server2 say so. The older copy is told to stop; where "
        "that failed, mend it, then: stop it"
    )
    off = view(servers=(ServerView(name="server1", status="Offline"),))
    found = story("server1", records[:2], off)
    assert [step.text for step in found.because] == [
        "server1 was last heard 3.0 s ago on lanhb1: it is lost. server2 and server3 say so."
    ]


def test_a_second_agent_run_that_finds_the_group_begins_no_stay() -> None:
    again = made(50.0, "server2", groups.GroupFound("failover1"))
    found = story("failover1", [*first_stay(), *trap_story(), again])
    assert "since T+0.5" in found.state
    assert found.then[1].endswith("found failover1 running there.")


def test_a_monitor_that_found_nowhere_to_go_earlier_is_left_out() -> None:
    stays = monitors.GroupStays("failover1", "mrw1", say.nowhere)
    stuck = made(-600.0, "server1", stays)
    texts = [s.text for s in story("failover1", [*first_stay(), stuck, *trap_story()]).because]
    assert len(texts) == 8
    assert not any("stays on" in text for text in texts)


def test_a_server_that_booted_during_the_stay_before_is_no_cause_of_this_one() -> None:
    records = [
        *first_stay(),
        made(-150.0, "server2", groups.StopScriptsRun(("failover1",))),
        made(-149.0, "server1", cluster.AuthorityLapsed(1)),
        made(0.0, "server2", cluster.ServerLost("server1", 3000, ["lanhb1"])),
        made(10.0, "server2", safety.ForcedStopBegins("server1", "power-off", "not heard")),
        told(10.1, "server2", ("rc", 64), "server2 granted epoch 9.", "failover1", "server2"),
        told(10.1, "server2", ("rc", 10), "server2 starts failover1.", "failover1", "server2"),
        told(10.3, "server2", ("rc", 11), "server2 has started.", "failover1", "server2"),
    ]
    texts = [step.text for step in story("failover1", records).because]
    assert texts[0] == "server1 was last heard 3.0 s ago on lanhb1: it is lost."
    assert len(texts) == 5


def test_a_waiting_group_says_for_what() -> None:
    waiting = WaitingView(text="waits for proof that it is down on server1", since_s=35.0)
    group = GroupView(name="failover1", status="Offline", current=None, waiting_for=waiting)
    lost = told(204.0, "server2", ("nm", 80), "server1 is lost.", "server1")
    waits = made(205.0, "server2", groups.GroupWaits("failover1", "proof"))
    found = story("failover1", [*first_stay(), lost, waits], view(groups=(group,)))
    assert found.state == (
        "failover1 is Offline and waits for proof that it is down on server1 "
        "since T+205.0 (35 s ago)."
    )
    assert found.waiting_for == waiting.text
    assert [step.text for step in found.because] == [
        "server1 is lost.",
        "failover1 waits for proof.",
    ]


def test_a_group_whose_holder_fell_silent_tells_of_that() -> None:
    """It still counts as running there, and nothing of it was recorded since."""
    group = GroupView(
        name="failover1",
        status="Unknown",
        current="server1",
        waiting_for=WaitingView(text="waits for proof that it does not run on server1"),
        failback="It does not go back to server2 by itself.",
    )
    lost = told(239.0, "server2", ("nm", 80), "server1 is lost.", "server1")
    found = story("failover1", [*first_stay(), lost], view(groups=(group,)))
    assert [step.text for step in found.because] == ["server1 is lost."]
    assert group.failback not in found.then, "where it would rather be is no matter now"


def test_a_group_stopped_by_hand_says_how_to_start_it() -> None:
    group = GroupView(name="failover1", status="Offline", current=None, wanted=False)
    stop = [
        told(0.0, "server1", ("rc", 20), "server1 stops failover1.", "failover1", "server1"),
        told(0.2, "server1", ("rc", 21), "server1 stopped exec1.", "failover1", "server1"),
    ]
    found = story("failover1", [*first_stay(), *stop], view(groups=(group,)))
    assert found.state == "failover1 is Offline and stays so until it is started."
    assert [step.text for step in found.because] == [r.text for r in stop]
    assert found.then[-1] == "Start it: clpgrp -s failover1"


def test_without_any_record_the_state_is_still_told() -> None:
    found = story("failover1", [])
    assert found.state == "failover1 is Online on server2 since T+0.5 (4 min ago), epoch 9."
    assert found.because == ()


def test_a_very_long_chain_keeps_its_beginning_and_its_end() -> None:
    fails = [
        told(n / 10, "server1", ("rc", 32), f"exec1 failed {n}.", "failover1", "exec1", "server1")
        for n in range(500)
    ]
    end = told(60.0, "server2", ("rc", 11), "server2 has started.", "failover1", "server2")
    texts = [step.text for step in story("failover1", [*fails, end]).because]
    assert len(texts) == 30
    assert texts[0] == "exec1 failed 0." and texts[-1] == "server2 has started."


def test_a_monitor_tells_what_made_it_bad_since_it_was_well() -> None:
    found = story("mrw1", [*first_stay(), *trap_story()])
    assert found.state == (
        "mrw1 is Caution: Error on server1 (processor 1: internal error (IERR)) "
        "and Normal on server2."
    )
    assert found.because[0].text.startswith("192.168.0.11 on server1 reported a fatal error")
    assert not any("Stall" in step.text for step in found.because)
    assert found.then[0].startswith("Event 4711 is open on server1")


def test_a_suspension_that_ended_before_a_monitor_went_bad_is_no_cause_of_that() -> None:
    earlier = [
        made(-900.0, "server1", monitors.MonitorSuspended("mrw1", "root")),
        made(-800.0, "server1", monitors.MonitorResumed("mrw1", "root", "")),
    ]
    texts = [step.text for step in story("mrw1", [*earlier, *trap_story()]).because]
    assert texts == [step.text for step in story("mrw1", trap_story()).because]

    # What it met with meanwhile is the cause where nothing newer is.
    meanwhile = [made(-800.0, "server1", monitors.MonitorResumed("mrw1", "root", "Error"))]
    (told_of,) = [step.text for step in story("mrw1", meanwhile).because]
    assert "nothing is recovered of what happened meanwhile" in told_of


@pytest.mark.parametrize(
    ("suspended", "mend"),
    [
        (False, "Resume it: clpmonctrl -r -m mrw1 -h server1"),
        (True, "The cluster is suspended: no monitor acts. Resume it: clpcl --resume"),
    ],
)
def test_a_suspended_monitor_tells_the_command_that_resumes_it(suspended: bool, mend: str) -> None:
    of_cluster = ClusterView(
        name="cluster", status="Caution", coordinator="server1", suspended=suspended
    )
    there = {"server1": MonitorOnServerView(status="Suspend")}
    monitor = MonitorView(name="mrw1", type="mrw", status="Suspend", servers=there)
    found = story("mrw1", [], view(cluster=of_cluster, monitors=(monitor,)))
    assert [line for line in found.then if "esume" in line] == [mend]


def test_a_server_that_is_away_tells_since_when_and_what_its_bmc_says() -> None:
    servers = (
        ServerView(
            name="server1",
            status="Offline",
            bmc=BmcView(address="192.168.0.11", power="off", reachable=True),
        ),
        ServerView(name="server2", status="Online", local=True),
    )
    lost = told(0.0, "server2", ("nm", 80), "server1 is lost.", "server1")
    off = made(0.4, "server2", cluster.ServerReadsOff("server1"))
    of_cluster = ClusterView(name="cluster", status="Error", coordinator="server2")
    status = view(cluster=of_cluster, servers=servers, groups=())
    found = story("server1", [*first_stay(), lost, off], status)
    assert found.state == "server1 is Offline and its BMC 192.168.0.11 reads off."
    assert [step.text for step in found.because] == [lost.text, off.text]


def test_a_server_that_has_just_started_says_what_it_lacks() -> None:
    servers = (ServerView(name="server1", status="Online", newcomer=True, lacks=("server2",)),)
    found = story("server1", [], view(servers=servers))
    assert found.then == ("It has just started: it takes part when server2 counts it, or is out.",)


def test_an_unknown_name_has_no_story_but_all_known_names_do() -> None:
    assert explain("failover9", view(), [], NOW, clock) is None
    for name in names(view()):
        assert explain(name, view(), trap_story(), NOW, clock) is not None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-1.0, "0.0 s"), (0.34, "0.3 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min")),
        *((3_599.0, "59 min"), (3_600.0, "1 h 0 min"), (90_000.0, "1 d 1 h")),
    ],
)
def test_how_long_ago(seconds: float, text: str) -> None:
    assert ago(seconds) == text


# What real cores record, in virtual time, told again.


class Rehearsal:
    """Two real cores in the simulator, and every record they make."""

    def __init__(self) -> None:
        self.records: list[EventRecord] = []
        self.world = World(sample("2bmc"), 1, Node, Node)
        self.world.executor.do[Record] = self._keep
        for line in ("start server1 server2", "advance 60"):
            perform(self.world, line)

    def _keep(self, host: Any, action: Record, _now: int) -> None:
        self.records.append(
            told(
                *(self._wall() - T, host.name, (action.module, action.event_id), action.text),
                *action.subjects,
                level=action.level,
                because=action.because,
                event=action.event,
                code=action.code,
            )
        )

    def _wall(self) -> float:
        return T + self.world.t / 1_000_000

    def tell(self, subject: str, server: str, *lines: str) -> Story:
        """What `server` explains after these lines of a scenario."""
        for line in lines:
            perform(self.world, line)
        host = self.world.hosts[server]
        assert host.node is not None
        view = host.node.view(host.now(self.world.t))
        found = explain(subject, view, self.records, self._wall(), clock)
        assert found is not None
        return found


def test_the_first_start_of_a_group_is_told() -> None:
    found = Rehearsal().tell("failover1", "server2")
    assert found.state.startswith("failover1 is Online on server1 since ")
    texts = [step.text for step in found.because]
    assert "granted epoch 1 of failover1 to server1" in texts[0]
    assert "has started" in texts[-1]


def test_a_power_loss_is_told_with_its_proof() -> None:
    found = Rehearsal().tell("failover1", "server2", "off server1", "advance 6")
    assert found.state.startswith("failover1 is Online on server2 since ")
    texts = [step.text for step in found.because]
    assert texts[0] == "The BMC of server1 read power off."
    assert "server1 is proven not to run failover1: power off." in texts[1]
    assert "has started" in texts[-1]


def test_a_dead_bmc_leaves_a_group_that_waits_and_says_why() -> None:
    lines = ("bmc server1 dead", "off server1", "advance 20")
    found = Rehearsal().tell("failover1", "server2", *lines)
    assert "waits for" in found.state
    assert found.waiting_for is not None
    assert any("is lost" in step.text for step in found.because)


def test_a_trap_is_told_from_the_hardware_to_the_start_elsewhere() -> None:
    lines = ("trap server1 mrw1 FATAL cpu1", "advance 5")
    found = Rehearsal().tell("failover1", "server2", *lines)
    texts = [step.text for step in found.because]
    assert "reported a fatal error" in texts[0]
    assert "went Normal -> Error" in texts[1]
    assert "released epoch 1" in " ".join(texts)
    assert texts[-1].startswith("server2 has started")
    assert found.because[0].event["monitor"] == "mrw1"


def test_an_event_number_used_twice_is_closed_on_the_named_server() -> None:
    opened = view().servers[0].open_events
    both = tuple(
        ServerView(name=name, status="Online", open_events=opened)
        for name in ("server1", "server2")
    )
    found = story("mrw1", trap_story(), view(servers=both))
    assert found.then[0].endswith("clpmonctrl --acknowledge -m mrw1 --event 4711 -h server1")


@pytest.mark.parametrize("subject", ["failover1", "mrw1"])
def test_a_long_story_is_told_within_a_few_heartbeats_time(subject: str) -> None:
    monitors = tuple(f"mrw{n}" for n in range(1, 101))
    status = view(
        monitors=tuple(
            MonitorView(
                name=name,
                type="mrw",
                status="Error",
                servers={"server1": MonitorOnServerView(status="Error")},
            )
            for name in monitors
        )
    )
    records = [
        told(n / 10, "server1", ("rm", 9), "is bad", "failover1", *monitors[:20], event=n + 1)
        for n in range(10_000)
    ]

    def took_s() -> float:
        before = time.process_time()
        assert explain(subject, status, records, NOW, clock) is not None
        return time.process_time() - before

    # The agent sends no heartbeat meanwhile.  Work beside it slows a processor down, for a while.
    assert any(took_s() < 0.06 for _ in range(20))


def test_a_group_that_runs_twice_says_so_and_how_it_ends() -> None:
    (group,) = view().groups
    twice = msgspec.structs.replace(group, status="Error", copies=("server1", "server2"))
    found = explain(group.name, view(groups=(twice,)), (), NOW, clock)
    assert found is not None
    assert (
        found.state
        == "CRITICAL: failover1 runs on server1 and server2 at once: its data is at risk."
    )
    assert found.then[0] == (
        "The older copy is told to stop; where that failed, mend it, then: clpgrp -t failover1 -h "
        "server1"
    )
    assert not any("Mend what could not be stopped" in line for line in found.then)


def test_a_bmc_that_a_person_must_mend_is_part_of_the_story_of_its_server() -> None:
    bmc = BmcView(address="192.168.0.12", error="Incorrect password", mend="Set it.")
    told = [made(-9.0, "server1", cluster.BmcRefuses("server2", "Incorrect password", "Set it."))]
    server = ServerView(name="server2", status="Online", bmc=bmc)
    found = explain("server2", view(servers=(server,)), told, NOW, clock)
    assert found is not None
    assert [step.text for step in found.because] == [
        "server1 cannot ask the BMC of server2: Incorrect password. Set it."
    ]
    why = "Its BMC 192.168.0.12 cannot be asked from here (Incorrect password). Set it."
    assert why in found.then
    lacks = msgspec.structs.replace(bmc, error="", lacks="clp is USER", mend="Raise it.")
    server = msgspec.structs.replace(server, bmc=lacks)
    found = explain("server2", view(servers=(server,)), [], NOW, clock)
    assert found is not None
    assert found.then[0] == "Its BMC 192.168.0.12 cannot stop it (clp is USER). Raise it."


def test_what_is_not_well_on_a_server_is_told_with_its_monitor_and_its_server() -> None:
    deaf = ConditionView(
        name="trap receiver x", text="Port 162 is taken", mend="Stop snmptrapd.",
        monitors=("mrw1",), since_s=90.0,
    )  # fmt: skip
    plain = view()
    one = msgspec.structs.replace(plain.servers[0], status="Caution", conditions=(deaf,))
    status = msgspec.structs.replace(plain, servers=(one, *plain.servers[1:]))
    line = f"On {one.name} for {ago(90.0)}: Port 162 is taken. Stop snmptrapd."
    assert line in story(one.name, [], status).then
    assert line in story("mrw1", [], status).then
    assert line not in story(plain.servers[1].name, [], status).then


def three(status: str, **more: Any) -> StatusView:
    names = ("server1", "server2", "server3")
    return view(
        servers=tuple(
            ServerView(
                name=name,
                local=name == "server1",
                **({"status": status, **more} if name == "server3" else {"status": "Online"}),
            )
            for name in names
        )
    )


def test_what_several_servers_saw_is_told_once_with_who_saw_it() -> None:
    def lost(at: float, server: str, ago_ms: int) -> EventRecord:
        return made(at, server, cluster.ServerLost("server3", ago_ms, ("lanhb1",)))

    told = [lost(-20, "server2", 3000), lost(-9, "server1", 3000), lost(-8.9, "server2", 3100)]
    found = explain("server3", three("Unknown"), told, NOW, clock)
    assert found is not None
    assert [step.text for step in found.because] == [
        "server3 was last heard 3.0 s ago on lanhb1: it is lost.",
        "server3 was last heard 3.0 s ago on lanhb1: it is lost. server1 and server2 say so.",
    ]


@pytest.mark.parametrize(
    ("status", "bmc", "mend"),
    [
        ("Unknown", BmcView(power="on", reachable=True), "clpforcestop server3 --yes"),
        ("Unknown", BmcView(error="no answer"), "clpnode confirm-down server3 --yes"),
        ("Unknown", None, "clpnode confirm-down server3 --yes"),
        ("Offline", BmcView(power="off", reachable=True), "Switch it on"),
        ("Offline", BmcView(power="on", reachable=True), "clpcl -s -h server3"),
    ],
)
def test_a_server_that_is_away_says_what_a_person_can_do(
    status: str, bmc: BmcView | None, mend: str
) -> None:
    found = explain("server3", three(status, bmc=bmc), [], NOW, clock)
    assert found is not None
    assert mend in found.then[-1]
    refused = three(status, bmc=bmc, refused="datagrams are refused", refused_mend="Give it.")
    found = explain("server3", refused, [], NOW, clock)
    assert found is not None
    assert found.then == ("It runs: datagrams are refused. Give it.",)


def test_an_edit_that_was_pushed_or_dropped_is_why_of_nothing() -> None:
    edited = made(1.0, "server1", cluster.FileEdited("clp.toml", "was edited", 1, "Push it."))
    pushed = made(2.0, "server1", cluster.RevisionInForce(2))
    dropped = made(2.0, "server1", cluster.FileAsInForce("clp.toml", 1))
    lost = told(9.0, "server2", ("nm", 80), "server1 is lost.", "server1")
    here = ServerView(name="server1", status="Online", local=True)
    assert [s.text for s in story("server1", [edited], servers=(here,)).because] == [edited.text]
    for settled in (pushed, dropped):
        assert story("server1", [edited, settled], servers=(here,)).because == ()
    gone = (
        ServerView(name="server1", status="Unknown"),
        ServerView(name="server2", status="Online", local=True),
    )
    found = story("server1", [edited, lost], servers=gone)
    assert [step.text for step in found.because] == [lost.text]
