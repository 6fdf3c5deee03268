"""`clproset`: for scripts that make the partition of a shared disk read-only."""

from __future__ import annotations

from clptools.cli.command import Answer, Args, Command, Option
from clptools.cli.requests import one_of
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clproset",
    summary="refuse to make a shared disk read-only or writable, and say what does",
    synopsis=("-o|-w|-s -a|-d DEVICE|-r RESOURCE -t TYPE|--lvm GROUP",),
    description=(
        (
            "clptools sets no partition read-only, so it fails with 1: a script that counts on it "
            "does not go on. blockdev(8) sets and shows it."
        ),
        (
            "What keeps two servers from writing to one disk here is the proof that the other one "
            "has stopped, which clpcfchk(8) judges."
        ),
    ),
    options=(
        Option("-o", "--read-only", help="Make it read-only."),
        Option("-w", "--writable", help="Make it writable."),
        Option("-s", "--show", help="Show which it is."),
        Option("-d", "--device", metavar="DEVICE", help="This partition."),
        Option("-r", "--resource", metavar="RESOURCE", help="That of this group resource."),
        Option("-t", "--type", metavar="TYPE", help="With -r: its type."),
        Option("-a", "--all", help="All of them."),
        Option("--lvm", metavar="GROUP", help="This volume group."),
    ),
    examples=(("blockdev --getro /dev/sdb1", "1: read-only"),),
)

INSTEAD = {"read-only": "--setro", "writable": "--setrw", "show": "--getro"}


def run(args: Args) -> Answer:
    what = one_of(COMMAND, args, *INSTEAD)
    raise ClpError(
        ExitCode.FAILED,
        "clptools sets no partition read-only or writable.",
        f"On the server itself: blockdev {INSTEAD[what]} {args.text('device') or 'DEVICE'}",
    )
