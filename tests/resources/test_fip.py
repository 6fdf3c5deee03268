"""`fip`: a floating address on a wire between two hosts."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from clptools.core.model.settings import Option, Resource
from clptools.resources import neighbours
from clptools.resources.neighbours import Port, own_macs
from clptools.resources.operations import ResourceContext, ResourceOutcome
from clptools.resources.registry import perform
from clptools.resources.script import ScriptRunner
from tests.conftest import LIMIT_S
from tests.namespaces import inside, ip, wire

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

ADDRESS = "10.9.0.100/24"
ADDRESS6 = "fd09::100/64"


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[str, str]]:
    with wire() as names:
        yield names


@pytest.fixture(autouse=True)
def clean(hosts: tuple[str, str]) -> Iterator[None]:
    yield
    for number, host in enumerate(hosts, start=1):
        ip("link", "set", "eth0", "up", netns=host)
        for address in addresses(host):
            if address.split("/")[0] not in (f"10.9.0.{number}", f"fd09::{number}"):
                ip("address", "del", address, "dev", "eth0", netns=host)
        if f"fd09::{number}/64" not in addresses(host):
            ip("address", "add", f"fd09::{number}/64", "dev", "eth0", "nodad", netns=host)


def addresses(host: str) -> set[str]:
    """Addresses of eth0, without link-local ones."""
    (link,) = json.loads(ip("-j", "address", "show", "dev", "eth0", netns=host))
    return {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] != "link"}


def mac(host: str) -> bytes:
    (link,) = json.loads(ip("-j", "link", "show", "dev", "eth0", netns=host))
    return bytes.fromhex(link["address"].replace(":", ""))


async def carry_out(
    op: str,
    remarks: list[str] | None = None,
    *,
    start_timeout_ms: int = 20_000,
    macs_off: tuple[str, ...] = (),
    **options: Option,
) -> ResourceOutcome:
    resource = Resource(
        name="fip1",
        type="fip",
        start_timeout_ms=start_timeout_ms,
        stop_timeout_ms=20_000,
        options={"address": ADDRESS, "announcements": 1, "duplicate_check": True} | options,
    )
    context = ResourceContext(
        server="server1",
        group="failover1",
        event="START",
        run=ScriptRunner().run,
        log=(remarks if remarks is not None else []).append,
        macs_off=macs_off,
    )
    return await perform(resource, op, context)


def test_it_finds_its_interface_by_network_and_goes_again(hosts: tuple[str, str]) -> None:
    before = addresses(hosts[0])
    outcome = inside(hosts[0], carry_out("start"))
    assert outcome.ok and outcome.text == "10.9.0.100/24 on eth0"
    assert addresses(hosts[0]) == before | {ADDRESS}
    assert inside(hosts[0], carry_out("start")).text.endswith("where it was already")
    assert inside(hosts[0], carry_out("stop")).ok
    assert addresses(hosts[0]) == before
    assert inside(hosts[0], carry_out("stop")).text == "10.9.0.100 was not here"


async def listen(host_mac: bytes, wanted: str, limit_s: float = LIMIT_S) -> int:
    """How many frames in which that address announces itself arrive, until there are enough."""
    address = ip_address(wanted)
    kind = neighbours.ETH_P_ARP if address.version == 4 else neighbours.ETH_P_IPV6
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
    sock.bind(("eth0", kind))
    sock.settimeout(0.05)
    count = 0
    deadline = time.monotonic() + limit_s
    with sock:
        while time.monotonic() < deadline and count < (2 if address.version == 4 else 1):
            await asyncio.sleep(0)
            try:
                frame = sock.recv(1514)
            except TimeoutError:
                continue
            count += neighbours.answering_mac(frame, address) == host_mac
    return count


@pytest.mark.parametrize("network", [ADDRESS, ADDRESS6])
def test_neighbours_hear_of_it(hosts: tuple[str, str], network: str) -> None:
    import concurrent.futures

    address = network.split("/")[0]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        heard = pool.submit(inside, hosts[1], listen(mac(hosts[0]), address))

        # Announcements are repeated, so that the listener need not be there first.
        async def move() -> ResourceOutcome:
            outcome = await carry_out("start", address=network, announcements=4)
            while not heard.done():
                await asyncio.sleep(0.02)
            return outcome

        assert inside(hosts[0], move()).ok
    assert heard.result() == (2 if network is ADDRESS else 1)


def test_a_neighbour_that_knew_the_other_server_learns_the_new_one(
    hosts: tuple[str, str],
) -> None:
    ip("neigh", "replace", "10.9.0.100", "lladdr", "02:00:00:00:00:99", "dev", "eth0",
       "nud", "stale", netns=hosts[1])  # fmt: skip
    assert inside(hosts[0], carry_out("start")).ok
    shown = ip("neigh", "show", "10.9.0.100", netns=hosts[1])
    assert neighbours.mac_text(mac(hosts[0])) in shown


@pytest.mark.parametrize("network", [ADDRESS, ADDRESS6])
def test_who_has_the_address_already_is_named(hosts: tuple[str, str], network: str) -> None:
    ip("address", "add", network, "dev", "eth0", "nodad", netns=hosts[1])
    before = addresses(hosts[0])
    off = (neighbours.mac_text(mac(hosts[0])), "02:00:00:00:00:09")
    start = carry_out("start", address=network, start_timeout_ms=600, macs_off=off)
    outcome = inside(hosts[0], start)
    assert not outcome.ok and not outcome.timed_out
    assert neighbours.mac_text(mac(hosts[1])) in outcome.text
    assert addresses(hosts[0]) == before


@pytest.mark.parametrize("network", [ADDRESS, ADDRESS6])
def test_what_answers_in_the_name_of_a_server_that_is_off_is_overruled(
    hosts: tuple[str, str], network: str
) -> None:
    ip("address", "add", network, "dev", "eth0", "nodad", netns=hosts[1])
    remarks: list[str] = []
    dead = neighbours.mac_text(mac(hosts[1]))
    began = time.monotonic()
    outcome = inside(hosts[0], carry_out("start", remarks, address=network, macs_off=(dead,)))
    assert outcome.ok, outcome.text
    assert network in addresses(hosts[0])
    assert time.monotonic() - began < 10, "not asked again"
    (remark,) = remarks
    assert dead in remark and "powered off" in remark


@pytest.mark.parametrize("network", [ADDRESS, ADDRESS6])
def test_who_has_the_address_is_asked_again_until_he_lets_it_go(
    hosts: tuple[str, str], network: str
) -> None:
    ip("address", "add", network, "dev", "eth0", "nodad", netns=hosts[1])

    async def main() -> ResourceOutcome:
        remarks: list[str] = []
        start = asyncio.create_task(
            carry_out("start", remarks, address=network, start_timeout_ms=60_000)
        )
        while not remarks and not start.done():
            await asyncio.sleep(0.01)
        assert neighbours.mac_text(mac(hosts[1])) in remarks[0]
        ip("address", "del", network, "dev", "eth0", netns=hosts[1])
        outcome = await start
        assert len(remarks) == 1, "said once"
        return outcome

    outcome = inside(hosts[0], main())
    assert outcome.ok, outcome.text
    assert network in addresses(hosts[0])


@pytest.mark.parametrize("network", [ADDRESS, ADDRESS6])
def test_a_stop_at_any_moment_of_a_start_leaves_no_address(
    hosts: tuple[str, str], network: str
) -> None:
    async def main() -> None:
        for ms in (0, 1, 5, 10, 20, 40, 60, 80, 100, 200):
            start = asyncio.create_task(carry_out("start", address=network))
            await asyncio.sleep(ms / 1000)
            stopped = await carry_out("stop", address=network)
            assert stopped.ok, (ms, stopped.text)
            assert network not in addresses(hosts[0]), ms
            started = await start
            assert started.ok or "gave way to a stop" in started.text
            assert network not in addresses(hosts[0]), f"{ms} ms after the start"

    inside(hosts[0], main())


def test_a_start_after_a_stop_after_a_start_puts_the_address(hosts: tuple[str, str]) -> None:
    """The one that waits for its turn gives way as well: it never begins."""

    async def main() -> list[ResourceOutcome]:
        tasks = []
        for op in ("start", "stop", "start"):
            tasks.append(asyncio.create_task(carry_out(op)))
            await asyncio.sleep(0)
        return await asyncio.gather(*tasks)

    first, stop, last = inside(hosts[0], main())
    assert (first.ok, stop.ok, last.ok) == (False, False, True), last.text
    assert ADDRESS in addresses(hosts[0])


def test_without_the_check_the_kernel_still_finds_an_ipv6_duplicate(
    hosts: tuple[str, str],
) -> None:
    ip("address", "add", ADDRESS6, "dev", "eth0", "nodad", netns=hosts[1])
    outcome = inside(
        hosts[0],
        carry_out("start", address=ADDRESS6, duplicate_check=False, start_timeout_ms=5_000),
    )
    assert not outcome.ok and neighbours.mac_text(mac(hosts[1])) in outcome.text
    assert ADDRESS6 not in addresses(hosts[0])


def test_a_start_whose_time_is_up_leaves_no_address(hosts: tuple[str, str]) -> None:
    """The kernel's own check takes longer than a second."""
    start = carry_out("start", address=ADDRESS6, duplicate_check=False, start_timeout_ms=400)
    outcome = inside(hosts[0], start)
    assert not outcome.ok and outcome.timed_out
    assert ADDRESS6 not in addresses(hosts[0])


def test_an_ipv6_address_is_usable_when_the_start_is_over(hosts: tuple[str, str]) -> None:
    async def bind() -> bool:
        outcome = await carry_out("start", address=ADDRESS6)
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("fd09::100", 0))
        return outcome.ok

    assert inside(hosts[0], bind())
    assert inside(hosts[0], carry_out("stop", address=ADDRESS6)).ok
    assert ADDRESS6 not in addresses(hosts[0])


def test_without_the_check_a_duplicate_is_the_operators_business(hosts: tuple[str, str]) -> None:
    ip("address", "add", ADDRESS, "dev", "eth0", netns=hosts[1])
    assert inside(hosts[0], carry_out("start", duplicate_check=False)).ok


def test_a_missing_or_downed_interface_is_named_with_its_mend(hosts: tuple[str, str]) -> None:
    missing = inside(hosts[0], carry_out("start", interface="eth7"))
    assert not missing.ok and "no interface eth7" in missing.text and "eth0, lo" in missing.text
    network = inside(hosts[0], carry_out("start", address="172.16.5.1/24"))
    assert not network.ok and "172.16.5.0/24" in network.text and "interface" in network.text
    ip("link", "set", "eth0", "down", netns=hosts[0])
    down = inside(hosts[0], carry_out("start"))
    assert not down.ok and "ip link set eth0 up" in down.text


def test_a_link_without_carrier_is_remarked(hosts: tuple[str, str]) -> None:
    ip("link", "set", "eth0", "down", netns=hosts[1])
    remarks: list[str] = []
    assert inside(hosts[0], carry_out("start", remarks)).ok
    assert "no carrier" in remarks[0]


def test_the_interface_may_differ_by_server(hosts: tuple[str, str]) -> None:
    table = {"server1": "eth0", "server2": "bond0"}
    assert inside(hosts[0], carry_out("start", address="172.16.5.1/24", interface=table)).ok
    assert "172.16.5.1/24" in addresses(hosts[0])
    assert inside(hosts[0], carry_out("stop", address="172.16.5.1/24")).ok


def test_it_is_not_moved_from_another_interface(hosts: tuple[str, str]) -> None:
    ip("address", "add", "10.9.0.100/32", "dev", "lo", netns=hosts[0])
    try:
        outcome = inside(hosts[0], carry_out("start"))
        assert not outcome.ok and "is on lo already" in outcome.text
        assert inside(hosts[0], carry_out("stop")).ok
    finally:
        assert "10.9.0.100" not in ip("address", "show", "dev", "lo", netns=hosts[0])


def test_addresses_of_others_do_not_go_with_it(hosts: tuple[str, str]) -> None:
    """The first address of a network takes the later ones along when it is deleted."""
    options: dict[str, Option] = {"address": "172.16.5.1/24", "interface": "eth0"}
    assert inside(hosts[0], carry_out("start", **options)).ok
    ip("address", "add", "172.16.5.9/24", "dev", "eth0", netns=hosts[0])
    remarks: list[str] = []
    assert inside(hosts[0], carry_out("stop", remarks, **options)).ok
    assert "172.16.5.9/24" in addresses(hosts[0]) and "172.16.5.1/24" not in addresses(hosts[0])


def test_the_mac_addresses_of_a_server_are_those_of_its_ethernets(
    hosts: tuple[str, str],
) -> None:
    async def main() -> tuple[str, ...]:
        return own_macs()

    ip("link", "add", "one", "type", "veth", "peer", "name", "two", netns=hosts[0])
    for name in ("one", "two"):
        ip("link", "set", name, "address", "02:00:00:00:00:07", netns=hosts[0])
    try:
        assert inside(hosts[0], main()) == (
            neighbours.mac_text(mac(hosts[0])),
            "02:00:00:00:00:07",
        )
    finally:
        ip("link", "del", "one", netns=hosts[0])


def test_frames_are_as_the_rfcs_draw_them() -> None:
    port = Port(name="eth0", mac=bytes.fromhex("020000000001"))
    request, reply = neighbours.announcements(port, ip_address("192.0.2.1"))
    assert request.hex() == (
        "ffffffffffff020000000001080600010800060400010200000000 01c0000201000000000000c0000201"
    ).replace(" ", "")
    assert reply[20:22] == b"\0\2"
    (advert,) = neighbours.announcements(port, ip_address("2001:db8::1"))
    assert advert[:6].hex() == "333300000001" and advert[21] == 255
    solicit = neighbours.probe(port, ip_address("2001:db8::12:3456"))
    assert solicit[:6].hex() == "3333ff123456"
    # A right checksum makes the sum over everything all ones.
    for frame in (advert, solicit):
        pseudo = frame[22:54] + len(frame[54:]).to_bytes(4, "big") + b"\0\0\0\x3a"
        assert neighbours._checksum(pseudo + frame[54:]) == 0
