"""The kernel's own emergency actions (`Documentation/admin-guide/sysrq.rst`).

Root may write any command to the trigger; the `kernel.sysrq` mask concerns the keyboard only.
"""

from __future__ import annotations

import os
from enum import StrEnum

TRIGGER = "/proc/sysrq-trigger"


class Sysrq(StrEnum):
    """Commands that are used here."""

    REBOOT = "b"
    """At once, without syncing or unmounting."""
    CRASH = "c"
    """Panic: a crash dump where one is set up; `kernel.panic` says whether a reboot follows."""
    POWER_OFF = "o"


def trigger(command: Sysrq, path: str = TRIGGER) -> None:
    """Does not return where it works.

    Raises:
        OSError: there is no trigger (a container), or we may not use it.
    """
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, command.value.encode())
    finally:
        os.close(fd)
