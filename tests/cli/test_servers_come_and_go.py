"""Servers of a real cluster that are taken out, and that come without the passwords of BMCs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from clptools.sim.loopback import LoopbackCluster

pytestmark = pytest.mark.slow


@pytest.fixture
def three() -> Iterator[LoopbackCluster]:
    with LoopbackCluster(servers=3) as cluster:
        cluster.start()
        for node in cluster.nodes:
            cluster.wait(node, "group failover1 online on server1", 60)
        yield cluster


def test_a_server_that_is_taken_out_shows_no_ghost_of_its_cluster(three: LoopbackCluster) -> None:
    first, third = three["server1"], three["server3"]
    new = three.folder / "new"
    new.mkdir()
    shutil.copy(first.config / "clp.toml", new)
    shutil.copytree(first.config / "scripts", new / "scripts")
    assert third.run("clpcl", "-t").returncode == 0
    (first.config / "bmc/server2").unlink()
    assert first.run("clpcfset", "del", "server", "server3", "-x", str(new)).returncode == 0
    pushed = first.run("clpcfctrl", "--push", "-x", str(new))
    # What the servers' machines lack for it comes first.
    assert pushed.stdout.splitlines()[-4:] == [
        "Revision 2 is in force on every server.",
        "The password of the BMC of server2 is missing on server1. Set it there: clpbmccnf server2",
        "server3 has no configuration any more.",
        "Command succeeded.",
    ]
    shown = third.run("clpstat")
    assert shown.returncode == 0
    assert "server1 ...." not in shown.stdout
    assert "took server3 out of the cluster demo (revision 2)" in shown.stdout
    assert "; it belongs to none." in shown.stdout
    assert "took server3 out" in third.run("clpstat", "--events", "--text").stdout
    started = third.run("clpcl", "-s")
    assert started.returncode == 0
    assert started.stdout.startswith("The node agent runs. server1 took server3 out of the cluster")
