"""Commands of the original for what clptools does not have: they say so, and fail."""

from __future__ import annotations

from clptools.faults import ClpError, ExitCode

MIRRORS = "clptools has no mirror disks"
INSTEAD = "A group may switch DRBD, or any other replication, by the scripts of an exec resource."


def mirror_disk(name: str) -> ClpError:
    """No such mirror disk: there is none at all."""
    about = f"{name}: no such mirror disk; {MIRRORS}." if name else f"{MIRRORS}."
    return ClpError(ExitCode.NO_SUCH, about, INSTEAD)
