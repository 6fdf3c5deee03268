"""What is suspended and perhaps forgotten: who, since when, and a reminder each day."""

from __future__ import annotations

from clptools.core.model.requests import MonitorSuspend, Resume, StretchTimeouts, Suspend
from clptools.core.model.settings import Monitor
from clptools.core.notices import cluster as of_cluster
from clptools.core.notices import monitors as of_monitors
from tests.core.cluster import Cluster, S, settings

DAY = 86_400 * S


def cluster() -> Cluster:
    mrw1 = Monitor(name="mrw1", type="mrw", servers=("server1", "server2"))
    c = Cluster(settings(bmc=False, monitors=(mrw1,)))
    c.settle()
    return c


def a_day_later(c: Cluster) -> None:
    """As if a day had passed, of which a simulation would take minutes."""
    for name in c.cfg.names:
        with c.changed(name) as node:
            node.state.policy.suspended_since -= DAY
            for run in node.state.monitors.values():
                run.suspended_at -= DAY
            node.durable.due()
    c.run(2 * S)


def test_a_cluster_that_stays_suspended_is_told_each_day_with_who_and_the_mend() -> None:
    c = cluster()
    assert c.answer("server2", Suspend()).did == (
        "The cluster is suspended: nothing moves by itself until: clpcl --resume"
    )
    c.run(60 * S)
    view = c.view("server1").cluster
    assert (view.suspended, view.suspended_by) == (True, "root")
    assert view.suspended_s is not None and abs(view.suspended_s - 60) < 2
    assert c.said(of_cluster.ClusterStillSuspended) == []
    # An agent that starts again, or without state, hears since when.
    c.kill("server1")
    c.start("server1")
    c.reset("server2")
    c.run(30 * S)
    for name in c.cfg.names:
        lasts = c.view(name).cluster.suspended_s
        assert lasts is not None and abs(lasts - 90) < 5
    assert c.said(of_cluster.ClusterStillSuspended) == []
    a_day_later(c)
    (text,) = c.said(of_cluster.ClusterStillSuspended)
    assert text == (
        "The cluster has been suspended for 1 d, by root: nothing moves by itself. "
        "Resume it: clpcl --resume"
    )
    a_day_later(c)
    assert "for 2 d" in c.said(of_cluster.ClusterStillSuspended)[-1]
    assert c.answer("server1", Resume()).did == (
        "The cluster is resumed: groups move by themselves again."
    )
    told = c.said(of_cluster.ClusterStillSuspended)
    assert c.said(of_cluster.ClusterResumed)[0].startswith("The cluster was resumed by root; ")
    a_day_later(c)
    assert c.said(of_cluster.ClusterStillSuspended) == told
    view = c.view("server1").cluster
    assert (view.suspended_s, view.suspended_by) == (None, "")


def test_a_monitor_that_stays_suspended_is_told_each_day_where_it_is() -> None:
    c = cluster()
    assert c.answer("server2", MonitorSuspend(monitors=("mrw1",))).code == 0
    c.kill("server2")
    c.start("server2")
    c.run(10 * S)
    for asked in c.cfg.names:
        found = c.view(asked).monitors[-1].servers
        assert found["server1"].suspended_s is None
        assert found["server2"].suspended_by == "root"
        lasts = found["server2"].suspended_s
        assert lasts is not None and abs(lasts - 10) < 2
    a_day_later(c)
    (text,) = c.said(of_monitors.MonitorStillSuspended)
    assert text == (
        "mrw1 on server2 has been suspended for 1 d, by root: nothing is recovered that it finds. "
        "Resume it: clpmonctrl -r -m mrw1 -h server2"
    )


def test_stretched_time_outs_have_an_end_and_who_asked() -> None:
    c = cluster()
    assert c.answer("server1", StretchTimeouts(ratio=3, for_ms=60 * S)).code == 0
    c.run(10 * S)
    for asked in c.cfg.names:
        view = c.view(asked).cluster
        assert (view.toratio, view.toratio_by) == (3, "root")
        assert view.toratio_left_s is not None and abs(view.toratio_left_s - 50) < 2
    c.run(51 * S)
    view = c.view("server1").cluster
    assert (view.toratio, view.toratio_by, view.toratio_left_s) == (1, "", None)
