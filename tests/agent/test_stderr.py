"""The agent's log when journald stands still, and when the agent ends."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from clptools.agent.process import HELD, Stderr
from tests.conftest import LIMIT_S

LINE = "clpnode: INFO: monitor/genw1: a line of a script's output, as long as such lines are\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that holds 64 KiB; both ends."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def read_until(fd: int, words: bytes) -> bytes:
    data = b""
    while words not in data:
        data += os.read(fd, 1 << 20)
    return data


def test_a_log_that_nobody_reads_stops_nobody_and_says_what_it_lost(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = Stderr(writer)
    count = 3 * HELD // len(LINE)
    began = time.monotonic()
    for _ in range(count):
        print(LINE, end="", file=log)
    assert time.monotonic() - began < LIMIT_S
    text = read_until(reader, b"nobody read the log\n").decode()
    told, last = text.count(LINE), text.splitlines()[-1]
    lost = re.fullmatch(r"clpnode: WARNING: (\d+) lines are lost: nobody read the log", last)
    assert lost is not None
    assert int(lost[1]) > 0
    assert told + int(lost[1]) == count
    log.write("and on\n")
    assert read_until(reader, b"on\n") == b"and on\n"
    log.settle()


ENDING = """
import logging, sys
from clptools.agent.process import Stderr
sys.stderr = Stderr()
logging.basicConfig(stream=sys.stderr)
for n in range(int(sys.argv[1])):
    logging.warning("line %d of what is to be said before the end", n)
print("the last words", end="", file=sys.stderr)
raise SystemExit(3)
"""


def test_what_is_logged_just_before_the_end_comes_out() -> None:
    line = [sys.executable, "-c", ENDING, "2000"]
    ran = subprocess.run(line, stderr=subprocess.PIPE, text=True, timeout=LIMIT_S)
    assert ran.returncode == 3
    assert ran.stderr.count("\n") == 2000
    assert ran.stderr.endswith("the last words")


def test_a_log_that_nobody_reads_does_not_keep_the_agent_from_ending(pipe: tuple[int, int]) -> None:
    line = [sys.executable, "-c", ENDING, "2000"]
    assert subprocess.run(line, stderr=pipe[1], timeout=LIMIT_S).returncode == 3


def test_a_pipe_that_another_process_made_non_blocking_gets_every_line(
    pipe: tuple[int, int],
) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    log = Stderr(writer)
    for _ in range(1000):
        log.write(LINE)
    log.write("end\n")
    assert read_until(reader, b"end\n").decode() == LINE * 1000 + "end\n"
    log.settle()
