"""Requests to a real BMC simulator: answers, refusals, silence, and what must never show."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clptools.core.model.settings import Bmc
from clptools.faults import ClpError
from clptools.hardware.ipmi import BmcClient, IpmiProcesses, read_password
from clptools.hardware.ipmi_requests import APP, CHASSIS, BmcError
from clptools.sim.demo_bmc import IPMI_SIM, PYGHMI
from tests.conftest import LIMIT_S, free_port
from tests.hardware.bmc_sim import (
    PASSWORD,
    client_of,
    password_file,
    simulated,
)
from tests.hardware.relay import relay_to


async def status(client: BmcClient, patience_s: float = 3.0, urgent: bool = False) -> bytes:
    data, _ = await client.command(
        "chassis status", CHASSIS, 1, patience_s=patience_s, urgent=urgent
    )
    return data


@pytest.mark.parametrize("kind", [IPMI_SIM, PYGHMI])
async def test_many_requests_over_one_session_are_fast(tmp_path: Path, kind: str) -> None:
    """A lost wake-up in pyghmi would show as one request of a quarter second."""
    with simulated(tmp_path, kind) as bmc, client_of(bmc, tmp_path) as client:
        assert (await status(client))[0] & 1
        took = []
        for _ in range(200 if kind == IPMI_SIM else 20):
            before = time.monotonic()
            await client.command("get watchdog timer", APP, 0x25)
            took.append(time.monotonic() - before)
        assert sorted(took)[len(took) // 2] < 0.2, "they do not wait for a repetition"


async def test_a_refusal_names_server_address_command_attempt_and_code(tmp_path: Path) -> None:
    with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as client:
        with pytest.raises(BmcError) as refused:
            await client.command("power-on hours", CHASSIS, 0x0F)
        assert refused.value.message == (
            f"BMC of server2 ({bmc.address}:{bmc.port}): power-on hours, attempt 1: "
            "command not supported (0xc1)"
        )
        assert refused.value.completion_code == 0xC1
        assert await status(client), "a refusal is no failure of the BMC"


async def test_a_wrong_password_is_not_tried_again_until_it_is_changed(tmp_path: Path) -> None:
    with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as client:
        password_file(tmp_path, "wrong")
        with pytest.raises(BmcError, match="Incorrect password"):
            await status(client)
        with pytest.raises(BmcError, match=r"Incorrect password.*; it is asked again 60 s"):
            await status(client)
        password_file(tmp_path)
        assert await status(client)


async def test_an_unknown_user_is_told(tmp_path: Path) -> None:
    with (
        simulated(tmp_path) as bmc,
        client_of(bmc, tmp_path, user="nobody") as client,
        pytest.raises(BmcError, match="Unauthorized name"),
    ):
        await status(client)


async def test_a_bmc_that_is_not_there_costs_its_patience_and_is_then_left_alone(
    tmp_path: Path,
) -> None:
    with simulated(tmp_path) as bmc:
        bmc.stop()
        with client_of(bmc, tmp_path) as client:
            before = time.monotonic()
            closed = rf"attempt 1: port {bmc.port} is closed there: switch IPMI over LAN on"
            with pytest.raises(BmcError, match=closed):
                await status(client, 2.0)
            with pytest.raises(BmcError, match=r"Redfish; it is asked again 0\.5 s after that"):
                await status(client)
            assert time.monotonic() - before < 15, "neither waited for pyghmi"


async def test_a_frozen_bmc_holds_up_nobody_and_is_used_again_when_it_thaws(tmp_path: Path) -> None:
    with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as client:
        assert await status(client)
        bmc.freeze()
        for _ in range(2):
            with pytest.raises(BmcError, match="no answer"):
                await status(client, 0.2, urgent=True)
        bmc.thaw()
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    assert await status(client, 1.0, urgent=True)
                    break
                except BmcError:
                    await asyncio.sleep(0.05)


async def test_a_bmc_that_vanishes_in_a_login_is_used_again(tmp_path: Path) -> None:
    """pyghmi finds what is left of a failed session again; so no process outlives one."""
    with simulated(tmp_path) as bmc:
        async with relay_to(bmc.address, bmc.port) as relay:
            with client_of(bmc, tmp_path, port=relay.port) as client:
                relay.answers_left = 3  # the first is outside of any session
                with pytest.raises(BmcError, match="no answer"):
                    await status(client, 0.5)
                assert client._owed is not None
                await asyncio.wait([client._owed])
                relay.answers_left = -1
                assert await status(client, urgent=True)


CAPABLE = bytes.fromhex("0600ff0700000000000000000010811c632000380001840403000000001c")
"""What `ipmi_sim` says to Get Channel Authentication Capabilities."""


@pytest.mark.parametrize("truths", [0, 1, 2])
@pytest.mark.parametrize(
    "answer",
    [
        lambda asked: b"",
        lambda asked: b"\x06\x00\xff\x07",
        lambda asked: asked,
        lambda asked: asked[:-3],
        lambda asked: b"\x06\x00\xff\x07" + b"\xff" * 60,
        lambda asked: b"\x06\x00\xff\x07\x06" + b"\x00" * 2000,
        # Get Channel Authentication Capabilities, cut short and with a wrong length.
        lambda asked: bytes.fromhex("0600ff0700000000000000000010811c6320003800011801"),
    ],
)
async def test_fuzz_a_bmc_that_answers_nonsense_is_no_answer(
    tmp_path: Path, answer: Callable[[bytes], bytes], truths: int
) -> None:
    """The first that is asked is whether it is there at all, the next two belong to the login."""
    loop = asyncio.get_running_loop()

    class Liar(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

            self.truths = truths

        def datagram_received(self, data: bytes, source: Any) -> None:
            self.transport.sendto(CAPABLE if self.truths > 0 else answer(data), source)
            self.truths -= 1

    transport, _ = await loop.create_datagram_endpoint(Liar, local_addr=("127.79.0.2", 0))
    port = transport.get_extra_info("sockname")[1]
    processes = IpmiProcesses()
    bmc = Bmc(address="127.79.0.2", port=port, user="clp")
    client = BmcClient("server2", bmc, password_file(tmp_path), processes)
    for _ in range(2):
        with pytest.raises(BmcError, match=r"no answer|malformed|asked again|not enabled"):
            await status(client, 0.8)
    client.close()
    await processes.close()
    transport.close()


async def test_one_bmc_that_hangs_does_not_slow_another(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with (
        simulated(tmp_path) as dead,
        simulated(tmp_path) as living,
        client_of(dead, tmp_path) as one,
        client_of(living, tmp_path / "other") as two,
    ):
        await status(one)
        await status(two)
        dead.freeze()
        waiting = asyncio.create_task(status(one, 1.5))
        await asyncio.sleep(0)
        for _ in range(20):
            await status(two, 2.0)
        assert not waiting.done(), "twenty answers came while the other hung"
        with pytest.raises(BmcError):
            await waiting


async def test_sessions_are_given_back_when_a_client_closes(tmp_path: Path) -> None:
    """The simulated account may have ten sessions; twenty clients in a row work."""
    processes = IpmiProcesses()
    with simulated(tmp_path) as bmc:
        for _ in range(20):
            with client_of(bmc, tmp_path) as client:
                client._processes = processes
                assert await status(client)
        await processes.close()


async def test_a_request_is_not_repeated_after_its_limit(tmp_path: Path) -> None:
    with simulated(tmp_path) as bmc:
        async with relay_to(bmc.address, bmc.port) as relay:
            with client_of(bmc, tmp_path, port=relay.port) as client:
                await status(client)
                relay.asking = False
                with pytest.raises(BmcError, match=r"no answer within 0\.2 s"):
                    await client.command("set", APP, 0x25, patience_s=0.2)
                relay.asking = True
                relay.requests = 0
                # What would be repeated had left before this is answered.
                assert await status(client, urgent=True)
                assert relay.requests == 2, "one probe, one question"


def test_the_processes_end_with_an_agent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, signal\n"
        "from clptools.core.model.settings import Bmc\n"
        "from clptools.hardware.ipmi import *\n"
        "async def main():\n"
        "    bmc = Bmc(address='127.79.0.1', port=9, user='u')\n"
        f"    client = BmcClient('s', bmc, {password_file(tmp_path)!r}, IpmiProcesses())\n"
        "    try: await client.command('x', 0, 1, patience_s=1.0)\n"
        "    except ClpError: pass\n"
        "    print(client._processes._parent.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    parent = Path(f"/proc/{done.stdout.strip()}/cmdline")
    deadline = time.monotonic() + LIMIT_S
    while parent.exists() and b"ipmi_worker" in parent.read_bytes():
        assert time.monotonic() < deadline, "the parent of the IPMI processes is still there"
        time.sleep(0.01)


def ours() -> set[int]:
    """This process and all that come of it; other tests may run beside it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            after_name = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(after_name[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


async def test_the_password_is_in_no_command_line_and_no_environment(tmp_path: Path) -> None:
    def look() -> int:
        """How many of the IPMI processes were looked at."""
        seen = 0
        for name in ("cmdline", "environ"):
            for path in (Path(f"/proc/{pid}/{name}") for pid in ours()):
                try:
                    shown = path.read_bytes()
                except OSError:
                    continue
                seen += b"ipmi_worker" in shown
                assert PASSWORD.encode() not in shown, path
        return seen

    with simulated(tmp_path) as bmc, client_of(bmc, tmp_path) as client:
        await status(client)
        assert look() >= 2, "the parent and the one with the session"
        password_file(tmp_path, "wrong" + PASSWORD)
        with pytest.raises(BmcError) as fault:
            await status(client)
        assert PASSWORD not in fault.value.message
        # The one with the session may be gone by now; the parent stays.
        assert look() >= 1


def test_a_password_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClpError, match="others may read it") as fault:
        read_password(password_file(tmp_path, mode=0o440))
    assert "chmod 0400" in fault.value.hint
    with pytest.raises(ClpError, match="no BMC password there"):
        read_password(str(tmp_path / "none"))
    with pytest.raises(ClpError, match="empty"):
        read_password(password_file(tmp_path, ""))


def test_a_password_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = password_file(tmp_path)
    os.chown(path, 12_345, 0)
    with pytest.raises(ClpError, match="belongs to user 12345") as fault:
        read_password(path)
    assert fault.value.hint == f"chown root {path}"


def test_a_fifo_in_the_place_of_a_password_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o400)
    with pytest.raises(ClpError, match="fifo: empty"):
        read_password(str(tmp_path / "fifo"))


async def test_a_missing_password_is_told_with_the_server(tmp_path: Path) -> None:
    address = "127.79.0.1"
    client = BmcClient(
        "server1",
        Bmc(address=address, port=free_port(), user="clp"),
        str(tmp_path / "none"),
        IpmiProcesses(),
    )
    with pytest.raises(BmcError, match=r"BMC of server1 .*no BMC password there"):
        await status(client)
