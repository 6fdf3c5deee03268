"""The child process that touches a disk and may hang in our place; `start` begins one.

It is started by its path with nothing but the standard library: `read PATH` reads the first block
from the medium; `try PATH` does so, or writes below a directory; `smart PATH` prints an NVMe
controller's critical warnings (NVM Express base specification, SMART / Health Information log,
byte 0).  What it says is its output, of a fault with exit status 1.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process

CHILD = __file__
BLOCK = 4096
NVME_IOCTL_ADMIN_CMD = 0xC0484E41
"""<linux/nvme_ioctl.h>: _IOWR('N', 0x41, struct nvme_passthru_cmd)."""
GET_LOG_PAGE, SMART, ALL_NAMESPACES = 0x02, 0x02, 0xFFFFFFFF
LOG_BYTES = 512


async def start(task: str, path: str) -> Process:
    """A child of its own session, with a pipe for what it says."""
    import asyncio  # which the child has no use for

    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", CHILD, task, path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        cwd="/",
        env={},
    )  # fmt: skip


def last_line(said: bytes) -> str:
    """What a child said, for people; empty: it was killed before it could."""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else ""


# ---------------------------------------------------------------------- in the child


def read(path: str) -> None:
    """Read the first block from the medium, not from memory."""
    import mmap

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


def read_or_write(path: str) -> None:
    """A device or file is read, a directory is written to."""
    (write if stat.S_ISDIR(os.stat(path).st_mode) else read)(path)


def smart(path: str) -> None:
    """Print the critical warnings; the controller tells of new ones again once this is read."""
    import ctypes
    import fcntl
    import struct

    log = ctypes.create_string_buffer(LOG_BYTES)
    command = struct.pack(
        "=BBHIIIQQIIIIIIIIII",
        GET_LOG_PAGE, 0, 0, ALL_NAMESPACES, 0, 0, 0, ctypes.addressof(log), 0, LOG_BYTES,
        (LOG_BYTES // 4 - 1) << 16 | SMART, 0, 0, 0, 0, 0, 10_000, 0,
    )  # fmt: skip
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = fcntl.ioctl(fd, NVME_IOCTL_ADMIN_CMD, bytearray(command))
    finally:
        os.close(fd)
    if status:
        raise OSError(errno.EIO, f"the controller answers {status:#x}")
    sys.stdout.write(str(log.raw[0]))


def main() -> int:
    """`disk_child.py read|try|smart PATH`."""
    try:
        {"read": read, "try": read_or_write, "smart": smart}[sys.argv[1]](sys.argv[2])
    except OSError as fault:
        sys.stderr.write(fault.strerror or str(fault))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
