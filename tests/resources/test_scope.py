"""Scripts move into scopes where systemd runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from dbus_fast import Message, MessageType

from clptools.core.model.settings import Group, Resource, Settings
from clptools.resources import exec as exec_type
from clptools.resources import registry
from clptools.resources.exec import Scopes, unit_name
from clptools.resources.script import Script, ScriptRunner
from tests.conftest import LIMIT_S
from tests.resources.conftest import MakeScript
from tests.resources.test_service import Manager, bus, pytestmark

__all__ = ["bus", "pytestmark"]


class ScopeManager(Manager):
    """Takes transient units, or refuses them."""

    def __init__(self) -> None:
        super().__init__()
        self.units: list[tuple[str, dict[str, object]]] = []
        self.refuse = ""

    def handle(self, message: Message) -> Message | None:
        if (
            message.message_type is MessageType.METHOD_CALL
            and message.member == "StartTransientUnit"
        ):
            if self.refuse:
                return Message.new_error(message, "org.freedesktop.systemd1.X", self.refuse)
            name, mode, properties, _ = message.body
            assert mode == "fail"
            self.units.append((name, {key: value.value for key, value in properties}))
            return Message.new_method_return(message, "o", ["/org/freedesktop/systemd1/job/1"])
        return super().handle(message)


@pytest.fixture
def booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_type, "BOOTED", str(tmp_path))


def run(path: str, manager: ScopeManager, lines: list[str]) -> None:
    async def main() -> None:
        await manager.connect()
        scopes = Scopes(lines.append)
        runner = ScriptRunner(place=scopes.place)
        script = Script(name="failover1/exec1", path=path, timeout_ms=20_000)
        running = asyncio.create_task(runner.run(script))
        async with asyncio.timeout(LIMIT_S):
            while not (manager.units or lines):
                await asyncio.sleep(0.01)
        Path(path).with_name("go").touch()
        assert (await running).ok
        scopes.close()
        manager.bus.disconnect()

    asyncio.run(main())


WAITING = "while [ ! -e $(dirname $0)/go ]; do sleep 0.01; done\n"


def test_a_script_gets_a_scope_that_is_stopped_after_the_agent(
    make_script: MakeScript, booted: None
) -> None:
    manager = ScopeManager()
    lines: list[str] = []
    run(make_script("g/start.sh", WAITING), manager, lines)
    ((name, properties),) = manager.units
    (pid,) = properties["PIDs"]  # type: ignore[misc]
    assert name == f"clptools-failover1-exec1-{pid}.scope" and lines == []
    assert properties["Before"] == ["clpnode.service"]


def test_a_refusal_is_a_line_and_no_more(make_script: MakeScript, booted: None) -> None:
    manager = ScopeManager()
    manager.refuse = "no more units"
    lines: list[str] = []
    run(make_script("g/start.sh", WAITING), manager, lines)
    assert "no more units" in lines[0]


async def test_without_systemd_nothing_is_asked(
    make_script: MakeScript, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_type, "BOOTED", str(tmp_path / "none"))

    scopes = Scopes(lambda line: pytest.fail(line))
    runner = ScriptRunner(place=scopes.place)
    path = make_script("g/start.sh", "exit 0\n")
    assert (await runner.run(Script(name="g/r", path=path, timeout_ms=20_000))).ok
    scopes.close()


def test_names_are_what_systemd_allows() -> None:
    assert unit_name("recovery/mrw1:3", 7) == "clptools-recovery-mrw1-3-7.scope"


def test_what_is_configured_is_loaded_before_it_is_needed() -> None:
    kinds = ("exec", "fip", "service")
    resources = tuple(Resource(name=kind, type=kind) for kind in kinds)
    registry.warm_up(Settings(groups=(Group(name="g", servers=(), resources=resources),)))
