"""The kernel's log: the real `/dev/kmsg`, a storm of noise, and who may speak for the kernel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clptools.intake.kmsg import Finding, Kmsg, Line, line_of
from tests.conftest import LIMIT_S

SWITCH = Path("/proc/sys/kernel/printk_devkmsg")
NOISE_PER_S, NOISE_S = 20_000, 2.0
EVENTS = 20


@contextmanager
def log() -> Iterator[int]:
    """Write into the kernel's log as fast as we like; level 4 and below stays off the console."""
    try:
        fd = os.open("/dev/kmsg", os.O_WRONLY)
        before = SWITCH.read_text().strip()
        SWITCH.write_text("on\n")
    except OSError as fault:
        pytest.skip(f"the kernel's log cannot be written here: {fault}")
    try:
        yield fd
    finally:
        with contextlib.suppress(OSError):
            SWITCH.write_text(f"{before}\n")
        os.close(fd)


def read(line: Line) -> Finding | None:
    """`clptest PID DEVICE text`, so that runs beside each other do not meet."""
    words = line.text.split(" ", 3)
    if words[:2] != ["clptest", str(os.getpid())]:
        return None
    return Finding(device=words[2], fault="test", text=words[3])


class Taken:
    def __init__(self) -> None:
        self.found: dict[str, int] = {}

    def take(self, finding: Finding, times: int) -> None:
        self.found[finding.device] = self.found.get(finding.device, 0) + times

    async def until(self, devices: int, seconds: float = LIMIT_S) -> None:
        deadline = time.monotonic() + seconds
        while len(self.found) < devices:
            assert time.monotonic() < deadline, self.found
            await asyncio.sleep(0.002)


def say(fd: int, device: str, text: str = "broke", level: int = 4) -> None:
    os.write(fd, f"<{level}>clptest {os.getpid()} {device} {text}\n".encode())


async def test_lines_of_the_real_log_reach_who_asked_for_them() -> None:
    with log() as fd:
        say(fd, "before", "nobody listens yet")
        kmsg, taken = Kmsg(kernel_only=False), Taken()
        end = kmsg.listen((b"clptest",), read, taken.take)
        end_other = kmsg.listen((b"never",), read, taken.take)
        say(fd, "debug", level=7)
        say(fd, "sdb")
        await taken.until(1)
        assert taken.found == {"sdb": 1}
        end()
        end_other()
        assert kmsg._thread is None


async def test_what_programs_write_into_the_log_is_not_the_kernels_word() -> None:
    """The kernel marks it: a facility of 1 or more."""
    with log() as fd:
        strict, taken = Kmsg(), Taken()
        lax, heard = Kmsg(kernel_only=False), Taken()
        strict.listen((b"clptest",), read, taken.take)
        lax.listen((b"clptest",), read, heard.take)
        say(fd, "sdb")
        os.write(fd, f"<0>clptest {os.getpid()} sdc text\n".encode())
        await heard.until(2)
        assert set(heard.found) == {"sdb", "sdc"}
        assert taken.found == {}
        strict.close()
        lax.close()


async def test_no_event_is_missed_in_a_storm_and_the_loop_keeps_its_time() -> None:
    """Real events in between, each must arrive; a tick of 20 ms stands for the heartbeats."""
    with log() as fd:
        kmsg, taken = Kmsg(kernel_only=False), Taken()
        needles = (b"clptest", *(f"never {n}".encode() for n in range(40)))
        kmsg.listen(needles, read, taken.take)
        written, done = 0, threading.Event()

        def noise() -> None:
            nonlocal written
            due = time.monotonic()
            total = int(NOISE_PER_S * NOISE_S)
            lines = [
                f"<{level}>clpnoise eth0: link is up, nothing wrong here, {'x' * 40}\n".encode()
                for level in (6, 6, 6, 4)
            ]
            for number in range(total):
                os.write(fd, lines[number % 4])
                if number % (total // EVENTS) == 0:
                    say(fd, f"dev{number}")
                written = number + 1
                if number % 100 == 99:
                    # Who was kept from the processor does not catch up: that would be another
                    # storm than the one that is meant.
                    due = max(due + 100 / NOISE_PER_S, time.monotonic())
                    time.sleep(max(0.0, due - time.monotonic()))
            done.set()

        writer = threading.Thread(target=noise)
        late: list[float] = []
        writer.start()
        while not done.is_set():
            due = time.monotonic() + 0.02
            await asyncio.sleep(0.02)
            late.append(time.monotonic() - due)
        writer.join()
        await taken.until(EVENTS)
        assert written == NOISE_PER_S * NOISE_S
        assert kmsg.lost == 0
        assert kmsg.records >= written
        # The loop had its turn nearly all the time, on a machine of any speed.
        assert sum(one < 0.1 for one in late) > 0.9 * len(late)
        kmsg.close()


async def test_a_storm_of_one_fault_is_one_finding_with_a_count() -> None:
    with log() as fd:
        kmsg, taken = Kmsg(kernel_only=False), Taken()
        handed = 0

        def take(finding: Finding, times: int) -> None:
            nonlocal handed
            handed += 1
            taken.take(finding, times)

        kmsg.listen((b"clptest",), read, take)
        say(fd, "sda")
        await taken.until(1)  # from here on every record that is lost is counted
        for _ in range(5000):  # the loop has no turn meanwhile
            say(fd, "sdb")
        deadline = time.monotonic() + LIMIT_S
        while taken.found.get("sdb", 0) < 5000 - kmsg.lost:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.002)
        assert handed < 2500
        kmsg.close()


async def test_records_that_the_ring_buffer_dropped_are_counted_and_said() -> None:
    """The log goes round while the thread may not read."""
    with log() as fd:
        kmsg, taken = Kmsg(kernel_only=False), Taken()
        looked: list[bool] = []
        hold = threading.Lock()

        def slow(line: Line) -> Finding | None:
            with hold:
                return read(line)

        kmsg.listen((b"clptest",), slow, taken.take, lambda: looked.append(True))
        with hold:
            say(fd, "first")
            for number in range(60_000):
                os.write(fd, b"<7>clpnoise %d %s\n" % (number, b"x" * 200))
        say(fd, "last")
        deadline = time.monotonic() + LIMIT_S
        while not looked or "last" not in taken.found:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.002)
        assert kmsg.lost > 0
        kmsg.close()


async def test_what_was_dropped_before_the_first_record_is_said_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hold = threading.Lock()

    def later(*_: int) -> None:
        with hold:
            pass

    monkeypatch.setattr(os, "setpriority", later)  # the first thing that the thread does

    with log() as fd:
        kmsg, taken = Kmsg(kernel_only=False), Taken()
        with hold:
            kmsg.listen((b"clptest",), read, taken.take)
            for number in range(60_000):
                os.write(fd, b"<7>clpnoise %d %s\n" % (number, b"x" * 200))
        say(fd, "last")
        await taken.until(1)
        assert kmsg.lost > 0
        kmsg.close()


async def test_there_may_be_no_log() -> None:
    with pytest.raises(OSError):
        Kmsg("/nonexistent").listen((b"x",), read, Taken().take)


def test_a_record_and_its_device() -> None:
    line = line_of(b"I/O error, dev sdb, sector 8\n SUBSYSTEM=block\n DEVICE=b8:16\n")
    assert (line.text, line.device) == ("I/O error, dev sdb, sector 8", "b8:16")
    assert line_of(b"\xff\xfe broken").text.endswith("broken")
