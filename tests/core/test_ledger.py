"""Open hardware events: what opens, folds, closes, and what the monitor's word is then."""

from __future__ import annotations

from typing import Any

import pytest

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.monitor_state import bars
from clptools.core.model.requests import Acknowledge, ExternalNotice, RequestBase
from clptools.core.model.settings import Monitor, Recovery
from clptools.core.monitors import event_ledger as ledger
from clptools.core.notices import hardware as notices
from clptools.core.notices.form import Notice
from tests.core.alone import Alone
from tests.core.cluster import S, settings


def mrw(name: str = "mrw1", category: str = "BMCNOTICE", **fields: Any) -> Monitor:
    base: dict[str, Any] = {
        "name": name,
        "type": "mrw",
        "servers": ("server1", "server2"),
        "category": category,
        "recovery": Recovery(action="final"),
    }
    return Monitor(**{**base, **fields})


class Box(Alone):
    """One server with message receive monitors."""

    def __init__(self, *monitors: Monitor, **started: Any) -> None:
        super().__init__(settings(2, monitors=monitors or (mrw(),)), **started)
        self.asked = 0

    def trap(self, event_class: str, key: str = "k1", **fields: Any) -> None:
        base: dict[str, Any] = {
            "monitor": "mrw1",
            "key": key,
            "duplicate_key": "",
            "event_class": event_class,
            "meaning": f"{event_class} {key}",
            "source": "192.168.0.10",
        }
        self.tell(e.HardwareSeen(**{**base, **fields}))

    @property
    def open(self) -> list[str]:
        return [x.key for x in self.node.state.ledger.events.values()]

    def status(self, name: str = "mrw1") -> str:
        return str(self.node.monitor_runs.run(name).status)

    def ask(self, request: RequestBase) -> Any:
        self.asked += 1
        self.tell(e.RequestSeen(id=f"r{self.asked}", user="anna", request=request))  # type: ignore[arg-type]
        return self.of(a.Reply)[-1].outcome


@pytest.mark.parametrize(
    ("event_class", "options", "word"),
    [
        ("FATAL", {}, "Error"),
        ("ERROR", {}, "Caution"),
        ("REDUNDANCY", {}, "Caution"),
        ("ERROR", {"recover_on": ("FATAL", "ERROR")}, "Error"),
        ("PREDICT", {}, "Caution"),
        ("PREDICT", {"stall_on_predictive_failure": True}, "Stall"),
        ("PERFORMANCE", {}, "Caution"),
        ("PERFORMANCE", {"stall_on_performance_down": True}, "Stall"),
        ("INFO", {}, "Normal"),
        ("UNKNOWN", {}, "Normal"),
    ],
)
def test_the_word_of_a_monitor_follows_from_what_is_open(
    event_class: str, options: dict[str, Any], word: str
) -> None:
    box = Box(mrw(**options))
    box.trap(event_class)
    assert box.status() == word
    assert bool(box.open) is (word != "Normal")


def test_the_worst_that_is_open_gives_the_word() -> None:
    box = Box(mrw(stall_on_predictive_failure=True))
    for event_class, key, word in (
        ("ERROR", "k1", "Caution"),
        ("PREDICT", "k2", "Stall"),
        ("FATAL", "k3", "Error"),
    ):
        box.trap(event_class, key)
        assert box.status() == word
    box.trap("CLEAR", "k3")
    assert box.status() == "Stall"


def test_the_same_fault_again_folds_into_the_open_event() -> None:
    box = Box()
    box.trap("FATAL")
    box.run(1 * S)
    box.trap("FATAL")
    (event,) = box.node.state.ledger.events.values()
    assert (event.count, event.last_at - event.first_at) == (2, 1 * S)


def test_a_resend_of_one_trap_counts_once() -> None:
    box = Box()
    for _ in range(3):
        box.trap("FATAL", duplicate_key="guid/7/100")
    assert [x.count for x in box.node.state.ledger.events.values()] == [1]


def test_a_lesser_word_of_the_same_fault_does_not_hide_the_fatal_one() -> None:
    box = Box()
    box.trap("FATAL")
    box.trap("ERROR")
    assert box.status() == "Error"
    assert bars(box.node.state.ledger.events)


def test_a_warning_that_becomes_fatal_is_fatal() -> None:
    box = Box()
    box.trap("PREDICT")
    box.trap("FATAL")
    assert (box.status(), len(box.open)) == ("Error", 1)


def test_a_deassertion_closes_exactly_what_it_opened() -> None:
    box = Box()
    box.trap("FATAL", "k1")
    box.trap("FATAL", "k2")
    box.trap("CLEAR", "k2")
    assert box.open == ["k1"]
    box.trap("CLEAR", "k3")
    assert (box.open, box.status()) == (["k1"], "Error")
    box.trap("CLEAR", "k1")
    assert (box.open, box.status()) == ([], "Normal")


def test_a_deassertion_of_another_class_closes_nothing() -> None:
    box = Box()
    box.trap("FATAL")
    box.trap("CLEAR", clears="ERROR")
    assert box.open == ["k1"]


def test_fully_redundant_closes_every_degree() -> None:
    box = Box()
    box.trap("REDUNDANCY", "lost")
    box.trap("REDUNDANCY", "degraded")
    box.trap("CLEAR", "full", closes=("lost", "degraded", "full"))
    assert box.open == []


def test_an_open_fatal_event_bars_the_server_and_its_beats_say_so() -> None:
    box = Box()
    box.run(300)
    assert not box.sent["server2"].barred
    box.trap("FATAL")
    assert box.sent["server2"].barred, "at once"
    box.trap("CLEAR")
    assert not box.sent["server2"].barred


def test_an_operator_acknowledges_one_event_or_all_recorded_with_the_name() -> None:
    box = Box()
    for key in ("k1", "k2", "k3"):
        box.trap("FATAL", key)
    number = box.node.state.ledger.events["mrw1/k2"].id
    assert box.ask(Acknowledge(monitor="mrw1", event=number)).code == 0
    assert box.open == ["k1", "k3"]
    assert any("anna" in r.text for r in box.of(a.Record))
    assert box.ask(Acknowledge(monitor="mrw1", event=number)).code == 5
    assert box.ask(Acknowledge(monitor="mrw1")).code == 0
    assert (box.open, box.status()) == ([], "Normal")
    assert box.ask(Acknowledge(monitor="mrw1")).text == "mrw1 has no open event."
    assert box.ask(Acknowledge(monitor="genw1")).code == 5


def test_the_ledger_is_on_disk_after_each_change_and_comes_back_without_recovery() -> None:
    box = Box(mrw(recovery=Recovery(action="final", final_action="bmc-reset")))
    box.trap("FATAL", "k1")
    box.trap("ERROR", "k2")
    kept = box.of(a.KeepLedger)[-1].ledger
    assert [x.key for x in kept.entries] == ["k1", "k2"]
    again = Box(mrw(recovery=Recovery(action="final", final_action="bmc-reset")), ledger=kept)
    assert (again.open, again.status()) == (["k1", "k2"], "Error")
    assert bars(again.node.state.ledger.events)
    again.run(3 * S)
    again.trap("FATAL", "k1")
    assert not again.of(a.HostAction, last=False)
    again.trap("FATAL", "k9")
    assert max(x.id for x in again.node.state.ledger.events.values()) == kept.next_event


def test_events_of_a_monitor_that_is_not_configured_any_more_are_dropped() -> None:
    box = Box()
    box.trap("FATAL")
    kept = box.of(a.KeepLedger)[-1].ledger
    again = Box(mrw("mrw2"), ledger=kept)
    assert again.open == []
    assert not bars(again.node.state.ledger.events)


def test_messages_go_to_every_monitor_of_that_category_and_keyword() -> None:
    box = Box(
        mrw("mrw1", "NIC", keywords={"server1": "eth0"}),
        mrw("mrw2", "NIC", keywords={"server1": "eth1"}),
        mrw("mrw3", "NIC"),
        mrw("mrw4", "FC"),
    )
    box.tell(e.MessageSeen(category="NIC", keyword="eth0", text="link down"))
    words = {n: box.status(n) for n in ("mrw1", "mrw2", "mrw3", "mrw4")}
    assert words == {"mrw1": "Error", "mrw2": "Normal", "mrw3": "Error", "mrw4": "Normal"}
    box.tell(e.MessageSeen(category="NIC", keyword="eth0", recovered=True))
    assert {box.status(n) for n in words} == {"Normal"}


def told(box: Box, kind: type[Notice]) -> list[a.Record]:
    return [r for r in box.of(a.Record, last=False) if r.code == kind.code()]


def test_a_message_that_no_monitor_takes_is_an_alert_and_changes_nothing() -> None:
    box = Box(mrw("mrw1", "NIC", keywords={"server1": "eth0"}))
    box.tell(e.MessageSeen(category="NIC", keyword="eth1", text="link down"))
    (alert,) = told(box, notices.MessageUnclaimed)
    assert alert.text == "An error of NIC type and eth1 device has been detected. (link down)"
    assert alert.level == "WARN" and "No message receive monitor of server1" in alert.because[0]
    assert (box.open, box.status()) == ([], "Normal")
    box.tell(e.MessageSeen(category="BACKUP"))
    assert (
        told(box, notices.MessageUnclaimed)[-1].text
        == "An error of BACKUP type has been detected. (no text)"
    )


def test_a_storm_of_what_no_monitor_takes_is_told_once_an_hour_with_its_count() -> None:
    box = Box(mrw("mrw1", "FC"))
    message = e.MessageSeen(category="BACKUP", keyword="tape0", text="full")
    for _ in range(500):
        box.tell(message)
    assert len(told(box, notices.MessageUnclaimed)) == 1
    box.run(3_600 * S)
    box.tell(message)
    (_, again) = told(box, notices.MessageUnclaimed)
    assert "500 times" in again.because[1]
    # Once it is well, the next is a new one.
    box.tell(e.MessageSeen(category="BACKUP", keyword="tape0", recovered=True))
    box.tell(message)
    assert len(told(box, notices.MessageUnclaimed)) == 3


def test_what_no_monitor_takes_is_remembered_within_bounds() -> None:
    box = Box(mrw("mrw1", "FC"))
    for number in range(1_000):
        box.tell(e.MessageSeen(category="BACKUP", keyword=f"tape{number}"))
    assert len(box.node.state.ledger.unclaimed) == 256
    assert "BACKUP/tape999" in box.node.state.ledger.unclaimed


def test_a_message_and_a_trap_have_their_own_numbers_in_the_alert_log() -> None:
    box = Box(mrw("mrw1"), mrw("mrw2", "NIC"))
    box.trap("FATAL")
    box.tell(e.MessageSeen(category="NIC", keyword="eth0", text="link down"))
    (fatal,), (message,) = told(box, notices.HardwareFatal), told(box, notices.MessageFatal)
    assert (fatal.event_id, message.event_id) == (914, 903)


def test_a_notice_from_outside_works_for_own_categories_and_not_for_linkage() -> None:
    box = Box(mrw("mrw1", "BMCNOTICE"), mrw("mrw2", "backup"))
    refused = box.ask(ExternalNotice(category="BMCNOTICE", text="x"))
    assert (refused.code, box.status("mrw1")) == (6, "Normal")
    assert "--acknowledge" in refused.hint
    assert box.ask(ExternalNotice(category="backup", text="tape full")).code == 0
    assert box.status("mrw2") == "Error"
    assert box.ask(ExternalNotice(category="backup", clear=True)).code == 0
    assert box.status("mrw2") == "Normal"
    assert box.ask(ExternalNotice(monitor="nosuch")).code == 5


def test_a_notice_of_a_category_alone_is_for_all_its_monitors_whatever_their_keyword() -> None:
    box = Box(
        mrw("mrw1", "RAID", keywords={"server1": "sda"}),
        mrw("mrw2", "RAID"),
        mrw("mrw3", "backup", keywords={"server1": "sda"}),
    )
    words = ("mrw1", "mrw2", "mrw3")
    assert box.ask(ExternalNotice(category="RAID", text="failed")).code == 0
    assert [box.status(name) for name in words] == ["Error", "Error", "Normal"]
    assert box.ask(ExternalNotice(category="RAID", clear=True)).code == 0
    assert [box.status(name) for name in words] == ["Normal"] * 3
    # With a keyword that no monitor has, nothing is meant.
    assert box.ask(ExternalNotice(category="backup", keyword="sdb")).code == 5


def test_a_linked_category_is_refused_whatever_the_keyword_and_the_monitors() -> None:
    box = Box(mrw("mrw1", "BMCNOTICE", keywords={"server1": "192.168.0.1"}))
    for keyword in ("", "192.168.0.1", "192.168.0.9"):
        refused = box.ask(ExternalNotice(category="BMCNOTICE", keyword=keyword, text="x"))
        assert refused.code == 6
        assert refused.hint == "Close an open event: clpmonctrl --acknowledge -m mrw1"
    assert box.ask(ExternalNotice(category="NIC", keyword="eth0")).code == 6
    assert (box.open, box.status()) == ([], "Normal")


def test_a_clear_with_a_device_leaves_what_is_open_of_the_others() -> None:
    box = Box(mrw("mrw1", "RAID"), mrw("mrw2", "RAID", keywords={"server1": "sda"}))
    for disk in ("sda", "sdb"):
        assert box.ask(ExternalNotice(category="RAID", keyword=disk, text="failed")).code == 0
    assert box.ask(ExternalNotice(category="RAID", keyword="sda", clear=True)).code == 0
    assert (box.open, box.status("mrw1"), box.status("mrw2")) == (["RAID/sdb"], "Error", "Normal")
    # By the monitor's name it is everything of that monitor.
    assert box.ask(ExternalNotice(monitor="mrw1", clear=True)).code == 0
    assert (box.open, box.status("mrw1")) == ([], "Normal")


def test_a_notice_is_for_the_monitors_it_names_and_comes_once() -> None:
    box = Box(mrw("mrw1", "backup"), mrw("mrw2", "backup", keywords={"server1": "tape0"}))
    assert box.ask(ExternalNotice(monitor="mrw2", text="tape full")).code == 0
    assert (box.status("mrw1"), box.status("mrw2")) == ("Normal", "Error")
    assert box.ask(ExternalNotice(category="backup", keyword="tape0", text="again")).code == 0
    counts = {x.monitor: x.count for x in box.node.state.ledger.events.values()}
    assert counts == {"mrw1": 1, "mrw2": 2}


@pytest.mark.parametrize(
    "category", ["BMCNOTICE", "NIC", "FC", "HA/SS", "HA/AM", "HA/RS", "HA/XX", "SPS", "MCE"]
)
def test_a_notice_from_outside_is_refused_by_every_linked_category(category: str) -> None:
    box = Box(mrw("mrw1", category))
    for request in (
        ExternalNotice(category=category, text="x"),
        ExternalNotice(monitor="mrw1", clear=True),
    ):
        assert box.ask(request).code == 6
    assert (box.status(), box.open) == ("Normal", [])


def test_a_storm_of_equal_messages_is_one_open_event_with_a_count() -> None:
    box = Box(mrw("mrw1", "NIC"))
    for _ in range(1_000):
        box.tell(e.MessageSeen(category="NIC", keyword="eth0", text="link down"))
    (event,) = box.node.state.ledger.events.values()
    assert event.count == 1_000
    assert len(told(box, notices.MessageFatal)) == 1


def test_lesser_faults_without_number_leave_room_for_a_fatal_one() -> None:
    box = Box(mrw())
    for n in range(ledger._OPEN_KEPT + 200):
        box.trap("ERROR", f"k{n}")
    assert len(box.open) == ledger._OPEN_KEPT
    assert len(told(box, notices.LedgerFull)) == 1
    box.trap("FATAL", "worst")
    assert len(box.open) == ledger._OPEN_KEPT + 1
    assert box.status() == "Error"


def test_fatal_faults_without_number_are_one_that_only_a_person_closes() -> None:
    box = Box(mrw(), mrw("mrw2"))
    for n in range(ledger._OPEN_KEPT + 200):
        box.trap("FATAL", f"k{n}")
    assert len(box.open) == ledger._OPEN_KEPT + 1
    for n in range(ledger._OPEN_KEPT + 200):
        box.trap("CLEAR", f"k{n}")
    # Which of those that were not kept apart are over nobody knows.
    assert len(box.open) == 1
    assert box.status() == "Error"
    # The places are a monitor's own.
    box.trap("FATAL", "other", monitor="mrw2")
    assert box.status("mrw2") == "Error"


def test_whatever_a_monitor_recovers_on_has_its_place() -> None:
    box = Box(mrw(recover_on=("FATAL", "REDUNDANCY")))
    for n in range(ledger._OPEN_KEPT + 10):
        box.trap("ERROR", f"k{n}")
    box.trap("REDUNDANCY", "fans")
    assert box.status() == "Error"


def test_a_star_closes_all_that_begin_so_and_nothing_else() -> None:
    box = Box()
    for key in ("trap/fan/1|1", "trap/fan/1|2", "trap/fan/12|1", "trap/fan"):
        box.trap("ERROR", key)
    box.trap("CLEAR", "trap/redundancy/1", closes=("trap/redundancy/1", "trap/fan/1|*"))
    assert box.open == ["trap/fan/12|1", "trap/fan"]
    # A PET's event of no offset is one key, and no star.
    box.trap("FATAL", "pet/20.30/7.1/07h/6F/0")
    box.trap("CLEAR", "pet/20.30/7.1/07h/6F/*")
    assert "pet/20.30/7.1/07h/6F/0" in box.open


def test_news_may_end_what_it_names_and_opens_nothing() -> None:
    box = Box()
    box.trap("ERROR", "trap/power")
    box.trap("INFO", "trap/power")
    assert box.open == ["trap/power"]
    box.trap("INFO", "trap/on", closes=("trap/power",))
    assert not box.open
    assert box.status() == "Normal"


def test_the_end_of_the_timer_that_we_armed_is_news_whoever_tells_it() -> None:
    for armed in (True, False):
        box = Box()
        if armed:
            box.node.state.final.deadman_until = box.node.now + 60 * S
        box.trap("FATAL", "trap/watchdog", own_watchdog=True)
        box.trap("FATAL", "trap/cpu")
        assert box.open == (["trap/cpu"] if armed else ["trap/watchdog", "trap/cpu"])
