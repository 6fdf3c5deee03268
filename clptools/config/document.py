"""`clp.toml` as a document that is changed in place: comments and layout of the rest stay.

The tables are what `tomllib` reads; whoever edits changes those dictionaries and lists.  Then
`text()` carries the differences into the text: values are replaced where they stand, new keys
follow the last one of their table, tables come and go with the comments that touch them.  The
result is read again; where it were not what was meant, the whole is written anew without comments,
and that is said.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from clptools.config.lines import Block, Lines, Path
from clptools.config.load import BOM, TABLES
from clptools.config.write import dumps

Json = dict[str, Any]
"""A table as `tomllib` reads it; its values are checked by the fields, not by their types here."""

_AS_TABLES = frozenset((*TABLES, "bmc", "recovery", "resource", "snmpv3_user"))
"""What is written below a header of its own; other tables stand on one line, as values do."""
_TIGHT = "bmc"
"""Stands without a blank line below its server."""


class Document:
    """One configuration text and its tables."""

    def __init__(self, text: str = "") -> None:
        """Raises tomllib.TOMLDecodeError."""
        text = text.removeprefix(BOM)
        self.original = text
        self.tables: Json = tomllib.loads(text)
        """Changed by whoever edits, in place: a table that stays must stay the same object."""
        self._old: Json = tomllib.loads(text)
        self._elements = list(_elements(self.tables, ()))
        """Tables of lists and where they stood; held, so that no new one gets the id of one."""
        self._origin = {id(table): path for table, path in self._elements}

    def text(self) -> tuple[str, bool]:
        """The text with all changes, and whether its comments were kept."""
        if self.tables == self._old:
            return self.original, True
        try:
            edited = _Blocks(self).text(_Values(self).text())
            if tomllib.loads(edited) == self.tables:
                return edited, True
        except (tomllib.TOMLDecodeError, _Unlike):
            pass
        return rendered(self.tables), "#" not in self.original

    def origin(self, table: object) -> Path | None:
        """Where in the original text a table of a list stood; None: it is new."""
        return self._origin.get(id(table))

    def before(self, path: Path) -> Any:
        """What stood there."""
        found: Any = self._old
        for step in path:
            found = found[step]
        return found


def rendered(tables: Json) -> str:
    """Tables as the text of a new file."""
    document = Document()
    document.tables = tables
    text = _Blocks(document).text("")
    return text if tomllib.loads(text) == tables else dumps(tables)


class _Unlike(Exception):
    """The text is written in a way in which this change cannot be made."""


def _is_tables(value: object) -> bool:
    """Whether it is a list of tables with at least one."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _elements(tables: Json, path: Path) -> Iterator[tuple[Json, Path]]:
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from _elements(value, (*path, key))
        elif _is_tables(value):
            for index, table in enumerate(value):
                yield table, (*path, key, index)
                yield from _elements(table, (*path, key, index))


# ---------------------------------------------------------------------- writing values


def _key(key: str) -> str:
    return dumps({key: 0}).partition(" = ")[0]


def written(value: object) -> str:
    """A value as it stands after the equals sign, on one line."""
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(key)} = {written(one)}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(written(one) for one in value)}]"
    return dumps({"k": value}).partition(" = ")[2].rstrip("\n")


def _table(path: Path, table: Json) -> str:
    """A new table with its header and all that is below it."""
    name = ".".join(_key(step) for step in path if isinstance(step, str))
    lines = [f"[[{name}]]" if isinstance(path[-1], int) else f"[{name}]"]
    later = ""
    for key, value in table.items():
        if key in _AS_TABLES and isinstance(value, dict):
            later += ("" if key == _TIGHT else "\n") + _table((*path, key), value)
        elif key in _AS_TABLES and _is_tables(value):
            for index, one in enumerate(value):
                later += "\n" + _table((*path, key, index), one)
        else:
            lines.append(f"{_key(key)} = {written(value)}")
    return "\n".join(lines) + "\n" + later


# ---------------------------------------------------------------------- keys of tables that stay


class _Values:
    """Splices of the original text: values replaced, statements put in and taken out."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._text = document.original
        self._lines = Lines(self._text)
        self._starts = [0]
        for line in _rows(self._text):
            self._starts.append(self._starts[-1] + len(line))
        self._splices: list[tuple[int, int, str]] = []

    def text(self) -> str:
        self._walk(self._document.tables, self._document.before(()), ())
        text = self._text
        # From the end, so that places before stay; what is put in at one place keeps its order.
        self._splices.sort(key=lambda splice: splice[0])
        for start, end, new in reversed(self._splices):
            text = text[:start] + new + text[end:]
        return text

    def _walk(self, new: Json, old: Json, path: Path) -> None:
        for key, value in new.items():
            place = (*path, key)
            if key not in old:
                if key not in _AS_TABLES:
                    self._insert(path, key, value)
            elif value != old[key]:
                self._change(place, value, old[key])
        for key in old:
            if key not in new:
                self._remove((*path, key))

    def _change(self, place: Path, new: Any, old: Any) -> None:
        if place in self._lines.values:
            self._replace(place, new)
        elif isinstance(new, dict) and isinstance(old, dict):
            self._walk(new, old, place)
        elif _is_tables(old) and isinstance(new, list):
            for table in new:
                origin = self._document.origin(table)
                if origin is not None:
                    self._walk(table, self._document.before(origin), origin)
        else:
            raise _Unlike

    def _replace(self, place: Path, value: object) -> None:
        start, end = self._lines.values[place]
        new = written(value)
        after = self._text[end:].partition("\n")[0]
        gap = len(after) - len(after.lstrip(" "))
        if gap > 1 and after[gap:].startswith("#"):
            # The comment stays in its column, as long as there is room.
            wider = len(new) - (end - start)
            new += " " * max(1, gap - wider)
            end += gap
        self._splices.append((start, end, new))

    def _insert(self, path: Path, key: str, value: object) -> None:
        known = {block.path: block for block in self._lines.blocks}
        inside = path
        while inside not in known:
            inside = inside[:-1]
        block = known[inside]
        if any(isinstance(step, int) for step in path[len(inside) :]):
            raise _Unlike
        dotted = ".".join(_key(str(step)) for step in (*path[len(inside) :], key))
        at = self._starts[_body_end(block, self._lines, self._text.split("\n"))]
        before = "" if self._text[:at].endswith("\n") or not at else "\n"
        self._splices.append((at, at, f"{before}{dotted} = {written(value)}\n"))

    def _remove(self, place: Path) -> None:
        for block in self._lines.blocks:
            for statement in block.statements:
                if statement.path[: len(place)] == place:
                    start, end = self._starts[statement.first - 1], self._starts[statement.last]
                    self._splices.append((start, end, ""))


def _rows(text: str) -> list[str]:
    """The lines with their ends; TOML knows no other end of line than a line feed."""
    return [row + "\n" for row in text.split("\n")[:-1]] + [text.rpartition("\n")[2]]


def _body_end(block: Block, lines: Lines, text: list[str]) -> int:
    """The last line of a block: of its statements, and of comments that go on below them.

    Comments that touch the next header are about what it heads.
    """
    end = block.statements[-1].last if block.statements else block.line
    after = [other.line for other in lines.blocks if other.line > block.line]
    next_header = min(after, default=len(text) + 1)
    last = end
    while last < len(text) and text[last].lstrip().startswith("#"):
        last += 1
    return end if last + 1 == next_header or not end else last


# ---------------------------------------------------------------------- tables that come and go


class _Piece(msgspec.Struct):
    """What stands between two blocks: loose comments and blank lines, then one block."""

    path: Path | None
    """None: the end of the file."""
    loose: str = ""
    """Comments that touch no header, and blank lines: they stay when the block goes."""
    own: str = ""


class _Blocks:
    """The blocks of a text, put into the order of the document's tables."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._pieces: list[_Piece] = []

    def text(self, text: str) -> str:
        self._pieces = list(_pieces(text))
        self._arrange(self._document.tables, self._document.before(()), ())
        whole = "".join(piece.loose + piece.own for piece in self._pieces)
        return whole if text.startswith("\n") else whole.lstrip("\n")

    def _arrange(self, new: Json, old: Json, path: Path) -> None:
        for key in [key for key in old if key not in new]:
            self._drop((*path, key))
        names = [key for key in new if key in (_AS_TABLES if path else TABLES)]
        for key in names if path else sorted(names, key=TABLES.index):
            place, value = (*path, key), new[key]
            if key in old and (value == old[key] or not self._stands(place)):
                continue  # the same, or written as a value and replaced as one
            if isinstance(value, dict):
                if key in old:
                    self._arrange(value, old[key], place)
                else:
                    self._put(self._end_of(path, key), place, value)
            elif isinstance(value, list):
                self._arrange_list(value, old.get(key, []), place)
            else:
                raise _Unlike

    def _arrange_list(self, new: list[Json], old: list[Json], place: Path) -> None:
        origins = [self._document.origin(table) for table in new]
        kept = {o[-1] for o in origins if o is not None and o[:-1] == place}
        for index in range(len(old)):
            if index not in kept:
                self._drop((*place, index))
        where = [int(o[-1]) if o is not None and o[:-1] == place else -1 for o in origins]
        stay = _ascending([index for index in where if index >= 0])
        for table, index in zip(new, where, strict=True):
            if index >= 0:
                self._arrange(table, old[index], (*place, index))
        at = -1
        for table, index in zip(new, where, strict=True):
            mine = (*place, index)
            if index in stay:
                at = self._last(mine) + 1
                continue
            at = at if at >= 0 else self._head_of(place)
            at = self._move(mine, at) if index >= 0 else self._put(at, mine, table)

    # -- places among the pieces ----------------------------------------------------------

    def _within(self, path: Path) -> Iterator[int]:
        for number, piece in enumerate(self._pieces):
            if piece.path is not None and piece.path[: len(path)] == path:
                yield number

    def _stands(self, path: Path) -> bool:
        return any(True for _ in self._within(path))

    def _last(self, path: Path) -> int:
        return max(self._within(path))

    def _head_of(self, place: Path) -> int:
        """Where the first element of a list goes."""
        if self._stands(place):
            return min(self._within(place))
        return self._end_of(place[:-1], str(place[-1]))

    def _end_of(self, path: Path, key: str) -> int:
        """Behind all of a table; at the top, behind the tables that stand before `key`."""
        if path:
            return self._last(path) + 1
        before = TABLES[: TABLES.index(key)]
        found = [self._last((name,)) for name in before if self._stands((name,))]
        return max(found, default=0) + 1

    def _put(self, at: int, path: Path, table: Json) -> int:
        self._pieces.insert(at, _Piece(path, self._lead(at, path), _table(path, table)))
        before = self._pieces[at - 1]
        whole = before.loose + before.own
        if whole and not whole.endswith("\n"):
            before.own += "\n"
        return at + 1

    def _move(self, path: Path, at: int) -> int:
        """A table with all that is below it to another place; loose comments stay."""
        numbers = list(self._within(path))
        moved = [self._pieces[number].own for number in numbers]
        paths = [self._pieces[number].path for number in numbers]
        self._drop(path)
        at -= sum(number < at for number in numbers)
        for number, (own, mine) in enumerate(zip(moved, paths, strict=True)):
            loose = "" if number else self._lead(at, path)
            self._pieces.insert(at + number, _Piece(mine, loose, own))
        return at + len(moved)

    def _lead(self, at: int, path: Path) -> str:
        """What stands before a table put in at `at`: at the head of its list, what stood there."""
        if path[-1] == _TIGHT:
            return ""
        following = self._pieces[at]
        if following.path is None or following.path[: len(path) - 1] != path[:-1]:
            return "\n"
        lead, following.loose = following.loose, "\n"
        return lead

    def _drop(self, path: Path) -> None:
        for number in sorted(self._within(path), reverse=True):
            piece = self._pieces.pop(number)
            if "#" in piece.loose:
                self._pieces[number].loose = (
                    piece.loose.rstrip("\n") + "\n" + (self._pieces[number].loose or "\n")
                )


def _ascending(numbers: list[int]) -> set[int]:
    """As many of them as possible that stand in ascending order: the fewest others move."""
    runs: list[list[int]] = [[]]
    for number in numbers:
        before = [run for run in runs if not run or run[-1] < number]
        runs.append([*sorted(before, key=len)[-1], number])
    return set(sorted(runs, key=len)[-1])


def _about_the_file(rows: list[str]) -> int:
    """How many lines at the top are a comment on the whole: a blank line follows them."""
    count = next((n for n, row in enumerate(rows) if not row.startswith("#")), 0)
    return 0 if rows[count : count + 1] != [""] else count


def _pieces(text: str) -> Iterable[_Piece]:
    lines = Lines(text)
    rows, bare = _rows(text), text.split("\n")
    done = 0
    for block in lines.blocks:
        head = max(block.line - 1, done)
        while head > done and bare[head - 1].startswith("#"):
            head -= 1
        end = _body_end(block, lines, bare)
        if not end and (head := _about_the_file(bare)):
            end = head
        yield _Piece(block.path, "".join(rows[done:head]), "".join(rows[head:end]))
        done = end
    yield _Piece(None, "".join(rows[done:]))
