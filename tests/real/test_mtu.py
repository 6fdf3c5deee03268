"""200 groups, and interconnects that lose large packets: what is said of groups arrives anyway.

server2's ends of the cables take only packets up to `MTU`, and server1 does not know: a jumbo frame
on a switch that has none.  What is larger is lost without a word.
"""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

GROUPS = 200
MTU = 1_300
NAMES = [f"group-{n:03d}-with-a-name-that-takes-its-place" for n in range(2, GROUPS + 1)]


def configured(cluster: Cluster) -> str:
    """failover1 with its script, and 199 more that are nothing but names."""
    more = "\n".join(
        f'[[group]]\nname = "{name}"\ntype = "failover"\nservers = ["server1", "server2"]'
        for name in NAMES
    )
    return cluster.toml(resources='[[group.resource]]\ntype = "exec"\nname = "exec1"\n', more=more)


def narrow(node: Node, lans: int, mtu: int) -> None:
    for lan in range(1, lans + 1):
        subprocess.run(
            ["ip", "-n", node.namespace, "link", "set", f"eth{lan}", "mtu", str(mtu)], check=True
        )


def online(node: Node) -> dict[str, str]:
    """Group -> where it runs, as this server sees it."""
    return {
        g["name"]: str(g.get("current"))
        for g in node.status().get("groups", ())
        if g["status"] == "Online"
    }


def servers_online(node: Node) -> int:
    return sum(s["status"] == "Online" for s in node.status().get("servers", ()))


def test_large_packets_that_are_lost_cost_no_server_and_no_group() -> None:
    with Cluster(lans=2) as cluster:
        one, two = cluster
        cluster.configure(configured(cluster))
        narrow(two, 2, MTU)
        cluster.start()
        until("all run", lambda: len(online(two)) == GROUPS == len(online(one)), 90)
        time.sleep(1)
        lost = subprocess.run(
            one.within(
                "ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", cluster.address(1, 2)
            ),
            capture_output=True,
        )
        assert lost.returncode != 0, "the path takes large packets after all"
        one.ok("clpgrp -m failover1 -a server2", 60)
        until("server1 sees it there", lambda: online(one).get("failover1") == "server2")
        one.ok("clpgrp -m failover1 -a server1", 60)
        until("server2 sees it here", lambda: online(two).get("failover1") == "server1")
        for node in cluster:
            told = node.alerts()
            assert "is lost" not in told
            assert "MTU?" not in told
            assert "forced stop" not in told
        cluster.assert_never_two()


def test_a_path_that_loses_even_pages_costs_no_server_and_is_told() -> None:
    """No path of an IPv6 network is so narrow; the beats still pass."""
    with Cluster(lans=1) as cluster:
        one, two = cluster
        cluster.configure(configured(cluster))
        cluster.start()
        until("all run", lambda: len(online(two)) == GROUPS == len(online(one)), 90)
        narrow(two, 1, 1_000)
        two.kill()
        two.start()
        until("it is heard again", lambda: servers_online(one) == 2 == servers_online(two))
        before = len(one.alerts())
        until("it is told", lambda: "MTU?" in two.alerts())
        (text,) = [line for line in two.alerts().splitlines() if "MTU?" in line]
        assert "server1 is heard over lankhb1, but its larger datagrams" in text
        narrow(two, 1, 1_500)
        until("its end is told", lambda: "datagrams of server1 arrive again" in two.alerts())
        assert "server2 was last heard" not in one.alerts()[before:]
        assert "server1 was last heard" not in two.alerts()
        assert online(one)["failover1"] == "server1"
        cluster.assert_never_two()
