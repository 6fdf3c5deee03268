"""What is asked from outside the cluster leaves its trace in the alert log, done or denied."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clptools.agent import clock, peer_answers
from clptools.agent.backend import AgentBackend
from clptools.agent.conditions import Conditions
from clptools.agent.notices import KnockDenied, OutsideDenied, OutsideDone, OutsideFailed
from clptools.agent.peer_answers import PeerAnswers
from clptools.agent.records import Records
from clptools.agent.requests import Replies
from clptools.api.messages import PeerRequest, Transaction, TransactionScript
from clptools.core.model import events as e
from clptools.core.model.actions import Progress, Reply
from clptools.core.model.requests import ExternalNotice, GroupMove, Outcome
from clptools.core.model.view import StatusView
from clptools.core.notices.requests import OutsideAccepted
from clptools.faults import ClpError, ExitCode
from clptools.links.credentials import OUTSIDE
from clptools.resources.script import ScriptRunner
from tests.core.alone import Alone
from tests.core.cluster import settings

ADDRESS = "10.0.0.9"


class Core:
    """A core that gives every request the same outcome, after the steps it tells of."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies
        self.outcome = Outcome()
        self.steps: list[str] = []
        self.asked: list[e.RequestSeen] = []

    def view(self) -> StatusView:
        return Alone(settings(2)).node.view(0)

    def put(self, event: Any) -> None:
        self.asked.append(event)
        for step in self.steps:
            self._replies.progress(Progress(id=event.id, text=step))
        self._replies.reply(Reply(id=event.id, outcome=self.outcome))


class Bench:
    """The answers of one server to callers outside."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "etc/clptools/scripts/trnreq"
        self.folder.mkdir(parents=True)
        self.ran = root / "ran"
        self.script("exit 0")
        self.worker = ThreadPoolExecutor(1)
        self.records = Records("server1", "me", self.worker)
        replies = Replies()
        self.core = Core(replies)
        unused: Any = None
        self.server, self.incarnation = "server1", "me"
        self.scripts = ScriptRunner()
        self.conditions = Conditions("server1", lambda _: None)
        self.taken_out = ""
        around: Any = self
        backend = AgentBackend(*(self, around, unused, self.records, replies, unused), unused)
        self.answers = PeerAnswers("server1", backend, self.records, unused, unused)

    def core_now(self) -> Any:
        return self.core

    def counters(self) -> dict[str, int]:
        return {}

    def checks_took_s(self) -> dict[str, float]:
        return {}

    def script(self, end: str) -> None:
        path = self.folder / "check.sh"
        path.write_text(f"#!/bin/sh\ntouch {self.ran}\n{end}\n")
        path.chmod(0o700)

    def ask(self, asked: PeerRequest) -> Any:
        async def answered() -> Any:
            try:
                return await self.answers.answer(OUTSIDE, asked, ADDRESS)
            finally:
                await self.records.close()

        return asyncio.run(answered())

    @property
    def told(self) -> list[tuple[int, str, str]]:
        found = self.records.all()
        assert {record.module for record in found} <= {"trnsv"}
        return [(record.event_id, record.level, record.text) for record in found]

    @property
    def kinds(self) -> list[str]:
        return [record.code for record in self.records.all()]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    made = Bench(tmp_path)
    yield made
    made.worker.shutdown()


def script(name: str) -> TransactionScript:
    return TransactionScript(script=name, timeout_s=5, user="anna")


CAME = "came from outside the cluster, sent by anna (clprexec, 10.0.0.9)"


def test_a_script_is_on_record_before_it_runs_and_when_it_is_done(bench: Bench) -> None:
    ended = bench.ask(script("check.sh"))
    # As `did`, so that the line "Command succeeded." of the original stands below it.
    assert (ended.code, ended.text) == (0, "") and ended.did.endswith("check.sh succeeded")
    assert bench.ran.exists()
    assert bench.told == [
        (10, "INFO", f"A notification (script check.sh) {CAME}."),
        (30, "INFO", "Action (script check.sh) by anna (clprexec, 10.0.0.9) has been completed."),
    ]
    assert bench.kinds == [OutsideAccepted.code(), OutsideDone.code()]


def test_a_script_that_fails_is_an_error(bench: Bench) -> None:
    bench.script("exit 3")
    assert bench.ask(script("check.sh")).code == 1
    assert [event_id for event_id, _, _ in bench.told] == [10, 31]
    assert bench.kinds[1:] == [OutsideFailed.code()]
    level, text = bench.told[1][1:]
    assert level == "ERROR"
    assert text.startswith("Action (script check.sh) by anna (clprexec, 10.0.0.9) failed: ")
    assert "3" in text


@pytest.mark.parametrize("name", ["nosuch.sh", "../../bin/sh", "x\n2026/01/01 INFO all is well"])
def test_a_script_that_may_not_run_is_denied(bench: Bench, name: str) -> None:
    with pytest.raises(ClpError):
        bench.ask(script(name))
    assert not bench.ran.exists()
    ((event_id, level, text),) = bench.told
    assert (event_id, level) == (1, "ERROR")
    assert bench.kinds == [OutsideDenied.code()]
    assert f"{CAME}, but it was denied: " in text and "\n" not in text


def test_a_failover_is_told_at_its_first_step_and_at_its_end(bench: Bench) -> None:
    failover = Transaction(request=GroupMove(group="failover1", failover=True), user="anna")
    bench.core.steps = ["server1 stops failover1."]
    assert bench.ask(failover).code == 0
    assert [(event_id, text.split(" by ")[0]) for event_id, _, text in bench.told] == [
        (10, "A notification (failover failover1) came from outside the cluster, sent"),
        (30, "Action (failover failover1)"),
    ]


def test_a_failover_that_is_refused_is_denied_alone(bench: Bench) -> None:
    bench.core.outcome = Outcome(code=ExitCode.REFUSED, text="it does not run.")
    failover = Transaction(request=GroupMove(group="failover1", failover=True), user="anna")
    assert bench.ask(failover).code == 6
    assert bench.told == [
        (
            1,
            "ERROR",
            f"A notification (failover failover1) {CAME}, but it was denied: it does not run.",
        )
    ]
    with pytest.raises(ClpError):
        bench.ask(Transaction(request=GroupMove(failover=True), resource="nosuch"))
    assert bench.told[1][0] == 1 and "the group of nosuch" in bench.told[1][2]


def test_a_notice_comes_from_the_callers_address_and_not_from_the_name_it_claims(
    bench: Bench,
) -> None:
    notice = ExternalNotice(category="RAID", keyword="sda", origin="server2")
    bench.ask(Transaction(request=notice, user="anna"))
    (seen,) = bench.core.asked
    assert isinstance(seen.request, ExternalNotice) and seen.request.origin == ADDRESS
    assert seen.user == "anna (clprexec, 10.0.0.9)"
    assert bench.told == [], "the core tells which monitors took it"
    bench.core.outcome = Outcome(code=ExitCode.REFUSED, text="it is linked.")
    bench.ask(Transaction(request=notice, user="anna"))
    assert [(event_id, text) for event_id, _, text in bench.told] == [
        (
            1,
            f"A notification (notice RAID.sda) {CAME}, but it was denied: it is linked.",
        )
    ]


async def test_who_has_no_key_is_told_and_cannot_fill_the_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0
    monkeypatch.setattr(clock, "boot_ms", lambda: now)

    for number in range(1000):
        bench.answers.outside.knocked(f"10.0.1.{number % 250}", "it has no key")
    now += round(peer_answers._KNOCKS_APART_S * 1000)
    bench.answers.outside.knocked("10.0.1.7", "it has no key")
    await bench.records.close()
    assert bench.kinds == [KnockDenied.code()] * 2
    first, later = (text for _, _, text in bench.told)
    denied = "but it was denied: it has no key"
    assert first == f"A notification came from outside the cluster, sent by 10.0.1.0, {denied}."
    assert later == (
        f"A notification came from outside the cluster, sent by 10.0.1.7, {denied} "
        "(and 999 others before)."
    )
