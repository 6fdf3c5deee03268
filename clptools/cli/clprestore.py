"""`clprestore`: for scripts that restore the disks of servers with mirrors; there are none."""

from __future__ import annotations

from clptools.cli import absent
from clptools.cli.command import Answer, Args, Command, Option

COMMAND = Command(
    "clprestore",
    summary="refuse what belongs to mirror disks, and say how to restore a server",
    synopsis=(absent.IMAGES_SYNOPSIS,),
    description=absent.IMAGES,
    options=(*absent.IMAGES_OPTIONS, Option("--skip-copy", help="Nothing is copied.")),
    examples=(absent.IMAGES_EXAMPLE,),
)


def run(args: Args) -> Answer:
    raise absent.images("clprestore")
