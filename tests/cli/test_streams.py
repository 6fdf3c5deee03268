"""Standard streams that are closed, full or not UTF-8, and arguments that are not."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.fake import Agent
from tests.cli.conftest import Ran


def shell(line: str, **environment: str) -> Ran:
    """A command as a shell runs it, with redirections: `clpgrp -n failover1 >&-`."""
    name, _, rest = line.partition(" ")
    run = f"{shlex.quote(sys.executable)} -m clptools.cli.main {name} {rest}"
    ran = subprocess.run(
        ["bash", "-c", run],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


@pytest.mark.parametrize(
    "line", ["clpstat --help >&-", "clpgrp -n failover1 >&-", "clpgrp -n failover1 --json >&-",
             "clpgrp -n failover1 >&- 2>&- <&-"]
)  # fmt: skip
def test_nobody_has_to_listen_for_it_to_be_done(agent: Agent, line: str) -> None:
    assert shell(line) == (0, "", "")


def test_without_a_stderr_the_exit_code_still_tells(agent: Agent) -> None:
    assert shell("clpgrp -n nosuch 2>&-") == (5, "", "")
    assert shell("clpgrp -n nosuch 2>/dev/full") == (5, "", "")


def test_a_password_from_nowhere_is_no_bug(node: Path) -> None:
    ran = shell("clpbmccnf server1 <&-")
    assert ran.code != 0
    assert "should not have happened" not in ran.err


@pytest.mark.parametrize("line", ["clptrap decode -", "clpcfset wizard -x $CLP_ROOT"])
def test_answers_from_nowhere_have_ended(node: Path, line: str) -> None:
    ran = shell(f"{line} <&-")
    assert ran.code == 1
    assert "should not have happened" not in ran.err


@pytest.mark.parametrize("line", ["clpgrp -n failover1", "clpgrp -n failover1 --json"])
def test_an_answer_that_the_disk_does_not_take_is_one_line(agent: Agent, line: str) -> None:
    said = "clpgrp: Done, but the answer could not be written: No space left on device.\n"
    assert shell(f"{line} >/dev/full") == (1, "", said)


def test_a_fault_that_the_disk_does_not_take_is_still_told(agent: Agent) -> None:
    ran = shell("clpgrp -n nosuch --json >/dev/full")
    assert ran == (5, "", "clpgrp: nosuch: no such group.\nKnown: failover1\n")


def test_a_stream_of_events_onto_a_full_disk_is_one_line(agent: Agent) -> None:
    ran = shell("clpstat --events >/dev/full")
    assert ran == (1, "", "clpstat: No space left on device.\n")


@pytest.mark.parametrize(
    "line", [r"clpcfchk $'\xff\xfe'", r"clplogcmd -m $'\xff\xfe'", r"clpgrp -sa$'\xff\xfe'"]
)
def test_arguments_that_are_not_utf_8_are_named(agent: Agent, line: str) -> None:
    ran = shell(line)
    assert ran.code == 2
    assert r"\xff\xfe': not UTF-8 text." in ran.err.splitlines()[0]
    told = json.loads(shell(line + " --json").out)
    assert told["error"]["code"] == 2


def test_where_only_ascii_can_be_shown_the_rest_is_shown_as_codes(agent: Agent) -> None:
    assert r"\xc4: not a level" in shell("clplogcmd -m x -l ä", PYTHONIOENCODING="ascii").err
    told = json.loads(shell("clplogcmd -m x -l ä --json", PYTHONIOENCODING="ascii").out)
    assert told["error"]["message"] == "Ä: not a level."
