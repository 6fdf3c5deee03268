"""`/dev/watchdog`: softdog or a hardware timer (`Documentation/watchdog/watchdog-api.rst`)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Callable

from clptools import paths
from clptools.faults import ClpError, ExitCode

DEVICE = "/dev/watchdog"

WDIOC_KEEPALIVE = 0x80045705
WDIOC_SETTIMEOUT = 0xC0045706
WDIOC_GETTIMEOUT = 0x80045707

Ioctl = Callable[[int, int, bytes], bytes]


class Softdog:
    """The device, open while armed.  Opening it starts, or feeds, the timer."""

    def __init__(self, device: str = DEVICE, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._device = device
        self._ioctl = ioctl
        self._fd = -1

    def arm(self, timeout_ms: int) -> str:
        """Open it and set the timeout, in whole seconds and never above `timeout_ms`.

        Raises:
            ClpError: there is none, another program has it, or it cannot be that quick.
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
                f"{self._device} counts whole seconds, {timeout_ms / 1000:g} s is below one",
                'raise [cluster] self_stop, or use method = "guard"',
            )
        if self._fd < 0:
            self._fd = self._open()
        try:
            self._ioctl(self._fd, WDIOC_SETTIMEOUT, struct.pack("i", seconds))
            (taken,) = struct.unpack(
                "i", self._ioctl(self._fd, WDIOC_GETTIMEOUT, struct.pack("i", 0))
            )
            self._ioctl(self._fd, WDIOC_KEEPALIVE, struct.pack("i", 0))
        except OSError as fault:
            self.disarm()
            raise ClpError(ExitCode.FAILED, f"{self._device}: {fault.strerror}") from fault
        if taken > seconds:
            self.disarm()
            raise ClpError(
                ExitCode.FAILED,
                f"{self._device} takes no timeout of {seconds} s, only {taken} s",
                'another driver\'s watchdog: raise [cluster] self_stop, or use method = "guard"',
            )
        return f"{self._device}, {taken} s"

    def pet(self) -> None:
        """Feed it."""
        if self._fd >= 0:
            self._ioctl(self._fd, WDIOC_KEEPALIVE, struct.pack("i", 0))

    def disarm(self) -> None:
        """Close it with the magic letter, so that the timer stops (unless `nowayout`)."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self._fd, b"V")
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        try:
            return os.open(self._device, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ClpError(
                ExitCode.FAILED,
                f"there is no {self._device}",
                'modprobe softdog, or use method = "guard"',
            ) from None
        except OSError as fault:
            hint = ""
            if fault.errno == errno.EBUSY:
                hint = "another program has it (systemd: RuntimeWatchdogSec=off, watchdogd, sbd)"
            raise ClpError(ExitCode.FAILED, f"{self._device}: {fault.strerror}", hint) from fault
