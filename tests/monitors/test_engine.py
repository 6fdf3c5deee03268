"""Rounds of active monitors: when the core hears of them."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Awaitable, Callable

import pytest

from clptools.core.model.events import MonitorResult
from clptools.core.model.settings import Monitor, Settings
from clptools.faults import ClpError, ExitCode
from clptools.monitors import registry
from clptools.monitors.base import NORMAL, MonitorContext, ScriptEnd, Status, Verdict, error
from clptools.monitors.engine import Engine
from tests.conftest import LIMIT_S, until


async def no_script(
    name: str, path: str, timeout_ms: int, environment: dict[str, str]
) -> ScriptEnd:
    raise AssertionError("no script here")


class Rounds:
    """A kind of monitor whose verdicts the test gives, and what the core heard."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.verdict: Callable[[], Awaitable[Verdict]] | Verdict | Exception = NORMAL
        self.count = 0
        self.wanted = 0
        self.reached = asyncio.Event()
        self.heard: list[MonitorResult] = []
        module = types.ModuleType("tests.monitors.kind")
        module.check = self.check  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tests.monitors.kind", module)
        monkeypatch.setitem(registry.VARIANTS, "testw", "tests.monitors.kind")

    async def check(self, monitor: Monitor, context: MonitorContext) -> Verdict:
        self.count += 1
        if self.count == self.wanted:
            self.reached.set()
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict if isinstance(self.verdict, Verdict) else await self.verdict()

    def engine(self, **changes: object) -> Engine:
        values = {"name": "m", "type": "testw", "servers": ("server1",), "interval_ms": 10}
        self.settings = Settings(monitors=(Monitor(**{**values, **changes}),))  # type: ignore[arg-type]
        context = MonitorContext(server="server1", settings=self.settings, run_script=no_script)
        return Engine(context, self.heard.append)

    async def rounds(self, more: int) -> None:
        """Wait for that many further rounds, and for what they say."""
        self.reached = asyncio.Event()
        self.wanted = self.count + more
        # Woken by the round itself: one who polled might find two rounds more.
        await asyncio.wait_for(self.reached.wait(), LIMIT_S)
        await asyncio.sleep(0)

    @property
    def words(self) -> list[str]:
        return [result.status for result in self.heard]


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    return Rounds(monkeypatch)


async def test_normal_is_told_once_and_every_error_round_again(kind: Rounds) -> None:
    engine = kind.engine()
    engine.run("m", True)
    await kind.rounds(5)
    assert kind.words == ["normal"]
    kind.verdict = error("broken")
    await kind.rounds(4)
    assert kind.words[:3] == ["normal", "error", "error"] and kind.heard[1].text == "broken"
    kind.verdict = Verdict(status=Status.CAUTION, text="slow")
    await kind.rounds(4)
    kind.verdict = NORMAL
    await kind.rounds(4)
    assert kind.words[-2:] == ["caution", "normal"]
    await engine.close()


async def test_how_long_a_check_took_is_known_once_it_ended(kind: Rounds) -> None:
    gate = asyncio.Event()

    async def slow() -> Verdict:
        await gate.wait()
        return NORMAL

    kind.verdict = slow
    engine = kind.engine(interval_ms=60_000)
    engine.run("m", True)
    await kind.rounds(1)
    assert engine.took_s() == {}
    gate.set()
    await until(lambda: engine.took_s())
    assert engine.took_s()["m"] > 0
    engine.run("m", False)
    assert engine.took_s() == {}
    await engine.close()


async def test_retries_come_first_but_a_time_out_was_patience_enough(kind: Rounds) -> None:
    engine = kind.engine(retries=2, timeout_ms=1_500)
    engine.run("m", True)
    await kind.rounds(2)
    kind.verdict = error("broken")
    await kind.rounds(2)
    kind.verdict = NORMAL
    await kind.rounds(2)
    assert kind.words == ["normal"]
    kind.verdict = error("broken")
    await kind.rounds(5)
    assert "error" in kind.words
    kind.verdict = NORMAL
    await kind.rounds(2)
    heard = len(kind.heard)
    kind.verdict = TimeoutError()
    await kind.rounds(1)
    await asyncio.sleep(0)
    await kind.rounds(1)
    assert kind.heard[heard].text == "no answer within 1.5 s"
    await engine.close()


async def test_faults_are_errors_with_their_mend(kind: Rounds) -> None:
    engine = kind.engine()
    kind.verdict = ClpError(ExitCode.FAILED, "there is no eth7", "look at `ip link`")
    engine.run("m", True)
    await kind.rounds(2)
    assert kind.heard[0].text == "there is no eth7 (look at `ip link`)"
    kind.verdict = PermissionError(13, "Permission denied", "/x")
    await kind.rounds(3)
    assert kind.heard[-1].text == "/x: Permission denied"
    await engine.close()


async def test_what_nobody_foresaw_is_an_error_and_the_rounds_go_on(
    kind: Rounds, caplog: pytest.LogCaptureFixture
) -> None:
    engine = kind.engine()
    engine.run("m", True)
    await kind.rounds(2)
    kind.verdict = ValueError("40 is not a valid Signals")
    await kind.rounds(3)
    assert kind.heard[1].text == "cannot find out: ValueError: 40 is not a valid Signals"
    (line,) = caplog.messages
    assert line == "monitor m cannot find out: ValueError: 40 is not a valid Signals"
    kind.verdict = NORMAL
    await kind.rounds(2)
    assert kind.words[-1] == "normal"
    await engine.close()


async def test_the_first_round_waits_as_configured(kind: Rounds) -> None:
    engine = kind.engine(start_wait_ms=60_000)
    engine.run("m", True)
    await asyncio.sleep(0.05)
    assert kind.count == 0
    await engine.close()


async def test_dummy_failure_fails_at_once_and_ends_at_once(kind: Rounds) -> None:
    engine = kind.engine(interval_ms=60_000, retries=3)
    engine.run("m", True)
    await kind.rounds(1)
    engine.fault("m", True)
    await until(lambda: len(kind.heard) == 2)
    assert kind.words == ["normal", "error"] and "dummy" in kind.heard[1].text
    engine.fault("m", False)
    await kind.rounds(1)
    assert kind.words == ["normal", "error", "normal"]
    await engine.close()


async def test_a_suspended_monitor_says_nothing_of_a_round_under_way(kind: Rounds) -> None:
    release = asyncio.Event()
    ended: list[bool] = []

    async def slow() -> Verdict:
        await release.wait()
        ended.append(True)
        return error("late")

    kind.verdict = slow
    engine = kind.engine()
    engine.run("m", True)
    await kind.rounds(1)
    engine.run("m", False)
    release.set()
    await until(lambda: ended)
    await asyncio.sleep(0.03)
    assert ended == [True] and kind.heard == [] and kind.count == 1
    await engine.close()


async def test_a_changed_monitor_begins_anew_and_a_removed_one_ends(kind: Rounds) -> None:
    engine = kind.engine(interval_ms=60_000)
    engine.run("m", True)
    await kind.rounds(1)
    engine.apply(kind.settings)
    await asyncio.sleep(0.02)
    assert kind.count == 1, "the same configuration again changes nothing"
    changed = kind.engine(interval_ms=10)
    del changed
    engine.apply(kind.settings)
    await kind.rounds(3)
    engine.apply(Settings())
    count = kind.count
    await asyncio.sleep(0.05)
    assert kind.count <= count + 1
    await engine.close()


async def test_userw_and_message_monitors_have_no_rounds(kind: Rounds) -> None:
    for name in ("userw", "mrw"):
        engine = kind.engine(type=name)
        engine.run("m", True)
        await asyncio.sleep(0.03)
        await engine.close()
    assert kind.heard == []
