"""Reading a file that somebody else owns, and may have made something else than a file."""

from __future__ import annotations

import os
import stat

from clptools.faults import ClpError, ExitCode


def beginning(path: str, most: int) -> bytes:
    """The first `most` bytes of a plain file.

    A FIFO or a device is not even opened: it may never answer.  A disk may not, either: not for
    the agent's loop.  Raises OSError, and ClpError if it is no plain file.
    """
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise ClpError(ExitCode.FAILED, f"{path} is no plain file")
        # The file that was looked at; not to wait is for its owner's lease (fcntl(2), F_SETLEASE).
        fd = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(found)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)
