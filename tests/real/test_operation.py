"""An operator's day on real servers: first push, changes, suspend, stop, start, restart."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two servers that began with the shared secret alone; tests build on one another."""
    with Cluster() as made:
        for node in made:
            node.start()
        for node in made:
            until("it answers", lambda node=node: node.run("clpstat").returncode == 0)
        yield made
        made.assert_never_two()


def server(node: Node, name: str) -> str:
    return {s["name"]: str(s["status"]) for s in node.status().get("servers", ())}.get(name, "")


def back(cluster: Cluster, name: str) -> bool:
    """Whether it takes part again, for all, and somebody decides.

    A server may not have noticed yet that it was away, and takes it for the coordinator still.
    """
    decides = [node.status().get("cluster", {}).get("coordinator") == node.name for node in cluster]
    return any(decides) and all(server(node, name) == "Online" for node in cluster)


def test_a_first_push_reaches_servers_that_have_only_the_secret(cluster: Cluster) -> None:
    first, second = cluster
    refused = first.run("clpgrp -s failover1")
    assert refused.returncode == 6
    assert "no configuration" in refused.stderr
    first.write_config(cluster.toml())
    cluster.diary_scripts(first, "failover1", "exec1")
    assert "Revision 1" in first.ok("clpcfctrl --push")
    assert cluster.online() is first
    assert (second.config / "clp.toml").read_text() == (first.config / "clp.toml").read_text()
    assert (second.config / "history/0001.toml").exists()
    script = second.config / "scripts/failover1/exec1/start.sh"
    assert script.stat().st_mode & 0o777 == 0o750
    assert first.run("clpcfctrl --compcheck").returncode == 0


def test_a_push_that_one_server_cannot_take_changes_nothing(cluster: Cluster) -> None:
    first, second = cluster
    before = (second.config / "clp.toml").read_text()
    good = before.replace("stall_on_predictive_failure = true", "")
    first.write_config(good.replace("failover1", "failover2", 1))
    assert first.run("clpcfctrl --push").returncode == 8
    second.kill()
    first.write_config(good)
    refused = first.run("clpcfctrl --push")
    assert refused.returncode == 6
    assert "nothing was changed: server2: " in refused.stderr
    assert "it is not proven down" in refused.stderr
    assert "--without server2" in refused.stderr
    second.start()
    until("it is back", lambda: back(cluster, "server2"))
    assert (second.config / "clp.toml").read_text() == before
    assert first.run("clpcfctrl --compcheck").returncode == 9
    assert "Revision 2" in first.ok("clpcfctrl --push")
    assert (second.config / "clp.toml").read_text() == good
    assert cluster.online() is first
    until("all know it", lambda: second.status()["cluster"]["revision"] == 2)


def test_every_server_tells_why_the_group_is_where_it_is(cluster: Cluster) -> None:
    for node in cluster:
        text = node.ok("clpstat --explain failover1")
        assert text.startswith("failover1 is Online on server1")
        assert "granted epoch" in text
    unknown = cluster[1].run("clpstat --explain failover9")
    assert unknown.returncode == 5
    assert "failover1" in unknown.stderr


def test_another_servers_view_is_a_call_away(cluster: Cluster) -> None:
    there = json.loads(cluster[1].ok("clpstat --json -h server2"))
    assert [s["name"] for s in there["servers"] if s["local"]] == ["server2"]


def test_what_all_servers_know_is_collected_from_one(cluster: Cluster) -> None:
    first = cluster[1]
    first.ok(f"clplogcc -o {first.root}")
    with tarfile.open(first.root / "server2-log.tar.gz") as archive:
        archive.extractall(first.root, filter="data")
    packed = first.root / "server2-log"
    assert (packed / "log/alert.log").read_text() in cluster[2].alerts()
    assert "server2" in [
        s["name"]
        for s in json.loads((packed / "status.json").read_text())["status"]["servers"]
        if s["local"]
    ]
    first.ok(f"clpreplay {packed}/data/journal")
    cluster[2].kill()
    alone = first.run(f"clplogcc -o {first.root}")
    assert (alone.returncode, "server2 was not collected: " in alone.stdout) == (1, True)
    cluster[2].start()
    until("it is back", lambda: back(cluster, "server2"))


def test_suspended_it_does_not_recover_and_resumed_it_does_not_make_up_for_it(
    cluster: Cluster,
) -> None:
    first = cluster[1]
    first.ok("clpcl --suspend")
    until("all know it", lambda: cluster[2].status()["cluster"]["suspended"])
    cluster.trap(first)
    until("it is shown", lambda: "IERR" in first.ok("clpstat --hw"))
    cluster[2].ok("clpcl --resume")
    until("all know it", lambda: not first.status()["cluster"]["suspended"])
    assert cluster.online() is first
    first.ok("clpmonctrl --acknowledge -m mrw1")


def test_stopping_one_server_moves_its_group_and_it_can_come_back(cluster: Cluster) -> None:
    first, second = cluster
    first.ok("clpcl -t -w 20")
    assert server(second, "server1") == "Offline"
    until("it moved", lambda: second.ok("clpgrp -n failover1").strip() == "server2")
    first.kill()
    first.start()  # the service was stopped in this boot, and stays so
    until("it answers", first.ready)
    assert server(first, "server1") == "Offline"
    first.ok("clpcl -s -w 20")
    until("it is back", lambda: back(cluster, "server1"))
    assert cluster.online() is second


def test_restarting_the_whole_cluster_brings_the_group_back(cluster: Cluster) -> None:
    cluster[2].ok("clpcl -r -a -w 30")
    cluster.online()
    cluster[1].ok("clpcl -t -a -w 30")
    until("all stopped", lambda: cluster[2].status()["cluster"]["status"] == "Stopped")
    cluster[2].ok("clpcl -s -a -w 30")
    cluster.online()
