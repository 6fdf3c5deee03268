"""Commands that only read: where something runs, counters, waiting, the liveness probe."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import msgspec
import pytest

from clptools import faults
from clptools.core.model.view import MonitorOnServerView, StatusView
from tests.api.fake import Agent, sample_status, socket_path
from tests.cli.conftest import Clp


def moved(to: str | None, status: str = "Online") -> StatusView:
    """The sample cluster with failover1 elsewhere."""
    sample = sample_status()
    group = msgspec.structs.replace(sample.groups[0], current=to, status=status)
    return msgspec.structs.replace(sample, groups=(group,))


def cluster(**fields: object) -> StatusView:
    """The sample cluster, as a whole otherwise."""
    sample = sample_status()
    return msgspec.structs.replace(
        sample, cluster=msgspec.structs.replace(sample.cluster, **fields)
    )


def test_where_prints_the_servers_name_alone(agent: Agent, clp: Clp) -> None:
    assert clp("clpgrp", "-n", "failover1") == (0, "server1\n", "")
    assert clp("clprsc", "-n", "exec1") == (0, "server1\n", "")
    agent.change(moved(None, "Offline"))
    assert clp("clpgrp", "-n", "failover1") == (0, "", "")


def test_unknown_names_say_which_there_are(agent: Agent, clp: Clp) -> None:
    for line, known in (
        (("clpgrp", "-n", "x"), "failover1"),
        (("clprsc", "-n", "x"), "exec1, fip1"),
        (("clpmonctrl", "-v", "-m", "x"), "mrw1, userw"),
        (("clpwait", "--until", "server x online"), "server1, server2"),
    ):
        ran = clp(*line)
        assert ran.code == 5
        assert f"Known: {known}" in ran.err


def test_counters_have_the_name_as_third_word(agent: Agent, clp: Clp) -> None:
    ran = clp("clpmonctrl", "-v")
    names = [line.split()[2] for line in ran.out.splitlines() if "Resource" in line]
    assert names == ["mrw1", "userw"]
    told = json.loads(clp("clpmonctrl", "-v", "-m", "userw", "--json").out)
    assert told["monitors"] == [{"name": "userw", "scripts": 0, "restarts": 2, "failovers": 0}]


def test_counters_of_another_server(agent: Agent, clp: Clp) -> None:
    sample = sample_status()
    on = {"server1": MonitorOnServerView(status="Normal", restarts=2),
          "server2": MonitorOnServerView(status="Error", failovers=1)}  # fmt: skip
    userw = msgspec.structs.replace(sample.monitors[1], servers=on)
    agent.change(msgspec.structs.replace(sample, monitors=(userw,)))
    told = json.loads(clp("clpmonctrl", "-v", "-h", "server2", "--json").out)
    assert told["server"] == "server2"
    assert told["monitors"] == [{"name": "userw", "scripts": 0, "restarts": 0, "failovers": 1}]
    assert "Failed over       : 1" in clp("clpmonctrl", "-v", "-m", "userw", "-h", "server2").out
    ran = clp("clpmonctrl", "-v", "-h", "nosuch")
    assert (ran.code, ran.out) == (5, "")
    assert "nosuch: no such server." in ran.err


def test_a_server_that_is_not_heard_has_no_counters_to_show(agent: Agent, clp: Clp) -> None:
    sample = sample_status()
    lost = msgspec.structs.replace(sample.servers[1], status="Unknown")
    agent.change(msgspec.structs.replace(sample, servers=(sample.servers[0], lost)))
    ran = clp("clpmonctrl", "-v", "-h", "server2")
    assert (ran.code, ran.out) == (3, "")
    assert "server2 reports no counters" in ran.err


def test_the_failover_counter_of_a_resource_is_that_of_its_group(agent: Agent, clp: Clp) -> None:
    sample = sample_status()
    group = msgspec.structs.replace(sample.groups[0], failures=2)
    agent.change(msgspec.structs.replace(sample, groups=(group,)))
    assert clp("clprsc", "-v", "exec1").out == ("Group Resource: exec1\n  Failover Counter  : 2\n")
    told = json.loads(clp("clprsc", "-v", "--json").out)
    assert [(r["name"], r["group"], r["failovers"]) for r in told["resources"]] == [
        ("exec1", "failover1", 2), ("fip1", "failover1", 2),
    ]  # fmt: skip
    assert clp("clprsc", "-v", "nosuch").code == 5
    assert clp("clprsc", "-n").code == 2


@pytest.mark.parametrize(
    "condition",
    [
        "group failover1 online",
        "group failover1 online on server1",
        "group failover1 offline on server2",
        "server server2 online",
        "monitor mrw1 normal",
        "monitor mrw1 normal on server2",
        "cluster normal",
    ],
)
def test_what_is_already_so_needs_no_waiting(agent: Agent, clp: Clp, condition: str) -> None:
    assert clp("clpwait", "--until", condition) == (0, "", "")


@pytest.mark.parametrize(
    "condition",
    ["group failover1 offline", "group failover1 online on server2", "monitor mrw1 stall"],
)
def test_what_does_not_come_true_in_time_is_7(agent: Agent, clp: Clp, condition: str) -> None:
    ran = clp("clpwait", "--until", condition, "--timeout", "0.1")
    assert ran.code == 7
    assert condition in ran.err


@pytest.mark.parametrize(
    "condition",
    ["", "weather fine", "group failover1", "group failover1 fine", "cluster normal on server1",
     "group failover1 online at server1", "server server1 online on server2"],
)  # fmt: skip
def test_conditions_that_are_none_are_usage_errors(agent: Agent, clp: Clp, condition: str) -> None:
    assert clp("clpwait", "--until", condition).code == 2


@pytest.mark.parametrize(
    ("name", "code"), [("clpwait --until cluster_normal", 2), ("clphealthchk", 2)]
)
def test_nobody_waits_for_thousands_of_years(agent: Agent, clp: Clp, name: str, code: int) -> None:
    line = [word.replace("_", " ") for word in name.split()]
    ran = clp(*line, "--timeout", "99999999999")
    assert ran.code == code
    assert "--timeout: '99999999999' is not a number from 0 to 31536000" in ran.err


def test_waiting_ends_when_it_comes_true(agent: Agent, clp: Clp) -> None:
    def change() -> None:
        while not agent.backend.watched:
            time.sleep(0.005)
        agent.change(moved("server2"))

    changer = threading.Thread(target=change)
    changer.start()
    line = ("--until", "group failover1 online on server2", "--timeout", "20")
    assert clp("clpwait", *line).code == 0
    changer.join()


def test_waiting_outlives_a_restart_of_the_agent(clp: Clp, node: Path) -> None:
    def start() -> None:
        time.sleep(0.3)  # the command is to meet no agent first; nothing depends on how long
        with Agent(socket_path(node)).running() as agent:
            while not agent.backend.watched:
                time.sleep(0.005)

    starter = threading.Thread(target=start)
    starter.start()
    assert clp("clpwait", "--until", "cluster normal", "--timeout", "20").code == 0
    starter.join()


def test_without_a_time_out_no_agent_is_a_fault_at_once(clp: Clp) -> None:
    assert clp("clpwait", "--until", "cluster normal").code == 3


def test_a_probe_that_may_not_ask_says_so_as_the_original_does(
    clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str) -> None:  # root, who runs tests, never is
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("clptools.api.client.SocketAddress", refused)
    ran = clp("clphealthchk")
    assert ran.code == 1
    assert ran.err.startswith("clphealthchk: You may not use ")


def test_the_probe_answers_as_the_original_does(agent: Agent, clp: Clp) -> None:
    assert clp("clphealthchk") == (0, "pm OK\nrc OK\nrm OK\nnm OK\n", "")
    assert clp("clphealthchk", "-t", "rm").out == "rm OK\n"
    for wrong in (("-t", "xx"), ("--bogus",), ("-t",), ("word",), ("--timeout", "soon")):
        assert clp("clphealthchk", *wrong).code == 2
    assert json.loads(clp("clphealthchk", "--bogus", "--json").out)["error"]["code"] == 2
    assert clp("clphealthchk", "-t", "xx").err.startswith("clphealthchk: -t xx: not one of pm,")
    agent.change(cluster(suspended=True))
    assert clp("clphealthchk").code == 12
    agent.change(cluster(status="Stopped"))
    assert clp("clphealthchk").code == 11


def test_the_probe_without_an_agent(clp: Clp) -> None:
    assert clp("clphealthchk").code == 11


def test_a_list_of_names_that_is_cut_says_how_many_are_left_out(agent: Agent, clp: Clp) -> None:
    state = sample_status()
    [group] = state.groups
    many = tuple(msgspec.structs.replace(group, name=f"failover{n}") for n in range(1, 21))
    agent.backend.state = msgspec.structs.replace(state, groups=many)
    ran = clp("clpgrp", "-n", "failovr7")
    shown = ran.err.splitlines()[1]
    assert shown.startswith("Known: failover7, ")
    assert shown.endswith(" and 12 more")
    assert faults.known(["a", "b"]) == "Known: a, b"
    assert faults.known([]) == ""
