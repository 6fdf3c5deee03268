"""Event numbers that the log filters of the original's users go by (X 4.2, its catalogue)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.requests import (
    MonitorFault,
    MonitorResume,
    MonitorSuspend,
    Resume,
    Suspend,
)
from clptools.core.model.settings import Monitor, Recovery
from clptools.core.notices import cluster as of_all
from clptools.core.notices import monitors
from clptools.core.notices.form import OTHERS, Kinds, Notice
from clptools.core.notices.monitors import ACTIONS
from tests.core.cluster import Cluster, S, names, settings


def cluster(monitor: Monitor) -> Cluster:
    c = Cluster(settings(2, monitors=(monitor,)))
    assert c.settle() == "server1"
    return c


def genw(**recovery: object) -> Monitor:
    made = Recovery(**{"action": "final", **recovery})  # type: ignore[arg-type]
    return Monitor(name="genw1", type="genw", servers=names(2), recovery=made)


def verdict(c: Cluster, status: str) -> None:
    c.tell("server1", e.MonitorResult(monitor="genw1", status=status, text="no answer"))


def numbered(c: Cluster, module: str, number: int) -> list[a.Record]:
    return [r for _, _, r in c.records if (r.module, r.event_id) == (module, number)]


def count(c: Cluster, *kinds: type[Notice]) -> list[int]:
    return [len(c.said(kind)) for kind in kinds]


def test_every_final_action_has_its_own_pair_of_numbers() -> None:
    failed = monitors.HostActionFailed.entry.number
    assert isinstance(failed, Mapping)
    begun = {action: number for action, number in ACTIONS.items() if number > 12}
    assert set(begun) == set(failed) - {OTHERS}
    assert len(set(begun.values()) | set(failed.values())) == 2 * len(begun)


@pytest.mark.parametrize(
    ("action", "begins", "fails"),
    [
        ("shutdown", 16, 22),
        ("reboot", 17, 23),
        ("bmc-reset", 41, 42),
        ("bmc-nmi", 47, 48),
    ],
)
def test_a_final_action_and_its_failure(action: str, begins: int, fails: int) -> None:
    c = cluster(genw(final_action=action))
    c.scripts["server1", f"{action} act"] = "fail"
    verdict(c, "error")
    c.run(5 * S)
    (begun,) = numbered(c, "rm", begins)
    assert begun in Kinds(monitors.FinalActionBegins)
    assert (begun.level, begun.text) == ("ERROR", f"server1 runs {action}: final action of genw1.")
    assert numbered(c, "rm", fails)


def test_a_script_before_the_action_ends_well_or_fails() -> None:
    c = cluster(genw(pre_action_script="/x/pre.sh", final_action="stop-group", target=""))
    for ok, number in ((True, 82), (False, 83)):
        verdict(c, "error")
        script = c.did(a.RunScript)[-1]
        c.tell("server1", e.ScriptDone(token=script.token, ok=ok, text=""))
        assert numbered(c, "rm", number)
        verdict(c, "normal")


def test_a_monitor_that_was_in_error_or_warned_is_well_again() -> None:
    c = cluster(genw())
    verdict(c, "error")
    verdict(c, "normal")
    assert count(c, monitors.MonitorRecovered, monitors.MonitorWell) == [1, 0]
    verdict(c, "caution")
    verdict(c, "normal")
    assert count(c, monitors.MonitorWell) == [1]


def test_suspend_and_resume_of_cluster_and_monitors() -> None:
    c = cluster(genw())
    c.answer("server1", Suspend())
    assert count(c, of_all.ClusterSuspended, of_all.ClusterResumed) == [2, 0]
    c.answer("server1", Resume())
    assert count(c, of_all.ClusterResumed) == [2]
    c.answer("server1", MonitorSuspend(monitors=("genw1",)))
    c.answer("server1", MonitorResume(monitors=("genw1",)))
    assert count(c, monitors.MonitorSuspended, monitors.MonitorResumed) == [1, 1]
    c.answer("server1", MonitorFault(monitor="genw1", on=True))
    c.answer("server1", MonitorFault(monitor="genw1", on=False))
    assert count(c, monitors.DummyFailureOn, monitors.DummyFailureOff) == [1, 1]
