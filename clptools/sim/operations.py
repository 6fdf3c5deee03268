"""Scripts in the simulated world: operations on resources, recovery scripts, monitors.

One operation of a resource runs at a time, as in `agent/executor.py`: what is ordered meanwhile
ends it, and begins once it has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core.cluster.timeout_ratio import stretched
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model import words
from clptools.sim.host import Host, Operation

if TYPE_CHECKING:
    from clptools.sim.world import World

_ENDS_WITHIN_US = 2_000_000
"""From the TERM that ends a script to its end, as a rule much less."""


class Operations:
    """What runs for the agents of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance("executor")

    def run_resource(self, host: Host, action: a.RunResource, now: int) -> None:
        """`RunResource`."""
        key = (action.group, action.resource)
        wanted = Operation(action, host.incarnation)
        running = host.operations.get(key)
        if running is None:
            self._begin(host, key, wanted)
            return
        # Its script is killed, and awaited: a start that is not could come up after the stop.
        running.then = wanted
        if not running.given_up:
            running.given_up = True
            takes = int(self._chance.random() ** 3 * _ENDS_WITHIN_US)
            self._world.at(self._world.t + takes, self.ended, host, key, running)

    def _begin(self, host: Host, key: tuple[str, str], operation: Operation) -> None:
        action, scripts = operation.order, host.scripts
        low, high = self._world.script_us
        took = low + int(self._world.rng.random() ** 3 * (high - low))
        took = scripts.slow_us.get((action.resource, action.op), took)
        limit = self._limit_us(host, action)
        if scripts.hangs(action.resource, action.op) or took > limit:
            operation.ok, operation.timed_out, took = False, True, limit
        elif scripts.fails(action.resource, action.op):
            operation.ok = False
        host.operations[key] = operation
        if action.op == words.Operation.START:
            host.active[key] = "starting"
        elif action.op == words.Operation.STOP and key in host.active:
            host.active[key] = "stopping"
        self._world.check.running(host, action)
        self._world.note(f"{host.name} begins to {action.op} {action.group}/{action.resource}")
        self._world.at(self._world.t + took, self._ends, host, key, operation)

    def _limit_us(self, host: Host, action: a.RunResource) -> int:
        group = stretched(self._world.settings, host.ratio).group(action.group)
        resource = group.resource(action.resource) if group else None
        if resource is None:
            return 1_800_000_000
        limits = {
            words.Operation.START: resource.start_timeout_ms,
            words.Operation.STOP: resource.stop_timeout_ms,
            words.Operation.MIGRATE: resource.migrate_timeout_ms,
        }
        return 1000 * limits[action.op]

    def _ends(self, host: Host, key: tuple[str, str], operation: Operation) -> None:
        """A script came to its end, or to its time-out."""
        if not operation.given_up:
            self.ended(host, key, operation)

    def ended(self, host: Host, key: tuple[str, str], operation: Operation) -> None:
        """It is over, by itself or because another one was ordered."""
        if host.operations.get(key) is not operation:
            return
        if host.stalled:
            host.backlog.append(("operation", (key, operation)))
            return
        del host.operations[key]
        order = operation.order
        if operation.given_up:
            operation.ok = False
        if order.op == words.Operation.START:
            host.active[key] = "running" if operation.ok else "broken"
        elif order.op == words.Operation.MIGRATE:
            pass  # it stays active here until its stop, however much of it was carried over
        elif operation.ok:
            host.active.pop(key, None)
        elif key in host.active:
            host.active[key] = "broken"
        self._tell_end(host, operation)
        self._world.check.changed(host)
        if operation.given_up:
            self.begin_next(host, key, operation)
        elif host.incarnation == operation.incarnation:
            self._world.step(
                host,
                e.ResourceDone(
                    group=order.group,
                    resource=order.resource,
                    op=order.op,
                    epoch=order.epoch,
                    number=order.number,
                    ok=operation.ok,
                    timed_out=operation.timed_out,
                    severity=self._severity(host, operation),
                ),
            )

    def _severity(self, host: Host, operation: Operation) -> words.Severity:
        order = operation.order
        if operation.ok or operation.timed_out or order.op != words.Operation.START:
            return words.Severity.SOFT
        severity = host.scripts.severity
        return severity.get(order.resource) or severity.get("*", words.Severity.SOFT)

    def _tell_end(self, host: Host, operation: Operation) -> None:
        order = operation.order
        word = "has" if operation.ok else "timed out to" if operation.timed_out else "failed to"
        past = {
            words.Operation.START: "started",
            words.Operation.STOP: "stopped",
            words.Operation.MIGRATE: "migrated",
        }
        verb = past[order.op] if operation.ok else order.op
        if operation.given_up:
            word, verb = "gave up to", order.op
        self._world.note(f"{host.name} {word} {verb} {order.group}/{order.resource}")

    def begin_next(self, host: Host, key: tuple[str, str], operation: Operation) -> None:
        """What was ordered while `operation` still ran begins, if its agent is still there."""
        wanted = operation.then
        if wanted is None or host.node is None or host.incarnation != wanted.incarnation:
            return
        if host.frozen:
            host.backlog.append(("next", (key, operation)))
        elif key not in host.operations:
            self._begin(host, key, wanted)

    def run_script(self, host: Host, action: a.RunScript, now: int) -> None:
        """`RunScript`."""
        self._world.check.script(host, action)
        ok = not host.scripts.fails(action.script, "run")
        hung = host.scripts.hangs(action.script, "run")
        took = (
            action.timeout_ms * 1000 if hung else 50_000 + int(self._world.rng.random() * 500_000)
        )
        done = e.ScriptDone(token=action.token, ok=ok and not hung, timed_out=hung)
        self._world.tell_later(self._world.t + took, host.name, done)

    def run_monitor(self, host: Host, action: a.RunMonitor, now: int) -> None:
        """`RunMonitor`: rounds, each with what the schedule says."""
        if not action.on:
            host.monitors.discard(action.monitor)
        elif action.monitor not in host.monitors:
            host.monitors.add(action.monitor)
            self._monitor_round(host, host.incarnation, action.monitor)

    def _monitor_round(self, host: Host, incarnation: str, name: str) -> None:
        monitor = stretched(self._world.settings, host.ratio).monitor(name)
        if host.incarnation != incarnation or name not in host.monitors or monitor is None:
            return
        bad = host.scripts.fails(name, "monitor")
        self._world.step(host, e.MonitorResult(monitor=name, status="error" if bad else "normal"))
        later = self._world.t + monitor.interval_ms * 1000
        self._world.at(later, self._monitor_round, host, incarnation, name)

    def fault_monitor(self, host: Host, action: a.FaultMonitor, now: int) -> None:
        """`FaultMonitor`: the test failure of `clpmonctrl`."""
        if action.on:
            host.scripts.failing.add((action.monitor, "monitor"))
        else:
            host.scripts.failing.discard((action.monitor, "monitor"))
