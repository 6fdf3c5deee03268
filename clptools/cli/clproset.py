"""`clproset`: for scripts that make the partition of a shared disk read-only."""

from __future__ import annotations

from clptools.cli.command import Answer, Args, Command, Option
from clptools.cli.requests import one_of
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clproset",
    summary="refuse to make a shared disk read-only or writable, and name the tool that does",
    synopsis=("-o|-w|-s -a|-d DEVICE|-r RESOURCE -t TYPE|--lvm GROUP",),
    description=(
        (
            "clptools does not set partitions read-only, so the command fails with 1, and a script "
            "that relies on it does not go on. blockdev(8) sets and shows this."
        ),
        (
            "In clptools, two servers never write to one disk because a group starts only after it "
            "is proven that the other server has stopped. clpcfchk(8) says which proofs there are."
        ),
    ),
    options=(
        Option("-o", "--read-only", help="Make the partition read-only."),
        Option("-w", "--writable", help="Make the partition writable."),
        Option("-s", "--show", help="Show whether it is read-only or writable."),
        Option("-d", "--device", metavar="DEVICE", help="This partition."),
        Option(
            "-r", "--resource", metavar="RESOURCE", help="The partition of this group resource."
        ),
        Option("-t", "--type", metavar="TYPE", help="With -r: its type."),
        Option("-a", "--all", help="All partitions."),
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
