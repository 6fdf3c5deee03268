"""The cluster of these tests: a promise that is broken fails the test that broke it."""

from __future__ import annotations

import pytest

from clptools.core.model.requests import GroupMove
from tests.core.cluster import Cluster, S, settings


def test_a_group_that_is_active_twice_fails_the_test() -> None:
    c = Cluster(settings(), breaks=("I1",))
    other = next(n for n in c.cfg.names if n != c.settle())
    c.hosts[other].active["failover1", "fip1"] = "running"
    c.world.check.changed(c.hosts[other])
    c.breaks = frozenset()
    with pytest.raises(AssertionError, match=r"I1 .* never active on two servers"):
        c.run(1)
    c.breaks = frozenset(("I1",))


def test_a_core_that_was_changed_behind_its_journal_fails_the_test() -> None:
    c = Cluster(settings())
    c.node(c.settle()).state.election.term = c.node("server2").state.election.term._replace(
        number=9
    )
    with pytest.raises(AssertionError, match="I9"):
        c.finish()
    c.breaks = frozenset(("I9",))


def test_a_promise_that_was_to_be_broken_and_held_fails_the_test() -> None:
    c = Cluster(settings(), breaks=("I10",))
    with pytest.raises(AssertionError, match="I10"):
        c.finish()
    c.breaks = frozenset()


def test_a_failover_and_a_move_with_every_journal_replayed() -> None:
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    c.power_off("server1")
    c.run(10 * S)
    assert c.online() == "server2"
    assert c.answer("server2", GroupMove(group="failover1", to="server3")).code == 0
    assert all(h.recorder is not None for n, h in c.hosts.items() if n != "server1")
    c.finish()
