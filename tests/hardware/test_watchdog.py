"""The own BMC's timer: one owner for beat, userw and dead-man, on a real BMC simulator."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clptools.agent.clock import boot_ms
from clptools.core.model.events import WatchdogChanged
from clptools.faults import ClpError, ExitCode
from clptools.hardware import power, watchdog
from clptools.hardware.ipmi import BmcClient
from clptools.hardware.ipmi_requests import BmcError
from clptools.hardware.watchdog import OwnTimer, State
from clptools.links.bmc import BmcHeartbeat
from clptools.links.notices import BmcTakesBeats, BmcTakesNoBeats
from clptools.monitors.userw import Watchdog
from clptools.sim.demo_bmc import SimulatedBmc
from tests.conftest import LIMIT_S
from tests.hardware.bmc_sim import client_of, ipmitool, simulated
from tests.hardware.quirks.server import quirky
from tests.noticed import Noticed


class Clock:
    now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


def unexpected(text: str) -> None:
    pytest.fail(f"a feeding failed: {text}")


@asynccontextmanager
async def timer_of(
    tmp_path: Path,
) -> AsyncIterator[tuple[OwnTimer, BmcClient, SimulatedBmc, Clock]]:
    with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as client:
        clock = Clock()
        timer = OwnTimer(client, clock)
        yield timer, client, bmc, clock
        timer.close()


async def fed(timer: OwnTimer) -> None:
    timer.pet()
    assert timer._feeding is not None
    await timer._feeding


async def test_each_beat_is_another_number_and_runs_no_timer(tmp_path: Path) -> None:
    async with timer_of(tmp_path) as (timer, client, bmc, _):
        seen = []
        for _ in range(3):
            await timer.beat()
            found = await watchdog.read(client)
            assert not found.running
            seen.append(found.beat)
        assert seen == ["1", "2", "3"]
        shown = await asyncio.to_thread(ipmitool, bmc, "mc", "watchdog", "get")
        assert "SMS/OS" in shown
        assert "Stopped" in shown


async def test_the_userw_watchdog_runs_is_fed_and_ends(tmp_path: Path) -> None:
    async with timer_of(tmp_path) as (timer, client, bmc, _):
        assert "2.5 s" in await timer.arm(2_500, unexpected)
        assert timer.state is State.ARMED
        found = await watchdog.read(client)
        assert (found.running, found.action) == (True, watchdog.ACTIONS["reset"])
        beats = {found.beat}
        for _ in range(4):
            await fed(timer)
            found = await watchdog.read(client)
            assert 22 <= found.countdown <= 25
            beats.add(found.beat)
        assert len(beats) == 4, "feeding is a beat as well"
        await timer.beat()
        assert (await watchdog.read(client)).running, "a beat leaves it running"
        await timer.disarm()
        assert not (await watchdog.read(client)).running
        assert bmc.power() == "on"


async def test_a_server_that_feeds_no_more_is_reset_by_its_bmc(tmp_path: Path) -> None:
    async with timer_of(tmp_path) as (timer, _, bmc, _clock):
        before = bmc.machine()
        await timer.arm(1_000, unexpected)
        async with asyncio.timeout(LIMIT_S):
            while bmc.machine() in (0, before):
                await asyncio.sleep(0.05)


async def test_a_feeding_that_comes_too_late_is_not_sent_and_counts_as_failed(
    tmp_path: Path,
) -> None:
    async with timer_of(tmp_path) as (timer, client, _, clock):
        failed: list[str] = []
        await timer.arm(60_000, failed.append)
        before = await watchdog.read(client)
        timer.pet()
        clock.now_ms += 20_000
        assert timer._feeding is not None
        await timer._feeding
        assert await watchdog.read(client) == before
        assert len(failed) == 1
        assert "not confirmed in time" in failed[0]


class Slow:
    """A BMC that answers everything, each after a while."""

    server, where = "server1", "127.0.0.1:623"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.takes_ms = 0
        self.started: list[int] = []
        self.fault = ""

    async def command(self, what: str, *_: object, **known: float) -> tuple[bytes, int]:
        if self.fault or self.takes_ms > known["patience_s"] * 1000:
            self.clock.now_ms += round(known["patience_s"] * 1000)
            raise BmcError(self.server, self.where, what, 1, self.fault or "no answer")
        self.clock.now_ms += self.takes_ms
        if what.startswith("start"):
            self.started.append(self.clock.now_ms)
        return bytes([0x44, 1, 0, 0, 1, 0, 1, 0]), 0


async def test_the_bmc_never_acts_later_than_a_quarter_after_the_time_out() -> None:
    """However its answers are spread: what is not confirmed by then is not promised."""
    for takes_ms in range(0, 1_000, 50):
        clock = Clock()
        bmc, failed = Slow(clock), list[str]()
        timer = OwnTimer(bmc, clock)  # type: ignore[arg-type]  # a BMC that answers so
        await timer.arm(2_700, failed.append)
        bmc.takes_ms, bmc.started = takes_ms, []
        fed_at = clock.now_ms
        await fed(timer)
        assert bool(failed) == (2 * takes_ms > 675), takes_ms
        assert all(started - fed_at <= 675 for started in bmc.started)
        assert clock.now_ms - fed_at <= 675, "and it is told by then"


async def test_a_bmc_that_takes_no_feedings_ends_the_promise_until_it_is_armed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that restarted, and has forgotten that a timer ran."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path / "root"))

    with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as client:
        told: list[WatchdogChanged] = []
        timer = OwnTimer(client, boot_ms)
        dog = Watchdog("server1", now=boot_ms, changed=told.append, bmc_timer=timer)
        assert (await dog.arm(60_000, "ipmi")).armed
        timer._armed_ms = 2_000  # as short as it is in use, once the session is open
        bmc.freeze()
        dog.pet()
        assert timer._feeding is not None
        await timer._feeding
        (lost,) = told
        assert (lost.armed, dog.armed) == (False, False)
        assert "cannot be fed: BMC of server2" in lost.text
        bmc.thaw()
        await asyncio.to_thread(bmc.restart)
        # By a request that is not kept back after the failure.
        await power.read(client, urgent=True, patience_s=30)
        assert not (await watchdog.read(client)).running
        assert (await dog.arm(60_000, "ipmi")).armed
        assert (await watchdog.read(client)).running
        assert not (await dog.disarm()).armed
        assert not (await watchdog.read(client)).running


async def test_a_timer_that_may_have_been_started_is_fed(tmp_path: Path) -> None:
    """The answer to the start is lost: unfed it would reset a healthy server."""
    clock = Clock()
    bmc, failed = Slow(clock), list[str]()
    timer = OwnTimer(bmc, clock)  # type: ignore[arg-type]  # a BMC that answers so

    async def lost(what: str, *words: object, **known: float) -> tuple[bytes, int]:
        answer = await Slow.command(bmc, what, *words, **known)
        if what.startswith("start"):
            raise BmcError(bmc.server, bmc.where, what, 1, "no answer")
        return answer

    bmc.command = lost  # type: ignore[method-assign]
    with pytest.raises(BmcError):
        await timer.arm(2_700, failed.append)
    del bmc.command
    await fed(timer)
    assert (len(bmc.started), failed) == (2, [])


async def test_the_dead_man_runs_to_its_deadline_and_beats_leave_it_alone(tmp_path: Path) -> None:
    async with timer_of(tmp_path) as (timer, client, _, _clock):
        await timer.beat()
        await timer.arm_deadman("power-cycle", 300_000)
        assert timer.state is State.DEADMAN
        found = await watchdog.read(client)
        assert (found.running, found.action) == (True, watchdog.ACTIONS["power-cycle"])
        assert found.beat == "recovering 3000"
        await timer.beat()
        assert await watchdog.read(client) == found
        await timer.stand_down()
        found = await watchdog.read(client)
        assert (found.running, timer.state) == (False, State.BEAT)


async def test_a_server_with_both_is_fed_until_the_deadline_only(tmp_path: Path) -> None:
    """So that a hang during a recovery is noticed as fast as at any other time."""
    async with timer_of(tmp_path) as (timer, client, _, clock):
        await timer.arm(20_000, unexpected)
        await timer.arm_deadman("reset", 300_000)
        found = await watchdog.read(client)
        assert found.beat.startswith("recovering")
        assert found.countdown <= 200
        await fed(timer)
        assert (await watchdog.read(client)).countdown != found.countdown
        clock.now_ms += 300_000
        before = await watchdog.read(client)
        await fed(timer)
        assert await watchdog.read(client) == before
        await timer.disarm()
        assert (await watchdog.read(client)).running, "disarming userw keeps the dead-man"


async def test_an_agent_that_restarts_does_not_beat_over_a_dead_man(tmp_path: Path) -> None:
    async with timer_of(tmp_path) as (timer, client, _, clock):
        await timer.arm_deadman("reset", 300_000)
        found = await watchdog.read(client)
        again = OwnTimer(client, clock)
        await again.beat()
        assert await watchdog.read(client) == found


async def test_a_timer_that_another_program_feeds_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog, "_FOREIGN_S", 0.0)

    class Fed:
        server, where = "server1", "127.0.0.1:623"
        sets = 0
        present = 100

        async def command(self, what: str, *_: object, **__: object) -> tuple[bytes, int]:
            self.sets += what.startswith("set")
            return bytes([0x44, 1, 0, 0, 100, 0, self.present, 0]), 0

    bmc = Fed()
    timer = OwnTimer(bmc, Clock())  # type: ignore[arg-type]  # a BMC that says so
    with pytest.raises(ClpError, match="another program feeds this timer"):
        await timer.beat()
    assert bmc.sets == 0


async def test_what_a_timer_cannot_hold_is_refused(tmp_path: Path) -> None:
    async with timer_of(tmp_path) as (timer, _, _, _clock):
        with pytest.raises(ClpError, match="cannot be set to 7200 s"):
            await timer.arm(7_200_000, unexpected)


async def test_a_bmc_too_slow_to_be_fed_in_time_is_not_armed() -> None:
    """It would reset a healthy server over and over; a longer timer it may guard."""
    clock = Clock()
    bmc = Slow(clock)
    bmc.takes_ms = 400
    timer = OwnTimer(bmc, clock)  # type: ignore[arg-type]  # a BMC that answers so
    with pytest.raises(ClpError, match=r"takes 0\.8 s for a feeding.*leaves 0\.7 s"):
        await timer.arm(2_700, unexpected)
    assert (len(bmc.started), timer.state) == (0, State.BEAT)
    await timer.arm(9_000, unexpected)
    assert (len(bmc.started), timer.state) == (1, State.ARMED)


async def test_a_bmc_that_goes_silent_leaves_the_state_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with timer_of(tmp_path) as (timer, _, bmc, _clock):
        await timer.beat()
        bmc.freeze()
        monkeypatch.setattr(watchdog, "_PATIENCE_S", 0.3)
        with pytest.raises(ClpError, match="get watchdog timer"):
            await timer.arm(4_000, unexpected)
        assert timer.state is State.BEAT
        bmc.thaw()


async def test_a_beat_with_a_malformed_answer_is_no_beat() -> None:
    class Short:
        server, where = "server2", "127.0.0.1:623"

        async def command(self, *_: object, **__: object) -> tuple[bytes, int]:
            return b"\x04\x00", 0

    with pytest.raises(ClpError, match="answer of 2 bytes"):
        await watchdog.read(Short())  # type: ignore[arg-type]  # a BMC that answers so


async def test_the_heartbeat_writes_on_into_the_bmc(tmp_path: Path) -> None:
    async with timer_of(tmp_path) as (timer, client, _, _clock):
        heart = BmcHeartbeat("bmchb1", timer, 50, lambda text: None)
        heart.start()
        async with asyncio.timeout(LIMIT_S):
            while (await watchdog.read(client)).countdown < 3:
                await asyncio.sleep(0.01)
        heart.close()


async def test_a_bmc_that_takes_no_beats_is_told_once_and_again_when_it_does() -> None:
    class Timer:
        dead = True
        beats = 0

        async def beat(self) -> None:
            self.beats += 1
            if self.dead:
                raise ClpError(ExitCode.FAILED, "BMC of server1: no answer")

    timer, told = Timer(), Noticed()
    heart = BmcHeartbeat("bmchb1", timer, 1, told.take)
    heart.start()
    async with asyncio.timeout(LIMIT_S):
        while timer.beats < 5:
            await asyncio.sleep(0.001)
        assert heart.fault
        timer.dead = False
        while heart.fault:
            await asyncio.sleep(0.001)
    heart.close()
    assert told.kinds == [BmcTakesNoBeats, BmcTakesBeats]
    assert told == [
        "interconnect bmchb1: BMC of server1: no answer",
        "interconnect bmchb1: the own BMC takes beats again",
    ]


@pytest.fixture(autouse=True)
def _needs_ipmi_sim() -> None:
    if shutil.which("ipmi_sim") is None:
        pytest.skip("ipmi_sim (Debian package openipmi) is not installed")


@asynccontextmanager
async def quirky_timer(
    tmp_path: Path, mark: str = "", **options: float
) -> AsyncIterator[tuple[OwnTimer, BmcClient]]:
    """The timer of a BMC that reads it back otherwise than it was set."""
    with quirky(tmp_path, "timer", **options) as bmc, client_of(bmc, tmp_path) as client:
        timer = OwnTimer(client, Clock(), mark)
        yield timer, client
        timer.close()


@pytest.mark.parametrize("options", [{"use": 0}, {"use": 1}, {"countdown": 0}, {"countdown": 600}])
async def test_a_bmc_that_carries_no_beats_is_found_out(
    tmp_path: Path, options: dict[str, float]
) -> None:
    async with quirky_timer(tmp_path, **options) as (timer, _):
        for _ in range(2):
            with pytest.raises(BmcError, match="this BMC carries no beats"):
                await timer.beat()


@pytest.mark.parametrize("options", [{"action": 0}, {"stopped": 1}, {"countdown": 6000}])
async def test_a_timer_that_would_not_act_is_not_taken_for_armed(
    tmp_path: Path, options: dict[str, float]
) -> None:
    async with quirky_timer(tmp_path, **options) as (timer, _):
        with pytest.raises(BmcError, match="does not do what it was set to"):
            await timer.arm(2_500, unexpected)
        await timer.disarm()
        with pytest.raises(BmcError, match="does not do what it was set to"):
            await timer.arm_deadman("bmc-power-off", 30_000)


async def test_another_action_that_takes_the_power_away_will_do(tmp_path: Path) -> None:
    async with quirky_timer(tmp_path, action=watchdog.ACTIONS["reset"]) as (timer, _):
        await timer.arm_deadman("bmc-power-off", 30_000)
        assert timer.state is State.DEADMAN


@pytest.mark.parametrize("use", [0, 4])
async def test_a_deadman_of_the_agent_before_is_stopped_whatever_the_bmc_says_of_it(
    tmp_path: Path, use: int
) -> None:
    mark = str(tmp_path / "deadman")

    async with quirky_timer(tmp_path, mark, use=use) as (timer, client):
        await timer.arm_deadman("bmc-reset", 60_000)
        timer.close()
        after = OwnTimer(client, Clock(), mark)
        await after.beat()
        assert (await watchdog.read(client)).running, "a beat leaves it alone"
        await after.stand_down()
        assert not (await watchdog.read(client)).running
        assert not Path(mark).exists()
        later = OwnTimer(client, Clock(), mark)
        await client.command("start watchdog timer", 6, 0x22)
        await later.stand_down()
        assert (await watchdog.read(client)).running, "somebody else's"
