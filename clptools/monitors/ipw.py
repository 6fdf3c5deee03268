"""`ipw`: whether any of some addresses answers a ping."""

from __future__ import annotations

import asyncio

from clptools.common.ping import ping
from clptools.core.model.options import VariantOptions, read
from clptools.core.model.settings import Monitor
from clptools.faults import ClpError, ExitCode
from clptools.monitors.base import NORMAL, MonitorContext, Verdict, error


class Options(VariantOptions, frozen=True, kw_only=True):
    """The addresses to ping."""

    targets: tuple[str, ...] | dict[str, str]
    """Those of every server, or each server's with commas between them."""


async def check(monitor: Monitor, context: MonitorContext) -> Verdict:
    """Normal as soon as one target answers; three tries within the time-out."""
    given = read(Options, monitor.options).targets
    targets = given.get(context.server, "").split(",") if isinstance(given, dict) else given
    asked = [asyncio.create_task(ping(target, monitor.timeout_ms / 1000)) for target in targets]
    faults: list[str] = []
    try:
        for done in asyncio.as_completed(asked):
            try:
                if await done:
                    return NORMAL
            except PermissionError:
                raise ClpError(
                    ExitCode.NOT_PERMITTED,
                    "pings are not permitted",
                    "run as root, or let net.ipv4.ping_group_range include this user's group",
                ) from None
            except OSError as fault:
                faults.append(str(fault.strerror))
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    names = ", ".join(targets)
    reason = f" ({', '.join(sorted(set(faults)))})" if faults else ""
    return error(f"no answer to a ping from {names}{reason}")
