"""What ends a recovery: the final action, and `after_recovery` by the BMC.

A final action never takes the last server, and ends this machine only so often in a row.
`after_recovery` is armed in the BMC before the failover begins, and done once the groups run
elsewhere.
"""

from __future__ import annotations

from clptools.core import phrases as say
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.holders import Holders
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.runs import GroupRuns
from clptools.core.groups.selection import Selection
from clptools.core.model.actions import ArmDeadman, HostAction, StandDown
from clptools.core.model.monitor_state import FinalState, MonitorRun
from clptools.core.model.settings import Monitor, Resource
from clptools.core.model.state import Phase
from clptools.core.model.states import GroupState, GroupWhy
from clptools.core.model.timing import NEVER
from clptools.core.model.words import AfterStop, FinalAction, RecoveryStage
from clptools.core.notices import monitors as notices
from clptools.core.step import Step

_ENDS_SERVER = frozenset(
    {
        FinalAction.STOP_CLUSTER,
        FinalAction.SHUTDOWN,
        FinalAction.REBOOT,
        FinalAction.SYSRQ_PANIC,
        FinalAction.KEEPALIVE_RESET,
        FinalAction.KEEPALIVE_PANIC,
        FinalAction.BMC_RESET,
        FinalAction.BMC_POWER_OFF,
        FinalAction.BMC_POWER_CYCLE,
        FinalAction.BMC_NMI,
    }
)
_OF_GROUP = (FinalAction.NONE, FinalAction.STOP_GROUP, FinalAction.STOP_RESOURCE)
"""Nothing to do for a resource that failed: its group stops in any case."""
_DEADMAN_GRACE_MS = 60_000
"""How long after its deadline a BMC's word of the timer that we armed may still come."""


class FinalActions:
    """Final actions and `after_recovery` of this server."""

    def __init__(
        self,
        step: Step,
        state: FinalState,
        peers: Peers,
        policy: SharedPolicy,
        selection: Selection,
        groups: GroupRuns,
        lifecycle: Lifecycle,
        holders: Holders,
    ) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self.policy = policy
        self.selection = selection
        self.groups = groups
        self.lifecycle = lifecycle
        self.holders = holders

    def of_monitor(self, monitor: Monitor, run: MonitorRun) -> None:
        """The final action of a monitor: once an incident."""
        action = monitor.recovery.final_action
        if run.finals:
            return
        run.finals += 1
        if action == FinalAction.NONE:
            if run.restarts or run.failovers:
                taken = say.steps_taken(len(run.restarts), len(run.failovers))
                self.step.notice(
                    notices.RecoveryUsedUp(notices.module(monitor), monitor.name, taken)
                )
            return
        if self._may(action, "rm"):
            module = notices.module(monitor)
            self.step.notice(notices.FinalActionBegins(module, action, monitor.name))
            self._perform(action, monitor.recovery.target, say.final_for(monitor.name))

    def of_resource(self, resource: Resource, group: str) -> None:
        """The final action of a resource that could be started nowhere, or not be stopped."""
        if resource.final_action in _OF_GROUP:
            return
        action = resource.final_action
        if self._may(action, "rc"):
            self.step.notice(notices.ResourceFinalAction(action, resource.name))
            self._perform(action, group, say.final_for(resource.name))

    def _may(self, action: FinalAction, kind: str) -> bool:
        """Whether it may be done: not on the last server, nor if it has ended it too often."""
        step = self.step
        if action in _ENDS_SERVER and not self.another_normal_server():
            step.notice(notices.LastServer(kind, action))
            return False
        if action in _ENDS_SERVER and action != FinalAction.STOP_CLUSTER:
            limit = step.settings.cluster.max_reboots
            count = self.state.halts.get(kind, 0)
            if limit and count >= limit:
                step.notice(notices.TooManyHalts(kind, action, count))
                return False
            self.state.halts[kind] = count + 1
        return True

    def _perform(self, action: FinalAction, target: str, reason: str) -> None:
        """Carries a final action out."""
        step = self.step
        if action == FinalAction.STOP_RESOURCE:
            self._stop_resource(target)
        elif action == FinalAction.STOP_GROUP:
            for name in self.groups.online(target):
                self.lifecycle.stop(name, GroupWhy.STOPPED, "GROUPSTOP")
        elif action == FinalAction.STOP_CLUSTER:
            self.lifecycle.leave(AfterStop.NOTHING, no_move=False)
        elif action in (FinalAction.SHUTDOWN, FinalAction.REBOOT):
            self.lifecycle.leave(AfterStop(action), no_move=False)
        else:
            step.do(HostAction(action=action, reason=reason))

    def _stop_resource(self, target: str) -> None:
        """Stops it with those that depend on it; the rest of its group goes on."""
        for group in self.step.settings.groups:
            if group.resource(target) is not None and self.groups.online(group.name):
                needing = self.groups.needing(group, target)
                self.lifecycle.stop_resources(group.name, [target, *needing])

    def another_normal_server(self) -> bool:
        """Whether some other server takes part and could run things."""
        return any(not self.selection.not_eligible(name) for name in self.peers)

    # ------------------------------------------------------------------ after recovery

    def arm_deadman(self, monitor: Monitor) -> None:
        """Arms the BMC's timer first, so that `after_recovery` happens even if this OS hangs.

        Only where a failover begins: the timer would not spare groups that stay here.
        """
        recovery = monitor.recovery
        deadline = self.step.now + recovery.after_recovery_deadline_ms
        self.state.deadman_until = deadline + _DEADMAN_GRACE_MS
        self.step.do(
            ArmDeadman(
                action=recovery.after_recovery, deadline_ms=recovery.after_recovery_deadline_ms
            )
        )

    def stand_down(self) -> None:
        """Calls off the timer of this or an earlier boot: nothing is to follow any more."""
        own = self.step.settings.server(self.step.me)
        if own is not None and own.bmc is not None:
            self.step.do(StandDown())

    def _is_tried(self, name: str) -> bool:
        """Whether a group is to run somewhere, and not given up for a while."""
        intent = self.policy.intent_of(name)
        group = self.step.settings.group(name)
        return intent.wanted and (group is None or not self.selection.exhausted(group, intent))

    def after(self, monitor: Monitor, run: MonitorRun) -> None:
        """Once the groups of a recovery run elsewhere, the BMC may act."""
        step = self.step
        target = monitor.recovery.target
        moving = [
            g.name
            for g in step.settings.groups
            if target in ("All Groups", g.name) or g.resource(target) is not None
        ]
        for name in moving:
            own = self.groups.runs.get(name)
            if own is not None and own.held:
                return
            elsewhere = any(
                h.held and h.state == GroupState.ONLINE for h in self.holders.reports(name)
            )
            if not elsewhere and step.now < run.deadline and self._is_tried(name):
                return
        run.step = RecoveryStage.NONE
        run.deadline = NEVER
        action = FinalAction(f"bmc-{monitor.recovery.after_recovery}")
        if not self.another_normal_server():
            step.notice(notices.LastServer("rm", action))
            self.stand_down()
            return
        step.notice(
            notices.AfterRecovery(
                module=notices.module(monitor),
                action=action,
                word=monitor.recovery.after_recovery,
                groups=moving,
                monitor=monitor.name,
            )
        )
        stuck = any(
            run.held and run.state is GroupState.STOP_FAILED for run in self.groups.runs.values()
        )
        if step.life.phase is Phase.RUNNING and not stuck:
            # It leaves first: a server that only fell silent would be powered off, and stay off.
            self.lifecycle.leave(AfterStop(action), no_move=False)
        else:
            step.do(HostAction(action=action, reason=say.final_for(monitor.name)))

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Resets the count of halts in a row once this machine has run long enough."""
        step = self.step
        ran_ms = step.now - step.life.started_at
        if self.state.halts and ran_ms >= step.settings.cluster.max_reboots_reset_ms:
            self.state.halts = {}
