"""`clpstat --hw` shows what came to every server, and says of whom it cannot."""

from __future__ import annotations

import json

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = [pytest.mark.root, pytest.mark.slow]


def page(node: Node) -> dict[str, dict[str, object]]:
    found = json.loads(node.ok("clpstat --hw --json"))["servers"]
    return {server["name"]: server for server in found}


def test_counters_of_every_server_are_seen_from_each() -> None:
    with Cluster() as cluster:
        cluster.configure()
        cluster.start()
        cluster.online()
        first, second = cluster
        # From the other server's BMC: refused there, and counted there.
        cluster.trap(second, source=1)

        def counted() -> bool:
            counters = page(first)["server2"]["counters"]
            return isinstance(counters, dict) and counters.get("not_allowed") == 1

        until("the first server shows the second's counter", counted)
        assert page(first)["server1"]["counters"] != page(first)["server2"]["counters"]
        assert page(second)["server2"]["unreachable"] is None
        second.kill()
        until("it is said", lambda: page(first)["server2"]["unreachable"])
        assert "not known" in first.ok("clpstat --hw")
        assert page(first)["server1"]["unreachable"] is None
