"""`service`: units, by a real bus and a manager that speaks as systemd does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from clptools.common import system_bus
from clptools.core.model.settings import Resource
from clptools.resources import service
from clptools.resources.operations import ResourceContext, ResourceOutcome
from clptools.resources.registry import perform
from clptools.resources.script import ScriptRunner
from tests.conftest import LIMIT_S
from tests.own_bus import needs_bus, own_bus

pytestmark = needs_bus


@pytest.fixture(autouse=True)
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A bus of its own, where the system bus is looked for."""
    with own_bus(tmp_path, monkeypatch):
        yield


class Manager:
    """A service manager with one unit, `db.service`."""

    def __init__(self) -> None:
        self.unit = {
            "LoadState": "loaded",
            "ActiveState": "inactive",
            "UnitFileState": "disabled",
            "Type": "notify",
            "Result": "success",
            "ControlGroup": "",
        }
        self.after: dict[str, str] = {"StartUnit": "active", "StopUnit": "inactive"}
        self.result = "done"
        self.known = True
        self.silent = False
        self.user: MessageBus | None = None
        """Somebody who tells at once that every job is done."""
        self.calls: list[str] = []
        self.jobs = 0

    async def connect(self) -> None:
        self.bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        self.bus.add_message_handler(self.handle)
        await self.bus.request_name(system_bus.NAME)

    def handle(self, message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        method = message.member
        if method == "Get":
            return Message.new_method_return(
                message, "v", [Variant("s", self.unit[message.body[1]])]
            )
        self.calls.append(" ".join(map(str, [method, *message.body])))
        if method == "LoadUnit":
            path = f"{system_bus.PATH}/unit/db_2eservice"
            return Message.new_method_return(message, "o", [path])
        if method in self.after:
            if not self.known:
                return Message.new_error(message, service.NO_SUCH_UNIT, "Unit db not loaded.")
            self.jobs += 1
            job = f"{system_bus.PATH}/job/{self.jobs}"
            self.unit["ActiveState"] = self.after[method]
            # systemd tells the end of a quick job before it answers the call, too.
            if not self.silent:
                self.bus.send(self.removed(job))
            if self.user is not None:
                self.user.send(self.removed(job))
                self.user.send(self.removed(job, str(message.sender)))
            return Message.new_method_return(message, "o", [job])
        return Message.new_method_return(message)

    def removed(self, job: str, to: str | None = None) -> Message:
        return Message(
            message_type=MessageType.SIGNAL,
            destination=to,
            path=system_bus.PATH,
            interface=system_bus.MANAGER,
            member="JobRemoved",
            signature="uoss",
            body=[self.jobs, job, "db.service", self.result],
        )


def carry_out(op: str, manager: Manager, remarks: list[str] | None = None) -> ResourceOutcome:
    return asyncio.run(begin(op, manager, remarks))


async def begin(
    op: str, manager: Manager, remarks: list[str] | None = None, *, start_timeout_ms: int = 0
) -> ResourceOutcome:
    await manager.connect()
    resource = Resource(
        name="db",
        type="service",
        start_timeout_ms=start_timeout_ms or (1_000 if manager.silent else 20_000),
        options={"unit": "db"},
    )
    context = ResourceContext(
        server="server1",
        group="failover1",
        event="START",
        run=ScriptRunner().run,
        log=(remarks if remarks is not None else []).append,
    )
    try:
        return await perform(resource, op, context)
    finally:
        manager.bus.disconnect()


def test_a_unit_is_started_and_stopped() -> None:
    manager = Manager()
    assert carry_out("start", manager).text == "db.service is active"
    assert manager.calls[-1] == "StartUnit db.service replace"
    assert carry_out("stop", manager).text == "db.service is stopped"
    assert "StopUnit db.service replace" in manager.calls


def test_a_failed_job_and_a_unit_that_does_not_stay_are_failures() -> None:
    manager = Manager()
    manager.result = "failed"
    manager.after["StartUnit"] = "failed"
    failed = carry_out("start", manager)
    assert not failed.ok and "'failed'" in failed.text and "journalctl -u db.service" in failed.text
    manager.result = "done"
    assert not carry_out("start", manager).ok
    manager.after["StopUnit"] = "deactivating"
    assert not carry_out("stop", manager).ok


def test_a_oneshot_that_did_its_work_is_started() -> None:
    manager = Manager()
    manager.after["StartUnit"] = "inactive"
    assert not carry_out("start", manager).ok
    manager.unit["Type"] = "oneshot"
    assert carry_out("start", manager).ok


def test_unknown_and_masked_units_are_named() -> None:
    manager = Manager()
    manager.unit["LoadState"] = "not-found"
    missing = carry_out("start", manager)
    assert not missing.ok and "db.service" in missing.text and "not-found" in missing.text
    manager.unit["LoadState"] = "masked"
    assert "systemctl unmask db.service" in carry_out("start", manager).text
    manager.known = False
    assert carry_out("stop", manager).ok, "what is not loaded does not run"


def test_a_stop_that_ended_as_failed_counts_only_if_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CGROUPS", str(tmp_path))
    manager = Manager()
    manager.after["StopUnit"] = "failed"
    assert carry_out("stop", manager).ok
    manager.unit["ControlGroup"] = "/system.slice/db.service"
    assert carry_out("stop", manager).ok, "its control group is gone"
    group = tmp_path / "system.slice/db.service"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text("")
    assert carry_out("stop", manager).ok
    (group / "cgroup.procs").write_text("4711\n")
    assert not carry_out("stop", manager).ok


def test_a_job_without_end_is_a_time_out() -> None:
    manager = Manager()
    manager.silent = True
    hung = carry_out("start", manager)
    assert not hung.ok and hung.timed_out and "within 1 s" in hung.text
    assert manager.calls[-1] == "CancelJob 1", "nobody waits for it any more"


async def test_a_stop_cancels_the_job_of_a_start_before_it_begins() -> None:
    manager = Manager()
    manager.silent = True

    context = ResourceContext(
        server="server1", group="failover1", event="START", run=ScriptRunner().run
    )
    resource = Resource(name="db", type="service", options={"unit": "db"})
    await manager.connect()
    start = asyncio.create_task(perform(resource, "start", context))
    async with asyncio.timeout(LIMIT_S):
        while not manager.jobs:
            await asyncio.sleep(0.01)
        manager.silent = False
        stopped = await perform(resource, "stop", context)
    manager.bus.disconnect()
    start, stopped = await start, stopped
    assert stopped.ok and not start.ok and "gave way to a stop" in start.text
    jobs = [call for call in manager.calls if "Job" in call or "Unit " in call]
    assert [call for call in jobs if not call.startswith("Load")] == [
        "StartUnit db.service replace",
        "CancelJob 1",
        "StopUnit db.service replace",
    ]


async def test_an_end_of_a_job_that_any_local_user_tells_counts_for_nothing() -> None:
    manager = Manager()
    manager.silent = True

    manager.user = await MessageBus(bus_type=BusType.SYSTEM).connect()
    outcome = await begin("start", manager)
    assert not outcome.ok and outcome.timed_out


async def test_a_job_during_which_systemd_is_executed_anew_ends_as_any_other() -> None:
    manager = Manager()
    manager.silent = True

    started = asyncio.create_task(begin("start", manager, start_timeout_ms=20_000))
    async with asyncio.timeout(LIMIT_S):
        while not manager.jobs:
            await asyncio.sleep(0.01)
    manager.bus.disconnect()
    await manager.connect()
    manager.bus.send(manager.removed(f"{system_bus.PATH}/job/1"))
    outcome = await started
    assert outcome.ok


def test_an_enabled_unit_is_remarked() -> None:
    manager = Manager()
    manager.unit["UnitFileState"] = "enabled"
    remarks: list[str] = []
    assert carry_out("start", manager, remarks).ok
    assert "systemctl disable db.service" in remarks[0]


async def test_no_bus_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")

    resource = Resource(name="db", type="service", options={"unit": "db"})
    context: Any = ResourceContext(
        server="server1", group="g", event="START", run=ScriptRunner().run
    )
    outcome = await perform(resource, "start", context)
    assert not outcome.ok and "systemd cannot be reached" in outcome.text


def test_units_have_suffixes() -> None:
    assert service.unit_name("db") == "db.service"
    assert service.unit_name("srv-data.mount") == "srv-data.mount"
    assert service.unit_name("pg@14.1") == "pg@14.1.service"
