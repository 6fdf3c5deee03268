"""Agents tell the facts of their machines: bounded in time and size, whoever asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clptools import paths
from clptools.agent import facts
from clptools.agent.facts import MachineFacts, bounded
from clptools.api import messages as said
from clptools.core.model.machine import AccountFault, Facts
from clptools.core.model.settings import Settings
from clptools.faults import ClpError, ExitCode
from clptools.hardware import accounts
from tests.config.sample import BMCS, THREE, good


class Peers:
    """The other agents."""

    def __init__(self, **answers: Callable[[], Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []

    async def call(self, to: str, request: Any, reply: Any, timeout_s: float) -> Any:
        self.asked.append((to, request))
        found = self.answers[to]()
        return await found if asyncio.iscoroutine(found) else found


def _refuses() -> Any:
    raise ClpError(ExitCode.FAILED, "b cannot be reached")


@pytest.fixture(autouse=True)
def me(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLP_SERVER", "a")


def _machine(peers: Peers | None = None) -> MachineFacts:
    return MachineFacts("a", lambda: good(THREE), peers or Peers())


async def test_every_server_is_asked_and_who_does_not_answer_is_named() -> None:
    told = said.ToldFacts(facts=Facts(server="somebody else", clock="off"), wall=0.0)
    peers = Peers(b=_refuses, c=lambda: told)
    a, b, c = await _machine(peers).all(THREE)
    assert a.facts is not None and a.facts.server == "a" and not a.unreachable
    assert b.facts is None and b.unreachable == "b cannot be reached"
    assert c.facts is not None and c.facts.server == "c", "nobody speaks for another"
    assert c.clock_off_s < -1e9
    assert all(request.config == THREE for _, request in peers.asked)


async def test_a_server_that_is_silent_costs_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(facts, "WITHIN_S", 0.5)

    peers = Peers(b=lambda: asyncio.sleep(3600), c=_refuses)
    told = await asyncio.wait_for(_machine(peers).all(THREE), 30)
    assert "no answer within 0.5 s" in told[1].unreachable


@pytest.mark.parametrize("config", ["[[server", "x" * 600_000, 'server = "a"', "\0"])
async def test_what_is_no_configuration_is_refused(config: str) -> None:
    with pytest.raises(ClpError):
        await _machine().own(config)
    with pytest.raises(ClpError):
        await _machine().all(config)


async def test_who_asks_again_and_again_gets_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []

    def looked(self: MachineFacts, config: str) -> tuple[Facts, None]:
        looks.append(config)
        return Facts(server="a"), None

    monkeypatch.setattr(MachineFacts, "_gathered", looked)

    machine = _machine()
    await asyncio.gather(*(machine.own("") for _ in range(50)))
    assert looks == [""]


@pytest.mark.parametrize("there", [True, False])
async def test_the_own_account_is_asked_where_its_password_is_there(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    lacks = {"server1": AccountFault(text="it may switch no power", mend="Give it OPERATOR.")}
    asked: list[tuple[str, ...]] = []

    async def faults(
        settings: Settings, servers: tuple[str, ...], within_s: float
    ) -> dict[str, AccountFault]:
        asked.append(servers)
        return lacks

    monkeypatch.setattr(accounts, "account_faults", faults)
    if there:
        password = Path(paths.bmc_password_file("server1"))
        password.parent.mkdir(parents=True)
        password.touch(mode=0o400)
    monkeypatch.setenv("CLP_SERVER", "server1")
    found = await MachineFacts("server1", lambda: good(BMCS), Peers()).own("")
    assert (asked, found.bmc) == (([("server1",)], lacks) if there else ([], {}))


async def test_a_look_that_hangs_begins_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "_LOOK_S", 0.05)
    ends, looks = threading.Event(), []

    def hangs(self: MachineFacts, config: str) -> tuple[Facts, None]:
        looks.append(config)
        ends.wait()
        return Facts(server="a"), None

    monkeypatch.setattr(MachineFacts, "_gathered", hangs)

    machine = _machine()
    try:
        for _ in range(20):
            with pytest.raises(ClpError):
                await machine.own("")
        assert len(looks) == 1
    finally:
        ends.set()


def test_an_answer_is_never_too_long() -> None:
    many = frozenset(f"unit{number:06d}.service" for number in range(60_000))
    short = bounded(Facts(server="a", devices={"HA/AM": many}, processes=many))
    assert short.devices == {} and len(short.processes) == 4096
    assert bounded(Facts(server="a", absent=many, watchdogs={"softdog": "gone"})) == (
        Facts(server="a", watchdogs={"softdog": "gone"})
    )
