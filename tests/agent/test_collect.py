"""A server's archive for `clplogcc` elsewhere: packed by a child, handed out in parts."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from clptools.agent.log_archives import PART_BYTES, Collector, parts
from clptools.api.messages import LogsPart
from clptools.faults import ClpError, ExitCode

STATE = {"status.json": '{"status": "as it is"}'}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the logs of a server."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    for folder in ("run/clptools", "var/lib/clptools", "var/log/clptools", "etc/clptools"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path / "var/log/clptools"


async def _state() -> dict[str, str]:
    return STATE


def _fetched(collector: Collector) -> bytes:
    async def fetch() -> bytes:
        async def ask(archive: str, offset: int) -> LogsPart:
            return await collector.part(archive, offset, _state)

        return b"".join([part.data async for part in parts(ask)])

    return asyncio.run(fetch())


def test_an_archive_comes_whole_in_parts(log: Path) -> None:
    noise = os.urandom(2 * PART_BYTES)
    (log / "alert.log").write_bytes(noise)
    with tarfile.open(fileobj=io.BytesIO(_fetched(Collector("server2")))) as archive:
        packed = archive.extractfile("server2-log/log/alert.log")
        assert packed is not None and packed.read() == noise
        status = archive.extractfile("server2-log/status.json")
        assert status is not None and status.read().decode() == STATE["status.json"]


async def test_who_hangs_up_half_way_leaves_nothing_that_grows(log: Path) -> None:
    (log / "alert.log").write_bytes(os.urandom(2 * PART_BYTES))
    collector = Collector("server2")

    async def half() -> list[str]:
        return [(await collector.part("", 0, _state)).archive for _ in range(3)]

    first, second, third = await half()
    for kept in (second, third):
        assert (await collector.part(kept, PART_BYTES, _state)).data
    with pytest.raises(ClpError) as fault:
        await collector.part(first, PART_BYTES, _state)
    assert fault.value.code == ExitCode.NO_SUCH


def test_what_may_not_be_read_is_no_empty_folder(log: Path) -> None:
    log.chmod(0o000)
    # Root without its right to read everything.
    words = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] * (os.getuid() == 0)
    words += [sys.executable, "-P", "-m", "clptools.packing", "server2"]
    ran = subprocess.run(words, input=b"{}", capture_output=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.decode() == f"{log}: Permission denied\n"


def test_a_fault_of_the_packing_is_told(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (log.parents[2] / "etc/clptools/clp.toml").mkdir()
    with pytest.raises(ClpError) as fault:
        _fetched(Collector("server2"))
    assert fault.value.code == ExitCode.FAILED
    assert fault.value.message.endswith("etc/clptools/clp.toml: Is a directory")
