"""A verb, and the words of its line, read one by one, each checked as it is read.

What does not fit is reported as `BadLine`, never as an error of Python: scenario files are written
by people.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from clptools.sim.host import SECOND, Host

if TYPE_CHECKING:
    from clptools.sim.world import World

MANY = 1_000_000
"""More of anything no story needs."""
SECONDS_MAX = 31_536_000.0
"""A year: no story lasts longer."""
_SHOWN = 100
"""Characters of a line that a message repeats."""
_NUMBER = re.compile(r"-?\d{1,12}(\.\d{1,12})?")


class BadLine(ValueError):
    """A line that cannot be played; the text says what is wrong, and how it would look."""

    line: int = 0
    """Its number in the file, from 1; 0: not known here."""

    def of(self, line: int) -> BadLine:
        """The same, told of that line unless another one is known already."""
        self.line = self.line or line
        return self


def shown(text: str) -> str:
    """A piece of a file as a message can have it: one short line without control characters."""
    short = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in short)


def number_in(word: str, what: str, low: float, high: float) -> float:
    """The number that a word is.  Raises BadLine unless it is one from `low` to `high`."""
    if _NUMBER.fullmatch(word) is None or not low <= float(word) <= high:
        raise BadLine(f"{what}: {shown(word)} is not a number from {low:,.12g} to {high:,.12g}")
    return float(word)


def whole_in(word: str, what: str, low: int, high: int) -> int:
    """The same for a whole number."""
    if "." in word or _NUMBER.fullmatch(word) is None or not low <= int(word) <= high:
        raise BadLine(f"{what}: {shown(word)} is not a whole number from {low:,} to {high:,}")
    return int(word)


def one_of(word: str, what: str, known: tuple[str, ...]) -> str:
    """The word itself.  Raises BadLine unless it is among those known."""
    if word not in known:
        raise BadLine(f"{shown(word)}: no such {what}; known: {' '.join(known) or 'none'}")
    return word


class Words:
    """What follows the verb."""

    def __init__(self, world: World, words: list[str]) -> None:
        self.world = world
        self._left = list(words)

    @property
    def more(self) -> bool:
        """Whether there is another word."""
        return bool(self._left)

    def word(self, what: str) -> str:
        """The next word, whatever it is."""
        if not self._left:
            raise BadLine(f"{what} is missing")
        return self._left.pop(0)

    def rest(self) -> list[str]:
        """All the others."""
        rest, self._left = self._left, []
        return rest

    def take(self, word: str) -> bool:
        """Takes that word out, wherever it stands; whether it was there."""
        there = word in self._left
        self._left = [w for w in self._left if w != word]
        return there

    def end(self) -> None:
        """Nothing may follow."""
        if self._left:
            raise BadLine(f"{shown(self._left[0])}: one word too many")

    def one_of(self, what: str, *known: str) -> str:
        """The next word, which must be among those known."""
        return one_of(self.word(what), what, known)

    def server(self) -> Host:
        """The server that the next word names."""
        return self.world.hosts[self.one_of("server", *self.world.hosts)]

    def two(self) -> tuple[str, str]:
        """The names of two servers."""
        return self.server().name, self.server().name

    def servers(self) -> list[Host]:
        """The servers that all other words name; without a word all there are."""
        named = [self.server() for _ in range(len(self._left))]
        return named or list(self.world.hosts.values())

    def group(self) -> str:
        """The name of a group."""
        return self.one_of("group", *(g.name for g in self.world.settings.groups))

    def monitor(self) -> str:
        """The name of a monitor."""
        return self.one_of("monitor", *(m.name for m in self.world.settings.monitors))

    def number(self, what: str, low: float, high: float) -> float:
        """The next word as a number."""
        return number_in(self.word(what), what, low, high)

    def whole(self, what: str, low: int, high: int) -> int:
        """The next word as a whole number."""
        return whole_in(self.word(what), what, low, high)

    def seconds(self, what: str = "SECONDS") -> float:
        """The next word as a span."""
        return self.number(what, 0, SECONDS_MAX)

    def us(self, what: str = "SECONDS") -> int:
        """The same in microseconds."""
        return round(self.seconds(what) * SECOND)


class Verb(NamedTuple):
    """One verb: what it does, and how a line of it looks."""

    run: Callable[[World, Words], str | None]
    usage: str
    """Its words: capitals stand for something, brackets for what may be left out."""
    example: str
    does: str
    """A sentence, or two."""


def each(do: Callable[[World, Host], object]) -> Callable[[World, Words], None]:
    """A verb that does the same to every server named (none named: to all)."""

    def run(world: World, words: Words) -> None:
        for host in words.servers():
            do(world, host)

    return run
