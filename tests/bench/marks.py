"""Moments at which scripts run, taken by this process: they write into a pipe that it reads.

A script that asks `date` starts a process before it can say when it began; a line into a pipe
is the first thing that it does, and wakes the reader at once.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from pathlib import Path
from typing import NamedTuple

SCRIPT = """\
#!/bin/sh
echo "{op} {server}" >{times}
"""
"""A start or stop script that does nothing else."""


class Mark(NamedTuple):
    """One script began."""

    at_ns: int
    """Monotonic clock."""
    op: str
    server: str


class Marks:
    """The reader; the pipe is made where scripts expect `times`."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Open for writing too: it never ends, and no script waits for a reader.
        self._pipe = os.open(path, os.O_RDWR)
        self._seen: queue.SimpleQueue[Mark] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while data := os.read(self._pipe, 4096):
            at_ns = time.monotonic_ns()
            for line in data.decode().splitlines():
                self._seen.put(Mark(at_ns, *line.split()))

    def forget(self) -> None:
        """What was seen until now is of no interest."""
        while not self._seen.empty():
            self._seen.get()

    def wait(self, op: str, timeout_s: float, server: str = "") -> Mark:
        """The next script of that kind (on that server).  Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                mark = self._seen.get(timeout=max(0.001, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"no {op} script ran within {timeout_s:g} s") from None
            if mark.op == op and server in ("", mark.server):
                return mark
