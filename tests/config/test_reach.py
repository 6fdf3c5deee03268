"""A server that answers on its port and not to an echo is noticed; one that is down is not."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from clptools.config import facts
from clptools.core.model.settings import Bmc, Cluster, Interconnect, Server, Settings
from tests.namespaces import inside, wire

pytestmark = pytest.mark.root

PORT = 29002
SETTINGS = Settings(
    cluster=Cluster(port=PORT),
    servers=(
        Server(name="server1"),
        Server(name="server2", bmc=Bmc(address="192.0.2.2")),
    ),
    interconnects=(
        Interconnect(
            name="lan1", type="lanhb", addresses={"server1": "10.9.0.1", "server2": "10.9.0.2"}
        ),
        Interconnect(
            name="lan2", type="lanhb", addresses={"server1": "192.0.2.7", "server2": "192.0.2.8"}
        ),
    ),
)
LISTEN = (
    "import socket, sys; s = socket.create_server(('10.9.0.2', int(sys.argv[1])));"
    "print('ready', flush=True); sys.stdin.read()"
)


def in_ns(netns: str, *words: str) -> None:
    subprocess.run(["ip", "netns", "exec", netns, *words], check=True, capture_output=True)


def test_an_echo_that_is_filtered_is_noticed() -> None:
    with wire() as (one, two):

        def asked(settings: Settings = SETTINGS) -> frozenset[str]:
            return inside(one, facts._unechoed(settings, "server1"))

        assert asked() == frozenset(), "nothing listens there: it may be down"
        listener = subprocess.Popen(
            ["ip", "netns", "exec", two, sys.executable, "-c", LISTEN, str(PORT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert listener.stdout is not None and listener.stdout.readline()
            assert asked() == frozenset()
            in_ns(two, "sysctl", "-w", "net.ipv4.icmp_echo_ignore_all=1")
            assert asked() == {"server2"}
            without = tuple(Server(name=server.name) for server in SETTINGS.servers)
            assert asked(msgspec.structs.replace(SETTINGS, servers=without)) == frozenset()
        finally:
            listener.kill()
            listener.communicate()
