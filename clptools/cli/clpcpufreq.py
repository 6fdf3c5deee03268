"""`clpcpufreq`: for scripts that set the frequency of the processors; the system does that."""

from __future__ import annotations

from clptools.cli.command import Answer, Args, Command, Option
from clptools.cli.requests import one_of
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpcpufreq",
    summary="refuse to set the frequency of the processors, and name the tool that does",
    synopsis=("--high|--low|-i|-s [-h HOST]",),
    description=(
        (
            "clptools does not set the frequency of processors, so the command fails with 1. Use "
            "cpupower(1) instead; the scripts of an exec resource may call it."
        ),
    ),
    options=(
        Option("--high", help="Full frequency."),
        Option("--low", help="Lower the frequency, to save power."),
        Option("-i", "--auto", help="Leave the frequency to the cluster."),
        Option("-s", "--show", help="Show the frequency."),
        Option("-h", "--host", metavar="HOST", help="On this server."),
    ),
    examples=(("cpupower frequency-set -g performance", "what --high did"),),
)

INSTEAD = {
    "high": "cpupower frequency-set -g performance",
    "low": "cpupower frequency-set -g powersave",
    "auto": "cpupower frequency-set -g GOVERNOR; what there is: cpupower frequency-info -g",
    "show": "cpupower frequency-info",
}


def run(args: Args) -> Answer:
    what = one_of(COMMAND, args, *INSTEAD)
    raise ClpError(
        ExitCode.FAILED,
        "clptools leaves the frequency of the processors to the system.",
        f"On the server itself: {INSTEAD[what]}",
    )
