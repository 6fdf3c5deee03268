"""`clpbackup`: for scripts that back up the disks of servers with mirrors; there are none."""

from __future__ import annotations

from clptools.cli.absent import MIRRORS
from clptools.cli.command import Answer, Args, Command, Option
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpbackup",
    summary="refuse what belongs to mirror disks, and say how to back up a server",
    synopsis=("--pre|--post [--no-shutdown] [--no-reboot] [--online]",),
    description=(
        (
            "In the original it sets mirror disks into a state in which images of disks may be "
            "taken or written, and shuts servers down for that. clptools has no mirror disks, so "
            "nothing is to be set and nothing is done; it fails with 1, and a script does not go "
            "on as if the servers were down."
        ),
        (
            "Images of a server are taken while the cluster service of that server is stopped: "
            "clpcl -t, and clpsvcctrl --disable -a, so that it does not start with the server; "
            "then clpsvcctrl --enable -a and clpcl -s. The configuration itself: clpcfctrl --pull."
        ),
    ),
    options=(
        Option("--pre", help="Before the images."),
        Option("--post", help="After them."),
        Option("--no-shutdown", help="Nothing is shut down."),
        Option("--no-reboot", help="Nothing is rebooted."),
        Option("--only-shutdown", help="Nothing is shut down."),
        Option("--only-reboot", help="Nothing is rebooted."),
        Option("--online", help="Nothing is done."),
    ),
    examples=(("clpcl -t && clpsvcctrl --disable -a", "before images of this server are made"),),
)


def run(args: Args) -> Answer:
    raise ClpError(
        ExitCode.FAILED,
        f"Nothing was done: {MIRRORS}, whose state it would set.",
        "Before images of a server: clpcl -t; clpsvcctrl --disable -a.  More: clpbackup --help",
    )
