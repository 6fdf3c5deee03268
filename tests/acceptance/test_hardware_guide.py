"""The hardware guide's requirements on three servers with simulated BMCs, row by row.

The cluster is started once; each test leaves failover1 online on server1.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator

import pytest

from clptools.intake.rehearsal import pet_event
from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

MORE = """
[[interconnect]]
type = "bmchb"

[[server_group]]
name = "here"
servers = ["server1", "server2"]
[[server_group]]
name = "there"
servers = ["server3"]

[[monitor]]
type = "mrw"
name = "nic1"
category = "NIC"
keyword = "eth7"
[monitor.recovery]
action = "restart"
target = "exec1"

[[monitor]]
type = "mrw"
name = "fc1"
category = "FC"
[monitor.recovery]
action = "final"
target = "failover1"
final_action = "stop-group"

[[monitor]]
type = "mrw"
name = "site1"
category = "SITE"
[monitor.recovery]
action = "failover"
target = "failover1"
failover_count = 9
failover_outside_server_group = true
pre_action_script = "before.sh"

[[monitor]]
type = "mrw"
name = "all1"
category = "EVERYTHING"
[monitor.recovery]
action = "failover"
target = "All Groups"
failover_count = 9

[[monitor]]
type = "mrw"
name = "script1"
category = "SCRIPT"
[monitor.recovery]
action = "script"
script = "look.sh"
target = "failover1"
"""

DEADLINE_S = 8
AFTER = f'failover_count = 9\nafter_recovery = "reset"\nafter_recovery_deadline = {DEADLINE_S}\n'


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if shutil.which("ipmi_sim") is None:
        pytest.skip("NOT TESTED: ipmi_sim (Debian package openipmi) is not installed")
    with Cluster(servers=3) as made:
        groups = 'server_groups = ["here", "there"]\n'
        made.configure(made.toml(group=groups, recovery=AFTER, more=MORE))
        for node in made:
            for monitor, script in (("site1", "before.sh"), ("script1", "look.sh")):
                node.script(
                    f"monitor.s/{monitor}/{script}",
                    f"#!/bin/sh\nenv | grep ^CLP_ | sort > {node.root}/{script}.env\n",
                )
            node.power_on()
        for node in made:
            until(f"{node.name} answers", node.ready)
        made.online()
        yield made
        made.assert_never_two()


@pytest.fixture(autouse=True)
def home(cluster: Cluster) -> Iterator[None]:
    """Puts failover1 back on server1, with nothing open and nothing counted."""
    yield
    for node in cluster:
        until("it takes part", lambda node=node: servers(node) == {"Online"})
    for each in json.loads(cluster[2].ok("clpstat --hw --json"))["servers"]:
        for event in each["open"]:
            cluster[2].ok(f"clpmonctrl --acknowledge -m {event['monitor']} -h {each['name']}")
    if current(cluster[1]) is None:
        cluster[1].ok("clpgrp -s failover1 -h server1")
    if current(cluster[1]) != "server1":
        cluster[1].ok("clpgrp -m failover1 -a server1")
    assert cluster.online() is cluster[1]


def servers(node: Node) -> set[str]:
    return {str(each["status"]) for each in node.status().get("servers", ())}


def current(node: Node) -> str | None:
    found = node.status().get("groups", ())
    return found[0]["current"] if found else None


def diary(cluster: Cluster) -> list[list[str]]:
    """What the scripts of exec1 wrote: begin or end, server, group, event, factor."""
    return [line.split() for line in cluster.diary.read_text().splitlines()]


def test_row_3_bmc_heartbeats_have_their_priority_and_status(cluster: Cluster) -> None:
    for node in cluster:
        own = next(s for s in node.status()["servers"] if s["local"])
        assert [h["type"] for h in own["heartbeats"]] == ["lankhb", "lanhb", "bmchb"]
        until(
            "BMC heartbeats are normal",
            lambda node=node: "bmchb1         : Normal" in node.ok("clpstat"),
        )
    assert cluster[1].ok("clpstat -n").count("HB2 : bmchb1") == 1


def test_rows_2_and_8_the_bmc_resets_only_after_the_recovery(cluster: Cluster) -> None:
    first, second, _ = cluster
    before = incarnation(second, "server1")
    cluster.trap(first)
    until("it runs elsewhere", lambda: current(second) not in (None, "server1"))
    until("the reset server1 is back", lambda: incarnation(second, "server1") not in ("", before))
    reset = incarnation(second, "server1")
    told = " ".join(second.ok("clpstat --explain failover1").split())
    assert "does its reset now: recovery is done (after_recovery = reset)" in told
    # The dead-man that was armed for the case that the reset fails does not strike now.
    until("its BMC heartbeat goes on", lambda: servers(second) == {"Online"})
    time.sleep(max(0.0, DEADLINE_S + 2 - since(second, "failover1")))
    assert incarnation(second, "server1") == reset


def incarnation(node: Node, name: str) -> str:
    found = {s["name"]: str(s["incarnation"]) for s in node.status().get("servers", ())}
    return found.get(name, "")


def since(node: Node, name: str) -> float:
    return next(float(g["since_s"]) for g in node.status()["groups"] if g["name"] == name)


@pytest.mark.parametrize("version", ["-v1", "-v2c"])
def test_row_9_traps_of_both_old_versions(cluster: Cluster, version: str) -> None:
    first = cluster[1]
    oid = "1.3.6.1.4.1.3183.1.1"
    cluster.sequence += 1
    event = pet_event("0Dh/6F/2", deasserted=False, sequence=cluster.sequence)
    words = ["snmptrap", version, "-c", "public", f"--clientaddr={cluster.bmc(1)}"]
    words += [f"udp:{cluster.address(1, 1)}:162"]
    if version == "-v1":
        words += [oid, cluster.bmc(1), "6", str(event.specific), ""]
    else:
        words += ["", f"{oid}.0.{event.specific}"]
    done = cluster.wires_run(*words, f"{oid}.1", "x", event.octets().hex())
    assert done.returncode == 0, done.stderr
    until("mrw1 is Stall", lambda: word(first, "mrw1") == "Stall")


def word(node: Node, name: str) -> str:
    """Of a monitor on this server."""
    found = {m["name"]: m for m in node.status().get("monitors", ())}
    return str(found.get(name, {}).get("servers", {}).get(node.name, {}).get("status"))


def test_rows_12_and_14_a_drivers_message_and_the_device_it_names(cluster: Cluster) -> None:
    first = cluster[1]
    before = len(diary(cluster))
    first.ok("clpmsg NIC eth1 'another device'")
    assert word(first, "nic1") == "Normal"
    first.ok("clpmsg NIC eth7 'link lost'")
    until("nic1 is Error", lambda: word(first, "nic1") == "Error")
    until("exec1 was started again", lambda: len(diary(cluster)) >= before + 2)
    first.ok("clpwait --until 'group failover1 online on server1' --timeout 5")
    assert [line[0] for line in diary(cluster)[before:]] == ["end", "begin"]
    first.ok("clpmsg NIC eth7 'link is back' --recovered")
    until("nic1 is Normal", lambda: word(first, "nic1") == "Normal")


def test_row_16_a_final_action_and_row_17_none_where_nothing_runs(cluster: Cluster) -> None:
    first, second, _ = cluster
    second.ok("clpmsg FC host3 'no group here'")
    until("fc1 is Error", lambda: word(second, "fc1") == "Error")
    until("it says so", lambda: "failover1 is not active on server2" in second.alerts())
    assert current(first) == "server1"
    first.ok("clpmsg FC host3 'path lost'")
    until("failover1 is stopped", lambda: current(first) is None)
    assert "stop-group" in first.alerts()


def test_row_16_all_groups_and_row_18_outside_the_server_group(cluster: Cluster) -> None:
    first, second, third = cluster
    first.ok("clpmsg SITE 'the room burns'")
    until("it runs in the other room", lambda: current(first) == "server3")
    assert (first.root / "before.sh.env").exists(), "the script before recovery ran"
    third.ok("clpmsg EVERYTHING 'all away'")
    until("it left server3", lambda: current(first) in ("server1", "server2"))
    assert second.ok("clpstat -g").count("failover1[o]") == 1


def test_row_16_a_recovery_script_knows_what_happened(cluster: Cluster) -> None:
    first = cluster[1]
    first.ok("clpmsg SCRIPT disk5 'slow answer'")
    found = until("it ran", (first.root / "look.sh.env").exists)
    assert found
    text = until("it wrote", lambda: (first.root / "look.sh.env").read_text())
    env = dict(line.split("=", 1) for line in text.splitlines())
    assert env["CLP_MONITORNAME"] == "script1"
    assert env["CLP_CATEGORY"] == "SCRIPT"
    assert env["CLP_KEYWORD"] == "disk5"
    assert env["CLP_MESSAGE"] == "slow answer"


def test_rows_13_and_20_what_is_refused(cluster: Cluster) -> None:
    first = cluster[1]
    for name in ("mrw1", "nic1", "fc1"):
        done = first.run(f"clprexec --notice {name} -h 192.168.0.1")
        assert done.returncode == 6, done.stdout + done.stderr
    good = (first.config / "clp.toml").read_text()
    first.write_config(good.replace('keyword = "eth7"', 'keyword = "eth7"\ncolour = 1'))
    refused = first.run("clpcfctrl --push")
    assert refused.returncode == 8
    assert 'unknown key "colour"' in refused.stderr
    first.write_config(good)


def test_row_1_the_linkage_that_cannot_be_used(cluster: Cluster) -> None:
    file = cluster[1].root / "nx.toml"
    file.write_text('[cluster]\nname = "c"\nhardware = "NX7700x"\n')
    said = cluster[1].run(f"clpcfchk {file}")
    assert said.returncode == 8
    assert 'nx.toml:3: cluster: hardware = "NX7700x": that linkage cannot be used.' in said.stdout
