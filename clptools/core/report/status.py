"""The view of the cluster, in the words of `clpstat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from clptools.core import sentences as say
from clptools.core.cluster.holdings import holds
from clptools.core.model.messages import Epoch
from clptools.core.model.quorum import NEVER
from clptools.core.model.settings import Group, Monitor
from clptools.core.model.state import Copies, Phase, Waiting
from clptools.core.model.states import GroupState, MonitorStatus
from clptools.core.model.view import (
    ArbiterView,
    BmcView,
    ClusterView,
    GroupView,
    HeartbeatView,
    MonitorOnServerView,
    MonitorView,
    ResourceView,
    ServerView,
    StatusView,
    WaitingView,
)
from clptools.core.report.own_status import group_word

if TYPE_CHECKING:
    from clptools.core.node import Node

_IDLE = ("Offline", "Unused", "Suspend")
_RUNS = (GroupState.STARTING, GroupState.ONLINE)


class Status:
    """Builds views, which change nothing, and watches for what must never be."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def view(self) -> StatusView:
        """The whole cluster as this server knows it."""
        node = self.node
        servers = tuple(self._server(name) for name in node.settings.names)
        groups = tuple(self._group(g, servers) for g in node.settings.groups)
        monitors = tuple(self._monitor(m, servers) for m in node.settings.monitors)
        shared = node.state.shared
        serving = node.state.phase in (Phase.RUNNING, Phase.LEAVING)
        cluster = ClusterView(
            name=node.settings.cluster.name,
            status=self._cluster_word(servers, groups, monitors),
            suspended=shared.suspended,
            suspended_by=shared.suspended_by,
            revision=node.settings.revision,
            coordinator=node.votes.coordinator() if serving else "",
            quorate=serving and node.votes.quorate(),
            term=node.state.votes.term.number,
            electorate=node.membership.electorate(),
            out=tuple(n for n in node.state.peers if node.membership.is_out(n)),
            toratio=node.state.ratio if serving else 1,
        )
        return StatusView(cluster=cluster, servers=servers, groups=groups, monitors=monitors)

    def watch_copies(self) -> None:
        """Tells once when two servers run a group, and when that is over.

        Beats of different servers overtake each other: it counts once each of them said it
        again an interval after all of them had.  It counts at once for a server that itself
        still runs what another one has by a newer grant.
        """
        node = self.node
        known = node.state.copies
        runners = self._runners()
        for group, over in list(known.items()):
            if group not in runners:
                del known[group]
                if over.told:
                    text = say.one_copy(group)
                    node.record("rc", 931, "INFO", (group, *over.servers), text)
        for group, servers in runners.items():
            found = known.get(group)
            if found is None or found.servers != servers:
                told = found is not None and found.told and set(servers) <= set(found.servers)
                found = known[group] = Copies(servers=servers, since=node.now, told=told)
            again = all(self._said_again(s, found.since) for s in servers)
            if found.told or not (again or self._has_passed_on(group)):
                continue
            found.told = True
            text = f"{say.two_copies(group, servers)} {say.mend_copies(group, servers)}"
            node.record("rc", 931, "ERROR", (group, *servers), text)

    def _runners(self) -> dict[str, tuple[str, ...]]:
        """Group -> servers that are heard and say that they run it, or still stop it beside one.

        A server without state stops what may be left of before, and has no grant of it.
        """
        node = self.node
        said: dict[str, list[tuple[str, str]]] = {}
        for name, run in node.state.groups.items():
            if run.held and _may_run(run.state, run.seen):
                said.setdefault(name, []).append((node.me, run.state))
        for server, p in node.state.peers.items():
            membership = node.membership
            if p.beat is None or membership.is_out(server) or not membership.is_online(server):
                continue
            for h in holds(p):
                if h.held and _may_run(h.state, h.seen):
                    said.setdefault(h.group, []).append((server, h.state))
        return {
            group: tuple(sorted(server for server, _ in there))
            for group, there in said.items()
            if len(there) > 1 and any(state in _RUNS for _, state in there)
        }

    def _has_passed_on(self, group: str) -> bool:
        """Whether we still run what somebody else has by a newer grant."""
        own = self.node.state.groups.get(group)
        if own is None or not own.held or own.seen.n == 0:
            return False
        others = (h for h in self.node.placement.holders(group) if h.server != self.node.me)
        return any(h.seen > own.seen and h.state in _RUNS for h in others)

    def _said_again(self, server: str, since: int) -> bool:
        p = self.node.state.peers.get(server)
        heard_at = self.node.now if p is None else p.heard_at
        return heard_at >= since + self.node.times.interval_ms

    def _copies(self, group: str) -> tuple[str, ...]:
        found = self.node.state.copies.get(group)
        return found.servers if found is not None and found.told else ()

    def _cluster_word(
        self,
        servers: tuple[ServerView, ...],
        groups: tuple[GroupView, ...],
        monitors: tuple[MonitorView, ...],
    ) -> str:
        if self.node.state.phase not in (Phase.RUNNING, Phase.LEAVING):
            return "Stopped"
        if any(g.status in ("Error", "Offline Failure") for g in groups):
            return "Error"
        if any(g.wanted and g.status == "Offline" for g in groups):
            return "Error"
        if not self.node.votes.quorate():
            return "Error"
        fine = (
            all(s.status == "Online" for s in servers)
            and all(g.status == "Online" or not g.wanted for g in groups)
            and all(m.status in ("Normal", "Offline", "Unused") for m in monitors)
        )
        return "Normal" if fine else "Caution"

    def _server(self, name: str) -> ServerView:
        node = self.node
        if name == node.me:
            own = self.node.report.own()
            return _replace(own, local=True, bmc=self._bmc(name))
        p = node.state.peers[name]
        online = node.membership.is_online(name) or (
            p.beat is not None and p.beat.stopped and node.membership.hears(name)
        )
        stopped = node.state.phase not in (Phase.RUNNING, Phase.LEAVING)
        status = "Unknown"
        if stopped or node.membership.is_out(name):
            status = "Offline"
        elif online:
            status = "Online"
        elif p.lost or not p.incarnation:
            status = "Unknown" if p.incarnation else "Offline"
        report = None
        if p.report is not None:
            report = _aged(p.report.server, (node.now - p.reported_at) / 1000)
        if report is None:
            if status == "Online" and p.beat is not None and p.beat.newcomer:
                status = "Online Pending"
            return ServerView(
                name=name,
                status=status,
                heartbeats=self._dark_heartbeats(status),
                np=self._dark_arbiters(status),
                bmc=self._bmc(name),
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
        )

    def _dark_heartbeats(self, server: str) -> tuple[HeartbeatView, ...]:
        """The configured paths of a server, by its status, that does not report itself."""
        word = "Offline" if server == "Offline" else "Unknown"
        return tuple(
            HeartbeatView(name=i.name, type=i.type, status=word)
            for i in self.node.settings.interconnects
        )

    def _dark_arbiters(self, server: str) -> tuple[ArbiterView, ...]:
        word = "Offline" if server == "Offline" else "Unknown"
        return tuple(
            ArbiterView(name=a.name, type=a.type, status=word) for a in self.node.settings.arbiters
        )

    def _bmc(self, name: str) -> BmcView | None:
        node = self.node
        server = node.settings.server(name)
        if server is None or server.bmc is None:
            return None
        p = node.state.peers.get(name)
        bmc = node.state.bmc if p is None else p.bmc
        reachable = bmc.at != NEVER and not bmc.error
        return BmcView(
            address=server.bmc.address,
            power=bmc.power,
            reachable=reachable,
            can_prove=reachable and p is not None,
            since_s=None if bmc.change_at == NEVER else (node.now - bmc.change_at) / 1000,
            latency_ms=float(bmc.latency_ms) if reachable else None,
            error=bmc.error,
        )

    def _word_on(self, server: str, state: str) -> str:
        """What a holder last said of a group, while it is heard."""
        heard = server == self.node.me or self.node.membership.is_online(server)
        return group_word(state) if heard else "Unknown"

    def _group(self, group: Group, servers: tuple[ServerView, ...]) -> GroupView:
        node = self.node
        intent = node.policy.intent(group.name)
        serving = node.state.phase in (Phase.RUNNING, Phase.LEAVING)
        holders = node.placement.holders(group.name) if serving else []
        idle = tuple(
            ResourceView(name=r.name, type=r.type, status="Offline", comment=r.comment)
            for r in group.resources
        )
        on = {h.server: self._word_on(h.server, h.state) for h in holders}
        if not holders:
            failed = node.choice.exhausted(group, intent)
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
        if newest.server != node.me and (told is None or told.status != status):
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
            resources=resources,
            on=on,
            comment=group.comment,
        )

    def waiting_for(self, server: str) -> tuple[str, ...]:
        """Groups that wait until it is proven down."""
        found = {g.name: self._wait_of(g.name) for g in self.node.settings.groups}
        return tuple(group for group, wait in found.items() if wait and server in wait[0].servers)

    def _wait_of(self, group: str) -> tuple[Waiting, int] | None:
        return self.node.state.waiting.get(group) or self._no_office(group)

    def _waiting(self, group: str) -> WaitingView | None:
        node = self.node
        found = self._wait_of(group)
        if found is None:
            return None
        wait, since = found
        server = next((s for s in wait.servers if s in node.state.peers), "")
        proofs = {}
        mend = ""
        text = wait.text
        if group in node.state.retry_at:
            text += f" ({say.next_try(group, node.state.retry_at[group] - node.now)})"
        if server:
            proofs = node.proof.missing(group, server)
            mend = self._mend(server)
        return WaitingView(
            text=f"waits for {text}",
            since_s=(node.now - since) / 1000,
            server=server,
            proofs=proofs,
            mend=mend,
        )

    def _mend(self, server: str) -> str:
        """What a person can do about a server that nothing proves down: make it so, or vouch."""
        bmc = self.node.state.peers[server].bmc
        if bmc.power == "on" and not bmc.error:
            return f"clpforcestop {server} --yes"
        return f"clpnode confirm-down {server} --yes"

    def _no_office(self, group: str) -> tuple[Waiting, int] | None:
        """Nobody can decide: what a group that is not run by anybody heard waits for."""
        node = self.node
        membership = node.membership
        serving = node.state.phase is Phase.RUNNING
        if node.votes.quorate() or not serving or not node.policy.intent(group).wanted:
            return None
        if any(membership.is_online(h.server) for h in node.placement.holders(group)):
            return None
        # Lost, or dark since we started: a server that boots alone waits, too.
        dark = [
            n
            for n, p in node.state.peers.items()
            if not membership.is_out(n) and (p.lost or not p.incarnation)
        ]
        if not dark:
            return None
        since = max(max(node.state.peers[n].lost_since for n in dark), node.state.started_at)
        return Waiting(text=say.waits_for_quorum(dark), servers=tuple(dark)), since

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
            if self.node.state.shared.suspended
            else monitor_word([m.status for m in here.values()]),
            servers=here,
            comment=monitor.comment,
        )


def _may_run(state: str, seen: Epoch) -> bool:
    if not seen.n:
        return False  # without state it stops what may be left: it was granted nothing
    return state in _RUNS or state in (GroupState.STOPPING, GroupState.STOP_FAILED)


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
        open_events=tuple(
            replace(e, first_s=e.first_s + age_s, last_s=e.last_s + age_s)
            for e in report.open_events
        ),
    )


def _replace(server: ServerView, *, local: bool, bmc: BmcView | None) -> ServerView:
    return msgspec.structs.replace(server, local=local, bmc=bmc)
