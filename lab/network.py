"""LAN1, LAN2 and the BMC network: bridges in the laboratory's own network namespace.

Every server has a tap in each, named after it (`s1lan1`); every BMC has one end of a veth pair
in the BMC network, whose cable is pulled by taking the other end down.
"""

from __future__ import annotations

from lab.image import NETWORKS
from lab.places import run

CLIENT = 254
"""The laboratory's own address in each network ends so: it is the client of the group."""
BMC_BASE = 10
"""The BMC of server N is at N + this."""


def bmc_address(server: int) -> str:
    """The address of a server's BMC."""
    return f"{NETWORKS['bmc']}.{BMC_BASE + server}"


def build(servers: int) -> None:
    """Makes everything; it ends with the namespace."""
    run("ip", "link", "set", "lo", "up")
    for name, prefix in NETWORKS.items():
        _ip(f"link add {name} type bridge forward_delay 0 mcast_snooping 0")
        _ip(f"addr add {prefix}.{CLIENT}/24 dev {name}")
        _ip(f"link set {name} up")
    # One address a cable, and all of them in this namespace: each answers for its own only.
    for key in ("arp_ignore=1", "arp_announce=2", "rp_filter=0"):
        run("sysctl", "-q", "-w", f"net.ipv4.conf.all.{key}")
    for server in range(1, servers + 1):
        for name in NETWORKS:
            _ip(f"tuntap add s{server}{name} mode tap")
            _ip(f"link set s{server}{name} master {name} up")
        _ip(f"link add bmc{server} type veth peer name bmcplug{server}")
        _ip(f"link set bmcplug{server} master bmc up")
        _ip(f"addr add {bmc_address(server)}/24 dev bmc{server} noprefixroute")
        _ip(f"link set bmc{server} up")


def link(server: int, network: str, up: bool) -> None:
    """Plugs or pulls a server's cable."""
    _ip(f"link set s{server}{network} {'up' if up else 'down'}")


def bmc_cable(server: int, up: bool) -> None:
    """Plugs or pulls the cable of a server's BMC."""
    _ip(f"link set bmcplug{server} {'up' if up else 'down'}")


def switch(network: str, up: bool) -> None:
    """Turns the switch of a whole network on or off."""
    _ip(f"link set {network} {'up' if up else 'down'}")


def heal(servers: int) -> None:
    """Everything plugged in."""
    for name in NETWORKS:
        switch(name, True)
    for server in range(1, servers + 1):
        bmc_cable(server, True)
        for name in NETWORKS:
            link(server, name, True)


def _ip(line: str) -> None:
    run("ip", *line.split())
