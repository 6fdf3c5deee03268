"""What a monitoring system reads of an agent."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import msgspec
import pytest

from clptools import paths
from clptools.agent import metrics as module
from clptools.agent.metrics import Family, Metrics, written
from clptools.agent.metrics_server import MetricsServer
from clptools.agent.notices import MetricsServed, MetricsUnserved
from clptools.agent.service_history import History
from clptools.api.messages import EventRecord
from clptools.core.model.view import BmcView, GroupView
from clptools.core.notices.cluster import ServerLost
from clptools.core.notices.form import Notice, record_of
from clptools.core.notices.groups import GroupOnline, GroupReleased, GroupStops
from tests.agent.test_view import server, view
from tests.conftest import until


def told(notice: Notice, by: str) -> EventRecord:
    record = record_of(notice, by)
    return EventRecord(
        cursor=f"{by}:1:{time.monotonic_ns()}",
        time=0.0,
        server=by,
        module=record.module,
        event_id=record.event_id,
        level=str(record.level),
        text=record.text,
        subjects=record.subjects,
        code=record.code,
    )


def online(by: str) -> EventRecord:
    return told(GroupOnline("failover1", "exec1", 300), by)


def test_an_interruption_lasts_from_the_stop_to_online_elsewhere() -> None:
    history = History("server1")
    history.saw(online("server1"), 0)
    history.saw(told(GroupStops("failover1", "moved"), "server1"), 10_000)
    history.saw(told(GroupReleased("failover1", ("exec1",), 200, 1), "server1"), 10_400)
    history.saw(online("server2"), 12_500)
    service = history.services["failover1"]
    assert (service.server, service.moves, service.interruptions) == ("server2", 1, 1)
    assert (service.last_ms, service.out_ms, service.since) == (2500, 2500, -1)


def test_a_lost_server_takes_the_groups_that_ran_there_out_of_service() -> None:
    history = History("server1")
    history.saw(online("server2"), 0)
    # Another server's word is about what that one hears.
    history.saw(told(ServerLost("server2", 3000, ("lankhb1",)), "server3"), 5_000)
    assert history.services["failover1"].since == -1
    history.saw(told(ServerLost("server2", 3000, ("lankhb1",)), "server1"), 6_000)
    history.saw(online("server1"), 6_900)
    assert history.services["failover1"].last_ms == 900
    assert history.lost == {"server2": 1}


def test_a_group_that_ran_before_the_agent_did_is_known() -> None:
    history = History("server1")
    history.holds((GroupView(name="failover1", status="Online", current="server1"),))
    history.saw(told(GroupStops("failover1", ""), "server1"), 1_000)
    history.saw(online("server1"), 1_700)
    service = history.services["failover1"]
    assert (service.moves, service.last_ms) == (0, 700)


def test_labels_are_escaped() -> None:
    family = Family("x", "gauge", "Help.", (({"a": 'b"\\\n'}, 1.5), ({}, True)))
    assert written(family) == '# HELP x Help.\n# TYPE x gauge\nx{a="b\\"\\\\\\n"} 1.5\nx 1\n'


def metrics() -> tuple[Metrics, list[int]]:
    asked = [0]
    one = msgspec.structs.replace(
        server("server1"), bmc=BmcView(power="on", reachable=True, latency_ms=4.0), local=True
    )

    def seen():
        asked[0] += 1
        return view(one, server("server2"))

    counters = {"trap.received": 7, "loop.lag_ms": 3}
    return Metrics("server1", seen, lambda: counters, lambda: {"genw1": 0.0123}), asked


def test_the_figures_of_the_status_are_there() -> None:
    text = metrics()[0].text().splitlines()
    for line in (
        'clptools_cluster_status{status="Caution"} 1',
        'clptools_server_online{server="server2"} 1',
        'clptools_group_online{group="failover1",server="server1"} 1',
        'clptools_monitor_status{monitor="mrw1",type="mrw",server="server2",status="Error"} 1',
        'clptools_heartbeat_age_seconds{heartbeat="lan1",type="lanhb",peer="other"} 0.1',
        'clptools_bmc_latency_seconds{server="server1"} 0.004',
        'clptools_traps_total{fate="received"} 7',
        'clptools_monitor_check_seconds{monitor="genw1"} 0.0123',
        'clptools_agent_level{door="loop",what="lag_ms"} 3',
    ):
        assert line in text


def test_many_who_ask_cost_the_core_one_view_in_half_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, asked = metrics()
    for now in range(10_000, 12_500, 50):
        monkeypatch.setattr(module.clock, "boot_ms", lambda now=now: now)
        made.text()
    assert asked[0] == 5


async def get(place: str, line: str = "GET /metrics") -> bytes:
    if place.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(place)
    else:
        reader, writer = await asyncio.open_connection(*place.rsplit(":", 1))
    writer.write(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_it_is_served_on_a_unix_socket_and_on_loopback(tmp_path: Path) -> None:
    notes: list[Notice] = []
    served = MetricsServer(lambda: "clptools_x 1\n", notes.append)
    path = str(tmp_path / "metrics.sock")
    served.apply(path)
    await until(lambda: served._server is not None)
    answer = await get(path)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"clptools_x 1\n")
    assert (await get(path, "GET /")).endswith(b"clptools: /metrics\n")
    assert (await get(path, "GET /x")).startswith(b"HTTP/1.1 404")
    assert (await get(path, "POST /metrics")).startswith(b"HTTP/1.1 405")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    before = served._server
    served.apply(place)
    await until(lambda: served._server not in (None, before))
    assert b"clptools_x 1" in await get(place)
    served.apply("")
    await served.close()
    with pytest.raises(OSError):
        await get(place)
    assert notes == []


async def test_a_place_that_is_taken_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("clptools.agent.metrics_server.AGAIN_S", 0.02)

    notes: list[Notice] = []
    served = MetricsServer(lambda: "", notes.append)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        place = f"127.0.0.1:{other.getsockname()[1]}"
        served.apply(place)
        await until(lambda: notes)
    await until(lambda: served._server is not None)
    await served.close()
    taken = MetricsUnserved(place, "address already in use", paths.config_dir())
    assert notes == [taken, MetricsServed(place)]


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    notes: list[str] = []
    file = tmp_path / "metrics"
    file.write_text("precious")
    served = MetricsServer(lambda: "", lambda notice: notes.append(notice.told()))
    served.apply(str(file))
    await until(lambda: notes)
    await served.close()
    assert file.read_text() == "precious"
