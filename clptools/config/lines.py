"""The line of each key of a TOML text, and its blocks, which `tomllib` does not tell.

The scanner runs only over text that `tomllib` has accepted, so it needs to tell strings,
comments and brackets apart but not to judge them.  A path is a tuple of keys, with the index
from 0 where a list is entered: `("monitor", 1, "recovery", "target")`.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

import msgspec

Path = tuple[str | int, ...]
Json = dict[str, Any]
"""A table as `tomllib` reads it; its values are checked by the fields, not by their types here."""

MAX_BYTES = 4 << 20
"""No cluster of 32 servers needs more; a device or a log given by mistake is refused."""
BOM = "\ufeff"
"""Some editors write it before the first character without showing it."""

TABLES = (
    "cluster", "server", "interconnect", "np", "forced_stop", "fence", "server_group", "group",
    "monitor", "alert", "trap_profile",
)  # fmt: skip
"""What a `clp.toml` has at its top, in the order in which we write it."""


class Statement(msgspec.Struct, frozen=True):
    """One `key = value` outside of inline tables: its path, and its first and last line."""

    path: Path
    first: int
    last: int


class Block(msgspec.Struct):
    """A header and the statements below it; the first one has no header and stands on line 0."""

    path: Path
    line: int
    statements: list[Statement] = []


_SIMPLE = re.compile(r"([A-Za-z0-9_-]+) = (\"[^\"\\\n]*\"|[A-Za-z0-9.+-]+)\n")
"""A whole line that is one statement with one value, as nearly all are."""
_SPACE = " \t"
_BLANK = " \t\r\n"


class Lines:
    """The index of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._found: dict[Path, int] = {(): 1}
        self._lists: dict[Path, int] = {}
        """Arrays of tables: how many elements have begun."""
        self.values: dict[Path, tuple[int, int]] = {}
        """Where in the text the value of each key stands, also within inline tables and lists."""
        self.blocks: list[Block] = [Block((), 0)]
        self._scan()

    def line(self, path: Path) -> int:
        """The line where `path` is set, or else the nearest table around it."""
        while path not in self._found:
            path = path[:-1]
        return self._found[path]

    # -- the text, a character at a time ------------------------------------------------

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, count: int = 1) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def _skip_all(self, characters: str) -> None:
        while self._peek() and self._peek() in characters:
            self._skip()

    def _skip_blank(self) -> None:
        """Blanks, newlines and comments."""
        while True:
            self._skip_all(_BLANK)
            if self._peek() != "#":
                return
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end

    # -- keys, strings, values ------------------------------------------------------------

    def _string(self) -> str:
        """Skip a quoted string and return it as written, quotes included."""
        start = self._at
        quote = self._peek()
        mark = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        self._skip(len(mark))
        while self._peek() and not self._text.startswith(mark, self._at):
            self._skip(2 if quote == '"' and self._peek() == "\\" else 1)
        self._skip(len(mark))
        # Up to two quotes may stand directly before the closing three.
        while len(mark) == 3 and self._peek() == quote:
            self._skip()
        return self._text[start : self._at]

    def _key(self) -> Path:
        """A key, dotted or not, up to what follows it."""
        parts: list[str] = []
        while True:
            self._skip_all(_SPACE)
            if self._peek() in ('"', "'"):
                quoted = self._string()
                parts.append(str(tomllib.loads(f"k = {quoted}")["k"]))
            else:
                start = self._at
                while self._peek() and self._peek() not in " \t.=]\r\n":
                    self._at += 1
                parts.append(self._text[start : self._at])
            self._skip_all(_SPACE)
            if self._peek() != ".":
                return tuple(parts)
            self._skip()

    def _value(self, path: Path) -> None:
        self._skip_all(_SPACE)
        start = self._at
        self._skip_value(path)
        self.values[path] = start, start + len(self._text[start : self._at].rstrip(_SPACE))

    def _skip_value(self, path: Path) -> None:
        first = self._peek()
        if first in ('"', "'"):
            self._string()
        elif first == "{":
            self._inline_table(path)
        elif first == "[":
            self._list(path)
        else:
            while self._peek() and self._peek() not in ",]}#\r\n":
                self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._skip()
        while True:
            self._skip_blank()
            if self._peek() in ("}", ""):
                break
            if self._peek() == ",":
                self._skip()
                continue
            self._pair(path)
        self._skip()

    def _list(self, path: Path) -> None:
        self._skip()
        index = 0
        while True:
            self._skip_blank()
            if self._peek() in ("]", ""):
                break
            if self._peek() == ",":
                self._skip()
                continue
            self._note((*path, index))
            self._value((*path, index))
            index += 1
        self._skip()

    # -- statements -----------------------------------------------------------------------

    def _note(self, path: Path) -> None:
        self._found.setdefault(path, self._line)

    def _pair(self, table: Path) -> Path:
        line, key = self._line, self._key()
        for length in range(1, len(key) + 1):
            self._found.setdefault((*table, *key[:length]), line)
        self._skip()  # the equals sign
        self._value((*table, *key))
        return (*table, *key)

    def _enter(self, keys: Path) -> Path:
        """The path of a header's keys, with the newest element of each list on the way."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            self._note(path)
            if path in self._lists:
                path = (*path, self._lists[path] - 1)
        return path

    def _header(self) -> Path:
        line = self._line
        is_list = self._text.startswith("[[", self._at)
        self._skip(2 if is_list else 1)
        keys = self._key()
        self._skip(2 if is_list else 1)
        path = (*self._enter(keys[:-1]), keys[-1])
        self._found.setdefault(path, line)
        if is_list:
            self._lists[path] = self._lists.get(path, 0) + 1
            path = (*path, self._lists[path] - 1)
            self._found.setdefault(path, line)
        return path

    def _scan(self) -> None:
        block = self.blocks[0]
        while True:
            self._skip_blank()
            if not self._peek():
                return
            first = self._line
            simple = _SIMPLE.match(self._text, self._at)
            if simple is not None:
                path = (*block.path, simple[1])
                self._note(path)
                self.values[path] = simple.span(2)
                block.statements.append(Statement(path, first, first))
                self._at, self._line = simple.end(), first + 1
            elif self._peek() == "[":
                block = Block(self._header(), first)
                self.blocks.append(block)
            else:
                path = self._pair(block.path)
                block.statements.append(Statement(path, first, self._line))
