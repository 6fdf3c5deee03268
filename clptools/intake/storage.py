"""HA/SS: disks that fail, time out or vanish, arrays, NVMe warnings, read-only file systems.

Sources: the kernel's log, uevents, `/sys/class/block`, and, for disks that a monitor names, a read
now and then by a child process, as it may hang.  Software RAID is watched by the notifying files of
`/sys/block/md*/md/` (Documentation/admin-guide/md.rst).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Callable
from functools import partial

from clptools.common import disk_child
from clptools.intake.disks import Disks, Mounts
from clptools.intake.kernel import Kernel, Uevent, names, read_number, read_text
from clptools.intake.kmsg import Finding, Line
from clptools.intake.sources import Faults

SUBSYSTEMS = frozenset({"block", "scsi", "nvme"})
SMART_S = 60.0
"""How often an NVMe controller with a warning is asked whether it still has it.

One without is asked every `smart_interval`: the driver core switches off the events that would
report a warning (nvme_enable_aen in drivers/nvme/host/core.c)."""
SMART_TIMEOUT_S = 30.0
AGAIN_S = 5.0
"""How often a disk in a bad state is checked: the kernel does not report its recovery."""
LOOK_S = 0.05
"""How long to wait for further events of the same moment before all states are read."""

WARNINGS = (
    ("its spare space is below the threshold", True),
    ("a temperature is past its threshold", True),
    ("its reliability is degraded by media or internal errors", False),
    ("its media are read-only", False),
    ("its volatile memory backup has failed", True),
    ("its persistent memory region is read-only", False),
)
"""Bits of the critical warning (NVM Express), and whether each only predicts a failure."""

BAD_SCSI = ("offline", "transport-offline", "blocked")
BAD_NVME = ("dead", "deleting", "deleting (no IO)")

NEEDLES = (
    b" error, dev ", b"Buffer I/O error", b"imeout, ", b"offline device", b"timing out command",
    b"EXT4-fs error", b"Remounting filesystem", b"XFS (", b"BTRFS ", b"Disk failure on",
    b"controller is down", b"after probe failure", b"after reset failure",
)  # fmt: skip
_BLOCK = re.compile(r"^(?:blk_update_request: |print_req_error: )?(.+?) error, dev (\S+?), sector")
_BUFFER = re.compile(r"Buffer I/O error on dev(?:ice)? (\S+?), ")
_NVME = re.compile(
    r"nvme (nvme\d+): "
    r"(I/O .*?[Tt]imeout, .*|controller is down.*|.*after (?:probe|reset) failure.*)"
)
_TIMING_OUT = re.compile(r"\[(\w+)\][^\[]*timing out command")
_FILESYSTEM = re.compile(
    r"(EXT4-fs error) \(device (\S+?)\)"
    r"|(XFS) \((\S+?)\): .*Corruption"
    r"|(BTRFS) (?:error|critical) \(device (\S+?)[ )]"
)
_READ_ONLY = re.compile(
    r"EXT4-fs \((\S+?)\): Remounting filesystem read-only"
    r"|XFS \((\S+?)\): .*(?:[Ss]hutting down|[Ss]hutdown)"
)
"""It stopped writing, which not every kernel shows in the mount table."""
_ARRAY = re.compile(r"md/\S+?:(md\S+?): Disk failure on (\S+?), ")
HARMLESS = ("operation not supported", "reservation conflict", "nonblocking retry")
"""Kinds of block error that say nothing of the disk's health (blk_errors of blk-core.c)."""

NOTIFYING = ("array_state", "degraded", "sync_action")
DEAD = ("inactive", "broken")


async def watch(kernel: Kernel, faults: Faults, note: Callable[[str], None]) -> None:
    """See `sources.Watch`."""
    disks = Disks(kernel.sys, kernel.dev)
    faults.same = disks.same
    with contextlib.ExitStack() as stack:
        mounts = Mounts(kernel, faults, disks)
        stack.callback(mounts.close)
        arrays = Arrays(kernel, faults)
        stack.callback(arrays.close)
        async with asyncio.TaskGroup() as tasks:
            state = _State(kernel, faults, disks, arrays, mounts, tasks)
            stack.callback(state.close)
            stack.callback(kernel.uevents.listen(SUBSYSTEMS, state.uevent, state.look))
            try:
                stack.callback(kernel.kmsg.listen(NEEDLES, read_line, state.line, state.look))
            except OSError as fault:
                note(f"I/O errors in the kernel's log are not seen: {fault.strerror}")
            state.look()
            for keyword in sorted(faults.watched.keywords):
                if faults.watched.number(keyword, "probe_interval_ms"):
                    tasks.create_task(_probe(keyword, disks, faults))
            await asyncio.Event().wait()


class _State:
    """What the kernel says of disks."""

    def __init__(
        self,
        kernel: Kernel,
        faults: Faults,
        disks: Disks,
        arrays: Arrays,
        mounts: Mounts,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._kernel = kernel
        self._faults = faults
        self._disks = disks
        self._arrays = arrays
        self._mounts = mounts
        self._tasks = tasks
        self._nudges: dict[str, asyncio.Event] = {}
        """NVMe controller -> ends the wait until it is asked again."""
        self._meant: dict[str, str] = {}
        """Keyword -> the device that it meant when we last saw it."""
        self._soon: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Look no more."""
        for timer in (self._soon, self._again):
            if timer is not None:
                timer.cancel()

    def line(self, finding: Finding, times: int) -> None:
        """A finding of the log."""
        named = any(self._disks.same(k, finding.device) for k in self._faults.watched.keywords)
        if finding.fault == "degraded":
            self._arrays.look()
        elif named or self._disks.is_hardware(finding.device):
            count = f" ({times} times)" if times > 1 else ""
            fault = finding.fault
            if fault == "read-only":
                if self._mounts.gave_up(finding.device):
                    return
                fault = "file system"  # unmounted by now: nothing would show its end
            self._faults.fault(finding.device, fault, finding.text + count)
        self._look_soon()

    def uevent(self, event: Uevent) -> None:
        """A device came, went or changed."""
        self._arrays.uevent(event)
        if event.subsystem == "nvme" and "NVME_AEN" in event.values:
            self._nudges.get(event.name, asyncio.Event()).set()
        self._look_soon()

    def _look_soon(self) -> None:
        """Read all states, once for a burst."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(LOOK_S, self.look)

    def look(self) -> None:
        """Read the states of all disks."""
        self.close()
        self._soon = None
        for keyword in self._faults.watched.keywords:
            self._judge_named(keyword)
        for name in self._disks.all():
            named = any(self._disks.same(k, name) for k in self._faults.watched.keywords)
            if named or self._disks.is_hardware(name):
                self._judge(name, f"{self._kernel.sys}/class/block/{name}/device/state", BAD_SCSI)
        for name in names(f"{self._kernel.sys}/class/nvme"):
            self._judge(name, f"{self._kernel.sys}/class/nvme/{name}/state", BAD_NVME)
            if name not in self._nudges:
                self._nudges[name] = asyncio.Event()
                self._tasks.create_task(self._smart(name))
        if any(fault == "state" for _, fault in self._faults.opened()):
            self._again = asyncio.get_running_loop().call_later(AGAIN_S, self.look)

    def _judge_named(self, keyword: str) -> None:
        """Checks that a device that a monitor names exists.

        The kernel's device decides: its persistent names may vanish for a moment.
        """
        path = self._disks.path(keyword)
        if path:
            self._meant[keyword] = path.rpartition("/")[2]
            self._faults.well(keyword, "gone", f"{keyword} is there again")
        elif keyword in self._meant and not self._disks.exists(self._meant[keyword]):
            device = self._meant[keyword]
            shown = keyword if keyword == device else f"{keyword} ({device})"
            self._faults.fault(keyword, "gone", f"{shown} is gone")

    def _judge(self, name: str, path: str, bad: tuple[str, ...]) -> None:
        state = read_text(path)
        if state in bad:
            self._faults.fault(name, "state", f"{name} is {state}")
        elif state:
            self._faults.well(name, "state", f"{name} is {state}")

    async def _smart(self, controller: str) -> None:
        """Read the critical warnings of an NVMe controller while it exists."""
        nudge = self._nudges[controller]
        usual_s = self._faults.watched.number(controller, "smart_interval_ms") / 1000
        try:
            while os.path.exists(f"{self._kernel.sys}/class/nvme/{controller}"):
                nudge.clear()
                bits = 0
                if self._faults.keywords(controller):
                    path = f"{self._kernel.dev}/{controller}"
                    status, said = await _child("smart", path, SMART_TIMEOUT_S, lambda: None)
                    if status == 0 and said.isdigit():
                        bits = int(said)
                        self._warnings(controller, bits)
                wait_s = SMART_S if bits else usual_s or None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await nudge.wait()
        finally:
            del self._nudges[controller]

    def _warnings(self, controller: str, bits: int) -> None:
        for bit, (text, predictive) in enumerate(WARNINGS):
            fault = f"warning {bit}"
            if bits >> bit & 1:
                said = f"{controller}: {text}"
                self._faults.fault(controller, fault, said, predictive=predictive)
            else:
                self._faults.well(controller, fault, f"{controller}: no more of: {text}")


async def _probe(keyword: str, disks: Disks, faults: Faults) -> None:
    """Read a disk now and then, also one that appears later; never a mount point."""
    interval_s = faults.watched.number(keyword, "probe_interval_ms") / 1000
    timeout_s = faults.watched.number(keyword, "probe_timeout_ms") / 1000
    there = False
    while True:
        await asyncio.sleep(interval_s)
        path = disks.path(keyword)
        there = there or bool(path)
        if not there:
            continue
        path = path or keyword
        device = disks.name(keyword)
        text = f"{keyword} does not answer a read within {timeout_s:g} s"
        status, said = await _child(
            "read", path, timeout_s, partial(faults.fault, device, "read", text)
        )
        if status == 0:
            faults.well(device, "read", f"{keyword} can be read again")
        elif not faults.is_open(device, "read"):
            faults.fault(device, "read", f"{keyword} cannot be read: {said}")


async def _child(
    task: str, path: str, timeout_s: float, late: Callable[[], None]
) -> tuple[int, str]:
    """Exit status and output of the child.

    A late child is reported, killed, and waited for: if it hangs in the kernel, a second one would
    hang too.
    """
    process = await disk_child.start(task, path)
    saying = asyncio.ensure_future(process.communicate())
    try:
        done, _ = await asyncio.wait({saying}, timeout=timeout_s)
        if not done:
            late()
            process.kill()
        out, _ = await saying
    except asyncio.CancelledError:
        saying.cancel()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    return process.returncode or 0, disk_child.last_line(out) or "the probe was killed"


def read_line(line: Line) -> Finding | None:
    """An I/O error, a time-out, or a file system that stopped."""
    text = line.text
    if found := _BLOCK.search(text):
        kind, device = found.groups()
        if kind in HARMLESS:
            return None
        return Finding(device=device, fault="io", text=f"{device}: {kind} error")
    if found := _BUFFER.search(text):
        return Finding(device=found[1], fault="io", text=f"{found[1]}: buffer I/O error")
    if found := _NVME.search(text):
        return Finding(device=found[1], fault="timeout", text=f"{found[1]}: {found[2]}")
    if found := _TIMING_OUT.search(text):
        return Finding(device=found[1], fault="timeout", text=f"{found[1]}: a command timed out")
    if found := _READ_ONLY.search(text):
        return Finding(device=found[1] or found[2], fault="read-only", text=text)
    if found := _FILESYSTEM.search(text):
        device = next(g for g in found.groups()[1::2] if g)
        return Finding(device=device, fault="file system", text=text)
    if found := _ARRAY.search(text):
        return Finding(device=found[1], fault="degraded", text=text)
    return None


class Arrays:
    """All arrays, watched."""

    def __init__(self, kernel: Kernel, faults: Faults) -> None:
        self._kernel = kernel
        self._faults = faults
        self._open: dict[str, list[tuple[int, Callable[[], None]]]] = {}
        """Array -> its notifying files."""
        self._ran: set[str] = set()
        self.look()

    def close(self) -> None:
        """Watch no more."""
        for name in list(self._open):
            self._drop(name)

    def uevent(self, event: Uevent) -> None:
        """A block device came, went or changed."""
        if event.name.startswith("md"):
            self.look()

    def look(self) -> None:
        """Read the states of all arrays."""
        block = f"{self._kernel.sys}/block"
        found = [n for n in names(block) if os.path.isdir(f"{block}/{n}/md")]
        for name in self._open.keys() - set(found):
            self._drop(name)
        for name in found:
            if name not in self._open:
                self._watch(name, f"{block}/{name}/md")
            self._judge(name, f"{block}/{name}/md")

    def _watch(self, name: str, folder: str) -> None:
        files: list[tuple[int, Callable[[], None]]] = []
        for attribute in NOTIFYING:
            with contextlib.suppress(OSError):
                fd = os.open(f"{folder}/{attribute}", os.O_RDONLY | os.O_CLOEXEC)

                def changed(fd: int = fd) -> None:
                    os.pread(fd, 64, 0)  # otherwise it would notify for ever
                    self._judge(name, folder)

                try:
                    os.pread(fd, 64, 0)
                    files.append((fd, self._kernel.files.watch(fd, changed)))
                except OSError:
                    os.close(fd)
        self._open[name] = files

    def _drop(self, name: str) -> None:
        for fd, end in self._open.pop(name, []):
            end()
            os.close(fd)

    def _judge(self, name: str, folder: str) -> None:
        state = read_text(f"{folder}/array_state")
        missing = read_number(f"{folder}/degraded") or 0
        disks = read_number(f"{folder}/raid_disks") or 0
        if state in DEAD and (name in self._ran or name in self._faults.watched.keywords):
            self._faults.fault(name, "array", f"{name} does not run ({state})")
        elif state and state not in (*DEAD, "clear"):
            self._ran.add(name)
            self._faults.well(name, "array", f"{name} runs again ({state})")
        if missing > 0:
            action = read_text(f"{folder}/sync_action")
            doing = f", {action}" if action not in ("", "idle") else ""
            text = f"{name} is degraded: {missing} of {disks} members missing{doing}"
            self._faults.fault(name, "degraded", text, predictive=True)
        else:
            self._faults.well(name, "degraded", f"{name} has all its members again")
