"""The agent as a whole in this process: what it answers, and how it ends, when things go wrong."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from pathlib import Path

import pytest

from clptools import paths
from clptools.agent import configuration
from clptools.agent.agent import Agent
from clptools.agent.loop import Loop
from clptools.core.model.events import AgentStarted, AgentStopping, Event, MessageSeen
from clptools.core.model.settings import Settings
from clptools.links.credentials import Minting
from clptools.links.keyring import Keyring
from clptools.links.peer import PeerChannel
from tests.agent.test_main import PORT, TOML
from tests.conftest import LIMIT_S, free_port, until

MESSAGE = MessageSeen(category="NIC", text="link down")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    config = tmp_path / "etc/clptools"
    config.mkdir(parents=True)
    (config / "authkey").write_bytes(b"k" * 32)
    # An agent that a test leaves with its disk hanging keeps its port.
    (config / "clp.toml").write_text(TOML.replace(str(PORT), str(free_port())))


async def started(agents: list[Agent] | None = None) -> Agent:
    """An agent of the configuration; it is in `agents` before it starts."""
    key = b"k" * 32
    agent = Agent(Keyring(own=key), Minting((key,), paths.server_name()))
    if agents is not None:
        agents.append(agent)
    found = configuration.found()
    assert found is not None
    assert found.loaded.settings is not None, found.loaded.reports
    await agent.start(found)
    return agent


async def test_what_comes_while_the_agent_ends_is_not_answered_as_kept() -> None:
    agent = await started()
    await agent.tell_durably(MESSAGE)
    await agent.close()
    with pytest.raises(OSError, match="the agent is ending"):
        await agent.tell_durably(MESSAGE)


async def test_its_service_runs_from_the_first_core_on() -> None:
    agent = await started()
    assert agent._service.runs()
    await agent.close()
    assert not agent._service.runs()


async def test_what_waits_while_the_service_begins_again_is_told_and_may_come_again() -> None:
    agent = await started()
    waiting = asyncio.get_running_loop().create_task(agent.tell_durably(MESSAGE))
    await asyncio.sleep(0)
    agent._service.begin_again()
    with pytest.raises(OSError, match="the cluster service ended"):
        await waiting
    await agent.tell_durably(MESSAGE)
    await agent.close()


async def test_only_the_first_core_of_a_boot_is_told_that_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one that begins again in the same agent, nor the next agent of the same boot."""
    told: list[tuple[bool, bool]] = []
    put = Loop.put

    def noting(loop: Loop, event: Event) -> None:
        if isinstance(event, AgentStarted):
            told.append((event.first_of_boot, event.noted))
        put(loop, event)

    monkeypatch.setattr(Loop, "put", noting)

    async def story() -> None:
        agent = await started()
        await agent.tell_durably(MESSAGE)
        agent._service.begin_again()
        await asyncio.sleep(0.01)
        await agent.tell_durably(MESSAGE)
        await agent.close()

    await story()
    await story()
    assert told == [(True, True), (False, True), (False, True), (False, True)]
    told.clear()
    boot = tmp_path / "proc/sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    await story()
    assert told == [(True, True), (False, True)]


async def test_a_stop_while_the_agent_still_opens_stops_what_the_core_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A core that was begun after the word would run on; one never begun would stop nothing."""
    told: list[type[Event]] = []
    put, open_channel = Loop.put, PeerChannel.start

    def noting(loop: Loop, event: Event) -> None:
        told.append(type(event))
        put(loop, event)

    monkeypatch.setattr(Loop, "put", noting)

    agents: list[Agent] = []

    async def asked_meanwhile(channel: PeerChannel, settings: Settings | None) -> None:
        asyncio.get_running_loop().call_soon(agents[0].stop)
        await asyncio.sleep(0)
        await open_channel(channel, settings)

    monkeypatch.setattr(PeerChannel, "start", asked_meanwhile)
    agent = await started(agents)
    assert told[:2] == [AgentStarted, AgentStopping]
    assert await asyncio.wait_for(agent.ended, LIMIT_S) == 0
    await agent.close()


def hang(agent: Agent) -> threading.Event:
    """The disk hangs until the event is set."""
    goes_on = threading.Event()
    agent._worker.submit(goes_on.wait)
    return goes_on


def say(text: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        message = {"category": "NIC", "text": text}
        sock.sendto(json.dumps(message).encode(), paths.message_socket_file())


@pytest.mark.parametrize("asked", [False, True])
async def test_an_agent_whose_disk_hangs_ends_before_its_watchdog_bites(asked: bool) -> None:
    """A message that waits for the disk does not hold up the end: the next agent feeds on."""
    agent = await started()
    goes_on = hang(agent)
    try:
        say("link down")
        await until(lambda: agent.counters()["message.received"])
        if asked:
            agent.stop()
            agent.stop()
        else:
            agent.failed(OSError("no space left"))
        begun = time.monotonic()
        await asyncio.wait_for(agent.close(), LIMIT_S)
        # 0.5 s, not the 15 s that its end has otherwise.
        assert time.monotonic() - begun < 10
        assert agent.disk_hangs
    finally:
        goes_on.set()


async def test_an_agent_that_left_in_order_gives_its_disk_more_time() -> None:
    agent = await started()
    goes_on = hang(agent)
    say("link down")
    await until(lambda: agent.counters()["message.received"])
    agent._end(0)
    asyncio.get_running_loop().call_later(1.0, goes_on.set)
    await agent.close()
    assert not agent.disk_hangs
