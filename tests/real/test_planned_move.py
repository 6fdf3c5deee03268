"""A predicted failure with real agents, traps and scripts: prepared, planned, called off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = [pytest.mark.root, pytest.mark.slow]

PREDICTED = "0Dh/6F/2"
"""Row of the class table: drive slot, predictive failure."""
RESOURCE = """
[[group.resource]]
type = "exec"
name = "exec1"
timeout = 60
prepare = "prepare.sh"
"""
KEYS = """
prepare_on_stall = true
quiet_window = "00:00-24:00"
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        made.configure(made.toml(resources=RESOURCE, monitor=KEYS))
        for node in made:
            node.script(
                "failover1/exec1/prepare.sh",
                f'#!/bin/sh\necho "$CLP_GROUPNAME $CLP_RESOURCENAME $CLP_SERVER_PREV" > '
                f"{made.folder}/prepared.{node.name}\n",
            )
        made.start()
        yield made
        made.assert_never_two()


def planned(node: Node) -> dict[str, Any] | None:
    found = node.status()["groups"][0]["planned_move"]
    assert found is None or isinstance(found, dict)
    return found


def test_the_other_server_is_prepared_and_the_move_is_called_off_for_good(
    cluster: Cluster,
) -> None:
    first = cluster.online()
    other = next(node for node in cluster if node is not first)
    cluster.trap(first, PREDICTED)
    move = until("the move is planned", lambda: planned(other))
    assert (move["to"], move["in_s"]) == (other.name, 0)
    prepared = cluster.folder / f"prepared.{other.name}"
    until("the other server is prepared", prepared.exists)
    until(
        "and says so", lambda: f"exec1 of failover1 is prepared on {other.name}" in other.alerts()
    )
    assert prepared.read_text() == f"failover1 exec1 {first.name}\n"
    assert not (cluster.folder / f"prepared.{first.name}").exists()
    assert f"Planned move to {other.name}" in first.ok("clpstat -s")
    assert "clpgrp --cancel failover1" in other.ok("clpstat --explain failover1")
    until("it is announced", lambda: any("in 300 s" in node.alerts() for node in cluster))

    other.ok("clpgrp --cancel failover1")
    until("all know", lambda: planned(first) is None and planned(other) is None)
    assert any("root called off the planned move" in node.alerts() for node in cluster)
    first.kill()
    first.start()
    until("its agent is back", first.ready)
    until("failover1 still runs there", lambda: cluster.online() is first)
    assert planned(first) is None, "one event leads to one plan"
    assert cluster.online() is first
