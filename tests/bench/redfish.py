"""Power by Redfish: reads, orders, and what eight BMCs cost while nothing happens."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clptools.core.model.settings import Bmc
from clptools.core.model.words import BmcOrder, PowerState
from clptools.hardware.ipmi_requests import BmcError
from clptools.hardware.redfish import RedfishPower
from tests.bench.report import Row, Section, spread
from tests.hardware.test_redfish import emulator
from tests.redfish.parts import PASSWORD, Redfish, boot_ms, make_certificate, redfish

READS = 60
ORDERS = 6
EMULATED_ORDERS = 3
RESTARTS = 5
AWAY_S = 6.0
ASKED_S = 0.3
"""A BMC whose server misses beats."""
BMCS = 8
WINDOW_S = 30.0
_ADDRESS = "127.82.1.1"
_PORT = 48_443


def measure() -> Section:
    """Against the emulator as it is installed, and one that keeps connections."""
    folder = Path(tempfile.mkdtemp(prefix="clpredfish-"))
    try:
        with emulator(folder) as bmc:
            emulated = asyncio.run(_reads(_client(bmc)))
            switched = asyncio.run(_orders(_client(bmc), EMULATED_ORDERS))[1]
        with redfish(folder) as made:
            kept = asyncio.run(_reads(_client(made.settings())))
            accepted, read_back = asyncio.run(_orders(_client(made.settings()), ORDERS))
            again = asyncio.run(_restarts(made))
        with _many(folder) as bmcs:
            cpu, memory_mb = asyncio.run(_idle(bmcs))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Section(
        title="Redfish",
        how=(
            "sushy-tools' emulator over HTTPS with a pinned certificate: as it is installed it "
            "closes each connection and takes 1 to 11 s for a switch; behind the server of the "
            "tests it keeps connections and switches at once. Eight BMCs: services that answer "
            f"at once, each read once a second for {WINDOW_S:g} s by this process."
        ),
        rows=(
            Row(what="power read, a new connection each", measured=spread(emulated, "ms")),
            Row(what="power read, the connection kept", measured=spread(kept, "ms")),
            Row(what="an order, until it is accepted", measured=spread(accepted, "ms")),
            Row(what="forced stop, until it reads off", measured=spread(read_back, "ms", 0)),
            Row(
                what="the same, the emulator's own switch",
                measured=spread(switched, "ms", 0),
                target="within its 11 s and 1",
                met=max(switched) < 12_000,
            ),
            Row(
                what="a restarted BMC is used again, after it answers",
                measured=spread(again, "ms", 0),
                target="within 3 s",
                met=max(again) <= 3_000,
            ),
            Row(
                what=f"CPU for {BMCS} BMCs read once a second",
                measured=f"{cpu:.2f} % of a core",
                target="under 2 %",
                met=cpu < 2,
            ),
            Row(
                what=f"memory for {BMCS} BMCs (RSS beyond the library)",
                measured=f"{memory_mb:.1f} MB",
            ),
        ),
    )


def _client(bmc: Bmc) -> RedfishPower:
    return RedfishPower("server1", bmc, boot_ms, lambda: PASSWORD)


async def _first(power: RedfishPower) -> PowerState:
    async with asyncio.timeout(20):
        while True:
            try:
                return (await power.read()).power
            except BmcError:
                await asyncio.sleep(0.1)


async def _reads(power: RedfishPower) -> list[float]:
    await _first(power)
    found = []
    for _ in range(READS):
        begun = time.perf_counter()
        await power.read()
        found.append((time.perf_counter() - begun) * 1e3)
    power.close()
    return found


async def _orders(power: RedfishPower, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds until a power-off was accepted, and until it read off."""
    accepted, read_back = [], []
    await _first(power)
    for _ in range(rounds):
        await power.power_on(lambda: 20.0, boot_ms() + 20_000)
        begun = time.perf_counter()
        await power.order(BmcOrder.POWER_OFF, until_ms=boot_ms() + 500, left_s=0.5)
        accepted.append((time.perf_counter() - begun) * 1e3)
        while await _first(power) is not PowerState.OFF:
            await asyncio.sleep(0.02)
        read_back.append((time.perf_counter() - begun) * 1e3)
    power.close()
    return accepted, read_back


async def _restarts(bmc: Redfish) -> list[float]:
    """Milliseconds from the first answer of a BMC that was away until it is read, asked as the
    agent does."""
    power, found = _client(bmc.settings()), []
    await _first(power)
    for _ in range(RESTARTS):
        bmc.kill()
        starting = asyncio.create_task(asyncio.to_thread(_start_later, bmc))
        while not starting.done():
            with contextlib.suppress(BmcError):
                await power.read()
            await asyncio.sleep(ASKED_S)
        begun = await starting
        while True:
            with contextlib.suppress(BmcError):
                await power.read()
                break
            await asyncio.sleep(ASKED_S)
        found.append((time.monotonic() - begun) * 1e3)
    power.close()
    return found


def _start_later(bmc: Redfish) -> float:
    """Away for a while, then started; when it answered."""
    time.sleep(AWAY_S)
    bmc.start()
    return time.monotonic()


@contextmanager
def _many(folder: Path) -> Iterator[list[Bmc]]:
    certificate = make_certificate(folder / "many", _ADDRESS)
    command = [sys.executable, "-m", "tests.redfish.many", str(folder / "many")]
    process = subprocess.Popen(
        [*command, _ADDRESS, str(_PORT), str(BMCS)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield [
            Bmc(
                address=_ADDRESS,
                port=_PORT + number,
                user="clp",
                protocol="redfish",
                certificate=certificate,
            )
            for number in range(BMCS)
        ]
    finally:
        process.kill()
        process.wait()


async def _idle(bmcs: list[Bmc]) -> tuple[float, float]:
    gc.collect()
    before_mb = _rss_mb()
    clients = [_client(bmc) for bmc in bmcs]
    for client in clients:
        await client.read()
    cpu_s, begun = time.process_time(), time.monotonic()
    while time.monotonic() - begun < WINDOW_S:
        for client in clients:
            await client.read()
            await asyncio.sleep(1 / BMCS)
    cpu = (time.process_time() - cpu_s) / (time.monotonic() - begun) * 100
    used_mb = _rss_mb() - before_mb
    for client in clients:
        client.close()
    return cpu, used_mb


def _rss_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
