"""The guide's sample cluster on two real servers: heartbeats, traps, failover, faults."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        made.configure()
        made.start()
        yield made
        made.assert_never_two()


def monitor(node: Node, name: str, on: str) -> str:
    """Status of a monitor on a server, as `node` sees it."""
    found = {each["name"]: each for each in node.status().get("monitors", ())}
    return str(found.get(name, {}).get("servers", {}).get(on, {}).get("status", ""))


def has_address(node: Node) -> bool:
    return "192.168.0.100/24" in node.addresses()


def test_a_fatal_trap_of_its_bmc_moves_the_group_and_the_address(cluster: Cluster) -> None:
    first = cluster.online()
    second = cluster.other(first)
    assert first is cluster[1]
    assert has_address(first)
    assert not has_address(second)
    cluster.trap(first)
    until(
        "failover1 is online on the other server",
        lambda: cluster.online() is second,
    )
    assert has_address(second)
    assert not has_address(first)
    for node in cluster:
        until("mrw1 is in Error", lambda node=node: monitor(node, "mrw1", first.name) == "Error")
        assert monitor(node, "mrw1", second.name) == "Normal"
    words = [line.split()[:2] for line in cluster.assert_never_two()[2:]]
    assert words == [
        ["begin", first.name],
        ["end", first.name],
        ["begin", second.name],
    ]
    for node in cluster:
        assert "internal error (IERR)" in node.ok("clpstat --events")


def test_a_trap_from_a_foreign_address_changes_nothing(cluster: Cluster) -> None:
    first = cluster.online()
    cluster.trap(first, source=cluster.other(first).number)
    until("it is counted", lambda: "not_allowed" in first.ok("clpstat --hw --json"))
    assert monitor(first, "mrw1", first.name) == "Normal"
    assert cluster.online() is first


def test_moving_by_command_and_back(cluster: Cluster) -> None:
    first = cluster.online()
    second = cluster.other(first)
    assert first.ok("clpgrp -n failover1").strip() == first.name
    first.ok(f"clpgrp -m failover1 -a {second.name}")
    assert cluster.online() is second
    second.ok(f"clpgrp -m failover1 -a {first.name}")
    assert cluster.online() is first
    assert has_address(first)


def test_an_agent_that_is_killed_finds_its_group_again(cluster: Cluster) -> None:
    first = cluster.online()
    begun = cluster.diary.read_text()
    first.kill()
    assert has_address(first)
    time.sleep(0.5)
    first.start()
    until("it answers", first.ready)
    assert cluster.online() is first
    until(
        "it takes part again",
        lambda: all(s["status"] == "Online" for s in cluster[1].status()["servers"]),
    )
    assert cluster.online() is first
    assert cluster.diary.read_text() == begun, "nothing was started or stopped"


def test_sigterm_moves_the_group_and_leaves(cluster: Cluster) -> None:
    first = cluster.online()
    second = cluster.other(first)
    assert first.kill(signal.SIGTERM) == 0
    assert cluster.online() is second
    assert not has_address(first)
    first.start()
    until("it is back", lambda: second.status()["servers"][first.number - 1]["status"] == "Online")
    assert cluster.online() is second


def test_one_interconnect_down_is_seen_and_stops_nothing(cluster: Cluster) -> None:
    first = cluster.online()
    first.link(2, False)

    def lanhb() -> str:
        (server,) = [s for s in first.status()["servers"] if s["local"]]
        return str({h["name"]: h["status"] for h in server["heartbeats"]}["lanhb1"])

    until("lanhb1 is in error", lambda: lanhb() == "Error")
    assert cluster.online() is first
    first.link(2, True)
    until("lanhb1 is normal", lambda: lanhb() == "Normal")
    lines = cluster.diary.read_text().splitlines()
    assert sum(line.startswith("begin") for line in lines) == 1
