"""Event numbers that the log filters of the original's users go by (X 4.2, its catalogue)."""

from __future__ import annotations

import pytest

from clptools.core import numbers
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
from tests.core.driver import Cluster, S, names, settings


def cluster(monitor: Monitor) -> Cluster:
    c = Cluster(settings(2, monitors=(monitor,)))
    assert c.settle() == "server1"
    return c


def genw(**recovery: object) -> Monitor:
    made = Recovery(**{"action": "final", **recovery})  # type: ignore[arg-type]
    return Monitor(name="genw1", type="genw", servers=names(2), recovery=made)


def verdict(c: Cluster, status: str) -> None:
    c.tell("server1", e.MonitorResult(monitor="genw1", status=status, text="no answer"))


def test_every_final_action_has_its_own_pair_of_numbers() -> None:
    begun = {action: number for action, number in numbers.ACTION.items() if number > 12}
    assert set(begun) == set(numbers.FAILED)
    assert len(set(begun.values()) | set(numbers.FAILED.values())) == 2 * len(begun)


@pytest.mark.parametrize(
    ("action", "number"), [("shutdown", 16), ("reboot", 17), ("bmc-reset", 41), ("bmc-nmi", 47)]
)
def test_a_final_action_and_its_failure(action: str, number: int) -> None:
    c = cluster(genw(final_action=action))
    verdict(c, "error")
    c.run(5 * S)
    assert c.said(number, "rm")
    c.tell("server1", e.HostActionDone(action=action, ok=False, text="no answer"))
    assert c.said(numbers.FAILED[action], "rm")


def test_a_script_before_the_action_ends_well_or_fails() -> None:
    c = cluster(genw(pre_action_script="/x/pre.sh", final_action="stop-group", target=""))
    for ok, number in ((True, 82), (False, 83)):
        verdict(c, "error")
        script = c.did(a.RunScript)[-1]
        c.tell("server1", e.ScriptDone(token=script.token, ok=ok, text=""))
        assert c.said(number, "rm")
        verdict(c, "normal")


def test_a_monitor_that_was_in_error_or_warned_is_well_again() -> None:
    c = cluster(genw())
    verdict(c, "error")
    verdict(c, "normal")
    assert (len(c.said(26, "rm")), len(c.said(49, "rm"))) == (1, 0)
    verdict(c, "caution")
    verdict(c, "normal")
    assert len(c.said(49, "rm")) == 1


def test_suspend_and_resume_of_cluster_and_monitors() -> None:
    c = cluster(genw())
    c.answer("server1", Suspend())
    assert (len(c.said(35, "pm")), len(c.said(34, "pm"))) == (2, 0)
    c.answer("server1", Resume())
    assert len(c.said(34, "pm")) == 2
    c.answer("server1", MonitorSuspend(monitors=("genw1",)))
    c.answer("server1", MonitorResume(monitors=("genw1",)))
    assert (len(c.said(29, "rm")), len(c.said(30, "rm"))) == (1, 1)
    c.answer("server1", MonitorFault(monitor="genw1", on=True))
    c.answer("server1", MonitorFault(monitor="genw1", on=False))
    assert (len(c.said(180, "rm")), len(c.said(181, "rm"))) == (1, 1)
