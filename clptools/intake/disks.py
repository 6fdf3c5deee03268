"""Block devices and their names (`/sys/class/block`, `/dev/disk/by-*`)."""

from __future__ import annotations

import os
import re

from clptools.intake.kernel import names, read_text

_NAMESPACE = re.compile(r"(nvme\d+)(?:c\d+)?n\d+")
_SOFT = re.compile(r"(?:loop|ram|zram|sr|fd|nbd)\d+")


class Disks:
    """Which name means which device.  Nothing is kept: devices come and go."""

    def __init__(self, sys: str, dev: str) -> None:
        self._block = f"{sys}/class/block"
        self._dev = dev
        self.sources: dict[str, str] = {}
        """Mount point -> device name."""

    def name(self, keyword: str) -> str:
        """The kernel's name of what a monitor calls `sdb`, `/dev/mapper/data` or `wwn-0x5000…`;
        a mount point or a name that is unknown stays as it is."""
        path = keyword if keyword.startswith(f"{self._dev}/") else self._persistent(keyword)
        if not path:
            return keyword
        real = os.path.realpath(path)
        return real.rpartition("/")[2] if os.path.exists(real) else keyword

    def path(self, keyword: str) -> str:
        """The device file of a keyword; empty: it means no block device here."""
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
        """Whether what befell `device` concerns the device that `keyword` means.

        A disk's fault is its partitions', a partition's is its disk's, a controller's is its
        namespaces'; two partitions of a disk are strangers.
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
        """Whether it counts without being named: not loop devices, RAM disks, CD drives."""
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
