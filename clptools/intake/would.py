"""What a trap would do here: the monitors that would change, the recovery that would run.

For `clptrap decode`; nothing runs.  The rules are the ledger's
(`core/monitors/event_ledger.py`), on a cluster in which nothing is open.
"""

from __future__ import annotations

import msgspec

from clptools.core import phrases as say
from clptools.core.model.settings import Bmc, Monitor, Settings
from clptools.core.model.states import MonitorStatus
from clptools.core.model.words import EventClass, FinalAction, RecoveryStep
from clptools.intake.match import CATEGORY, plain_source
from clptools.intake.pet import DecodedTrap

_QUIET = {
    EventClass.INFO: "Nothing changes: it is recorded (INFO).",
    EventClass.UNKNOWN: "Nothing changes: it has no class and is only counted.",
}


class WouldChange(msgspec.Struct, frozen=True, kw_only=True, rename={"was": "from"}):
    """What would become of one monitor on one server."""

    monitor: str
    server: str
    was: str
    to: str
    recovery: str | None = None
    """What would run: `fail over failover1`; None: nothing."""
    text: str
    """The same in sentences, with the reason."""


def servers_of(settings: Settings, address: str) -> tuple[str, ...]:
    """The servers whose BMC has that address, or names it as a further source of their traps."""
    wanted = plain_source(address)
    return tuple(
        server.name
        for server in settings.servers
        if wanted
        and server.bmc is not None
        and wanted in map(plain_source, (server.bmc.address, *_more(server.bmc)))
    )


def _more(bmc: Bmc) -> list[str]:
    return [source.address for source in bmc.trap_sources]


def would(
    decoded: DecodedTrap, settings: Settings, servers: tuple[str, ...]
) -> tuple[WouldChange, ...]:
    """One entry for each BMCNOTICE monitor of these servers, in the order of the configuration."""
    return tuple(
        _change(decoded, monitor, server)
        for monitor in settings.monitors
        if monitor.type == "mrw" and monitor.category == CATEGORY
        for server in monitor.servers
        if server in servers and monitor.keywords.get(server)
    )


def _change(decoded: DecodedTrap, monitor: Monitor, server: str) -> WouldChange:
    normal = MonitorStatus.NORMAL.value
    event_class = decoded.event_class
    where = f"{monitor.name} on {server}"
    if event_class in _QUIET:
        text = f"{where}: {_QUIET[event_class]}"
        return WouldChange(monitor=monitor.name, server=server, was=normal, to=normal, text=text)
    if event_class is EventClass.CLEAR:
        text = f"{where}: closes what this fault opened; Normal again if nothing else is open."
        return WouldChange(monitor=monitor.name, server=server, was=normal, to=normal, text=text)
    recovery = None
    if event_class in monitor.recover_on:
        to = MonitorStatus.ERROR.value
        plan = monitor.recovery
        recovery = say.plan(plan.action, plan.target, plan.final_action)
        because = f"Recovery: {recovery}."
        if plan.action is RecoveryStep.FINAL and plan.final_action is FinalAction.NONE:
            recovery, because = None, 'No recovery: the final action is "none".'
    elif event_class is EventClass.PREDICT and monitor.stall_on_predictive_failure:
        to = MonitorStatus.STALL.value
        because = "No recovery: predictive failures only stall (stall_on_predictive_failure)."
    elif event_class is EventClass.PERFORMANCE and monitor.stall_on_performance_down:
        to = MonitorStatus.STALL.value
        because = "No recovery: performance going down only stalls (stall_on_performance_down)."
    else:
        to = MonitorStatus.CAUTION.value
        because = f"No recovery: recover_on does not name {event_class.value}."
    return WouldChange(
        monitor=monitor.name,
        server=server,
        was=normal,
        to=to,
        recovery=recovery,
        text=f"{where}: {normal} -> {to}. {because}",
    )
