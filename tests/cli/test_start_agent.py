"""`clpcl -s` starts the real agent where none runs, and says why where it cannot."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clptools.api.client import Client
from clptools.cli import clpcl
from tests.api.fake import socket_path
from tests.cli.conftest import Clp
from tests.conftest import LIMIT_S, free_port

CONFIG = """\
[cluster]
port = {port}

[[server]]
name = "server1"

[[server]]
name = "server2"

[[interconnect]]
type = "lanhb"
address = {{ server1 = "127.0.7.1", server2 = "127.0.7.2" }}

[[monitor]]
type = "userw"
method = "none"
"""


@pytest.fixture
def started(node: Path) -> Iterator[Path]:
    """A node whose agent, if a test starts one, ends with the test."""
    yield node
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(socket_path(node))
        except OSError:
            return
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = struct.unpack("3i", raw)[0]
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + LIMIT_S
    while os.path.exists(socket_path(node)) and time.monotonic() < deadline:
        time.sleep(0.02)
    if os.path.exists(socket_path(node)):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("program", ["clprexec", "witness"])
def test_the_secret_of_a_program_outside_is_made_beside_the_authkey(
    started: Path, clp: Clp, program: str
) -> None:
    none = clp("clpcfctrl", "--keygen", "--for", program)
    assert none.code == 1 and "authkey: not there" in none.err
    assert clp("clpcfctrl", "--keygen").code == 0
    etc = started / "etc/clptools"
    made = clp("clpcfctrl", "--keygen", "--for", program)
    assert made.code == 0 and f"authkey.{program} made" in made.out
    file = etc / f"authkey.{program}"
    assert file.stat().st_mode & 0o7777 == 0o400
    assert (etc / "authkey").read_bytes() not in (held := file.read_bytes())
    assert clp("clpcfctrl", "--keygen", "--for", program).code == 0
    assert file.read_bytes() == held  # the same again: nobody is locked out
    (etc / "authkey").unlink()
    file.rename(etc / "authkey")
    assert clp("clpcfctrl", "--keygen", "--for", program).code == 6
    assert clp("clpcfctrl", "--keygen", "--for", "nobody").code == 2
    assert clp("clpcfctrl", "--push", "--for", program).code == 2


def test_a_local_start_brings_the_agent_up_once(started: Path, clp: Clp) -> None:
    etc = started / "etc/clptools"
    etc.mkdir(parents=True)
    (etc / "clp.toml").write_text(CONFIG.format(port=free_port()))
    (etc / "clp.toml").chmod(0o640)
    assert clp("clpcfctrl", "--keygen").code == 0
    ran = clp("clpcl", "-s", "-w", "20")
    assert (ran.code, ran.out) == (0, "Command succeeded.\n"), ran
    again = clp("clpcl", "-s", "-w", "20")
    assert again.code == 0
    assert "already" in again.out
    assert clp("clphealthchk").code == 0


def test_beside_an_agent_that_stands_still_none_is_started_and_it_is_named(
    started: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc = started / "etc/clptools"
    etc.mkdir(parents=True)
    (etc / "clp.toml").write_text(CONFIG.format(port=free_port()))
    (etc / "clp.toml").chmod(0o640)
    assert clp("clpcfctrl", "--keygen").code == 0
    assert clp("clpcl", "-s", "-w", "20").code == 0
    with Client() as client:
        pid = client.agent_pid
    log = (started / "var/log/clptools/clpnode.log").read_text()
    monkeypatch.setattr(clpcl, "READ_TIMEOUT_S", 0.5)
    os.kill(pid, signal.SIGSTOP)
    try:
        ran = clp("clpcl", "-s")
        assert ran.code == 7
        assert ran.err.startswith(
            f"clpcl: clpnode (pid {pid}) is stopped (state T).\nLet it go on: "
        )
        assert (started / "var/log/clptools/clpnode.log").read_text() == log
        # Nor where its sockets are gone: a second one finds the locks, and ends.
        for file in (started / "run/clptools").glob("*.sock"):
            file.rename(file.with_suffix(".away"))
        away = clp("clpcl", "-s")
        assert (away.code, away.err) == (7, ran.err)
    finally:
        for file in (started / "run/clptools").glob("*.away"):
            file.rename(file.with_suffix(".sock"))
        os.kill(pid, signal.SIGCONT)


def test_an_agent_that_cannot_start_is_told_with_its_log(started: Path, clp: Clp) -> None:
    ran = clp("clpcl", "-s")  # no authkey
    assert ran.code == 1
    log = started / "var/log/clptools/clpnode.log"
    assert str(log) in ran.err
    assert "authkey" in log.read_text()


def test_on_a_fresh_server_the_agent_waits_for_a_push_and_can_be_ended(
    started: Path, clp: Clp
) -> None:
    assert clp("clpcfctrl", "--keygen").code == 0
    first = clp("clpcl", "-s")
    assert first.code == 0
    assert first.out == (
        "The node agent was started. server1 has no configuration yet: it waits for a first push.\n"
        "From a server that has one: clpcfctrl --push\n"
    )
    again = clp("clpcl", "-s")
    assert (again.code, again.out.partition(". ")[0]) == (0, "The node agent runs")
    seen = clp("clpstat")
    assert seen.out.splitlines()[-2:] == [
        "server1 has no configuration yet: it waits for a first push.",
        "A push of a configuration that names it takes it in: clpcfctrl --push",
    ]
    ended = clp("clpcl", "-t", "--agent")
    assert (ended.code, ended.out) == (0, "The node agent has ended.\nCommand succeeded.\n")
    assert not os.path.exists(socket_path(started))
    assert clp("clpcl", "-t", "--agent") == (0, "No node agent runs here.\n", "")


def test_the_agent_ends_after_its_service(started: Path, clp: Clp) -> None:
    etc = started / "etc/clptools"
    etc.mkdir(parents=True)
    (etc / "clp.toml").write_text(CONFIG.format(port=free_port()))
    (etc / "clp.toml").chmod(0o640)
    assert clp("clpcfctrl", "--keygen").code == 0
    assert clp("clpcl", "-s", "-w", "20").code == 0
    assert clp("clpcl", "-t", "--agent").code == 0
    assert clp("clphealthchk").code == 11
    for wrong in (("-s", "--agent"), ("-t", "--agent", "-a"), ("-t", "--agent", "-h", "server2")):
        assert clp("clpcl", *wrong).code == 2
