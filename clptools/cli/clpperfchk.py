"""`clpperfchk`: for scripts that watch the figures of mirror disks; there are none."""

from __future__ import annotations

from clptools.cli.absent import MIRRORS
from clptools.cli.command import Answer, Args, Argument, Command
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpperfchk",
    summary="refuse to watch the figures of mirror disks: there are none",
    synopsis=("alert LABEL THRESHOLD TIMES INTERVAL syslog|alert|mail|trap FILE",),
    description=(
        (
            "This tool was published with the original. It watches a column of the figures that a "
            "mirror disk writes (perf/disk/nmp1.cur). clptools has no mirror disks, so nothing "
            "writes these figures, and the command fails with 1. For thresholds on what clptools "
            "measures, use clpperfc(8), or the metrics of clpstat(8) with a monitoring system."
        ),
    ),
    arguments=(Argument("WORD", help="As above.", many=True),),
    examples=(("clpstat --metrics", "shows what clptools measures"),),
)


def run(args: Args) -> Answer:
    raise ClpError(
        ExitCode.FAILED,
        f"There are no figures to watch: {MIRRORS}.",
        "What is measured here: clpstat --metrics, clpperfc --starttime -g GROUP",
    )
