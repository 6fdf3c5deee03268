"""Two releases in one cluster: a rolling upgrade, server by server, and the way back.

As the package does it, the cluster is suspended while an agent is replaced, so the group runs on.
"""

from __future__ import annotations

import signal

import pytest

from clptools.version import VERSION
from tests.real.cluster import Cluster, Node, until
from tests.releases import LAST

pytestmark = pytest.mark.root


def becomes(node: Node, release: str) -> None:
    """Another version of clptools is installed, and the agent restarted."""
    node.ok("clpcl --suspend")
    node.kill(signal.SIGTERM)
    node.release = release
    node.start()
    until("it hears the others", lambda: node.run("clpcl --resume").returncode == 0)
    until(
        "all take part again",
        lambda: all(
            [s["status"] for s in n.status().get("servers", ())] == ["Online", "Online"]
            for n in node.cluster
        ),
    )


def versions(node: Node) -> list[str]:
    """What this server's agent knows of all of them."""
    return [server["version"] for server in node.status()["servers"]]


def test_a_rolling_upgrade_and_the_way_back(cluster: Cluster) -> None:
    first, second = cluster
    for node in cluster:
        node.release = LAST
    cluster.start()
    assert cluster.online() is first
    begun = cluster.diary.read_text()

    becomes(second, "")
    assert cluster.diary.read_text() == begun, "nothing was started or stopped"
    assert versions(second) == ["", VERSION]
    apart = f"Servers run different versions: {LAST} on server1, {VERSION} on server2."
    until("it is said", lambda: apart in " ".join(second.ok("clpstat -s").split()))
    first.ok("clpgrp -m failover1 -a server2")
    assert cluster.online() is second
    second.ok("clpgrp -m failover1 -a server1")
    assert cluster.online() is first
    cluster.trap(first)
    until("its group is safe", lambda: cluster.online() is second)
    second.ok("clpmonctrl --acknowledge -m mrw1 -h server1")

    begun = cluster.diary.read_text()
    becomes(first, "")
    assert cluster.diary.read_text() == begun
    until("both say it", lambda: versions(first) == [VERSION, VERSION])
    assert "Two versions" not in first.ok("clpstat -s")
    for node in cluster:
        assert node.run("clpreplay").returncode == 0, "the journal of the last release is read"

    becomes(second, LAST)
    assert cluster.diary.read_text() == begun
    assert cluster.online() is second
    second.ok("clpgrp -m failover1 -a server1")
    assert cluster.online() is first
    cluster.assert_never_two()


def test_a_push_with_what_only_the_newer_one_knows_is_refused_by_the_older(
    cluster: Cluster,
) -> None:
    first, second = cluster
    second.release = LAST
    cluster.start()
    assert cluster.online() is first
    first.write_config(cluster.toml(cluster="surprise = true\n"))
    refused = first.run("clpcfctrl --push")
    assert refused.returncode != 0
    assert "surprise" in refused.stderr


def test_a_key_roll_waits_until_all_have_it(cluster: Cluster) -> None:
    first, second = cluster
    second.release = LAST
    cluster.start()
    cluster.online()
    key = (first.config / "authkey").read_bytes()
    refused = first.run("clpcfctrl --keyroll")
    assert refused.returncode == 6, refused
    assert "nothing was changed: server2 runs an older version" in refused.stderr
    assert [path.name for path in first.config.glob("authkey*")] == ["authkey"]
    assert (first.config / "authkey").read_bytes() == key
