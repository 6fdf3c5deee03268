"""The parts of a core, built room by room: each takes what it asks of those built before it."""

from __future__ import annotations

from clptools.core.cluster.answers import Answers
from clptools.core.cluster.election import Election
from clptools.core.cluster.heartbeats import Heartbeats
from clptools.core.cluster.holdings import Holdings
from clptools.core.cluster.membership import Membership
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.power import Power
from clptools.core.cluster.revision import Revision
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.cluster.timeout_ratio import TimeoutRatio
from clptools.core.groups.copies import CopyWatch
from clptools.core.groups.intents import Intents
from clptools.core.groups.leaving import Leaving
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.placement import Placement
from clptools.core.groups.selection import Selection
from clptools.core.model.settings import Settings
from clptools.core.model.state import NodeState
from clptools.core.model.timing import times
from clptools.core.monitors.event_ledger import EventLedger
from clptools.core.monitors.final_action import FinalActions
from clptools.core.monitors.recovery import Recovery
from clptools.core.monitors.runs import MonitorRuns
from clptools.core.report.durable_state import DurableState
from clptools.core.report.own_status import OwnStatus
from clptools.core.report.status import Status
from clptools.core.requests.forwarding import Forwarding
from clptools.core.requests.groups import GroupRequests
from clptools.core.requests.monitors import MonitorRequests
from clptools.core.requests.router import Router
from clptools.core.requests.service import Service
from clptools.core.requests.timeout_ratio import RatioRequests
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
        self._build_monitors()
        self._build_requests()
        self._build_report()

    def _build_cluster(self) -> None:
        """Who is there."""
        self.peers = Peers(self.context, self.state.peers)
        self.answers = Answers(self.context, self.peers)
        self.holdings = Holdings(self.context, self.state.sent, self.peers)
        self.power = Power(self.context, self.peers)
        self.ratio = TimeoutRatio(self.context, self.state.ratio, self.peers)
        self.revision = Revision(self.context, self.state.revision, self.peers)
        self.membership = Membership(
            self.context,
            self.state.peers,
            self.peers,
            self.answers,
            self.holdings,
            self.power,
            self.revision,
        )
        self.election = Election(
            self.context,
            self.state.election,
            self.state.lifecycle.runs,
            self.peers,
            self.answers,
            self.revision,
        )
        self.policy = SharedPolicy(
            self.context, self.state.policy, self.peers, self.ratio, self.election
        )
        self.heartbeats = Heartbeats(
            self.context, self.peers, self.holdings, self.policy, self.election
        )

    def _build_safety(self) -> None:
        """What keeps a group from running twice."""
        self.lease = Lease(
            self.context,
            self.state.lease,
            self.state.lifecycle.runs,
            self.peers,
            self.policy,
            self.revision,
            self.election,
        )
        self.fencing = Fencing(
            self.context,
            self.state.lifecycle.runs,
            self.peers,
            self.power,
            self.policy,
            self.revision,
            self.election,
        )
        self.clearance = Clearance(
            self.context,
            self.state.clearance,
            self.state.lifecycle.runs,
            self.peers,
            self.election,
            self.fencing,
        )

    def _build_groups(self) -> None:
        """What is wanted of groups, and where they run."""
        self.intents = Intents(self.context, self.policy)
        self.selection = Selection(
            self.context,
            self.state.lifecycle.runs,
            self.state.monitors,
            self.state.ledger.events,
            self.peers,
        )
        self.lifecycle = Lifecycle(
            self.context,
            self.state.lifecycle,
            self.peers,
            self.policy,
            self.election,
            self.lease,
            self.intents,
            self.selection,
        )
        self.placement = Placement(
            self.context,
            self.state.office,
            self.peers,
            self.policy,
            self.election,
            self.clearance,
            self.intents,
            self.selection,
            self.lifecycle,
        )
        self.leaving = Leaving(self.context, self.lifecycle)
        self.copies = CopyWatch(
            self.context, self.state.copies, self.state.lifecycle.runs, self.peers, self.placement
        )

    def _build_monitors(self) -> None:
        """Hardware events and what they lead to."""
        self.monitor_runs = MonitorRuns(self.context, self.state.monitors)
        self.final = FinalActions(
            self.context,
            self.state.final,
            self.peers,
            self.intents,
            self.selection,
            self.lifecycle,
            self.placement,
            self.leaving,
        )
        self.recovery = Recovery(
            self.context,
            self.monitor_runs,
            self.state.ledger.events,
            self.policy,
            self.election,
            self.selection,
            self.placement,
            self.lifecycle,
            self.final,
        )
        self.ledger = EventLedger(
            self.context, self.state.ledger, self.monitor_runs, self.final, self.recovery
        )

    def _build_requests(self) -> None:
        """What operators ask for."""
        self.forwarding = Forwarding(self.context, self.state.requests, self.peers)
        self.context.listener = self.forwarding.progress
        self.group_requests = GroupRequests(
            self.context,
            self.peers,
            self.policy,
            self.election,
            self.clearance,
            self.intents,
            self.selection,
            self.placement,
            self.lifecycle,
            self.forwarding,
        )
        self.service = Service(
            self.context,
            self.peers,
            self.policy,
            self.election,
            self.heartbeats,
            self.lease,
            self.intents,
            self.selection,
            self.lifecycle,
            self.placement,
            self.leaving,
            self.forwarding,
            self.group_requests,
        )
        self.vouching = Vouching(
            self.context,
            self.peers,
            self.power,
            self.fencing,
            self.selection,
            self.placement,
            self.forwarding,
        )
        self.router = Router(
            self.context,
            self.peers,
            self.ratio,
            self.election,
            self.forwarding,
            self.group_requests,
            MonitorRequests(
                self.context, self.peers, self.monitor_runs, self.final, self.recovery, self.ledger
            ),
            RatioRequests(
                self.context,
                self.peers,
                self.election,
                self.policy,
                self.ratio,
                self.group_requests,
            ),
            self.service,
            self.vouching,
        )

    def _build_report(self) -> None:
        """What is told, and what survives."""
        self.own_status = OwnStatus(
            self.context,
            self.peers,
            self.policy,
            self.election,
            self.lease,
            self.lifecycle,
            self.monitor_runs,
            self.final,
            self.ledger,
        )
        self.status = Status(
            self.context,
            self.peers,
            self.policy,
            self.ratio,
            self.election,
            self.clearance,
            self.intents,
            self.selection,
            self.placement,
            self.state.copies,
            self.own_status,
        )
        self.durable = DurableState(
            self.context,
            self.state.written,
            self.peers,
            self.policy,
            self.ratio,
            self.revision,
            self.election,
            self.lease,
            self.lifecycle,
            self.monitor_runs,
            self.final,
            self.ledger,
        )
