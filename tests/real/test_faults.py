"""Faults on real servers: each gives one clear line or counter, and nothing stops working."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root


def counters(node: Node) -> dict[str, int]:
    """Everything the agent counts, over the socket as any varlink client would ask."""
    path = node.root / "run/clptools/clpnode.sock"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))
        client.sendall(b'{"method":"org.clptools.Node.GetCounters"}\0')
        data = b""
        while not data.endswith(b"\0"):
            data += client.recv(65536)
    return dict(json.loads(data[:-1])["parameters"]["counters"])


def group(node: Node, name: str = "failover1") -> dict[str, object]:
    return {each["name"]: each for each in node.status().get("groups", ())}.get(name, {})


def test_a_vanished_server_without_proof_waits_for_the_operators_word(cluster: Cluster) -> None:
    cluster.start()
    first = cluster.online()
    second = cluster.other(first)
    cluster.unplug(first)
    until("it waits for proof", lambda: group(second).get("waiting_for"))
    waiting = group(second)["waiting_for"]
    assert isinstance(waiting, dict)
    assert first.name in str(waiting["text"])
    time.sleep(1)
    assert group(second)["status"] != "Online"
    refused = second.run(f"clpnode confirm-down {first.name}")
    assert refused.returncode == 6
    assert "--yes" in refused.stderr
    second.ok(f"clpnode confirm-down {first.name} --yes")
    until("it runs here", lambda: group(second).get("current") == second.name)
    cluster.diary.write_text("")  # the vanished server cannot say that it ended


def test_packets_lost_at_random_stop_nothing(cluster: Cluster) -> None:
    cluster.start()
    first = cluster.online()
    begun = cluster.diary.read_text()
    for node in cluster:
        node.drop(30)
    for _ in range(16):
        time.sleep(0.5)
        assert group(first).get("status") == "Online"
    for node in cluster:
        node.drop(0)
    assert cluster.diary.read_text() == begun
    assert cluster.online() is first
    cluster.trap(first)
    until("it fails over", lambda: cluster.online() is cluster.other(first))


def test_a_server_with_another_authkey_is_refused_and_counted(cluster: Cluster) -> None:
    cluster[2].write_key(os.urandom(32))
    cluster.start()
    for node in (cluster[1], cluster[2]):
        until("it is counted", lambda n=node: counters(n).get("heartbeat.bad_mac", 0) > 2)
    assert not [line for line in cluster.diary.read_text().splitlines() if "begin" in line]
    cluster[2].kill()
    cluster[2].write_key(cluster.authkey)
    cluster[2].start()
    cluster.online()


def test_a_second_agent_on_one_root_is_refused(cluster: Cluster) -> None:
    cluster.start()
    first = cluster.online()
    done = first.run("clpnode")
    assert done.returncode == 6
    assert "another clpnode already runs here" in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert cluster.online() is first


def test_a_twin_with_a_servers_name_elsewhere_is_told_and_changes_nothing() -> None:
    """A copied disk: the same name and key, started on a third machine."""
    with Cluster(servers=3) as cluster:
        pair = cluster.toml(servers=2)
        cluster.configure(pair)
        twin = cluster[3]
        twin.write_config(pair.replace(f'"{cluster.address(1, 1)}"', f'"{cluster.address(1, 3)}"'))
        for node in (cluster[1], cluster[2]):
            node.start()
        first = cluster.online().name
        begun = cluster.diary.read_text()
        twin.start(name="server1")
        until(
            "the twin is noticed",
            lambda: counters(cluster[2]).get("heartbeat.bad_source", 0) > 2,
        )
        time.sleep(2)
        assert group(cluster[2]).get("current") == first
        assert cluster.diary.read_text().count("begin") == begun.count("begin")


def test_garbage_at_every_socket_is_counted_and_nothing_stops(cluster: Cluster) -> None:
    cluster.start()
    first = cluster.online()
    chance = random.Random(7)
    before = counters(first)
    sender = """
import os, random, socket, sys
chance = random.Random(7)
target = sys.argv[1]
for family in range(400):
    for port in (29002, 162):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind((sys.argv[2], 0))
            size = chance.choice((0, 1, 9, 41, 100, 484, 1500, 9000, 60000))
            s.sendto(chance.randbytes(size), (target, port))
for n in range(30):
    with socket.create_connection((target, 29002), 2) as s:
        try:
            s.sendall(chance.randbytes(chance.choice((1, 300, 20000))))
        except OSError:
            pass
"""
    for source in (cluster.bmc(first.number), cluster.bmc(3 - first.number)):
        done = cluster.wires_run("python3", "-c", sender, cluster.address(1, first.number), source)
        assert done.returncode == 0, done.stderr
    done = subprocess.run(
        cluster.other(first).within(
            "python3", "-c", sender, cluster.address(1, first.number),
            cluster.address(1, 3 - first.number),
        ),
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = first.root / "run/clptools"
    for _ in range(300):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.sendto(chance.randbytes(chance.choice((0, 1, 50, 4000))), f"{run}/message.sock")
    for _ in range(50):
        with socket.socket(socket.AF_UNIX) as api:
            api.connect(f"{run}/clpnode.sock")
            api.sendall(chance.randbytes(100) + b"\0")
    until("all of it was looked at", lambda: counters(first).get("trap.received", 0) >= 1)
    after = counters(first)
    for name in ("heartbeat.bad_version", "trap.malformed", "message.malformed"):
        assert after.get(name, 0) > before.get(name, 0), name
    assert cluster.online() is first
    assert first.agent is not None
    assert first.agent.poll() is None
    assert "Traceback" not in first.log()
    cluster.trap(first)
    until("a real trap still counts", lambda: cluster.online() is cluster.other(first))


def test_a_full_disk_stops_neither_the_state_nor_the_failover(cluster: Cluster) -> None:
    for node in cluster:
        for folder in ("run", "var"):
            node.small_disk(folder, "4m")
    cluster.start()
    first = cluster.online()
    for node in cluster:
        for folder in ("run", "var"):
            node.fill(folder)
    cluster.trap(first)
    second = cluster.other(first)
    until("it fails over", lambda: group(second).get("current") == second.name)

    def told(node: Node) -> bool:
        # The last page of a file takes a little even on a full disk.
        node.run(f"clpmsg Else nobody {random.randbytes(200).hex()}")
        events = second.ok("clpstat --events").splitlines()
        return any(node.name in e and "journal cannot be written" in e for e in events)

    for node in cluster:
        until("it is said once", lambda node=node: told(node))
    time.sleep(6)
    assert second.ok("clpstat --events").count("journal cannot be written") <= 2  # each server
    second.kill()
    second.start()
    until("its state was kept", lambda: group(second).get("current") == second.name)
    for node in cluster:
        for folder in ("run", "var"):
            node.empty(folder)
    until(
        "the journal goes on",
        lambda: "journal is written again" in first.ok("clpstat --events"),
    )


def test_a_hung_start_script_is_ended_and_the_next_server_tried(cluster: Cluster) -> None:
    text = cluster.toml(
        resources='[[group.resource]]\ntype = "exec"\nname = "exec1"\ntimeout = 1\n'
    )
    cluster.configure(text)
    cluster[1].script("failover1/exec1/start.sh", "#!/bin/sh\nexec sleep 31415926\n")
    cluster.start()
    until("it runs on server2", lambda: group(cluster[2]).get("current") == "server2")
    assert group(cluster[2])["status"] == "Online"
    assert "exec1" in cluster[1].ok("clpstat --events")
    assert cluster[1].run("pgrep -f '[s]leep 31415926'").stdout == ""


def test_servers_whose_clocks_are_far_apart_work_together(cluster: Cluster) -> None:
    cluster[1].start()
    cluster[2].start(wrap=("unshare", "--time", "--fork", "--kill-child", "--boottime", "90000000"))
    first = cluster.online()
    cluster.trap(first)
    until("it fails over", lambda: cluster.online() is cluster.other(first))


def test_an_agent_killed_again_and_again_never_makes_a_second_copy(cluster: Cluster) -> None:
    cluster.start()
    first = cluster.online()
    chance = random.Random(3)
    for _ in range(8):
        node = cluster[chance.choice((1, 2))]
        node.kill()
        time.sleep(chance.choice((0.0, 0.3, 1.5)))
        node.start()
        time.sleep(chance.choice((0.05, 0.5, 1.0)))
        cluster.assert_never_two()
    cluster.online(timeout_s=30)
    cluster.assert_never_two()
    assert group(first).get("current") == first.name


def test_an_agent_runs_what_was_pushed_whatever_lies_in_the_file(cluster: Cluster) -> None:
    cluster.start()
    first = cluster.online()
    second = cluster.other(first)
    pushed = (first.config / "clp.toml").read_text()
    edit = "clp.toml was edited and not pushed: revision 1 is in force"

    def said(node: Node) -> bool:
        servers = {s["name"]: s for s in node.status().get("servers", ())}
        found = servers.get(first.name, {"status": "", "conditions": []})
        texts = [caution["text"] for caution in found["conditions"]]
        return bool(found["status"] == "Caution" and texts == [edit])

    first.write_config("[[group\n")
    until("it is said everywhere", lambda: said(first) and said(second))
    first.kill()
    first.start()
    assert cluster.online().ready()
    until("it is said after a start", lambda: said(first) and said(second))
    assert edit in first.ok("clpstat -s")
    told = " ".join(second.ok(f"clpstat --explain {first.name}").split())
    assert f"{edit}. See it on {first.name}: clpcfctrl --diff" in told
    assert "Drop it there: clpcfctrl --rollback 1" in told
    checked = first.run("clpcfchk")
    assert "was edited and not pushed: revision 1 is in force" in checked.stdout
    elsewhere = " ".join(second.ok("clpcfchk").split())
    assert f"{first.name}: {edit}. See it on {first.name}: clpcfctrl --diff" in elsewhere
    assert first.run("clpcfctrl --diff").returncode == 9
    assert "failover1" in first.ok("clpstat --grp")
    folder = first.root / "pulled"
    first.ok(f"clpcfctrl --pull -x {folder}")
    assert (folder / "clp.toml").read_text() == pushed
    assert first.run("clpnode").returncode == 6
    assert [each.name for each in (first.config / "history").glob("*.toml")] == ["0001.toml"]
    assert "Revision 1 is in force" in first.ok("clpcfctrl --rollback 1")
    assert (first.config / "clp.toml").read_text() == pushed
    until("it is over", lambda: server_word(second, first.name) == "Online")
    for spoil in ("gone", "a directory"):
        (first.config / "clp.toml").unlink(missing_ok=True)
        if spoil == "a directory":
            (first.config / "clp.toml").mkdir()
        first.kill()
        first.start()
        until("it runs", lambda: server_word(second, first.name) == "Caution")
    refused = first.run("clpcfctrl --rollback 1")
    assert refused.returncode == 6
    assert "clp.toml: is a directory." in refused.stderr


def server_word(node: Node, name: str) -> str:
    return {s["name"]: str(s["status"]) for s in node.status().get("servers", ())}.get(name, "")


def test_a_frozen_agent_is_not_taken_for_dead_without_proof(cluster: Cluster) -> None:
    cluster.start()
    first = cluster.online()
    second = cluster.other(first)
    assert first.agent is not None
    first.agent.send_signal(signal.SIGSTOP)
    until("it is missed", lambda: group(second).get("waiting_for"))
    first.agent.send_signal(signal.SIGCONT)
    assert cluster.online() is first
