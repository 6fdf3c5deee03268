"""The kernel's softdog, else `/dev/watchdog` (`Documentation/watchdog/watchdog-api.rst`).

`/dev/watchdog` belongs to the driver that registered first: on most servers the chipset's timer
(iTCO), which refuses the few seconds that a lease needs.  So softdog is looked for by its identity.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from clptools import paths
from clptools.faults import ClpError, ExitCode

DEVICE = "/dev/watchdog"
CLASS = "/sys/class/watchdog"
IDENTITY = "Software Watchdog"
"""softdog's own name for itself (drivers/watchdog/softdog.c)."""
LOADED_WITHIN_S = 10.0

WDIOC_KEEPALIVE = 0x80045705
WDIOC_SETTIMEOUT = 0xC0045706
WDIOC_GETTIMEOUT = 0x80045707

_OTHER = "another driver's watchdog: modprobe softdog, or raise [cluster] self_stop"

_GONE = (errno.ENODEV, errno.ENXIO, errno.EBADF)
"""The device has disappeared."""

Ioctl = Callable[[int, int, bytes], bytes]


def find(classes: str = CLASS) -> str:
    """The device of softdog; empty: it is not loaded."""
    for each in sorted(Path(classes).glob("watchdog*")):
        with contextlib.suppress(OSError):
            if (each / "identity").read_text().strip() == IDENTITY:
                return f"/dev/{each.name}"
    return ""


class Softdog:
    """The device, open from the first arming on.  Opening it starts, or feeds, the timer."""

    def __init__(self, device: str = DEVICE, ioctl: Ioctl = fcntl.ioctl) -> None:
        self.device = device
        self._ioctl = ioctl
        self._fd = -1
        self._seconds = 0
        """Time-out that the driver took; 0: it was not armed."""

    def prepare(self) -> None:
        """Finds softdog, and loads it if needed; blocks while the kernel does.

        Without it `/dev/watchdog` is used: a hardware timer is no worse.
        """
        if paths.root() or self._fd >= 0:
            return
        found = self._found()
        if not found:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    ["modprobe", "-q", "softdog"],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=LOADED_WITHIN_S,
                    check=False,
                )
            found = self._found()
        self.device = found or DEVICE

    def arm(self, timeout_ms: int) -> str:
        """Open it and set the timeout, in whole seconds and never above `timeout_ms`.

        If this fails, a timer that was armed before keeps its time-out and must still be fed.

        Raises:
            ClpError: there is none, another program has it, or the time-out is too short for it.
        """
        if paths.root():
            raise ClpError(
                ExitCode.REFUSED,
                f"this node lives below {paths.root()} and leaves its machine's watchdog alone",
                'method = "guard" with [cluster] action_command works there',
            )
        seconds = timeout_ms // 1000
        if seconds < 1:
            raise ClpError(
                ExitCode.FAILED,
                f"{self.device} counts whole seconds, {timeout_ms / 1000:g} s is below one",
                'raise [cluster] self_stop, or use method = "guard"',
            )
        if self._fd < 0:
            self._fd = self._open()
        try:
            taken = self._set(seconds)
            self._ioctl(self._fd, WDIOC_KEEPALIVE, struct.pack("i", 0))
        except OSError as fault:
            self._back()
            text = f"{self.device}: {fault.strerror}"
            if fault.errno == errno.EINVAL:
                text = f"{self.device} takes no timeout of {seconds} s"
            raise ClpError(ExitCode.FAILED, text, _OTHER) from fault
        if taken > seconds:
            self._back()
            raise ClpError(
                ExitCode.FAILED,
                f"{self.device} takes no timeout of {seconds} s, only {taken} s",
                _OTHER,
            )
        self._seconds = taken
        return f"{self.device}, {taken} s"

    def pet(self) -> None:
        """Feed it, if it was ever armed.  Raises OSError."""
        if self._fd < 0:
            return
        try:
            self._ioctl(self._fd, WDIOC_KEEPALIVE, struct.pack("i", 0))
        except OSError as fault:
            if fault.errno in _GONE:
                # While open, it would block the device that replaces it.
                self.close()
            raise

    def disarm(self) -> None:
        """Close it with the magic letter, so that the timer stops (unless `nowayout`).

        Also a timer that an earlier agent left running.  Raises OSError.
        """
        if paths.root():
            return
        if self._fd < 0:
            try:
                self._fd = os.open(self._found() or self.device, os.O_WRONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return
        with contextlib.suppress(OSError):
            os.write(self._fd, b"V")
        self.close()

    def close(self) -> None:
        """Close it without stopping: the timer acts unless another agent feeds it."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1
            self._seconds = 0

    def _found(self) -> str:
        """The driver's present path: a module that was reloaded may have another number."""
        return find() if self.device.startswith(DEVICE) else self.device

    def _set(self, seconds: int) -> int:
        """The time-out that the driver took.  Raises OSError."""
        self._ioctl(self._fd, WDIOC_SETTIMEOUT, struct.pack("i", seconds))
        (taken,) = struct.unpack("i", self._ioctl(self._fd, WDIOC_GETTIMEOUT, struct.pack("i", 0)))
        return int(taken)

    def _back(self) -> None:
        """Restores what was before an arming that failed."""
        if not self._seconds:
            self.disarm()
            return
        with contextlib.suppress(OSError):
            self._set(self._seconds)

    def _open(self) -> int:
        try:
            return os.open(self.device, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ClpError(
                ExitCode.FAILED,
                f"there is no {self.device}",
                'modprobe softdog, or use method = "guard"',
            ) from None
        except OSError as fault:
            hint = ""
            if fault.errno == errno.EBUSY:
                hint = "another program has it (systemd: RuntimeWatchdogSec=off, watchdogd, sbd)"
            raise ClpError(ExitCode.FAILED, f"{self.device}: {fault.strerror}", hint) from fault
