"""Another authkey on one server: told by both, with the mend, and nobody is vouched down by it."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.real.cluster import Cluster, until

pytestmark = pytest.mark.root


def test_a_server_with_another_authkey_is_told_and_heard_again_once_it_is_mended(
    cluster: Cluster,
) -> None:
    cluster.start()
    cluster.online()
    first, second = cluster
    second.write_key(os.urandom(32))
    second.kill()
    second.start()
    for node, address, other in (
        (first, "192.168.0.2", "server2"),
        (second, "192.168.0.1", "server1"),
    ):
        until(
            f"{node.name} tells of it",
            lambda node=node, address=address: f"Datagrams from {address}" in node.alerts(),
        )
        assert f"({other}) are refused: the authkey of {other} differs" in node.alerts()

    def explained() -> str:
        return " ".join(first.ok("clpstat --explain server2").split())

    until("it is explained", lambda: "datagrams from 192.168.0.2 are refused" in explained())
    assert "/etc/clptools/authkey" in explained()
    assert "server2: datagrams from" in first.ok("clpstat -s")
    vouched = first.run("clpnode confirm-down server2 --yes")
    assert vouched.returncode == 6, vouched.stdout
    assert "are refused" in vouched.stderr
    # As the mend says: the same key, then a restart.
    (second.config / "authkey").unlink()
    shutil.copy2(first.config / "authkey", second.config / "authkey")
    second.kill()
    second.start()
    until("it is told", lambda: "server2 are no longer refused" in first.alerts())
    assert "are refused" not in first.ok("clpstat -s")
