"""Which process is this host's agent where its socket is not there: the holder of its lock.

`/run` may be wiped under an agent that runs; it makes its sockets again within a second or so.
"""

from __future__ import annotations

import os

from clptools.paths import data_dir

_LOCKS = "/proc/locks"
"""Columns: number, FLOCK, ADVISORY, WRITE, pid, major:minor:inode, start, end (proc(5))."""


def agent_pid() -> int:
    """The process that holds the agent's lock below `/var/lib`; 0: none, or we may not look."""
    try:
        inode = str(os.stat(data_dir() + "/lock").st_ino)
        with open(_LOCKS, encoding="ascii", errors="replace") as file:
            locks = [line.split() for line in file]
    except OSError:
        return 0
    for words in locks:
        # A waiting lock has an arrow after its number, and holds nothing.
        if words[1:2] == ["FLOCK"] and words[5].rpartition(":")[2] == inode:
            return max(int(words[4]), 0)
    return 0
