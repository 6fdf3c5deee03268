"""What the kernel of this machine says: ports, watchdogs, the clock, managers of interfaces."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clptools.config import machine
from tests.config.sample import TWO, good
from tests.conftest import free_port

_HOLDS = """
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
one = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET, kind)
one.bind((sys.argv[2], int(sys.argv[3])))
if kind == socket.SOCK_STREAM:
    one.listen()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("protocol", "address"), [("udp", "127.0.0.1"), ("tcp", "127.0.0.1"), ("udp", "0.0.0.0")]
)
def test_a_port_that_another_program_has_is_told_with_its_name(protocol: str, address: str) -> None:
    port = free_port()
    text = TWO.replace("10.0.0.1", "127.0.0.1") + f"[cluster]\nport = {port}\n"
    settings = good(text)
    assert machine.taken(settings, "server1") == {}
    command = [sys.executable, "-c", _HOLDS, protocol, address, str(port)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"ready\n"
        (place,) = found = machine.taken(settings, "server1")
        assert place == f"{protocol} 127.0.0.1:{port}"
        name = Path(f"/proc/{holder.pid}/comm").read_text().strip()
        assert found[place] == name or os.geteuid() != 0
        elsewhere = machine.taken(settings, "server2")
        assert bool(elsewhere) == (address == "0.0.0.0"), "which is every address"
    finally:
        holder.communicate()


def test_a_trap_port_is_wanted_where_its_monitor_runs() -> None:
    monitor = (
        '[[monitor]]\ntype = "mrw"\ncategory = "BMCNOTICE"\n'
        'keyword_on = { server1 = "10.0.0.1", server2 = "10.0.0.2:1162" }\n'
    )
    settings = good(TWO + monitor)
    assert ("udp", "10.0.0.1", 162) in set(machine.wanted_ports(settings, "server1"))
    assert ("udp", "10.0.0.2", 1162) in set(machine.wanted_ports(settings, "server2"))


def test_watchdogs_that_cannot_be_armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLP_ROOT", raising=False)
    monkeypatch.setattr(machine, "_open_files", lambda: iter(()))
    dev, modules = tmp_path / "dev", tmp_path / "modules"
    dev.mkdir()
    found = machine.watchdog_faults(str(dev), str(modules))
    assert "no softdog module" in found["softdog"] and "/dev/ipmi0" in found["ipmi"]
    here = modules / os.uname().release
    here.mkdir(parents=True)
    (here / "modules.dep").write_text("kernel/drivers/watchdog/softdog.ko.xz:\n")
    assert "softdog" not in machine.watchdog_faults(str(dev), str(modules))
    (here / "modules.dep").unlink()
    (dev / "watchdog").touch()
    (dev / "ipmi0").touch()
    assert machine.watchdog_faults(str(dev), str(modules)) == {}
    monkeypatch.setattr(machine, "_open_files", lambda: iter([("1", "/dev/watchdog0")]))
    assert "RuntimeWatchdogSec" in machine.watchdog_faults(str(dev), str(modules))["softdog"]


def test_a_node_below_a_root_of_its_own_arms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLP_ROOT", "/tmp/node1")
    assert set(machine.watchdog_faults()) == {"softdog", "ipmi"}


def test_the_clock_is_synchronised_or_not() -> None:
    assert machine.clock_fault() in ("", "no time service keeps it synchronised")


def test_who_configures_the_interface_of_a_floating_address(tmp_path: Path) -> None:
    index = socket.if_nametoindex("lo")
    group = (
        '[[group]]\nname = "failover1"\n[[group.resource]]\ntype = "fip"\nname = "fip1"\n'
        'address = "10.0.0.100/24"\ninterface = "lo"\n'
    )
    settings = good(TWO + group)
    run = str(tmp_path)
    assert machine.managed(settings, "server1", run) == {}
    links = tmp_path / "systemd/netif/links"
    links.mkdir(parents=True)
    (links / str(index)).write_text("ADMIN_STATE=unmanaged\n")
    assert machine.managed(settings, "server1", run) == {}
    (links / str(index)).write_text("# comment\nADMIN_STATE=configured\nOPER_STATE=routable\n")
    told = {"fip1": "systemd-networkd configures lo"}
    assert machine.managed(settings, "server1", run) == told
    (links / str(index)).unlink()
    devices = tmp_path / "NetworkManager/devices"
    devices.mkdir(parents=True)
    (devices / str(index)).write_text("[device]\nmanaged=true\n")
    assert machine.managed(settings, "server1", run) == {"fip1": "NetworkManager configures lo"}
