"""What the agent tells of itself and of its host, each in its own notice."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from clptools import paths
from clptools.agent import agent as agents
from clptools.agent import clock, disk_watch, notices, service, surroundings
from clptools.agent.agent import Agent
from clptools.agent.lock import AgentLock
from clptools.agent.store import NoRoom, Store
from clptools.api.messages import EventRecord
from clptools.config.quiet_window import windows
from clptools.core.model.events import Event, SettingsChanged, WindowChanged
from clptools.core.model.requests import GroupStart, ServiceStop
from clptools.core.model.settings import Monitor, Pushed
from clptools.core.model.view import ServerView
from clptools.core.notices.cluster import ClockSet, FileAsInForce, FileEdited
from clptools.core.notices.form import Kinds, Notice
from clptools.core.notices.groups import StopScriptsRun
from clptools.faults import ClpError, ExitCode
from clptools.intake import notices as intake
from clptools.intake.trap_notes import Note
from tests.agent.test_agent import place, started
from tests.conftest import until

__all__ = ["place"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at its places more often."""
    monkeypatch.setattr(agents, "_ROOM_S", 0.01)
    monkeypatch.setattr(service, "_LOOK_S", 0.01)
    monkeypatch.setattr(disk_watch, "_RUN_S", 0.01)
    monkeypatch.setattr(disk_watch, "_LOCK_S", 0.01)


def told(agent: Agent, kind: type[Notice]) -> list[EventRecord]:
    return [record for record in agent._records.all() if record in Kinds(kind)]


@asynccontextmanager
async def running() -> AsyncIterator[Agent]:
    agent = await started()
    yield agent
    await agent.close()


async def test_a_file_that_was_edited_is_not_what_is_in_force() -> None:
    async with running() as agent:
        before = Path(paths.config_file()).read_text()
        Path(paths.config_file()).write_text(before + "# edited\n")
        os.utime(paths.config_file(), (0, 86_400 * 365))
        await until(lambda: told(agent, FileEdited))
        (record,) = told(agent, FileEdited)
        me = agent.server
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(86_400 * 365))
        assert record.text == (
            f"{paths.config_file()} was edited and not pushed; revision 1 is in force, and the "
            f"file was last written at {when}. See it on {me}: clpcfctrl --diff. Push it there, "
            "once clpcfchk finds no fault in it: clpcfctrl --push. Drop it there: clpcfctrl "
            "--rollback 1"
        )
        assert (record.module, record.event_id, record.level) == ("pm", 902, "WARN")
        Path(paths.config_file()).write_text(before)
        await until(lambda: told(agent, FileAsInForce))
        assert len(told(agent, FileEdited)) == 1


async def test_what_lies_where_the_file_should_be_holds_nobody_up() -> None:
    path = Path(paths.config_file())
    async with running() as agent:
        text = path.read_text()
        path.unlink()
        os.mkfifo(path)
        await until(lambda: told(agent, FileEdited))
        (record,) = told(agent, FileEdited)
        assert record.text == (
            f"{path} is no plain file; revision 1 is in force. Move it away on "
            f"{agent.server} (mv {path} {path}.away), then write the file again there: "
            "clpcfctrl --rollback 1"
        )
        path.unlink()
        path.symlink_to(path)
        await until(lambda: len(told(agent, FileEdited)) == 2)
        assert (
            "cannot be read (Too many levels of symbolic links)" in told(agent, FileEdited)[1].text
        )
        path.unlink()
        with path.open("w") as file:
            file.truncate(200 << 20)
        await until(lambda: len(told(agent, FileEdited)) == 3)
        assert (
            "was edited and not pushed, and is larger than 4 MiB" in told(agent, FileEdited)[2].text
        )
        path.write_text(text)
        await until(lambda: told(agent, FileAsInForce))


async def test_a_clock_that_is_set_is_told_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as agent:
        await asyncio.sleep(0)  # it has looked once
        for count, (by_s, word) in enumerate(((3600.0, "forward"), (0.0, "back")), 1):
            monkeypatch.setattr(clock, "wall_s", lambda by_s=by_s: time.time() + by_s)
            await until(lambda count=count: len(told(agent, ClockSet)) == count)
            text = told(agent, ClockSet)[-1].text
            assert re.match(rf"The clock of server1 was set {word} by 3[56]\d\d\.\d s: ", text)
            was, became = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d", text)
            assert was != became
        assert agent._service.core is not None, "nothing else follows"


async def test_an_agent_that_stood_still_says_so_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "_CLOCK_S", 0.01)
    async with running() as agent:
        core = agent._service.core
        assert core is not None
        timeout_ms = core.stretched.cluster.heartbeat_timeout_ms
        lags = [timeout_ms // 2, timeout_ms // 2, timeout_ms // 2 - 1]
        monkeypatch.setattr(core.loop, "take_lag_ms", lambda: lags.pop() if lags else 0)
        await until(lambda: not lags)
        (record,) = told(agent, notices.AgentStoodStill)
        assert record.text.startswith("The agent of server1 stood still for ")
        assert (record.module, record.event_id, record.level) == ("pm", 917, "WARN")


async def test_a_lock_that_was_removed_is_made_again() -> None:
    async with running() as agent:
        lock = Path(paths.data_dir(), "lock")
        lock.unlink()
        await until(lambda: told(agent, notices.LockMadeAgain))
        assert lock.exists()


async def test_files_that_cannot_be_made_again_are_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = 0

    def fails(_: Store) -> bool:
        nonlocal tries
        tries += 1
        raise OSError(errno.EROFS, "Read-only file system", paths.run_dir())

    async with running() as agent:
        monkeypatch.setattr(Store, "keep_run", fails)
        await until(lambda: tries > 3)
        (record,) = told(agent, notices.FilesNotMade)
        assert record.level == "ERROR" and "Read-only file system" in record.text


async def test_a_lock_that_cannot_be_made_is_a_condition_until_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_: AgentLock) -> bool:
        raise OSError(errno.EIO, "Input/output error", f"{paths.data_dir()}/lock")

    def shown(agent: Agent) -> list[str]:
        (own,) = (one for one in agent._backend.status(False).servers if one.local)
        return [one.text for one in own.conditions]

    async with running() as agent:
        with monkeypatch.context() as broken:
            broken.setattr(AgentLock, "keep_disk", fails)
            await until(lambda: shown(agent))
        (text,) = shown(agent)
        assert "Input/output error" in text
        await until(lambda: not shown(agent))
        assert len(told(agent, notices.LockNotMade)) == 1


async def test_a_message_socket_that_could_not_be_made_is_made_once_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, refused = surroundings.bind_door, [True, True]

    def full(address: str) -> socket.socket:
        if refused:
            refused.pop()
            raise OSError(errno.ENOSPC, "No space left on device")
        return made(address)

    monkeypatch.setattr(surroundings, "bind_door", full)
    async with running() as agent:
        await until(lambda: told(agent, intake.NoMessageSocket))
        await until(lambda: told(agent, notices.FilesMadeAgain))
        assert not refused and Path(paths.message_socket_file()).is_socket()


async def test_an_agent_without_room_starts_nothing_until_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened, refused = Store.open, [True, True]

    def full(store: Store) -> None:
        if refused:
            refused.pop()
            raise NoRoom(ExitCode.FAILED, "/run: no space", "See: df -h")
        opened(store)

    monkeypatch.setattr(Store, "open", full)

    async with running() as agent:
        (waits,) = told(agent, notices.StartWaits)
        assert waits.text == "/run: no space. See: df -h"
        assert len(told(agent, notices.StartGoesOn)) == 1


async def test_who_was_taken_out_is_asked_for_nothing_but_its_end() -> None:
    """`clpcl -s`, as a stopped service advises, would be refused too."""
    async with running() as agent:
        agent._service.out_of_the_cluster("server2", 7)
        with pytest.raises(ClpError) as raised:
            await agent._backend.request(GroupStart(group="failover1"), "root", lambda _: None)
        assert raised.value.message == f"{agent.server} has no configuration any more"
        assert raised.value.hint == "Distribute one from any server: clpcfctrl --push"
        done = await agent._backend.request(ServiceStop(), "root", lambda _: None)
        assert done.code == 0


async def test_a_push_that_reached_this_server_is_told() -> None:
    async with running() as agent:
        assert agent._service.core is not None
        agent._service.took_effect(agent._service.core.settings, Pushed(user="anna"))
        (record,) = told(agent, notices.ConfigurationInForce)
        assert "by anna is in force" in record.text


async def test_a_push_of_another_quiet_window_is_known_with_it() -> None:
    async with running() as agent:
        core = agent._service.core
        assert core is not None
        put = core.put
        events: list[Event] = []
        core.put = lambda event: (events.append(event), put(event))[1]  # type: ignore[method-assign]
        monitor = Monitor(
            name="mrw1", type="mrw", servers=(agent.server,), quiet_windows=windows("02:00-04:00")
        )
        pushed = msgspec.structs.replace(core.settings, monitors=(monitor,), revision=2)
        agent._service.took_effect(pushed, Pushed())
        first, second = events
        assert isinstance(first, SettingsChanged)
        assert isinstance(second, WindowChanged) and second.when.endswith(" 02:00-04:00")


async def test_a_socket_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(surroundings, "bind_door", fails)

    async with running() as agent:
        (record,) = told(agent, intake.NoMessageSocket)
        assert record.text == f"{paths.message_socket_file()}: Permission denied"


@pytest.mark.parametrize(
    ("kind", "notice", "level"),
    [
        ("refused", intake.TrapRefused, "INFO"),
        ("bound", intake.TrapReceiverListens, "INFO"),
        ("profile", intake.TrapRowLeftOut, "INFO"),
        ("presence", intake.BmcIsPresent, "INFO"),
        ("rehearsal", intake.TrapRehearsed, "INFO"),
        ("bind", intake.TrapReceiverDeaf, "WARN"),
        ("keys", intake.SnmpKeysUnusable, "WARN"),
        ("keyed", intake.SnmpKeysUsable, "INFO"),
        ("storm", intake.TrapStorm, "WARN"),
        ("unknown", intake.TrapUnknown, "WARN"),
        ("fault", intake.TrapFailed, "ERROR"),
    ],
)
async def test_notes_of_the_trap_receiver(kind: str, notice: type[Notice], level: str) -> None:
    async with running() as agent:
        agent._around._trap_note(Note(kind=kind, text="what it was"))
        (record,) = told(agent, notice)
        assert (record.level, record.text) == (level, "what it was")


def test_every_note_of_the_trap_receiver_is_a_notice() -> None:
    source = "".join(path.read_text() for path in Path(intake.__file__).parent.glob("*.py"))
    kinds = set(re.findall(r"\.note(?:_seldom)?\(\s*\"(\w+)\"", source))
    assert kinds | {"bind", "bound"} == set(intake.TRAP_NOTICES)


async def test_what_sources_and_the_host_say_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def identify(server: str, on: bool) -> str:
        return f"The identify LED of {server} is on"

    async with running() as agent:
        agent._around._source_note("Units are not seen: no bus")
        agent._around._host._log("reboot of server1: final action of genw1")
        assert [r.level for r in told(agent, intake.SourceNoted)] == ["WARN"]
        assert [r.level for r in told(agent, notices.HostActed)] == ["WARN"]
        monkeypatch.setattr(agent._around, "identify", identify)
        await agent._backend.identify("server1", True, "anna")
        (record,) = told(agent, notices.ChassisIdentified)
        assert record.text == "The identify LED of server1 is on, by anna."


async def test_what_is_wrong_with_bmcs_is_in_the_hardware_page() -> None:
    """That the own BMC carries no beats is known to its own agent alone."""

    class Beats:
        fault = "this BMC carries no beats"

        def close(self) -> None:
            return

    async with running() as agent:
        agent._around._bmc_beats.append(Beats())  # type: ignore[arg-type]  # as far as it is asked
        view = await agent._backend.hardware()
        (own,) = (server for server in view.servers if server.name == agent.server)
        faults = [(each.server, each.fault) for each in own.bmcs]
        assert (agent.server, "this BMC carries no beats") in faults


async def test_stop_scripts_that_run_at_the_first_start_are_announced() -> None:
    with open(paths.config_file(), "a") as file:
        file.write(
            '[[group]]\nname = "failover1"\n[[group.resource]]\ntype = "exec"\nname = "exec1"\n'
        )
    async with running() as agent:
        await until(lambda: told(agent, StopScriptsRun))
        (record,) = told(agent, StopScriptsRun)
        assert "starts without state: it runs the stop scripts of " in record.text


async def test_a_receiver_that_is_deaf_shows_in_the_status_until_it_hears() -> None:
    async with running() as agent:

        def own() -> ServerView:
            return next(one for one in agent._backend.status(False).servers if one.local)

        agent._around._trap_condition("trap receiver x", "another program has it", ("mrw1",))
        await until(lambda: own().conditions)
        assert own().conditions[0].text == "another program has it"
        agent._around._trap_condition("trap receiver x", "", ())
        await until(lambda: not own().conditions)


async def test_a_disk_that_hangs_is_told_and_so_is_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disk_watch, "_DISK_LOOK_S", 0.01)
    monkeypatch.setattr(disk_watch, "_DISK_HANGS_S", 0.05)
    answers = threading.Event()
    try:
        async with running() as agent:
            agent._worker.submit(answers.wait)
            await until(lambda: told(agent, notices.DiskHangs))
            conditions = agent._backend.status(False).servers[0].conditions
            assert any(paths.data_dir() in one.text for one in conditions)
            answers.set()
            await until(lambda: told(agent, notices.DiskAnswers))
            await until(lambda: not agent._backend.status(False).servers[0].conditions)
    finally:
        answers.set()


async def test_a_disk_without_room_is_told_and_so_is_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disk_watch, "_DISK_LOOK_S", 0.01)
    room = 1 << 30
    monkeypatch.setattr(disk_watch, "_room", lambda: room)
    async with running() as agent:
        room = 0
        await until(lambda: told(agent, notices.DiskFull))
        assert agent._backend.status(False).servers[0].conditions
        room = 1 << 30
        await until(lambda: told(agent, notices.DiskHasRoom))


async def test_a_boot_that_is_noted_late_is_told_to_people_and_to_the_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disk_watch, "_DISK_LOOK_S", 0.05)
    async with running() as agent:
        core = agent.core_now()
        assert core is not None
        agent._store.noted = False
        core.node.state.life.noted = False
        await until(lambda: told(agent, notices.BootNotedLate))
        await until(lambda: core.node.state.life.noted)
