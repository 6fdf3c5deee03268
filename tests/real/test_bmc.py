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


def test_a_password_that_a_bmc_refuses_is_told_and_mended_as_the_notice_says(
    cluster: Cluster,
) -> None:
    first = cluster.online()
    second = cluster.other(first)
    right = (second.config / "bmc" / first.name).read_text()
    second.ok(f"printf 'wrong\\n' | clpbmccnf -u clp {first.name}")
    told = f"{second.name} cannot ask the BMC of {first.name}: "
    until("it is told", lambda: told in second.alerts())
    line = next(x for x in second.alerts().splitlines() if told in x)
    command = f"clpbmccnf -u clp {first.name}"
    assert command in line
    shown = " ".join(second.ok("clpstat -s").split())
    assert f"the BMC of {first.name} cannot be asked" in shown
    assert command in shown
    second.ok(f"printf '{right}\\n' | {command}")
    until("its end is told", lambda: "can ask the BMC of" in second.alerts())
    assert "cannot be asked" not in second.ok("clpstat -s")
