"""A status as text from the agent: the same in every way as what the command itself prints."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import shlex
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clptools import launcher, queries
from clptools.api.client import Client
from clptools.api.methods import METHODS, WORD_LETTERS, StatusReply
from clptools.faults import ClpError, ExitCode
from clptools.queries import COMMANDS, understood
from tests.api.fake import Agent
from tests.cli.conftest import Clp
from tests.conftest import BUSY_S, LIMIT_S

START = f"""\
#!{sys.executable} -P
import sys
sys.path.insert(0, {str(Path(launcher.__file__).parent.parent)!r})
from clptools.launcher import main
sys.exit(main())
"""
ASKED = (
    "clpstat",
    "clpstat -s",
    "clpstat -s --long --detail --local",
    "clpstat --json",
    "clpstat -g",
    "clpstat -m",
    "clpstat -n",
    "clpstat -p",
    "clpstat -f",
    "clpstat -g --json",
    "clpstat --explain failover1",
    "clpstat --explain failover1 --json",
    "clpstat --check",
    "clpstat --check -w 0 -c 1 --json",
    "clpstat --metrics",
    "clpstat --hw",
    "clpstat --hw --json",
    "clpgrp -n failover1",
    "clpgrp --where failover1 --json",
    "clprsc -n exec1",
    "clprsc -v",
    "clprsc -v exec1 --json",
    "clphealthchk",
    "clphealthchk -t pm --json",
    "clpmonctrl -v",
    "clpmonctrl -m userw -v -h server1",
    "clpmonctrl -v --json",
    "clptoratio -s",
    "clptoratio --show --json",
    "clpregctrl -g",
    "clpregctrl --get --json",
)
NOT_ASKED = (
    "clpstat -s -g",
    "clpstat --nonsense",
    "clpstat --explain",
    "clpstat --explain nosuch",
    "clpstat --events",
    "clpstat -s -h server2",
    "clpstat --check -w nonsense",
    "clpstat -i",
    "clpgrp -n nosuch",
    "clpgrp -n",
    "clprsc -n",
    "clprsc -v nosuch",
    "clphealthchk -t xx",
    "clphealthchk --timeout 3",
    "clpmonctrl -v -m nosuch",
    "clpmonctrl -v userw",
    "clpmonctrl -v -h nosuch",
    "clptoratio -s -t 1m",
    "clpregctrl -g -c",
)
"""Each of them the command itself answers."""


@pytest.fixture
def thin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the commands as they start."""
    folder = tmp_path_factory.mktemp("bin")
    for name in (*COMMANDS, "clpcl"):
        (folder / name).write_text(START)
        (folder / name).chmod(0o755)
    return folder


def shell(folder: Path, line: str, **environment: str) -> tuple[int, str, str]:
    """Runs a line as a user types it."""
    kept = {key: value for key, value in os.environ.items() if key not in ("TZ", "CLP_DEBUG")}
    kept |= {"PATH": f"{folder}:{kept['PATH']}", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, timeout=LIMIT_S, env=kept | environment
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def steady(text: str) -> str:
    """Without what grows while one looks."""
    return re.sub(r"(_seconds\S* |took_s\S* |_s\": )[0-9.e+-]+", r"\1N", text)


@pytest.mark.parametrize("line", ASKED)
def test_it_prints_what_the_command_itself_prints(
    agent: Agent, thin: Path, clp: Clp, line: str
) -> None:
    code, out, err = shell(thin, line)
    assert len(agent.backend.lines) == 1
    itself = clp(*shlex.split(line))
    assert (code, steady(out), err) == (itself.code, steady(itself.out), itself.err)
    assert out


@pytest.mark.parametrize("line", NOT_ASKED)
def test_what_the_agent_does_not_say_the_command_says(
    agent: Agent, thin: Path, clp: Clp, line: str
) -> None:
    assert shell(thin, line) == tuple(clp(*shlex.split(line)))


@pytest.mark.parametrize(
    "line",
    [
        "clpgrp -s failover1",
        "clpgrp -t failover1 -h server1",
        "clprsc -t exec1",
        "clpcl --suspend",
        "clpmonctrl -s -m userw",
        "clptoratio -i",
        "clpregctrl -c -t rc -r haltcount",
    ],
)
def test_what_changes_something_is_not_asked_as_text(agent: Agent, thin: Path, line: str) -> None:
    shell(thin, line)
    assert len(agent.backend.asked) == 1 and not agent.backend.lines


@pytest.mark.parametrize(
    "command, line",
    [
        ("clpgrp", ["-s", "failover1"]),
        ("clpgrp", ["-m"]),
        ("clpgrp", ["-n", "-s", "failover1"]),
        ("clpmonctrl", ["-v", "-s", "-m", "userw"]),
        ("clpmonctrl", ["-s", "-m", "-v"]),
        ("clptoratio", ["-i", "-s"]),
        ("clpregctrl", ["-c", "-t", "rc", "-r", "-g"]),
        ("clprsc", ["-t", "exec1"]),
        ("clpcl", ["-t"]),
        ("clpstat", ["--html", "-o", "/etc/passwd"]),
        ("clpstat", ["--graph", "-o", "/etc/passwd"]),
        ("clpstat", ["-i"]),
        ("clpstat", ["--events"]),
        ("clpstat", ["--complete", "group"]),
        ("../clpstat", []),
    ],
)
def test_the_agent_does_nothing_else_for_whoever_asks(command: str, line: list[str]) -> None:
    assert understood(command, line) is None


def test_it_asks_nothing_but_what_readers_may_ask() -> None:
    for line in ASKED:
        name, *words = line.split()
        query = understood(name, words)
        assert query is not None
        assert not any(METHODS[method].writes for method, _ in query.calls)


def test_nothing_is_imported_for_it(agent: Agent, thin: Path) -> None:
    look = START.partition("\n")[2].replace("import sys\n", "import sys\nsys.argv[0] = 'clpstat'\n")
    words = [sys.executable, "-IS", "-X", "importtime", "-c", look, "-s"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.stdout and agent.backend.lines
    ours = {name for name in loaded if name.startswith("clptools")}
    assert ours == {"clptools", "clptools.launcher"}
    assert not loaded & {"os", "json", "re", "socket", "enum", "typing", "collections"}


@pytest.mark.parametrize("environment", [{"TZ": "Asia/Tokyo"}, {"PYTHONIOENCODING": "latin-1"}])
def test_where_the_caller_differs_from_the_host_the_command_itself_answers(
    agent: Agent, thin: Path, environment: dict[str, str]
) -> None:
    assert shell(thin, "clpgrp -n failover1", **environment) == (0, "server1\n", "")
    assert not agent.backend.lines


def test_a_terminal_has_its_width(agent: Agent, thin: Path) -> None:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 44, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "TZ"}
    subprocess.run(
        [str(thin / "clpstat"), "--explain", "failover1"],
        stdout=theirs,
        timeout=LIMIT_S,
        check=True,
        env=environment | {"LC_ALL": "C.UTF-8"},
    )
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert agent.backend.lines
    assert max(map(len, shown.splitlines())) <= 44


@pytest.mark.parametrize(
    "line, expected",
    [
        ("clpstat -s >/dev/full", (1, "No space left on device")),
        ("clpstat -s --json >/dev/full", (1, "No space left on device")),
        ("(clpstat --metrics; echo $? >&2) | :", (0, "141")),
        ("clpstat -s >&-", (0, "")),
        ("clpgrp -n failover1 <&- >/dev/null", (0, "")),
    ],
)
def test_an_answer_that_is_not_taken_is_told_as_ever(
    agent: Agent, thin: Path, line: str, expected: tuple[int, str]
) -> None:
    if "| :" in line:  # the reader must be gone before it is written
        line = line.replace("(clpstat", "(sleep 0.2; clpstat")
    code, _, err = shell(thin, line)
    assert code == expected[0]
    assert expected[1] in err and "Traceback" not in err


@pytest.mark.parametrize(
    "word", [r"$'\xff\xfe'", r"$'\x1b[31m'", r"$'\n'", "'\"}\\'", "x" * 300, "'ä€😀'", "''"]
)
def test_words_that_mean_harm_do_none(agent: Agent, thin: Path, clp: Clp, word: str) -> None:
    code, out, err = shell(thin, f"clpgrp -n {word}")
    assert (code, out) in ((5, ""), (2, "")) and err.startswith("clpgrp: ")
    assert clp("clpgrp", "-n", "failover1").code == 0, "the agent goes on"


def test_a_great_many_words_are_left_to_the_command(agent: Agent, thin: Path) -> None:
    code, _, err = shell(thin, "clpgrp -n " + "x " * 2000)
    assert code == 2 and err.startswith("clpgrp: ")
    assert not agent.backend.lines


def test_a_fault_of_the_agent_is_told_as_ever(
    agent: Agent, thin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(local: bool) -> object:
        raise ClpError(ExitCode.REFUSED, "not today", "tomorrow")

    monkeypatch.setattr(agent.backend, "status", status)
    assert shell(thin, "clpstat -s") == (6, "", "clpstat: not today\ntomorrow\n")


def test_an_agent_that_hangs_is_named_as_ever(agent: Agent, thin: Path) -> None:
    with agent.frozen():
        begun = time.monotonic()
        code, out, err = shell(thin, "clphealthchk --timeout 0.2; clpgrp -n failover1")
        took = time.monotonic() - begun
    assert (code, out.splitlines()[0]) == (7, "pm NG")
    assert f"clpnode (pid {os.getpid()}) does not answer (state " in err
    assert took < 15 + BUSY_S


def test_a_status_that_would_keep_the_agent_busy_is_left_to_the_command(
    agent: Agent, thin: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "REPLY_BYTES", 1000)
    query = understood("clpstat", ["-s"])
    assert query is not None
    assert query.written([StatusReply(status=agent.backend.state)], 80) is None
    assert shell(thin, "clpstat -s") == tuple(clp("clpstat", "-s"))


def test_without_an_agent_nothing_changes(node: Path, thin: Path, clp: Clp) -> None:
    assert shell(thin, "clpgrp -n failover1") == tuple(clp("clpgrp", "-n", "failover1"))


def test_an_older_agent_is_asked_as_ever(
    agent: Agent, thin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(METHODS, "Query")
    assert shell(thin, "clpgrp -n failover1") == (0, "server1\n", "")


@pytest.mark.parametrize(
    "parameters",
    [
        {"command": "clpstat", "line": ["x" * (WORD_LETTERS + 1)]},
        {"command": "clpstat", "line": ["-s"] * 33},
        {"command": "clpstat", "line": ["-s"], "columns": -1},
        {"command": "clpstat", "line": [1]},
    ],
)
def test_what_is_too_long_is_refused(agent: Agent, parameters: dict[str, object]) -> None:
    with Client(agent.path) as client, pytest.raises(ClpError) as caught:
        client.call("Query", **parameters)
    assert caught.value.code == ExitCode.USAGE


def test_the_reply_begins_as_the_launcher_reads_it(agent: Agent) -> None:
    call = (
        b'{"method":"org.clptools.Node.Query","parameters":'
        b'{"command":"clpgrp","line":["-n","failover1"]}}\0'
    )
    root = os.environb[b"CLP_ROOT"]
    reply = launcher.replied(root, call)
    assert reply == '{"parameters":{"code":0,"text":"server1"}}'
    assert json.loads(reply)["parameters"]["text"] == "server1"


@contextlib.contextmanager
def impostor(node: Path, reply: bytes, *, hangs_up: bool = True) -> Iterator[None]:
    """What answers at an agent's place, once."""
    folder = node / "run/clptools"
    folder.mkdir(parents=True)
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(folder / "clpnode.sock"))
        door.listen()

        def answer() -> None:
            caller, _ = door.accept()
            with caller:
                caller.recv(65536)
                caller.sendall(reply)
                if not hangs_up:
                    done.wait(LIMIT_S)

        serving = threading.Thread(target=answer)
        serving.start()
        yield
        done.set()
        serving.join(LIMIT_S)


def test_a_reply_in_parts_is_taken_whole(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "environ", {b"CLP_ROOT": bytes(node)})
    text = "ä\n" * 400_000
    reply = json.dumps({"parameters": {"code": 9, "text": text}}, separators=(",", ":"))
    with impostor(node, reply.encode() + b"\0"):
        assert launcher.asked("clpstat", ["-s"]) == (text, 9)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\0",
        b"garbage\0",
        b"\xff\xfe\0",
        b'{"parameters":{"code":0,"text":"half\0',
        b'{"parameters":{"code":0,"text":"whole"}}',
        b'{"parameters":{"code":"no","text":"number"}}\0',
        b'{"parameters":{"code":0,"text":null}}\0',
        b'{"error":"org.varlink.service.MethodNotFound","parameters":{}}\0',
        b"\0" * 100_000 + b"x",
    ],
)
def test_a_reply_that_is_none_is_not_taken(
    node: Path, monkeypatch: pytest.MonkeyPatch, reply: bytes
) -> None:
    monkeypatch.setattr(launcher, "environ", {b"CLP_ROOT": bytes(node)})
    with impostor(node, reply):
        assert launcher.asked("clpstat", ["-s"]) is None


def test_a_reply_that_does_not_end_is_not_waited_for(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "environ", {b"CLP_ROOT": bytes(node)})
    monkeypatch.setattr(launcher, "PATIENCE_S", 0.1)
    with impostor(node, b'{"parameters":{"code":0,"text":"sl', hangs_up=False):
        assert launcher.asked("clpstat", ["-s"]) is None


def test_a_reply_without_end_is_cut_off(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "environ", {b"CLP_ROOT": bytes(node)})
    monkeypatch.setattr(launcher, "REPLY_LIMIT_BYTES", 1000)
    whole = b'{"parameters":{"code":0,"text":"' + b"x" * 2000 + b'"}}\0'
    with impostor(node, whole):
        assert launcher.asked("clpstat", ["-s"]) is None
