"""Options of the whole test run, and how tests wait."""

from __future__ import annotations

import asyncio
import atexit
import functools
import inspect
import os
import signal
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import settings

LIMIT_S = 60.0
"""
How long a test waits for what has to come about.

It ends a test that hangs and measures nothing: a machine that is busy elsewhere may be ten times
as slow as ours.
"""

BUSY_S = 10.0
"""
What such a machine may add to what takes a moment.

Where a test says that something comes soon, what would come late comes later than this.
"""

SLOWEST_MS = 10_000
"""The same for one example of a fuzz test, which takes a millisecond or two."""


def in_memory() -> str:
    """A new folder without a disk below it, where there is one; it goes when the run ends.

    For parts that sync each write and are asked within a time-out: a disk that is busy with what
    was just installed holds them up for seconds.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.TemporaryDirectory(prefix="clptools-test-", dir=memory)
    atexit.register(folder.cleanup)
    return folder.name


WHOLE_LIMIT_S = 5 * LIMIT_S
"""How long a test that is a coroutine may take in all."""

# An example that takes long says nothing but that the machine is busy.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

# Shells let what they start in the background ignore Ctrl-C, and so would all that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write what the scenario files print now into them; read the diff line by line",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """No coroutine of a test hangs for ever."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _bounded(item.obj)


def _bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def bounded(*given: object, **named: object) -> None:
        async with asyncio.timeout(WHOLE_LIMIT_S):
            await test(*given, **named)

    return bounded


async def until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Until it is true; the event loop goes on meanwhile."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"did not come about within {limit_s:g} s"
        await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """The same where no event loop runs."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"did not come about within {limit_s:g} s"
        time.sleep(0.005)


def free_port() -> int:
    """A port that nobody has now, at any address, by UDP or TCP: several runs share a machine."""
    while True:
        with (
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as tcp,
        ):
            udp.bind(("::", 0))
            port = int(udp.getsockname()[1])
            try:
                tcp.bind(("::", port))
            except OSError:
                continue
            return port
