"""`clpstat --check`: which word a cluster gets, and the line around it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from clptools.cli.render.plugin import CRITICAL, OK, WARNING, Range, line, verdict
from clptools.core.model.view import OpenEventView, WaitingView
from clptools.faults import ClpError
from tests.cli.clpstat_samples import as_json, group, monitor, sample, server

NOBODY = Range("0"), Range("0:")


def view(**changes: Any) -> Any:
    of_cluster = {
        k: changes.pop(k) for k in ("suspended", "suspended_by", "quorate") & changes.keys()
    }
    whole = sample(**changes)
    return as_json(replace(whole, cluster=replace(whole.cluster, **of_cluster)))


def test_a_healthy_cluster_is_ok_and_says_where_its_groups_are() -> None:
    code, text = verdict(view(), *NOBODY)
    assert (code, text.partition(" | ")[0]) == (
        OK,
        "CLPTOOLS OK - 2 servers online; failover1 on server1",
    )
    assert text.partition(" | ")[2].split() == [
        "servers_away=0;0;0:;0;2",
        "groups_online=1;;;0;1",
        "hardware_events=0;;;0",
        "heartbeat_age=0.040s;;;0",
        "bmc_latency=0.0031s;;;0",
    ]


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"groups": (group(None, status="Offline"),)}, CRITICAL, "failover1 is Offline"),
        (
            {"groups": (group(None, status="Offline", wanted=False),)},
            WARNING,
            "failover1 was stopped by request",
        ),
        (
            {"groups": (group(copies=("server1", "server2")),)},
            CRITICAL,
            "failover1 runs on server1 and server2 at once",
        ),
        (
            {
                "groups": (
                    group(None, status="Offline", waiting_for=WaitingView(text="waits for proof")),
                )
            },
            CRITICAL,
            "failover1 is Offline: waits for proof",
        ),
        (
            {"monitors": (monitor("mrw1", "mrw", "Caution", server2="Error"),)},
            CRITICAL,
            "mrw1 is Error on server2",
        ),
        (
            {"monitors": (monitor("mrw1", "mrw", "Caution", server2="Stall"),)},
            WARNING,
            "mrw1 is Stall on server2",
        ),
        ({"suspended": True, "suspended_by": "root"}, WARNING, "suspended by root"),
        ({"quorate": False}, CRITICAL, "no coordinator has authority"),
        (
            {
                "servers": (
                    server("server1", ("server2",), local=True),
                    server("server2", ("server1",), status="Offline"),
                )
            },
            WARNING,
            "server2 is Offline",
        ),
        (
            {
                "servers": (
                    server(
                        "server1",
                        (),
                        open_events=(
                            OpenEventView(
                                event_class="FATAL",
                                id=1,
                                meaning="fan | failed",
                                first_s=1,
                                last_s=1,
                                count=1,
                                monitor="mrw1",
                            ),
                        ),
                    ),
                )
            },
            WARNING,
            "server1: fan / failed",
        ),
    ],
)
def test_a_trouble_has_its_word_and_is_named(changes: Any, code: int, says: str) -> None:
    found, text = verdict(view(**changes), *NOBODY)
    assert (found, says in text, text.count("|")) == (code, True, 1)


def test_limits_are_of_the_servers_that_are_away() -> None:
    away = view(
        servers=(
            server("server1", ("server2",), local=True),
            server("server2", ("server1",), status="Offline"),
        )
    )
    assert verdict(away, Range("0"), Range("0"))[0] == CRITICAL
    assert verdict(away, Range("0"), Range("1"))[0] == WARNING


@pytest.mark.parametrize(
    ("text", "alarms", "quiet"),
    [
        ("1", (2, -1), (0, 1)),
        ("1:", (0,), (1, 99)),
        ("~:3", (4,), (-9, 3)),
        ("@1:2", (1, 2), (0, 3)),
    ],
)
def test_ranges_are_those_of_plug_ins(text: str, alarms: Any, quiet: Any) -> None:
    assert all(Range(text).alarms(value) for value in alarms)
    assert not any(Range(text).alarms(value) for value in quiet)


@pytest.mark.parametrize("text", ["x", "2:1", "1:x", "nan", ":nan"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ClpError, match="no RANGE"):
        Range(text)


def test_hostile_words_stay_in_the_line() -> None:
    assert line("OK", "a\nb|c\x1b[2J").count("\n") == 0
    assert "\x1b" not in line("OK", "a\nb|c\x1b[2J")
