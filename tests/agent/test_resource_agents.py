"""What an agent finds of resource agents before a group needs them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clptools import paths
from clptools.agent import notices, resource_agents
from clptools.agent.agent import Agent
from clptools.api.messages import EventRecord
from clptools.common import agent_files
from clptools.core.notices.form import Kinds, Notice
from tests.agent.test_agent import place, started
from tests.conftest import until
from tests.resources.ocf_agents import actions, make_agent

__all__ = ["place"]

GROUP = """
[[group]]
name = "g"
startup = "manual"
[[group.resource]]
type = "ocf"
name = "r"
agent = "ocf:test:mine"
parameters = { device = "x" }
"""


@pytest.fixture
def root(tmp_path: Path, place: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node with a group that nobody starts, and that looks often."""
    monkeypatch.setattr(agent_files, "_known", {})
    for name in ("_TURN_S", "_AGAIN_S", "_SELDOM_S"):
        monkeypatch.setattr(resource_agents, name, 0.01)
    with open(paths.config_file(), "a") as file:
        file.write(GROUP)
    return tmp_path


def told(agent: Agent, kind: type[Notice]) -> list[EventRecord]:
    return [record for record in agent._records.all() if record in Kinds(kind)]


def conditions(agent: Agent) -> dict[str, str]:
    return {name: seen.text for name, seen in agent.conditions._open.items()}


STATE = 'case "$1" in monitor) [ -e {root}/runs ] || exit 7;; stop) rm -f {root}/runs;; esac'


async def test_a_missing_agent_is_told_at_the_start_and_once_it_is_there(root: Path) -> None:
    agent = await started()
    await until(lambda: told(agent, notices.AgentUnfit))
    (record,) = told(agent, notices.AgentUnfit)
    assert record.text.startswith(
        'r cannot be started on server1: "ocf:test:mine" is not installed'
    )
    assert "agent of r" in conditions(agent)
    make_agent(root, "mine", STATE.format(root=root))
    await until(lambda: told(agent, notices.AgentFit))
    assert "agent of r" not in conditions(agent)
    await agent.close()
    assert len(told(agent, notices.AgentUnfit)) == 1


async def test_an_agent_that_changes_under_us_is_told(root: Path) -> None:
    make_agent(root, "mine", STATE.format(root=root))
    agent = await started()
    await until(lambda: actions(root))
    assert conditions(agent) == {}
    path = make_agent(root, "mine", STATE.format(root=root), meta="")
    await until(lambda: told(agent, notices.AgentUnfit))
    assert "its meta-data cannot be read" in conditions(agent)["agent of r"]
    os.chmod(path, 0o757)
    if os.geteuid() == 0:
        await until(lambda: "everybody may write to it" in conditions(agent)["agent of r"])
    await agent.close()


async def test_what_runs_where_no_group_is_held_is_told(root: Path) -> None:
    make_agent(root, "mine", STATE.format(root=root))
    agent = await started()
    # First comes what an agent without state does: it stops everything.
    await until(lambda: "stop" in actions(root) and actions(root)[-1] == "monitor")
    assert not told(agent, notices.RunsUnheld)
    (root / "runs").touch()
    await until(lambda: told(agent, notices.RunsUnheld))
    (record,) = told(agent, notices.RunsUnheld)
    assert record.level == "ERROR"
    assert record.text.startswith("r runs on server1, which does not hold g. See what started it")
    assert "runs g/r" in conditions(agent)
    (root / "runs").unlink()
    await until(lambda: told(agent, notices.RunsNoMore))
    assert "runs g/r" not in conditions(agent)
    await agent.close()
    assert len(told(agent, notices.RunsUnheld)) == 1


def test_active_on_both_is_said() -> None:
    said = notices.RunsUnheld("g", "r", "server2").told("server1")
    assert said.startswith(
        "CRITICAL, its data is at risk, as server2 runs it, too: r runs on server1"
    )
