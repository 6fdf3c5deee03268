"""What this server says of itself, to the others and to its own people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core.model.quorum import NEVER
from clptools.core.model.settings import Interconnect, Monitor
from clptools.core.model.state import MonitorRun, Phase
from clptools.core.model.states import GroupState, MonitorStatus, ResourceState
from clptools.core.model.view import (
    ArbiterView,
    HeartbeatView,
    HeldGroupView,
    MonitorOnServerView,
    OpenEventView,
    PeerView,
    ResourceView,
    ServerView,
)

if TYPE_CHECKING:
    from clptools.core.node import Node

_GROUP_WORDS = {
    GroupState.NONE: "Offline",
    GroupState.STARTING: "Online Pending",
    GroupState.ONLINE: "Online",
    GroupState.STOPPING: "Offline Pending",
    GroupState.STOP_FAILED: "Offline Failure",
}
_RESOURCE_WORDS = {
    ResourceState.OFFLINE: "Offline",
    ResourceState.STARTING: "Online Pending",
    ResourceState.ONLINE: "Online",
    ResourceState.MIGRATING: "Offline Pending",
    ResourceState.STOPPING: "Offline Pending",
    ResourceState.START_FAILED: "Online Failure",
    ResourceState.STOP_FAILED: "Offline Failure",
}


class OwnReport:
    """Builds it; changes nothing."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def own(self) -> ServerView:
        """What this server reports of itself to the others."""
        node = self.node
        state = node.state
        now = node.now
        phase = state.phase
        words = {Phase.RUNNING: "Online", Phase.LEAVING: "Offline Pending"}
        status = words.get(phase, "Offline")
        if phase is Phase.RUNNING and state.newcomer:
            status = "Online Pending"
        heartbeats = self._heartbeats()
        if status == "Online" and any(h.status in ("Caution", "Error") for h in heartbeats):
            status = "Caution"
        binds = node.settings.leases_armed
        return ServerView(
            name=node.me,
            status=status,
            incarnation=state.incarnation,
            heartbeats=heartbeats,
            np=self._arbiters(),
            newcomer=state.newcomer,
            lacks=node.membership.lacks() if state.newcomer else (),
            lease_s=max(0, state.lease_until - now) / 1000 if binds else None,
            armed=state.armed,
            watchdog=state.watchdog,
            groups=tuple(self._held(name) for name in node.groups.held()),
            monitors={m.name: self._monitor_here(m) for m in node.recovery.here()},
            open_events=tuple(
                OpenEventView(
                    id=e.id,
                    event_class=e.event_class,
                    meaning=e.meaning,
                    first_s=(now - e.first_at) / 1000,
                    last_s=(now - e.last_at) / 1000,
                    count=e.count,
                    monitor=e.monitor,
                    acknowledged=e.acknowledged,
                )
                for e in state.events.values()
            ),
            halts=dict(state.halts),
            revision=node.settings.revision,
            macs=state.macs,
        )

    def _held(self, name: str) -> HeldGroupView:
        run = self.node.state.groups[name]
        group = self.node.settings.group(name)
        return HeldGroupView(
            name=name,
            status=_GROUP_WORDS[run.state],
            epoch=run.seen.n,
            since_s=(self.node.now - run.since) / 1000,
            resources=tuple(
                ResourceView(
                    name=r.name,
                    type=r.type,
                    status=_RESOURCE_WORDS[run.resources.get(r.name, ResourceState.OFFLINE)],
                    comment=r.comment,
                )
                for r in (group.resources if group is not None else ())
            ),
        )

    def _monitor_here(self, monitor: Monitor) -> MonitorOnServerView:
        node = self.node
        run = node.state.monitors.get(monitor.name) or MonitorRun()
        status = run.status
        text = run.text
        if node.state.phase is not Phase.RUNNING:
            status = MonitorStatus.OFFLINE
        elif run.suspended or node.state.shared.suspended:
            status = MonitorStatus.SUSPEND
        elif monitor.type == "userw":
            method = str(monitor.options.get("method", "none"))
            if method != "none" and not node.state.armed:
                status = MonitorStatus.CAUTION
                text = "the watchdog is not armed"
        elif monitor.type != "mrw" and not run.running:
            status = MonitorStatus.OFFLINE
        if monitor.type == "mrw":
            texts = [e.meaning for e in node.ledger.open_of(monitor.name)]
            text = "; ".join(texts[-2:])
        return MonitorOnServerView(
            status=str(status),
            text=text,
            restarts=len(run.restarts),
            failovers=len(run.failovers),
            scripts=len(run.scripts),
        )

    def _heartbeats(self) -> tuple[HeartbeatView, ...]:
        return tuple(self._heartbeat(i) for i in self.node.settings.interconnects)

    def _heartbeat(self, link: Interconnect) -> HeartbeatView:
        node = self.node
        if node.state.phase not in (Phase.RUNNING, Phase.LEAVING):
            return HeartbeatView(name=link.name, type=link.type, status="Offline")
        peers: dict[str, PeerView] = {}
        for name, p in node.state.peers.items():
            if link.type == "bmchb":
                peers[name] = self._bmc_path(name, link)
                continue
            seen = p.link_at.get(link.name, NEVER)
            age = None if seen == NEVER else (node.now - seen) / 1000
            alive = seen != NEVER and node.now - seen <= node.times.lost_ms
            peers[name] = PeerView(status="Normal" if alive else "Error", last_seen_s=age)
        # A server that is out is not expected on the path.
        expected = [v.status for n, v in peers.items() if not node.membership.is_out(n)]
        bad = [s for s in expected if s not in ("Normal", "Unused")]
        if not expected:
            status = "Normal"
        elif set(expected) == {"Unused"}:
            status = "Unused"
        elif len(bad) == len(expected):
            status = "Caution" if set(bad) == {"Caution"} else "Error"
        else:
            status = "Caution" if bad else "Normal"
        return HeartbeatView(name=link.name, type=link.type, status=status, peers=peers)

    def _bmc_path(self, name: str, link: Interconnect) -> PeerView:
        node = self.node
        p = node.state.peers[name]
        server = node.settings.server(name)
        if server is None or server.bmc is None:
            return PeerView(status="Unused")
        if p.bmc.at == NEVER:
            return PeerView(status="Error" if p.bmc.error else "Unknown")
        patience = max(node.times.lost_ms, 5_000)
        silent = node.now - p.bmc.at > patience
        # A BMC that answers but whose beat stands still: the server behind it may be gone.
        beat_at = p.bmc.beat_at if link.carrier == "timer" else NEVER
        still = beat_at != NEVER and node.now - beat_at > patience
        status = "Error" if silent or p.bmc.power == "off" else "Caution" if still else "Normal"
        seen = p.bmc.at if beat_at == NEVER else beat_at
        return PeerView(status=status, last_seen_s=(node.now - seen) / 1000)

    def _arbiters(self) -> tuple[ArbiterView, ...]:
        node = self.node
        votes = node.state.votes
        views = []
        for arbiter in node.settings.arbiters:
            status = "Normal"
            held = False
            if arbiter is node.settings.arbiter:
                held = node.now < votes.arbiter_at + node.times.authority_ms
                status = "Error" if votes.arbiter_error else "Normal"
            if node.state.phase is not Phase.RUNNING:
                status = "Offline"
            views.append(
                ArbiterView(name=arbiter.name, type=arbiter.type, status=status, held=held)
            )
        return tuple(views)


def group_word(state: str) -> str:
    """How a group's state is shown; one that only a newer version knows is Unknown."""
    return _GROUP_WORDS[GroupState(state)] if state in _GROUP_WORDS else "Unknown"
