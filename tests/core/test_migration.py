"""`migrate_before_failover`: what can carry its state over does so first; nothing waits for it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from clptools.core import notices
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.requests import GroupMove, GroupStop
from clptools.core.model.settings import Group, Monitor, Recovery, Resource
from clptools.core.model.states import GroupState
from tests.core.cluster import EXEC, FIP, Cluster, S, names, settings

VM = msgspec.structs.replace(EXEC, name="vm1", depends=("fip1",), migrates=True)
APP = Resource(name="app1", type="exec", depends=("vm1",))


def cluster(*resources: Resource, count: int = 2, migrate: bool = True, **cfg: Any) -> Cluster:
    monitor = Monitor(
        name="mrw1",
        type="mrw",
        servers=names(count),
        category="NIC",
        recovery=Recovery(action="failover", target="failover1", migrate_before_failover=migrate),
    )
    group = Group(name="failover1", servers=names(count), resources=resources or (FIP, VM))
    c = Cluster(settings(count, groups=(group,), monitors=(monitor,), **cfg))
    assert c.settle() == "server1"
    return c


def error(c: Cluster, server: str = "server1") -> int:
    """A message that fails the group over; returns how many operations came before."""
    before = len(c.did(a.RunResource, server))
    c.tell(server, e.MessageSeen(category="NIC", keyword="eth0", text="link down"))
    return before


def since(c: Cluster, before: int, server: str = "server1") -> list[str]:
    return [f"{r.resource} {r.op}" for r in c.did(a.RunResource, server)[before:]]


def shown(c: Cluster, server: str = "server1") -> dict[str, str]:
    (group,) = [g for g in c.view(server).groups if g.name == "failover1"]
    return {"failover1": group.status} | {r.name: r.status for r in group.resources}


def test_what_defines_it_is_migrated_before_anything_stops() -> None:
    c = cluster(FIP, VM, APP)
    before = error(c)
    c.until(lambda: c.online() == "server2")
    assert since(c, before) == ["vm1 migrate", "app1 stop", "vm1 stop", "fip1 stop"]
    (migrate,) = [r for r in c.did(a.RunResource) if r.op == "migrate"]
    assert (migrate.factor, migrate.event) == ("GROUPFAILOVER", "START")
    assert [r.event for r in c.did(a.RunResource, "server2") if r.resource == "vm1"][-1] == (
        "FAILOVER"
    )
    assert c.said(notices.groups.MigrationBegins) and c.said(notices.groups.MigrationDone)


def test_dependents_are_migrated_before_what_they_need() -> None:
    upper = msgspec.structs.replace(APP, migrates=True)
    c = cluster(FIP, VM, upper)
    c.scripts[("server1", "app1 migrate")] = 1 * S
    before = error(c)
    c.run(500)
    assert since(c, before) == ["app1 migrate"]
    c.until(lambda: c.online() == "server2")
    assert since(c, before)[:4] == ["app1 migrate", "vm1 migrate", "app1 stop", "vm1 stop"]


def test_while_it_migrates_it_is_shown_as_offline_pending_and_stays_active() -> None:
    c = cluster()
    c.scripts[("server1", "vm1 migrate")] = 2 * S
    error(c)
    c.run(1 * S)
    assert shown(c) == {
        "failover1": "Offline Pending",
        "fip1": "Online",
        "vm1": "Offline Pending",
    }
    assert c.active() == ["server1"]


@pytest.mark.parametrize("how", ["fail", "hang"])
def test_one_that_fails_or_never_ends_holds_no_failover_up(how: str) -> None:
    c = cluster()
    c.scripts[("server1", "vm1 migrate")] = how
    before = error(c)
    c.run(100)
    if how == "hang":
        (run,) = [r for r in c.did(a.RunResource) if r.op == "migrate"]
        late = e.ResourceDone(
            group="failover1",
            resource="vm1",
            op="migrate",
            epoch=run.epoch,
            number=run.number,
            ok=False,
            timed_out=True,
        )
        c.tell("server1", late)
    c.until(lambda: c.online() == "server2")
    assert since(c, before) == ["vm1 migrate", "vm1 stop", "fip1 stop"]
    (failed,) = [r for r in c.did(a.Record) if r.code == "MigrationFailed"]
    assert failed.level == "WARN" and {"failover1", "vm1"} <= set(failed.subjects)


def test_no_other_failover_stop_or_move_migrates() -> None:
    without = cluster(migrate=False)
    before = error(without)
    without.until(lambda: without.online() == "server2")
    assert since(without, before) == ["vm1 stop", "fip1 stop"]

    c = cluster()
    assert c.answer("server1", GroupMove(group="failover1", to="server2")).code == 0
    assert c.answer("server1", GroupStop(group="failover1")).code == 0
    assert not [r for r in c.did(a.RunResource) if r.op == "migrate"]


def test_only_what_is_online_is_migrated() -> None:
    c = cluster(FIP, EXEC)
    before = error(c)
    c.until(lambda: c.online() == "server2")
    assert since(c, before) == ["exec1 stop", "fip1 stop"]
    assert not c.said(notices.groups.MigrationBegins)


def test_a_server_that_leaves_meanwhile_stops_at_once_and_a_late_end_changes_nothing() -> None:
    c = cluster()
    c.scripts[("server1", "vm1 migrate")] = 20 * S
    c.scripts[("server1", "vm1 stop")] = 30 * S
    before = error(c)
    c.run(1 * S)
    c.leave("server1")
    assert since(c, before) == ["vm1 migrate", "vm1 stop"]
    assert c.did(a.RunResource, "server1")[-1].factor == "SERVERSTOP"
    c.run(25 * S)
    assert since(c, before) == ["vm1 migrate", "vm1 stop"]
    assert c.node("server1").state.lifecycle.runs["failover1"].state is GroupState.STOPPING
    c.until(lambda: c.online() == "server2")


def test_the_lease_ends_meanwhile_and_the_stop_is_a_forced_one() -> None:
    c = cluster(count=3)
    c.scripts[("server1", "vm1 migrate")] = "hang"
    before = error(c)
    c.run(500)
    c.cut("server1", "server2", "server3")
    c.until(lambda: c.online() == "server2", 40 * S)
    assert since(c, before)[:2] == ["vm1 migrate", "vm1 stop"]
    assert c.did(a.RunResource, "server1")[before + 1].forced


def test_an_agent_that_starts_in_the_middle_goes_on_with_the_stop() -> None:
    c = cluster()
    c.scripts[("server1", "vm1 migrate")] = "hang"
    error(c)
    c.run(500)
    before = len(c.did(a.RunResource, "server1"))
    c.kill("server1")
    c.run(200)
    c.start("server1")
    c.run(1 * S)
    assert since(c, before)[:2] == ["vm1 stop", "fip1 stop"]
    assert "migrate" not in " ".join(since(c, before))
