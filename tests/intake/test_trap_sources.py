"""Whose traps are taken beside the BMC's: its other port, a chassis manager, link-local ones."""

from __future__ import annotations

import socket

import msgspec
import pytest

from clptools.core.model.settings import Bmc, Server, Settings, TrapSource
from clptools.intake.admission import known_source, same_source
from clptools.intake.rehearsal import build_pet_trap, pet_event
from clptools.intake.snmp import Version
from tests.conftest import free_port, until
from tests.core.test_ledger import Box
from tests.intake.conftest import Heard, send, settings_for
from tests.intake.family_rows import OK, Said, hpe
from tests.namespaces import own_network

OTHER_PORT, CHASSIS, STRANGER = "127.0.0.7", "127.0.0.8", "127.0.0.9"
SLOT = "1.3.6.1.4.1.232.22.2.4.1.1.1.8"


def with_sources(port: int, *sources: TrapSource) -> Settings:
    settings = settings_for(port)
    servers = (
        Server(name="server1", bmc=Bmc(address="127.0.0.1", trap_sources=sources)),
        Server(name="server2"),
    )
    return msgspec.structs.replace(settings, servers=servers)


def slot(said: Said, value: int | str) -> Said:
    return said.of(((f"{SLOT}.3", value),))


async def test_the_bmcs_other_port_speaks_of_the_same_faults() -> None:
    port = free_port()
    settings = with_sources(port, TrapSource(address=OTHER_PORT))
    async with Heard(settings, port) as heard:
        box = Box()
        send(build_pet_trap(pet_event("FATAL", sequence=1)), port)
        await until(lambda: len(heard.events) == 1)
        ended = build_pet_trap(pet_event("FATAL", deasserted=True, sequence=2))
        send(ended, port, source=STRANGER)
        send(ended, port, source=OTHER_PORT)
        await until(lambda: len(heard.events) == 2)
        for event in heard.events:
            box.tell(event)
        assert not box.open
        assert heard.counters["not_allowed"] == 1


@pytest.mark.parametrize("version", [Version.V1, Version.V2C])
async def test_a_chassis_manager_speaks_for_the_server_whose_slot_it_names(
    version: Version,
) -> None:
    port = free_port()
    shared = TrapSource(address=CHASSIS, variable=SLOT, value="3")
    async with Heard(with_sources(port, shared), port) as heard:
        for number, said in enumerate(
            (
                slot(hpe(6050), 4),  # its neighbour's
                hpe(6050),  # nobody's
                slot(hpe(6050), 3),
                slot(hpe(6048, OK), 4),
            ),
            start=1,
        ):
            send(said.datagram(version, number), port, source=CHASSIS)
        await until(lambda: heard.counters.get("elsewhere") == 3)
        await until(lambda: heard.events)
        # The BMC itself means another supply than the chassis does.
        send(hpe(6050).datagram(version, 9), port)
        await until(lambda: len(heard.events) == 2)
        box = Box()
        for event in heard.events:
            box.tell(event)
        assert sorted(box.open)[0].startswith(f"{CHASSIS}/trap/hpe-ilo/supply")
        assert len(box.open) == 2
        send(slot(hpe(6048, OK), 3).datagram(version, 10), port, source=CHASSIS)
        await until(lambda: len(heard.events) == 3)
        box.tell(heard.events[-1])
        assert [key.startswith("trap/") for key in box.open] == [True]
        assert "not_allowed" not in heard.counters


async def test_a_slot_may_be_named_in_words() -> None:
    port = free_port()
    shared = TrapSource(address=CHASSIS, variable=SLOT, value="Bay 3")
    async with Heard(with_sources(port, shared), port) as heard:
        send(slot(hpe(9014), "Bay 4").datagram(Version.V2C, 1), port, source=CHASSIS)
        send(slot(hpe(9014), "Bay 3\0").datagram(Version.V2C, 2), port, source=CHASSIS)
        await until(lambda: heard.events)
        assert heard.counters["elsewhere"] == 1


async def test_sources_change_while_the_sockets_stay() -> None:
    port = free_port()
    async with Heard(with_sources(port), port) as heard:
        send(hpe(9014).datagram(Version.V2C, 1), port, source=OTHER_PORT)
        await until(lambda: heard.counters.get("not_allowed") == 1)
        heard.receiver.apply(with_sources(port, TrapSource(address=OTHER_PORT)))
        send(hpe(9014).datagram(Version.V2C, 2), port, source=OTHER_PORT)
        await until(lambda: heard.events)


@pytest.mark.parametrize(
    ("known", "source", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("fe80::1", "fe80::1%eth0", True),
        ("fe80::1%eth0", "fe80::1%eth0", True),
        ("fe80::1%eth1", "fe80::1%eth0", False),
        ("fe80::2", "fe80::1%eth0", False),
    ],
)
def test_a_link_local_source_is_the_host_on_that_network(
    known: str, source: str, same: bool
) -> None:
    assert same_source(known_source(known), known_source(source)) is same


def test_a_zone_by_number_is_the_same_as_by_name() -> None:
    index, name = socket.if_nameindex()[0]
    assert known_source(f"fe80::1%{index}") == f"fe80::1%{name}"
    assert known_source("2001:db8::1%eth0") == "2001:db8::1"


def test_traps_over_link_local_addresses_are_heard() -> None:
    async def scenario() -> None:
        port = free_port()
        bmc = Server(name="server1", bmc=Bmc(address="fe80::2%lo"))
        settings = settings_for(port, host="fe80::1%lo")
        settings = msgspec.structs.replace(settings, servers=(bmc, Server(name="server2")))
        async with Heard(settings, port) as heard:
            for number, source in enumerate(("fe80::3%lo", "fe80::2%lo"), start=1):
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                    sock.bind(socket.getaddrinfo(source, 0, type=socket.SOCK_DGRAM)[0][4])
                    target = socket.getaddrinfo("fe80::1%lo", port, type=socket.SOCK_DGRAM)
                    sock.sendto(hpe(9014).datagram(Version.V2C, number), target[0][4])
            await until(lambda: heard.events)
            await until(lambda: heard.counters.get("not_allowed") == 1)
            assert heard.events[0].source == "fe80::2%lo"

    own_network(scenario(), "fe80::1/64", "fe80::2/64", "fe80::3/64")
