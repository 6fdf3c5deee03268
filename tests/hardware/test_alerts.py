"""The way of a trap: what keeps it from the keyword address, what mends that, and that it comes."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from pathlib import Path

import pytest

from clptools.faults import ClpError
from clptools.hardware.alerts import SENSOR_EVENT, Wanted
from clptools.hardware.ipmi_alerts import IpmiAlerts
from clptools.hardware.ipmi_device import LocalIpmi, OwnBmc
from clptools.hardware.ipmi_requests import BmcError
from clptools.intake import decoded_trap, pet, snmp
from clptools.intake.class_table import ClassTable
from tests.conftest import LIMIT_S
from tests.hardware.alerting_bmc import Memory, alerting
from tests.hardware.bmc_sim import client_of, simulated
from tests.hardware.test_ipmi_device import Driver, Lan

_numbers = itertools.count(1)
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: port 162 needs root")


def place() -> tuple[str, str]:
    """An address for a BMC, and one for a trap receiver."""
    net = f"127.{100 + os.getpid() % 100}.{next(_numbers)}"
    return f"{net}.1", f"{net}.2"


def texts(found: tuple[object, ...]) -> str:
    return "\n".join(str(getattr(one, "text")) for one in found)  # noqa: B009


async def mend(way: IpmiAlerts, wanted: Wanted) -> None:
    for finding in await way.check(wanted):
        await way.set(finding)


async def received(sock: socket.socket) -> decoded_trap.DecodedTrap:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(LIMIT_S):
        data = await loop.sock_recv(sock, 2000)
    trap = snmp.decode(data)
    assert isinstance(trap, snmp.Trap)
    return pet.decode_trap(trap, ClassTable(), 1_800_000_000.0)


def listening(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 162))
    sock.setblocking(False)
    return sock


@ROOT
async def test_a_bmc_out_of_its_box_is_set_up_and_its_traps_arrive(tmp_path: Path) -> None:
    address, host = place()
    wanted = Wanted(server="server1", host=host, communities=("clp",))

    with (
        alerting(tmp_path, address, "muted") as bmc,
        client_of(bmc, tmp_path, server="server1") as asked,
        listening(host) as sock,
    ):
        way = IpmiAlerts(asked, bmc.address)
        found = await way.check(wanted)
        assert texts(found).splitlines() == [
            "its community is none that the monitor takes",
            "alerts of its LAN channel 1 are switched off (Channel Access)",
            f"none of its alert destinations is {host}",
            "no alert policy leads to destination 1",
            "no event filter sends everything",
            "platform event filtering is off",
            "the alert action of its filters is off",
        ]
        assert all(one.changes for one in found)
        assert "clp" not in texts(found) and "public" not in texts(found), "a secret of a kind"
        with pytest.raises(ClpError, match="has no alert destination"):
            await way.send_test(wanted)
        for one in found:
            await way.set(one)
        assert await way.check(wanted) == ()

        assert "destination 1" in await way.send_test(wanted)
        test_trap = await received(sock)
        assert (test_trap.event_class, test_trap.meaning) == ("INFO", "test trap")
        # What the BMC itself notices comes through its filters: a fatal one, and its end.
        for kind in (0x6F, 0xEF):
            event = bytes((0x04, 0x07, 0x31, kind, 0x00, 0xFF, 0xFF))
            await asked.command("platform event", SENSOR_EVENT, 2, event)
        opened, ended = await received(sock), await received(sock)
        assert (opened.event_class, opened.severity) == ("FATAL", None)
        assert (ended.event_class, ended.key) == ("CLEAR", opened.key)


@ROOT
async def test_what_somebody_else_set_up_stays(tmp_path: Path) -> None:
    address, host = place()
    other, mine = (Wanted(server="server1", host=h) for h in ("127.81.250.9", host))

    with (
        alerting(tmp_path, address) as bmc,
        client_of(bmc, tmp_path, server="server1") as asked,
    ):
        way = IpmiAlerts(asked, bmc.address)
        await mend(way, other)
        found = await way.check(mine)
        assert texts(found).splitlines() == [
            f"none of its alert destinations is {host}",
            "no alert policy leads to destination 2",
        ]
        await mend(way, mine)
        assert await way.check(mine) == await way.check(other) == ()


async def test_with_ipv6(tmp_path: Path) -> None:
    address, _ = place()
    wanted = Wanted(server="server1", host="fd00::1:2")

    with (
        alerting(tmp_path, address) as bmc,
        client_of(bmc, tmp_path, server="server1") as asked,
    ):
        way = IpmiAlerts(asked, bmc.address)
        await mend(way, wanted)
        assert await way.check(wanted) == ()
        assert (await way.read()).destinations[0].address == "fd00::1:2"


@pytest.mark.parametrize(
    "quirk, says, hint",
    [
        ("no destinations", "it has no alert destinations that IPMI can set", "own interface"),
        ("no PEF", "it cannot alert by event filters", "own interface"),
        ("maker's filters", "only what 4 filters select is sent, and no filter is free", "all"),
    ],
)
async def test_what_ipmi_cannot_set_is_told_with_where_it_can(
    tmp_path: Path, quirk: str, says: str, hint: str
) -> None:
    address, host = place()
    wanted = Wanted(server="server1", host=host)

    with (
        alerting(tmp_path, address, quirk) as bmc,
        client_of(bmc, tmp_path, server="server1") as asked,
    ):
        way = IpmiAlerts(asked, bmc.address)
        await mend(way, wanted)
        (left,) = await way.check(wanted)
        assert says in left.text
        assert hint in left.hint
        assert not left.changes


async def test_an_account_without_the_right_is_told_so(tmp_path: Path) -> None:
    address, host = place()
    wanted = Wanted(server="server1", host=host)

    with (
        alerting(tmp_path, address, "no privilege") as bmc,
        client_of(bmc, tmp_path, server="server1") as asked,
    ):
        way = IpmiAlerts(asked, bmc.address)
        with pytest.raises(BmcError, match="account lacks the privilege"):
            await mend(way, wanted)


async def test_a_bmc_without_alert_immediate_is_told_so(tmp_path: Path) -> None:
    address, host = place()
    wanted = Wanted(server="server1", host=host)

    with (
        alerting(tmp_path, address, "no immediate") as bmc,
        client_of(bmc, tmp_path, server="server1") as asked,
    ):
        way = IpmiAlerts(asked, bmc.address)
        await mend(way, wanted)
        with pytest.raises(ClpError, match="cannot be told to send a trap") as told:
            await way.send_test(wanted)
        assert "own interface" in told.value.hint


async def test_another_port_and_a_monitor_of_snmpv3_alone_are_told(tmp_path: Path) -> None:
    address, host = place()

    with (
        alerting(tmp_path, address) as bmc,
        client_of(bmc, tmp_path, server="server1") as asked,
    ):
        way = IpmiAlerts(asked, bmc.address)
        await mend(way, Wanted(server="server1", host=host))
        found = await way.check(Wanted(server="server1", host=host, port=1162, communities=()))
        assert texts(found).splitlines() == [
            "it sends to port 162, the keyword says 1162",
            "its IPMI alerts are SNMP v1, the monitor takes SNMPv3 alone",
        ]
        found = await way.check(Wanted(server="server1", host=host, communities=("a" * 19,)))
        assert "longer than IPMI's 18 bytes" in texts(found)


async def test_what_ipmi_sim_accepts_and_does_not_keep_is_found_again(tmp_path: Path) -> None:
    """Its community stays `public`, whatever it accepts, and it has no destination."""
    with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as asked:
        way = IpmiAlerts(asked, bmc.address)
        wanted = Wanted(server="server2", host="127.0.0.1", communities=("clp",))
        found = await way.check(wanted)
        assert texts(found).splitlines() == [
            "its community is none that the monitor takes",
            "it has no alert destinations that IPMI can set",
        ]
        await mend(way, wanted)
        assert await way.check(wanted) == found
        state = await way.read()
        assert state.community == "public"
        assert (len(state.filters), len(state.policies), state.alerting) == (15, 15, True)


async def test_ipmi_sim_takes_filters_and_policies_as_they_are_set(tmp_path: Path) -> None:
    from msgspec.structs import replace

    from clptools.hardware.alerts import Destination, findings

    with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as asked:
        way = IpmiAlerts(asked, bmc.address)
        wanted = Wanted(server="server2", host="127.0.0.1")
        there = Destination(
            selector=1, kind=0, acknowledged=False, timeout_s=0, retries=0, address="127.0.0.1"
        )
        for finding in findings(replace(await way.read(), destinations=(there,)), wanted):
            await way.set(finding)
        assert findings(replace(await way.read(), destinations=(there,)), wanted) == ()


class InBand(Driver):
    """The kernel's driver before that BMC, which has LAN channels 1 and 8; 8 has its address."""

    def __init__(self, folder: Path, address: str, *quirks: str) -> None:
        super().__init__(folder)
        self.memory = Memory(quirks)
        self._address = address

    def _perform(self, command: int, data: bytes) -> bytes:
        netfn = self.asked[-1][0]
        if (netfn, command) == (0x06, 0x42):
            medium = {0x0E: 0x0C, 1: 4, 8: 4}.get(data[0])
            number = 0x0F if data[0] == 0x0E else data[0]
            return b"\xcc" if medium is None else bytes((0, number, medium, 1, 0, 0, 0, 0, 0, 0))
        if (netfn, command) == (0x0C, 2) and data[1] == 3:
            own = socket.inet_aton(self._address if data[0] == 8 else "10.9.9.9")
            return b"\0\x11" + own
        code, answer = self.memory.answer(self._address, netfn, command, data)
        return bytes((code,)) + answer


@ROOT
async def test_in_band_without_network_password_or_rights(tmp_path: Path) -> None:
    """By `/dev/ipmi0`: the channel with the BMC's address is found, and nothing goes over LAN."""
    address, host = place()
    wanted = Wanted(server="server1", host=host, communities=("clp",))

    driver, lan = InBand(tmp_path, address), Lan()
    asked = OwnBmc(lan, LocalIpmi(driver.path, driver))
    way = IpmiAlerts(asked, address)
    with listening(host) as sock:
        await mend(way, wanted)
        assert await way.check(wanted) == ()
        state = await way.read()
        assert (state.channel, state.policies[0].channel) == (8, 8)
        assert "channel 8" in await way.send_test(wanted)
        assert (await received(sock)).meaning == "test trap"
    assert way.where == driver.path
    assert not lan.asked
    asked.close()


async def test_in_band_a_bmc_whose_channels_have_other_addresses_takes_the_first(
    tmp_path: Path,
) -> None:
    driver = InBand(tmp_path, "192.168.0.11")
    asked = OwnBmc(Lan(), LocalIpmi(driver.path, driver))
    assert (await IpmiAlerts(asked, "192.168.0.99").read()).channel == 1
    asked.close()


@pytest.mark.parametrize("code", [0xC0, 0xD4, 0xFF])
async def test_a_refusal_that_is_no_answer_is_not_taken_for_one(tmp_path: Path, code: int) -> None:
    """Busy, or without the right: nothing is known then, and nothing is called missing."""
    driver = InBand(tmp_path, "192.168.0.11")
    driver._perform = lambda *_: bytes((code,))  # type: ignore[method-assign]
    asked = OwnBmc(Lan(), LocalIpmi(driver.path, driver))
    with pytest.raises(BmcError):
        await IpmiAlerts(asked, "192.168.0.11").check(Wanted(server="s", host="10.0.0.1"))
    asked.close()


@pytest.mark.parametrize(
    "answer", [b"", b"\0", b"\0\x11", b"\0\x11\xff", b"\0" + bytes(3), b"\0" + b"\xff" * 30]
)
async def test_fuzz_nonsense_from_a_bmc_is_a_finding_and_no_fault(
    tmp_path: Path, answer: bytes
) -> None:
    driver = InBand(tmp_path, "192.168.0.11")
    driver._perform = lambda *_: answer or b"\0"  # type: ignore[method-assign]
    asked = OwnBmc(Lan(), LocalIpmi(driver.path, driver))
    way = IpmiAlerts(asked, "192.168.0.11")
    assert await way.check(Wanted(server="server1", host="10.0.0.1"))
    asked.close()
