"""I2: scripts, restarts, failovers and final actions stay in their limits.

Counted here from what the cores do, not from what they have counted: a limit that a restart of
the agent forgets is a limit that does not hold.  What a boot may forget, a boot forgets here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model import requests as r
from clptools.core.model.messages import Forward
from clptools.core.model.settings import Monitor
from clptools.core.notices import monitors
from clptools.core.notices.form import Kinds, pattern

if TYPE_CHECKING:
    from clptools.sim.host import Host
    from clptools.sim.world import World

_RESTARTS, _FAILS_OVER = monitors.RecoveryRestarts.code(), monitors.RecoveryFailsOver.code()
_FINAL = Kinds(monitors.FinalActionBegins)
_NO_HALT = ("none", "stop-group", "stop-resource", "stop-cluster")
_CLEARS = (r.MonitorClear, r.Acknowledge)


class Counts:
    """What the recoveries of all servers did."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._done: dict[tuple[str, str], dict[str, list[int]]] = {}
        """(server, monitor) -> kind of step -> instants on that server's clock."""
        self._halts: dict[str, int] = {}
        """Server -> final actions in a row that ended the machine."""
        self._finals: dict[tuple[str, str], int] = {}
        """(server's incarnation, monitor) -> number of the incident of its last final action."""

    def forget(self, host: Host) -> None:
        """What `/run` held is gone: the counts of that boot, or of that service."""
        for key in [k for k in self._done if k[0] == host.name]:
            del self._done[key]

    def saw(self, host: Host, event: e.Event, actions: list[a.Action]) -> str:
        """One step: which limit it broke, or nothing."""
        if type(event) in (e.RequestSeen, e.ControlSeen):
            self._cleared(host, event)
        if not any(type(x) is a.Record or type(x) is a.RunScript for x in actions):
            return ""
        told = {(x.code, name) for x in actions if type(x) is a.Record for name in x.subjects}
        scripts = [x for x in actions if type(x) is a.RunScript]
        now = host.now(self._world.t)
        for monitor in host.settings.monitors:
            broken = self._steps(host, monitor, told, scripts, now)
            if broken:
                return f"{monitor.name}: {broken}"
        return self._halted(host, actions)

    def _steps(
        self,
        host: Host,
        monitor: Monitor,
        told: set[tuple[str, str]],
        scripts: list[a.RunScript],
        now: int,
    ) -> str:
        recovery = monitor.recovery
        done = self._done.setdefault((host.name, monitor.name), {})
        ran = any(
            x.script == recovery.script and x.token.startswith(f"{monitor.name}:") for x in scripts
        )
        for kind, happened, limit in (
            ("scripts", ran and recovery.script != recovery.pre_action_script, 1),
            ("restarts", (_RESTARTS, monitor.name) in told, recovery.restart_count),
            ("failovers", (_FAILS_OVER, monitor.name) in told, recovery.failover_count),
        ):
            if not happened:
                continue
            at = [t for t in done.get(kind, []) if t > now - recovery.window_ms] + [now]
            done[kind] = at
            if len(at) > limit:
                return f"{len(at)} {kind} where {limit} are allowed"
        return ""

    def _halted(self, host: Host, actions: list[a.Action]) -> str:
        limit = host.settings.cluster.max_reboots
        for x in actions:
            if type(x) is not a.Record or x not in _FINAL:
                continue
            facts = pattern(monitors.FinalActionBegins).fullmatch(x.text)
            assert facts is not None, x.text
            name, action = facts["monitor"], facts["action"]
            monitor = host.settings.monitor(name)
            if monitor is not None:
                incident = host.node.state.monitors[name].incident
                if self._finals.get((host.incarnation, name)) == incident:
                    return f"{name}: a second final action in one incident"
                self._finals[(host.incarnation, name)] = incident
            if action in _NO_HALT or monitor is None:
                continue
            self._halts[host.name] = self._halts.get(host.name, 0) + 1
            if limit and self._halts[host.name] > limit:
                return f"{name}: {self._halts[host.name]} final actions ended it, {limit} may"
        return ""

    def _cleared(self, host: Host, event: e.Event) -> None:
        request: object = None
        if type(event) is e.RequestSeen:
            request = event.request
        elif type(event) is e.ControlSeen and type(event.message) is Forward:
            request = event.message.request
        if isinstance(request, _CLEARS):
            names = request.monitors if isinstance(request, r.MonitorClear) else (request.monitor,)
            for key in [k for k in self._done if k[0] == host.name]:
                if not names or key[1] in names:
                    del self._done[key]
        elif isinstance(request, r.ExternalNotice) and request.clear:
            receivers = [m.name for m in host.settings.monitors if m.type == "mrw"]
            for key in [k for k in self._done if k[0] == host.name and k[1] in receivers]:
                del self._done[key]
        elif isinstance(request, r.ClearHalts):
            self._halts.pop(host.name, None)
