"""What a notice advises works in the state in which it is told.

Each notice with a hint is in one of two tables.  `CARRIED_OUT` names the test that comes into that
state, runs what the hint says, and finds all well; where it is a command the test here gives the
command's own request, as `clpgrp` and the like make it, to a simulated cluster.  `NOT_HERE` says
why nothing can be carried out.
"""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clptools.cli.pages.docs import every_notice
from clptools.core.model.actions import HostAction, RunResource
from clptools.core.model.events import MessageSeen, MonitorResult, WindowChanged
from clptools.core.model.requests import (
    GroupMove,
    GroupStart,
    GroupStop,
    MonitorSuspend,
    Outcome,
    Resume,
    Suspend,
)
from clptools.core.model.settings import Group, Monitor, QuietWindow, Recovery
from clptools.core.model.words import FinalAction, Operation, StopKind
from clptools.core.notices import cluster as of_cluster
from clptools.core.notices import groups as of_groups
from clptools.core.notices import monitors as of_monitors
from clptools.core.notices.form import Notice
from clptools.core.notices.safety import ForcedStopBegins
from tests.api.fake import Agent
from tests.cli.conftest import Clp, agent, clp, node  # noqa: F401  # fixtures
from tests.core.cluster import EXEC, FIP, Cluster, S, names, settings
from tests.core.test_status import two_copies

ROOT = Path(__file__).parent.parent
HERE = "tests/test_hints.py"
COMMAND = re.compile(r"clp[a-z]+( -\S+| --\S+| (?:[a-z]+\d+|userw|rc|rm|haltcount)\b)*")

CARRIED_OUT = {
    "ClusterStillSuspended": f"{HERE}::test_a_suspended_cluster_is_resumed",
    "MonitorStillSuspended": f"{HERE}::test_a_suspended_monitor_is_resumed_where_it_is",
    "HeartbeatsRefused": "tests/real/test_authkey.py"
    "::test_a_server_with_another_authkey_is_told_and_heard_again_once_it_is_mended",
    "BmcRefuses": "tests/real/test_bmc.py"
    "::test_a_password_that_a_bmc_refuses_is_told_and_mended_as_the_notice_says",
    "BmcLacks": "tests/core/test_manual.py"
    "::test_an_account_that_may_not_stop_a_server_is_told_once_and_its_end_too",
    "BmcLies": "tests/scenarios/s01-liar-is-no-proof-until-it-reads-on.txt",
    "CountsAgain": f"{HERE}::test_a_server_that_does_not_come_up_is_stopped_by_force",
    "StoppedIfSilent": f"{HERE}::test_a_server_that_boots_for_long_is_kept",
    "PathSilent": "tests/real/test_post_mortem.py::play",
    "PagesMissing": "tests/real/test_mtu.py"
    "::test_a_path_that_loses_even_pages_costs_no_server_and_is_told",
    "TwoCopies": f"{HERE}::test_the_older_of_two_copies_is_stopped",
    "GroupStartsNowhere": f"{HERE}::test_what_starts_nowhere_is_started_once_it_is_mended",
    "GroupStuck": f"{HERE}::test_what_could_not_be_stopped_is_stopped_once_it_is_mended",
    "WaitsToStart": f"{HERE}::test_a_group_that_waits_is_started_without_the_one_before",
    "StartWaitOver": f"{HERE}::test_a_group_that_waits_is_started_without_the_one_before",
    "WaitsToStop": f"{HERE}::test_a_group_that_waits_is_stopped_at_once",
    "PurgeFailed": f"{HERE}::test_a_stop_script_that_is_mended_makes_the_server_a_choice_again",
    "RecoveryUsedUp": f"{HERE}::test_a_recovery_that_is_used_up_counts_anew",
    "TooManyHalts": f"{HERE}::test_final_actions_are_run_again_once_their_count_starts_again",
    "StateUnwritten": "tests/real/test_one_agent.py"
    "::test_nothing_is_told_of_a_state_that_cannot_be_written_and_it_recovers_by_itself",
    "FilesMadeAgain": "tests/real/test_one_agent.py"
    "::test_an_agent_whose_run_is_wiped_stays_the_only_one_and_is_found_again",
    "FileEdited": "tests/real/test_faults.py"
    "::test_an_agent_runs_what_was_pushed_whatever_lies_in_the_file",
    "TwoRevisions": "tests/real/test_push.py"
    "::test_two_texts_under_one_number_are_one_again_after_a_push",
    "MovePlanned": f"{HERE}::test_a_planned_move_is_called_off",
    "MoveAnnounced": f"{HERE}::test_a_planned_move_is_called_off",
    "MetricsUnserved": "tests/real/test_left_open.py"
    "::test_a_place_of_metrics_that_is_taken_is_changed_as_the_notice_says",
    "NameTaken": "tests/agent/test_store.py"
    "::test_another_users_process_with_the_agents_name_keeps_no_agent_out",
    "StartWaits": "tests/agent/test_told.py"
    "::test_an_agent_without_room_starts_nothing_until_there_is",
    "AgentUnfit": "tests/agent/test_resource_agents.py"
    "::test_a_missing_agent_is_told_at_the_start_and_once_it_is_there",
    "RunsUnheld": "tests/agent/test_resource_agents.py"
    "::test_what_runs_where_no_group_is_held_is_told",
    "KeyAccepted": "tests/real/test_key_roll.py"
    "::test_the_key_is_rolled_while_agents_die_between_the_steps",
    "KeyUsed": "tests/real/test_key_roll.py"
    "::test_the_key_is_rolled_while_agents_die_between_the_steps",
    "CopyBehind": "tests/real/test_mirror.py::test_an_old_copy_is_not_used_until_it_is_in_sync",
}
"""Code of a notice -> `file::test`, or a scenario."""

NOT_HERE = {
    "DuplicateName": "a person gives one of two servers another name",
    "OneCopy": "a person looks at the data",
    "BootNotNoted": "a person mends the file system; the rest is boot-noted-late",
    "NotTakenOver": "it is tried again by itself",
    "RecordsUnwritten": "it only looks",
    "DiskFull": "it only looks",
    "DiskHangs": "it only looks",
    "LinkNotOpen": "it only looks",
    "IpmiServiceMissing": "it needs a server with a BMC and its kernel modules",
    "FenceAgentUnusable": "it installs a package, or changes the configuration",
    "IpmiDeviceSilent": "it is tried again by itself",
}

WITH_HINT = [kind for kind in every_notice() if kind.hint]


def of_test(file: str, name: str) -> str:
    """The source of a test function, with what it is run for."""
    text = (ROOT / file).read_text()
    found = [
        each
        for each in ast.walk(ast.parse(text))
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == name
    ]
    assert found, f"{file} has no {name}"
    begin = min(each.lineno for each in (found[0], *found[0].decorator_list))
    return textwrap.dedent("\n".join(text.splitlines()[begin - 1 : found[0].end_lineno]))


def waits_for(source: str, kind: type[Notice]) -> bool:
    """Whether a test names that notice, or words of it alone."""
    if re.search(rf"\b{kind.code()}\b", source):
        return True
    pieces = re.split(r"\{[^{}]*\}|[\[\]]", kind.says)
    texts = [
        each.value
        for each in ast.walk(ast.parse(source))
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    return any(
        (text in piece and text.count(" ") >= 2) or (piece in text and piece.strip().count(" "))
        for text in (text.strip() for text in texts)
        for piece in pieces
    )


def is_told(scenario: str, kind: type[Notice]) -> bool:
    """Whether it is among what happened."""
    says = re.sub(r"\\\{[^{}]*\\\}", ".+", re.escape(kind.says.replace("[[", "").replace("]]", "")))
    return re.search(says, re.sub(r"[\[\]]", "", scenario)) is not None


@pytest.mark.parametrize("kind", WITH_HINT, ids=lambda kind: kind.code())
def test_a_hint_is_carried_out_or_says_why_not(kind: type[Notice]) -> None:
    """The test that is named waits for this notice: by its name, or by its words."""
    where = CARRIED_OUT.get(kind.code(), "")
    assert bool(where) is not (kind.code() in NOT_HERE)
    if where:
        file, _, test = where.partition("::")
        if file.endswith(".txt"):
            assert is_told((ROOT / file).read_text(), kind)
        else:
            assert waits_for(of_test(file, test), kind)


def test_the_tables_name_no_notice_that_has_no_hint() -> None:
    assert {*CARRIED_OUT, *NOT_HERE} <= {kind.code() for kind in WITH_HINT}


# ---------------------------------------------------------------------- carried out


def genw(**recovery: Any) -> Monitor:
    """A monitor of failover1, on both servers."""
    made = Recovery(**{"action": "restart", "target": "failover1", **recovery})
    return Monitor(name="genw1", type="genw", servers=names(2), recovery=made)


class Operator:
    """Runs the commands of a hint in a simulated cluster."""

    def __init__(self, clp: Clp, agent: Agent) -> None:  # noqa: F811  # fixtures
        self.clp = clp
        self.agent = agent

    def follow(self, c: Cluster, server: str, told: str, number: int = 0) -> Outcome:
        """The command in a notice, on `server`."""
        commands = [match[0] for match in COMMAND.finditer(told)]
        name, *words = shlex.split(commands[number])
        ran = self.clp(name, *words)
        assert ran.code == 0, ran.err
        request, _ = self.agent.backend.asked[-1]
        return c.answer(server, request)


@pytest.fixture
def operator(clp: Clp, agent: Agent) -> Operator:  # noqa: F811  # fixtures
    return Operator(clp, agent)


def last(c: Cluster, kind: type[Notice]) -> str:
    return c.said(kind)[-1]


def test_a_suspended_cluster_is_resumed(operator: Operator) -> None:
    c = Cluster(settings())
    c.settle()
    assert c.answer("server1", Suspend()).code == 0
    told = of_cluster.ClusterStillSuspended(86_400_000, "root").told("server1")
    assert operator.follow(c, "server2", told).code == 0
    assert not c.view("server1").cluster.suspended


def test_what_starts_nowhere_is_started_once_it_is_mended(operator: Operator) -> None:
    c = Cluster(settings())
    for name in c.cfg.names:
        c.scripts[name, "exec1 start"] = "fail"
    c.until(lambda: bool(c.said(of_groups.GroupStartsNowhere)))
    told = last(c, of_groups.GroupStartsNowhere)
    c.scripts.clear()
    assert operator.follow(c, "server2", told).code == 0
    assert c.online()


def test_what_could_not_be_stopped_is_stopped_once_it_is_mended(operator: Operator) -> None:
    c = Cluster(settings())
    holder = c.settle()
    c.scripts[holder, "exec1 stop"] = "fail"
    c.ask(holder, GroupStart(group="failover1"))
    c.perform(f"request {holder} move failover1")
    c.until(lambda: bool(c.said(of_groups.GroupStuck)))
    c.scripts.clear()
    assert operator.follow(c, "server1", last(c, of_groups.GroupStuck)).code == 0
    assert c.active() == []


def test_the_older_of_two_copies_is_stopped(operator: Operator) -> None:
    """Also where its stop had failed before; the newer one runs on."""
    c = Cluster(settings(3), breaks=("I1",))
    assert c.settle() == "server1"
    c.scripts["server2", "exec1 stop"] = "fail"
    two_copies(c)
    c.until(lambda: bool(c.said(of_groups.TwoCopies)))
    c.run(5 * S)
    assert c.view("server3").groups[0].copies == ("server1", "server2")
    c.scripts.clear()
    outcome = operator.follow(c, "server3", last(c, of_groups.TwoCopies))
    assert outcome.code == 0, outcome
    assert outcome.did == "The older copy of failover1 has stopped on server2; it runs on server1."
    c.run(1 * S)
    assert c.view("server3").groups[0].copies == ()
    assert c.online() == "server1"


def test_a_server_that_does_not_come_up_is_stopped_by_force(operator: Operator) -> None:
    c = Cluster(settings(3, forced_stop="power-off", startup_wait_ms=30_000))
    c.settle()
    for name in ("server2", "server3"):
        c.power_off(name)
        c.run(20 * S)
    for name in ("server2", "server3"):
        c.hosts[name].boot_s = 1_000.0
        c.perform(f"on {name}")
    c.until(lambda: bool(c.said(of_cluster.CountsAgain)), 300 * S)
    told = c.said(of_cluster.CountsAgain)[0]
    assert operator.follow(c, "server1", told).code == 0


def test_a_recovery_that_is_used_up_counts_anew(operator: Operator) -> None:
    c = Cluster(settings(monitors=(genw(restart_count=1, failover_count=0),)))
    holder = c.settle()

    def restarts() -> int:
        did = c.did(RunResource, holder)
        return sum((r.resource, r.op) == ("exec1", Operation.STOP) and r.epoch > 0 for r in did)

    def fails() -> None:
        c.tell(holder, MonitorResult(monitor="genw1", status="error", text="no answer"))
        c.run(2 * S)

    fails()
    fails()
    assert restarts() == 1
    outcome = operator.follow(c, holder, last(c, of_monitors.RecoveryUsedUp))
    assert outcome.code == 0
    c.tell(holder, MonitorResult(monitor="genw1", status="normal", text=""))
    fails()
    assert restarts() == 2
    assert c.online() == holder


@pytest.mark.parametrize("kind", ["rm", "rc"])
def test_final_actions_are_run_again_once_their_count_starts_again(
    operator: Operator, kind: str
) -> None:
    """Those of monitors and of resources are counted apart."""
    failing = msgspec.structs.replace(EXEC, depends=(), final_action=FinalAction.SYSRQ_PANIC)
    group = Group(name="failover1", servers=names(2), resources=(failing,))
    monitor = genw(restart_count=0, failover_count=0, final_action=FinalAction.SYSRQ_PANIC)
    c = Cluster(settings(groups=(group,), monitors=(monitor,), max_reboots=1))
    holder = c.settle()
    with c.changed(holder) as core:
        core.state.final.halts[kind] = 1
        core.durable.ledger_due()

    def fails() -> None:
        if kind == "rm":
            c.tell(holder, MonitorResult(monitor="genw1", status="error", text="no answer"))
        else:
            c.scripts[holder, "exec1 stop"] = "fail"
            c.ask(holder, GroupStop(group="failover1", force=True))
        c.run(2 * S)

    fails()
    assert not c.did(HostAction)
    outcome = operator.follow(c, holder, last(c, of_monitors.TooManyHalts))
    assert outcome.code == 0
    if kind == "rm":
        c.tell(holder, MonitorResult(monitor="genw1", status="normal", text=""))
    else:
        c.scripts.clear()
        assert c.answer(holder, GroupStop(group="failover1", force=True)).code == 0
        assert c.answer(holder, GroupStart(group="failover1", server=holder)).code == 0
    fails()
    assert [x.action for x in c.did(HostAction, holder)] == [FinalAction.SYSRQ_PANIC]


def test_a_suspended_monitor_is_resumed_where_it_is(operator: Operator) -> None:
    """The command is typed on either server."""
    c = Cluster(settings(monitors=(genw(),)))
    c.settle()
    assert c.answer("server2", MonitorSuspend(monitors=("genw1",))).code == 0
    with c.changed("server2") as core:
        core.state.monitors["genw1"].suspended_at -= 86_400 * S
        core.durable.due()
    c.until(lambda: bool(c.said(of_monitors.MonitorStillSuspended)))
    told = last(c, of_monitors.MonitorStillSuspended)
    assert operator.follow(c, "server1", told).code == 0
    c.run(1 * S)
    shown = {m.name: m for m in c.view("server1").monitors}["genw1"]
    assert shown.servers["server2"].status != "Suspend"


def test_a_server_that_boots_for_long_is_kept(operator: Operator) -> None:
    c = Cluster(settings(forced_stop="power-off", startup_wait_ms=60 * S))
    c.settle()
    c.power_off("server2")
    c.run(20 * S)
    c.hosts["server2"].boot_s = 100.0
    c.power_on("server2")
    c.until(lambda: bool(c.said(of_cluster.StoppedIfSilent)), 120 * S)
    told = last(c, of_cluster.StoppedIfSilent)
    assert operator.follow(c, "server1", told).code == 0
    c.run(100 * S)
    assert c.said(ForcedStopBegins) == []
    assert c.hosts["server2"].node is not None
    assert c.answer("server1", Resume()).code == 0
    c.run(10 * S)
    assert c.online()


def ordered(**fields: object) -> Cluster:
    """`app`, which heeds `db`; both are online."""
    exec2 = msgspec.structs.replace(EXEC, depends=(), name="exec2")
    app = Group(name="failover1", servers=names(2), resources=(exec2,), **fields)  # type: ignore[arg-type]
    db = Group(name="failover2", servers=names(2), resources=(FIP,))
    c = Cluster(settings(groups=(app, db)))
    c.settle("failover1")
    c.settle("failover2")
    return c


@pytest.mark.parametrize("kind", [of_groups.WaitsToStart, of_groups.StartWaitOver])
def test_a_group_that_waits_is_started_without_the_one_before(
    operator: Operator, kind: type[Notice]
) -> None:
    c = ordered(start_after=("failover2",), start_wait_ms=5 * S)
    for name in ("failover1", "failover2"):
        assert c.answer("server1", GroupStop(group=name)).code == 0
    c.ask("server2", GroupStart(group="failover1"))
    c.until(lambda: bool(c.said(kind)))
    assert c.active("failover1") == []
    assert operator.follow(c, "server1", last(c, kind)).code == 0
    assert c.online("failover1")


def test_a_group_that_waits_is_stopped_at_once(operator: Operator) -> None:
    c = ordered(stop_after=("failover2",), stop_after_at=(StopKind.GROUP,))
    c.ask("server1", GroupStop(group="failover1"))
    c.until(lambda: bool(c.said(of_groups.WaitsToStop)))
    assert c.online("failover1")
    assert operator.follow(c, "server2", last(c, of_groups.WaitsToStop)).code == 0
    assert c.active("failover1") == []
    assert c.online("failover2")


@pytest.mark.parametrize("kind", [of_groups.MovePlanned, of_groups.MoveAnnounced])
def test_a_planned_move_is_called_off(operator: Operator, kind: type[Notice]) -> None:
    site = msgspec.structs.replace(
        genw(), name="site1", type="mrw", category="SITE", target="failover1",
        stall_on_predictive_failure=True, prepare_on_stall=True,
        quiet_windows=(QuietWindow(begin=120, end=240),),
    )  # fmt: skip
    c = Cluster(settings(monitors=(site,)))
    holder = c.settle()
    for name in c.cfg.names:
        opens_at = c.now(name) + 600 * S
        closes_at = opens_at + 7_200 * S
        event = WindowChanged(monitor="site1", opens_at=opens_at, closes_at=closes_at, when="then")
        c.tell(name, event)
    c.tell(holder, MessageSeen(category="SITE", keyword="a", text="hot", predictive=True))
    c.until(lambda: bool(c.said(kind)), 400 * S)
    assert operator.follow(c, "server2", last(c, kind)).code == 0
    assert c.group().planned_move is None
    c.run(700 * S)
    assert c.online() == holder


def test_a_stop_script_that_is_mended_makes_the_server_a_choice_again() -> None:
    c = Cluster(settings())
    holder = c.settle()
    other = next(name for name in c.cfg.names if name != holder)
    c.scripts[other, "exec1 stop"] = "fail"
    c.reset(other)
    c.until(lambda: bool(c.said(of_groups.PurgeFailed)))
    assert c.answer(holder, GroupMove(group="failover1")).code == 6
    c.scripts.clear()
    c.run(60 * S)
    assert c.answer(holder, GroupMove(group="failover1")).code == 0
    assert c.online() == other


def test_a_group_is_started_elsewhere_where_failover_left_a_server_untried(
    operator: Operator,
) -> None:
    once = msgspec.structs.replace(EXEC, depends=(), failover_on_failure=1)
    group = Group(name="failover1", servers=names(3), resources=(once,))
    c = Cluster(settings(3, groups=(group,)))
    for name in names(2):
        c.scripts[name, "exec1 start"] = "fail"
    c.until(lambda: bool(c.said(of_groups.GroupStartsNowhere)))
    told = last(c, of_groups.GroupStartsNowhere)
    assert "; or elsewhere: " in told
    assert operator.follow(c, "server1", told, number=1).code == 0
    assert c.online() == "server3"


def test_every_command_in_a_hint_is_one(operator: Operator) -> None:
    """It is spelt as the commands are, whatever its facts are."""
    known = {path.stem for path in (ROOT / "clptools/cli").glob("clp*.py")} | {"clpnode"}
    for kind in WITH_HINT:
        for command in re.findall(r"\bclp[a-z]+\b(?![./])", kind.hint):
            assert command in known, f"{kind.code()}: {command}"
