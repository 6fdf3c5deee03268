"""`clpledctrl` and `clpbwctrl` as people run them."""

from __future__ import annotations

import json

import msgspec

from tests.api.fake import Agent, sample_status
from tests.cli.conftest import Clp


def test_the_led_of_a_named_server_and_of_our_own(agent: Agent, clp: Clp) -> None:
    assert clp("clpledctrl", "-i").out == "server1: identify LED on.\n"
    assert clp("clpledctrl", "-d", "-h", "server9").out == "server9: identify LED off.\n"
    assert [(server, on) for server, on, _ in agent.backend.lit] == [
        ("server1", True),
        ("server9", False),
    ]


def test_all_servers_are_tried_and_who_failed_is_named(agent: Agent, clp: Clp) -> None:
    ran = clp("clpledctrl", "-i", "-a")
    assert ran.code == 1
    assert "BMC of server2 (10.0.0.2:623): no answer" in ran.err
    assert "; server1: identify LED on." in ran.err
    assert len(agent.backend.lit) == 1


def test_on_or_off_and_one_way_to_name_servers(agent: Agent, clp: Clp) -> None:
    assert clp("clpledctrl").code == 2
    assert clp("clpledctrl", "-i", "-d").code == 2
    assert clp("clpledctrl", "-i", "-a", "-h", "server2").code == 2


def test_no_wait_is_nothing_to_cancel(agent: Agent, clp: Clp) -> None:
    ran = clp("clpbwctrl", "-c")
    assert (ran.code, ran.out) == (0, "server1 waits for no server.\n")
    assert clp("clpbwctrl").code == 2


def test_a_wait_is_not_cancelled_without_proof(agent: Agent, clp: Clp) -> None:
    state = sample_status()
    own = msgspec.structs.replace(state.servers[0], newcomer=True, lacks=("server2",))
    agent.backend.state = msgspec.structs.replace(state, servers=(own, state.servers[1]))
    ran = clp("clpbwctrl", "-c", "--json")
    assert ran.code == 6
    error = json.loads(ran.out or ran.err)["error"]
    assert error["message"].startswith("server1 waits for server2: without a proof")
    assert error["hint"].endswith("clpnode confirm-down server2 --yes")


def test_a_trap_that_was_typed_wrongly_is_wrong_usage(clp: Clp) -> None:
    for words in (
        ("--specific", "abc"),
        ("--specific", "5", "--octets", "xyz"),
        ("nothexadecimal",),
    ):
        ran = clp("clptrap", "decode", *words)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("clptrap: No trap: ")
