"""A push is put in force on all servers or on none, and on servers that join last."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clptools import paths
from clptools.agent import configuration, notices, staging
from clptools.agent.push import Pushes
from clptools.agent.push_receiver import PushReceiver
from clptools.api import messages as said
from clptools.api.messages import ConfigFiles
from clptools.config import history
from clptools.core.model.requests import Outcome
from clptools.core.model.settings import FIRST_START, Pushed, Server, Settings
from clptools.core.notices.form import Notice
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
BY = Pushed(user="root")


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
        self.told: list[Notice] = []
        self.unproven: dict[str, str] = {}
        """Server -> why a push does not go on without it; empty: it does."""

    def settings_in_force(self) -> Settings | None:
        return self.now

    def runs(self) -> bool:
        return self.server in self.run

    def online(self) -> set[str]:
        return self.run - {self.server}

    def refuses(self, settings: Settings) -> str:
        return ""

    async def offered(self, settings: Settings) -> None: ...

    def unready(self, settings: Settings, server: str, vouched: bool) -> str:
        return "" if vouched else self.unproven.get(server, "it is not proven down")

    def reached(self, before: tuple[str, ...] | None, asker: str) -> bool:
        return True

    def out_of_the_cluster(self, by: str, revision: int) -> None:
        self.taken_out = f"{by} {revision}"

    def took_effect(self, settings: Settings, pushed: Pushed) -> None:
        self.taken.append(settings)

    def tell(self, notice: Notice) -> None:
        self.told.append(notice)


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
        return await pushes.distribute(ConfigFiles(revision=0, files=files), BY)

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


def test_who_is_alone_so_far_takes_it_over_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has nobody to ask, and must not be the last to know that it is not alone any more."""

    def full(number: int, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "history")

    monkeypatch.setattr(history, "remember", full)
    others = Others({"server2": (), "server3": ()})
    outcome, taken = push(others, ("server1",))
    assert (outcome.code, taken) == (1, [])
    assert outcome.text == "nothing was changed: server1: history: No space left on device"
    assert others.committed() == []


@pytest.mark.parametrize("place", ["clp.toml", "scripts/start.sh"])
def test_a_directory_in_the_place_of_a_file_is_refused_in_one_line(
    node_root: Path, place: str
) -> None:
    (node_root / "etc/clptools" / place).mkdir(parents=True)
    others = Others({"server2": (), "server3": ()})
    with pytest.raises(ClpError) as raised:
        push(others, ("server1",))
    assert raised.value.code == ExitCode.REFUSED
    path = node_root / "etc/clptools" / place
    assert raised.value.message == f"configuration refused: {path} is a directory"
    assert others.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "scripts/../authkey",
        "scripts/./a",
        "scripts/a/..",
        "/etc/passwd",
        "scripts//a",
        "scripts/a\0b",
        "authkey",
        f"scripts/{'a' * 201}",
        "/".join(["scripts", *["a" * 150] * 7]),
    ],
)
async def test_a_file_that_would_lie_elsewhere_is_refused_by_every_receiver(path: str) -> None:
    files = ConfigFiles(revision=2, files={"clp.toml": CONFIG, path: SCRIPT}, pushed=BY)

    pushes = Pushes(Here(), Others({}))
    with pytest.raises(ClpError) as raised:
        await pushes.received.prepare(said.PushPrepare(push="a", files=files, user="root"))
    assert raised.value.code == ExitCode.INVALID_CONFIG
    assert raised.value.message.startswith("configuration refused: ")
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("kind", ["link", "file"])
async def test_a_folder_that_leads_elsewhere_is_refused(node_root: Path, kind: str) -> None:
    scripts = node_root / "etc/clptools/scripts"
    scripts.mkdir(parents=True)
    (scripts / "a").symlink_to("/tmp") if kind == "link" else (scripts / "a").write_text("")
    files = ConfigFiles(revision=2, files={"clp.toml": CONFIG, "scripts/a/b": SCRIPT}, pushed=BY)

    pushes = Pushes(Here(), Others({}))
    why = "is a symbolic link" if kind == "link" else "is no folder"
    with pytest.raises(ClpError, match=f"{scripts}/a {why}"):
        await pushes.received.prepare(said.PushPrepare(push="a", files=files, user="root"))


# ---------------------------------------------------------------------- without a server


def without(others: Others, here: Here, vouched: tuple[str, ...] = ()) -> Outcome:
    async def main() -> Outcome:
        files = {"clp.toml": CONFIG, "scripts/start.sh": SCRIPT, "scripts/stop.sh": SCRIPT}
        by = Pushed(user="anna", without=vouched)
        return await Pushes(here, others).distribute(ConfigFiles(revision=0, files=files), by)

    return asyncio.run(main())


ALL = ("server1", "server2", "server3")


def test_a_push_goes_on_without_a_server_that_is_proven_down_and_says_so() -> None:
    others, here = Others(dict.fromkeys(ALL[1:], ALL)), Here(ALL)
    others.silent, here.unproven = "server3", {"server3": ""}
    outcome = without(others, here)
    assert outcome.code == 0
    assert outcome.text == (
        "Revision 2 is in force, without server3.\n"
        "server3: has not answered within 5 s; it takes part when it has it."
    )
    assert here.told == [notices.PushedWithout(2, ("server3",), "anna")]
    kept = history.manifest(2)
    assert kept is not None
    assert (kept.pushed.user, kept.pushed.server) == ("anna", "server1")
    assert kept.pushed.without == ("server3",)


def test_one_that_is_not_proven_down_needs_a_persons_word() -> None:
    others, here = Others(dict.fromkeys(ALL[1:], ALL)), Here(ALL)
    others.silent = "server3"
    outcome = without(others, here)
    assert outcome.code == ExitCode.REFUSED
    assert outcome.text == (
        "nothing was changed: server3: has not answered within 5 s; it is not proven down"
    )
    assert "--without server3" in outcome.hint
    assert history.revision() == 0
    assert without(others, here, ("server3",)).code == 0
    assert without(others, here, ("server9",)).code == ExitCode.NO_SUCH


# ---------------------------------------------------------------------- several at once


async def test_a_push_while_one_runs_says_whose_and_changes_nothing() -> None:
    others = Others(dict.fromkeys(ALL[1:], ALL))
    files = ConfigFiles(revision=0, files={"clp.toml": CONFIG})

    pushes = Pushes(Here(ALL), others)
    first, second = await asyncio.gather(
        pushes.distribute(files, Pushed(user="anna")),
        pushes.distribute(files, Pushed(user="bert")),
    )
    assert (first.code, second.code) == (0, ExitCode.REFUSED)
    assert second.text == "a push by anna from server1 is under way"

    assert history.revision() == 2


async def test_of_two_pushes_at_once_a_server_prepares_one() -> None:
    """So no two get the same number, and what was pushed last is what one person wanted."""

    def prepared(push: str, user: str, server: str) -> said.PushPrepare:
        by = Pushed(user=user, server=server)
        files = ConfigFiles(revision=2, files={"clp.toml": CONFIG}, pushed=by)
        return said.PushPrepare(push=push, files=files, user=user)

    here = Here(ALL)
    pushes = Pushes(here, Others({}))
    one, two = prepared("a", "anna", "server1"), prepared("b", "bert", "server2")
    outcomes = await asyncio.gather(pushes.received.prepare(one), pushes.received.prepare(two))
    assert sorted(outcome.code for outcome in outcomes) == [0, ExitCode.REFUSED]
    (refused,) = (outcome for outcome in outcomes if outcome.code)
    assert "is under way" in refused.text
    winner = "a" if not outcomes[0].code else "b"
    assert (await pushes.received.commit(said.PushCommit(push=winner))).code == 0
    assert (await pushes.received.prepare(two)).code == 0
    late = await pushes.received.commit(said.PushCommit(push="b"))
    assert late.text == "revision 2 came into force meanwhile"


# ---------------------------------------------------------------------- taking over


class Newer(Others):
    """Another server has revision 5."""

    def __init__(self, text: str = CONFIG, servers: tuple[str, ...] = ALL) -> None:
        super().__init__({})
        self.text, self.servers, self.reached = text, servers, True
        self.pushed: Pushed | None = Pushed(user="anna", server="server2")

    async def call(
        self, to: str, request: msgspec.Struct, reply: type[Any], timeout_s: float
    ) -> Any:
        self.asked.append((to, type(request).__name__))
        files = {"clp.toml": self.text, "scripts/start.sh": SCRIPT}
        if isinstance(request, said.AskConfigHash):
            return said.ConfigHash(
                revision=5,
                files={"clp.toml": history.digest(self.text)},
                servers=self.servers,
                reached=self.reached,
            )
        return ConfigFiles(revision=5, files=files, pushed=self.pushed)


def caught_up(here: Here, others: Newer) -> None:
    asyncio.run(Pushes(here, others).catch_up("server2"))


def test_who_missed_a_push_takes_it_over_with_who_pushed_it(node_root: Path) -> None:
    history.remember(4, "old")
    here = Here(ALL)
    caught_up(here, Newer())
    assert (history.revision(), history.content(5)) == (5, CONFIG)
    assert (node_root / "etc/clptools/clp.toml").read_text() == CONFIG
    assert (node_root / "etc/clptools/scripts/start.sh").read_text() == SCRIPT
    kept = history.manifest(5)
    assert kept is not None
    assert (kept.pushed.user, kept.pushed.server) == ("anna", "server2")
    assert len(here.taken) == 1
    assert here.told == [notices.TakenOver("server2", 5)]


def test_who_joins_takes_it_over_only_when_all_others_have_it() -> None:
    here, others = Here(), Newer()
    others.reached = False
    caught_up(here, others)
    assert history.revision() == 0
    others.reached = True
    caught_up(here, others)
    assert history.revision() == 5


@pytest.mark.parametrize("pushed", [None, Pushed(how=FIRST_START)])
def test_what_nobody_pushed_is_not_taken_over(pushed: Pushed | None) -> None:
    others = Newer()
    others.pushed = pushed
    caught_up(Here(ALL), others)
    assert history.revision() == 0


def test_who_is_not_among_its_servers_takes_nothing_over() -> None:
    caught_up(Here(ALL), Newer(servers=("server2", "server3")))
    assert history.revision() == 0


async def test_two_texts_under_one_number_are_told_once_and_neither_is_replaced() -> None:
    history.remember(5, "mine")
    here = Here(ALL)
    pushes = Pushes(here, Newer())
    for _ in range(2):
        await pushes.catch_up("server2")
    assert here.told == [notices.TwoRevisions("server2", 5)]
    assert history.content(5) == "mine"
    assert pushes.unlike == {"server2"}
    history.remember(5, Newer().text)
    await pushes.catch_up("server2")
    assert here.told[1:] == [notices.OneRevision("server2", 5)]
    assert pushes.unlike == set()


def test_what_is_refused_here_alone_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a group began to run since it was prepared."""

    async def refuse(self: PushReceiver, message: said.PushCommit) -> Outcome:
        return Outcome(code=ExitCode.REFUSED, text="web runs", hint="clpgrp -t web")

    monkeypatch.setattr(PushReceiver, "commit", refuse)
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
    etc = paths.config_dir()
    assert silent.endswith(f"Before clpnode starts there: rm -r {etc}/clp.toml {etc}/history")
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
    outcome = Pushes(here, Others({})).received.removed(said.PushRemoved(revision=2), "server2")
    assert here.taken_out == ("" if run else "server2 2")
    assert file.exists() is bool(run)
    assert (outcome.code, outcome.text) == ((6, "its cluster service runs") if run else (0, ""))


async def test_a_disk_that_hangs_stops_a_push_with_its_name(
    node_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is asked of the others; a second push does not hold a second thread."""
    goes_on, threads = threading.Event(), []
    staged = staging.stage

    def hanging_disk(*given: Any) -> Any:
        threads.append(threading.current_thread())
        goes_on.wait(60)
        return staged(*given)

    monkeypatch.setattr(staging, "stage", hanging_disk)
    monkeypatch.setattr(staging, "DISK_S", 0.05)
    others = Others({"server2": (), "server3": ()})

    pushes = Pushes(Here(), others)
    files = ConfigFiles(revision=0, files={"clp.toml": CONFIG, "scripts/start.sh": SCRIPT})
    for _ in range(2):
        with pytest.raises(ClpError) as raised:
            await pushes.distribute(files, BY)
        assert raised.value.code == ExitCode.TIMED_OUT
        assert raised.value.message == (
            f"{node_root}/etc/clptools: no answer within 0.05 s, its disk hangs"
        )
        assert raised.value.hint.startswith("See on server1: dmesg; mount.")
    with pytest.raises(ClpError, match="its disk hangs"):
        await pushes.received.prepare(said.PushPrepare(push="a", files=files, user="root"))
    for asked in (pushes.received.hashes(), pushes.received.files()):
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
    staged = staging.stage

    def slow_disk(*given: Any) -> Any:
        # The disk answers only when the loop has had a turn.
        turn = threading.Event()
        loops[0].call_soon_threadsafe(turn.set)
        went_on.append(turn.wait(LIMIT_S))
        return staged(*given)

    monkeypatch.setattr(staging, "stage", slow_disk)
    loops.append(asyncio.get_running_loop())
    one = Others({"server2": (), "server3": ()})
    pushes = Pushes(Here(), one)
    files = {"clp.toml": CONFIG, "scripts/start.sh": SCRIPT, "scripts/stop.sh": SCRIPT}
    outcome = await pushes.distribute(ConfigFiles(revision=0, files=files), BY)
    assert outcome.code == 0
    assert went_on == [True, True]


async def test_what_cannot_be_taken_over_is_told_once_and_changes_nothing() -> None:
    here, others = Here(ALL), Newer(text="[[group\n")
    pushes = Pushes(here, others)
    for _ in range(2):
        await pushes.catch_up("server2")
    (told,) = here.told
    assert isinstance(told, notices.NotTakenOver)
    assert (told.server, told.revision) == ("server2", 5)
    assert history.revision() == 0


async def test_a_push_that_was_cut_short_is_finished_and_told(node_root: Path) -> None:
    files = {"clp.toml": CONFIG, "scripts/start.sh": SCRIPT}
    history.store(3, files, BY)
    history.begin(3)
    history.remember(3, CONFIG)
    here = Here(ALL)
    await Pushes(here, Others({})).received.mend()
    assert here.told == [notices.PushMended(3)]
    assert (node_root / "etc/clptools/scripts/start.sh").read_text() == SCRIPT
    (node_root / "etc/clptools/clp.toml").unlink()
    await Pushes(here, Others({})).received.mend()
    assert len(here.told) == 1, "there is nothing left to do"
