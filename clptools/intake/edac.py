"""MCE: memory errors (EDAC) and machine checks, from the kernel's log and EDAC's counters.

An uncorrected error is a fault; corrected ones predict one, if there are `correctable_count` of one
device within `correctable_window`.  The counters are in `/sys/devices/system/edac/mc`
(Documentation/driver-api/edac.rst) and are read whenever the log mentions an error: lines may be
lost, counts are not.  Keywords: `mc0`, `cpu3`, or `platform` (errors that the firmware reports,
APEI).
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable

from clptools.intake.kernel import Kernel, names, read_number
from clptools.intake.kmsg import Finding, Line
from clptools.intake.sources import Faults

NEEDLES = (b"EDAC MC", b"Hardware Error]")
UNCORRECTED, CORRECTED = "uncorrected", "corrected"
STATUS_UC = 1 << 61
"""IA32_MCi_STATUS.UC (Intel SDM 3B, 15.3.2.2)."""

_EDAC = re.compile(r"EDAC MC(\d+): (\d+) (CE|UE) (.*?)(?: \(channel|$)")
_INTEL = re.compile(r"CPU (\d+): Machine Check(?: Exception)?: [0-9a-f]+ Bank (\d+): ([0-9a-f]+)")
_AMD = re.compile(r"CPU:(\d+) .*MC(\d+)_STATUS\[([^\]]*)\]")
_APEI = re.compile(r"event severity: (\w+)")


async def watch(kernel: Kernel, faults: Faults, note: Callable[[str], None]) -> None:
    """See `sources.Watch`."""
    errors = Errors(kernel, faults)
    end = kernel.kmsg.listen(NEEDLES, read_line, errors.take, errors.look)
    try:
        await asyncio.Event().wait()
    finally:
        end()
        errors.close()


class Errors:
    """Errors of every device so far."""

    def __init__(self, kernel: Kernel, faults: Faults) -> None:
        self._folder = f"{kernel.sys}/devices/system/edac/mc"
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        self._corrected: dict[str, deque[tuple[float, int]]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._counts = {name: self._read(name) for name in names(self._folder)}

    def close(self) -> None:
        """Stops every timer."""
        for timer in self._timers.values():
            timer.cancel()

    def look(self) -> None:
        """Reads what EDAC counted since the last time."""
        for device in names(self._folder):
            self._counted(device, "memory errors")

    def take(self, finding: Finding, times: int) -> None:
        """A finding of the log.  Where EDAC counts too, its counters decide."""
        device = finding.device
        if finding.fault == UNCORRECTED:
            self._faults.fault(device, UNCORRECTED, finding.text)
        if self._counted(device, finding.text) or finding.fault == UNCORRECTED:
            return
        self._count(device, times, finding.text)

    def _counted(self, device: str, text: str) -> bool:
        """Takes EDAC's counters into account; returns whether there are any."""
        now = self._read(device)
        before = self._counts.get(device, now)
        if now == before == (0, 0):
            return False
        self._counts[device] = now
        if now[1] > before[1] and not self._faults.is_open(device, UNCORRECTED):
            said = f"{device}: {now[1] - before[1]} uncorrected memory errors"
            self._faults.fault(device, UNCORRECTED, said)
        if now[0] > before[0]:
            self._count(device, now[0] - before[0], text)
        return True

    def _count(self, device: str, number: int, text: str) -> None:
        seen = self._corrected.setdefault(device, deque(maxlen=1_000))
        seen.append((self._loop.time(), number))
        self._judge(device, text)

    def _judge(self, device: str, text: str) -> None:
        watched = self._faults.watched
        window_s = watched.number(device, "correctable_window_ms") / 1000
        seen = self._corrected[device]
        while seen and seen[0][0] < self._loop.time() - window_s:
            seen.popleft()
        total = sum(number for _, number in seen)
        if total >= watched.number(device, "correctable_count"):
            said = f"{total} corrected errors within {window_s:g} s, the last: {text}"
            self._faults.fault(device, CORRECTED, f"{device}: {said}", predictive=True)
        else:
            self._faults.well(device, CORRECTED, f"{device}: corrected errors are few again")
            if not seen:
                return
        timer = self._timers.get(device)
        if timer is not None:
            timer.cancel()
        if total and self._faults.is_open(device, CORRECTED):
            self._timers[device] = self._loop.call_later(
                window_s, lambda: self._judge(device, text)
            )

    def _read(self, device: str) -> tuple[int, int]:
        """Corrected and uncorrected errors since boot."""
        folder = f"{self._folder}/{device}"
        return read_number(f"{folder}/ce_count") or 0, read_number(f"{folder}/ue_count") or 0


def read_line(line: Line) -> Finding | None:
    """A memory error, a machine check, or what the firmware reports."""
    text = line.text
    if found := _EDAC.search(text):
        controller, _, kind, what = found.groups()
        fault = UNCORRECTED if kind == "UE" else CORRECTED
        return Finding(device=f"mc{controller}", fault=fault, text=f"mc{controller}: {what}")
    if found := _INTEL.search(text):
        cpu, bank, status = found.groups()
        fault = UNCORRECTED if int(status, 16) & STATUS_UC else CORRECTED
        said = f"cpu{cpu}: {fault} machine check in bank {bank}, status {status}"
        return Finding(device=f"cpu{cpu}", fault=fault, text=said)
    if found := _AMD.search(text):
        cpu, bank, flags = found.groups()
        fault = UNCORRECTED if {"UE", "UC"} & set(flags.split("|")) else CORRECTED
        said = f"cpu{cpu}: {fault} machine check in bank {bank}"
        return Finding(device=f"cpu{cpu}", fault=fault, text=said)
    if found := _APEI.search(text):
        if found[1] in ("info", "information"):
            return None
        fault = CORRECTED if found[1] == "corrected" else UNCORRECTED
        said = f"the firmware reports a {found[1]} hardware error"
        return Finding(device="platform", fault=fault, text=said)
    return None
