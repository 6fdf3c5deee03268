"""`fipw`: whether the floating addresses of the target are here, on a link that works."""

from __future__ import annotations

from ipaddress import ip_interface

from clptools.core.model.options import PerServer, VariantOptions, on_server, read
from clptools.core.model.settings import Monitor, Resource
from clptools.faults import ClpError, ExitCode
from clptools.monitors.base import NORMAL, MonitorContext, Verdict, error
from clptools.monitors.netdev import interface_with, link_fault


class _Fip(VariantOptions, frozen=True, kw_only=True):
    """The part of a `fip` resource's options that counts here."""

    address: PerServer


async def check(monitor: Monitor, context: MonitorContext) -> Verdict:
    """Every `fip` of the target: the resource itself, or all of a group."""
    resources = _targets(monitor, context)
    if not resources:
        raise ClpError(
            ExitCode.FAILED,
            f"monitor {monitor.name}: its target {monitor.target or '(none)'} has no fip resource",
            'target = "…" names a fip, or a group that has one',
        )
    for resource in resources:
        address = ip_interface(on_server(read(_Fip, resource.options).address, context.server)).ip
        interface = interface_with(address)
        if interface is None:
            return error(f"{address} ({resource.name}) is not on this server any more")
        fault = link_fault(interface)
        if fault:
            return error(f"{address} ({resource.name}): {fault}")
    return NORMAL


def _targets(monitor: Monitor, context: MonitorContext) -> list[Resource]:
    group = context.settings.group_of(monitor.target)
    if group is None:
        return []
    fips = [r for r in group.resources if r.type == "fip"]
    return fips if group.name == monitor.target else [r for r in fips if r.name == monitor.target]
