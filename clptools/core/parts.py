"""The parts of a core, built room by room: each takes the earlier parts that it calls."""

from __future__ import annotations

from clptools.core.cluster.arbiter import ArbiterLease
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.election import Election
from clptools.core.cluster.heartbeats import Heartbeats
from clptools.core.cluster.holdings import Holdings
from clptools.core.cluster.membership import Membership
from clptools.core.cluster.peers import Answers, Peers
from clptools.core.cluster.power import Power
from clptools.core.cluster.revision import Revision
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.cluster.timeout_ratio import TimeoutRatio
from clptools.core.groups.copies import CopyWatch
from clptools.core.groups.exclusion import Exclusion
from clptools.core.groups.grants import Grants
from clptools.core.groups.holders import Holders
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.mirrors import Mirrors
from clptools.core.groups.orders import Orders
from clptools.core.groups.placement import Placement
from clptools.core.groups.runs import GroupRuns
from clptools.core.groups.selection import Selection
from clptools.core.groups.start_order import StartOrder
from clptools.core.groups.stop_order import StopOrder
from clptools.core.groups.waits import Waits
from clptools.core.model.settings import Settings
from clptools.core.model.state import NodeState
from clptools.core.model.timing import Times, times
from clptools.core.monitors.conditions import Conditions
from clptools.core.monitors.event_ledger import EventLedger
from clptools.core.monitors.final_action import FinalActions
from clptools.core.monitors.foresight import Foresight
from clptools.core.monitors.hindrances import Hindrances
from clptools.core.monitors.planned_moves import PlannedMoves
from clptools.core.monitors.preparation import Preparation
from clptools.core.monitors.recovery import Recovery
from clptools.core.monitors.status import MonitorRuns
from clptools.core.report.durable_state import DurableState
from clptools.core.report.outbox import Outbox
from clptools.core.report.own_status import OwnStatus
from clptools.core.report.status import Status
from clptools.core.requests.cluster import ClusterRequests
from clptools.core.requests.forwarding import Forwarding
from clptools.core.requests.groups import GroupRequests
from clptools.core.requests.mirrors import MirrorRequests
from clptools.core.requests.monitors import MonitorRequests
from clptools.core.requests.resources import ResourceRequests
from clptools.core.requests.router import Router
from clptools.core.requests.service import Service
from clptools.core.requests.vouching import Vouching
from clptools.core.safety.clearance import Clearance
from clptools.core.safety.fencing import Fencing
from clptools.core.safety.lease import Lease
from clptools.core.step import Step


class Parts:
    """Every part around one state, from the lowest room to the highest."""

    def __init__(self, settings: Settings, server: str, state: NodeState) -> None:
        self.state = state
        self.life = state.life
        self.context = Step(server, settings, times(settings.cluster), state.step, state.life)
        self._build_cluster()
        self._build_safety()
        self._build_groups()
        self._build_office()
        self._build_monitors()
        self._build_requests()
        self._build_report()

    # For the agent and the simulator.

    @property
    def me(self) -> str:
        """This server's name."""
        return self.context.me

    @property
    def now(self) -> int:
        """When the newest event was taken (ms, this server's monotonic clock)."""
        return self.context.now

    @property
    def settings(self) -> Settings:
        """The configuration that is in force here."""
        return self.context.settings

    @property
    def times(self) -> Times:
        """The lengths that are in force here."""
        return self.context.times

    # ------------------------------------------------------------------ room by room

    def _build_cluster(self) -> None:
        """Who is there, and who decides."""
        step, state = self.context, self.state
        self.peers = Peers(step, state.peers)
        self.answers = Answers(step, self.peers)
        self.holdings = Holdings(step, state.sent, self.peers)
        self.power = Power(step, self.peers)
        self.ratio = TimeoutRatio(step, state.ratio, self.peers)
        self.revision = Revision(step, state.revision, self.peers)
        self.membership = Membership(
            step, state.peers, self.peers, self.answers, self.holdings, self.power, self.revision
        )
        self.authority = Authority(step, state.election, self.peers, self.revision)
        self.arbiter = ArbiterLease(step, state.election, state.lifecycle.runs, self.peers)
        self.election = Election(
            step, state.election, self.peers, self.answers, self.authority, self.arbiter
        )
        self.policy = SharedPolicy(step, state.policy, self.peers, self.ratio, self.authority)
        self.heartbeats = Heartbeats(
            step, self.peers, self.holdings, self.policy, self.authority, self.election
        )

    def _build_safety(self) -> None:
        """What keeps a group from running twice."""
        step, state, runs = self.context, self.state, self.state.lifecycle.runs
        self.lease = Lease(
            step, state.lease, runs, self.peers, self.policy, self.revision, self.authority
        )
        self.fencing = Fencing(
            step, runs, self.peers, self.power, self.policy, self.revision, self.authority
        )
        self.clearance = Clearance(
            step, state.clearance, runs, self.peers, self.authority, self.fencing
        )

    def _build_groups(self) -> None:
        """Which server may run which group, and how it starts and stops here."""
        step, state, runs = self.context, self.state, self.state.lifecycle.runs
        self.groups = GroupRuns(step, state.lifecycle, self.peers)
        self.holders = Holders(step, runs, self.peers)
        self.exclusion = Exclusion(step, self.authority, self.clearance, self.holders)
        self.mirrors = Mirrors(step, state.mirrors, self.peers)
        self.selection = Selection(
            step,
            runs,
            state.monitors,
            state.ledger.events,
            self.peers,
            self.exclusion,
            self.mirrors,
        )
        self.start_order = StartOrder(
            step,
            state.order,
            state.office,
            self.peers,
            self.policy,
            self.authority,
            self.holders,
            self.selection,
        )
        self.stop_order = StopOrder(step, state.order, self.peers, self.policy, self.holders)
        self.lifecycle = Lifecycle(
            step,
            state.order,
            self.groups,
            self.policy,
            self.lease,
            self.selection,
            self.stop_order,
        )
        self.orders = Orders(
            step,
            self.authority,
            self.lease,
            self.groups,
            self.lifecycle,
            self.mirrors,
            state.ledger.events,
            state.plans.windows,
        )
        self.copies = CopyWatch(step, state.copies, runs, self.peers, self.holders)

    def _build_office(self) -> None:
        """What the coordinator does with the groups."""
        step, state = self.context, self.state
        self.waits = Waits(
            step, state.office, state.order, self.peers, self.policy, self.authority, self.holders
        )
        self.grants = Grants(
            step,
            state.office,
            self.peers,
            self.authority,
            self.clearance,
            self.holders,
            self.selection,
            self.lifecycle,
            self.waits,
        )
        self.placement = Placement(
            step,
            state.office,
            self.peers,
            self.policy,
            self.authority,
            self.clearance,
            self.holders,
            self.selection,
            self.exclusion,
            self.start_order,
            self.stop_order,
            self.groups,
            self.lifecycle,
            self.waits,
            self.grants,
        )

    def _build_monitors(self) -> None:
        """Hardware events and what they lead to."""
        step, state = self.context, self.state
        self.monitor_runs = MonitorRuns(step, state.monitors)
        self.final = FinalActions(
            step,
            state.final,
            self.peers,
            self.policy,
            self.selection,
            self.groups,
            self.lifecycle,
            self.holders,
        )
        self.recovery = Recovery(
            step,
            self.monitor_runs,
            state.ledger.events,
            self.policy,
            self.authority,
            self.selection,
            self.placement,
            self.groups,
            self.lifecycle,
            self.final,
        )
        self.conditions = Conditions(step, state.conditions)
        self.ledger = EventLedger(step, state.ledger, self.monitor_runs, self.final, self.recovery)
        self.foresight = Foresight(
            step, self.peers, state.monitors, state.ledger.events, state.plans.windows
        )
        self.hindrances = Hindrances(
            step,
            self.peers,
            self.policy,
            self.revision,
            self.selection,
            self.start_order,
            self.holders,
            self.grants,
            self.placement,
            self.foresight,
        )
        self.planned = PlannedMoves(
            step,
            state.plans,
            self.policy,
            self.authority,
            self.selection,
            self.holders,
            self.foresight,
            self.hindrances,
        )
        self.preparation = Preparation(step, state.plans, self.policy, self.groups)

    def _build_requests(self) -> None:
        """What operators ask for."""
        step = self.context
        self.forwarding = Forwarding(step, self.state.requests, self.peers)
        step.listener = self.forwarding.progress
        self.cluster_requests = ClusterRequests(
            step, self.peers, self.policy, self.ratio, self.authority
        )
        self.group_requests = GroupRequests(
            step,
            self.peers,
            self.policy,
            self.clearance,
            self.holders,
            self.selection,
            self.exclusion,
            self.start_order,
            self.stop_order,
            self.planned,
            self.placement,
            self.forwarding,
            self.cluster_requests,
        )
        self.resource_requests = ResourceRequests(
            step, self.policy, self.holders, self.groups, self.lifecycle
        )
        self.monitor_requests = MonitorRequests(
            step, self.peers, self.monitor_runs, self.final, self.ledger
        )
        self.service = Service(
            step,
            self.peers,
            self.policy,
            self.authority,
            self.heartbeats,
            self.lease,
            self.selection,
            self.start_order,
            self.stop_order,
            self.groups,
            self.lifecycle,
            self.holders,
            self.grants,
            self.forwarding,
            self.cluster_requests,
        )
        self.vouching = Vouching(
            step,
            self.peers,
            self.power,
            self.fencing,
            self.selection,
            self.holders,
            self.forwarding,
        )
        self.mirror_requests = MirrorRequests(
            step, self.peers, self.state.lifecycle.runs, self.mirrors, self.forwarding
        )
        self.router = Router(
            step,
            self.peers,
            self.ratio,
            self.authority,
            self.forwarding,
            self.cluster_requests,
            self.group_requests,
            self.resource_requests,
            self.monitor_requests,
            self.service,
            self.vouching,
            self.mirror_requests,
        )

    def _build_report(self) -> None:
        """What is reported, and what survives the agent."""
        step, state = self.context, self.state
        self.own_status = OwnStatus(
            step,
            self.peers,
            self.policy,
            self.authority,
            self.lease,
            self.groups,
            self.mirrors,
            self.placement,
            self.monitor_runs,
            self.final,
            self.ledger,
            state.conditions,
            state.plans.windows,
        )
        self.status = Status(
            step,
            self.peers,
            self.policy,
            self.ratio,
            self.authority,
            self.clearance,
            self.selection,
            self.exclusion,
            self.start_order,
            self.holders,
            self.waits,
            self.planned,
            self.hindrances,
            state.copies,
            self.own_status,
        )
        self.outbox = Outbox(step, self.peers, self.answers, self.heartbeats, self.own_status)
        self.durable = DurableState(
            step,
            state.written,
            self.peers,
            self.policy,
            self.ratio,
            self.revision,
            self.authority,
            self.lease,
            self.groups,
            self.lifecycle,
            self.mirrors,
            self.monitor_runs,
            self.final,
            self.ledger,
        )
