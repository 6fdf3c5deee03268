"""A push is put in force on all servers or on none, and on servers that join last."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clptools.agent import configuration
from clptools.agent.push import Pushes
from clptools.api import messages as said
from clptools.api.messages import ConfigFiles
from clptools.core.model.requests import Outcome
from clptools.core.model.settings import Server, Settings
from clptools.faults import ClpError, ExitCode
from tests.conftest import LIMIT_S

CONFIG = """
[[server]]
name = "server1"
[[server]]
name = "server2"
[[server]]
name = "server3"
[[interconnect]]
type = "lanhb"
address = { server1 = "10.0.0.1", server2 = "10.0.0.2", server3 = "10.0.0.3" }
[[group]]
name = "web"
[[group.resource]]
type = "exec"
name = "exec1"
start = "start.sh"
stop = "stop.sh"
"""
SCRIPT = "#!/bin/sh\n"


class Others:
    """Servers 2 and 3, as their agents answer; `has`: the servers of their configurations."""

    def __init__(self, has: dict[str, tuple[str, ...]]) -> None:
        self.has = has
        self.asked: list[tuple[str, str]] = []
        self.fails = ""
        self.silent = ""

    def introduce(self, settings: Settings) -> None: ...

    def apply(self, settings: Settings | None) -> None: ...

    async def call(
        self, to: str, request: msgspec.Struct, reply: type[Any], timeout_s: float
    ) -> Any:
        self.asked.append((to, type(request).__name__))
        if to == self.silent:
            raise ClpError(ExitCode.TIMED_OUT, f"{to} has not answered within 5 s")
        if isinstance(request, said.AskConfigHash):
            return said.ConfigHash(revision=1, files={}, servers=self.has[to])
        if isinstance(request, said.PushCommit) and to == self.fails:
            return Outcome(code=1, text="no room on the disk")
        return Outcome()

    def committed(self) -> list[str]:
        return [to for to, what in self.asked if what == "PushCommit"]


class Here:
    """server1, with a configuration of these servers; `run`: those that run now."""

    server = "server1"

    def __init__(self, own: tuple[str, ...] = (), run: tuple[str, ...] = ()) -> None:
        self.taken_out = ""
        self.now = Settings(servers=tuple(Server(name=name) for name in own)) if own else None
        self.run = set(run)
        self.taken: list[Settings] = []

    def settings_in_force(self) -> Settings | None:
        return self.now

    def runs(self) -> bool:
        return self.server in self.run

    def online(self) -> set[str]:
        return self.run - {self.server}

    def refuses(self, settings: Settings) -> str:
        return ""

    async def offered(self, settings: Settings) -> None: ...

    def out_of_the_cluster(self, by: str, revision: int) -> None:
        self.taken_out = f"{by} {revision}"

    def took_effect(self, settings: Settings, user: str) -> None:
        self.taken.append(settings)


@pytest.fixture(autouse=True)
def node_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    return tmp_path


def push(others: Others, own: tuple[str, ...]) -> tuple[Outcome, list[Settings]]:
    """server1 pushes a configuration of three; `own`: the servers of the one it has."""
    here = Here(own, ("server1", "server2", "server3"))

    async def main() -> Outcome:
        pushes = Pushes(here, others)
        files = {"clp.toml": CONFIG, "scripts/start.sh": SCRIPT, "scripts/stop.sh": SCRIPT}
        return await pushes.distribute(ConfigFiles(revision=0, files=files), "root")

    return asyncio.run(main()), here.taken


def test_a_server_that_joins_is_told_when_the_others_have_it() -> None:
    old = ("server1", "server3")
    others = Others({"server2": (), "server3": old})
    outcome, taken = push(others, old)
    assert outcome.code == 0
    assert outcome.text.splitlines() == [
        "Revision 2 is in force on every server.",
        "server2 is new: the stop scripts of web run there once before anything else.",
    ]
    assert len(taken) == 1
    assert others.committed() == ["server3", "server2"]


def test_it_is_not_told_where_an_older_one_could_not_take_it_over() -> None:
    """Else the older one could boot with the list of before, and rule beside it."""
    old = ("server1", "server3")
    others = Others({"server2": (), "server3": old})
    others.fails = "server3"
    outcome, taken = push(others, old)
    assert outcome.code == 1
    assert outcome.text == (
        "revision 2 is in force, but not on: server3 (no room on the disk), "
        "server2 (joins when the others have it)"
    )
    assert len(taken) == 1
    assert others.committed() == ["server3"]
    assert others.asked[-1] == ("server2", "PushAbort")


def test_who_is_alone_so_far_takes_it_over_first(node_root: Path) -> None:
    """It has nobody to ask, and must not be the last to know that it is not alone any more."""
    (node_root / "etc/clptools/clp.toml").mkdir(parents=True)
    others = Others({"server2": (), "server3": ()})
    outcome, taken = push(others, ("server1",))
    assert (outcome.code, taken) == (1, [])
    assert outcome.text.startswith("nothing was changed: server1: ")
    assert others.committed() == []


def test_what_is_refused_here_alone_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a group began to run since it was prepared."""

    async def refuse(self: Pushes, message: said.PushCommit) -> Outcome:
        return Outcome(code=ExitCode.REFUSED, text="web runs", hint="clpgrp -t web")

    monkeypatch.setattr(Pushes, "commit", refuse)
    others = Others({"server2": (), "server3": ()})
    outcome, _ = push(others, ("server1",))
    assert (outcome.code, outcome.text) == (6, "nothing was changed: server1: web runs")
    assert outcome.hint == "clpgrp -t web"
    assert [to for to, what in others.asked if what == "PushAbort"] == ["server2", "server3"]


def test_servers_that_are_taken_out_forget_it_or_are_named() -> None:
    old = ("server1", "server2", "server3", "server4", "server5")
    others = Others({"server2": old, "server3": old})
    others.silent = "server5"
    outcome, _ = push(others, old)
    assert outcome.code == 0
    _, told, silent = outcome.text.splitlines()
    assert told == "server4 has no configuration any more."
    assert silent.startswith("server5 could not be told that it is out (server5 has not answered")
    assert silent.endswith("clp.toml away before it boots.")
    assert [to for to, what in others.asked if what == "PushRemoved"] == ["server4", "server5"]


@pytest.mark.parametrize("run", [(), ("server1",)])
async def test_a_server_whose_service_runs_is_not_taken_out(
    node_root: Path, run: tuple[str, ...]
) -> None:
    """Whoever pushed did not hear it: that is no reason to take its configuration away."""
    file = node_root / "etc/clptools/clp.toml"
    file.parent.mkdir(parents=True)
    file.write_text(CONFIG)

    here = Here(("server1", "server2"), run)
    outcome = Pushes(here, Others({})).removed(said.PushRemoved(revision=2), "server2")
    assert here.taken_out == ("" if run else "server2 2")
    assert file.exists() is bool(run)
    assert (outcome.code, outcome.text) == ((6, "its cluster service runs") if run else (0, ""))


async def test_a_disk_that_hangs_stops_a_push_with_its_name(
    node_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is asked of the others; a second push does not hold a second thread."""
    goes_on, threads = threading.Event(), []
    staged = configuration.stage

    def hanging_disk(*given: Any) -> Any:
        threads.append(threading.current_thread())
        goes_on.wait(60)
        return staged(*given)

    monkeypatch.setattr(configuration, "stage", hanging_disk)
    monkeypatch.setattr(configuration, "DISK_S", 0.05)
    others = Others({"server2": (), "server3": ()})

    pushes = Pushes(Here(), others)
    files = ConfigFiles(revision=0, files={"clp.toml": CONFIG, "scripts/start.sh": SCRIPT})
    for _ in range(2):
        with pytest.raises(ClpError) as raised:
            await pushes.distribute(files, "root")
        assert raised.value.code == ExitCode.TIMED_OUT
        assert raised.value.message == (
            f"{node_root}/etc/clptools: no answer within 0.05 s, its disk hangs"
        )
        assert raised.value.hint.startswith("See on server1: dmesg; mount.")
    with pytest.raises(ClpError, match="its disk hangs"):
        await pushes.prepare(said.PushPrepare(push="a", files=files, user="root"))
    for asked in (pushes.hashes(), pushes.files()):
        with pytest.raises(ClpError, match="its disk hangs"):
            await asked
    assert len(threads) == 1
    assert others.asked == []
    goes_on.set()
    threads[0].join()
    assert os.listdir(node_root / "etc/clptools/.staged") == []


def test_the_first_of_all_goes_to_all_at_once() -> None:
    others = Others({"server2": (), "server3": ()})
    outcome, taken = push(others, ())
    assert (outcome.code, len(taken)) == (0, 1)
    assert sorted(others.committed()) == ["server2", "server3"]


def test_what_cannot_be_sent_is_refused_and_holds_the_agent_up_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO below scripts/ would keep whoever opens it until somebody writes."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    scripts = tmp_path / "etc/clptools/scripts"
    scripts.mkdir(parents=True)
    (scripts.parent / "clp.toml").write_text(CONFIG)
    os.mkfifo(scripts / "pipe")
    with pytest.raises(ClpError, match=f"{scripts}/pipe: not a regular file"):
        configuration.files()


async def test_the_agent_goes_on_while_files_are_written_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    went_on: list[bool] = []
    staged = configuration.stage

    def slow_disk(*given: Any) -> Any:
        # The disk answers only when the loop has had a turn.
        turn = threading.Event()
        loops[0].call_soon_threadsafe(turn.set)
        went_on.append(turn.wait(LIMIT_S))
        return staged(*given)

    monkeypatch.setattr(configuration, "stage", slow_disk)
    loops.append(asyncio.get_running_loop())
    one = Others({"server2": (), "server3": ()})
    pushes = Pushes(Here(), one)
    files = {"clp.toml": CONFIG, "scripts/start.sh": SCRIPT, "scripts/stop.sh": SCRIPT}
    outcome = await pushes.distribute(ConfigFiles(revision=0, files=files), "root")
    assert outcome.code == 0
    assert went_on == [True, True]
