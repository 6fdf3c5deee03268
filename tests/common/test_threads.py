"""Threads for which nothing waits at the end."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from clptools.common.threads import side_by_side


def test_work_is_done_side_by_side_and_told_in_order() -> None:
    both = threading.Barrier(2)

    def work(item: int) -> int:
        both.wait()
        return 2 * item

    assert side_by_side("test", work, [3, 1, 2, 5], 2) == [6, 2, 4, 10]
    assert side_by_side("test", work, [], 2) == []


def test_what_one_of_them_raises_is_raised() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    with pytest.raises(ValueError, match="two"):
        side_by_side("test", work, [1, 2, 3], 1)


HANGS = """
import asyncio, threading
from types import SimpleNamespace
from clptools.common import ocf
from clptools.core.model.settings import Group, Resource, Server, Settings
from clptools.agent.resource_agents import ResourceAgents

begun = threading.Event()
def hangs(agent):
    begun.set()
    threading.Event().wait()
ocf.metadata = hangs
r = Resource(name="r", type="ocf", options={"agent": "ocf:test:mine", "parameters": {}})
settings = Settings(
    servers=(Server(name="server1"),),
    groups=(Group(name="g", servers=("server1",), resources=(r,)),),
)
owner = SimpleNamespace(core_now=lambda: SimpleNamespace(settings=settings))

async def life():
    looking = asyncio.create_task(ResourceAgents("server1", None, owner).watch())
    while not begun.is_set():
        await asyncio.sleep(0.01)
    looking.cancel()

asyncio.run(life())
"""


def test_a_disk_that_hangs_below_an_agent_does_not_hold_up_the_end() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], timeout=100, capture_output=True)
    assert ended.returncode == 0, ended.stderr
