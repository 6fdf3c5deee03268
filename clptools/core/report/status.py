"""The view of the cluster, in the words of `clpstat`."""

from __future__ import annotations

import msgspec

from clptools.core import phrases as say
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.cluster.timeout_ratio import TimeoutRatio
from clptools.core.groups.exclusion import Exclusion
from clptools.core.groups.holders import Holders
from clptools.core.groups.selection import Selection
from clptools.core.groups.start_order import StartOrder
from clptools.core.groups.waits import Waits
from clptools.core.model.group_state import Copies
from clptools.core.model.settings import Group, Monitor
from clptools.core.model.state import Phase
from clptools.core.model.states import MonitorStatus
from clptools.core.model.timing import NEVER
from clptools.core.model.view import (
    ArbiterView,
    BmcView,
    ClusterView,
    GroupView,
    HeartbeatView,
    MonitorOnServerView,
    MonitorView,
    PlannedMoveView,
    ResourceView,
    ServerView,
    StatusView,
    WaitingView,
)
from clptools.core.model.words import Failback, PowerState
from clptools.core.monitors.hindrances import Hindrances
from clptools.core.monitors.planned_moves import PlannedMoves
from clptools.core.report.own_status import OwnStatus, group_word
from clptools.core.safety.clearance import Clearance
from clptools.core.step import Step

_READ_LASTS_MS = 15_000
"""What fence agents said is shown for so long: with `poll` they are asked every 5 s."""
_IDLE = ("Offline", "Unused", "Suspend")


class Status:
    """Builds views; changes nothing."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        policy: SharedPolicy,
        ratio: TimeoutRatio,
        authority: Authority,
        clearance: Clearance,
        selection: Selection,
        exclusion: Exclusion,
        start_order: StartOrder,
        holders: Holders,
        waits: Waits,
        planned: PlannedMoves,
        hindrances: Hindrances,
        copies: dict[str, Copies],
        own_status: OwnStatus,
    ) -> None:
        self.step = step
        self.peers = peers
        self.policy = policy
        self.ratio = ratio
        self.authority = authority
        self.clearance = clearance
        self.selection = selection
        self.exclusion = exclusion
        self.start_order = start_order
        self.holders = holders
        self.waits = waits
        self.planned = planned
        self.hindrances = hindrances
        self.copies = copies
        self.own_status = own_status

    def view(self) -> StatusView:
        """The whole cluster as this server knows it."""
        step = self.step
        servers = tuple(
            msgspec.structs.replace(self._server(name), addresses=step.settings.addresses_of(name))
            for name in step.settings.names
        )
        groups = tuple(self._group(g, servers) for g in step.settings.groups)
        monitors = tuple(self._monitor(m, servers) for m in step.settings.monitors)
        shared = self.policy.shared
        serving = step.life.phase in (Phase.RUNNING, Phase.LEAVING)
        ratio = self.ratio.state.ratio if serving else 1
        cluster = ClusterView(
            name=step.settings.cluster.name,
            status=self._cluster_word(servers, groups, monitors),
            suspended=shared.suspended,
            suspended_by=shared.suspended_by if shared.suspended else "",
            suspended_s=(step.now - self.policy.state.suspended_since) / 1000
            if shared.suspended
            else None,
            revision=step.settings.revision,
            coordinator=self.authority.coordinator() if serving else "",
            quorate=serving and self.authority.quorate(),
            term=self.authority.state.term.number,
            electorate=self.peers.electorate(),
            out=tuple(n for n in self.peers if self.peers.is_out(n)),
            toratio=ratio,
            toratio_by=shared.ratio_by if ratio > 1 else "",
            toratio_left_s=max(self.ratio.state.until - step.now, 0) / 1000 if ratio > 1 else None,
        )
        return StatusView(cluster=cluster, servers=servers, groups=groups, monitors=monitors)

    def _copies(self, group: str) -> tuple[str, ...]:
        found = self.copies.get(group)
        return found.servers if found is not None and found.told else ()

    def _cluster_word(
        self,
        servers: tuple[ServerView, ...],
        groups: tuple[GroupView, ...],
        monitors: tuple[MonitorView, ...],
    ) -> str:
        if self.step.life.phase not in (Phase.RUNNING, Phase.LEAVING):
            return "Stopped"
        if any(g.status in ("Error", "Offline Failure") for g in groups):
            return "Error"
        if any(g.wanted and g.status == "Offline" for g in groups):
            return "Error"
        if not self.authority.quorate():
            return "Error"
        fine = (
            all(s.status == "Online" for s in servers)
            and all(g.status == "Online" or not g.wanted for g in groups)
            and all(m.status in ("Normal", "Offline", "Unused") for m in monitors)
        )
        return "Normal" if fine else "Caution"

    def _server(self, name: str) -> ServerView:
        step = self.step
        if name == step.me:
            own = self.own_status.own()
            return _replace(own, local=True, bmc=self._bmc(name))
        p = self.peers[name]
        online = self.peers.is_online(name) or (
            p.beat is not None and p.beat.stopped and self.peers.hears(name)
        )
        stopped = step.life.phase not in (Phase.RUNNING, Phase.LEAVING)
        status = "Unknown"
        if stopped or self.peers.is_out(name):
            status = "Offline"
        elif online:
            status = "Online"
        elif p.lost or not p.believed:
            status = "Unknown" if p.believed else "Offline"
        report = None
        if p.report is not None:
            report = _aged(p.report.server, (step.now - p.reported_at) / 1000)
        if report is None:
            if status == "Online" and p.beat is not None and p.beat.newcomer:
                status = "Online Pending"
            return ServerView(
                name=name,
                status=status,
                heartbeats=self._dark_heartbeats(status),
                np=self._dark_arbiters(status),
                bmc=self._bmc(name),
                refused=self.peers.why_refused(name),
                refused_mend=self.peers.mend_of_refusal(name),
            )
        if status == "Online":
            return _replace(report, bmc=self._bmc(name), local=False)
        return ServerView(
            name=name,
            status=status,
            incarnation=report.incarnation,
            heartbeats=self._dark_heartbeats(status),
            np=self._dark_arbiters(status),
            bmc=self._bmc(name),
            open_events=report.open_events,
            revision=report.revision,
            version=report.version,
            refused=self.peers.why_refused(name),
            refused_mend=self.peers.mend_of_refusal(name),
        )

    def _dark_heartbeats(self, server: str) -> tuple[HeartbeatView, ...]:
        """The configured paths of a server, by its status, that does not report itself."""
        word = "Offline" if server == "Offline" else "Unknown"
        return tuple(
            HeartbeatView(name=i.name, type=i.type, status=word)
            for i in self.step.settings.interconnects
        )

    def _dark_arbiters(self, server: str) -> tuple[ArbiterView, ...]:
        word = "Offline" if server == "Offline" else "Unknown"
        return tuple(
            ArbiterView(name=a.name, type=a.type, status=word) for a in self.step.settings.arbiters
        )

    def _bmc(self, name: str) -> BmcView | None:
        step = self.step
        server = step.settings.server(name)
        if server is None or not server.has_power_control:
            return None
        p = self.peers.get(name)
        bmc = self.peers.own_bmc if p is None else p.bmc
        asked = server.bmc is not None or bool(bmc.error) or step.now - bmc.at <= _READ_LASTS_MS
        reachable = bmc.at != NEVER and not bmc.error and asked
        return BmcView(
            address=server.bmc.address if server.bmc is not None else "",
            agents=tuple(fence.name for fence in server.fences),
            asked=asked,
            power=bmc.power,
            reachable=reachable,
            can_prove=reachable and p is not None,
            since_s=None if bmc.change_at == NEVER else (step.now - bmc.change_at) / 1000,
            latency_ms=float(bmc.latency_ms) if reachable else None,
            error=bmc.error,
            lacks=bmc.lacks,
            mend=bmc.mend if bmc.error or bmc.lacks else "",
        )

    def _word_on(self, server: str, state: str) -> str:
        """The state of a group as its holder says it, while that is heard."""
        heard = server == self.step.me or self.peers.is_online(server)
        return group_word(state) if heard else "Unknown"

    def _group(self, group: Group, servers: tuple[ServerView, ...]) -> GroupView:
        step = self.step
        intent = self.policy.intent_of(group.name)
        serving = step.life.phase in (Phase.RUNNING, Phase.LEAVING)
        holders = self.holders.of(group.name) if serving else []
        idle = tuple(
            ResourceView(name=r.name, type=r.type, status="Offline", comment=r.comment)
            for r in group.resources
        )
        on = {h.server: self._word_on(h.server, h.state) for h in holders}
        if not holders:
            failed = self.selection.exhausted(group, intent)
            return GroupView(
                name=group.name,
                status="Error" if failed else "Offline",
                current=None,
                wanted=intent.wanted,
                failures=intent.failures,
                waiting_for=self._waiting(group.name),
                resources=idle,
                on=on,
                comment=group.comment,
            )
        newest = max(holders, key=lambda h: h.seen)
        copies = self._copies(group.name)
        status = on[newest.server]
        reporter = next((s for s in servers if s.name == newest.server), None)
        told = next(
            (g for g in (reporter.groups if reporter else ()) if g.name == group.name), None
        )
        resources = told.resources if told is not None else idle
        if newest.server != step.me and (told is None or told.status != status):
            # Its heartbeats are ahead of its report, or it is not heard at all.
            resources = tuple(msgspec.structs.replace(r, status=status) for r in resources)
        return GroupView(
            name=group.name,
            status="Error" if copies else status,
            copies=copies,
            current=newest.server,
            epoch=newest.seen.n,
            since_s=told.since_s if told is not None else 0.0,
            wanted=intent.wanted,
            failures=intent.failures,
            waiting_for=self._waiting(group.name),
            planned_move=self._planned_move(group.name),
            resources=resources,
            on=on,
            failback=self._failback(group, newest.server, intent.stays),
            comment=group.comment,
        )

    def _failback(self, group: Group, current: str, stays: bool) -> str:
        """Why a group that is to go back to the best in its order does not; as `Placement` does."""
        best = next(iter(group.servers), current)
        if group.failback != Failback.AUTO or current == best:
            return ""
        if stays:
            return say.stays_moved(group.name, best)
        why = self.selection.cannot_run(group, best)
        if not why and self.selection.is_barred(best):
            why = say.open_fatal
        if not why and self.selection.is_unfit(group, best):
            why = say.unfit(self.selection.why_failed(group.name, best))
        beside = self.exclusion.bars(group.name, best) or self.exclusion.neighbour(group.name, best)
        if not why and beside:
            why = say.kept_apart(beside)
        awaited = self.start_order.awaited(group, best)
        if not why and awaited:
            why = say.would_wait_for(awaited)
        return say.goes_back_when(best, why) if why else ""

    def _waiting(self, group: str) -> WaitingView | None:
        step = self.step
        found = self.waits.of(group)
        if found is None:
            return None
        wait, since = found
        server = next((s for s in wait.servers if s in self.peers), "")
        proofs = {}
        mend = ""
        text = wait.text
        if group in self.waits.state.retry_at:
            text += f" ({say.next_try(group, self.waits.state.retry_at[group] - step.now)})"
        if server:
            proofs = self.clearance.missing(group, server)
            mend = self._mend(server)
        else:
            mend = self.waits.forced_by(group)
        return WaitingView(
            text=f"waits for {text}",
            since_s=(step.now - since) / 1000,
            server=server,
            proofs=proofs,
            mend=mend,
        )

    def _planned_move(self, group: str) -> PlannedMoveView | None:
        plan = self.planned.of(group)
        if plan is None:
            return None
        window = self.planned.window(plan)
        return PlannedMoveView(
            to=plan.to,
            stage=plan.stage,
            monitor=plan.monitor,
            event=plan.event,
            why=plan.meaning,
            when=window.when,
            in_s=max(0, window.opens_at - self.step.now) / 1000 if window.when else None,
            waits_for=self.hindrances.first(plan),
        )

    def _mend(self, server: str) -> str:
        """What a person can do about a server that nothing proves down: make it so, or vouch."""
        if self.peers.is_refused(server):
            return self.peers.mend_of_refusal(server)
        bmc = self.peers[server].bmc
        if bmc.power == PowerState.ON and not bmc.error:
            return f"clpforcestop {server} --yes"
        return f"clpnode confirm-down {server} --yes"

    def _monitor(self, monitor: Monitor, servers: tuple[ServerView, ...]) -> MonitorView:
        here: dict[str, MonitorOnServerView] = {}
        for server in servers:
            if server.name not in monitor.servers:
                continue
            told = server.monitors.get(monitor.name)
            if told is None:
                word = "Offline" if server.status in ("Offline", "Online Pending") else "Unknown"
                told = MonitorOnServerView(status=word)
            here[server.name] = told
        return MonitorView(
            name=monitor.name,
            type=monitor.type,
            status=MonitorStatus.SUSPEND.value
            if self.policy.shared.suspended
            else monitor_word([m.status for m in here.values()]),
            servers=here,
            comment=monitor.comment,
        )


def monitor_word(words: list[str]) -> str:
    """One word for all servers: Normal if all are, Caution if some are bad, the worst if all.

    Where it is suspended nothing is watched: that shows unless something is bad elsewhere.
    """
    active = [w for w in words if w not in _IDLE] or words
    if not active:
        return "Unused"
    if "Suspend" in words and set(active) <= {"Normal", *_IDLE}:
        return "Suspend"
    if all(w == "Normal" for w in active):
        return "Normal"
    if len(set(active)) == 1:
        return active[0]
    bad = [w for w in active if w in ("Error", "Stall", "Caution")]
    if len(bad) == len(active):
        return next(w for w in ("Error", "Stall", "Caution") if w in bad)
    if bad:
        return "Caution"
    return "Unknown" if "Unknown" in active and "Normal" not in active else "Normal"


def _aged(report: ServerView, age_s: float) -> ServerView:
    """A server's report as it reads so long after it came: what began goes on.

    Not so its heartbeats: had one of them stopped, it would have reported again.
    """
    replace = msgspec.structs.replace
    return replace(
        report,
        groups=tuple(replace(g, since_s=g.since_s + age_s) for g in report.groups),
        monitors={
            name: m if m.suspended_s is None else replace(m, suspended_s=m.suspended_s + age_s)
            for name, m in report.monitors.items()
        },
        open_events=tuple(
            replace(e, first_s=e.first_s + age_s, last_s=e.last_s + age_s)
            for e in report.open_events
        ),
        conditions=tuple(replace(c, since_s=c.since_s + age_s) for c in report.conditions),
        bmc_faults=tuple(replace(c, since_s=c.since_s + age_s) for c in report.bmc_faults),
    )


def _replace(server: ServerView, *, local: bool, bmc: BmcView | None) -> ServerView:
    return msgspec.structs.replace(server, local=local, bmc=bmc)
