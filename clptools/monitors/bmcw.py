"""`bmcw`: whether this server's own BMC answers."""

from __future__ import annotations

import asyncio

from clptools.core.model.settings import Monitor
from clptools.faults import ClpError, ExitCode
from clptools.monitors.base import MonitorContext, Status, Verdict


async def check(monitor: Monitor, context: MonitorContext) -> Verdict:
    """Ask it, within the time-out."""
    if context.check_bmc is None:
        raise ClpError(
            ExitCode.FAILED,
            f"{context.server} has no BMC in the configuration",
            "[server.bmc] names its address and user",
        )
    async with asyncio.timeout(monitor.timeout_ms / 1000):
        return Verdict(status=Status.NORMAL, text=await context.check_bmc())
