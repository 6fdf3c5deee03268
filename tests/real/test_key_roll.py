"""A key roll on live clusters: nothing stops hearing anything, whatever happens in between."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

ROLL = "clpcfctrl --keyroll"


def keys(cluster: Cluster) -> dict[str, list[bytes]]:
    """The keys on each server's disk: in use, next, last; empty where there is none."""
    files = ("authkey", "authkey.next", "authkey.last")

    def content(node: Node, name: str) -> bytes:
        path = node.config / name
        return path.read_bytes() if path.exists() else b""

    return {node.name: [content(node, name) for name in files] for node in cluster}


def all_are_heard(cluster: Cluster) -> bool:
    """Whether every server counts every other one, and none refuses what another sends."""
    for node in cluster:
        servers = node.status().get("servers", ())
        if len(servers) != len(list(cluster)):
            return False
        if any(server["status"] not in ("Online", "Caution") for server in servers):
            return False
    return True


def step(node: Node, told: str) -> None:
    """Typed until it is done: agents that started a moment ago are not connected yet."""
    assert told in until(told, lambda: node.run(ROLL).stdout)


def restarted(node: Node) -> None:
    node.kill()
    node.start()
    until(f"{node.name} answers", node.ready)


def test_the_key_is_rolled_while_agents_die_between_the_steps(cluster: Cluster) -> None:
    first, second = cluster
    cluster.start()
    assert cluster.online() is first
    begun = cluster.diary.read_text()
    (old,) = {each[0] for each in keys(cluster).values()}
    outside = first.config / "outside.key"
    first.ok("clpcfctrl --keygen --for clprexec")
    shutil.copy2(first.config / "authkey.clprexec", outside)
    second.script("trnreq/hello.sh", "#!/bin/sh\nexit 0\n")
    address = cluster.address(1, second.number)
    asks = f"clprexec --script hello.sh -h {address} -w 10 --key {outside}"

    step(first, "Step 1 of 3")
    assert "for the next step of the key roll" in first.alerts()
    for node in (second, first):
        assert ", which it uses." in node.alerts()
        restarted(node)
        until("all hear each other", lambda: all_are_heard(cluster))
    assert {tuple(each[::2]) for each in keys(cluster).values()} == {(old, b"")}
    (new,) = {each[1] for each in keys(cluster).values()}

    step(second, "Step 2 of 3")
    assert set(map(tuple, keys(cluster).values())) == {(new, b"", old)}
    for node in (first, second):
        restarted(node)
        until("all hear each other", lambda: all_are_heard(cluster))

    def explained() -> str:
        return " ".join(first.ok("clpstat --explain server2").split())

    until("it is explained", lambda: "under way: server2 uses authkey" in explained())
    assert ", and still accepts" in first.alerts()
    first.ok(asks)  # with a secret of the old key
    first.ok("clptrap test --to server2 fatal")

    step(first, "Step 3 of 3")
    assert set(map(tuple, keys(cluster).values())) == {(new, b"", b"")}
    until("nothing is left of it", lambda: "key roll" not in first.ok("clpstat -s"))
    refused = first.run(asks)
    assert refused.returncode == 4 and "another cluster" in refused.stderr, refused
    first.ok("clpcfctrl --keygen --for clprexec")
    first.ok(asks.replace(str(outside), str(first.config / "authkey.clprexec")))
    for node in cluster:
        until("it is told", lambda node=node: "the key roll is through here" in node.alerts())
        restarted(node)
    until("all hear each other", lambda: all_are_heard(cluster))
    assert cluster.online() is first
    assert cluster.diary.read_text() == begun, "nothing was started or stopped"
    assert "are refused" not in first.alerts() + second.alerts()


def test_no_step_without_every_server_and_a_step_cut_short_is_done_again(cluster: Cluster) -> None:
    first, second = cluster
    cluster.start()
    cluster.online()
    (old,) = {each[0] for each in keys(cluster).values()}
    second.kill()
    refused = first.run(ROLL)
    assert refused.returncode in (4, 5, 6), refused
    assert "nothing was changed: server2" in refused.stderr
    assert "Each step needs every server" in refused.stderr
    assert keys(cluster)["server1"] == [old, b"", b""]
    second.start()
    until("all hear each other", lambda: all_are_heard(cluster))
    step(first, "Step 1 of 3")

    # A power cut in the middle of the second step left this on server2's disk.
    second.kill()
    shutil.copy2(second.config / "authkey", second.config / "authkey.last")
    second.start()
    until("all hear each other", lambda: all_are_heard(cluster))
    # And this on server1's, which is a step ahead.
    first.kill()
    key = first.config / "authkey"
    key.rename(first.config / "authkey.last")
    shutil.copy2(first.config / "authkey.next", key)
    first.start()
    until("all hear each other", lambda: all_are_heard(cluster))
    gone_on = second.run(f"{ROLL} --cancel")
    assert gone_on.returncode == 6 and "server1 uses the new authkey already" in gone_on.stderr
    step(second, "Step 2 of 3")
    step(second, "Step 3 of 3")
    for node in cluster:
        restarted(node)
    until("all hear each other", lambda: all_are_heard(cluster))
    assert len({tuple(each) for each in keys(cluster).values()}) == 1
    assert keys(cluster)["server1"][0] != old
    assert keys(cluster)["server1"][1:] == [b"", b""]


def test_two_who_begin_at_once_end_with_one_key(cluster: Cluster) -> None:
    cluster.start()
    cluster.online()
    for _ in range(3):
        with ThreadPoolExecutor(2) as both:
            ends = list(both.map(lambda node: node.run(ROLL), cluster))
        assert any(end.returncode == 0 for end in ends), ends
        for end in ends:
            assert end.returncode in (0, 6), end
    for _ in range(4):
        if not any(each[1] or each[2] for each in keys(cluster).values()):
            break
        assert cluster[1].run(ROLL).returncode == 0
    left = keys(cluster)
    assert left["server1"] == left["server2"] and left["server1"][1:] == [b"", b""]
    assert all_are_heard(cluster)


def test_a_witness_and_a_key_roll_do_not_go_together(cluster: Cluster) -> None:
    first = cluster[1]
    cluster.start()
    cluster.online()
    witness = (
        '[[np]]\nname = "np1"\ntype = "witness"\nurl = "http://192.168.0.250:29003"\n'
        "interval = 0.3\ntimeout = 0.5\n"
    )
    with_one = cluster.toml(more=witness)
    step(first, "Step 1 of 3")
    (first.config / "clp.toml").write_text(with_one)
    refused = first.run("clpcfctrl --push")
    assert refused.returncode == 6 and "a key roll is under way" in refused.stderr, refused
    first.ok(f"{ROLL} --cancel")
    assert "to give the key roll up" in first.alerts()
    until("it is told", lambda: "has forgotten the new authkey" in cluster[2].alerts())
    first.ok("clpcfctrl --push")
    refused = first.run(ROLL)
    assert refused.returncode == 6 and "np1: a witness knows one authkey" in refused.stderr, refused
