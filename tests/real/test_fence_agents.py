"""Two servers without [server.bmc]: fence_ipmilan as it is installed is all that proves and stops.

Their BMCs are real ones for IPMI (`ipmi_sim`); only the agent speaks to them.
"""

from __future__ import annotations

import os
import re

import pytest

from tests.real.bmc import PASSWORD
from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

PATIENCE_S = 120.0
"""An agent takes seconds for each answer, on a busy machine many."""


def fences(cluster: Cluster) -> str:
    password = cluster.folder / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o400)
    plugs = ", ".join(f'{n.name} = {{ ip = "{cluster.bmc(n.number)}" }}' for n in cluster)
    return f"""
[forced_stop]
action = "power-off"
timeout = 90

[[fence]]
name = "ipmi"
agent = "fence_ipmilan"
parameters = {{ username = "clp", lanplus = true, cipher = 3, power_timeout = 60 }}
parameters_on = {{ {plugs} }}
password_file = "{password}"
poll = true
timeout = 60
"""


def power_of(node: Node, other: Node) -> str:
    servers = {each["name"]: each for each in node.status().get("servers", ())}
    bmc = servers.get(other.name, {}).get("bmc") or {}
    return str(bmc.get("power", "")) if bmc.get("reachable") else ""


def group(node: Node) -> dict[str, object]:
    return {each["name"]: each for each in node.status().get("groups", ())}.get("failover1", {})


def test_fence_ipmilan_alone_proves_a_power_loss_and_stops_a_server() -> None:
    if not os.access("/usr/sbin/fence_ipmilan", os.X_OK):
        pytest.skip("NOT TESTED: fence-agents is not installed")
    with Cluster() as cluster:
        text = cluster.toml(cluster="fence_delay = 20\n", more=fences(cluster))
        text = re.sub(r"\[server\.bmc\]\naddress = .*\nuser = .*\n", "", text)
        assert "server.bmc" not in text
        cluster.configure(text)
        for node in cluster:
            node.power_on()
        for node in cluster:
            until(f"{node.name} answers", node.ready)
        first = cluster.online(timeout_s=PATIENCE_S)
        second = cluster[3 - first.number]
        for node, other in ((first, second), (second, first)):
            until("its power reads on", lambda n=node, o=other: power_of(n, o) == "on", PATIENCE_S)

        first.press("off")
        until(
            "off, read by the agent, was the proof",
            lambda: group(second).get("current") == second.name,
            PATIENCE_S,
        )
        proof = f"The fence agent ipmi of {first.name} read power off."
        until("the alert log has it", lambda: proof in second.alerts())
        first.press("on")
        until(
            "it takes part again",
            lambda: all(s["status"] == "Online" for s in second.status().get("servers", ())),
            PATIENCE_S,
        )
        told = second.ok(f"clpforcestop {first.name} --yes", timeout_s=PATIENCE_S)
        assert f"{first.name} was powered off, and its fence agent ipmi reads off." in told
        assert first.press("look") == "look off"
        assert group(second)["current"] == second.name
        for node in cluster:
            assert PASSWORD not in node.log() + node.alerts()
