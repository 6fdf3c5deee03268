"""HA/RS: memory, file handles, processes, and the space and inodes of file systems.

The kernel does not tell when these run out, so they are looked at every `sample_interval`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator

from clptools.intake.kernel import Kernel, read_number, read_text
from clptools.intake.lasting import Lasting
from clptools.intake.mounts import read_mounts
from clptools.intake.source import Faults

SYSTEM = ("memory", "files", "processes")
"""Keywords of what the whole system shares (memory's pressure goes by the same keyword)."""
REMOTE = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "ceph",
        "9p",
        "afs",
        "lustre",
        "gpfs",
        "glusterfs",
        "beegfs",
        "autofs",
        "fuse",
    }
)
"""File systems that may not answer for ever: they are not asked."""

Use = tuple[str, str, float, str]
"""Device, key of its threshold, percentage in use, sentence."""


class Limits:
    """What is watched, and how long each has been past its threshold."""

    def __init__(
        self, kernel: Kernel, faults: Faults, now: Callable[[], float], note: Callable[[str], None]
    ) -> None:
        self._kernel = kernel
        self._faults = faults
        self._now = now
        self._runs: dict[tuple[str, str], Lasting] = {}
        named = faults.watched.keywords
        self._system = [n for n in SYSTEM if faults.watched.everything or n in named]
        self._places = sorted(k for k in named if k.startswith("/"))
        for place in self._places:
            if self._remote(place):
                note(f"{place} is on the network: the space of local file systems alone is seen.")
        self._places = [place for place in self._places if not self._remote(place)]

    def look(self) -> None:
        """See how much of everything is in use."""
        watched = self._faults.watched
        for device, key, used, text in (*self._of_system(), *self._of_file_systems()):
            fault = key.removesuffix("_used")
            run = self._runs.get((device, fault))
            if run is None:
                duration_s = watched.number(device, "duration_ms") / 1000
                run = self._runs[device, fault] = Lasting(duration_s, self._now)
                run.holds = self._faults.is_open(device, fault)
            run.seen(used >= watched.number(device, key))
            if run.holds:
                self._faults.fault(device, fault, f"{text} ({used:.0f} %)")
            else:
                self._faults.well(device, fault, f"{text} no more ({used:.0f} %)")

    def _of_system(self) -> Iterator[Use]:
        proc = self._kernel.proc
        for device in self._system:
            if device == "memory":
                found = dict(re.findall(r"(\w+):\s+(\d+) kB", read_text(f"{proc}/meminfo")))
                total, free = int(found.get("MemTotal", 0)), int(found.get("MemAvailable", 0))
                if total:
                    yield device, "memory_used", 100 * (1 - free / total), "memory is used up"
            elif device == "files":
                used, _, most = (read_text(f"{proc}/sys/fs/file-nr").split() or ["0", "0", "0"])[:3]
                if int(most):
                    share = 100 * int(used) / int(most)
                    yield device, "files_used", share, "file handles are used up"
            else:
                yield from self._processes(proc)

    def _processes(self, proc: str) -> Iterator[Use]:
        counts = read_text(f"{proc}/loadavg").split()
        bounds = [read_number(f"{proc}/sys/kernel/{n}") for n in ("pid_max", "threads-max")]
        most = min((bound for bound in bounds if bound), default=0)
        if len(counts) >= 4 and most:
            share = 100 * int(counts[3].partition("/")[2]) / most
            yield "processes", "processes_used", share, "processes are used up"

    def _of_file_systems(self) -> Iterator[Use]:
        places = list(self._places)
        if self._faults.watched.everything:
            places += [place for place in self._local() if place not in places]
        for place in places:
            with contextlib.suppress(OSError):
                size = os.statvfs(place)
                blocks = size.f_blocks - size.f_bfree + size.f_bavail
                if blocks:
                    share = 100 * (1 - size.f_bavail / blocks)
                    yield place, "space_used", share, f"{place} is full"
                if size.f_files:
                    share = 100 * (1 - size.f_favail / size.f_files)
                    yield place, "inodes_used", share, f"{place} has its inodes used up"

    def _local(self) -> list[str]:
        """Where local disks are mounted, each file system once."""
        found: dict[str, str] = {}
        for mount in read_mounts(self._mountinfo()):
            if mount.source.startswith("/dev/") and not (mount.read_only or mount.is_fuse):
                found.setdefault(mount.number, mount.point)
        return list(found.values())

    def _remote(self, place: str) -> bool:
        points = [(m.point, m.type) for m in read_mounts(self._mountinfo())]
        above = [(p, t) for p, t in points if place == p or place.startswith(p.rstrip("/") + "/")]
        kind = max(above, default=("", ""), key=lambda one: len(one[0]))[1]
        return kind in REMOTE or kind.startswith("fuse.")

    def _mountinfo(self) -> str:
        try:
            with open(f"{self._kernel.proc}/thread-self/mountinfo", "rb") as file:
                return file.read().decode("utf-8", "surrogateescape")
        except OSError:
            return ""
