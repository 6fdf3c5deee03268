"""HA/RS: the system stalls for want of cpu, io or memory, or a resource runs out.

Pressure comes by triggers of the kernel (Documentation/accounting/psi.rst), which wakes us only
while there is some; the rest by `limits`.  Keywords: `cpu`, `io`, `memory`, `files`,
`processes`, or a mount point.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable

from clptools.intake.kernel import Kernel
from clptools.intake.lasting import Lasting
from clptools.intake.limits import Limits
from clptools.intake.source import Faults

KINDS = {"cpu": "some", "io": "full", "memory": "full"}
"""Some tasks wait, or all that could work do; the system as a whole never waits for cpu."""
STEP_US = 2_000_000
"""Without CAP_SYS_RESOURCE a window must be a multiple of this."""


async def watch(kernel: Kernel, faults: Faults, note: Callable[[str], None]) -> None:
    """See `source.Watch`."""
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
        """Raises OSError: this kernel measures no pressure (psi=1), or lets us not."""
        watched = faults.watched
        self._name = name
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        self._share = watched.number(name, "pressure_stall")
        self._run = Lasting(watched.number(name, "duration_ms") / 1000, self._loop.time)
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
        """Over which the kernel measures it; longer than configured where it permits no less."""
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
        # A window without the kernel's word, and a little: it is over for now.
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
