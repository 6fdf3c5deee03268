"""`clpmdstat`: for scripts that ask for mirror disks; there are none."""

from __future__ import annotations

from clptools.cli.absent import MIRRORS, mirror_disk
from clptools.cli.command import Answer, Args, Argument, Command, Option
from clptools.cli.requests import one_of
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpmdstat",
    summary="say that there are no mirror disks, to scripts that ask for their state",
    synopsis=("-l", "-m NAME", "-a"),
    description=(
        (
            "clptools has no mirror disks. -l, which lists them in the original, lists none (0). "
            "Every request for the state of a disk is answered that there is no such disk (5)."
        ),
    ),
    options=(
        Option("-l", "--list", help="List mirror disks: there are none."),
        Option("-m", "--mirror", help="Show the state of a mirror disk: there is none."),
        Option("-a", "--active", help="The same."),
    ),
    arguments=(Argument("NAME", help="A mirror disk."),),
    examples=(("clpmdstat -l", "names none"),),
)


def run(args: Args) -> Answer:
    if one_of(COMMAND, args, "list", "mirror", "active") == "list":
        return Answer(f"No mirror disk: {MIRRORS}.", {"mirrors": []})
    if not args.word():
        raise ClpError(ExitCode.USAGE, "The name of a mirror disk is missing.")
    raise mirror_disk(args.word())
