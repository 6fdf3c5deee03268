"""The child process of `diskw`: reads a device or file, or writes below a directory.

It is started by its path with nothing but the standard library.  If the disk hangs, this
process does, and the agent goes on.  Faults go to stderr, exit status 1.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys

BLOCK = 4096


def read(path: str) -> None:
    """Read the first block from the medium, not from memory."""
    buffer = mmap.mmap(-1, BLOCK)  # aligned, as O_DIRECT wants it
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as fault:
        if fault.errno != errno.EINVAL:
            raise
        # Some file systems know no direct reading.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.posix_fadvise(fd, 0, BLOCK, os.POSIX_FADV_DONTNEED)
    try:
        os.preadv(fd, [buffer], 0)
    finally:
        os.close(fd)


def write(directory: str) -> None:
    """Write a block to a file without name, through to the medium."""
    fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, bytes(BLOCK))
        os.fsync(fd)
    finally:
        os.close(fd)


def main() -> int:
    """`diskprobe.py PATH`."""
    path = sys.argv[1]
    try:
        (write if stat.S_ISDIR(os.stat(path).st_mode) else read)(path)
    except OSError as fault:
        sys.stderr.write(fault.strerror or str(fault))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
