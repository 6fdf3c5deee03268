"""Faults are told once, under the keyword that the monitors use; what flaps is damped."""

from __future__ import annotations

import asyncio
import time

from clptools.core.model.settings import Settings
from clptools.intake.sources import watched
from tests.conftest import LIMIT_S, until
from tests.intake.source_room import SERVER, Told, mrw, settings


def test_only_categories_that_monitors_of_this_server_use_are_watched() -> None:
    elsewhere = mrw("FC")
    here = settings(mrw("NIC", "eth0"), mrw("OWN"), mrw("BMCNOTICE"))
    other = Settings(monitors=(elsewhere,))
    assert set(watched(here, SERVER)) == {"NIC"}
    assert watched(other, "server2") == {}


def test_the_monitor_that_names_the_device_has_the_say_over_its_options() -> None:
    both = settings(mrw("HA/RS", space_used=80.0), mrw("HA/RS", "/data", space_used=50.0))
    one = watched(both, SERVER)["HA/RS"]
    assert one.everything and one.keywords == {"/data"}
    assert one.number("/data", "space_used") == 50
    assert one.number("/", "space_used") == 80
    assert one.number("/", "inodes_used") == 95


async def test_a_fault_and_its_end_are_told_once() -> None:
    told = Told(mrw("NIC", "eth0"))
    told.faults.fault("eth0", "link", "no carrier")
    told.faults.fault("eth0", "link", "no carrier")
    told.faults.fault("eth1", "link", "nobody wants this")
    told.faults.well("eth0", "firmware", "it never was")
    told.faults.well("eth0", "link", "back")
    told.faults.well("eth0", "link", "back")
    assert told.lines == ["eth0#link error: no carrier", "eth0#link ok: back"]


async def test_what_an_earlier_run_left_open_is_closed_when_it_is_well() -> None:
    told = Told(mrw("NIC"), was_open=("NIC/eth0#link", "NIC/eth7", "FC/eth1#link"))
    for name in ("eth0", "eth1", "eth7"):
        told.faults.well(name, "link", "up")
    assert told.lines == ["eth0#link ok: up"]


async def test_flapping_is_shown_and_stays_open_until_it_settles() -> None:
    told = Told(mrw("NIC", "eth0", flap_count=3, flap_window_ms=60_000, settle_ms=60))
    for _ in range(40):
        told.faults.fault("eth0", "link", "no carrier")
        told.faults.well("eth0", "link", "back")
    assert told.lines == [
        "eth0#link error: no carrier",
        "eth0#link ok: back",
        "eth0#link error: no carrier",
        "eth0#link ok: back",
        "eth0#link error: no carrier (it flaps: 3 times within 60 s)",
    ]
    deadline = time.monotonic() + LIMIT_S
    while len(told.told) < 6:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    assert told.lines[-1] == "eth0#link ok: back, for 0.06 s"


async def test_an_error_without_an_end_is_closed_when_it_was_quiet_for_long_enough() -> None:
    for quiet_ms, closed in ((30, True), (0, False)):
        told = Told(mrw("HA/SS", "sdb", quiet_ms=quiet_ms))
        told.faults.fault("sdb", "io", "I/O error")
        told.faults.fault("sdb", "io", "I/O error")
        if closed:
            await until(lambda t=told: len(t.told) == 2)
        else:
            await asyncio.sleep(0.1)
        assert [e.recovered for e in told.told] == ([False, True] if closed else [False])


async def test_what_was_open_before_grows_quiet_too() -> None:
    told = Told(mrw("HA/SS", "sdb", quiet_ms=30), was_open=["HA/SS/sdb#io", "HA/SS/sdb#gone"])
    await until(lambda: told.told)
    assert told.lines == ["sdb#io ok: nothing more since, for 0.03 s"]


async def test_text_of_drivers_is_bounded_and_printable() -> None:
    told = Told(mrw("NIC", "eth0"))
    told.faults.fault("eth0", "firmware", "bad\x1b[2J\n" + "x" * 10_000)
    (event,) = told.told
    assert len(event.text) <= 500 and event.text.isprintable()
