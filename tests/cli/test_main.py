"""What every command does alike: faults, exit codes, JSON, usage, signals, start-up time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clptools.cli import clpgrp
from clptools.cli.command import Args
from clptools.cli.registry import COMMANDS
from clptools.version import VERSION
from tests.api.fake import Agent
from tests.cli.conftest import Clp
from tests.conftest import LIMIT_S

COMMAND = [sys.executable, "-m", "clptools.cli.main"]


def test_without_an_agent_the_socket_and_the_mend_are_named(clp: Clp, node: Path) -> None:
    ran = clp("clpgrp", "-n", "failover1")
    assert ran.code == 3
    assert ran.out == ""
    assert f"{node}/run/clptools/clpnode.sock" in ran.err
    assert "clpcl -s" in ran.err


def test_with_json_faults_are_an_object_too(clp: Clp) -> None:
    ran = clp("clpgrp", "-m", "failover1", "--json")
    assert ran.code == 3
    assert ran.err == ""
    told = json.loads(ran.out)
    assert told["schema"] == 1
    assert told["error"]["code"] == 3
    assert told["error"]["name"] == "NO_AGENT"
    assert set(told["error"]) == {"code", "name", "message", "hint"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--strat"], "--start"),
        (["-x"], "-x"),
        (["-a"], "-a"),
        (["-s", "one", "two"], "1 word beside its options"),
        (["-s", "--apito", "soon"], "'soon' is not a number from 0 to 31536000"),
        (["-s", "--apito", "99999999999"], "from 0 to 31536000"),
        (["-s", "--apito", "9" * 5000], "from 0 to 31536000"),
        ([], "-s, -t, -m, --cancel or -n"),
        (["-s", "-t"], "-s, -t, -m, --cancel or -n"),
    ],
)
def test_a_wrong_line_says_what_is_wrong_and_how_it_goes(
    clp: Clp, line: list[str], said: str
) -> None:
    ran = clp("clpgrp", *line)
    assert ran.code == 2
    assert said in ran.err
    assert "clpgrp --help" in ran.err
    assert ran.out == ""


def test_help_shows_forms_options_and_examples(clp: Clp) -> None:
    ran = clp("clpgrp", "--help")
    assert ran.code == 0
    assert "clpgrp -m [GROUP] [-h HOST] [-a DEST] [-f]" in ran.out
    assert "-a, --to DEST" in ran.out
    assert "moves failover1 to server2" in ran.out


def test_an_unknown_name_is_no_command(clp: Clp) -> None:
    assert clp("clpfly").code == 2


def test_a_bug_is_one_line_without_a_traceback(clp: Clp, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_args: Args) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(clpgrp, "run", broken)
    monkeypatch.delenv("CLP_DEBUG", raising=False)
    ran = clp("clpgrp", "-n", "failover1")
    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert "CLP_DEBUG=1" in ran.err
    monkeypatch.setenv("CLP_DEBUG", "1")
    with pytest.raises(KeyError):
        clp("clpgrp", "-n", "failover1")


def test_a_reader_that_goes_away_is_no_fault(agent: Agent) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [*COMMAND, "clpgrp", "-n", "failover1"],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=LIMIT_S,
    )
    os.close(writing)
    assert ran.stderr == b""


def test_a_full_disk_is_said(agent: Agent) -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [*COMMAND, "clpgrp", "-n", "failover1"],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=LIMIT_S,
        )
    assert ran.returncode == 1
    assert b"No space left on device" in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_ctrl_c_ends_it_without_a_word(agent: Agent) -> None:
    agent.backend.hold = True
    running = subprocess.Popen(
        [*COMMAND, "clpgrp", "-s", "failover1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + LIMIT_S
    while not agent.backend.asked:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=LIMIT_S)
    agent.backend.hold = False
    assert (running.returncode, out, err) == (130, b"", b"")


@pytest.mark.parametrize(
    "line",
    ["clpstat -s", "clpstat -s --json", "clpgrp -n failover1", "clpmonctrl -v", "clphealthchk",
     "clpwait --until cluster_normal", "clpgrp --complete group"],
)  # fmt: skip
def test_reading_commands_import_nothing_heavy(agent: Agent, line: str) -> None:
    name, *rest = line.split()
    rest = [word.replace("_", " ") for word in rest]
    look = (
        f"import sys; from clptools.cli.main import run; code = run({name!r}, {rest!r});"
        "print(sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr); sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, timeout=LIMIT_S
    )
    assert ran.returncode == 0, ran.stderr
    loaded = set(json.loads(ran.stderr.replace("'", '"')))
    heavy = {"msgspec", "asyncio", "typer", "rich", "argparse", "dataclasses", "subprocess", "h11"}
    assert not loaded & {*heavy, "tomlkit", "tomli_w"}


@pytest.mark.parametrize(
    "module",
    [
        "agent.main",
        "cli.clpcfchk",
        "cli.clpcfctrl",
        "cli.clpcfset",
        "cli.wizard",
        "config.importer",
    ],
)
def test_only_an_edit_loads_the_library_that_edits(module: str) -> None:
    look = f"import sys, clptools.{module}; assert not {{'tomlkit', 'tomli_w'}} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr


def test_a_step_of_a_script_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    """Scripts have dozens of them, a process each; see `tests/bench/cfset.py`."""
    clpcfset = [*COMMAND, "clpcfset"]
    for line in ("create c", "add srv server1 0", "add mon genw genw1"):
        subprocess.run([*clpcfset, *line.split()], cwd=tmp_path, timeout=LIMIT_S, check=True)
    look = (
        "import sys; from clptools.cli.main import run;"
        "line = 'add monparam genw genw1 polling/interval 31';"
        "code = run('clpcfset', line.split());"
        "print(*sys.modules, file=sys.stderr); import typing_extensions; sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", look], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert ran.returncode == 0, ran.stderr
    assert "interval = 31" in (tmp_path / "clp.toml").read_text()
    needless = {"clptools.config.load", "difflib", "secrets", "tempfile", "tomlkit"}
    assert not set(ran.stderr.split()) & {*needless, "typing_extensions"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_says_its_version(node: Path, clp: Clp, name: str) -> None:
    assert clp(name, "--version") == (0, f"{name} {VERSION}\n", "")
    assert json.loads(clp(name, "--version", "--json").out) == {"schema": 1, "version": VERSION}
