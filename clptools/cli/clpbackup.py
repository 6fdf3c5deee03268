"""`clpbackup`: for scripts that back up the disks of servers with mirrors; there are none."""

from __future__ import annotations

from clptools.cli import absent
from clptools.cli.command import Answer, Args, Command

COMMAND = Command(
    "clpbackup",
    summary="refuse what belongs to mirror disks, and say how to back up a server",
    synopsis=(absent.IMAGES_SYNOPSIS,),
    description=absent.IMAGES,
    options=absent.IMAGES_OPTIONS,
    examples=(absent.IMAGES_EXAMPLE,),
)


def run(args: Args) -> Answer:
    raise absent.images("clpbackup")
