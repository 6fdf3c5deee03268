"""A session with a BMC lives as long as the BMC keeps it, and its name as long as that."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clptools.agent.clock import boot_ms
from clptools.core.model.words import PowerState
from clptools.hardware import power
from clptools.hardware.ipmi_requests import BmcError
from clptools.sim.demo_bmc import IPMI_SIM, PYGHMI
from tests.conftest import LIMIT_S
from tests.hardware.bmc_sim import PASSWORD, relayed, simulated, until_read
from tests.hardware.relay import Relay

KINDS = pytest.mark.parametrize("kind", [IPMI_SIM, PYGHMI])


@KINDS
async def test_a_lost_answer_costs_one_repetition(tmp_path: Path, kind: str) -> None:
    async with relayed(tmp_path, kind) as (_, relay, client):
        before = await power.read_in_session(client, patience_s=LIMIT_S)
        relay.answers_lost = 1
        after = await power.read_in_session(client, patience_s=LIMIT_S)
        assert relay.answers_lost == 0
        assert (after.session, after.session_at) == (before.session, before.session_at)
        again = await power.read_in_session(client, patience_s=LIMIT_S)
        assert again.session == before.session


async def test_a_slow_bmc_keeps_its_session(tmp_path: Path) -> None:
    """Each answer comes after its question was put again."""
    async with relayed(tmp_path) as (_, relay, client):
        before = await power.read_in_session(client)
        relay.delay_s = 0.7
        for _ in range(5):
            after = await power.read_in_session(client, patience_s=LIMIT_S)
            assert after.session == before.session


async def test_a_read_that_got_no_answer_leaves_the_session(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (bmc, relay, client):
        before = await power.read_in_session(client)
        relay.answering = False
        with pytest.raises(BmcError, match=r"no answer within 0\.2 s"):
            await power.read_in_session(client, patience_s=0.2)
        bmc.switch(False)
        relay.answering = True
        after = await until_read(client)
        assert (after.power, after.session) == (PowerState.OFF, before.session)


def asking(relay: Relay, on: bool) -> None:
    relay.asking = on


def answering(relay: Relay, on: bool) -> None:
    relay.answering = on


@pytest.mark.parametrize("way", [asking, answering])
@KINDS
async def test_ten_seconds_without_network_leave_the_session(
    tmp_path: Path, kind: str, way: Callable[[Relay, bool], None]
) -> None:
    """Reads go on meanwhile; the BMC ignores what is numbered 16 above the last that it got."""
    async with relayed(tmp_path, kind) as (_, relay, client):
        before = await power.read_in_session(client)
        way(relay, False)
        back_at = boot_ms() + 10_000
        while boot_ms() < back_at:
            with pytest.raises(BmcError):
                await power.read(client, patience_s=0.3, urgent=True)
        way(relay, True)
        after = await until_read(client)
        assert (after.session, after.session_at) == (before.session, before.session_at)


async def test_an_answer_after_its_time_is_taken_for_no_later_question(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (bmc, relay, client):
        before = await power.read_in_session(client)
        relay.held = []
        with pytest.raises(BmcError, match="no answer"):
            await power.read(client, patience_s=0.2)
        late = await held_more_than(relay, 0)
        bmc.switch(False)
        asked = asyncio.create_task(power.read(client, urgent=True, patience_s=LIMIT_S))
        await held_more_than(relay, late)
        relay.release()
        assert (await asked)[0] is PowerState.OFF
        assert (await power.read_in_session(client)).session == before.session


async def held_more_than(relay: Relay, count: int) -> int:
    """How many answers are held, once it is more than `count`."""
    async with asyncio.timeout(LIMIT_S):
        while relay.held is None or len(relay.held) <= count:
            await asyncio.sleep(0.01)
    return len(relay.held)


@KINDS
async def test_a_bmc_that_restarted_is_used_again_in_a_new_session(
    tmp_path: Path, kind: str
) -> None:
    """It takes some 3 s; what is read meanwhile is unknown."""
    async with relayed(tmp_path, kind) as (bmc, _, client):
        before = await power.read_in_session(client)
        bmc.senses(right=False)
        await asyncio.to_thread(bmc.restart)
        restarted = boot_ms()
        after = await until_read(client)
        assert after.power is PowerState.OFF, "what it says in its first moments"
        assert after.session != before.session
        assert after.session_at >= restarted
        assert (await power.read_in_session(client)).session == after.session


@KINDS
async def test_a_bmc_that_restarts_while_it_cannot_be_reached_is_found_out(
    tmp_path: Path, kind: str
) -> None:
    async with relayed(tmp_path, kind) as (bmc, relay, client):
        before = await power.read_in_session(client)
        relay.asking = False
        with pytest.raises(BmcError, match="no answer"):
            await power.read(client)
        await asyncio.to_thread(bmc.restart)
        restarted = boot_ms()
        relay.asking = True
        after = await until_read(client)
        assert after.session != before.session
        assert after.session_at >= restarted


def test_a_session_that_was_idle_for_too_long_is_not_asked_in(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from clptools.hardware import ipmi_session as worker, pyghmi_adapter\n"
        "pyghmi_adapter.wait_in_caller()\n"
        "kept = worker.Session()\n"
        "def ask():\n"
        "    address, port, user, password = sys.argv[1:]\n"
        "    return kept.perform(worker.Command(number=1, address=address, port=int(port),\n"
        "        user=user, password=password, netfn=0, command=1,\n"
        "        until_ms=worker.boot_ms() + 10_000))\n"
        "names = [ask().session, ask().session]\n"
        "worker._KEPT_MS = -1\n"
        "print(*names, ask().session)\n"
    )
    with simulated(tmp_path) as bmc:
        command = [sys.executable, "-c", script, bmc.address, str(bmc.port), bmc.user, PASSWORD]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    first, again, later = done.stdout.split()
    assert first == again != later
