"""SPS: paths of dm-multipath that fail, and the loss of the last one.

The device mapper sends a uevent for each (Documentation/admin-guide/device-mapper/dm-uevent.rst);
at the start, and after lost uevents, the states are read by ioctl.  Keywords: the map's
name (`mpatha`), its device (`dm-3`), or a path's (`sdb`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import struct
from collections.abc import Callable

from clptools.intake.disks import Disks
from clptools.intake.kernel import Kernel, Uevent, names, read_text
from clptools.intake.sources import Faults

DM_TABLE_STATUS = 0xC138FD0C
"""<linux/dm-ioctl.h>: _IOWR(0xfd, 12, struct dm_ioctl)."""
DM_IOCTL = struct.Struct("=3I I I I i I I I Q 128s 129s 7s")
DM_TARGET_SPEC = struct.Struct("=Q Q i I 16s")
REPLY_BYTES = 16_384
DM_VERSION = (4, 0, 0)

_PATH = re.compile(r"\b(\d{1,6}:\d{1,6}) ([AF]) \d")


async def watch(kernel: Kernel, faults: Faults, note: Callable[[str], None]) -> None:
    """See `sources.Watch`."""
    maps = Maps(kernel, faults)
    faults.same = maps.same
    end = kernel.uevents.listen(frozenset({"block"}), maps.uevent, maps.look)
    try:
        maps.look()
        await asyncio.Event().wait()
    finally:
        end()


class Maps:
    """All multipath maps of this server."""

    def __init__(
        self,
        kernel: Kernel,
        faults: Faults,
        status: Callable[[str, str], str] | None = None,
    ) -> None:
        """`status` gives a map's status line, by default by ioctl; it raises OSError."""
        self._kernel = kernel
        self._faults = faults
        self._disks = Disks(kernel.sys, kernel.dev)
        self._status = status or table_status
        self._devices: dict[str, str] = {}
        """Map name -> `dm-3`."""

    def same(self, keyword: str, device: str) -> bool:
        """Whether a keyword means a map (or a path, by its own name)."""
        name = keyword.removeprefix(f"{self._kernel.dev}/").removeprefix("mapper/")
        meant = (name, self._disks.name(keyword))
        return device in meant or self._devices.get(device) in meant

    def uevent(self, event: Uevent) -> None:
        """A uevent of the device mapper about a map."""
        said = event.values
        name, path = said.get("DM_NAME", ""), said.get("DM_PATH", "")
        if said.get("DM_TARGET") != "multipath" or not name or not path:
            return
        self._devices[name] = event.name
        valid = said.get("DM_NR_VALID_PATHS", "")
        action = said.get("DM_ACTION")
        if action in ("PATH_FAILED", "PATH_REINSTATED"):
            self._path(name, path, action == "PATH_REINSTATED", valid)
            if valid.isdigit():
                self._left(name, int(valid))

    def look(self) -> None:
        """Read the states of all maps."""
        block = f"{self._kernel.sys}/block"
        for device in names(block):
            name = read_text(f"{block}/{device}/dm/name")
            if not read_text(f"{block}/{device}/dm/uuid").startswith("mpath-") or not name:
                continue
            self._devices[name] = device
            with contextlib.suppress(OSError):
                paths = _PATH.findall(self._status(f"{self._kernel.dev}/mapper/control", name))
                valid = sum(state == "A" for _, state in paths)
                for path, state in paths:
                    self._path(name, path, state == "A", str(valid))
                if paths:
                    self._left(name, valid)

    def _path(self, name: str, number: str, works: bool, valid: str) -> None:
        path = self._disks.of_number(number) or number
        fault = f"path {number}"
        named = any(self.same(keyword, path) for keyword in self._faults.watched.keywords)
        if works:
            self._faults.well(name, fault, f"{name}: path {path} works again")
            if named:
                self._faults.well(path, "path", f"path {path} of {name} works again")
            return
        text = f"{name}: path {path} failed, {valid or 'some'} left"
        self._faults.fault(name, fault, text, predictive=True)
        if named:
            self._faults.fault(path, "path", f"path {path} of {name} failed")

    def _left(self, name: str, valid: int) -> None:
        if valid:
            self._faults.well(name, "paths", f"{name} has {valid} working paths again")
        else:
            self._faults.fault(name, "paths", f"{name}: the last path is lost")


def table_status(control: str, name: str) -> str:
    """The status lines of a map's targets.  Raises OSError."""
    request = DM_IOCTL.pack(
        *DM_VERSION, REPLY_BYTES, DM_IOCTL.size, 0, 0, 0, 0, 0, 0, name.encode()[:127], b"", b""
    )
    reply = bytearray(request.ljust(REPLY_BYTES, b"\0"))
    fd = os.open(control, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, DM_TABLE_STATUS, reply)
    finally:
        os.close(fd)
    return read_status(bytes(reply))


def read_status(reply: bytes) -> str:
    """The lines of a reply to DM_TABLE_STATUS; of a damaged one, those before the damage."""
    if len(reply) < DM_IOCTL.size:
        return ""
    head = DM_IOCTL.unpack_from(reply)
    start, targets = head[4], head[5]
    lines: list[str] = []
    at = start
    while len(lines) < targets and at + DM_TARGET_SPEC.size <= len(reply):
        *_, following, _kind = DM_TARGET_SPEC.unpack_from(reply, at)
        line = reply[at + DM_TARGET_SPEC.size :].split(b"\0", 1)[0]
        lines.append(line.decode("utf-8", "replace"))
        if start + following <= at:
            break  # the last one names no other; nor does one that points back
        at = start + following
    return "\n".join(lines)
