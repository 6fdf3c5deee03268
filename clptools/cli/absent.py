"""Commands of the original for what clptools does not have: they say so, and fail."""

from __future__ import annotations

from clptools.cli.command import Option
from clptools.faults import ClpError, ExitCode

MIRRORS = "clptools has no mirror disks"
INSTEAD = "A group may switch DRBD, or any other replication, by the scripts of an exec resource."


def mirror_disk(name: str) -> ClpError:
    """No such mirror disk: there is none at all."""
    about = f"{name}: no such mirror disk; {MIRRORS}." if name else f"{MIRRORS}."
    return ClpError(ExitCode.NO_SUCH, about, INSTEAD)


IMAGES = (
    (
        "In the original, this command puts mirror disks into a state in which images of disks may "
        "be taken or written, and shuts servers down for that. clptools has no mirror disks, so "
        "the command does nothing. It fails with 1, so that a script does not go on as if the "
        "servers were down."
    ),
    (
        "Take images of a server while its cluster service is stopped. Before: clpcl -t, and "
        "clpsvcctrl --disable -a, so that the service does not start with the server. Afterwards: "
        "clpsvcctrl --enable -a and clpcl -s. To copy only the configuration: clpcfctrl --pull."
    ),
)
"""The description of `clpbackup` and `clprestore`."""
IMAGES_SYNOPSIS = "--pre|--post [--no-shutdown] [--no-reboot] [--online]"
IMAGES_EXAMPLE = ("clpcl -t && clpsvcctrl --disable -a", "before images of this server are made")
IMAGES_OPTIONS = (
    Option("--pre", help="Before the images."),
    Option("--post", help="After them."),
    Option("--no-shutdown", help="Nothing is shut down."),
    Option("--no-reboot", help="Nothing is rebooted."),
    Option("--only-shutdown", help="Nothing is shut down."),
    Option("--only-reboot", help="Nothing is rebooted."),
    Option("--online", help="Nothing is done."),
)


def images(command: str) -> ClpError:
    """Nothing to set before or after images of disks."""
    return ClpError(
        ExitCode.FAILED,
        f"Nothing was done: {MIRRORS}, whose state it would set.",
        f"Before images of a server: clpcl -t; clpsvcctrl --disable -a.  More: {command} --help",
    )
