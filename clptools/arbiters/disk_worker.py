"""The process that reads and writes the shared disk: `python -m clptools.arbiters.disk_worker`.

A process that waits for a disk that hangs sleeps, and no signal ends that; here it is this one,
never the agent.  It gets one `Setup`, then a `Command` at a time; a `Result` goes back
for each.  The agent closing its end ends the process, once its disk lets it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import socket
import stat
import sys
import time

import msgspec

from clptools.arbiters.base import Held
from clptools.arbiters.disk_lease import (
    AREA_BYTES,
    SLOT_BYTES,
    DiskLease,
    Read,
    Steps,
    Write,
    encode,
    foreign,
)
from clptools.common.child_process import framed, heed_no_terminal, receive


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Whose slot, and where."""

    path: str
    cluster: str
    server: str
    token: str
    preferred: int


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What to do."""

    number: int
    op: str
    """`join`, `hold` or `release`."""
    lease_ms: int
    patience_ms: int = 0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    number: int
    held: Held


class Disk:
    """The area on the disk, opened for direct reads and writes."""

    def __init__(self, path: str) -> None:
        """Raises OSError, whose text says what is wrong with the disk."""
        self._path = path
        self._buffer = mmap.mmap(-1, AREA_BYTES)  # page-aligned, as O_DIRECT wants it
        self._fd = self._open()
        self._locked = -1

    def _open(self) -> int:
        # Never created: a file that appears because a file system is not mounted is not shared.
        flags = os.O_RDWR | os.O_DIRECT | os.O_DSYNC | os.O_CLOEXEC
        try:
            fd = os.open(self._path, flags)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise OSError("its file system has no O_DIRECT: not a shared disk") from None
            raise
        kind = os.fstat(fd).st_mode
        if not (stat.S_ISBLK(kind) or stat.S_ISREG(kind)):
            os.close(fd)
            raise OSError("neither a block device nor a file")
        size = os.lseek(fd, 0, os.SEEK_END)
        if size < AREA_BYTES:
            os.close(fd)
            raise OSError(f"{size} bytes, at least {AREA_BYTES} are needed")
        self._fd = fd
        if foreign(self.read()):
            os.close(fd)
            raise OSError(
                f"holds other data; if nobody needs it: "
                f"dd if=/dev/zero of={self._path} bs={AREA_BYTES} count=1 oflag=direct"
            )
        return fd

    def read(self) -> bytes:
        """The whole area."""
        done = os.preadv(self._fd, [self._buffer], 0)
        if done != AREA_BYTES:
            raise OSError(f"only {done} of {AREA_BYTES} bytes could be read")
        return self._buffer[:]

    def write(self, index: int, data: bytes) -> None:
        """One slot; returns once it is on the disk."""
        self._lock(index)
        view = memoryview(self._buffer)[:SLOT_BYTES]
        view[:] = data
        done = os.pwritev(self._fd, [view], index * SLOT_BYTES)
        if done != SLOT_BYTES:
            raise OSError(f"only {done} of {SLOT_BYTES} bytes could be written")

    def _lock(self, index: int) -> None:
        """One process of this host for a slot: an earlier one may still be stuck in a write."""
        if self._locked == index:
            return
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, index * SLOT_BYTES)
        except (BlockingIOError, PermissionError):
            raise OSError("an earlier run of this agent has not let go of it") from None
        self._locked = index


def perform(steps: Steps, disk: Disk) -> Held:
    """Run the steps on the disk.  Raises OSError, ValueError."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Read):
                step = steps.send(disk.read())
            elif isinstance(step, Write):
                disk.write(step.index, encode(step.slot))
                step = steps.send(b"")
            else:
                time.sleep(step.ms / 1000)
                step = steps.send(b"")
    except StopIteration as stop:
        held = stop.value
        assert isinstance(held, Held)
        return held


def boot_ms() -> int:
    """The clock that leases are counted on: it runs on through sleep."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Worker:
    """Carries out commands for one agent."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._disk: Disk | None = None
        self._lease = self._new_lease()

    def _new_lease(self) -> DiskLease:
        s = self._setup
        return DiskLease(s.cluster, s.server, s.token, s.preferred, boot_ms)

    def perform(self, command: Command) -> Result:
        """One command; every fault is in the result."""
        try:
            held = self._perform(command)
        except (OSError, ValueError) as error:
            # What is on the disk now is not known: begin again as after a start.
            self._lease = self._new_lease()
            known = isinstance(error, OSError) and error.strerror
            held = Held(error=str(known).lower() if known else str(error))
        return Result(number=command.number, held=held)

    def _perform(self, command: Command) -> Held:
        if self._disk is None:
            self._disk = Disk(self._setup.path)
        if command.op == "hold":
            steps = self._lease.hold(command.lease_ms, command.patience_ms)
        elif command.op == "release":
            steps = self._lease.release(command.lease_ms)
        else:
            steps = self._lease.join(command.lease_ms)
        return perform(steps, self._disk)


def main() -> int:
    """Serve until the agent closes its end."""
    heed_no_terminal()
    with socket.socket(fileno=os.dup(0)) as channel, contextlib.suppress(OSError):
        setup = receive(channel, Setup)
        if setup is None:
            return 0
        worker = Worker(setup)
        while (command := receive(channel, Command)) is not None:
            channel.sendall(framed(worker.perform(command)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
