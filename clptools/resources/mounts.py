"""Where else the file system of `ocf:heartbeat:Filesystem` is mounted on this server.

The agent looks at its own directory alone.  A person who mounts the device on another one uses the
same data: the server that runs the group would share it with this one, and a stop that finds the
agent's directory empty would call it released.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping

FILESYSTEM = "Filesystem"
"""The type of the agent of which this is."""
_SHARED = frozenset({"gfs2", "ocfs2"})
"""Several servers may have these at once."""
_BY = {"-U": "/dev/disk/by-uuid/", "-L": "/dev/disk/by-label/"}
"""How `device` names a file system (mount(8)) -> where udev has it."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


def elsewhere(given: Mapping[str, str], mounts: str = "/proc/thread-self/mountinfo") -> str:
    """Another directory on which the device is mounted; empty: none, as far as can be seen.

    It may block, as it looks at the directory.
    """
    if given.get("fstype", "") in _SHARED:
        return ""
    number = _number(given.get("device", ""))
    if number is None:
        return ""
    own = os.path.realpath(given.get("directory", ""))
    with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
        found = [_place(line) for line in file if _is_of(line, number)]
    return next((place for place in found if place != own), "")


def _number(device: str) -> int | None:
    """The number of a block device; None: it is none, such as a share or a bind."""
    flag, _, rest = device.partition(" ")
    path = _BY[flag] + rest.strip() if flag in _BY else device
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_rdev if stat.S_ISBLK(found.st_mode) else None


def _is_of(line: str, number: int) -> bool:
    """Whether a line of mountinfo (proc_pid_mountinfo(5)) is of that device.

    Some file systems have numbers of their own: there the source says which device it is.
    """
    fields = line.split()
    if fields[2] == f"{os.major(number)}:{os.minor(number)}":
        return True
    source = _plain(fields[fields.index("-") + 2])
    return source.startswith("/dev/") and _number(source) == number


def _place(line: str) -> str:
    return _plain(line.split()[4])


def _plain(field: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), field)
