"""What this server says of itself: in heartbeats, in reports, in `clpstat`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from clptools.core.cluster.authority import Authority
from clptools.core.cluster.heartbeats import OwnWord
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.mirrors import Mirrors
from clptools.core.groups.placement import Placement
from clptools.core.groups.runs import GroupRuns
from clptools.core.model.group_state import failed_starts, purging, unfit
from clptools.core.model.messages import Holding
from clptools.core.model.monitor_state import MonitorRun, Windows, bars, open_of
from clptools.core.model.options import WatchdogOptions, read
from clptools.core.model.settings import Interconnect, Monitor
from clptools.core.model.state import Condition, Phase
from clptools.core.model.states import GroupState, MonitorStatus, ResourceState
from clptools.core.model.timing import NEVER
from clptools.core.model.view import (
    ArbiterView,
    ConditionView,
    HeartbeatView,
    HeldGroupView,
    MonitorOnServerView,
    OpenEventView,
    PeerView,
    ResourceView,
    ServerView,
)
from clptools.core.model.words import PowerState, Quiet
from clptools.core.monitors.event_ledger import EventLedger
from clptools.core.monitors.final_action import FinalActions
from clptools.core.monitors.status import MonitorRuns
from clptools.core.safety.lease import Lease
from clptools.core.step import Step

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


class OwnStatus:
    """Builds our word and our report; changes nothing."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        policy: SharedPolicy,
        authority: Authority,
        lease: Lease,
        groups: GroupRuns,
        mirrors: Mirrors,
        placement: Placement,
        runs: MonitorRuns,
        final: FinalActions,
        ledger: EventLedger,
        conditions: Mapping[str, Condition],
        windows: Windows,
    ) -> None:
        self.step = step
        self.peers = peers
        self.policy = policy
        self.authority = authority
        self.lease = lease
        self.groups = groups
        self.mirrors = mirrors
        self.placement = placement
        self.runs = runs
        self.final = final
        self.ledger = ledger
        self.conditions = conditions
        self.windows = windows

    def word(self) -> OwnWord:
        """What our heartbeats say of this server now."""
        runs = self.groups.runs
        return OwnWord(
            holdings=tuple(
                Holding(group=name, seen=run.seen, held=run.held, state=run.state, why=run.why)
                for name, run in runs.items()
                if run.held or run.seen.n
            ),
            unproven=self.placement.unproven() if self.authority.in_office() else (),
            purging=purging(runs),
            armed=self.lease.promised(),
            barred=bars(self.ledger.state.events),
        )

    def own(self) -> ServerView:
        """What this server reports of itself to the others."""
        step = self.step
        now = step.now
        phase = step.life.phase
        words = {Phase.RUNNING: "Online", Phase.LEAVING: "Offline Pending"}
        status = words.get(phase, "Offline")
        if phase is Phase.RUNNING and step.life.newcomer:
            status = "Online Pending"
        heartbeats = self._heartbeats()
        unwell = any(h.status in ("Caution", "Error") for h in heartbeats)
        if status == "Online" and (unwell or self.conditions):
            status = "Caution"
        binds = step.settings.leases_armed
        return ServerView(
            name=step.me,
            status=status,
            incarnation=step.life.incarnation,
            heartbeats=heartbeats,
            np=self._arbiters(),
            newcomer=step.life.newcomer,
            lacks=self.peers.lacks() if step.life.newcomer else (),
            lease_s=max(0, self.lease.state.until - now) / 1000 if binds else None,
            armed=self.lease.state.armed,
            watchdog=self.lease.state.watchdog,
            groups=tuple(self._held(name) for name in self.groups.held()),
            monitors={m.name: self._monitor_here(m) for m in self.runs.here()},
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
                for e in self.ledger.state.events.values()
            ),
            conditions=tuple(self._conditions()),
            bmc_faults=tuple(self._bmc_faults()),
            failed_starts=failed_starts(self.groups.runs),
            unfit=unfit(self.groups.runs, now),
            behind=dict(self.mirrors.state.behind),
            halts=dict(self.final.state.halts),
            quiet={
                name: str(window.stage(now))
                for name, window in self.windows.items()
                if window.stage(now) is not Quiet.CLOSED
            },
            revision=step.settings.revision,
            macs=step.life.macs,
            version=step.life.version,
        )

    def _conditions(self) -> Iterator[ConditionView]:
        for name, found in self.conditions.items():
            yield ConditionView(
                name=name,
                text=found.text,
                mend=found.mend,
                monitors=found.monitors,
                since_s=(self.step.now - found.since) / 1000,
            )

    def _bmc_faults(self) -> Iterator[ConditionView]:
        """What a person must mend before a BMC proves a power loss to us, or stops its server.

        No reason for Caution: this server is well, and may receive groups.
        """
        for name in self.step.settings.names:
            p = self.peers.get(name)
            bmc = self.peers.own_bmc if p is None else p.bmc
            whose = "its own BMC" if p is None else f"the BMC of {name}"
            if bmc.mend_told:
                since, text = bmc.mend_since, f"{whose} cannot be asked: {bmc.error}"
            elif bmc.lacks_since != NEVER:
                since, text = bmc.lacks_since, f"{whose} cannot stop {name}: {bmc.lacks}"
            else:
                continue
            yield ConditionView(
                name=name,
                text=text,
                mend=bmc.mend,
                since_s=(self.step.now - since) / 1000,
            )

    def _held(self, name: str) -> HeldGroupView:
        run = self.groups.runs[name]
        group = self.step.settings.group(name)
        return HeldGroupView(
            name=name,
            status=_GROUP_WORDS[run.state],
            epoch=run.seen.n,
            since_s=(self.step.now - run.since) / 1000,
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
        step = self.step
        run = self.runs.state.get(monitor.name) or MonitorRun()
        status = run.status
        text = run.text
        if step.life.phase is not Phase.RUNNING:
            status = MonitorStatus.OFFLINE
        elif run.suspended or self.policy.shared.suspended:
            status = MonitorStatus.SUSPEND
        elif monitor.type == "userw":
            method = read(WatchdogOptions, monitor.options).method
            if method != "none" and not self.lease.state.armed:
                status = MonitorStatus.CAUTION
                text = "the watchdog is not armed"
        elif monitor.type != "mrw" and not run.running:
            status = MonitorStatus.OFFLINE
        if monitor.type == "mrw":
            texts = [e.meaning for e in open_of(self.ledger.state.events, monitor.name)]
            deaf = [c.text for c in self.conditions.values() if monitor.name in c.monitors]
            text = "; ".join([*texts[-2:], *deaf[:1]])
            if deaf and status is MonitorStatus.NORMAL:
                status = MonitorStatus.CAUTION
        return MonitorOnServerView(
            status=str(status),
            text=text,
            restarts=len(run.restarts),
            failovers=len(run.failovers),
            scripts=len(run.scripts),
            suspended_by=run.suspended_by,
            suspended_s=(step.now - run.suspended_at) / 1000 if run.suspended else None,
        )

    def _heartbeats(self) -> tuple[HeartbeatView, ...]:
        return tuple(self._heartbeat(i) for i in self.step.settings.interconnects)

    def _heartbeat(self, link: Interconnect) -> HeartbeatView:
        step = self.step
        if step.life.phase not in (Phase.RUNNING, Phase.LEAVING):
            return HeartbeatView(name=link.name, type=link.type, status="Offline")
        peers: dict[str, PeerView] = {}
        for name, p in self.peers.items():
            if link.type == "bmchb":
                peers[name] = self._bmc_path(name, link)
                continue
            seen = p.link_at.get(link.name, NEVER)
            age = None if seen == NEVER else (step.now - seen) / 1000
            alive = seen != NEVER and step.now - seen <= step.times.lost_ms
            peers[name] = PeerView(status="Normal" if alive else "Error", last_seen_s=age)
        # A server that is out is not expected on the path.
        expected = [v.status for n, v in peers.items() if not self.peers.is_out(n)]
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
        step = self.step
        p = self.peers[name]
        server = step.settings.server(name)
        if server is None or server.bmc is None:
            return PeerView(status="Unused")
        if p.bmc.at == NEVER:
            return PeerView(status="Error" if p.bmc.error else "Unknown")
        patience = max(step.times.lost_ms, 5_000)
        silent = step.now - p.bmc.at > patience
        # A BMC that answers but whose beat stands still: the server behind it may be gone.
        beat_at = p.bmc.beat_at if link.carrier == "timer" else NEVER
        still = beat_at != NEVER and step.now - beat_at > patience
        status = (
            "Error" if silent or p.bmc.power == PowerState.OFF else "Caution" if still else "Normal"
        )
        seen = p.bmc.at if beat_at == NEVER else beat_at
        return PeerView(status=status, last_seen_s=(step.now - seen) / 1000)

    def _arbiters(self) -> tuple[ArbiterView, ...]:
        step = self.step
        votes = self.authority.state
        views = []
        for arbiter in step.settings.arbiters:
            status = "Normal"
            held = False
            if arbiter is step.settings.arbiter:
                held = step.now < votes.arbiter_at + step.times.authority_ms
                status = "Error" if votes.arbiter_error else "Normal"
            if step.life.phase is not Phase.RUNNING:
                status = "Offline"
            views.append(
                ArbiterView(
                    name=arbiter.name,
                    type=arbiter.type,
                    status=status,
                    held=held,
                    error=votes.arbiter_error if status == "Error" else "",
                )
            )
        return tuple(views)


def group_word(state: str) -> str:
    """How a group's state is shown; a state of a newer version is Unknown."""
    return _GROUP_WORDS[GroupState(state)] if state in _GROUP_WORDS else "Unknown"
