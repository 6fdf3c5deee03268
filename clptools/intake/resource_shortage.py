"""HA/RS: the system stalls because cpu, io or memory is short, or a resource runs out.

Pressure comes by triggers of the kernel (Documentation/accounting/psi.rst), which wakes us only
while there is some.  The kernel does not report when memory, file handles, processes, space or
inodes run out: these are read every `sample_interval`.  Keywords: `cpu`, `io`, `memory`, `files`,
`processes`, or a mount point.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator

from clptools.intake.disks import read_mounts
from clptools.intake.kernel import Kernel, read_number, read_text
from clptools.intake.sources import Faults

KINDS = {"cpu": "some", "io": "full", "memory": "full"}
"""`some`: some tasks wait; `full`: all of them.  The whole system never waits for cpu."""
STEP_US = 2_000_000
"""Without CAP_SYS_RESOURCE a window must be a multiple of this."""

SYSTEM = ("memory", "files", "processes")
"""Keywords of system-wide resources (memory's pressure has the same keyword)."""
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
"""File systems that may hang for ever: they are not queried."""

Use = tuple[str, str, float, str]
"""Device, key of its threshold, percentage in use, sentence."""


async def watch(kernel: Kernel, faults: Faults, note: Callable[[str], None]) -> None:
    """See `sources.Watch`."""
    loop = asyncio.get_running_loop()
    watched = faults.watched
    limits = Limits(kernel, faults, loop.time, note)
    with contextlib.ExitStack() as stack:
        for name in KINDS:
            if watched.everything or name in watched.keywords:
                try:
                    trigger = Trigger(name, kernel, faults)
                except OSError as fault:
                    note(f"The pressure on {name} is not seen: {fault.strerror}")
                    continue
                stack.callback(trigger.close)
                if round(trigger.window_s * 1000) != watched.number(name, "pressure_window_ms"):
                    note(
                        f"The pressure on {name} is measured over {trigger.window_s:g} s: windows "
                        f"that are no multiple of {STEP_US // 1_000_000} s want CAP_SYS_RESOURCE."
                    )
        interval_s = min(
            watched.number(keyword, "sample_interval_ms") for keyword in (*watched.keywords, "")
        )
        while True:
            limits.look()
            await asyncio.sleep(interval_s / 1000)


class Trigger:
    """A trigger on one file below `/proc/pressure`."""

    def __init__(self, name: str, kernel: Kernel, faults: Faults) -> None:
        """Raises OSError: this kernel measures no pressure (psi=1), or does not permit it."""
        watched = faults.watched
        self._name = name
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        self._share = watched.number(name, "pressure_stall")
        self._run = SustainedCondition(watched.number(name, "duration_ms") / 1000, self._loop.time)
        self._run.holds = faults.is_open(name, "pressure")
        self._timer: asyncio.TimerHandle | None = None
        self._fd = os.open(
            f"{kernel.proc}/pressure/{name}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        )
        try:
            window_us = self._set(round(watched.number(name, "pressure_window_ms") * 1000))
            self._end = kernel.files.watch(self._fd, self._pressed)
        except OSError:
            os.close(self._fd)
            raise
        self.window_s = window_us / 1e6
        """Time over which the kernel measures; longer than configured if it permits no less."""
        if self._run.holds:
            self._relieved()

    def close(self) -> None:
        """Give the trigger back."""
        if self._timer is not None:
            self._timer.cancel()
        self._end()
        os.close(self._fd)

    def _set(self, window_us: int) -> int:
        try:
            self._write(window_us)
        except OSError as fault:
            if fault.errno not in (errno.EINVAL, errno.EPERM) or window_us % STEP_US == 0:
                raise
            window_us = -(-window_us // STEP_US) * STEP_US
            self._write(window_us)
        return window_us

    def _write(self, window_us: int) -> None:
        stall_us = max(1, round(window_us * self._share / 100))
        os.write(self._fd, f"{KINDS[self._name]} {stall_us} {window_us}\0".encode())

    def _pressed(self) -> None:
        """At most once in a window."""
        if self._timer is not None:
            self._timer.cancel()
        # After a window without a report, and some more, the pressure is over for now.
        self._timer = self._loop.call_later(2 * self.window_s, self._relieved)
        self._run.seen(True)
        if self._run.holds:
            text = f"{self._name} pressure: work waits for {self._share:g} % of the time or more"
            self._faults.fault(self._name, "pressure", text)

    def _relieved(self) -> None:
        self._run.seen(False)
        self._timer = None
        if not self._run.holds:
            self._faults.well(self._name, "pressure", f"{self._name} pressure is gone")
        else:
            self._timer = self._loop.call_later(self.window_s, self._relieved)


class Limits:
    """What is watched, and how long each has been past its threshold."""

    def __init__(
        self, kernel: Kernel, faults: Faults, now: Callable[[], float], note: Callable[[str], None]
    ) -> None:
        self._kernel = kernel
        self._faults = faults
        self._now = now
        self._runs: dict[tuple[str, str], SustainedCondition] = {}
        named = faults.watched.keywords
        self._system = [n for n in SYSTEM if faults.watched.everything or n in named]
        self._places = sorted(k for k in named if k.startswith("/"))
        for place in self._places:
            if self._remote(place):
                note(f"{place} is on the network: the space of local file systems alone is seen.")
        self._places = [place for place in self._places if not self._remote(place)]

    def look(self) -> None:
        """Read how much of each resource is in use."""
        watched = self._faults.watched
        for device, key, used, text in (*self._of_system(), *self._of_file_systems()):
            fault = key.removesuffix("_used")
            run = self._runs.get((device, fault))
            if run is None:
                duration_s = watched.number(device, "duration_ms") / 1000
                run = self._runs[device, fault] = SustainedCondition(duration_s, self._now)
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


class SustainedCondition:
    """A condition that counts once it has lasted, and is over once it stays away."""

    def __init__(self, duration_s: float, now: Callable[[], float]) -> None:
        self.holds = False
        """Whether it is a fault."""
        self._duration_s = duration_s
        self._now = now
        self._since: float | None = None
        """Since when it differs from `holds`."""

    def seen(self, there: bool) -> bool:
        """Take an observation; returns whether `holds` changed."""
        if there is self.holds:
            self._since = None
            return False
        now = self._now()
        if self._since is None:
            self._since = now
        if now - self._since < self._duration_s:
            return False
        self.holds, self._since = there, None
        return True
