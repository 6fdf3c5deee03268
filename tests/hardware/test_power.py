"""Power over real BMC simulators, read back, and cross-checked by ipmitool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from clptools import paths
from clptools.core.actions import Fence
from clptools.faults import ClpError
from clptools.hardware import power
from clptools.hardware.bmcs import Bmcs
from clptools.hardware.ipmi import BmcError
from clptools.hardware.power import Power
from clptools.sim.bmc import IPMI_SIM, PYGHMI, SimulatedBmc
from tests.hardware.bmc_sim import (
    PASSWORD,
    client_of,
    ipmitool,
    run,
    settings_of,
    simulated,
)

KINDS = pytest.mark.parametrize("kind", [IPMI_SIM, PYGHMI])


@KINDS
def test_off_and_on_are_read_back_and_already_off_is_success(tmp_path: Path, kind: str) -> None:
    async def test() -> None:
        with simulated(tmp_path, kind) as bmc, client_of(bmc, tmp_path) as client:
            assert (await power.read(client))[0] is Power.ON
            assert not (await power.stop(client, 10, 1)).already
            assert bmc.power() == "off"
            assert "off" in await asyncio.to_thread(ipmitool, bmc, "chassis", "power", "status")
            assert (await power.stop(client, 10, 1)).already
            await power.start(client, 10)
            assert bmc.power() == "on"
            await power.start(client, 10)

    run(test)


@KINDS
@pytest.mark.parametrize("action", ["reset", "power-cycle"])
def test_a_cycle_of_a_machine_that_is_off_becomes_off_and_on(
    tmp_path: Path, kind: str, action: str
) -> None:
    async def test() -> None:
        with (
            simulated(tmp_path, kind, on=False) as bmc,
            client_of(bmc, tmp_path) as client,
        ):
            assert "by power off and on" in await power.act(client, action)
            assert bmc.power() == "on"

    run(test)


def test_a_reset_restarts_the_machine(tmp_path: Path) -> None:
    async def test() -> None:
        with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as client:
            before = bmc.machine()
            assert await power.act(client, "reset") == "reset of server2 begun"
            assert bmc.power() == "on"
            assert bmc.machine() not in (0, before)

    run(test)


def test_what_the_bmc_lacks_is_refused_in_words(tmp_path: Path) -> None:
    async def test() -> None:
        with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as client:
            with pytest.raises(BmcError, match="nmi, attempt 1: invalid field"):
                await power.act(client, "nmi")
            with pytest.raises(ClpError, match="no action of a BMC"):
                await power.act(client, "explode")
            assert bmc.power() == "on"

    run(test)


@asynccontextmanager
async def server1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **bmcs: SimulatedBmc
) -> AsyncIterator[Bmcs]:
    """The BMCs as the agent of server1 has them."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path / "root"))
    folder = Path(paths.config_dir()) / "bmc"
    folder.mkdir(parents=True)
    for name in bmcs:
        (folder / name).write_text(PASSWORD)
        (folder / name).chmod(0o400)
    made = Bmcs("server1", lambda: 0, lambda text: None)
    made.apply(settings_of(**bmcs))
    try:
        yield made
    finally:
        await made.close()


def fence(action: str, timeout_ms: int = 10_000) -> Fence:
    return Fence(server="server2", action=action, timeout_ms=timeout_ms, retries=1)


def test_the_agent_reads_stops_and_restarts_another_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        with simulated(tmp_path) as one, simulated(tmp_path) as two:
            async with server1(tmp_path, monkeypatch, server1=one, server2=two) as bmcs:
                seen = await bmcs.read_power("server2", 7)
                assert (seen.power, seen.asked_at, seen.error) == ("on", 7, "")
                done = await bmcs.fence(fence("power-off"), 8)
                assert (done.verified, done.already, done.action) == (True, False, "power-off")
                assert two.power() == "off"
                assert (await bmcs.read_power("server2", 9)).power == "off"
                done = await bmcs.fence(fence("reset"), 10)
                assert (done.verified, done.already) == (True, True)
                assert two.power() == "off", "one that was off stays off"
                two.switch(True)
                done = await bmcs.fence(fence("reset"), 11)
                assert (done.verified, done.already, done.action) == (True, False, "power-off")
                async with asyncio.timeout(5):
                    while two.power() == "off":
                        await asyncio.sleep(0.01)
                assert one.power() == "on"
                assert "answers in" in await bmcs.check()

    run(test)


def test_a_forced_stop_that_cannot_be_done_says_why_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        with simulated(tmp_path) as one, simulated(tmp_path) as two:
            async with server1(tmp_path, monkeypatch, server1=one, server2=two) as bmcs:
                two.freeze()
                done = await bmcs.fence(fence("power-off", timeout_ms=500), 1)
                assert not done.verified
                assert "BMC of server2" in done.error
                seen = await bmcs.read_power("server2", 2)
                assert (seen.power, bool(seen.error)) == ("unknown", True)
                nmi = await bmcs.fence(fence("nmi"), 3)
                assert not nmi.verified
                nobody = Fence(server="server9", action="power-off", timeout_ms=1, retries=0)
                assert "no BMC" in (await bmcs.fence(nobody, 4)).error

    run(test)


def test_a_changed_configuration_forgets_bmcs_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        with simulated(tmp_path) as one, simulated(tmp_path) as two:
            async with server1(tmp_path, monkeypatch, server1=one, server2=two) as bmcs:
                assert (await bmcs.read_power("server2", 1)).power == "on"
                bmcs.apply(settings_of(server1=one))
                assert "no BMC" in (await bmcs.read_power("server2", 2)).error
                assert (await bmcs.read_power("server1", 3)).power == "on"

    run(test)


def test_by_power_alone_no_timer_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
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

    run(test)


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
        limit_s: float = 30.0,
    ) -> tuple[bytes, int]:
        assert (netfn, command) == (0x00, 0x04)
        if len(data) > 1 and not self._lights_for_ever:
            raise BmcError(self.server, self.where, what, 1, "wrong length", 0xC7)
        self.asked.append(data)
        return b"", 1


def test_the_identify_led_by_the_form_that_the_bmc_knows() -> None:
    async def test() -> None:
        modern, old = Panel(True), Panel(False)
        assert await power.identify(modern, True) == "server2: identify LED on"
        assert "on for 255 s" in await power.identify(old, True)
        assert "identify LED off" in await power.identify(old, False)
        assert modern.asked == [b"\0\1"]
        assert old.asked == [b"\xff", b"\0"]

    run(test)


@KINDS
def test_a_bmc_without_identify_led_says_so(tmp_path: Path, kind: str) -> None:
    async def test() -> None:
        with (
            simulated(tmp_path, kind) as bmc,
            client_of(bmc, tmp_path) as client,
            pytest.raises(BmcError, match="identify on"),
        ):
            await power.identify(client, True)

    run(test)
