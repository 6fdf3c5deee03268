"""BMCs as they are sold: a forced stop of each, and how soon one that restarted is used again."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from clptools.faults import ClpError
from clptools.hardware import power
from clptools.hardware.ipmi import BmcClient
from clptools.hardware.ipmi_requests import BmcError
from clptools.sim.demo_bmc import SimulatedBmc
from tests.bench.report import Row, Section, spread
from tests.hardware.bmc_sim import client_of, simulated
from tests.hardware.quirks.server import quirky

TIMEOUT_S = 30.0
ROUNDS = 5
_STOPS: tuple[tuple[str, str, dict[str, float], float], ...] = (
    ("no quirk", "none", {}, 1),
    ("busy (C0h) for 4 s after power off", "busy_after_off", {"seconds": 4}, 5.5),
    ("FFh for 4 s after power off", "busy_after_off", {"seconds": 4, "code": 0xFF}, 5.5),
    ("D4h for 4 s after power off", "busy_after_off", {"seconds": 4, "code": 0xD4}, 5.5),
    ("control commands busy for 4 s", "busy_control", {"seconds": 4}, 5.5),
    ("control command never answered", "control_unanswered", {}, 3),
    ("the same, and deaf for 3 s", "control_unanswered", {"deaf": 3}, 6),
    ("power off takes 6 s", "graceful", {"seconds": 6}, 7.5),
    ("power off takes 20 s", "graceful", {"seconds": 20}, 21.5),
    ("the first press does nothing", "graceful", {"seconds": 0.1, "presses": 2}, 5),
    ("1 s for each answer, one after the other", "slow", {"seconds": 1}, 6),
    ("2.5 s for each answer, one after the other", "slow", {"seconds": 2.5}, 15),
    ("3 s for each answer in a session", "slow_inside", {"seconds": 3}, 12),
    (
        "3 s for each answer, for 4 s after power off",
        "slow_inside",
        {"seconds": 3, "after_control": 1, "lasting": 4},
        8,
    ),
    ("one session", "few_slots", {"slots": 1}, 1),
    ("account is operator", "privileges", {"level": 3}, 1),
    ("SHA-256 not answered", "ciphers", {"way": 3}, 1),
)
_RESTARTS: tuple[tuple[str, Callable[[Path], AbstractContextManager[SimulatedBmc]]], ...] = (
    ("`ipmi_sim`", simulated),
    ("silent for 5 s", lambda f: quirky(f, "boots_slowly", silent=5, refusing=0)),
    (
        "no resources for the first 2 s",
        lambda f: quirky(f, "boots_slowly", silent=1, refusing=2, status=1),
    ),
    (
        "no accounts for the first 2 s",
        lambda f: quirky(f, "boots_slowly", silent=1, refusing=2, status=13),
    ),
)
_REFUSING_S = (0, 0, 2, 2)


def measure() -> Section:
    """One stop of each quirk, some restarts of each kind."""
    rows = []
    for what, quirk, options, most_s in _STOPS:
        took_s = asyncio.run(_stop(quirk, options))
        rows.append(
            Row(
                what=f"forced stop: {what}",
                measured=f"{took_s:.1f} s",
                target=f"within {most_s:g} s",
                met=took_s <= most_s,
            )
        )
    for (what, bmc), refusing_s in zip(_RESTARTS, _REFUSING_S, strict=True):
        took = asyncio.run(_restarts(bmc, refusing_s))
        rows.append(
            Row(
                what=f"a restarted BMC is used again: {what}",
                measured=spread([each * 1000 for each in took], "ms", 0),
                target="within 3 s of when it takes logins",
                met=max(took) <= 3,
            )
        )
    return Section(
        title="BMCs as they are sold",
        how=(
            f"A forced stop of {TIMEOUT_S:g} s, over a session that is open, until the BMC reads "
            "off; it is pyghmi's server class with one habit (`tests/hardware/quirks`). "
            "A BMC that restarts is asked all the time; measured from its first answer outside of "
            "sessions, less what it refuses logins for, until a read in a new session."
        ),
        rows=tuple(rows),
    )


async def _until_read(client: BmcClient) -> power.Reading:
    async with asyncio.timeout(240):
        while True:
            try:
                return await power.read_in_session(client)
            except BmcError:
                await asyncio.sleep(0.1)


async def _stop(quirk: str, options: dict[str, float]) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with quirky(folder, quirk, True, **options) as bmc, client_of(bmc, folder) as client:
            await _until_read(client)
            await _until_read(client)
            begun = time.monotonic()
            await power.stop(client, TIMEOUT_S, 2)
            return time.monotonic() - begun


def _restart(bmc: SimulatedBmc) -> None:
    """`ipmi_sim` finds its TCP port taken for a moment, now and then."""
    for _ in range(20):
        with contextlib.suppress(ClpError):
            bmc.restart(60.0)
            return
        time.sleep(0.5)


async def _restarts(
    made: Callable[[Path], AbstractContextManager[SimulatedBmc]], refusing_s: float
) -> list[float]:
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with made(folder) as bmc, client_of(bmc, folder) as client:
            before = (await _until_read(client)).session
            for _ in range(ROUNDS):
                restarting = asyncio.create_task(asyncio.to_thread(_restart, bmc))
                while not restarting.done():
                    with contextlib.suppress(BmcError):
                        await power.read(client, patience_s=1.0)
                    await asyncio.sleep(0.05)
                begun = time.monotonic()
                while (after := (await _until_read(client)).session) == before:
                    await asyncio.sleep(0.01)
                found.append(max(time.monotonic() - begun - refusing_s, 0.0))
                before = after
    return found
