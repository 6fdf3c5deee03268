"""`genw`: a script of the operator's own; `normal` exit statuses are normal, others an error."""

from __future__ import annotations

import os

from clptools import paths
from clptools.core.model.options import VariantOptions, read
from clptools.core.model.settings import Monitor
from clptools.monitors.base import NORMAL, MonitorContext, Status, Verdict


class Options(VariantOptions, frozen=True, kw_only=True):
    """The script that decides."""

    script: str = "genw.sh"
    normal: tuple[str, ...] = ("0",)
    """Exit statuses."""


async def check(monitor: Monitor, context: MonitorContext) -> Verdict:
    """Run the script, under scripts/monitor.s/<monitor>/ or by its absolute path."""
    options = read(Options, monitor.options)
    end = await context.run_script(
        f"monitor/{monitor.name}",
        os.path.join(paths.scripts_dir(), "monitor.s", monitor.name, options.script),
        monitor.timeout_ms,
        {"CLP_MONITORNAME": monitor.name},
    )
    if str(end.exit_status) in options.normal:
        return NORMAL
    return Verdict(status=Status.ERROR, text=end.text, timed_out=end.timed_out)
