"""A floating address that somebody takes away, on a wire between two hosts."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from clptools.core.model.settings import Option, Resource
from clptools.resources import address_keeper
from clptools.resources.operations import ResourceContext
from clptools.resources.registry import perform, watch
from clptools.resources.script import ScriptRunner
from tests.conftest import LIMIT_S
from tests.namespaces import inside, ip, wire
from tests.resources.test_fip import ADDRESS, ADDRESS6, addresses, listen, mac

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

_WITHIN_S = 20.0


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    with wire() as names:
        yield names


class Told:
    """What the resource said."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.lost: list[str] = []


def _given(told: Told, **options: Option) -> tuple[Resource, ResourceContext]:
    resource = Resource(
        name="fip1",
        type="fip",
        start_timeout_ms=20_000,
        stop_timeout_ms=20_000,
        options={"address": ADDRESS, "announcements": 1} | options,
    )
    context = ResourceContext(
        server="server1",
        group="failover1",
        event="START",
        run=ScriptRunner().run,
        log=told.log.append,
        lost=told.lost.append,
    )
    return resource, context


@asynccontextmanager
async def _online(told: Told, **options: Option) -> AsyncIterator[None]:
    resource, context = _given(told, **options)
    outcome = await perform(resource, "start", context)
    assert outcome.ok, outcome.text
    try:
        yield
    finally:
        assert (await perform(resource, "stop", context)).ok


async def _until(found: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not found():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("network", [ADDRESS, ADDRESS6])
def test_an_address_that_is_taken_away_is_put_back_and_stays_away_once_stopped(
    hosts: tuple[str, str], network: str
) -> None:
    told = Told()

    async def main() -> None:
        async with _online(told, address=network):
            ip("address", "del", network, "dev", "eth0", netns=hosts[0])
            await _until(lambda: network in addresses(hosts[0]), "put back")
            await _until(lambda: told.log, "told")
        assert network not in addresses(hosts[0])
        await asyncio.sleep(2 * address_keeper.SPACING_S)

    inside(hosts[0], main())
    assert network not in addresses(hosts[0])
    assert "taken away from eth0" in told.log[0] and not told.lost


@pytest.mark.parametrize("network", [ADDRESS, ADDRESS6])
def test_a_link_that_bounces_has_its_address_again(hosts: tuple[str, str], network: str) -> None:
    """The kernel takes IPv6 addresses away from an interface that goes down."""
    told = Told()

    async def main() -> None:
        async with _online(told, address=network):
            ip("link", "set", "eth0", "down", netns=hosts[0])
            await asyncio.sleep(2 * address_keeper.SPACING_S)
            ip("link", "set", "eth0", "up", netns=hosts[0])
            await _until(lambda: network in addresses(hosts[0]), "put back")

    inside(hosts[0], main())
    assert not told.lost


def _heard(
    hosts: tuple[str, str], change: Callable[[], None], limit_s: float, **options: Option
) -> int:
    """How many announcements the other host hears after `change`, while the address stays."""
    with concurrent.futures.ThreadPoolExecutor() as pool:

        async def main() -> int:
            async with _online(Told(), announcements=0, **options):
                heard = pool.submit(inside, hosts[1], listen(mac(hosts[0]), "10.9.0.100", limit_s))
                while not heard.done():
                    change()
                    await asyncio.sleep(0.1)
                return heard.result()

        return inside(hosts[0], main())


def test_it_is_announced_slowly_for_ever(hosts: tuple[str, str]) -> None:
    assert _heard(hosts, lambda: None, LIMIT_S, announce_interval=1) == 2
    # Three times as long as it takes at an interval of 1.
    assert _heard(hosts, lambda: None, 3.0, announce_interval=0) == 0


def test_it_is_announced_when_the_carrier_returns(hosts: tuple[str, str]) -> None:
    sent: list[str] = []
    told = Told()

    async def main() -> None:
        async with _online(told):
            sent.clear()
            ip("link", "set", "eth0", "down", netns=hosts[1])
            await asyncio.sleep(3 * address_keeper.SPACING_S)
            ip("link", "set", "eth0", "up", netns=hosts[1])
            await _until(lambda: sent, "announced")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(address_keeper, "announce_often", lambda port, ip, times: sent.append(ip))
        inside(hosts[0], main())
    assert not told.log and not told.lost


def test_an_address_that_another_machine_took_is_lost(hosts: tuple[str, str]) -> None:
    told = Told()

    async def main() -> None:
        async with _online(told):
            ip("address", "add", ADDRESS, "dev", "eth0", "nodad", netns=hosts[1])
            ip("address", "del", ADDRESS, "dev", "eth0", netns=hosts[0])
            await _until(lambda: told.lost, "lost")

    inside(hosts[0], main())
    assert "10.9.0.100 is gone and not put back: 10.9.0.100 is in use already" in told.lost[0]


def test_an_interface_that_stays_down_loses_it(
    hosts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address_keeper, "PATIENCE_S", 0.5)
    told = Told()

    async def main() -> None:
        async with _online(told, address=ADDRESS6):
            ip("link", "set", "eth0", "down", netns=hosts[0])
            await _until(lambda: told.lost, "lost")

    inside(hosts[0], main())
    assert "interface eth0 is down" in told.lost[0]


def test_an_agent_that_starts_again_goes_on_with_it(hosts: tuple[str, str]) -> None:
    told = Told()
    ip("address", "add", ADDRESS, "dev", "eth0", netns=hosts[0])

    async def main() -> None:
        resource, context = _given(told)
        await watch(resource, context)
        ip("address", "del", ADDRESS, "dev", "eth0", netns=hosts[0])
        await _until(lambda: ADDRESS in addresses(hosts[0]), "put back")
        assert (await perform(resource, "stop", context)).ok

    inside(hosts[0], main())
    assert ADDRESS not in addresses(hosts[0])
