"""Commands to an agent of this server that gives no sign of life."""

from __future__ import annotations

import json
import os

import pytest

from clptools.api import client
from tests.api.fake import Agent
from tests.cli.conftest import Clp

NAMED = f"clpnode (pid {os.getpid()}) does not answer (state "


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """It will not answer, however long it is waited for."""
    for patience in ("SILENCE_S", "LIVES_WITHIN_S", "LAST_LOOK_S"):
        monkeypatch.setattr(client, patience, 0.1)


@pytest.mark.parametrize(
    "line",
    [
        ("clpcl", "-t"),
        ("clpcl", "-t", "-w", "0"),
        ("clpcl", "-t", "-w", "1"),
        ("clpforcestop", "server2", "--yes"),
        ("clpgrp", "-s", "failover1"),
        ("clprexec", "--notice", "-k", "RAID.sda"),
        ("clpwait", "--until", "cluster normal"),
        ("clpstat", "-s"),
        ("clpstat", "--events", "--follow"),
    ],
    ids=" ".join,
)
def test_each_names_its_process(agent: Agent, clp: Clp, line: tuple[str, ...]) -> None:
    with agent.frozen():
        ran = clp(*line)
    assert (ran.code, ran.out) == (7, "")
    assert ran.err.startswith(f"{line[0]}: {NAMED}")


def test_programs_read_it_too(agent: Agent, clp: Clp) -> None:
    with agent.frozen():
        error = json.loads(clp("clpcl", "-t", "--json").out)["error"]
    assert (error["code"], error["name"]) == (7, "TIMED_OUT")
    assert error["message"].startswith(NAMED)
    assert "kill -KILL" in error["hint"]


def test_whoever_waits_for_a_state_waits_on_until_his_time_is_up(agent: Agent, clp: Clp) -> None:
    with agent.frozen():
        ran = clp("clpwait", "--until", "cluster normal", "--timeout", "1.5")
    assert ran.code == 7
    assert NAMED in ran.err


def test_what_is_only_slow_is_asked_and_not_waited_for(
    agent: Agent, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LAST_LOOK_S", 60.0)
    monkeypatch.setattr(client, "LIVES_WITHIN_S", 60.0)
    agent.backend.hold = True
    ran = clp("clpcl", "-t", "-w", "0")
    assert (ran.code, ran.out) == (0, "Requested; the work goes on in the background.\n")
    agent.backend.hold = False
