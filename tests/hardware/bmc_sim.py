"""Real BMC firmware behaviour for tests: OpenIPMI's `ipmi_sim`, each test its own."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from clptools.core.model.settings import Bmc, Cluster, Interconnect, Server, Settings
from clptools.core.model.words import PowerState
from clptools.hardware import power
from clptools.hardware.ipmi import BmcClient, IpmiProcesses
from clptools.hardware.ipmi_requests import BmcError
from clptools.hardware.power import Reading
from clptools.sim.demo_bmc import IPMI_SIM, SimulatedBmc
from tests.conftest import LIMIT_S, free_port
from tests.hardware.relay import Relay, relay_to

PASSWORD = "s3cret-Pass"
_numbers = itertools.count(1)


def free_address() -> str:
    """Another loopback address at each call."""
    return f"127.79.{next(_numbers)}.1"


@contextmanager
def simulated(folder: Path, kind: str = IPMI_SIM, on: bool = True) -> Iterator[SimulatedBmc]:
    """A running BMC; skips where `ipmi_sim` is wanted and missing."""
    if kind == IPMI_SIM and shutil.which("ipmi_sim") is None:
        pytest.skip("ipmi_sim (Debian package openipmi) is not installed")
    address = free_address()
    bmc = SimulatedBmc(
        str(folder / f"bmc-{address}"), address, free_port(), password=PASSWORD, kind=kind
    )
    bmc.start(on=on)
    try:
        yield bmc
    finally:
        bmc.thaw()
        bmc.stop()


def password_file(folder: Path, text: str = PASSWORD, mode: int = 0o400) -> str:
    path = folder / "password"
    path.unlink(missing_ok=True)
    path.write_text(text + "\n")
    path.chmod(mode)
    return str(path)


def settings_of(**bmcs: SimulatedBmc) -> Settings:
    """A cluster of servers with these BMCs, and a bmchb over all of them."""
    return Settings(
        cluster=Cluster(name="cluster"),
        servers=tuple(
            Server(name=name, bmc=Bmc(address=bmc.address, port=bmc.port, user=bmc.user))
            for name, bmc in bmcs.items()
        ),
        interconnects=(
            Interconnect(
                name="bmchb1",
                type="bmchb",
                addresses={name: bmc.address for name, bmc in bmcs.items()},
            ),
        ),
    )


async def until_read(client: BmcClient) -> Reading:
    """Ask as the agent does, until there is an answer."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                return await power.read_in_session(client)
            except BmcError:
                await asyncio.sleep(0.05)


class Account(Protocol):
    """Where a BMC is reached, and as whom."""

    address: str
    port: int
    user: str


@contextmanager
def client_of(
    bmc: Account, folder: Path, user: str = "", port: int = 0, server: str = "server2"
) -> Iterator[BmcClient]:
    """A client, inside a running loop; its process ends with it.  `port`: of a relay."""
    processes = IpmiProcesses()
    made = BmcClient(
        server,
        Bmc(
            address="127.0.0.1" if port else bmc.address,
            port=port or bmc.port,
            user=user or bmc.user,
        ),
        password_file(folder),
        processes,
    )
    try:
        yield made
    finally:
        made.close()
        asyncio.get_running_loop().create_task(processes.close())


@asynccontextmanager
async def relayed(
    tmp_path: Path, kind: str = IPMI_SIM
) -> AsyncIterator[tuple[SimulatedBmc, Relay, BmcClient]]:
    """A BMC behind a relay that counts and loses datagrams, with a session that is open."""
    with simulated(tmp_path, kind) as bmc:
        async with relay_to(bmc.address, bmc.port) as relay:
            with client_of(bmc, tmp_path, port=relay.port) as client:
                assert (await power.read(client))[0] is PowerState.ON
                yield bmc, relay, client


def ipmitool(bmc: SimulatedBmc, *words: str) -> str:
    """What ipmitool says; skips where it is not installed."""
    if shutil.which("ipmitool") is None:
        pytest.skip("ipmitool is not installed")
    command = ["ipmitool", "-I", "lanplus", "-H", bmc.address, "-p", str(bmc.port)]
    done = subprocess.run(
        [*command, "-U", bmc.user, "-E", "-C", "3", *words],
        env={**os.environ, "IPMI_PASSWORD": bmc.password},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    return done.stdout.strip()
