"""HA/RS: real pressure triggers, a file system that is really full, and what runs out."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clptools.intake import resource_shortage
from clptools.intake.resource_shortage import SustainedCondition
from tests.intake.source_room import Heard, mrw, put, spoken
from tests.namespaces import mount, own_mounts

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
FAST = {"duration_ms": 0, "sample_interval_ms": 20.0}


@contextmanager
def busy() -> Iterator[None]:
    """More work than there are processors."""
    many = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(3 * (os.cpu_count() or 1))
    ]
    try:
        yield
    finally:
        for one in many:
            one.kill()
        for one in many:
            one.wait()


@needs_root
def test_a_full_file_system_is_told_and_closed_when_there_is_room_again(tmp_path: Path) -> None:
    async def body() -> None:
        mount("-t", "tmpfs", "-o", "size=1m,nr_inodes=100", "none", str(tmp_path))
        async with Heard(mrw("HA/RS", str(tmp_path), **FAST)) as heard:
            (tmp_path / "half").write_bytes(bytes(500_000))
            await asyncio.sleep(0.1)
            assert heard.told == []
            (tmp_path / "rest").write_bytes(bytes(540_000))
            event = await heard.count(1)
            assert (event.keyword, event.fault) == (str(tmp_path), "space")
            assert event.text == f"{tmp_path} is full (100 %)"
            (tmp_path / "rest").unlink()
            assert (await heard.count(2)).recovered
            for number in range(97):
                (tmp_path / str(number)).touch()
            event = await heard.count(3)
            assert event.fault == "inodes"

    own_mounts(body())


async def test_a_real_pressure_trigger() -> None:
    if not os.access("/proc/pressure/cpu", os.W_OK):
        pytest.skip("this kernel has no pressure stall information, or lets us not use it")

    # Half a second wants CAP_SYS_RESOURCE; the source then takes the 2 s that all may.
    one = mrw("HA/RS", "cpu", pressure_stall=5.0, pressure_window_ms=500, duration_ms=0)
    async with Heard(one) as heard:
        await heard.until(lambda: heard.sources.kernel.files._files or heard.notes)
        if any("is not seen" in note for note in heard.notes):
            pytest.skip(heard.notes[0])
        with busy():
            event = await heard.count(1, 30)
        assert (event.keyword, event.fault) == ("cpu", "pressure")


async def test_a_window_that_wants_more_right_than_we_have_becomes_a_longer_one_and_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe is the kernel's file here: it can be polled."""
    proc = proc_with(tmp_path)
    kernel, _, _ = spoken(tmp_path, proc=str(proc))
    (proc / "pressure").mkdir()
    os.mkfifo(proc / "pressure/cpu")
    written: list[int] = []

    def write(trigger: resource_shortage.Trigger, window_us: int) -> None:
        if window_us % resource_shortage.STEP_US:
            raise OSError(errno.EINVAL, "Invalid argument")
        written.append(window_us)

    monkeypatch.setattr(resource_shortage.Trigger, "_write", write)

    async def body(window_ms: int) -> list[str]:
        async with Heard(mrw("HA/RS", "cpu", pressure_window_ms=window_ms), kernel=kernel) as heard:
            await heard.until(lambda: kernel.files._files)
            return heard.notes

    (note,) = await body(500)
    assert "over 2 s" in note and "CAP_SYS_RESOURCE" in note
    assert await body(4_000) == []
    assert written == [2_000_000, 4_000_000]


async def test_where_the_kernel_measures_no_pressure_the_rest_is_seen(tmp_path: Path) -> None:
    proc = proc_with(tmp_path)
    kernel, _, _ = spoken(tmp_path, proc=str(proc))

    async with Heard(mrw("HA/RS", **FAST), kernel=kernel) as heard:
        await heard.until(lambda: len(heard.notes) == 3)
        assert all("is not seen" in note for note in heard.notes)
        put(proc, meminfo="MemTotal: 1000 kB\nMemAvailable: 10 kB")
        assert (await heard.count(1)).keyword == "memory"


def proc_with(tmp: Path) -> Path:
    proc = tmp / "proc"
    put(proc, meminfo="MemTotal: 1000 kB\nMemAvailable: 500 kB", loadavg="0.1 0.1 0.1 1/200 4711")
    put(proc / "sys/fs", **{"file-nr": "1000\t0\t100000"})
    put(proc / "sys/kernel", pid_max=32768, **{"threads-max": 100000})
    put(proc / "thread-self", mountinfo="")
    return proc


async def test_memory_handles_and_processes(tmp_path: Path) -> None:
    proc = proc_with(tmp_path)
    kernel, _, _ = spoken(tmp_path, proc=str(proc))

    monitors = [mrw("HA/RS", name, **FAST) for name in ("memory", "files", "processes")]
    async with Heard(*monitors, kernel=kernel) as heard:
        await asyncio.sleep(0.1)
        assert heard.told == []
        put(proc, meminfo="MemTotal: 1000 kB\nMemAvailable: 20 kB")
        assert (await heard.count(1)).text == "memory is used up (98 %)"
        put(proc / "sys/fs", **{"file-nr": "95000\t0\t100000"})
        assert (await heard.count(2)).text == "file handles are used up (95 %)"
        put(proc, loadavg="0.1 0.1 0.1 1/31000 4711")
        assert (await heard.count(3)).text == "processes are used up (95 %)"
        put(proc, meminfo="MemTotal: 1000 kB\nMemAvailable: 500 kB")
        assert (await heard.count(4)).recovered


async def test_the_space_of_disks_counts_and_not_of_what_a_user_mounted(tmp_path: Path) -> None:
    """Their points need not be text."""
    proc = proc_with(tmp_path)
    points = [tmp_path / "user", tmp_path / "disk\udcff"]
    for point in points:
        point.mkdir()
    (proc / "thread-self/mountinfo").write_text(
        f"99 25 0:55 / {points[0]} rw - fuse.sshfs /dev/sdz9 rw,user_id=1000\n"
        f"36 25 8:17 / {points[1]} rw - ext4 /dev/sdb1 rw\n",
        errors="surrogateescape",
    )
    kernel, _, _ = spoken(tmp_path, proc=str(proc))

    options = {**FAST, "space_used": 0.0, "inodes_used": 101.0}
    async with Heard(mrw("HA/RS", **options), kernel=kernel) as heard:
        event = await heard.count(1)
        assert event.keyword == f"{tmp_path}/disk\\xff"
        await asyncio.sleep(0.1)
        assert len(heard.told) == 1


async def test_nothing_happened(tmp_path: Path) -> None:
    """Much is in use, now and then too much, but never for as long as `duration`."""
    proc = proc_with(tmp_path)
    kernel, _, _ = spoken(tmp_path, proc=str(proc))

    options = {"duration_ms": 60_000, "sample_interval_ms": 5.0}
    async with Heard(mrw("HA/RS", **options), kernel=kernel) as heard:
        for available in (500, 10, 400, 0, 31) * 6:
            put(proc, meminfo=f"MemTotal: 1000 kB\nMemAvailable: {available} kB")
            await asyncio.sleep(0.01)
        assert heard.told == []


def test_a_condition_must_last_and_its_end_too() -> None:
    clock = [0.0]
    one = SustainedCondition(10, lambda: clock[0])

    def at(when: float, there: bool) -> bool:
        clock[0] = when
        one.seen(there)
        return one.holds

    assert not at(0, True) and not at(9, True)
    assert not at(9.5, False)
    assert not at(10, True) and not at(19, True) and at(20, True)
    assert at(21, False) and at(25, True) and at(26, False) and at(35, False) and not at(36, False)
