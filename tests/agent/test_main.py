"""`clpnode` as a process: what it refuses, and in which words."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clptools import paths
from clptools.agent import main as agent_main
from clptools.api import client
from clptools.api.client import Client, Silent
from clptools.api.local_socket import boot_ms
from clptools.arbiters.witness import witness_key
from clptools.core.model.requests import ConfirmDown
from clptools.faults import ClpError
from tests.api.fake import Agent, socket_path
from tests.conftest import LIMIT_S, free_port
from tests.coredump import dumps, needs_dumps

PORT = free_port()
TOML = f"""\
[cluster]
name = "c"
port = {PORT}
[[server]]
name = "server1"
[[server]]
name = "server2"
[[interconnect]]
type = "lanhb"
address = {{ server1 = "127.0.1.21", server2 = "127.0.1.22" }}
[[monitor]]
type = "userw"
name = "userw"
method = "none"
"""


class Place:
    """A root for one agent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "etc/clptools"
        self.config.mkdir(parents=True)
        self.environment = os.environ | {"CLP_ROOT": str(root), "CLP_SERVER": "server1"}

    def key(self, mode: int = 0o400, size: int = 32) -> None:
        (self.config / "authkey").write_bytes(b"k" * size)
        (self.config / "authkey").chmod(mode)

    def toml(self, text: str = TOML) -> None:
        (self.config / "clp.toml").write_text(text)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "clptools.agent.main", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    def start(self, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        agent = subprocess.Popen(
            self.command(), env=self.environment, stderr=stderr, text=True, cwd=self.root
        )
        socket = self.root / "run/clptools/clpnode.sock"
        deadline = time.monotonic() + LIMIT_S
        while not socket.exists():
            assert agent.poll() is None, agent.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return agent


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_help_and_version_need_nothing(place: Place) -> None:
    assert place.run("--help").stdout.startswith("Usage: clpnode")
    assert place.run("--version").stdout.startswith("clpnode ")
    wrong = place.run("--frobnicate")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("clpnode: --frobnicate")


def test_without_the_shared_secret_it_says_how_to_make_one(place: Place) -> None:
    place.toml()
    done = place.run()
    assert done.returncode == 1
    assert "authkey" in done.stderr
    assert "clpcfctrl --keygen" in done.stderr


def test_who_may_not_read_the_secret_is_not_permitted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:  # root, who runs tests, never is
        raise PermissionError(13, "Permission denied")

    place.key()
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(ClpError, match="the node agent is root's") as told:
        agent_main._key(paths.authkey_file())
    assert told.value.code == 4


@pytest.mark.parametrize(("mode", "size"), [(0o444, 32), (0o400, 3), (0o400, 0)])
def test_a_secret_that_is_none_is_refused(place: Place, mode: int, size: int) -> None:
    place.key(mode, size)
    done = place.run()
    assert done.returncode == 1
    assert "authkey" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_secret_of_another_user_is_refused(place: Place) -> None:
    place.key()
    os.chown(place.config / "authkey", 12_345, 0)
    done = place.run()
    assert done.returncode == 1
    assert "authkey: belongs to user 12345, who can read and replace it" in done.stderr
    assert "chown root" in done.stderr


def test_a_fifo_in_the_place_of_the_secret_does_not_hang(place: Place) -> None:
    os.mkfifo(place.config / "authkey", 0o400)
    done = place.run()
    assert done.returncode == 1
    assert "authkey: 0 bytes" in done.stderr


def test_a_secret_made_for_a_program_outside_starts_no_agent(place: Place) -> None:
    place.key()
    (place.config / "authkey").unlink()
    (place.config / "authkey").write_bytes(witness_key(bytes(32)))
    (place.config / "authkey").chmod(0o400)
    done = place.run()
    assert done.returncode == 1
    assert "was made for a program outside the cluster" in done.stderr


def test_all_errors_of_the_configuration_are_told_at_once(place: Place) -> None:
    place.key()
    place.toml(TOML + '[[group]]\nname = "g"\nservers = ["server9"]\nfailback = "perhaps"\n')
    done = place.run()
    assert done.returncode == 8
    assert "server9" in done.stderr
    assert "perhaps" in done.stderr
    assert "clp.toml:" in done.stderr
    assert not (place.root / "run/clptools/clpnode.sock").exists()


def test_a_server_that_is_not_in_the_configuration_does_not_start(place: Place) -> None:
    place.key()
    place.toml()
    place.environment["CLP_SERVER"] = "server7"
    done = place.run()
    assert done.returncode == 8
    assert "server7" in done.stderr
    assert "server1, server2" in done.stderr


def test_it_starts_answers_outlives_a_hang_up_and_ends_as_asked(place: Place) -> None:
    place.key()
    place.toml()
    agent = place.start()
    second = place.run()
    assert second.returncode == 6
    assert f"another clpnode already runs here (process {agent.pid}" in second.stderr
    agent.send_signal(signal.SIGHUP)
    with Client(str(place.root / "run/clptools/clpnode.sock"), timeout_s=LIMIT_S) as client:
        assert client.call("GetStatus")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=LIMIT_S) == 0
    assert agent.stderr is not None
    assert "Traceback" not in agent.stderr.read()


def test_another_program_on_the_port_of_heartbeats_is_no_agent(place: Place) -> None:
    place.key()
    place.toml()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.1.21", PORT))
        done = place.run()
    assert done.returncode == 6
    assert f"lanhb1 is taken by another program (process {os.getpid()}" in done.stderr
    assert "another clpnode" not in done.stderr and "cluster.port" in done.stderr


def test_an_agent_that_lost_all_its_locks_is_found_by_the_name_that_nobody_can_remove(
    place: Place,
) -> None:
    place.key()
    place.toml()
    agent = place.start()
    for path in ("run/clptools", "var/lib/clptools"):
        shutil.rmtree(place.root / path)
    place.toml(TOML.replace(str(PORT), str(free_port())))
    second = place.run()
    assert second.returncode == 6
    assert f"(process {agent.pid}" in second.stderr
    agent.send_signal(signal.SIGTERM)
    agent.wait(timeout=LIMIT_S)


def test_a_heartbeat_port_in_use_starts_nothing_and_says_by_whom(place: Place) -> None:
    place.key()
    place.toml()
    for address in ("127.0.1.21", "0.0.0.0"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((address, PORT))
            done = place.run()
        assert done.returncode == 6
        assert f"127.0.1.21 port {PORT}/udp" in done.stderr
        assert f"process {os.getpid()}" in done.stderr
        assert "nothing was started or stopped" in done.stderr
        assert not (place.root / "run/clptools/state").exists()


def test_a_revision_that_cannot_be_read_keeps_no_agent_from_starting(place: Place) -> None:
    place.key()
    place.toml()
    history = place.config / "history"
    history.mkdir()
    (history / "0007.toml").write_bytes(TOML.encode().replace(b"userw", b"\xf5serw"))
    agent = place.start()
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=LIMIT_S) == 0
    assert sorted(each.name for each in history.iterdir()) == ["0007.toml"]


def test_a_log_service_that_hangs_does_not_stop_the_agent(place: Place) -> None:
    place.key()
    place.toml()
    script = place.config / "scripts/trnreq/talk"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\nyes {'x' * 500} | head -300\n")
    script.chmod(0o700)
    reader, writer = os.pipe()
    agent = place.start(writer)
    with Client(str(place.root / "run/clptools/clpnode.sock"), timeout_s=LIMIT_S) as client:
        client.call("RunScript", script="talk")
        assert client.call("GetStatus")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=LIMIT_S) == 0
    os.close(writer)
    os.close(reader)


def test_an_agent_that_stalls_and_is_ended_leaves_no_keys_in_a_dump(place: Place) -> None:
    place.key()
    place.toml()
    needs_dumps(place.root)
    agent = place.start(subprocess.DEVNULL)
    assert not dumps(agent, place.root)


FIP = """
[[group]]
name = "failover1"
startup = "manual"
[[group.resource]]
type = "fip"
name = "fip1"
address = "127.0.0.100/8"
"""


def test_what_the_first_start_needs_is_loaded_when_the_agent_starts(
    place: Place,
) -> None:
    place.key()
    place.toml(TOML + FIP)
    place.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    agent = place.start()
    agent.send_signal(signal.SIGTERM)
    _, errors = agent.communicate(timeout=LIMIT_S)
    assert agent.returncode == 0, errors[-2000:]
    # `import_module` has no line of its own in the list, what it loads has.
    assert re.search(r"\| +pyroute2\.netlink$", errors, re.MULTILINE)


HTTP_NP = """
[[np]]
type = "http"
url = "http://127.0.0.1:9/"
"""


@pytest.mark.parametrize("more", ["", HTTP_NP])
def test_http_is_loaded_only_where_an_arbiter_speaks_it(place: Place, more: str) -> None:
    place.key()
    place.toml(TOML + more)
    place.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    agent = place.start()
    agent.send_signal(signal.SIGTERM)
    _, errors = agent.communicate(timeout=LIMIT_S)
    assert agent.returncode == 0, errors[-2000:]
    # What `import_module` loads has no line of its own, but what that imports has.
    loaded = set(re.findall(r"\| +([\w.]+)$", errors, re.MULTILINE))
    wanted = {"h11", "clptools.common.http"}
    assert loaded & wanted == (wanted if more else set())


def test_with_the_secret_alone_it_waits_for_a_first_push(place: Place) -> None:
    place.key()
    agent = place.start()
    refused = place.run("confirm-down", "server2", "--yes")
    assert refused.returncode == 6
    assert "no configuration yet" in refused.stderr
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=LIMIT_S) == 0


def test_what_was_asked_of_a_stopped_agent_is_refused_when_it_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.key()
    place.toml()
    agent = place.start()
    path = socket_path(place.root)
    with monkeypatch.context() as patched:
        for patience in ("SILENCE_S", "LIVES_WITHIN_S"):
            patched.setattr(client, patience, 0.2)
        patched.setattr(client, "boot_ms", lambda: boot_ms() - 11_000)
        with Client(path) as asking:
            asking.finish_within(None)
            agent.send_signal(signal.SIGSTOP)
            with pytest.raises(Silent) as raised:
                list(asking.stream("Request", request={"type": "service-stop"}))
    assert raised.value.code == 7
    assert raised.value.message == f"clpnode (pid {agent.pid}) is stopped (state T)."
    assert f"kill -CONT {agent.pid}" in raised.value.hint
    agent.send_signal(signal.SIGCONT)
    with Client(path, timeout_s=60.0) as reading:
        deadline = time.monotonic() + LIMIT_S
        while not (told := refused(reading)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        status = reading.call("GetStatus")["status"]
    assert "service-stop, asked by root 1" in told[0]
    assert isinstance(status, dict)
    assert status["cluster"]["status"] != "Stopped"
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=LIMIT_S) == 0


def refused(reading: Client) -> list[str]:
    """What the agent recorded of requests that came up late."""
    events = reading.call("GetEvents")["events"]
    assert isinstance(events, list)
    return [event["text"] for event in events if event["event_id"] == 934]


def test_confirm_down_wants_the_word_yes_and_an_agent(place: Place) -> None:
    assert place.run("confirm-down").returncode == 2
    unsure = place.run("confirm-down", "server2")
    assert unsure.returncode == 6
    assert "--yes" in unsure.stderr
    nobody = place.run("confirm-down", "server2", "--yes")
    assert nobody.returncode == 3


@pytest.mark.parametrize("force", [False, True])
def test_confirm_down_hands_on_whether_it_is_forced(tmp_path: Path, force: bool) -> None:
    with Agent(socket_path(tmp_path)).running() as agent:
        place = Place(tmp_path)
        assert place.run("confirm-down", "server2", "--yes", *["--force"] * force).returncode == 0
        asked = [request for request, _ in agent.backend.asked]
    assert asked == [ConfirmDown(down="server2", force=force)]


def test_the_service_manager_hears_of_ready_life_and_stopping(place: Place, tmp_path: Path) -> None:
    place.key()
    place.toml()
    address = str(tmp_path / "notify")
    place.environment |= {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(LIMIT_S)
        agent = place.start()

        def heard(word: bytes) -> bool:
            return word in manager.recv(1000)

        while not heard(b"READY=1"):
            pass
        for _ in range(3):
            while not heard(b"WATCHDOG=1"):
                pass
        agent.send_signal(signal.SIGTERM)
        while not heard(b"STOPPING=1"):
            pass
        assert agent.wait(timeout=LIMIT_S) == 0
