"""NIC: real links in a network namespace, bonds and driver faults as the kernel tells them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clptools.intake.netlink import Link, Links, read_line
from tests.intake.source_room import Heard, Told, finding, listening, mrw, spoken
from tests.namespaces import inside, ip

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@contextmanager
def namespace() -> Iterator[str]:
    """A namespace with `eth0`, whose other end is `far0`, both up."""
    name = f"clpnic{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("link", "add", "eth0", "type", "veth", "peer", "name", "far0", netns=name)
        for one in ("far0", "eth0"):
            ip("link", "set", one, "up", netns=name)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


async def up(heard: Heard) -> None:
    """Until the source has listed the interfaces: its socket answers in order."""
    await heard.until(lambda: "clptools.intake.netlink" in sys.modules)
    await heard.until(lambda: any("nosuch" in note for note in heard.notes))


@needs_root
def test_a_link_that_goes_down_is_told_and_closed_when_it_is_up_again() -> None:
    async def body(ns: str) -> None:
        async with Heard(mrw("NIC", "eth0"), mrw("NIC", "nosuch")) as heard:
            await up(heard)
            assert heard.told == []
            ip("link", "set", "eth0", "down", netns=ns)
            event = await heard.count(1)
            assert (event.category, event.keyword, event.recovered) == ("NIC", "eth0", False)
            assert event.text == "eth0 is switched off"
            ip("link", "set", "eth0", "up", netns=ns)
            assert (await heard.count(2)).recovered
            # The cable: what the other end does takes eth0's carrier.
            ip("link", "set", "far0", "down", netns=ns)
            assert (await heard.count(3)).text == "eth0 has no carrier"
            ip("link", "set", "far0", "up", netns=ns)
            assert (await heard.count(4)).recovered
            ip("link", "del", "eth0", netns=ns)
            gone = await heard.count(5)
            assert not gone.recovered and "it flaps: 3 times" in gone.text

    with namespace() as ns:
        inside(ns, body(ns))


@needs_root
def test_nothing_happened() -> None:
    """Other interfaces, addresses, renames and containers come and go; eth0 is well."""

    async def body(ns: str) -> None:
        async with Heard(mrw("NIC"), mrw("NIC", "eth0"), mrw("NIC", "nosuch")) as heard:
            await up(heard)
            for number in range(10):
                ip("link", "add", "c0", "type", "veth", "peer", "name", "c1", netns=ns)
                ip("link", "set", "c0", "up", netns=ns)
                ip("link", "set", "c1", "up", netns=ns)
                ip("address", "add", f"10.77.0.{number + 1}/24", "dev", "eth0", netns=ns)
                ip("link", "set", "c1", "name", "c2", netns=ns)
                ip("link", "set", "eth0", "mtu", str(1400 + number), netns=ns)
                ip("link", "del", "c0", netns=ns)
            # What comes now is behind all that in the same socket.
            ip("link", "set", "eth0", "down", netns=ns)
            await heard.count(1)
            assert heard.lines == ["eth0#link error: eth0 is switched off"]

    with namespace() as ns:
        inside(ns, body(ns))


@needs_root
def test_a_named_interface_that_is_only_being_set_up_has_not_failed() -> None:
    """A bond is made, gets its members, is switched on: all that while the agent runs."""

    async def body(ns: str) -> None:
        async with Heard(mrw("NIC", "late0"), mrw("NIC", "nosuch")) as heard:
            await up(heard)
            ip("link", "add", "late0", "type", "veth", "peer", "name", "late1", netns=ns)
            ip("link", "set", "late1", "up", netns=ns)
            ip("link", "set", "late0", "up", netns=ns)
            ip("link", "set", "late1", "down", netns=ns)
            await heard.count(1)
            assert heard.lines == ["late0#link error: late0 has no carrier"]

    with namespace() as ns:
        inside(ns, body(ns))


@needs_root
def test_an_interface_that_is_down_when_we_begin_to_look_has_failed() -> None:
    async def body(ns: str) -> None:
        async with Heard(mrw("NIC", "eth0")) as heard:
            assert (await heard.count(1)).text == "eth0 is switched off"

    with namespace() as ns:
        ip("link", "set", "eth0", "down", netns=ns)
        inside(ns, body(ns))


@needs_root
def test_an_event_of_an_earlier_run_is_closed_if_the_link_came_back_meanwhile() -> None:
    async def body(ns: str) -> None:
        async with Heard(mrw("NIC", "eth0"), was_open=["NIC/eth0#link"]) as heard:
            assert (await heard.count(1)).recovered

    with namespace() as ns:
        inside(ns, body(ns))


@needs_root
def test_a_real_bond_loses_a_member() -> None:
    async def body(ns: str) -> None:
        async with Heard(mrw("NIC", "bond0"), mrw("NIC", "nosuch")) as heard:
            await up(heard)
            ip("link", "set", "far0", "down", netns=ns)
            event = await heard.count(1)
            assert event.predictive and "member eth0 has no carrier; 1 of 2 work" in event.text
            ip("link", "set", "far0", "up", netns=ns)
            assert (await heard.count(2)).recovered
            ip("link", "set", "far0", "down", netns=ns)
            ip("link", "set", "far2", "down", netns=ns)
            await heard.until(lambda: any("bond0 has no carrier" in line for line in heard.lines))

    with namespace() as ns:
        made = subprocess.run(
            ["ip", "-n", ns, "link", "add", "bond0", "type", "bond", "miimon", "20"],
            capture_output=True,
            text=True,
        )
        if made.returncode:
            pytest.skip(f"this kernel has no bonding: {made.stderr.strip()}")
        ip("link", "add", "eth2", "type", "veth", "peer", "name", "far2", netns=ns)
        ip("link", "set", "far2", "up", netns=ns)
        for one in ("eth0", "eth2"):
            ip("link", "set", one, "down", netns=ns)
            ip("link", "set", one, "master", "bond0", netns=ns)
        ip("link", "set", "bond0", "up", netns=ns)
        inside(ns, body(ns))


def link(name: str, running: bool = True, master: int = 0, kind: str = "") -> Link:
    return Link(name=name, up=True, running=running, master=master, kind=kind, loopback=False)


async def test_a_bond_that_loses_a_member_is_a_warning_of_the_bond() -> None:
    told = Told(mrw("NIC", "bond0"))
    links = Links(told.faults)
    links._new(5, link("bond0", kind="bond"))
    links._new(6, link("eth1", master=5))
    links._new(7, link("eth2", master=5))
    links._new(7, link("eth2", running=False, master=5))
    links._new(7, link("eth2", master=5))
    links._gone(6)
    links._new(5, link("bond0", running=False, kind="bond"))
    assert told.lines == [
        "bond0#member eth2 warning: bond0: member eth2 has no carrier; 1 of 2 work",
        "bond0#member eth2 ok: bond0: eth2 is in order again",
        "bond0#member eth1 warning: bond0: member eth1 is gone; 1 of 1 work",
        "bond0#link error: bond0 has no carrier",
    ]


async def test_a_port_that_never_had_a_link_is_no_fault_of_any_device() -> None:
    told = Told(mrw("NIC"))
    links = Links(told.faults)
    links._new(2, link("eth5", running=False))
    links._new(3, link("veth1", kind="veth"))
    links._new(3, link("veth1", running=False, kind="veth"))
    links._gone(3)
    assert told.lines == []


@pytest.mark.parametrize(
    ("line", "device", "fault"),
    [
        ("NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out 5120 ms", "eth0", "transmit"),
        ("NETDEV WATCHDOG: eth1 (igb): transmit queue 3 timed out", "eth1", "transmit"),
        ("e1000e 0000:00:19.0 eth0: Detected Hardware Unit Hang:", "eth0", "transmit"),
        ("tg3 0000:02:00.0 eth2: transmit timed out, resetting", "eth2", "transmit"),
        ("bnxt_en 0000:5e:00.0 ens1: TX timeout detected, starting reset task!", "ens1",
         "transmit"),
        ("mlx5_core 0000:3b:00.0: firmware fatal error detected", "0000:3b:00.0", "firmware"),
        ("i40e 0000:18:00.0: Firmware recovery mode detected. Limiting functionality.",
         "0000:18:00.0", "firmware"),
        ("be2net: FW error detected\n DEVICE=n4", "n4", "firmware"),
    ],
)  # fmt: skip
def test_lines_of_drivers(line: str, device: str, fault: str) -> None:
    found = finding(read_line, line)
    assert found is not None and (found.device, found.fault) == (device, fault)


@pytest.mark.parametrize(
    "line",
    [
        "e1000e 0000:00:19.0 eth0: NIC Link is Up 1000 Mbps Full Duplex, Flow Control: None",
        "bnx2 0000:02:00.0: firmware: direct-loading firmware bnx2/bnx2-mips-09-6.2.1b.fw",
        "tg3 0000:02:00.0: Direct firmware load for tigon/tg3.bin failed with error -2",
        "ixgbe 0000:01:00.0: registered PHC device on eth0",
        "device eth0 entered promiscuous mode",
        "IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready",
        'audit: type=1400 audit(1.2:3): apparmor="DENIED" name="firmware error"x',
    ],
)
def test_lines_that_say_nothing_of_a_fault(line: str) -> None:
    found = finding(read_line, line)
    assert found is None or not found.device.startswith(("e", "0"))


async def test_a_driver_fault_is_the_fault_of_its_interface(tmp_path: Path) -> None:
    """`lo` stands in for a card: sysfs says which PCI device it is."""
    kernel, kmsg, _ = spoken(tmp_path)
    device = tmp_path / "sys/devices/pci0000:00/0000:3b:00.0"
    device.mkdir(parents=True)
    net = tmp_path / "sys/class/net/lo"
    net.mkdir(parents=True)
    (net / "device").symlink_to(device)

    async with Heard(mrw("NIC", "lo"), mrw("NIC", "nosuch"), kernel=kernel) as heard:
        await listening(kmsg)
        await up(heard)
        kmsg.say("mlx5_core 0000:3c:00.0: firmware fatal error detected")
        kmsg.say("mlx5_core 0000:3b:00.0: firmware fatal error detected")
        kmsg.say("x: firmware fatal error\n DEVICE=n1")
        event = await heard.count(1)
        assert (event.keyword, event.fault) == ("lo", "firmware")
        assert len(heard.told) == 1
