"""Block devices and their names (`/sys/class/block`, `/dev/disk/by-*`), and mounts of them.

HA/SS hears of file systems that become read-only or shut down from `/proc/self/mountinfo`
(proc(5)): the kernel says by poll(2) when that table changes.  A file system that was read-only at
the first look was meant to be; only the change is a fault.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import msgspec

from clptools.intake.kernel import Kernel, names, read_text
from clptools.intake.sources import Faults

_NAMESPACE = re.compile(r"(nvme\d+)(?:c\d+)?n\d+")
_SOFT = re.compile(r"(?:loop|ram|zram|sr|fd|nbd)\d+")

_ESCAPE = re.compile(r"\\([0-7]{3})")
BROKEN = ("emergency_ro", "shutdown")
"""Options by which ext4 shows that it stopped writing without saying `ro`."""


class Disks:
    """Maps names to devices.  It caches nothing, as devices come and go."""

    def __init__(self, sys: str, dev: str) -> None:
        self._block = f"{sys}/class/block"
        self._dev = dev
        self.sources: dict[str, str] = {}
        """Mount point -> device name."""

    def name(self, keyword: str) -> str:
        """The kernel's name of `sdb`, `/dev/mapper/data` or `wwn-0x5000…`.

        A mount point or an unknown name is returned as it is.
        """
        path = keyword if keyword.startswith(f"{self._dev}/") else self._persistent(keyword)
        if not path:
            return keyword
        real = os.path.realpath(path)
        return real.rpartition("/")[2] if os.path.exists(real) else keyword

    def path(self, keyword: str) -> str:
        """The device file of a keyword; empty: it names no block device here."""
        name = self.name(keyword)
        return f"{self._dev}/{name}" if "/" not in name and self.exists(name) else ""

    def exists(self, name: str) -> bool:
        """Whether the kernel has a device of that name."""
        return os.path.exists(f"{self._block}/{name}")

    def whole(self, name: str) -> str:
        """The disk of a partition, or the name itself."""
        if not os.path.exists(f"{self._block}/{name}/partition"):
            return name
        return os.path.basename(os.path.dirname(os.path.realpath(f"{self._block}/{name}")))

    def of_number(self, number: str) -> str:
        """The device `8:16`; empty: there is none."""
        for name in names(self._block):
            if read_text(f"{self._block}/{name}/dev") == number:
                return name
        return ""

    def same(self, keyword: str, device: str) -> bool:
        """Whether a fault of `device` concerns the device that `keyword` means.

        A disk's fault concerns its partitions, a partition's its disk, a controller's its
        namespaces; a partition's does not concern the other partitions.
        """
        if keyword == device:
            return True
        device = self.sources.get(device, device)
        meant = self.name(self.sources.get(keyword, keyword))
        if device in (meant, self.whole(meant)) or self.whole(device) == meant:
            return True
        found = _NAMESPACE.match(meant)
        return bool(found and found[1] == device)

    def all(self) -> list[str]:
        """Whole devices."""
        return [n for n in names(self._block) if not os.path.exists(f"{self._block}/{n}/partition")]

    @staticmethod
    def is_hardware(name: str) -> bool:
        """Whether it counts without being named: loop devices, RAM disks and CD drives do not."""
        return not _SOFT.fullmatch(name)

    def _persistent(self, keyword: str) -> str:
        if "/" in keyword:
            return ""
        for folder in names(f"{self._dev}/disk"):
            path = f"{self._dev}/disk/{folder}/{keyword}"
            if os.path.lexists(path):
                return path
        path = f"{self._dev}/mapper/{keyword}"
        return path if os.path.lexists(path) else ""


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
        """Stop watching."""
        self._end()
        os.close(self._fd)

    def gave_up(self, device: str) -> bool:
        """Takes from the log that the file system on a device stopped writing.

        Returns whether it is mounted.  The mount table need not show the fault; it ends when the
        file system is unmounted.
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
        """Whether its source is a block device, or was one that has vanished since."""
        if mount.is_fuse or not mount.source.startswith(f"{self._dev}/"):
            return False
        # btrfs has a number of its own (major 0).
        return (
            not mount.number.startswith("0:")
            or mount.point in self._disks.sources
            or self._disks.exists(self._disks.name(mount.source))
        )

    def _concerns(self, mount: Mount) -> bool:
        """Whether it is on a disk, or a monitor names it."""
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
    """Decodes the octal escapes of blanks and backslashes."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), field)
