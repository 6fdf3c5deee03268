"""What a notice advises works in the state in which it is told.

Each notice with a hint is in one of two tables.  `CARRIED_OUT` names the test that comes into that
state, runs what the hint says, and finds all well; where it is a command the test here gives the
command's own request, as `clpgrp` and the like make it, to a simulated cluster.  `NOT_HERE` says
why nothing can be carried out.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from clptools.cli.pages.docs import every_notice
from clptools.core.model.requests import GroupStart, Outcome, Suspend
from clptools.core.notices import cluster as of_cluster
from clptools.core.notices import groups as of_groups
from clptools.core.notices import monitors as of_monitors
from clptools.core.notices.form import Notice
from tests.api.fake import Agent
from tests.cli.conftest import Clp, agent, clp, node  # noqa: F401  # fixtures
from tests.core.cluster import Cluster, S, settings
from tests.core.test_status import two_copies

ROOT = Path(__file__).parent.parent
HERE = "tests/test_hints.py"
COMMAND = re.compile(r"clp[a-z]+( -\S+| --\S+| (?:[a-z]+\d+|userw)\b)*")

CARRIED_OUT = {
    "ClusterStillSuspended": f"{HERE}::test_a_suspended_cluster_is_resumed",
    "MonitorStillSuspended": "tests/core/test_requests.py",
    "HeartbeatsRefused": "tests/real/test_authkey.py",
    "BmcRefuses": "tests/real/test_bmc.py",
    "BmcLacks": "tests/hardware/test_accounts.py",
    "BmcLies": "tests/scenarios/s01-liar-is-no-proof-until-it-reads-on.txt",
    "CountsAgain": f"{HERE}::test_a_server_that_does_not_come_up_is_stopped_by_force",
    "StoppedIfSilent": "tests/scenarios/s12-one-of-two-boots-for-too-long.txt",
    "PathSilent": "tests/real/test_post_mortem.py",
    "PagesMissing": "tests/real/test_mtu.py",
    "TwoCopies": f"{HERE}::test_the_older_of_two_copies_is_stopped",
    "GroupStartsNowhere": f"{HERE}::test_what_starts_nowhere_is_started_once_it_is_mended",
    "GroupStuck": f"{HERE}::test_what_could_not_be_stopped_is_stopped_once_it_is_mended",
    "WaitsToStart": "tests/scenarios/order-awaited-fails.txt",
    "StartWaitOver": "tests/scenarios/order-awaited-fails.txt",
    "WaitsToStop": "tests/scenarios/order-stop-group.txt",
    "PurgeFailed": "tests/scenarios/s09-purge-fails-after-boot.txt",
    "RecoveryUsedUp": f"{HERE}::test_a_recovery_that_is_used_up_counts_anew",
    "TooManyHalts": "tests/core/test_halts.py",
    "StateUnwritten": "tests/real/test_faults.py",
    "FilesMadeAgain": "tests/real/test_one_agent.py",
    "FileEdited": "tests/real/test_push.py",
    "TwoRevisions": "tests/agent/test_push.py",
    "MovePlanned": "tests/scenarios/planned-move-cancelled.txt",
    "MoveAnnounced": "tests/scenarios/planned-move-cancelled.txt",
    "MetricsUnserved": "tests/agent/test_metrics.py",
    "NameTaken": "tests/real/test_one_agent.py",
    "StartWaits": "tests/real/test_faults.py",
    "AgentUnfit": "tests/agent/test_resource_agents.py",
    "CopyBehind": "tests/real/test_mirror.py",
    "RunsUnheld": "tests/agent/test_resource_agents.py",
}
"""Code of a notice -> file of the test or scenario, or `file::test`."""

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


@pytest.mark.parametrize("kind", WITH_HINT, ids=lambda kind: kind.code())
def test_a_hint_is_carried_out_or_says_why_not(kind: type[Notice]) -> None:
    where = CARRIED_OUT.get(kind.code(), "")
    assert bool(where) is not (kind.code() in NOT_HERE)
    if where:
        path, _, test = where.partition("::")
        text = (ROOT / path).read_text()
        assert not test or f"def {test}(" in text


def test_the_tables_name_no_notice_that_has_no_hint() -> None:
    assert {*CARRIED_OUT, *NOT_HERE} <= {kind.code() for kind in WITH_HINT}


# ---------------------------------------------------------------------- carried out


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
    c = Cluster(settings())
    c.settle()
    told = of_monitors.RecoveryUsedUp("rm", "userw", ["restarted its target once"]).told("server1")
    assert operator.follow(c, "server1", told).code == 0


def test_every_command_in_a_hint_is_one(operator: Operator) -> None:
    """It is spelt as the commands are, whatever its facts are."""
    known = {path.stem for path in (ROOT / "clptools/cli").glob("clp*.py")} | {"clpnode"}
    for kind in WITH_HINT:
        for command in re.findall(r"\bclp[a-z]+\b(?![./])", kind.hint):
            assert command in known, f"{kind.code()}: {command}"
