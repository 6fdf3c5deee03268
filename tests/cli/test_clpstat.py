"""`clpstat` as a person or a script runs it, against an agent on a real socket."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from clptools.api.messages import HardwareOfServer, HardwareView
from clptools.cli.main import run
from clptools.core.model.requests import GroupMove, ServiceStart
from clptools.core.model.view import ClusterView, ServerView, WaitingView
from tests.api.fake import Agent, record, sample_status, socket_path
from tests.conftest import LIMIT_S

LINE = [sys.executable, "-m", "clptools.cli.main", "clpstat"]

Output = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's root folder, without an agent."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    return tmp_path


@pytest.fixture
def agent(root: Path) -> Iterator[Agent]:
    """An agent of the sample cluster in that folder."""
    with Agent(socket_path(root)).running() as running:
        yield running


def test_without_options_it_shows_the_status(agent: Agent, capsys: Output) -> None:
    assert run("clpstat", []) == 0
    plain = capsys.readouterr().out
    assert plain.startswith(" ========================  CLUSTER STATUS ")
    assert "   *server1 .........: Online           \n" in plain
    assert "      current        : server1\n" in plain
    assert plain.endswith(" " + "=" * 69 + "\n")
    assert run("clpstat", ["-s"]) == 0
    assert capsys.readouterr().out == plain


@pytest.mark.parametrize(
    ("option", "heading"),
    [
        ("--long", "CLUSTER STATUS"),
        ("--local", "CLUSTER STATUS"),
        ("-g", "GROUPMAP INFORMATION"),
        ("-m", "MONITOR RESOURCE STATUS"),
        ("-n", "HEARTBEAT RESOURCE STATUS"),
        ("-p", "NETWORK PARTITION RESOURCE STATUS"),
    ],
)
def test_every_view_has_its_heading(
    option: str, heading: str, agent: Agent, capsys: Output
) -> None:
    assert run("clpstat", [option]) == 0
    assert heading in capsys.readouterr().out.splitlines()[0]


def test_json_is_the_status_as_the_agent_gave_it(agent: Agent, capsys: Output) -> None:
    assert run("clpstat", ["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(msgspec.json.encode(sample_status()))


def test_a_stopped_cluster_service_is_no_fault(agent: Agent, capsys: Output) -> None:
    stopped = msgspec.structs.replace(
        sample_status(),
        cluster=ClusterView(name="cluster", status="Stopped"),
        servers=tuple(
            msgspec.structs.replace(one, incarnation="1") for one in sample_status().servers
        ),
    )
    agent.change(stopped)
    assert run("clpstat", []) == 0
    said = capsys.readouterr().out
    values = re.findall(r"^.{21}: (\S+)", said, re.MULTILINE)
    assert set(values) == {"Offline", "None"}
    here = next(server.name for server in sample_status().servers if server.local)
    after = " ".join(said.rpartition("====")[2].split())
    assert after.startswith(f"The cluster service is stopped on {here}, which does not see")
    assert after.endswith(f"clpcl -s -h {here}")


def test_another_server_is_shown_if_it_is_heard(agent: Agent, capsys: Output) -> None:
    assert run("clpstat", ["-h", "server2"]) == 0
    assert "   *server2 .........: Online" in capsys.readouterr().out
    assert run("clpstat", ["-h", "sever2"]) == 5
    assert capsys.readouterr().err == "clpstat: sever2: no such server.\nKnown: server2, server1\n"
    alone = msgspec.structs.replace(
        sample_status(),
        servers=(
            ServerView(name="server1", status="Online", local=True),
            ServerView(name="server2", status="Offline"),
        ),
    )
    agent.change(alone)
    assert run("clpstat", ["-h", "server2"]) == 3
    assert "Could not connect to server2" in capsys.readouterr().err


def test_a_server_may_be_named_by_its_address(agent: Agent, capsys: Output) -> None:
    changed = msgspec.structs.replace
    sample = sample_status()
    first, second = sample.servers
    there = changed(second, addresses=("192.168.0.2", "fd00::2"))
    agent.change(changed(sample, servers=(first, there)))
    for host in ("192.168.0.2", "fd00:0:0::2"):
        assert run("clpstat", ["-h", host]) == 0
        assert "   *server2 .........: Online" in capsys.readouterr().out
        assert run("clpcl", ["-s", "-h", host]) == 0
        assert agent.backend.asked[-1][0] == ServiceStart(server="server2")
    assert run("clpgrp", ["-m", "failover1", "-a", "192.168.0.2"]) == 0
    assert agent.backend.asked[-1][0] == GroupMove(group="failover1", to="server2")
    assert run("clpmonctrl", ["-v", "-h", "192.168.0.2"]) == 0
    assert run("clpstat", ["-h", "192.168.0.3"]) == 5
    capsys.readouterr()


def test_local_shows_every_server_in_order(agent: Agent, capsys: Output) -> None:
    """Public scripts take a server's number from the place of `*` among them."""
    assert run("clpstat", []) == 0
    plain = capsys.readouterr().out
    assert run("clpstat", ["--local"]) == 0
    assert capsys.readouterr().out == plain


def test_a_server_whose_service_is_stopped_is_shown_all_offline(
    agent: Agent, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its agent stays up and answers, which one that is lost does not."""
    left = ServerView(name="server2", status="Offline")
    sample = sample_status()
    agent.change(msgspec.structs.replace(sample, servers=(sample.servers[0], left)))

    async def hardware() -> HardwareView:
        both = HardwareOfServer(name="server1"), HardwareOfServer(name="server2")
        return HardwareView(servers=both)

    monkeypatch.setattr(agent.backend, "hardware", hardware)
    assert run("clpstat", ["-h", "server2"]) == 0
    said = capsys.readouterr().out
    assert "   *server2 .........: Offline" in said
    assert set(re.findall(r"^.{21}: (\S+)", said, re.MULTILINE)) == {"Offline", "None"}
    assert run("clpstat", ["-h", "server2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cluster"]["status"] == "Stopped"
    assert told["groups"][0]["current"] is None


def test_a_stopped_service_here_tells_nothing_of_another_server(
    agent: Agent, capsys: Output
) -> None:
    here, other = sample_status().servers
    agent.change(
        msgspec.structs.replace(
            sample_status(),
            cluster=ClusterView(name="cluster", status="Stopped"),
            servers=(here, msgspec.structs.replace(other, status="Offline")),
        )
    )
    assert run("clpstat", ["-h", "server2"]) == 3


def test_explain_names_an_unknown_subject(agent: Agent, capsys: Output) -> None:
    assert run("clpstat", ["--explain", "failover9"]) == 5
    assert "failover9" in capsys.readouterr().err
    assert run("clpstat", ["--explain", "failover1"]) == 0
    assert capsys.readouterr().out.startswith("failover1 is Online.\n\nWhy there\n")
    assert run("clpstat", ["--explain"]) == 0
    assert "failover1 is Online." in capsys.readouterr().out


def test_what_a_group_waits_for_is_one_object_wherever_it_is_told(
    agent: Agent, capsys: Output
) -> None:
    group = msgspec.structs.replace(
        sample_status().groups[0],
        status="Offline",
        current=None,
        waiting_for=WaitingView(
            text="waits for proof that it is down on server1",
            since_s=4.0,
            server="server1",
            proofs={"power off": "no answer"},
            mend="clpnode confirm-down server1 --yes",
        ),
    )
    agent.change(msgspec.structs.replace(sample_status(), groups=(group,)))
    assert run("clpstat", ["--json"]) == 0
    waiting = json.loads(capsys.readouterr().out)["groups"][0]["waiting_for"]
    assert waiting["mend"] == "clpnode confirm-down server1 --yes"
    assert run("clpstat", ["--explain", "failover1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["waiting_for"] == waiting
    assert run("clpstat", ["--explain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["explanations"][0]["waiting_for"] == waiting


def test_explain_json(agent: Agent, capsys: Output) -> None:
    assert run("clpstat", ["--explain", "--json", "failover1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == 1
    assert told["subject"] == "failover1"
    assert told["waiting_for"] is None
    assert set(told["because"][0]) == {"time", "server", "text", "event"}


def test_hardware_json_and_text(agent: Agent, capsys: Output) -> None:
    assert run("clpstat", ["--hw"]) == 0
    assert capsys.readouterr().out == "server1: no open hardware events\n  Traps  received 3\n"
    assert run("clpstat", ["--hw", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["servers"] == [
        {
            "name": "server1",
            "open": [],
            "counters": {"received": 3},
            "unreachable": None,
            "bmcs": [],
            "conditions": [],
        }
    ]


def test_events_are_one_json_object_a_line(agent: Agent, capsys: Output) -> None:
    assert run("clpstat", ["--events", "--since", "server1:cafe:247"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["cursor"] for line in lines] == [
        "server1:cafe:248",
        "server1:cafe:249",
    ]
    assert set(json.loads(lines[0])) >= {
        *("cursor", "time", "server", "module", "event_id", "level", "text")
    }


@pytest.mark.parametrize(
    "cursor", ["nonsense", "247", "server1:247", "server1:cafe:", "server1:cafe:x", ":cafe:247",
               "server1:cafe:247:"]
)  # fmt: skip
def test_what_is_no_cursor_replays_nothing(agent: Agent, capsys: Output, cursor: str) -> None:
    assert run("clpstat", ["--events", "--since", cursor]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"--since: {cursor!r} is no cursor" in said.err


def test_an_empty_cursor_is_the_beginning(agent: Agent, capsys: Output) -> None:
    """As in a script that kept none yet."""
    assert run("clpstat", ["--events", "--since", ""]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 250


def test_following_events_goes_on_until_the_agent_ends(root: Path) -> None:
    with Agent(socket_path(root)).running() as agent:
        process = subprocess.Popen(
            [*LINE, "--events", "--follow", "--since", "server1:cafe:247"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        first = [json.loads(process.stdout.readline())["text"] for _ in range(2)]
        assert first == ["event 248", "event 249"]
        assert agent.server is not None
        assert process.poll() is None
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 3
    assert "To go on from here: clpstat --events --follow --since server1:cafe:249" in said


def test_options_that_do_not_go_together_are_refused(agent: Agent, capsys: Output) -> None:
    for line in (
        ["-s", "-g"],
        ["-g", "--long"],
        ["failover1"],
        ["-s", "failover1"],
        ["--watch"],
        ["--follow"],
        ["--sv", "-h", "server2"],
    ):
        assert run("clpstat", line) == 2, line
    assert "Traceback" not in capsys.readouterr().err


class Terminal:
    """`clpstat --watch` on a pseudo-terminal, its screen read from what it writes."""

    def __init__(self, root: Path, columns: int = 80, lines: int = 24) -> None:
        self.columns, self.lines = columns, lines
        self.said = ""
        environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "CLP_ROOT": str(root)}
        environment.pop("COLUMNS", None)
        environment.pop("LINES", None)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            self.resize_fd(1)
            os.execve(LINE[0], [*LINE, "--watch"], environment)
        self.resize(columns, lines)

    def resize_fd(self, fd: int) -> None:
        """Sets the size before the command looks."""
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", self.lines, self.columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Another size of the window."""
        self.columns, self.lines = columns, lines
        self.resize_fd(self.fd)

    def press(self, key: str) -> None:
        """A key."""
        os.write(self.fd, key.encode())

    def wait_for(self, text: str, deadline_s: float = LIMIT_S) -> str:
        """Reads on until the text was written; forgets what stood there before."""
        until = time.monotonic() + deadline_s
        while text not in self.said:
            assert time.monotonic() < until, f"{text!r} not in {self.said[-3000:]!r}"
            if not select.select([self.fd], [], [], 0.2)[0]:
                continue
            try:
                self.said += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                break
        assert text in self.said
        found, self.said = self.said, ""
        return found

    def end(self) -> int:
        """The exit status."""
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until:
            if select.select([self.fd], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    self.said += os.read(self.fd, 65536).decode(errors="replace")
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError("it did not end")


def test_the_live_screen_follows_and_ends(root: Path) -> None:
    with Agent(socket_path(root)).running() as agent:
        terminal = Terminal(root)
        shown = terminal.wait_for("[p]ause")
        assert " failover1 Online" in shown and "event 249" in terminal.wait_for("event 249")
        changed = msgspec.structs.replace(
            sample_status(), cluster=ClusterView(name="cluster", status="Caution")
        )
        agent.change(changed)
        terminal.wait_for("Caution")
        terminal.press("e")
        terminal.wait_for("Why there")
        terminal.press("h")
        terminal.wait_for("server1: no open hardware events")
        terminal.press("b")
        terminal.wait_for("HEARTBEATS")
        terminal.press("f")
        terminal.wait_for("not well only")
        terminal.press("p")
        terminal.wait_for("paused")
        terminal.press("p")
        terminal.resize(40, 10)
        terminal.press("f")
        terminal.wait_for("SERVER")
        terminal.press("q")
        assert terminal.end() == 0


def test_the_live_screen_outlives_the_agent(root: Path) -> None:
    with Agent(socket_path(root)).running():
        terminal = Terminal(root)
        terminal.wait_for("[p]ause")
    terminal.wait_for("no node agent answers")
    with Agent(socket_path(root)).running() as agent:
        terminal.wait_for("coordinator server1")
        agent.loop.call_soon_threadsafe(agent.backend.records.append, record(250))
        terminal.press("\x03")
        assert terminal.end() == 0
    assert not re.search(r"\x1b\[(\d+;)?3\d", terminal.said)


def test_without_a_terminal_there_is_no_live_screen(agent: Agent) -> None:
    done = subprocess.run([*LINE, "--watch"], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "For programs: clpstat --json" in done.stderr


def test_the_plain_status_imports_nothing_heavy(agent: Agent) -> None:
    """It is to start within two and a half interpreter starts; this is what would cost that."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "clptools.cli.main", "clpstat", "-s"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"msgspec", "rich", "typer", "asyncio", "dataclasses", "unicodedata", "h11"}
