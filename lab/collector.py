"""The client of the group: everything that the workload said over the floating address.

What it hears is all that counts for the promise: two servers that speak at one time are an
overlap, silence is a gap.  Times are this process's `time.monotonic()`.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time

import msgspec

ADDRESS, PORT = "192.168.0.254", 5000


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One datagram of the workload."""

    at: float
    kind: str
    """`begin`, `beat` or `end`."""
    server: str
    run: str
    """One start of the workload."""
    number: int


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One start of the workload, from its first word to its last."""

    server: str
    first: float
    last: float
    ended: bool
    """It said its end; else it was cut off."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A time without any word."""

    since: float
    seconds: float


class Collector(threading.Thread):
    """Listens until the process ends."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="collector")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ADDRESS, PORT))
        self._lock = threading.Lock()
        self._words: list[Word] = []

    def run(self) -> None:
        """Takes in one datagram after the other."""
        while True:
            data = self._socket.recv(512)
            at = time.monotonic()
            match data.decode(errors="replace").split():
                case [kind, server, run, number] if number.isdigit():
                    word = Word(at=at, kind=kind, server=server, run=run, number=int(number))
                    with self._lock:
                        self._words.append(word)

    def words(self, since: float) -> list[Word]:
        """What was said since then, in order of arrival."""
        with self._lock:
            return [word for word in self._words if word.at >= since]

    def speaker(self, within_s: float = 1.0) -> str:
        """Who speaks now; empty: nobody."""
        recent = self.words(time.monotonic() - within_s)
        return recent[-1].server if recent and recent[-1].kind != "end" else ""


def runs(words: list[Word]) -> list[Run]:
    """The starts of the workload, in order of their first word."""
    found: dict[str, Run] = {}
    for word in words:
        first = found[word.run].first if word.run in found else word.at
        ended = word.kind == "end"
        found[word.run] = Run(server=word.server, first=first, last=word.at, ended=ended)
    return sorted(found.values(), key=lambda each: each.first)


def overlaps(words: list[Word]) -> list[tuple[Run, Run]]:
    """Pairs that spoke at one time on two servers: none, or the promise is broken."""
    each = runs(words)
    return [
        (one, two)
        for number, one in enumerate(each)
        for two in each[number + 1 :]
        if one.server != two.server and two.first <= one.last
    ]


def longest_gap(words: list[Word], since: float, until: float) -> Gap:
    """The longest silence between two words, or before the first, or after the last."""
    longest = Gap(since=until, seconds=0.0)
    times = [since, *(word.at for word in words if since < word.at < until), until]
    for before, after in itertools.pairwise(times):
        if after - before > longest.seconds:
            longest = Gap(since=before, seconds=after - before)
    return longest
