"""Servers with BMCs: power that reads off is the proof, and a forced stop makes it so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    if shutil.which("ipmi_sim") is None:
        pytest.skip("NOT TESTED: ipmi_sim (Debian package openipmi) is not installed")
    with Cluster() as made:
        made.configure(made.toml(more='[forced_stop]\naction = "power-off"\n'))
        for node in made:
            node.power_on()
        for node in made:
            until(f"{node.name} answers", node.ready)
        yield made


def group(node: Node) -> dict[str, object]:
    return {each["name"]: each for each in node.status().get("groups", ())}.get("failover1", {})


def test_a_server_that_loses_power_is_taken_over_at_once(cluster: Cluster) -> None:
    first = cluster.online()
    second = cluster.other(first)
    assert first.press("off") == "off off"
    until("it runs on the other", lambda: group(second).get("current") == second.name)
    text = second.ok("clpstat --explain failover1")
    assert "power" in text
    assert first.press("on") == "on on"
    until(
        "it takes part again",
        lambda: all(s["status"] == "Online" for s in second.status()["servers"]),
    )
    assert cluster.online() is second


def test_a_server_that_is_cut_off_is_powered_off_first(cluster: Cluster) -> None:
    first = cluster.online()
    second = cluster.other(first)
    for lan in (1, 2):
        first.link(lan, False)
    until("it runs on the other", lambda: group(second).get("current") == second.name)
    assert first.press("?") == "? off"


def test_with_its_bmc_dead_too_the_group_waits(cluster: Cluster) -> None:
    first = cluster.online()
    second = cluster.other(first)
    first.press("freeze")
    for lan in (1, 2):
        first.link(lan, False)
    waiting = until("it waits for proof", lambda: group(second).get("waiting_for"))
    assert first.name in str(waiting)
    assert group(second).get("current") != second.name
    for lan in (1, 2):
        first.link(lan, True)
    first.press("thaw")
    assert cluster.online(timeout_s=40)
