"""`disk` on real files and a real block device: what is refused, and a disk that hangs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clptools.arbiters.base import Held
from clptools.arbiters.disk import DiskArbiter
from clptools.core.model.settings import Arbiter
from tests.arbiters.parts import context, held_by, shared_file
from tests.conftest import LIMIT_S

LEASE_MS = 600


@asynccontextmanager
async def disks(
    path: str | dict[str, str], timeout_ms: int = 5_000
) -> AsyncIterator[tuple[DiskArbiter, DiskArbiter]]:
    """The arbiters of server1 and of server2."""
    definition = Arbiter(name="disk1", type="disk", options={"path": path})
    first, second = (
        DiskArbiter(definition, context(server, lease_ms=LEASE_MS, timeout_ms=timeout_ms))
        for server in ("server1", "server2")
    )
    try:
        yield first, second
    finally:
        await first.close()
        await second.close()


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[str]:
    if os.geteuid() != 0 or shutil.which("losetup") is None:
        pytest.skip("NOT TESTED: a loop device needs root and losetup")
    file = shared_file(tmp_path)
    words = ["losetup", "--find", "--show", "--direct-io=on", str(file)]
    made = subprocess.run(words, capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"NOT TESTED: no loop device: {made.stderr.strip()}")
    device = made.stdout.strip()
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


async def test_a_block_device_under_two_names_is_one_disk(loop_device: str, tmp_path: Path) -> None:
    other = tmp_path / "by-id"
    other.symlink_to(loop_device)

    async with disks({"server1": loop_device, "server2": str(other)}) as (first, second):
        await held_by(first, LEASE_MS)
        await first.release()
        await held_by(second, LEASE_MS)
        answer = await first.hold(LEASE_MS)
        assert answer.holder == "server2" or "joins" in answer.error


async def refusal(path: str | dict[str, str]) -> str:
    """Why server1 cannot use it."""
    async with disks(path) as (first, _):
        answer = await first.hold(LEASE_MS)
        assert not answer.held
        return answer.error


async def test_a_disk_that_cannot_serve_is_refused_with_the_reason(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert await refusal(str(missing)) == f"disk1: {missing}: no such file or directory"
    assert not missing.exists(), "a file that is made is not shared"
    small = tmp_path / "small"
    small.write_bytes(bytes(4096))
    assert await refusal(str(small)) == f"disk1: {small}: 4096 bytes, at least 262144 are needed"
    assert "is a directory" in await refusal(str(tmp_path))


async def test_a_disk_with_other_data_is_never_written(tmp_path: Path) -> None:
    path = shared_file(tmp_path)
    with open(path, "r+b") as file:
        file.seek(0x438)
        file.write(b"\x53\xef")
    before = path.read_bytes()
    said = await refusal(str(path))
    assert said.startswith(f"disk1: {path}: holds other data; if nobody needs it: dd if=/dev/zero")
    assert path.read_bytes() == before


async def test_memory_is_no_shared_disk() -> None:
    path = Path(f"/dev/shm/clptools-test-{os.getpid()}")
    path.write_bytes(bytes(1 << 20))
    try:
        said = await refusal(str(path))
    finally:
        path.unlink()
    if "O_DIRECT" not in said:
        pytest.skip("NOT TESTED: tmpfs takes O_DIRECT on this kernel")


async def test_a_server_without_a_path_is_told() -> None:
    assert await refusal({"server2": "/dev/sdx"}) == "disk1: no path for server1"


async def test_a_disk_that_hangs_costs_an_error_and_is_used_again(tmp_path: Path) -> None:
    async with disks(str(shared_file(tmp_path)), timeout_ms=1_000) as (first, second):
        await held_by(first, LEASE_MS)
        assert first._process is not None
        worker = first._process.pid
        os.kill(worker, signal.SIGSTOP)
        for _ in range(4):
            answer = await first.hold(LEASE_MS)
            assert not answer.held
            assert "it may hang" in answer.error
        # The one who hangs keeps nobody out for longer than its lease.
        await held_by(second, LEASE_MS)
        os.kill(worker, signal.SIGCONT)
        deadline = time.monotonic() + LIMIT_S
        answer = Held()
        while answer.holder != "server2":
            assert time.monotonic() < deadline, answer
            assert (await second.hold(LEASE_MS)).held
            answer = await first.hold(LEASE_MS)
        await second.release()
        await held_by(first, LEASE_MS)


async def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    async with disks(str(shared_file(tmp_path))) as (first, _):
        await held_by(first, LEASE_MS)
        assert first._process is not None
        first._process.kill()
        await first._process.wait()
        await held_by(first, LEASE_MS)


async def test_an_earlier_run_that_is_stuck_keeps_its_slot(tmp_path: Path) -> None:
    path = str(shared_file(tmp_path))

    async with disks(path) as (first, _):
        await held_by(first, LEASE_MS)
        definition = Arbiter(name="disk1", type="disk", options={"path": path})
        again = DiskArbiter(definition, context("server1", lease_ms=LEASE_MS))
        try:
            deadline = time.monotonic() + LIMIT_S
            answer = Held()
            while "an earlier run of this agent" not in answer.error:
                assert time.monotonic() < deadline, answer
                answer = await again.hold(LEASE_MS)
                assert not answer.held
                await asyncio.sleep(0.05)
        finally:
            await again.close()
