"""Where the kernel speaks: one reader each of its log, its uevents and its notifying files.

Shared by all sources of an agent; each part is opened by the first who listens and closed with
the last, so that an agent without sources pays nothing.
"""

from __future__ import annotations

import os

from clptools.intake.kmsg import Kmsg
from clptools.intake.notifying import NotifyingFiles
from clptools.intake.uevent import Uevents


class Kernel:
    """The kernel of this server, or a part of it that a test put together."""

    def __init__(
        self,
        *,
        sys: str = "/sys",
        proc: str = "/proc",
        dev: str = "/dev",
        kmsg: Kmsg | None = None,
        uevents: Uevents | None = None,
    ) -> None:
        self.sys = sys
        self.proc = proc
        self.dev = dev
        self.kmsg = kmsg or Kmsg()
        self.uevents = uevents or Uevents()
        self.files = NotifyingFiles()

    def counters(self) -> dict[str, int]:
        """What came from the kernel and what was lost on the way, by place."""
        return {
            "kmsg_read": self.kmsg.records,
            "kmsg_lost": self.kmsg.lost,
            "uevents_lost": self.uevents.lost,
        }

    def close(self) -> None:
        """Close what is still open."""
        self.kmsg.close()
        self.uevents.close()
        self.files.close()


def read_text(path: str) -> str:
    """A small file of sysfs or procfs, stripped; empty if there is none or it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4096).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def read_number(path: str) -> int | None:
    """The same as a number; None: there is none."""
    text = read_text(path)
    return int(text) if text.isascii() and text.removeprefix("-").isdigit() else None


def names(folder: str) -> list[str]:
    """What a directory holds, sorted; nothing if there is none."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def last_part(link: str) -> str:
    """The last part of what a symbolic link of sysfs points at; empty: no link."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return ""
