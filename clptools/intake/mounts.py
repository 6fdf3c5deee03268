"""HA/SS: file systems that become read-only or shut down (`/proc/self/mountinfo`, proc(5)).

The kernel says by poll(2) when the table changes.  What was read-only when we first looked was
meant to be; only the change is a fault.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import msgspec

from clptools.intake.disks import Disks
from clptools.intake.kernel import Kernel
from clptools.intake.source import Faults

_ESCAPE = re.compile(r"\\([0-7]{3})")
BROKEN = ("emergency_ro", "shutdown")
"""Options by which ext4 shows that it stopped writing without saying `ro`."""


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One mount."""

    point: str
    number: str
    """`8:17`; major 0: no block device."""
    source: str
    type: str
    read_only: bool

    @property
    def is_fuse(self) -> bool:
        """Any user may have mounted it, and chosen the source that it shows (`fsname`,
        fusermount3(1))."""
        return self.type.startswith("fuse")


class Mounts:
    """The mount table, watched."""

    def __init__(self, kernel: Kernel, faults: Faults, disks: Disks) -> None:
        self._faults = faults
        self._disks = disks
        self._dev = kernel.dev
        self._known: dict[str, Mount] = {}
        self._fd = os.open(f"{kernel.proc}/thread-self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._end: Callable[[], None] = kernel.files.watch(self._fd, self._look)
        self._look()

    def close(self) -> None:
        """Watch no more."""
        self._end()
        os.close(self._fd)

    def gave_up(self, device: str) -> bool:
        """The kernel's log says that the file system on a device writes no more; whether it is
        mounted.

        The table need not show it, and does not say that it changed: what counts is that it is
        over when the file system is mounted no more.
        """
        found = [m for m in self._known.values() if self._disks.sources.get(m.point) == device]
        for mount in found:
            self._told(mount)
        return bool(found)

    def _told(self, mount: Mount) -> None:
        text = f"{mount.point} ({mount.source}) has become read-only"
        self._faults.fault(mount.point, "read-only", text)

    def _look(self) -> None:
        now = {m.point: m for m in read_mounts(_whole(self._fd))}
        before, self._known = self._known, now
        for point in before.keys() - now.keys():
            self._faults.well(point, "read-only", f"{point} is not mounted any more")
        self._disks.sources = {
            m.point: self._disks.name(m.source) for m in now.values() if self._on_disk(m)
        }
        for mount in now.values():
            was = before.get(mount.point)
            if mount == was or not self._concerns(mount):
                continue
            if not mount.read_only:
                self._faults.well(mount.point, "read-only", f"{mount.point} is writable again")
            elif was is not None and not was.read_only:
                self._told(mount)

    def _on_disk(self, mount: Mount) -> bool:
        """Whether its source is a block device, or was one that vanished under it."""
        if mount.is_fuse or not mount.source.startswith(f"{self._dev}/"):
            return False
        # btrfs has a number of its own (major 0).
        return (
            not mount.number.startswith("0:")
            or mount.point in self._disks.sources
            or self._disks.exists(self._disks.name(mount.source))
        )

    def _concerns(self, mount: Mount) -> bool:
        """Whether it is on a disk, or named."""
        source = self._disks.sources.get(mount.point, "")
        named = any(self._disks.same(k, mount.point) for k in self._faults.watched.keywords)
        return named or (source != "" and self._disks.is_hardware(source))


def _whole(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def read_mounts(text: str) -> list[Mount]:
    """The mounts of a mountinfo; of several on one point the last, which hides the others."""
    found: list[Mount] = []
    for line in text.split("\n"):
        fields, _, tail = line.partition(" - ")
        words, rest = fields.split(" "), tail.split(" ")
        if len(words) < 6 or len(rest) < 3:
            continue
        options = {*words[5].split(","), *rest[2].split(",")}
        found.append(
            Mount(
                point=_plain(words[4]),
                number=words[2],
                source=_plain(rest[1]),
                type=rest[0],
                read_only="ro" in options or any(one in options for one in BROKEN),
            )
        )
    return found


def _plain(field: str) -> str:
    """Without the octal escapes of blanks and backslashes."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), field)
