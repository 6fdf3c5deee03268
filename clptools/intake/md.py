"""HA/SS: Linux software RAID (Documentation/admin-guide/md.rst, `/sys/block/md*/md/`).

`array_state`, `degraded` and `sync_action` notify by poll(2).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from clptools.intake.kernel import Kernel, names, read_number, read_text
from clptools.intake.source import Faults
from clptools.intake.uevent import Uevent

NOTIFYING = ("array_state", "degraded", "sync_action")
DEAD = ("inactive", "broken")


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
        """See how all arrays are."""
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
                    os.pread(fd, 64, 0)  # or it would be told for ever
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
