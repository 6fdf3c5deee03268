"""The child process that touches a disk for the HA/SS source, and may hang in our place.

It is started by its path with nothing but the standard library: `diskchild.py read PATH` reads
the first block from the medium; `diskchild.py smart PATH` prints an NVMe controller's critical
warnings (NVM Express base specification, SMART / Health Information log, byte 0).  Faults go to
stderr, exit status 1.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import sys

BLOCK = 4096
NVME_IOCTL_ADMIN_CMD = 0xC0484E41
"""<linux/nvme_ioctl.h>: _IOWR('N', 0x41, struct nvme_passthru_cmd)."""
GET_LOG_PAGE, SMART, ALL_NAMESPACES = 0x02, 0x02, 0xFFFFFFFF
LOG_BYTES = 512


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


def smart(path: str) -> None:
    """Print the critical warnings; the controller tells of new ones again once this is read."""
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
    """`diskchild.py read|smart PATH`."""
    try:
        {"read": read, "smart": smart}[sys.argv[1]](sys.argv[2])
    except OSError as fault:
        sys.stderr.write(fault.strerror or str(fault))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
