"""The arbiters as the agent uses them: one call at a time, given back, changed, closed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from clptools.arbiters import np_resolution
from clptools.arbiters.base import ArbiterContext, Held
from clptools.arbiters.notices import ArbiterAnswers, ArbiterSilent
from clptools.arbiters.np_resolution import Arbiters
from clptools.arbiters.registry import FIELDS, VARIANTS
from clptools.core.model.settings import Arbiter, Cluster, Option, Server, Settings
from tests.arbiters.parts import AUTHKEY, shared_file
from tests.conftest import until
from tests.noticed import Noticed


class Slow:
    """An arbiter that answers when it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.may_answer = asyncio.Event()
        self.closed = False

    async def hold(self, lease_ms: int) -> Held:
        """Held, in the end."""
        self.calls.append("hold")
        await self.may_answer.wait()
        return Held(held=True)

    async def release(self) -> None:
        """Given back."""
        self.calls.append("release")

    async def close(self) -> None:
        """Closed."""
        self.closed = True


def settings(*arbiters: Arbiter) -> Settings:
    servers = (Server(name="server1"), Server(name="server2"))
    return Settings(cluster=Cluster(name="prod"), servers=servers, arbiters=arbiters)


said = Noticed()
"""What the agent's log would have."""

NP = Arbiter(name="np", type="etcd", timeout_ms=300, options={"endpoints": ("http://[::1]:1",)})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Slow]:
    said.clear()
    found: list[Slow] = []

    def build(_: Arbiter, __: ArbiterContext) -> Slow:
        found.append(Slow())
        return found[-1]

    monkeypatch.setattr(np_resolution, "import_module", lambda _: SimpleNamespace(build=build))
    return found


async def test_an_answer_under_way_when_it_is_given_back_is_void(made: list[Slow]) -> None:
    arbiters = Arbiters("server1", AUTHKEY, said.take)
    arbiters.apply(settings(NP))
    first = asyncio.create_task(arbiters.hold("np", 3000, 1))
    await asyncio.sleep(0)
    release = asyncio.create_task(arbiters.release("np"))
    second = asyncio.create_task(arbiters.hold("np", 3000, 2))
    await until(lambda: made[0].calls)
    for _ in range(10):  # the others would have their turn
        await asyncio.sleep(0)
    assert made[0].calls == ["hold"], "one at a time"
    made[0].may_answer.set()
    assert not (await first).held
    await release
    answer = await second
    assert (answer.held, answer.asked_at) == (True, 2)
    assert made[0].calls == ["hold", "release", "hold"], "in order"
    await arbiters.close()


async def test_no_call_waits_for_ever(made: list[Slow]) -> None:
    arbiters = Arbiters("server1", AUTHKEY, said.take)
    arbiters.apply(settings(NP))
    answers = await asyncio.gather(*(arbiters.hold("np", 3000, n) for n in range(5)))
    assert {answer.error for answer in answers} == {"np: no answer within 0.3 s"}
    assert said == ["NP resolution cannot decide: np: no answer within 0.3 s"], "once"
    made[0].may_answer.set()
    assert (await arbiters.hold("np", 3000, 6)).held
    assert said[1:] == ["NP resolution np answers again"]
    assert said.kinds == [ArbiterSilent, ArbiterAnswers]
    await arbiters.release("np")
    await arbiters.close()
    assert made[0].closed


async def test_a_changed_configuration_keeps_what_did_not_change(made: list[Slow]) -> None:
    arbiters = Arbiters("server1", AUTHKEY, said.take)
    arbiters.apply(settings(NP))
    arbiters.apply(settings(NP, Arbiter(name="m", type="majority")))
    assert len(made) == 1
    changed = Arbiter(name="np", type="etcd", timeout_ms=500, options=NP.options)
    arbiters.apply(settings(changed))
    assert len(made) == 2
    await asyncio.sleep(0)
    assert made[0].closed
    arbiters.apply(settings())
    answer = await arbiters.hold("np", 3000, 7)
    assert (answer.held, answer.asked_at) == (False, 7)
    assert answer.error == "np is not in the configuration any more"
    await arbiters.release("np")
    await arbiters.close()


async def test_every_type_has_its_module_and_its_keys(tmp_path: Path) -> None:
    assert {*VARIANTS, "majority"} == set(FIELDS)

    options: dict[str, dict[str, Option]] = {
        "ping": {"targets": ("127.0.0.1",)},
        "http": {"url": "http://127.0.0.1:1"},
        "witness": {"url": "http://127.0.0.1:1"},
        "disk": {"path": str(shared_file(tmp_path))},
        "etcd": {"endpoints": ("http://127.0.0.1:1",)},
    }
    arbiters = Arbiters("server1", AUTHKEY, said.take)
    arbiters.apply(settings(*(Arbiter(name=n, type=n, options=options[n]) for n in VARIANTS)))
    for name in VARIANTS:
        answer = await arbiters.hold(name, 3000, 1)
        assert answer.name == name
        assert answer.held == (name == "ping")
        assert name == "ping" or answer.error.startswith(f"{name}: ")
        await arbiters.release(name)
    await arbiters.close()


def test_the_authkey_is_in_no_text() -> None:
    context = ArbiterContext(cluster="prod", server="server1", authkey=AUTHKEY, timeout_ms=1)
    assert repr(AUTHKEY)[2:-1] not in f"{context} {context!r}"
