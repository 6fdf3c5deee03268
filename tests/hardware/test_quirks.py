"""The client and a forced stop against BMCs as they are sold; each habit is a file of `quirks/`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from clptools import paths
from clptools.agent.clock import boot_ms
from clptools.core.model.words import BmcOrder, PowerState
from clptools.hardware import power
from clptools.hardware.ipmi_requests import BmcError
from tests.conftest import BUSY_S
from tests.hardware.bmc_sim import client_of, until_read
from tests.hardware.quirks.server import quirky
from tests.hardware.test_power import server1

BUSY = [0xC0, 0xC3, 0xC4, 0xD2, 0xD5, 0xFF]


async def stopped(tmp_path: Path, quirk: str, retries: int = 1, **options: float) -> float:
    """The seconds that a forced stop of 20 s took until it read off."""
    with quirky(tmp_path, quirk, **options) as bmc, client_of(bmc, tmp_path) as client:
        assert (await until_read(client)).power is PowerState.ON
        began = time.monotonic()
        assert not (await power.stop(client, 20, retries)).already
        took_s = time.monotonic() - began
        assert bmc.power() == "off"
    return took_s


@pytest.mark.parametrize("code", BUSY)
@pytest.mark.parametrize("quirk", ["busy_after_off", "busy_control"])
async def test_a_busy_bmc_is_waited_out(tmp_path: Path, quirk: str, code: int) -> None:
    assert await stopped(tmp_path, quirk, seconds=1.5, code=code) >= 1.5


async def test_a_lack_of_privilege_after_an_order_is_a_power_change(tmp_path: Path) -> None:
    assert await stopped(tmp_path, "busy_after_off", seconds=1.5, code=0xD4) >= 1.5


async def test_the_timeout_ends_a_forced_stop_of_a_bmc_that_stays_busy(tmp_path: Path) -> None:
    with (
        quirky(tmp_path, "busy_control", seconds=60) as bmc,
        client_of(bmc, tmp_path) as client,
    ):
        began = time.monotonic()
        with pytest.raises(BmcError, match=r"BMC busy \(0xc0\)"):
            await power.stop(client, 3, 0)
        assert time.monotonic() - began >= 3


@pytest.mark.parametrize("code", [0xD4, 0xC1, 0xCC])
async def test_what_the_bmc_never_takes_is_not_tried_again(tmp_path: Path, code: int) -> None:
    with (
        quirky(tmp_path, "refuses_control", code=code) as bmc,
        client_of(bmc, tmp_path) as client,
    ):
        with pytest.raises(BmcError) as refused:
            await power.stop(client, 20, 2)
        assert refused.value.for_good
        assert refused.value.completion_code == code


@pytest.mark.parametrize("deaf_s", [0, 2])
async def test_an_order_without_answer_is_looked_after(tmp_path: Path, deaf_s: float) -> None:
    assert await stopped(tmp_path, "control_unanswered", deaf=deaf_s) < deaf_s + BUSY_S


@pytest.mark.parametrize("presses", [1, 2])
async def test_a_power_off_that_takes_long_is_waited_for(tmp_path: Path, presses: int) -> None:
    """Also where the first press of the button did nothing."""
    assert await stopped(tmp_path, "graceful", seconds=4, presses=presses) >= 4


@pytest.mark.parametrize("serial", [0, 1])
@pytest.mark.parametrize("seconds", [0.4, 1.0])
async def test_a_slow_bmc_is_read_and_stopped(tmp_path: Path, seconds: float, serial: int) -> None:
    """Questions that were put again while it worked would pile up in front of it."""
    assert await stopped(tmp_path, "slow", seconds=seconds, serial=serial) < 15


async def test_an_order_leaves_in_time_for_a_slow_bmc(tmp_path: Path) -> None:
    """It cannot answer a read before that within its time."""
    with quirky(tmp_path, "slow", seconds=0.8) as bmc, client_of(bmc, tmp_path) as client:
        await until_read(client)
        assert (await until_read(client)).power is PowerState.ON
        await power.order(client, BmcOrder.POWER_OFF, until_ms=boot_ms() + 750, left_s=0.75)
        assert bmc.power() == "off"


async def test_a_bmc_that_is_slow_in_sessions_alone_keeps_its_session(tmp_path: Path) -> None:
    with quirky(tmp_path, "slow_inside", seconds=3) as bmc, client_of(bmc, tmp_path) as client:
        first = await until_read(client)
        for _ in range(2):
            assert (await until_read(client)).session == first.session


async def test_a_bmc_that_is_busy_over_an_order_keeps_its_session(tmp_path: Path) -> None:
    """Else its off would be of a young session, and prove nothing for a minute."""
    with (
        quirky(tmp_path, "slow_inside", after_control=1, seconds=3, lasting=4) as bmc,
        client_of(bmc, tmp_path) as client,
    ):
        before = await until_read(client)
        with pytest.raises(BmcError, match="sent, but not answered") as fault:
            await power.order(client, BmcOrder.POWER_OFF, until_ms=boot_ms() + 2_000, left_s=2.0)
        assert fault.value.left
        after = await until_read(client)
        assert (after.power, after.session) == (PowerState.OFF, before.session)


@pytest.mark.parametrize(
    ("silent", "refusing", "status"),
    [(1, 0, 0), (4, 0, 0), (1, 2, 13), (1, 2, 1), (1, 2, 0)],
)
async def test_a_restarted_bmc_is_used_again_within_three_seconds(
    tmp_path: Path, silent: float, refusing: float, status: int
) -> None:
    """Of when it takes logins; and it is asked all the time."""
    options = {"silent": silent, "refusing": refusing, "status": status}
    with quirky(tmp_path, "boots_slowly", **options) as bmc, client_of(bmc, tmp_path) as client:
        before = await until_read(client)
        restarting = asyncio.create_task(asyncio.to_thread(bmc.restart))
        while not restarting.done():
            with contextlib.suppress(BmcError):
                await power.read(client, patience_s=0.3, urgent=True)
        answers_at = time.monotonic()
        while (await until_read(client)).session == before.session:
            await asyncio.sleep(0.01)
        assert time.monotonic() - answers_at < refusing + BUSY_S


async def test_a_password_that_a_bmc_once_took_is_not_tried_until_it_locks_the_account(
    tmp_path: Path,
) -> None:
    with quirky(tmp_path, "none") as bmc, client_of(bmc, tmp_path) as client:
        await until_read(client)
        bmc.password = "another"
        bmc._write_files()
        await asyncio.to_thread(bmc.restart)
        began, tries = time.monotonic(), set()
        while time.monotonic() - began < 9:
            with pytest.raises(BmcError) as fault:
                await power.read(client)
            if "asked again" not in fault.value.fault:
                tries.add(fault.value.message)
            await asyncio.sleep(0.1)
        assert len(tries) <= 3
        assert "Incorrect password" in fault.value.fault
        assert "60 s after" in fault.value.fault


async def test_a_bmc_without_a_free_session_says_so_and_is_used_once_it_has_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "other").mkdir()
    with (
        quirky(tmp_path, "few_slots", slots=1) as bmc,
        client_of(bmc, tmp_path) as one,
        client_of(bmc, tmp_path / "other") as two,
    ):
        await until_read(one)
        with pytest.raises(BmcError, match="Insufficient resources"):
            await power.read(two)
        one.close()
        began = time.monotonic()
        await until_read(two)
        assert time.monotonic() - began < BUSY_S


@pytest.mark.parametrize("told", [9, 10, 13, 0x80, 0x81, 0xD4])
@pytest.mark.parametrize(("level", "word"), [(3, "OPERATOR"), (2, "USER")])
async def test_an_account_is_used_with_what_it_may(
    tmp_path: Path, level: int, word: str, told: int
) -> None:
    with (
        quirky(tmp_path, "privileges", level=level, told=told) as bmc,
        client_of(bmc, tmp_path) as client,
    ):
        assert (await until_read(client)).power is PowerState.ON
        assert client.level == word
        if level >= 3:
            await power.stop(client, 10, 0)
            assert bmc.power() == "off"
        else:
            with pytest.raises(BmcError, match="lacks the privilege"):
                await power.stop(client, 10, 0)


@pytest.mark.parametrize("way", range(1, 7))
async def test_a_bmc_without_sha_256_is_used_however_it_tells(tmp_path: Path, way: int) -> None:
    with quirky(tmp_path, "ciphers", way=way) as bmc, client_of(bmc, tmp_path) as client:
        assert (await power.read(client))[0] is PowerState.ON
        await power.stop(client, 10, 0)
        assert bmc.power() == "off"


@pytest.mark.parametrize("way", [1, 2, 3])
async def test_an_answer_that_is_none_says_neither_on_nor_off(tmp_path: Path, way: int) -> None:
    with (
        quirky(tmp_path, "odd_answers", way=way) as bmc,
        client_of(bmc, tmp_path) as client,
        pytest.raises(BmcError, match="an answer that is none"),
    ):
        await power.read(client)


async def test_a_closed_port_is_named(tmp_path: Path) -> None:
    with quirky(tmp_path, "none") as bmc:
        bmc.stop()
        with client_of(bmc, tmp_path) as client:
            with pytest.raises(BmcError, match=r"port \d+ is closed there: switch IPMI over"):
                await power.read(client, patience_s=BUSY_S)
            bmc.start()
            began = time.monotonic()
            await until_read(client)
            assert time.monotonic() - began < BUSY_S


async def test_a_refused_password_is_told_with_its_mend_and_tried_again_once_it_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with quirky(tmp_path, "none") as bmc:
        async with server1(tmp_path, monkeypatch, server2=bmc) as bmcs:
            file = Path(paths.bmc_password_file("server2"))
            file.chmod(0o600)
            file.write_text("wrong")
            for _ in range(2):
                read = await bmcs.read_power("server2", 1)
                assert "Incorrect password" in read.error
                assert read.mend == "Set it on this server: clpbmccnf -u clp server2"
            file.write_text(bmc.password)
            assert (await bmcs.read_power("server2", 2)).power == "on"


@pytest.mark.parametrize(
    ("quirk", "options", "fault", "mends"),
    [
        ("locked", {}, "Unauthorized name", "switched on, not locked"),
        ("few_slots", {"slots": 0}, "Insufficient resources", "End sessions with the BMC"),
        ("privileges", {"level": 1}, "", "the level OPERATOR"),
    ],
)
async def test_what_keeps_us_out_of_a_bmc_is_told_with_its_mend(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quirk: str,
    options: dict[str, float],
    fault: str,
    mends: str,
) -> None:
    with quirky(tmp_path, quirk, **options) as bmc:
        async with server1(tmp_path, monkeypatch, server2=bmc) as bmcs:
            read = await bmcs.read_power("server2", 1)
            assert read.power is PowerState.UNKNOWN
            assert fault in read.error
            assert mends in read.mend
            assert not read.lacks


async def test_an_account_that_may_only_read_is_told_with_what_it_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with quirky(tmp_path, "privileges", level=2) as bmc:
        async with server1(tmp_path, monkeypatch, server2=bmc) as bmcs:
            read = await bmcs.read_power("server2", 1)
            assert (read.power, read.error) == (PowerState.ON, "")
            assert read.lacks == "clp has the level USER there, OPERATOR is needed"
            assert read.mend == "Give clp the level OPERATOR in the BMC of server2."
