"""Time-outs stretched on real servers: what keeps them, what shows them, what survives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

SLOW = """
[[monitor]]
type = "genw"
name = "genw1"
interval = 0.5
timeout = 0.5
[monitor.recovery]
action = "final"
final_action = "none"
"""
"""Its check takes a second."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two servers whose monitor is too slow; tests build on one another."""
    with Cluster() as made:
        made.configure(made.toml(more=SLOW))
        for node in made:
            node.script("monitor.s/genw1/genw.sh", "#!/bin/sh\nsleep 1\n")
        made.start()
        made.online()
        yield made
        made.assert_never_two()


def genw(node: Node) -> str:
    """The monitor's status on this server."""
    found = {each["name"]: each for each in node.status().get("monitors", ())}
    return str(found.get("genw1", {}).get("servers", {}).get(node.name, {}).get("status", ""))


def errors(node: Node) -> int:
    """How often the monitor found one on this server."""
    return node.alerts().count(f"genw1 on {node.name} went Normal -> Error")


def ratio(node: Node) -> str:
    return node.run("clptoratio -s").stdout.partition("\n")[0]


def test_a_monitor_that_is_too_slow_is_well_while_time_outs_are_stretched(
    cluster: Cluster,
) -> None:
    first, second = cluster
    until("too slow", lambda: {genw(first), genw(second)} == {"Error"})
    assert first.ok("clptoratio -r 20 -t 30m") == (
        "Time-outs are 20 times as long for 30 m. End it before: clptoratio -i\n"
        "Command succeeded.\n"
    )
    assert {ratio(first), ratio(second)} == {"present toratio : 20"}
    until("slow, and well", lambda: {genw(first), genw(second)} == {"Normal"})
    assert "Time-outs are 20 times as long for 30 m, by root" in second.alerts()


def test_a_push_is_stretched_too_and_shown_as_it_was_pushed(cluster: Cluster) -> None:
    first, second = cluster
    first.ok("clptoratio -r 20 -t 30m")
    assert "took over configuration" not in first.alerts()
    first.write_config(cluster.toml(more=SLOW.replace("interval = 0.5", "interval = 0.4")))
    first.ok("clpcfctrl --push")
    assert ": 3000\n" in second.ok("clpstat --cl")
    assert second.run("clpcfctrl --compcheck").returncode == 0
    assert {ratio(first), ratio(second)} == {"present toratio : 20"}
    until("slow, and well", lambda: {genw(first), genw(second)} == {"Normal"})


def test_a_killed_agent_knows_of_it_when_it_is_back(cluster: Cluster) -> None:
    first, second = cluster
    first.ok("clptoratio -r 20 -t 30m")
    until("slow, and well", lambda: {genw(first), genw(second)} == {"Normal"})
    second.kill()
    second.start()
    until("it is back", lambda: ratio(second) == "present toratio : 20")
    until("it is as slow as it may be", lambda: genw(second) == "Normal")
    assert errors(first) <= 1, "the push made it too slow"
    for node in (first, second):
        assert node.run("clpreplay").returncode == 0


def test_it_takes_all_servers_and_its_end_takes_none(cluster: Cluster) -> None:
    first, second = cluster
    second.kill()

    def refused() -> bool:
        return first.run("clptoratio -r 2 -t 30m -w 5").returncode == 6

    until("it is missed", refused)
    first.ok("clptoratio -i")
    assert ratio(first) == "present toratio : 1"
    until("too slow again", lambda: genw(first) == "Error")
    second.start()
    until("it is back", second.ready)

    def ended() -> bool:
        # Until there is a coordinator again, it is for that server alone.
        first.ok("clptoratio -i")
        return ratio(second) == "present toratio : 1"

    until("here as well", ended)
