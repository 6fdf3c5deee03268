"""`ocfw`: an `ocf` resource, by the monitor action of its own agent."""

from __future__ import annotations

from clptools.core.model.settings import Monitor
from clptools.faults import ClpError, ExitCode
from clptools.monitors.base import NORMAL, MonitorContext, Verdict


async def check(monitor: Monitor, context: MonitorContext) -> Verdict:
    """Ask the agent of the target."""
    group = context.settings.group_of(monitor.target)
    resource = group.resource(monitor.target) if group is not None else None
    if group is None or resource is None or resource.type != "ocf":
        raise ClpError(
            ExitCode.FAILED,
            f"monitor {monitor.name}: its target {monitor.target or '(none)'} is no ocf resource",
            'target = "…" names one',
        )
    if context.check_resource is None:
        return NORMAL
    return await context.check_resource(group.name, resource, monitor.timeout_ms)
