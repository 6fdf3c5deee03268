"""What the cores write and count, judged by what they do: I2, I4, I6 and I7.

`Counts` keeps its own count of recoveries: a limit that a restart of the agent forgets is a limit
that does not hold.  What a boot may forget, a boot forgets here too.  `Records` looks for the
record of each change, and at what traps open and close; it costs time, and is for deep runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model import requests as r
from clptools.core.model.messages import Forward, Report
from clptools.core.model.settings import Monitor
from clptools.core.monitors.event_ledger import DUPLICATES_MS
from clptools.core.monitors.recovery import PASSIVE
from clptools.core.notices import monitors
from clptools.core.notices.form import Kinds, pattern

if TYPE_CHECKING:
    from clptools.sim.host import Host
    from clptools.sim.world import World

_RESTARTS, _FAILS_OVER = monitors.RecoveryRestarts.code(), monitors.RecoveryFailsOver.code()
_FINAL = Kinds(monitors.FinalActionBegins)
_NO_HALT = ("none", "stop-group", "stop-resource", "stop-cluster")
_CLEARS = (r.MonitorClear, r.Acknowledge)

_ACTS = (a.RunScript, a.Fence, a.HostAction, a.RunResource)


class Counts:
    """I2: scripts, restarts, failovers and final actions of all servers, against their limits."""

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
        if host.run_fails and any(type(x) is a.Persist for x in actions):
            return ""  # the agent ends before it does any of it
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


class Records:
    """I4, I6, I7: each change has its record, each trap opens and closes what it should."""

    def __init__(self, report: Callable[..., None]) -> None:
        """`report`: told of each promise that is broken."""
        self._report = report
        self._seen_states: dict[str, dict[str, Any]] = {}
        self._open_before: dict[str, Any] = {}
        self._traps: dict[str, dict[str, int]] = {}

    def forget(self, host: Host) -> None:
        """The core's state was changed from outside: no record of that is looked for."""
        self._seen_states.pop(host.incarnation, None)
        self._open_before.pop(host.incarnation, None)

    def saw(self, host: Host, event: e.Event, actions: list[a.Action]) -> None:
        """One step."""
        state = host.node.state
        # A purge (stopping what an earlier boot may have left) is no change of a group.
        seen: dict[str, Any] = {
            name: ("none", False) if g.purge else (str(g.state), g.held)
            for name, g in state.lifecycle.runs.items()
        }
        # A monitor without rounds is off, because of something that has a record of its own.
        settings = host.settings
        passive = {m.name for m in settings.monitors if m.type in PASSIVE}
        seen.update({n: m.status for n, m in state.monitors.items() if m.running or n in passive})
        known = self._seen_states.get(host.incarnation)
        if known is not None and known != seen:
            named = {s for x in actions if type(x) is a.Record for s in x.subjects}
            for name, value in seen.items():
                if known.get(name, value) != value and name not in named:
                    self._report(
                        "I4",
                        f"{name} went {_word(known.get(name))} -> {_word(value)} unrecorded "
                        f"(on {type(event).__name__})",
                        host.name,
                        group=name,
                    )
        self._seen_states = {**self._seen_states, host.incarnation: seen}
        if type(event) is e.HardwareSeen:
            self._hardware(host, event, actions)
        self._open_before[host.incarnation] = {
            key: (x.event_class, x.count) for key, x in state.ledger.events.items()
        }

    def _hardware(self, host: Host, event: e.HardwareSeen, actions: list[a.Action]) -> None:
        before = self._open_before.get(host.incarnation, {})
        after = {k: (x.event_class, x.count) for k, x in host.node.state.ledger.events.items()}
        if event.duplicate_key:
            traps = self._traps.setdefault(host.incarnation, {})
            again = f"{event.monitor}/{event.duplicate_key}"
            now = host.node.now
            if again in traps and now - traps[again] <= DUPLICATES_MS:
                if before != after or any(_acts(x) for x in actions):
                    self._report("I7", f"the second {event.key} acted", host.name)
                return
            traps[again] = now
        closed = set(before) - set(after)
        ends = {f"{event.monitor}/{key}" for key in event.closes or (event.key,)}
        if event.event_class != "CLEAR":
            if closed:
                self._report("I6", f"{event.key} asserted, and closed {sorted(closed)}", host.name)
            return
        if closed - ends:
            self._report("I6", f"{event.key} closed {sorted(closed - ends)}", host.name)
        fits = {key for key in ends & set(before) if event.clears in ("", before[key][0])}
        if fits & set(after):
            self._report("I6", f"{sorted(fits & set(after))} was not closed", host.name)


def _acts(action: a.Action) -> bool:
    """Whether it changes something beyond this server's own books."""
    if isinstance(action, a.SendControl):
        return not isinstance(action.message, Report)
    return isinstance(action, _ACTS)


def _word(value: object) -> str:
    return str(value[0] if isinstance(value, tuple) else value)
