"""Watching a status brings what changed, and time passing is no change."""

from __future__ import annotations

import msgspec

from clptools.agent.view import blank, changes, local_part
from clptools.core.model.view import (
    ClusterView,
    GroupView,
    HeartbeatView,
    HeldGroupView,
    MonitorOnServerView,
    MonitorView,
    PeerView,
    ServerView,
    StatusView,
)


def server(name: str, *, seen_s: float = 0.1, holds: bool = False, status: str = "Normal"):
    peers = {"other": PeerView(status=status, last_seen_s=seen_s)}
    held = HeldGroupView(name="failover1", status="Online", epoch=1, since_s=seen_s)
    return ServerView(
        name=name,
        status="Online",
        heartbeats=(HeartbeatView(name="lan1", type="lanhb", status=status, peers=peers),),
        groups=(held,) if holds else (),
    )


def view(*servers: ServerView, seen_s: float = 1.0) -> StatusView:
    return StatusView(
        cluster=ClusterView(name="c", status="Caution"),
        servers=servers,
        groups=(
            GroupView(name="failover1", status="Online", current="server1", since_s=seen_s),
            GroupView(name="failover2", status="Online", current="server2", since_s=seen_s),
        ),
        monitors=(
            MonitorView(
                name="mrw1",
                type="mrw",
                status="Caution",
                servers={
                    "server1": MonitorOnServerView(status="Normal"),
                    "server2": MonitorOnServerView(status="Error"),
                },
            ),
        ),
    )


def test_ages_alone_are_no_change() -> None:
    before = view(server("server1", seen_s=0.1), seen_s=1.0)
    assert not changes(before, view(server("server1", seen_s=0.3), seen_s=1.2))
    assert changes(before, view(server("server1", status="Error")))
    assert changes(before, msgspec.structs.replace(before, groups=()))


def test_a_servers_own_part_says_nothing_of_the_others() -> None:
    whole = view(server("server1", holds=True), server("server2"))
    own = local_part(whole, "server1")
    assert [each.name for each in own.servers] == ["server1"]
    assert [(g.name, g.status, g.current) for g in own.groups] == [
        ("failover1", "Online", "server1"),
        ("failover2", "Offline", None),
    ]
    assert own.monitors[0].status == "Normal"
    assert list(own.monitors[0].servers) == ["server1"]


def test_before_there_is_a_configuration_the_cluster_is_stopped() -> None:
    assert blank("server1").cluster.status == "Stopped"
    assert [each.name for each in blank("server1").servers] == ["server1"]
