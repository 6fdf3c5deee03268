"""Driver and system messages on real servers: a lost link and a full disk move the group."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = [pytest.mark.root, pytest.mark.slow]

MONITORS = """
[[monitor]]
type = "mrw"
name = "nic1"
category = "NIC"
keyword = "data0"
[monitor.recovery]
action = "failover"
target = "failover1"

[[monitor]]
type = "mrw"
name = "space1"
category = "HA/RS"
keyword_on = {{ {folders} }}
duration = 0
sample_interval = 0.1
[monitor.recovery]
action = "failover"
target = "failover1"
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        folders = ", ".join(f'{node.name} = "{node.root}/data"' for node in made)
        made.configure(made.toml(more=MONITORS.format(folders=folders)))
        for node in made:
            node.ok("ip link add data0 type veth peer name data1")
            link(node, "data0", "up")
            link(node, "data1", "up")
            (node.root / "data").mkdir()
            node.small_disk("data", "1m")
        made.start()
        yield made
        made.assert_never_two()


def link(node: Node, name: str, to: str) -> None:
    node.ok(f"ip link set {name} {to}")


def monitor(node: Node, name: str) -> str:
    found = {each["name"]: each for each in node.status().get("monitors", ())}
    return str(found.get(name, {}).get("servers", {}).get(node.name, {}).get("status", ""))


def becomes(node: Node, name: str, word: str) -> None:
    until(f"{name} on {node.name} is {word}", lambda: monitor(node, name) == word)


def settled(cluster: Cluster) -> tuple[Node, Node]:
    """Where the group runs, and the other server."""
    first = cluster.online()
    for node in cluster:
        becomes(node, "nic1", "Normal")
    return first, next(node for node in cluster if node is not first)


def test_a_lost_link_moves_the_group_and_the_link_that_is_back_clears_the_server(
    cluster: Cluster,
) -> None:
    first, other = settled(cluster)
    link(first, "data1", "down")
    until("the group has moved", lambda: cluster.online() is other)
    assert monitor(first, "nic1") == "Error"
    assert "data0 has no carrier" in first.ok("clpstat --hw")
    link(first, "data1", "up")
    becomes(first, "nic1", "Normal")
    assert "data0 has no carrier" not in first.ok("clpstat --hw")
    assert monitor(other, "nic1") == "Normal"


def test_a_full_disk_moves_the_group(cluster: Cluster) -> None:
    first, other = settled(cluster)
    first.fill("data")
    until("the group has moved", lambda: cluster.online() is other)
    assert f"{first.root}/data is full" in first.ok("clpstat --hw")
    first.empty("data")
    becomes(first, "space1", "Normal")


def test_an_event_is_closed_though_its_end_came_while_the_agent_was_down(
    cluster: Cluster,
) -> None:
    first, _ = settled(cluster)
    link(first, "data0", "down")
    becomes(first, "nic1", "Error")
    first.kill()
    link(first, "data0", "up")
    first.start()
    becomes(first, "nic1", "Normal")
