"""`clptoratio` as people run it; what it asks of the agent is in `test_changing.py`."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from clptools.core.model.requests import MAX_RATIO, MAX_RATIO_MS, Outcome
from tests.api.fake import Agent, sample_status
from tests.cli.conftest import Clp


def test_the_present_ratio_as_the_original_shows_it(agent: Agent, clp: Clp) -> None:
    assert clp("clptoratio", "-s").out == "present toratio : 1\n"
    state = sample_status()
    cluster = msgspec.structs.replace(
        state.cluster, toratio=3, toratio_by="root", toratio_left_s=7140.0
    )
    agent.backend.state = msgspec.structs.replace(state, cluster=cluster)
    first, end = clp("clptoratio", "-s").out.splitlines()
    assert first == "present toratio : 3"
    assert re.fullmatch(r"until .*\d\d:\d\d:\d\d\.\d \(in 1 h 59 min\), by root", end)
    assert json.loads(clp("clptoratio", "-s", "--json").out) == {
        "schema": 1,
        "toratio": 3,
        "by": "root",
        "left_s": 7140.0,
    }
    assert json.loads(clp("clpstat", "--json").out)["cluster"]["toratio"] == 3


@pytest.mark.parametrize(
    "line",
    [
        "",
        "-r 3",
        "-t 3m",
        "-r 0 -t 3m",
        "-r 10001 -t 3m",
        "-r 2.5 -t 3m",
        "-r x -t 3m",
        "-r 3 -t 3",
        "-r 3 -t 59s",
        "-r 3 -t 0m",
        "-r 3 -t 31d",
        "-r 3 -t 721h",
        "-r 3 -t 2m3h",
        "-r 1 -t 3m",
        "-i -t 3m",
        "-s -t 3m",
        "-i -s",
        "-r 3 -t 3m -i",
    ],
)
def test_what_it_cannot_be_asked(agent: Agent, clp: Clp, line: str) -> None:
    ran = clp("clptoratio", *line.split())
    assert ran.code == 2, ran.out
    assert agent.backend.asked == []


def test_the_limits_of_command_and_agent_are_the_same(agent: Agent, clp: Clp) -> None:
    assert clp("clptoratio", "-r", str(MAX_RATIO), "-t", f"{MAX_RATIO_MS // 60_000}m").code == 0
    assert len(agent.backend.asked) == 1


def test_a_refusal_names_the_server_that_is_not_there(agent: Agent, clp: Clp) -> None:
    text = "All servers must be online to stretch time-outs; server2 is not."
    agent.backend.outcome = Outcome(code=6, text=text, hint="Start it there first: clpcl -s -a")
    ran = clp("clptoratio", "-r", "2", "-t", "5m")
    assert ran.code == 6
    assert "server2" in ran.err
