"""`miiw`: the link of a network interface."""

from __future__ import annotations

from clptools.core.model.options import PerServer, VariantOptions, on_server, read
from clptools.core.model.settings import Monitor
from clptools.faults import ClpError, ExitCode
from clptools.monitors.base import NORMAL, MonitorContext, Verdict, error
from clptools.monitors.netdev import link_fault


class Options(VariantOptions, frozen=True, kw_only=True):
    """The interface."""

    interface: PerServer


async def check(monitor: Monitor, context: MonitorContext) -> Verdict:
    """Whether it is up and has its carrier."""
    interface = on_server(read(Options, monitor.options).interface, context.server)
    if not interface:
        raise ClpError(
            ExitCode.FAILED, f"monitor {monitor.name} names no interface for {context.server}"
        )
    fault = link_fault(interface)
    return error(fault) if fault else NORMAL
