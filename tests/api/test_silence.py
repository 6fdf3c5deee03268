"""An agent that gives no sign of life: how long it is waited for, and what is said of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clptools.api import agent_process, client
from clptools.api.client import Client, Silent
from clptools.core.model.requests import Outcome
from clptools.faults import ClpError, ExitCode
from tests.api.fake import Agent, socket_path
from tests.conftest import LIMIT_S


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon asked whether it lives; and as long as a slow machine needs for the answer."""
    monkeypatch.setattr(client, "SILENCE_S", 0.05)
    monkeypatch.setattr(client, "LIVES_WITHIN_S", 60.0)
    monkeypatch.setattr(client, "LAST_LOOK_S", 60.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one that will not answer, however long it is waited for."""
    monkeypatch.setattr(client, "LIVES_WITHIN_S", 0.2)
    monkeypatch.setattr(client, "LAST_LOOK_S", 0.2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("within_s", [None, 60.0, 0.01])
def test_a_request_to_an_agent_that_stands_still_names_its_process(
    agent: Agent, within_s: float | None
) -> None:
    with Client(agent.path) as caller, agent.frozen():
        caller.finish_within(within_s)
        with pytest.raises(Silent) as raised:
            list(caller.stream("Request", request={"type": "suspend"}))
    assert raised.value.code == ExitCode.TIMED_OUT
    assert f"clpnode (pid {os.getpid()}) does not answer (state " in raised.value.message


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_is_made_meanwhile_is_no_sign_of_life(agent: Agent) -> None:
    with agent.frozen(), Client(agent.path, timeout_s=None) as caller, pytest.raises(Silent):
        caller.call("GetStatus")


def test_work_that_takes_long_is_waited_for_while_the_agent_lives(agent: Agent) -> None:
    agent.backend.hold = True
    agent.backend.outcome = Outcome(text="done at last")
    lived: list[bool] = []

    class Asking(Client):
        """Lets the work end once it was asked three times whether the agent lives."""

        def _lives(self, within_s: float) -> bool:
            lived.append(super()._lives(within_s))
            agent.backend.hold = len(lived) < 3
            return lived[-1]

    with Asking(agent.path) as caller:
        caller.finish_within(None)
        reply = caller.call("Request", request={"type": "suspend"})
    assert reply == {"outcome": {"text": "done at last"}}
    assert lived[:3] == [True, True, True]


def test_an_agent_that_lives_is_not_called_silent_when_the_time_is_up(agent: Agent) -> None:
    agent.backend.hold = True
    with Client(agent.path) as caller:
        caller.finish_within(0.3)
        with pytest.raises(ClpError) as raised:
            caller.call("Request", request={"type": "suspend"})
    assert raised.value.code == ExitCode.TIMED_OUT
    assert not isinstance(raised.value, Silent)
    agent.backend.hold = False


def test_a_refusal_is_a_sign_of_life(tmp_path: Path) -> None:
    """Somebody whose further connections are hung up on waits on the one he has."""
    path = socket_path(tmp_path)
    os.makedirs(os.path.dirname(path))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(8)
        served: list[socket.socket] = []

        def serve() -> None:
            first, _ = listening.accept()
            second, _ = listening.accept()
            second.close()
            first.sendall(b'{"parameters": {"counters": {}}}\0')
            served.append(first)

        serving = threading.Thread(target=serve)
        serving.start()
        with Client(path, timeout_s=None) as caller:
            assert caller.call("GetCounters") == {"counters": {}}
        serving.join(LIMIT_S)
        served[0].close()


@contextlib.contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    process = subprocess.Popen(["sleep", "60"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def becomes(pid: int, state: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while agent_process.state(pid) != state:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_stopped_process_is_named_with_what_lets_it_go_on() -> None:
    with sleeper() as process:
        process.send_signal(signal.SIGSTOP)
        becomes(process.pid, "T")
        assert agent_process.is_stopped(process.pid)
        message, hint = agent_process.described(process.pid, "/s.sock")
        assert message == f"clpnode (pid {process.pid}) is stopped (state T)."
        assert f"kill -CONT {process.pid}" in hint
        process.send_signal(signal.SIGCONT)
        becomes(process.pid, "S")
        assert not agent_process.is_stopped(process.pid)


def test_the_words_for_the_other_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLP_SERVER", "server1")
    letter = ["D"]
    monkeypatch.setattr(agent_process, "state", lambda pid: letter[0])
    message, hint = agent_process.described(4711, "/s.sock")
    assert message == "clpnode (pid 4711) does not answer (state D: waits for the disk)."
    assert "clpforcestop server1 --yes" in hint
    assert "kill" not in hint
    letter[0] = "R"
    message, hint = agent_process.described(4711, "/s.sock")
    assert message == "clpnode (pid 4711) does not answer (state R)."
    assert "kill -KILL 4711, then clpcl -s" in hint
    letter[0] = "t"
    message, hint = agent_process.described(os.getpid(), "/s.sock")
    assert "stopped by a debugger (state t)" in message
    letter[0] = ""
    assert "The node agent at /s.sock" in agent_process.described(0, "/s.sock")[0]
    assert not agent_process.is_stopped(0)
