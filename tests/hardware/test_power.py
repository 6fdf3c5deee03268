"""Power over real BMC simulators, read back, and cross-checked by ipmitool."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from clptools import paths
from clptools.agent.clock import boot_ms
from clptools.core.model.actions import Fence
from clptools.core.model.settings import Bmc, Interconnect, Server, Settings
from clptools.core.model.words import BmcOrder, PowerState
from clptools.faults import ClpError
from clptools.hardware import power
from clptools.hardware.bmc_checks import Guids
from clptools.hardware.bmcs import Bmcs
from clptools.hardware.ipmi import BmcClient
from clptools.hardware.ipmi_device import LocalIpmi
from clptools.hardware.ipmi_requests import BmcError
from clptools.hardware.notices import BmcIsOurs, BmcsAreOne, EchoesForbidden
from clptools.sim.demo_bmc import IPMI_SIM, PYGHMI, SimulatedBmc
from tests.conftest import LIMIT_S
from tests.hardware.bmc_sim import (
    PASSWORD,
    client_of,
    ipmitool,
    relayed,
    settings_of,
    simulated,
)
from tests.hardware.quirks.server import quirky
from tests.noticed import Noticed

KINDS = pytest.mark.parametrize("kind", [IPMI_SIM, PYGHMI])


@KINDS
async def test_off_and_on_are_read_back_and_already_off_is_success(
    tmp_path: Path, kind: str
) -> None:
    with simulated(tmp_path, kind) as bmc, client_of(bmc, tmp_path) as client:
        assert (await power.read(client))[0] is PowerState.ON
        assert not (await power.stop(client, 10, 1)).already
        assert bmc.power() == "off"
        assert "off" in await asyncio.to_thread(ipmitool, bmc, "chassis", "power", "status")
        assert (await power.stop(client, 10, 1)).already
        await power.start(client, 10)
        assert bmc.power() == "on"
        await power.start(client, 10)


@KINDS
@pytest.mark.parametrize("action", ["reset", "power-cycle"])
async def test_a_cycle_of_a_machine_that_is_off_becomes_off_and_on(
    tmp_path: Path, kind: str, action: str
) -> None:
    with (
        simulated(tmp_path, kind, on=False) as bmc,
        client_of(bmc, tmp_path) as client,
    ):
        assert "by power off and on" in await power.act(client, action)
        assert bmc.power() == "on"


async def test_a_reset_restarts_the_machine(tmp_path: Path) -> None:
    with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as client:
        before = bmc.machine()
        assert await power.act(client, "reset") == "reset of server2 begun"
        assert bmc.power() == "on"
        assert bmc.machine() not in (0, before)


async def test_what_the_bmc_lacks_is_refused_in_words(tmp_path: Path) -> None:
    with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as client:
        with pytest.raises(BmcError, match="nmi, attempt 1: invalid field"):
            await power.act(client, "nmi")
        with pytest.raises(ClpError, match="no action of a BMC"):
            await power.act(client, "explode")
        assert bmc.power() == "on"


@asynccontextmanager
async def server1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: Noticed | None = None,
    **bmcs: SimulatedBmc,
) -> AsyncIterator[Bmcs]:
    """The BMCs as the agent of server1 has them."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path / "root"))
    folder = Path(paths.config_dir()) / "bmc"
    folder.mkdir(parents=True)
    for name in bmcs:
        (folder / name).write_text(PASSWORD)
        (folder / name).chmod(0o400)
    made = Bmcs("server1", boot_ms, [].append if told is None else told.take)
    made.apply(settings_of(**bmcs))
    try:
        yield made
    finally:
        await made.close()


def fence(action: str, within_ms: int = 10_000, server: str = "server2") -> Fence:
    return Fence(server=server, action=BmcOrder(action), within_ms=within_ms, ordered_at=0)


async def test_the_agent_reads_stops_and_starts_another_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated(tmp_path) as one, simulated(tmp_path) as two:
        async with server1(tmp_path, monkeypatch, server1=one, server2=two) as bmcs:
            seen = await bmcs.read_power("server2", 7)
            assert (seen.power, seen.asked_at, seen.error) == ("on", 7, "")
            asked_at = boot_ms()
            done = await bmcs.fence(fence("power-off"), asked_at)
            assert (done.sent, done.error) == (True, "")
            assert (done.action, done.asked_at) == ("power-off", asked_at)
            assert two.power() == "off"
            seen = await bmcs.read_power("server2", 9)
            assert seen.power == "off"
            assert (await bmcs.fence(fence("power-on"), boot_ms())).sent
            assert two.power() == "on"
            assert one.power() == "on"
            assert "answers in" in await bmcs.check()


async def test_an_order_that_cannot_be_given_says_why_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated(tmp_path) as one, simulated(tmp_path) as two:
        async with server1(tmp_path, monkeypatch, server1=one, server2=two) as bmcs:
            nmi = await bmcs.fence(fence("nmi"), boot_ms())
            assert not nmi.sent
            assert "invalid field" in nmi.error, "this simulator has none"
            late = await bmcs.fence(fence("power-off", within_ms=500), boot_ms() - 501)
            assert (late.sent, "not sent" in late.error) == (False, True)
            assert two.power() == "on"
            two.freeze()
            for action in ("power-off", "power-on"):
                done = await bmcs.fence(fence(action, within_ms=500), boot_ms())
                assert not done.sent
                assert "BMC of server2" in done.error
            seen = await bmcs.read_power("server2", 2)
            assert (seen.power, bool(seen.error)) == ("unknown", True)
            nobody = await bmcs.fence(fence("power-off", server="server9"), boot_ms())
            assert "no BMC" in nobody.error


async def order(client: BmcClient, within_ms: int) -> None:
    await power.order(
        client, BmcOrder.POWER_OFF, until_ms=boot_ms() + within_ms, left_s=within_ms / 1000
    )


@KINDS
async def test_an_order_is_one_datagram_whatever_becomes_of_it(tmp_path: Path, kind: str) -> None:
    """The answer to the read that goes before it arrives, that to the order itself is lost."""
    async with relayed(tmp_path, kind) as (bmc, relay, client):
        before = await power.read_in_session(client)
        relay.requests, relay.answers_left = 0, 1
        with pytest.raises(BmcError, match="sent, but not answered"):
            await order(client, 5_000)
        relay.answers_left = -1
        assert relay.requests == 2, "one read, one order"
        assert bmc.power() == "off"
        after = await power.read_in_session(client)
        assert after.power is PowerState.OFF
        assert after.session == before.session, "the session outlives it"


async def test_an_order_never_comes_late(tmp_path: Path) -> None:
    """The network is out as it is given, and back a second later."""
    async with relayed(tmp_path) as (bmc, relay, client):
        relay.asking = False
        began = boot_ms()
        with pytest.raises(BmcError, match="not sent"):
            await order(client, 300)
        assert boot_ms() - began < 3_000
        relay.asking = True
        relay.requests = 0
        # What the order would have sent had it been repeated had left before this is answered.
        assert (await power.read_in_session(client)).power is PowerState.ON
        assert relay.requests == 2, "whether the BMC is there again, and the read"
        assert bmc.power() == "on"


async def test_an_order_that_waits_behind_a_slow_read_is_over_in_time(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (bmc, relay, client):
        relay.answering = False
        slow = asyncio.create_task(power.read_in_session(client, patience_s=30))
        while not client._lock.locked():
            await asyncio.sleep(0)
        with pytest.raises(BmcError, match=r"not sent: its turn did not come within 0\.3 s"):
            await order(client, 300)
        assert not slow.done()
        relay.answering = True
        assert (await slow).power is PowerState.ON
        assert (await power.read_in_session(client)).power is PowerState.ON
        assert bmc.power() == "on"


@KINDS
async def test_each_login_has_another_name_also_a_silent_one(tmp_path: Path, kind: str) -> None:
    with simulated(tmp_path, kind) as bmc, client_of(bmc, tmp_path) as client:
        began = boot_ms()
        first = await power.read_in_session(client)
        assert first.session
        assert began <= first.session_at <= boot_ms()
        again = await power.read_in_session(client)
        assert (again.session, again.session_at) == (first.session, first.session_at)
        bmc.senses(right=False)
        await asyncio.to_thread(bmc.restart)
        restarted = boot_ms()
        # It shows in the middle of this read, which goes on in a new session.
        second = await power.read_in_session(client, patience_s=30)
        assert second.power is PowerState.OFF
        assert second.session != first.session
        assert second.session_at >= restarted
        client.close()
        third = await power.read_in_session(client)
        assert third.session not in (first.session, second.session)


async def test_the_read_tells_its_session_and_the_beat_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated(tmp_path) as one, simulated(tmp_path) as two:
        async with server1(tmp_path, monkeypatch, server1=one, server2=two) as bmcs:
            first = await bmcs.read_power("server2", 1)
            other = await bmcs.read_power("server1", 1)
            assert first.session and other.session
            assert first.session != other.session
            again = await bmcs.read_power("server2", 2)
            assert (again.session, again.session_at) == (first.session, first.session_at)
            two.freeze()
            lost = await bmcs.read_power("server2", 3)
            assert (lost.power, lost.session) == ("unknown", "")


def over(settings: Settings, **addresses: str) -> Settings:
    """With one more LAN interconnect."""
    lan = Interconnect(name="lan1", type="lanhb", addresses=addresses)
    return msgspec.structs.replace(settings, interconnects=(*settings.interconnects, lan))


async def test_an_off_read_tells_whether_the_kernel_answered_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated(tmp_path) as one, simulated(tmp_path, on=False) as two:
        told = Noticed()
        async with server1(tmp_path, monkeypatch, told, server1=one, server2=two) as bmcs:
            settings = settings_of(server1=one, server2=two)
            # Loopback addresses are our own kernel's; here one stands for the other server's.
            monkeypatch.setattr("clptools.hardware.bmc_checks._is_own", lambda _: False)
            bmcs.apply(over(settings, server1="127.0.0.1", server2="127.79.0.9"))
            living = await bmcs.read_power("server2", 1, echo=True)
            assert (living.power, living.echoed) == ("off", True)
            assert not (await bmcs.read_power("server2", 1)).echoed, "it was not asked"
            on = await bmcs.read_power("server1", 1, echo=True)
            assert (on.power, on.echoed) == ("on", False)
            # Nothing of 192.0.2.0/24 (TEST-NET-1) is reached from a loopback address.
            bmcs.apply(over(settings, server1="127.0.0.1", server2="192.0.2.1"))
            began = asyncio.get_running_loop().time()
            dead = await bmcs.read_power("server2", 1, echo=True)
            assert (dead.power, dead.echoed) == ("off", False)
            assert asyncio.get_running_loop().time() - began >= 0.05
            assert told == []


async def test_without_leave_to_ping_no_echo_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with simulated(tmp_path) as one, simulated(tmp_path, on=False) as two:
        told = Noticed()
        async with server1(tmp_path, monkeypatch, told, server1=one, server2=two) as bmcs:
            settings = settings_of(server1=one, server2=two)
            bmcs.apply(over(settings, server1="127.0.0.1", server2="192.0.2.1"))
            monkeypatch.setattr("clptools.common.ping._open", refused)
            for _ in range(2):
                found = await bmcs.read_power("server2", 1, echo=True)
                assert (found.power, found.echoed, found.error) == ("off", False, "")
            assert len(told) == 1
            assert told.kinds == [EchoesForbidden]
            assert "not permitted" in told[0]


async def test_two_servers_with_one_bmc_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated(tmp_path) as one, simulated(tmp_path) as two:
        told = Noticed()
        async with server1(tmp_path, monkeypatch, told, server1=one, server2=one) as bmcs:
            for server in ("server1", "server2", "server1", "server2"):
                assert (await bmcs.read_power(server, 1)).power == "on"
            assert len(told) == 1
            assert told.kinds == [BmcsAreOne]
            assert "the BMCs of server1 and server2 have the same GUID" in told[0]
            bmcs.apply(settings_of(server1=one, server2=two))
            for server in ("server1", "server2"):
                assert (await bmcs.read_power(server, 1)).power == "on"
            assert len(told) == 1


async def test_a_changed_configuration_forgets_bmcs_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated(tmp_path) as one, simulated(tmp_path) as two:
        async with server1(tmp_path, monkeypatch, server1=one, server2=two) as bmcs:
            assert (await bmcs.read_power("server2", 1)).power == "on"
            bmcs.apply(settings_of(server1=one))
            assert "no BMC" in (await bmcs.read_power("server2", 2)).error
            assert (await bmcs.read_power("server1", 3)).power == "on"


async def test_by_power_alone_no_timer_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated(tmp_path) as one, simulated(tmp_path) as two:
        async with server1(tmp_path, monkeypatch, server1=one, server2=two) as bmcs:
            settings = settings_of(server1=one, server2=two)
            assert bmcs.timer is not None
            await bmcs.timer.beat()
            assert (await bmcs.read_power("server1", 1)).beat == "1"
            (path,) = settings.interconnects
            by_power = msgspec.structs.replace(path, carrier="power")
            bmcs.apply(msgspec.structs.replace(settings, interconnects=(by_power,)))
            found = await bmcs.read_power("server1", 2)
            assert (found.power, found.beat) == ("on", "")


class Panel:
    """A BMC whose only command is Chassis Identify; the simulators have none."""

    server, where = "server2", "192.168.0.12:623"

    def __init__(self, lights_for_ever: bool) -> None:
        self.asked: list[bytes] = []
        self._lights_for_ever = lights_for_ever

    async def command(
        self,
        what: str,
        netfn: int,
        command: int,
        data: bytes = b"",
        *,
        patience_s: float = 3.0,
        urgent: bool = False,
    ) -> tuple[bytes, int]:
        assert (netfn, command) == (0x00, 0x04)
        if len(data) > 1 and not self._lights_for_ever:
            raise BmcError(self.server, self.where, what, 1, "wrong length", 0xC7)
        self.asked.append(data)
        return b"", 1


async def test_the_identify_led_by_the_form_that_the_bmc_knows() -> None:
    modern, old = Panel(True), Panel(False)
    assert await power.identify(modern, True) == "server2: identify LED on"
    assert "on for 255 s" in await power.identify(old, True)
    assert "identify LED off" in await power.identify(old, False)
    assert modern.asked == [b"\0\1"]
    assert old.asked == [b"\xff", b"\0"]


@KINDS
async def test_a_bmc_without_identify_led_says_so(tmp_path: Path, kind: str) -> None:
    with (
        simulated(tmp_path, kind) as bmc,
        client_of(bmc, tmp_path) as client,
        pytest.raises(BmcError, match="identify on") as told,
    ):
        await power.identify(client, True)
    assert "may have no identify LED" in told.value.hint


def test_a_bmc_that_is_this_machines_and_not_that_servers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLP_ROOT", raising=False)
    machine = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    product_uuid = tmp_path / "product_uuid"
    product_uuid.write_text(f"{machine}\n")
    for order in (machine.bytes, machine.bytes_le, machine.bytes[::-1], machine.bytes_le[::-1]):
        told = Noticed()
        guids = Guids("server1", told.take, str(product_uuid))
        guids.told("server1", order)
        guids.told("server1", b"another-of-16-by")
        guids.told("server3", bytes(16))
        assert told == [], "unlike this machine's, or not set, it proves nothing"
        guids.told("server2", order)
        assert len(told) == 1
        assert told.kinds == [BmcIsOurs]
        assert "server2 is that of this machine, server1, and cannot be trusted" in told[0]
    told = Noticed()
    guids = Guids("server1", told.take, str(tmp_path / "none"))
    guids.told("server2", machine.bytes)
    assert told == []
    guids.machine(machine.bytes)
    assert len(told) == 1


async def test_the_own_bmc_is_asked_for_its_guid_by_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CLP_ROOT", raising=False)
    own = uuid.uuid4().bytes

    async def exchange(_: object, netfn: int, command: int, *__: object) -> tuple[int, bytes]:
        assert (netfn, command) == (0x06, 0x37)
        return 0, own

    monkeypatch.setattr(LocalIpmi, "exchange", exchange)

    told = Noticed()
    bmcs = Bmcs("server1", boot_ms, told.take)
    servers = tuple(
        Server(name=name, bmc=Bmc(address="192.0.2.1")) for name in ("server1", "server2")
    )
    bmcs.apply(Settings(servers=servers))
    assert bmcs._asking is not None
    await bmcs._asking
    bmcs._guids.told("server2", own)
    assert "that of this machine" in told[0]
    await bmcs.close()


async def test_a_timer_that_runs_is_fed_on_whatever_a_push_makes_of_its_bmc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated(tmp_path) as one:
        async with server1(tmp_path, monkeypatch, server1=one) as bmcs:
            timer = bmcs.timer
            assert timer is not None
            failed: list[str] = []
            await timer.arm(60_000, failed.append)
            (server,) = settings_of(server1=one).servers
            assert server.bmc is not None
            elsewhere = msgspec.structs.replace(server.bmc, user="CLP")
            for settings in (
                Settings(),
                settings_of(server1=one),
                Settings(servers=(msgspec.structs.replace(server, bmc=elsewhere),)),
                settings_of(server1=one),
            ):
                bmcs.apply(settings)
                assert bmcs.timer is timer
            await timer.beat()
            timer.pet()
            assert timer._feeding is not None
            await timer._feeding
            assert failed == []
            await timer.disarm()
            bmcs.apply(Settings())
            assert bmcs.timer is None


async def test_a_bmc_that_is_only_looked_at_has_its_session_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has one; each of two agents gets its answer."""
    with quirky(tmp_path, "few_slots", slots=1) as bmc:
        async with server1(tmp_path, monkeypatch, server2=bmc) as bmcs:
            first = await bmcs.read_power("server2", 1, keep=False)
            assert first.power == "on"
            async with asyncio.timeout(LIMIT_S):
                with client_of(bmc, tmp_path) as other:
                    while True:
                        try:
                            await power.read(other, urgent=True)
                            break
                        except BmcError:
                            await asyncio.sleep(0.05)
                    other.rest()
                while (again := await bmcs.read_power("server2", 2)).power == "unknown":
                    await asyncio.sleep(0.05)
            assert again.session != first.session
            kept = await bmcs.read_power("server2", 3)
            assert kept.session == again.session
