"""The status of a cluster whose agent is not there: what is configured, all of it `Offline`."""

from __future__ import annotations

from clptools.core.model.settings import Settings
from clptools.core.model.view import (
    ArbiterView,
    ClusterView,
    GroupView,
    HeartbeatView,
    MonitorOnServerView,
    MonitorView,
    PeerView,
    ResourceView,
    ServerView,
    StatusView,
)

OFFLINE = "Offline"


def offline(settings: Settings, server: str) -> StatusView:
    """The view in which nothing runs; `server` is the one that answers, this one."""
    return StatusView(
        cluster=ClusterView(
            name=settings.cluster.name, status="Stopped", revision=settings.revision
        ),
        servers=tuple(
            ServerView(
                name=name,
                status=OFFLINE,
                local=name == server,
                heartbeats=tuple(
                    HeartbeatView(
                        name=path.name,
                        type=path.type,
                        status=OFFLINE,
                        peers={
                            peer: PeerView(status=OFFLINE)
                            for peer in settings.names
                            if peer != name
                        },
                    )
                    for path in settings.interconnects
                ),
                np=tuple(
                    ArbiterView(name=arbiter.name, type=arbiter.type, status=OFFLINE)
                    for arbiter in settings.arbiters
                ),
            )
            for name in settings.names
        ),
        groups=tuple(
            GroupView(
                name=group.name,
                status=OFFLINE,
                current=None,
                comment=group.comment,
                resources=tuple(
                    ResourceView(
                        name=found.name, type=found.type, status=OFFLINE, comment=found.comment
                    )
                    for found in group.resources
                ),
            )
            for group in settings.groups
        ),
        monitors=tuple(
            MonitorView(
                name=monitor.name,
                type=monitor.type,
                status=OFFLINE,
                comment=monitor.comment,
                servers={name: MonitorOnServerView(status=OFFLINE) for name in monitor.servers},
            )
            for monitor in settings.monitors
        ),
    )
