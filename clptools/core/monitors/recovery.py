"""From a monitor's error to what is done about it (hardware guide 3.4.4).

    error --> pre-action script --> script --> restart (n times) --> failover (m times) --> final

Recovery begins at the step that `action` names and goes one step further with each new error,
while the counts (within `window`) last.  Nothing runs while the cluster or the monitor is
suspended, nothing if the target is not active, and a final action never takes the last server.
"""

from __future__ import annotations

from clptools.core import phrases as say
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.placement import Placement
from clptools.core.groups.runs import GroupRuns
from clptools.core.groups.selection import Selection
from clptools.core.model.actions import RunMonitor, RunScript
from clptools.core.model.events import MonitorResult, ScriptDone
from clptools.core.model.monitor_state import Events, MonitorRun
from clptools.core.model.requests import GroupMove, Request
from clptools.core.model.settings import Group, Monitor
from clptools.core.model.state import Phase
from clptools.core.model.states import GroupWhy, MonitorStatus
from clptools.core.model.words import BmcAction, FinalAction, RecoveryStage, RecoveryStep, Timing
from clptools.core.monitors.final_action import FinalActions
from clptools.core.monitors.status import MonitorRuns, is_linked
from clptools.core.notices import monitors as notices
from clptools.core.notices.form import Notice
from clptools.core.step import Change, Step

PASSIVE = frozenset({"mrw", "userw"})
"""Monitors without rounds of their own."""

_STEPS = tuple(RecoveryStep)
_WORDS = {
    "normal": MonitorStatus.NORMAL,
    "caution": MonitorStatus.CAUTION,
    "error": MonitorStatus.ERROR,
}
_SCRIPT_TIMEOUT_MS = 180_000


class Recovery:
    """Monitors of this server and what their errors lead to."""

    def __init__(
        self,
        step: Step,
        runs: MonitorRuns,
        events: Events,
        policy: SharedPolicy,
        authority: Authority,
        selection: Selection,
        placement: Placement,
        groups: GroupRuns,
        lifecycle: Lifecycle,
        final: FinalActions,
    ) -> None:
        self.step = step
        self.runs = runs
        self.events = events
        self.policy = policy
        self.authority = authority
        self.selection = selection
        self.placement = placement
        self.groups = groups
        self.lifecycle = lifecycle
        self.final = final
        self.wanted: list[Request] = []
        """What a recovery asks of the coordinator, until it is handed on."""

    # ------------------------------------------------------------------ status

    def result(self, event: MonitorResult) -> None:
        """An active monitor's verdict."""
        monitor = self.step.settings.monitor(event.monitor)
        if monitor is None:
            return
        run = self.runs.run(event.monitor)
        if run.suspended or not run.running:
            return
        status = _WORDS.get(event.status, MonitorStatus.UNKNOWN)
        if status is not run.status:
            self.set_status(monitor, run, status, event.text, 0)
        elif status is MonitorStatus.ERROR and not run.step:
            self._recover(monitor, run, event.text)

    def set_status(
        self, monitor: Monitor, run: MonitorRun, status: MonitorStatus, text: str, number: int
    ) -> None:
        """The one place where a monitor changes its status; a new Error is recovered."""
        step = self.step
        was = run.status
        run.status = status
        run.text = text
        step.changed(Change.REPORT, Change.DECISIONS)
        bad = status is MonitorStatus.ERROR
        plan = self._plan(monitor, run) if bad else ""
        step.notice(_changed(monitor, was, status, text, plan), event=number)
        if bad:
            run.incident += 1
            run.finals = 0
            run.held_back = ""
            self._recover(monitor, run, text)
        elif status is MonitorStatus.NORMAL:
            run.stays.clear()
            self._forget_step(run)

    def _plan(self, monitor: Monitor, run: MonitorRun) -> str:
        """The recovery that is due, in words, for the record of an Error."""
        recovery = monitor.recovery
        due = self._due(monitor, run)
        if due == RecoveryStep.FINAL and recovery.final_action == FinalAction.NONE:
            return ""
        return say.plan(due, recovery.target, recovery.final_action)

    def _due(self, monitor: Monitor, run: MonitorRun) -> str:
        """The next step that still has a count left."""
        recovery = monitor.recovery
        start = _STEPS.index(recovery.action)
        floor = self.step.now - recovery.window_ms
        scripts, restarts, failovers = (
            sum(at > floor for at in counted)
            for counted in (run.scripts, run.restarts, run.failovers)
        )
        if start <= 0 and recovery.script and not scripts:
            return RecoveryStep.SCRIPT
        if start <= 1 and recovery.target and restarts < recovery.restart_count:
            return RecoveryStep.RESTART
        if start <= 2 and recovery.target and failovers < recovery.failover_count:
            return RecoveryStep.FAILOVER
        return RecoveryStep.FINAL

    def _forget_step(self, run: MonitorRun) -> None:
        """Forgets the step under way; `after_recovery` alone still follows."""
        if run.step != RecoveryStage.AFTER:
            run.step = RecoveryStage.NONE

    # ------------------------------------------------------------------ steps

    def _recover(self, monitor: Monitor, run: MonitorRun, text: str) -> None:
        step = self.step
        shared = self.policy.shared
        if run.step:
            return
        if shared.suspended or run.suspended or step.life.phase is not Phase.RUNNING:
            self.hold_back(monitor, run)
            return
        recovery = monitor.recovery
        if recovery.target and not self.groups.online(recovery.target):
            module = notices.module(monitor)
            self._held_back(
                run, notices.RecoveryTargetInactive(module, monitor.name, recovery.target)
            )
            return
        run.held_back = ""
        if recovery.pre_action_script and not self._unprepared(monitor, run):
            run.step = RecoveryStage.PRE_ACTION
            self._script(monitor, run, recovery.pre_action_script, text)
            return
        self._next(monitor, run, text)

    def hold_back(self, monitor: Monitor, run: MonitorRun) -> None:
        """Records which suspension keeps an error from being recovered, and whose it is."""
        shared = self.policy.shared
        if shared.suspended:
            why = say.suspended_cluster(shared.suspended_by)
        elif run.suspended:
            why = say.suspended_monitor(monitor.name, run.suspended_by)
        else:
            why = say.leaving
        self._held_back(run, notices.RecoveryHeldBack(monitor.name, why))

    def _held_back(self, run: MonitorRun, why: Notice) -> None:
        """Records why nothing is recovered: once, however many rounds find it so."""
        text = why.told(self.step.me)
        if run.held_back != text:
            self.step.notice(why)
        run.held_back = text

    def _unprepared(self, monitor: Monitor, run: MonitorRun) -> bool:
        """Whether no script comes first: before the final action of a linked monitor (hardware
        guide 3.4.1), or where no step is left that it could precede."""
        if self._due(monitor, run) != RecoveryStep.FINAL:
            return False
        over = run.finals or monitor.recovery.final_action == FinalAction.NONE
        return is_linked(monitor.category) or bool(over)

    def _next(self, monitor: Monitor, run: MonitorRun, text: str) -> None:
        """Takes the step that is due."""
        recovery = monitor.recovery
        due = self._due(monitor, run)
        floor = self.step.now - recovery.window_ms
        for counted in (run.scripts, run.restarts, run.failovers):
            counted[:] = [t for t in counted if t > floor]
        if due == RecoveryStep.SCRIPT:
            run.scripts.append(self.step.now)
            run.step = RecoveryStage.SCRIPT
            self._script(monitor, run, recovery.script, text)
        elif due == RecoveryStep.RESTART:
            run.restarts.append(self.step.now)
            self._restart(monitor, run)
        elif due == RecoveryStep.FAILOVER:
            self._failover(monitor, run)
        else:
            self.final.of_monitor(monitor, run)

    def _script(self, monitor: Monitor, run: MonitorRun, script: str, text: str) -> None:
        step = self.step
        run.token = f"{monitor.name}:{step.token()}"
        keyword = monitor.keywords.get(step.me, "") or run.device
        before = run.step == RecoveryStage.PRE_ACTION
        begins = notices.PreActionRuns if before else notices.RecoveryScriptRuns
        step.notice(begins(notices.module(monitor), monitor.name, script))
        step.do(
            RunScript(
                token=run.token,
                script=script,
                timeout_ms=_SCRIPT_TIMEOUT_MS,
                environment={
                    "CLP_MONITORNAME": monitor.name,
                    "CLP_CATEGORY": monitor.category,
                    "CLP_KEYWORD": keyword,
                    "CLP_MESSAGE": text,
                },
            )
        )

    def script_done(self, event: ScriptDone) -> None:
        """A recovery or pre-action script ended; the recovery goes on either way."""
        step = self.step
        name = event.token.rpartition(":")[0]
        monitor = step.settings.monitor(name)
        run = self.runs.state.get(name)
        if monitor is None or run is None or run.token != event.token:
            return
        ended_step, run.step, run.token = run.step, RecoveryStage.NONE, ""
        before = ended_step == RecoveryStage.PRE_ACTION
        module = notices.module(monitor)
        if event.ok:
            ended = notices.PreActionEnded if before else notices.RecoveryScriptEnded
            step.notice(ended(module, name))
        else:
            failed = notices.PreActionFailed if before else notices.RecoveryScriptFailed
            step.notice(failed(module, name, say.failure(event.text, event.timed_out)))
        if before and run.status is MonitorStatus.ERROR:
            self._next(monitor, run, run.text)

    def _restart(self, monitor: Monitor, run: MonitorRun) -> None:
        step = self.step
        target = monitor.recovery.target
        groups = self.groups.online(target)
        step.notice(
            notices.RecoveryRestarts(
                module=notices.module(monitor),
                monitor=monitor.name,
                target=target,
                groups=groups,
                count=len(run.restarts),
            )
        )
        self.lifecycle.restart(target)

    def _failover(self, monitor: Monitor, run: MonitorRun) -> None:
        """Stops the target here at once; the coordinator starts it where it may run next."""
        step = self.step
        recovery = monitor.recovery
        moved = False
        for name in self.groups.online(recovery.target):
            group = step.settings.group(name)
            if group is None:
                continue
            outside = self._outside(group, monitor)
            inside = recovery.failover_outside_server_group and not outside
            stays = self.placement.stays(group, outside)
            if stays:
                # Recorded once, however many rounds find it so.
                if run.stays.get(name) != stays:
                    others = () if stays != say.nowhere else self.selection.others(group)
                    told = notices.GroupStays(name, monitor.name, stays)
                    step.notice(told, because=tuple(f"{s}: {why}." for s, why in others if why))
                run.stays[name] = stays
                continue
            because: tuple[str, ...] = (say.none_outside(name),) if inside else ()
            if run.stays.pop(name, ""):
                able = [s for s, why in self.selection.others(group) if not why]
                because += (say.would_now(able),) if able else ()
            if recovery.after_recovery != BmcAction.NONE and not moved:
                self.final.arm_deadman(monitor)
            moved = True
            step.notice(
                notices.RecoveryFailsOver(notices.module(monitor), name, monitor.name),
                because=because,
            )
            if outside:
                self.wanted.append(
                    GroupMove(group=name, to=outside, failover=True, reason=monitor.name)
                )
            self.lifecycle.stop(
                name,
                GroupWhy.FAILOVER,
                "GROUPFAILOVER",
                migrate=recovery.migrate_before_failover,
            )
        if moved:
            run.failovers.append(step.now)
            if recovery.after_recovery != BmcAction.NONE:
                run.step = RecoveryStage.AFTER
                run.deadline = step.now + recovery.after_recovery_deadline_ms

    def _could_not_move(self, monitor: Monitor, run: MonitorRun) -> bool:
        """Whether an open fault found no server for its groups before, and there is one now.

        An active monitor finds out in its next round; a message receive monitor has none.
        """
        step = self.step
        idle = run.status is MonitorStatus.ERROR and not run.step and not run.suspended
        if not run.stays or not idle or self.policy.shared.suspended:
            return False
        if not self.authority.coordinator():
            return False  # no server yet would start them there
        active = [n for n in self.groups.online(monitor.recovery.target) if n in run.stays]
        groups = [step.settings.group(name) for name in active]
        return any(
            group is not None and not self.placement.stays(group, self._outside(group, monitor))
            for group in groups
        )

    def _outside(self, group: Group, monitor: Monitor) -> str:
        """The first server that would take the group and is in none of its server groups here,
        where the monitor asks for one."""
        step = self.step
        if not monitor.recovery.failover_outside_server_group:
            return ""
        ours = {
            server
            for g in step.settings.server_groups
            if g.name in group.server_groups and step.me in g.servers
            for server in g.servers
        }
        for name in group.servers:
            able = self.selection.would_do(group, name) and not self.selection.is_barred(name)
            if name not in ours and able:
                return name
        return ""

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Starts and stops active monitors, and goes on with recoveries."""
        step = self.step
        self.final.settle()
        for monitor in self.runs.here():
            run = self.runs.run(monitor.name)
            if run.step == RecoveryStage.AFTER:
                self.final.after(monitor, run)
            if monitor.type in PASSIVE:
                if self._could_not_move(monitor, run):
                    self._recover(monitor, run, run.text)
                continue
            wanted = (
                step.life.phase is Phase.RUNNING
                and not self.policy.shared.suspended
                and not run.suspended
                and (monitor.timing != Timing.ACTIVE or bool(self.groups.online(monitor.target)))
            )
            if wanted is not run.running:
                run.running = wanted
                step.changed(Change.REPORT)
                step.do(RunMonitor(monitor=monitor.name, on=wanted))
                if not wanted:
                    run.status = MonitorStatus.NORMAL
                    self._forget_step(run)


def _changed(
    monitor: Monitor, was: MonitorStatus, status: MonitorStatus, text: str, plan: str
) -> Notice:
    """The notice of a change of status."""
    module, name = notices.module(monitor), monitor.name
    if status is MonitorStatus.ERROR:
        # What a trap or a message says has a record of its own, just before this one.
        found = "" if plan and monitor.type in PASSIVE else text.rstrip(".")
        return notices.MonitorError(module, name, was.value, plan, found)
    if status is MonitorStatus.NORMAL:
        well = was is not MonitorStatus.ERROR
        normal = notices.MonitorWell if well else notices.MonitorRecovered
        return normal(module, name, was.value, text)
    if status is MonitorStatus.UNKNOWN:
        return notices.MonitorUnknown(module, name, was.value, text)
    return notices.MonitorWarns(module, name, was.value, status.value, text)
