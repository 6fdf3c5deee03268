"""Servers behind a firewall that drops: `clpfwctrl --add` lets them hear each other."""

from __future__ import annotations

import pytest

from tests.real.cluster import FATAL, Cluster, until

pytestmark = pytest.mark.root

DROPS = """
table inet filter {
  chain input {
    type filter hook input priority 0; policy drop;
    iif lo accept
    meta l4proto tcp ct state established accept
    icmp type echo-request accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
  }
}
"""


def test_the_ports_are_opened_where_the_firewall_drops() -> None:
    with Cluster() as cluster:
        cluster.configure()
        for node in cluster:
            node.nft(DROPS)
        cluster.start()
        first, second = cluster
        for node in cluster:
            assert [s["status"] for s in node.status()["servers"]].count("Online") < 2
        for node in cluster:
            shown = node.ok("clpfwctrl --add --dry-run")
            assert node.ok("clpfwctrl --add").startswith(shown)
        holder = cluster.online()
        until("all is well", lambda: first.status()["cluster"]["status"] == "Normal")
        cluster.trap(holder, FATAL)
        until("its trap came in", lambda: "Error" in first.ok("clpstat -m"))
        other = second if holder is first else first
        until("it moved", lambda: first.ok("clpgrp -n failover1").strip() == other.name)
