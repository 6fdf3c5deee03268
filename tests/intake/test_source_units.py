"""HA/AM: units by a real bus and a manager that speaks as systemd does, real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from clptools.common import system_bus
from clptools.core.model.settings import Monitor
from clptools.intake import units
from tests.intake.source_room import Heard, mrw
from tests.own_bus import needs_bus, own_bus


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A bus of its own, where the system bus is looked for."""
    with own_bus(tmp_path, monkeypatch) as daemon:
        yield daemon


class Manager:
    """systemd, as far as it is watched."""

    def __init__(self) -> None:
        self.states: dict[str, tuple[str, str]] = {}
        self.pids: dict[str, int] = {}
        self.bus: MessageBus
        self.watcher = ""
        """Who asks, on the bus."""

    def path(self, unit: str) -> str:
        return f"{system_bus.PATH}/unit/{unit.replace('-', '_2d').replace('.', '_2e')}"

    def handle(self, message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        self.watcher = str(message.sender)
        if message.member == "LoadUnit":
            return Message.new_method_return(message, "o", [self.path(message.body[0])])
        unit = next((u for u in self.states if self.path(u) == message.path), "")
        if message.member == "GetAll":
            state, sub = self.states[unit]
            values = {"ActiveState": Variant("s", state), "SubState": Variant("s", sub)}
            return Message.new_method_return(message, "a{sv}", [values])
        if message.member == "Get":
            value = (
                Variant("u", self.pids.get(unit, 0))
                if message.body[1] == "MainPID"
                else Variant("s", self.states[unit][0])
            )
            return Message.new_method_return(message, "v", [value])
        return Message.new_method_return(message)

    async def change(self, unit: str, state: str, sub: str) -> None:
        self.states[unit] = (state, sub)
        await self.bus.send(self.signal(unit, state, sub))

    def signal(self, unit: str, state: str, sub: str, to: str | None = None) -> Message:
        values = {"ActiveState": Variant("s", state), "SubState": Variant("s", sub)}
        return Message(
            message_type=MessageType.SIGNAL,
            destination=to,
            path=self.path(unit),
            interface=system_bus.PROPERTIES,
            member="PropertiesChanged",
            signature="sa{sv}as",
            body=[system_bus.UNIT, values, []],
        )

    async def execute_anew(self) -> None:
        """As `systemctl daemon-reexec`: its connection to the bus is another."""
        self.bus.disconnect()
        self.bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        self.bus.add_message_handler(self.handle)
        await self.bus.request_name(system_bus.NAME)


@asynccontextmanager
async def managed(**states: str) -> AsyncIterator[Manager]:
    manager = Manager()
    manager.states = {f"{name}.service": (state, "running") for name, state in states.items()}
    manager.bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    manager.bus.add_message_handler(manager.handle)
    await manager.bus.request_name(system_bus.NAME)
    try:
        yield manager
    finally:
        manager.bus.disconnect()


async def settled(manager: Manager, heard: Heard) -> None:
    """Until the source has its subscriptions: it then hears what a marker unit does."""
    manager.states["marker.service"] = ("active", "running")
    while not any(e.keyword == "marker" for e in heard.told):
        await manager.change("marker.service", "failed", "failed")
        await asyncio.sleep(0.02)
        await manager.change("marker.service", "active", "running")
    heard.told[:] = [e for e in heard.told if e.keyword != "marker"]


@asynccontextmanager
async def watching(*monitors: Monitor, **states: str) -> AsyncIterator[tuple[Manager, Heard]]:
    """Units in some states, and the source that knows them."""
    marker = mrw("HA/AM", "marker")
    async with managed(**states) as manager, Heard(*monitors, marker) as heard:
        await settled(manager, heard)
        yield manager, heard


def others(heard: Heard) -> list[str]:
    return [line for line in heard.lines if not line.startswith("marker")]


@needs_bus
@pytest.mark.usefixtures("bus")
async def test_a_unit_that_fails_and_comes_back() -> None:
    async with watching(mrw("HA/AM", "db.service"), db="active") as (manager, heard):
        await manager.change("db.service", "failed", "failed")
        await heard.until(lambda: others(heard))
        await manager.change("db.service", "activating", "start")
        await manager.change("db.service", "active", "running")
        await heard.until(lambda: len(others(heard)) == 2)
        assert others(heard) == [
            "db.service#failed error: db.service has failed",
            "db.service#failed ok: db.service is active",
        ]


@needs_bus
@pytest.mark.usefixtures("bus")
async def test_a_unit_that_loops() -> None:
    one = mrw("HA/AM", "web", loop_count=3, flap_window_ms=3_000)
    async with watching(one, web="active") as (manager, heard):
        for _ in range(3):
            assert not others(heard)
            await manager.change("web.service", "activating", "auto-restart")
            await manager.change("web.service", "active", "running")
        await heard.until(lambda: len(others(heard)) == 2)
        assert others(heard) == [
            "web#loop error: web.service was restarted 3 times within 3 s",
            "web#loop ok: web.service is not restarted any more",
        ]


@needs_bus
@pytest.mark.usefixtures("bus")
async def test_a_main_process_that_is_gone_but_not_by_an_orderly_stop() -> None:
    async with watching(mrw("HA/AM", "db"), db="active") as (manager, heard):
        first, second = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
        manager.pids["db.service"] = first.pid
        await manager.change("db.service", "active", "exited")
        first.kill()
        await heard.until(lambda: others(heard))
        manager.pids["db.service"] = second.pid
        await manager.change("db.service", "activating", "auto-restart")
        await manager.change("db.service", "active", "running")
        await heard.until(lambda: len(others(heard)) == 2)
        # An orderly stop says so before it ends the process.
        await manager.change("db.service", "deactivating", "stop-sigterm")
        second.kill()
        second.wait()
        await manager.change("db.service", "inactive", "dead")
        await settled(manager, heard)
        assert others(heard) == [
            f"db#process error: db.service: the main process {first.pid} is gone",
            f"db#process ok: db.service runs again, process {second.pid}",
        ]
        first.wait()


@needs_bus
@pytest.mark.usefixtures("bus")
async def test_nothing_happened() -> None:
    """Units start and stop, others fail at their own monitors' cost; db is well."""
    async with watching(mrw("HA/AM", "db"), db="active") as (manager, heard):
        for number in range(30):
            other = f"job-{number}.service"
            await manager.change(other, "activating", "start")
            await manager.change(other, "failed", "failed")
            await manager.change("db.service", "reloading", "reload")
            await manager.change("db.service", "active", "running")
        await settled(manager, heard)
        assert others(heard) == [] and heard.notes == []


@needs_bus
@pytest.mark.usefixtures("bus")
async def test_without_keyword_any_service_counts() -> None:
    async with watching(mrw("HA/AM")) as (manager, heard):
        await manager.change("a-b.service", "failed", "failed")
        await manager.change("c.timer", "failed", "failed")
        await settled(manager, heard)
        assert others(heard) == ["a-b.service#failed error: a-b.service has failed"]


@needs_bus
@pytest.mark.usefixtures("bus")
async def test_what_any_local_user_says_of_units_counts_for_nothing() -> None:
    async with watching(mrw("HA/AM", "db"), mrw("HA/AM"), db="active") as (manager, heard):
        user = await MessageBus(bus_type=BusType.SYSTEM).connect()
        for unit in ("db.service", "invented.service"):
            for to in (None, manager.watcher):
                await user.send(manager.signal(unit, "failed", "failed", to))
        await user.introspect("org.freedesktop.DBus", "/")  # the bus has passed them on
        await settled(manager, heard)
        assert others(heard) == []
        await manager.change("db.service", "failed", "failed")
        await heard.until(lambda: others(heard))
        user.disconnect()


@needs_bus
@pytest.mark.usefixtures("bus")
async def test_a_systemd_that_is_executed_anew_is_heard_on() -> None:
    async with watching(mrw("HA/AM", "db"), mrw("HA/AM", "web"), db="active", web="active") as (
        manager,
        heard,
    ):
        manager.states["web.service"] = ("failed", "failed")  # nobody is told
        await manager.execute_anew()
        await heard.until(lambda: others(heard))
        await manager.change("db.service", "failed", "failed")
        await heard.until(lambda: len(others(heard)) == 2)
        assert others(heard) == [
            "web#failed error: web.service has failed",
            "db#failed error: db.service has failed",
        ]


@needs_bus
@pytest.mark.usefixtures("bus")
async def test_units_that_come_and_go_are_not_remembered_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[units.Units] = []

    class Kept(units.Units):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(units, "Units", Kept)
    monkeypatch.setattr(units, "MOST_UNITS", 10)

    async with watching(mrw("HA/AM"), mrw("HA/AM", "db"), db="active") as (manager, heard):
        for number in range(20):
            await manager.change(f"run-{number}.service", "active", "running")
            await manager.change(f"run-{number}.service", "inactive", "dead")
        await settled(manager, heard)
        assert len(made[0]._units) == 10
        await manager.change("run-0.service", "failed", "failed")
        await manager.change("db.service", "failed", "failed")
        await heard.until(lambda: len(others(heard)) == 2)


@needs_bus
async def test_a_bus_that_goes_away_is_noted_once_and_found_again(
    bus: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "AGAIN_S", (0.02, 0.02))

    async with watching(mrw("HA/AM", "db"), db="active") as (_, heard):
        bus.kill()
        await heard.until(lambda: heard.notes)
        await asyncio.sleep(0.2)
        (note,) = heard.notes
        assert note.startswith("Units are not seen: systemd cannot be asked over D-Bus")


async def test_a_pid_file(tmp_path: Path) -> None:
    path = tmp_path / "app.pid"

    first = subprocess.Popen(["sleep", "60"])
    path.write_text(f"{first.pid}\n")
    async with Heard(mrw("HA/AM", "app", pid_file={"server1": str(path)})) as heard:
        await asyncio.sleep(0.1)
        assert heard.told == []
        first.kill()
        event = await heard.count(1)
        assert event.text == f"app: the main process {first.pid} is gone"
        second = subprocess.Popen(["sleep", "60"])
        path.write_text(f"{second.pid}\n")
        assert (await heard.count(2)).recovered
    second.kill()
    first.wait()
    second.wait()


async def test_a_pid_file_that_holds_no_process_holds_nothing_up(tmp_path: Path) -> None:
    """Its directory may be the application's own user's: a FIFO there, or any number."""
    fifo, number = tmp_path / "fifo.pid", tmp_path / "number.pid"
    os.mkfifo(fifo)
    number.write_text("9" * 30)
    monitors = [mrw("HA/AM", p.stem, pid_file={"server1": str(p)}) for p in (fifo, number)]
    gone = [f"HA/AM/{p.stem}#process" for p in (fifo, number)]

    async with Heard(*monitors, was_open=gone) as heard:
        await asyncio.sleep(0.3)
        assert heard.notes == [] and heard.told == []
        fifo.unlink()
        for path in (fifo, number):
            path.write_text(f"{os.getpid()}\n")
        assert (await heard.count(1)).recovered and (await heard.count(2)).recovered


async def test_a_health_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    script = tmp_path / "etc/clptools/scripts/monitor.s/mrw-app/health.sh"
    script.parent.mkdir(parents=True)

    def write(body: str) -> None:
        new = script.with_suffix(".new")
        new.write_text(f"#!/bin/sh\n{body}\n")
        new.chmod(0o755)
        new.rename(script)

    one = msgspec.structs.replace(
        mrw("HA/AM", "app", health_command="health.sh"),
        interval_ms=20, timeout_ms=2_000, retries=1,
    )  # fmt: skip

    write("exit 0")
    async with Heard(one) as heard:
        await asyncio.sleep(0.2)
        assert heard.told == []
        write('echo "no answer from $CLP_KEYWORD"; exit 3')
        event = await heard.count(1)
        said = "app: the health command says no answer from app (exit status 3)"
        assert event.text == said
        write("yes | head -c 3000000; exit 0")
        assert (await heard.count(2)).recovered


async def test_a_health_command_that_hangs_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    script = tmp_path / "hang.sh"
    script.write_text(f"#!/bin/sh\nsleep 600 &\necho $! >{tmp_path}/pid\nwait\n")
    script.chmod(0o755)
    one = msgspec.structs.replace(
        mrw("HA/AM", "app", health_command=str(script)), interval_ms=60_000, timeout_ms=500
    )

    async with Heard(one) as heard:
        event = await heard.count(1)
        assert event.text == "app: the health command did not end within 0.5 s"
        pid = int((tmp_path / "pid").read_text())
        await heard.until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_names_of_units() -> None:
    assert units.unit_name("db") == "db.service"
    assert units.unit_name("my.app") == "my.app.service"
    assert units.unit_name("data.mount") == "data.mount"
    assert units._plain("my_2dapp_2eservice") == "my-app.service"
