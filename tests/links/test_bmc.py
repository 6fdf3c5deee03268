"""`bmchb`: the own beat is written whatever goes wrong in between."""

from __future__ import annotations

import asyncio

from clptools.faults import ClpError, ExitCode
from clptools.links.bmc import BmcHeartbeat
from tests.conftest import LIMIT_S
from tests.noticed import Noticed


async def test_a_beat_that_fails_in_whatever_way_is_told_once_and_the_next_is_written() -> None:
    """A server out of threads or file handles: its beat comes back with them."""
    said = Noticed()
    ends: list[Exception] = [
        ClpError(ExitCode.FAILED, "BMC: busy"),
        OSError(24, "no handle"),
        RuntimeError("can't start new thread"),
    ]

    class Timer:
        written = 0

        async def beat(self) -> None:
            if ends:
                raise ends.pop()
            self.written += 1

    timer = Timer()
    heart = BmcHeartbeat("bmchb1", timer, 1, said.take)
    heart.start()
    async with asyncio.timeout(LIMIT_S):
        while not timer.written:
            await asyncio.sleep(0.005)
    heart.close()
    assert not heart.fault
    assert said == [
        """interconnect bmchb1: a beat cannot be written: RuntimeError("can't start new thread")""",
        "interconnect bmchb1: the own BMC takes beats again",
    ]
