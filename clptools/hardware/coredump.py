"""No dump of a process that knows keys: it lies on a disk, or goes to a service that collects it.

A resource limit would do as well, but scripts of groups would inherit it, and their applications'
dumps are their administrator's.  This ends with execve(2).
"""

from __future__ import annotations

import ctypes

PR_SET_DUMPABLE = 4
"""prctl(2), include/uapi/linux/prctl.h."""


def dump_nothing() -> None:
    """This process and its forks leave no core dump; only root may read their memory."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
