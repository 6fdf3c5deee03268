"""What is set up stays as it was promised, or is told: addresses, ports, disks, facts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

_FIP = "192.168.0.100"
_HOLDS = "import socket,sys; s=socket.socket(2,2); s.bind((sys.argv[1],162)); print(1,flush=True); "
_HOLDS += "sys.stdin.read()"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        made.configure()
        made.start()
        made.online()
        yield made
        made.assert_never_two()


def _server(seen_by: Node, name: str) -> dict[str, object]:
    return next(one for one in seen_by.status()["servers"] if one["name"] == name)


def _take_away(node: Node) -> None:
    shown = node.within("ip", "-o", "address", "show", "to", _FIP)
    line = subprocess.run(shown, capture_output=True, text=True, check=True).stdout.split()
    away = node.within("ip", "address", "del", f"{_FIP}/24", "dev", line[1])
    subprocess.run(away, check=True)


def test_a_floating_address_that_somebody_removes_is_back_and_the_group_stays(
    cluster: Cluster,
) -> None:
    holder = cluster.online()
    _take_away(holder)
    until("it is put back", lambda: _FIP in holder.addresses())
    until("it is told", lambda: "is put back" in holder.alerts())
    assert cluster.online() is holder
    holder.kill()
    holder.start()
    until("it answers", lambda: holder.run("clpstat").returncode == 0)
    assert cluster.online() is holder
    until("its core is there", lambda: "found failover1 running" in holder.alerts())
    _take_away(holder)
    until("the next agent puts it back, too", lambda: _FIP in holder.addresses())
    assert "Online" in holder.ok("clpstat -s")


def test_a_trap_port_that_is_taken_is_caution_everywhere_until_it_is_free(
    cluster: Cluster,
) -> None:
    first, second = cluster
    second.kill()
    command = second.within(sys.executable, "-c", _HOLDS, cluster.address(1, second.number))
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
        second.start()
        until("the other server knows", lambda: _server(first, "server2")["conditions"])
        for node in cluster:
            assert _server(node, "server2")["status"] == "Caution"
            said = "another program has this port"
            for command_line in ("-s", "-m", "--hw", "--explain mrw1", "--explain server2"):
                shown = " ".join(node.ok(f"clpstat {command_line}").split())
                assert said in shown, (node.name, command_line)
        found = " ".join(first.ok("clpcfchk").split())
        assert "on server2 has udp" in found
        assert "nothing is known of" not in found
    finally:
        holder.communicate()
    until("it is well again", lambda: not _server(first, "server2")["conditions"])
    assert _server(first, "server2")["status"] == "Online"
    until("it is told", lambda: "traps are received now" in second.alerts())


def test_a_full_disk_is_caution_until_it_has_room(cluster: Cluster) -> None:
    first, second = cluster
    second.kill()
    second.small_disk("var", "4m")
    second.start()
    until("it answers", second.ready)
    until("it is well", lambda: _server(second, "server2")["status"] == "Online")
    second.fill("var")
    until("the other server knows", lambda: _server(first, "server2")["conditions"])
    assert _server(first, "server2")["status"] == "Caution"
    assert "No space left" in " ".join(first.ok("clpstat -s").split())
    assert "No space left" in " ".join(first.ok("clpstat --explain server2").split())
    second.empty("var")
    until("it is well again", lambda: not _server(first, "server2")["conditions"])
    until("so are all", lambda: _server(first, "server2")["status"] == "Online")
    until("its end is told", lambda: "written again" in first.ok("clpstat --events"))
