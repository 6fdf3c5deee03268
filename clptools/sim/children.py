"""Copies of a running simulation: forked where it stands, each tells what became of it and ends.

A fork is the cheapest way to save everything that a world is: only what a copy changes is copied.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import msgspec

LONGEST_S = 120
"""Seconds of processor time after which a copy is ended: it hangs."""
KEPT = 20
"""How many schedules of one story that break the same promise are reported."""


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that one schedule broke."""

    story: str
    at: str
    faults: tuple[str, ...]
    invariant: str
    text: str
    reproduce: str
    """A scenario file that repeats it."""


class Outcome(msgspec.Struct, kw_only=True):
    """What became of one story, or a part of it."""

    schedules: int = 0
    possible: int = 0
    """How many there are, if not all were played."""
    broke: int = 0
    """How many of them broke a promise."""
    broken: list[Broken] = []
    """Some of those, of each kind."""

    def add(self, told: Sequence[bytes]) -> None:
        """What copies told."""
        for text in told:
            part = msgspec.msgpack.decode(text, type=Outcome)
            self.schedules += part.schedules
            self.possible += part.possible
            self.broke += part.broke
            self.keep(part.broken)

    def keep(self, broken: Sequence[Broken]) -> None:
        """Remember what broke, unless there is enough of that kind."""
        for item in broken:
            if sum(x.invariant == item.invariant for x in self.broken) < KEPT:
                self.broken.append(item)


class Children:
    """The copies of one process, at most `limit` at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[int, tuple[int, bytearray]] = {}
        """End of a pipe -> the child that writes into it, and what it wrote."""
        self._way = -1
        self.told: list[bytes] = []
        """What ended children told; nothing, if one crashed."""

    def fork(self) -> bool:
        """Make a copy as soon as there is room for it; True in the copy."""
        while len(self._open) >= self._limit:
            self._read()
        sys.stdout.flush()
        sys.stderr.flush()
        end, way = os.pipe()
        pid = os.fork()
        if pid:
            os.close(way)
            self._open[end] = (pid, bytearray())
            return False
        os.close(end)
        for other in self._open:
            os.close(other)
        self._open.clear()
        self.told = []
        self._way = way
        gc.disable()
        signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
        return True

    def tell_and_end(self, text: bytes) -> NoReturn:
        """The last words of a copy."""
        while text:
            text = text[os.write(self._way, text) :]
        os._exit(0)

    def wait(self) -> list[bytes]:
        """Wait for all of them; what they told, and those before them, since the last call."""
        while self._open:
            self._read()
        told, self.told = self.told, []
        return told

    def _read(self) -> None:
        for end in select.select(list(self._open), [], [])[0]:
            pid, text = self._open[end]
            more = os.read(end, 65_536)
            text += more
            if not more:
                os.close(end)
                del self._open[end]
                os.waitpid(pid, 0)
                self.told.append(bytes(text))


def cpu_s() -> float:
    """Processor time of this process and its copies until now."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(x.ru_utime + x.ru_stime for x in used)
