"""`clprexec` from a machine that is no server but has the key file."""

from __future__ import annotations

import asyncio
import base64
import functools
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from clptools.api.messages import AcceptKey, AskConfig, AskNewKey, Transaction
from clptools.arbiters.witness import witness_key
from clptools.core.model.requests import ExternalNotice, Outcome
from clptools.faults import ClpError, ExitCode
from clptools.links.connection import call_from_outside as call
from clptools.links.credentials import OUTSIDE, derive, outside_key
from tests.conftest import LIMIT_S, free_port, until
from tests.links.test_peer import KEY, Agent, agents, cluster

NOTICE = Transaction(request=ExternalNotice(category="MY", text="disk is full"), user="admin")


async def with_agent(ask: Callable[[int], Any]) -> tuple[Any, Agent]:
    """`ask(port)` in a thread while an agent serves; what it gave, and the agent."""
    settings = cluster(free_port())
    async with agents(settings, "server2") as (two,):
        return await asyncio.to_thread(ask, settings.cluster.port), two


async def test_a_notice_is_taken_and_answered() -> None:
    outcome, agent = await with_agent(
        lambda port: call("127.78.1.2", port, KEY, NOTICE, Outcome, LIMIT_S)
    )
    assert outcome == Outcome(text=f"done for {OUTSIDE}")
    assert agent.asked == [(OUTSIDE, NOTICE)]
    # The address that it called from, whatever it says of itself.
    assert (agent.sources, agent.denied) == (["127.0.0.1"], [])


def fault(ask: Callable[[], Any]) -> ClpError:
    with pytest.raises(ClpError) as caught:
        ask()
    return caught.value


@pytest.mark.parametrize("request_", [AskConfig(), AskNewKey(), AcceptKey(key=bytes(32))])
async def test_what_only_a_server_may_ask_is_refused(request_: msgspec.Struct) -> None:
    seen, agent = await with_agent(
        lambda port: fault(lambda: call("127.78.1.2", port, KEY, request_, Outcome, LIMIT_S))
    )
    assert seen.code == ExitCode.NOT_PERMITTED
    assert agent.asked == []
    assert agent.denied == [("127.0.0.1", "only a server of the cluster may ask this")]


async def test_a_named_secret_asks_until_its_name_is_revoked_and_others_go_on() -> None:
    settings = cluster(free_port())
    port = settings.cluster.port
    async with agents(settings, "server2") as (two,):

        async def asked(key: bytes) -> Any:
            ask = functools.partial(call, "127.78.1.2", port, key, NOTICE, Outcome, LIMIT_S)
            return await asyncio.to_thread(ask)

        backup, console = outside_key(KEY, "backup"), outside_key(KEY, "console")
        assert (await asked(backup)).text == f"done for {OUTSIDE}"
        revoking = msgspec.structs.replace(settings.cluster, revoked=("backup",))
        two.channel.apply(msgspec.structs.replace(settings, cluster=revoking))
        with pytest.raises(ClpError, match="its secret backup is revoked") as told:
            await asked(backup)
        assert told.value.code == ExitCode.NOT_PERMITTED
        assert two.denied == [("127.0.0.1", "its secret backup is revoked")]
        for key in (console, outside_key(KEY), KEY):
            assert (await asked(key)).text == f"done for {OUTSIDE}"


async def test_another_key_is_not_permitted_and_says_what_to_give() -> None:
    seen, _ = await with_agent(
        lambda port: fault(lambda: call("127.78.1.2", port, b"x" * 32, NOTICE, Outcome, LIMIT_S))
    )
    assert (seen.code, "--key" in seen.hint) == (ExitCode.NOT_PERMITTED, True)
    short = fault(lambda: call("127.78.1.2", 1, b"x", NOTICE, Outcome, LIMIT_S))
    assert short.code == ExitCode.NOT_PERMITTED


async def test_a_caller_with_another_key_is_told_of_where_it_knocked() -> None:
    settings = cluster(free_port())
    async with agents(settings, "server2") as (two,):
        port = settings.cluster.port
        wrong = functools.partial(call, "127.78.1.2", port, b"x" * 32, NOTICE, Outcome, LIMIT_S)
        await asyncio.to_thread(fault, wrong)
        await until(lambda: two.denied)
        assert two.denied == [("127.0.0.1", "it does not have the cluster's key")]


def test_nobody_there() -> None:
    seen = fault(lambda: call("127.78.1.2", free_port(), KEY, NOTICE, Outcome, LIMIT_S))
    assert seen.code == ExitCode.NO_AGENT


def test_one_that_accepts_and_is_silent_or_hangs_up() -> None:
    with socket.create_server(("127.78.1.3", 0)) as server:
        port = server.getsockname()[1]
        seen = fault(lambda: call("127.78.1.3", port, KEY, NOTICE, Outcome, 0.3))
        assert seen.code == ExitCode.TIMED_OUT

        def hang_up() -> None:
            for _ in range(2):
                server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        seen = fault(lambda: call("127.78.1.3", port, KEY, NOTICE, Outcome, LIMIT_S))
        thread.join(5)
        assert seen.code == ExitCode.FAILED


async def test_an_agent_that_does_not_answer_in_time() -> None:
    settings = cluster(free_port())
    two = Agent("server2")
    two.hold.clear()
    await two.channel.start(settings)
    seen = await asyncio.to_thread(
        fault, lambda: call("127.78.1.2", settings.cluster.port, KEY, NOTICE, Outcome, 0.5)
    )
    assert seen.code == ExitCode.TIMED_OUT
    await two.channel.close()


async def test_a_derived_key_asks_what_a_caller_outside_may_ask_and_no_more() -> None:
    key = outside_key(KEY)
    outcome, agent = await with_agent(
        lambda port: call("127.78.1.2", port, key, NOTICE, Outcome, LIMIT_S)
    )
    assert outcome == Outcome(text=f"done for {OUTSIDE}")
    assert agent.asked == [(OUTSIDE, NOTICE)]
    seen, agent = await with_agent(
        lambda port: fault(lambda: call("127.78.1.2", port, key, AskConfig(), Outcome, LIMIT_S))
    )
    assert seen.code == ExitCode.NOT_PERMITTED
    assert agent.denied == [("127.0.0.1", "only a server of the cluster may ask this")]


def test_a_derived_key_holds_neither_the_authkey_nor_that_of_the_authority() -> None:
    held = outside_key(KEY)
    (private,) = re.findall(b"-----BEGIN PRIVATE KEY-----.*?-----END", held)
    secret = base64.b64decode(private.split(b"-----")[2].replace(rb"\n", b""))[-32:]
    assert secret == derive(KEY, f"identity {OUTSIDE}")
    for foreign in (KEY, derive(KEY, "authority"), derive(KEY, "identity server1")):
        assert foreign not in held
        assert base64.b64encode(foreign)[:-4] not in held


@pytest.mark.parametrize(
    "key",
    [
        witness_key(KEY),
        outside_key(KEY)[:-9],
        outside_key(KEY).replace(b"BEGIN CERTIFICATE", b"BEGIN CERTAINTY"),
        b'{"for":',
    ],
)
def test_a_key_for_another_purpose_or_cut_short_is_no_key(key: bytes) -> None:
    seen = fault(lambda: call("127.78.1.2", free_port(), key, NOTICE, Outcome, LIMIT_S))
    assert seen.code == ExitCode.NOT_PERMITTED
    assert seen.message.startswith("the key cannot be used: ")
    assert "PRIVATE" not in seen.message
