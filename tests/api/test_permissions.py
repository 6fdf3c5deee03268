"""Who may call what, by the kernel's word: other users are real processes with other ids."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clptools.api.client import Client
from clptools.api.local_socket import private_path
from tests.api.fake import Agent, socket_path
from tests.conftest import LIMIT_S

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="SKIPPED LOUDLY: other users need root"),
]

NOBODY, MEMBERS = 65534, 54321
CALL = """
import os, sys
from clptools.api.client import Client
from clptools.faults import ClpError
os.setgroups(eval(sys.argv[5])); os.setgid(65534); os.setuid(int(sys.argv[4]))
try:
    with Client(sys.argv[1]) as client:
        print(sorted(client.call(sys.argv[2], **eval(sys.argv[3]))))
except ClpError as error:
    print(error.message)
    sys.exit(int(error.code))
"""
REQUEST = "{'request': {'type': 'resume'}}"


@pytest.fixture
def agent() -> Iterator[Agent]:
    """An agent in a place that everybody can reach; its readers are the group `MEMBERS`."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        agent = Agent(socket_path(Path(folder)))
        with agent.running():
            agent.server._group_id = MEMBERS
            os.chmod(agent.path, 0o666)  # the second line of defence is what is tested
            yield agent


def call(
    agent: Agent, method: str, parameters: str, user: int, groups: list[int]
) -> tuple[int, str]:
    """What another user gets."""
    line = [sys.executable, "-c", CALL, agent.path, method, parameters, str(user), str(groups)]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S)
    assert ran.stderr == ""
    return ran.returncode, ran.stdout.strip()


def test_members_of_the_group_may_read(agent: Agent) -> None:
    assert call(agent, "GetStatus", "{}", NOBODY, [7, MEMBERS]) == (0, "['status']")


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("Request", REQUEST),
        ("RunScript", "{'script': 'x'}"),
        ("PushConfig", "{'files': {}}"),
        ("GetConfig", "{}"),
    ],
)
def test_members_of_the_group_may_not_change_anything(
    agent: Agent, method: str, parameters: str
) -> None:
    code, said = call(agent, method, parameters, NOBODY, [MEMBERS])
    assert code == 4
    assert said == f"uid {NOBODY} may read the state of the cluster, but not change it."
    assert agent.backend.asked == []


def test_others_get_nothing(agent: Agent) -> None:
    code, said = call(agent, "GetStatus", "{}", NOBODY, [7])
    assert code == 4
    assert "may not use" in said
    assert agent.server.counters == {"not_permitted": 1}


def test_the_socket_itself_keeps_others_out(agent: Agent) -> None:
    os.chmod(agent.path, 0o660)
    code, said = call(agent, "GetStatus", "{}", NOBODY, [])
    assert (code, said) == (4, f"You may not use {agent.path}.")


KNOCKING = """
import os, socket, sys
os.setgroups([54321]); os.setgid(65534); os.setuid(65534)
print("ready", flush=True)
while True:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        try:
            sock.connect(sys.argv[1])
        except BlockingIOError:
            pass
"""


def test_a_reader_who_connects_in_a_loop_keeps_nobody_out(agent: Agent) -> None:
    line = [sys.executable, "-c", KNOCKING, agent.path]
    knocking = [subprocess.Popen(line, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for process in knocking:
            assert process.stdout is not None
            process.stdout.readline()
        for _ in range(100):
            with Client(agent.path) as client:
                assert client.call("GetStatus")
        assert call(agent, "GetStatus", "{}", NOBODY + 1, [MEMBERS]) == (0, "['status']")
    finally:
        for process in knocking:
            process.kill()
            process.communicate()


def test_the_second_socket_is_roots_alone(agent: Agent) -> None:
    path = private_path(agent.path)
    code, said = call(agent, "GetStatus", "{}", NOBODY, [MEMBERS])
    assert (code, said) == (0, "['status']")
    assert (os.stat(path).st_uid, os.stat(path).st_mode & 0o777) == (0, 0o600)


def test_the_user_the_agent_runs_as_may_do_all(agent: Agent) -> None:
    agent.server._own_uid, agent.server._own_name = NOBODY, "clp"
    assert call(agent, "Request", REQUEST, NOBODY, []) == (0, "['outcome']")
    assert agent.backend.asked[0][1] == "clp"


def test_readers_have_smaller_messages(agent: Agent) -> None:
    code, said = call(agent, "Explain", "{'subject': 'x' * 100_000}", NOBODY, [MEMBERS])
    assert code == 2
    assert "longer than 65536 bytes" in said
