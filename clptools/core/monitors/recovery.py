"""From a monitor's error to what is done about it (hardware guide 3.4.4).

    error --> pre-action script --> script --> restart (n times) --> failover (m times) --> final

Recovery begins at the step that `action` names and goes one step further with each new error,
while the counts (within `window`) last.  Nothing runs while the cluster or the monitor is
suspended, nothing if the target is not active, and a final action never takes the last server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core import numbers
from clptools.core import sentences as say
from clptools.core.model.actions import FaultMonitor, RunMonitor, RunScript
from clptools.core.model.events import MonitorResult, ScriptDone
from clptools.core.model.requests import GroupMove
from clptools.core.model.settings import Group, Monitor
from clptools.core.model.state import MonitorRun, Phase
from clptools.core.model.states import GroupWhy, MonitorStatus
from clptools.core.monitors.event_ledger import is_linked
from clptools.core.monitors.final_action import Final

if TYPE_CHECKING:
    from clptools.core.node import Node

PASSIVE = frozenset({"mrw", "userw"})
"""Monitors without rounds of their own."""

_STEPS = ("script", "restart", "failover", "final")
_WORDS = {
    "normal": MonitorStatus.NORMAL,
    "caution": MonitorStatus.CAUTION,
    "error": MonitorStatus.ERROR,
}
_SCRIPT_TIMEOUT_MS = 180_000


class Recovery:
    """Monitors of this server and what their errors lead to."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.final = Final(node)

    def run(self, name: str) -> MonitorRun:
        """The state of a monitor here, made when first asked for."""
        runs = self.node.state.monitors
        found = runs.get(name)
        if found is None:
            found = runs[name] = MonitorRun()
        return found

    def here(self) -> list[Monitor]:
        """The monitors that run on this server."""
        return [m for m in self.node.settings.monitors if self.node.me in m.servers]

    # ------------------------------------------------------------------ status

    def result(self, event: MonitorResult) -> None:
        """An active monitor's verdict."""
        monitor = self.node.settings.monitor(event.monitor)
        if monitor is None:
            return
        run = self.run(event.monitor)
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
        node = self.node
        was = run.status
        run.status = status
        run.text = text
        node.report_due = True
        node.changed = True
        bad = status is MonitorStatus.ERROR
        module = numbers.module(monitor)
        node.record(
            module,
            _number(module, was, status),
            "ERROR" if bad else ("INFO" if status is MonitorStatus.NORMAL else "WARN"),
            (monitor.name, node.me),
            say.monitor_goes(
                monitor.name, node.me, was, status, text, self._plan(monitor, run) if bad else ""
            ),
            event=number,
        )
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
        if due == "final" and recovery.final_action == "none":
            return ""
        return say.plan(due, recovery.target, recovery.final_action)

    def _due(self, monitor: Monitor, run: MonitorRun) -> str:
        """The next of the steps that still has a count left."""
        recovery = monitor.recovery
        start = _STEPS.index(recovery.action)
        floor = self.node.now - recovery.window_ms
        scripts, restarts, failovers = (
            sum(at > floor for at in counted)
            for counted in (run.scripts, run.restarts, run.failovers)
        )
        if start <= 0 and recovery.script and not scripts:
            return "script"
        if start <= 1 and recovery.target and restarts < recovery.restart_count:
            return "restart"
        if start <= 2 and recovery.target and failovers < recovery.failover_count:
            return "failover"
        return "final"

    def _forget_step(self, run: MonitorRun) -> None:
        """What was under way is over; but what the BMC is to do after a failover stands."""
        if run.step != "after":
            run.step = ""

    # ------------------------------------------------------------------ steps

    def _recover(self, monitor: Monitor, run: MonitorRun, text: str) -> None:
        node = self.node
        shared = node.state.shared
        if run.step:
            return
        if shared.suspended or run.suspended or node.state.phase is not Phase.RUNNING:
            self._held_back(monitor, run, "rm", 192, say.recovery_suspended(monitor.name))
            return
        recovery = monitor.recovery
        if recovery.target and not node.groups.online(recovery.target):
            self._held_back(
                monitor, run, numbers.module(monitor), 25, say.inactive(recovery.target, node.me)
            )
            return
        run.held_back = ""
        if recovery.pre_action_script and not self._unprepared(monitor, run):
            run.step = "pre-action"
            self._script(monitor, run, recovery.pre_action_script, text)
            return
        self._next(monitor, run, text)

    def _held_back(
        self, monitor: Monitor, run: MonitorRun, module: str, event_id: int, text: str
    ) -> None:
        """Says why nothing is recovered: once, however many rounds find it so."""
        if run.held_back != text:
            self.node.record(module, event_id, "WARN", (monitor.name, self.node.me), text)
        run.held_back = text

    def _unprepared(self, monitor: Monitor, run: MonitorRun) -> bool:
        """Whether no script comes first: before the final action of a linked monitor (hardware
        guide 3.4.1), or where no step is left that it could precede."""
        if self._due(monitor, run) != "final":
            return False
        over = run.finals or monitor.recovery.final_action == "none"
        return is_linked(monitor.category) or bool(over)

    def _next(self, monitor: Monitor, run: MonitorRun, text: str) -> None:
        """Takes the step that is due."""
        recovery = monitor.recovery
        due = self._due(monitor, run)
        floor = self.node.now - recovery.window_ms
        for counted in (run.scripts, run.restarts, run.failovers):
            counted[:] = [t for t in counted if t > floor]
        if due == "script":
            run.scripts.append(self.node.now)
            self.node.dirty = True
            run.step = "script"
            self._script(monitor, run, recovery.script, text)
        elif due == "restart":
            run.restarts.append(self.node.now)
            self.node.dirty = True
            self._restart(monitor, run)
        elif due == "failover":
            self._failover(monitor, run)
        else:
            self.final.of_monitor(monitor, run)

    def _script(self, monitor: Monitor, run: MonitorRun, script: str, text: str) -> None:
        node = self.node
        run.token = f"{monitor.name}:{node.state.next_token}"
        node.state.next_token += 1
        keyword = monitor.keywords.get(node.me, "") or run.device
        node.record(
            numbers.module(monitor),
            930 if run.step == "pre-action" else 170,
            "INFO",
            (monitor.name, node.me),
            say.script_runs(node.me, script, monitor.name),
        )
        node.emit(
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
        node = self.node
        name = event.token.rpartition(":")[0]
        monitor = node.settings.monitor(name)
        run = node.state.monitors.get(name)
        if monitor is None or run is None or run.token != event.token:
            return
        step, run.step, run.token = run.step, "", ""
        ended, failed = (82, 83) if step == "pre-action" else (932, 171)
        node.record(
            numbers.module(monitor),
            ended if event.ok else failed,
            "INFO" if event.ok else "ERROR",
            (name, node.me),
            say.script_ended(name, event.ok, event.timed_out, event.text),
        )
        if step == "pre-action" and run.status is MonitorStatus.ERROR:
            self._next(monitor, run, run.text)

    def _restart(self, monitor: Monitor, run: MonitorRun) -> None:
        node = self.node
        target = monitor.recovery.target
        groups = node.groups.online(target)
        node.record(
            numbers.module(monitor),
            13,
            "WARN",
            (monitor.name, target, *groups, node.me),
            say.restarts(node.me, target, monitor.name, len(run.restarts)),
        )
        node.groups.restart(target)

    def _failover(self, monitor: Monitor, run: MonitorRun) -> None:
        """Stops the target here at once; the coordinator starts it where it may run next."""
        node = self.node
        recovery = monitor.recovery
        moved = False
        for name in node.groups.online(recovery.target):
            group = node.settings.group(name)
            if group is None:
                continue
            outside = self._outside(group, monitor)
            inside = recovery.failover_outside_server_group and not outside
            stays = node.choice.stays(group, outside)
            if stays:
                # Said once, however many rounds find it so.
                if run.stays.get(name) != stays:
                    node.record("rc", 65, "WARN", (name, monitor.name, node.me), stays)
                run.stays[name] = stays
                continue
            run.stays.pop(name, None)
            if recovery.after_recovery != "none" and not moved:
                self.final.arm_deadman(monitor)
            moved = True
            node.record(
                numbers.module(monitor),
                14,
                "WARN",
                (name, monitor.name, node.me),
                say.fails_over(node.me, name, monitor.name),
                because=(say.none_outside(name),) if inside else (),
            )
            if outside:
                node.operations.ask_coordinator(
                    GroupMove(group=name, to=outside, failover=True, reason=monitor.name)
                )
            node.groups.stop(
                name,
                GroupWhy.FAILOVER,
                "GROUPFAILOVER",
                migrate=recovery.migrate_before_failover,
            )
        if moved:
            run.failovers.append(node.now)
            node.dirty = True
            if recovery.after_recovery != "none":
                run.step = "after"
                run.deadline = node.now + recovery.after_recovery_deadline_ms

    def _could_not_move(self, monitor: Monitor, run: MonitorRun) -> bool:
        """Whether a fault that is still open found no server for its groups, and now there is one.

        An active monitor finds out in its next round; a message receive monitor has none.
        """
        node = self.node
        idle = run.status is MonitorStatus.ERROR and not run.step and not run.suspended
        if not run.stays or not idle or node.state.shared.suspended:
            return False
        if not node.votes.coordinator():
            return False  # nobody yet who would start them there
        active = [n for n in node.groups.online(monitor.recovery.target) if n in run.stays]
        groups = [node.settings.group(name) for name in active]
        return any(
            group is not None and not node.choice.stays(group, self._outside(group, monitor))
            for group in groups
        )

    def _outside(self, group: Group, monitor: Monitor) -> str:
        """The first server that would take the group and is in none of its server groups here,
        where the monitor asks for one."""
        node = self.node
        if not monitor.recovery.failover_outside_server_group:
            return ""
        ours = {
            server
            for g in node.settings.server_groups
            if g.name in group.server_groups and node.me in g.servers
            for server in g.servers
        }
        for name in group.servers:
            able = not node.choice.not_eligible(name) and not node.choice.is_barred(name)
            if name not in ours and able:
                return name
        return ""

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Which active monitors should run now; what follows a finished recovery."""
        node = self.node
        self.final.settle()
        for monitor in self.here():
            run = self.run(monitor.name)
            if run.step == "after":
                self.final.after(monitor, run)
            if monitor.type in PASSIVE:
                if self._could_not_move(monitor, run):
                    self._recover(monitor, run, run.text)
                continue
            wanted = (
                node.state.phase is Phase.RUNNING
                and not node.state.shared.suspended
                and not run.suspended
                and (monitor.timing != "active" or bool(node.groups.online(monitor.target)))
            )
            if wanted is not run.running:
                run.running = wanted
                node.report_due = True
                node.emit(RunMonitor(monitor=monitor.name, on=wanted))
                if not wanted:
                    run.status = MonitorStatus.NORMAL
                    self._forget_step(run)

    # ------------------------------------------------------------------ by command

    def suspend(self, names: tuple[str, ...], on: bool, user: str) -> list[str]:
        """Suspends or resumes monitors (empty: all); returns which were changed."""
        node = self.node
        changed = []
        for monitor in self.here():
            run = self.run(monitor.name)
            if (names and monitor.name not in names) or run.suspended is on:
                continue
            run.suspended = on
            node.dirty = True
            changed.append(monitor.name)
            if not on and monitor.type == "mrw":
                node.ledger.refresh(monitor, run)
            node.record(
                "rm",
                29 if on else 30,
                "INFO",
                (monitor.name, node.me),
                say.monitor_suspended(monitor.name, node.me, on, user),
            )
        node.changed = True
        node.report_due = True
        return changed

    def clear_counters(self, names: tuple[str, ...]) -> list[str]:
        """Sets the recovery counters of monitors (empty: all) to zero."""
        cleared = []
        for monitor in self.here():
            if names and monitor.name not in names:
                continue
            run = self.run(monitor.name)
            run.scripts, run.restarts, run.failovers, run.finals = [], [], [], 0
            cleared.append(monitor.name)
        self.node.report_due = True
        self.node.dirty = True
        return cleared

    def fault(self, monitor: Monitor, on: bool) -> None:
        """Dummy failure of an active monitor."""
        run = self.run(monitor.name)
        run.fault = on
        self.node.emit(FaultMonitor(monitor=monitor.name, on=on))
        self.node.record(
            "rm",
            180 if on else 181,
            "INFO",
            (monitor.name, self.node.me),
            say.dummy(monitor.name, self.node.me, on),
        )


def _number(module: str, was: MonitorStatus, status: MonitorStatus) -> int:
    """Of a monitor's change of status."""
    if status is MonitorStatus.ERROR:
        return 905 if module == "mm" else 9
    if status is MonitorStatus.NORMAL:
        return 26 if was is MonitorStatus.ERROR else 49
    if module == "mm":
        return 933
    return 27 if status is MonitorStatus.UNKNOWN else 4
