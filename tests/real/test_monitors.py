"""Monitors on real servers: traps of every version, messages, notices, scripts of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

PREDICTIVE = "0Dh/6F/2"
"""Drive slot: predictive failure."""

MORE = """
[[monitor]]
type = "mrw"
name = "nic1"
category = "NIC"
keyword = "eth0"
[monitor.recovery]
action = "failover"
target = "failover1"
failover_count = 9

[[monitor]]
type = "mrw"
name = "own1"
category = "MYAPP"
[monitor.recovery]
action = "restart"
target = "failover1"
restart_count = 9

[[monitor]]
type = "genw"
name = "genw1"
interval = 1
timing = "active"
target = "failover1"
[monitor.recovery]
action = "script"
script = "mend.sh"
target = "failover1"
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        users = '[[monitor.snmpv3_user]]\nuser = "bmc"\nauth_protocol = "sha256"\n'
        made.configure(made.toml(monitor="", recovery="failover_count = 9\n" + users, more=MORE))
        for node in made:
            bad = node.root / "bad"
            node.script("monitor.s/genw1/genw.sh", f"#!/bin/sh\ntest ! -e {bad}\n")
            node.script(
                "monitor.s/genw1/mend.sh",
                f'#!/bin/sh\necho "$CLP_MONITORNAME $CLP_VERSION_MAJOR" > {bad}.mended\nrm {bad}\n',
            )
            keys = node.config / "snmp/bmc"
            keys.parent.mkdir()
            keys.write_text("auth=authpass1\npriv=privpass1\n")
            keys.chmod(0o400)
        made.start()
        yield made
        made.assert_never_two()


def status(node: Node, name: str) -> str:
    """Of a monitor on this server, by its own word."""
    found = {each["name"]: each for each in node.status().get("monitors", ())}
    return str(found.get(name, {}).get("servers", {}).get(node.name, {}).get("status", ""))


def acknowledged(node: Node, name: str) -> None:
    node.ok(f"clpmonctrl --acknowledge -m {name} -h {node.name}")
    until("it is normal again", lambda: status(node, name) == "Normal")


V3 = "-v3 -l authPriv -u bmc -a SHA-256 -A authpass1 -x AES -X privpass1 -e 0x80000000011234"


@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("snmptrap", "-v2c -c public"),
        ("snmpinform", "-v2c -c public -r 3 -t 2"),
        ("snmptrap", V3),
        ("snmpinform", V3.rsplit(" -e", 1)[0] + " -r 3 -t 2"),
    ],
    ids=["v2c", "inform", "v3", "v3-inform"],
)
def test_a_fatal_trap_fails_over(cluster: Cluster, program: str, options: str) -> None:
    first = cluster.online()
    cluster.trap(first, program=program, options=options)
    until("it fails over", lambda: cluster.online() is not first)
    assert status(first, "mrw1") == "Error"
    acknowledged(first, "mrw1")


def test_a_recorded_trap_stays_a_replay_after_a_restart_and_the_named_command_mends_it(
    cluster: Cluster,
) -> None:
    standby = cluster.other(cluster.online())
    engine = V3.replace("11234", "55678")
    cluster.trap(standby, PREDICTIVE, options=f"{engine} -Z 9,9000")
    until("mrw1 stalls", lambda: status(standby, "mrw1") == "Stall")
    acknowledged(standby, "mrw1")
    kept = standby.root / "var/lib/clptools/snmp-engines"
    until("its clock is kept", kept.exists)
    standby.kill()
    standby.start()
    until("it is back", lambda: status(standby, "mrw1") == "Normal")

    def forgot() -> None:
        cluster.trap(standby, PREDICTIVE, options=f"{engine} -Z 1,5", sequence=99)

    forgot()
    until("it is refused", lambda: f"its boots, then: rm {kept}" in standby.alerts())
    assert status(standby, "mrw1") == "Normal"
    kept.unlink()

    def taken() -> bool:
        forgot()
        return status(standby, "mrw1") == "Stall"

    until("it is learned anew", taken)
    acknowledged(standby, "mrw1")


def test_a_predictive_failure_stalls_and_its_end_clears_it(cluster: Cluster) -> None:
    first = cluster.online()
    cluster.trap(first, PREDICTIVE)
    until("mrw1 stalls", lambda: status(first, "mrw1") == "Stall")
    assert cluster.online() is first
    cluster.trap(first, PREDICTIVE, deasserted=True)
    until("it is over", lambda: status(first, "mrw1") == "Normal")


def test_the_same_trap_sent_again_is_one_trap(cluster: Cluster) -> None:
    first = cluster.online()
    cluster.trap(first, PREDICTIVE, sequence=77)
    until("mrw1 stalls", lambda: status(first, "mrw1") == "Stall")
    for _ in range(3):
        cluster.trap(first, PREDICTIVE, sequence=77)

    def duplicates() -> int:
        servers = json.loads(first.ok("clpstat --hw --json"))["servers"]
        (own,) = [each for each in servers if each["name"] == first.name]
        assert [each["count"] for each in own["open"]] == [1]
        return int(own["counters"]["duplicate"])

    until("they are known", lambda: duplicates() >= 3)
    acknowledged(first, "mrw1")


def test_a_drivers_message_fails_over_and_ends_when_it_recovers(cluster: Cluster) -> None:
    first = cluster.online()
    first.ok("clpmsg NIC eth7 'another card'")
    first.ok("clpmsg NIC eth0 'link down'")
    until("it fails over", lambda: cluster.online() is not first)
    assert status(first, "nic1") == "Error"
    first.ok("clpmsg NIC eth0 'link up' --recovered")
    until("it is over", lambda: status(first, "nic1") == "Normal")


def test_a_notice_from_elsewhere_restarts_the_group(cluster: Cluster) -> None:
    first = cluster.online()
    begun = cluster.diary.read_text().count("begin")
    other = cluster.other(first)
    other.ok(f"clprexec --notice own1 -h {cluster.address(1, first.number)} -w 10")
    until("it restarts", lambda: cluster.diary.read_text().count("begin") == begun + 1)
    assert cluster.online() is first
    other.ok(f"clprexec --clear own1 -h {cluster.address(1, first.number)} -w 10")
    refused = other.run(f"clprexec --notice nic1 -h {cluster.address(1, first.number)} -w 10")
    assert refused.returncode == 6


def test_a_failover_may_be_asked_from_outside_with_the_key(cluster: Cluster) -> None:
    first = cluster.online()
    key = cluster.folder / "key"
    words = (str(cluster.bin / "clprexec"), "--failover", "failover1", "--key", str(key))
    there = ("-h", cluster.address(1, first.number), "-w", "15")
    key.write_bytes(bytes(32))
    key.chmod(0o400)
    assert cluster.wires_run(*words, *there).returncode == 4
    key.chmod(0o600)
    key.write_bytes(cluster.authkey)
    key.chmod(0o400)
    done = cluster.wires_run(*words, *there)
    assert done.returncode == 0, done.stderr
    until("it moved", lambda: cluster.online() is not first)


def test_a_script_of_ones_own_finds_a_fault_and_another_mends_it(cluster: Cluster) -> None:
    first = cluster.online()
    until("it watches", lambda: status(first, "genw1") == "Normal")
    (first.root / "bad").touch()
    until("it is mended", lambda: (first.root / "bad.mended").exists())
    assert (first.root / "bad.mended").read_text().split()[0] == "genw1"
    until("it is normal again", lambda: status(first, "genw1") == "Normal")
    assert cluster.online() is first
