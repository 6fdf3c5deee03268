"""`clp.toml` as a document that is edited in place: comments and layout of the rest stay.

An editor changes plain dictionaries and lists, as `tomllib` reads them; `text()` then carries the
differences into the text. tomlkit changes keys and values (`statements`).  It gets one block at a
time, the statements below one header, because in a whole file it moves the tables of one list
together (0.15.2).  This module knows the blocks and the comments that touch their headers: tables
come, go and move with their comments.  The result is parsed again; unless it is exactly what was
meant, `text()` raises and the file stays as it is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from clptools.config.files import dumps
from clptools.config.lines import BOM, TABLES, Block, Json, Lines, Path
from clptools.config.statements import difference, with_key, without_key, written, written_key
from clptools.faults import ClpError, ExitCode

_AS_TABLES = frozenset((*TABLES, "bmc", "recovery", "resource", "snmpv3_user", "trap"))
"""What is written below a header of its own; other tables stand on one line, as values do."""
_TIGHT = "bmc"
"""Stands without a blank line below its server."""


class Document:
    """One configuration text and its tables."""

    def __init__(self, text: str = "", file: str = "clp.toml") -> None:
        """`file` is only for messages.  Raises tomllib.TOMLDecodeError."""
        self.original = text.removeprefix(BOM)
        self.tables: Json = tomllib.loads(self.original)
        """Edited in place by the caller; a table that stays must remain the same object."""
        self._file = file
        self._old: Json = _copied(self.tables)
        self._elements = list(_elements(self.tables, ()))
        """Tables of lists and where they stood; held, so that no new table gets such an id."""
        self._origin = {id(table): path for table, path in self._elements}

    def text(self) -> str:
        """The text with all changes.

        Raises ClpError (FAILED) where a change cannot be made in the text as it is written.
        """
        where = difference(self.tables, self._old)
        if where is None:
            return self.original
        fault: Exception | None = None
        try:
            edited = self._edited()
            where = difference(tomllib.loads(edited), self.tables)
            if where is None:
                return edited
        except Exception as broken:  # whatever makes the library fail, the file stays as it is
            fault = broken
        raise ClpError(
            ExitCode.FAILED,
            f"{self._file}: {where} cannot be changed in the text as it is written; "
            "nothing was changed: edit it by hand.",
        ) from fault

    def _edited(self) -> str:
        """The new text.  If all lines end in CR LF, new ones do too; else each keeps its end."""
        text, end = self.original, "\n"
        if "\r\n" in text and text.count("\n") == text.count("\r\n"):
            text, end = text.replace("\r\n", "\n"), "\r\n"
        if text and not text.endswith("\n"):
            text += "\n"
        return _Blocks(text, self._origin).text(self.tables, self._old).replace("\n", end)


def rendered(tables: Json, offered: Sequence[tuple[str, str]] = ()) -> str:
    """Tables as the text of a new file.

    `offered`: comments, each with the group whose resources it follows; with none, at the end.
    """
    parts: list[str] = []
    for key in sorted(tables, key=_place_at_the_top):
        value = tables[key]
        if isinstance(value, dict):
            parts.append(table_text((key,), value))
        elif _is_tables(value):
            for table in value:
                parts.append(table_text((key, 0), table))
                parts += [text for group, text in offered if (key, group) == _name_of(key, table)]
    text = "\n".join([*parts, *(text for group, text in offered if not group)])
    if difference(tomllib.loads(text), tables) is None:
        return text
    return "\n".join([dumps(tables), *(text for _, text in offered)])


def _name_of(key: str, table: Json) -> tuple[str, object]:
    return ("group", table.get("name")) if key == "group" else ("", None)


def _is_tables(value: object) -> bool:
    """Whether it is a list of tables with at least one."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _copied(value: Any) -> Any:
    """The same value of tables and lists of its own; what else TOML has never changes."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return value


def _both(kind: type, one: object, other: object) -> bool:
    return isinstance(one, kind) and isinstance(other, kind)


def _elements(tables: Json, path: Path) -> Iterator[tuple[Json, Path]]:
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from _elements(value, (*path, key))
        elif _is_tables(value):
            for index, table in enumerate(value):
                yield table, (*path, key, index)
                yield from _elements(table, (*path, key, index))


def _place_at_the_top(key: str) -> int:
    return TABLES.index(key) if key in TABLES else -1


# ---------------------------------------------------------------------- new text


def table_text(path: Path, table: Json) -> str:
    """A new table with its header and all that is below it."""
    name = ".".join(written_key(step) for step in path if isinstance(step, str))
    lines = [f"[[{name}]]" if isinstance(path[-1], int) else f"[{name}]"]
    later = ""
    for key, value in table.items():
        if key in _AS_TABLES and isinstance(value, dict):
            later += ("" if key == _TIGHT else "\n") + table_text((*path, key), value)
        elif key in _AS_TABLES and _is_tables(value):
            for index, one in enumerate(value):
                later += "\n" + table_text((*path, key, index), one)
        else:
            lines.append(f"{written_key(key)} = {written(value)}")
    return "\n".join(lines) + "\n" + later


# ---------------------------------------------------------------------- tables that come and go


class _Piece(msgspec.Struct):
    """What stands between two blocks: loose comments and blank lines, then one block."""

    path: Path | None
    """None: the end of the file."""
    loose: str = ""
    """Comments that touch no header, and blank lines: they stay when the block goes."""
    head: str = ""
    """The header, and the comments that touch it."""
    body: str = ""
    """Its statements, and the comments that go on below them."""

    @property
    def own(self) -> str:
        """What goes and moves with it."""
        return self.head + self.body


class _Blocks:
    """The blocks of a text, edited until they match the tables."""

    def __init__(self, text: str, origin: dict[int, Path]) -> None:
        lines = Lines(text)
        self._whole = text
        self._origin = origin
        self._pieces = list(_pieces(text, lines.blocks))
        self._statements = {
            statement.path: piece
            for block, piece in zip(lines.blocks, self._pieces, strict=False)
            for statement in block.statements
        }
        """Where each `key = value` stands."""

    def text(self, new: Json, old: Json) -> str:
        """The text when the tables that were `old` are `new`."""
        self._change(new, old, ())
        whole = "".join(piece.loose + piece.own for piece in self._pieces)
        return whole if self._whole.startswith("\n") else whole.lstrip("\n")

    def _change(self, new: Json, old: Json, path: Path) -> None:
        for key in [key for key in old if key not in new]:
            self._remove((*path, key))
        for key in new if path else sorted(new, key=_place_at_the_top):
            place = (*path, key)
            value: Any = new[key]
            before: Any = old.get(key)
            if key in old and difference(value, before) is None:
                continue
            if place in self._statements:
                self._set(place, value)
            elif key not in old:
                self._add(place, value)
            elif _both(dict, value, before) and (value or self._stands(place)):
                self._change(value, before, place)
            elif _both(list, value, before) and _is_tables(before):
                self._arrange(value, before, place)
            else:
                self._remove(place)
                self._add(place, value)

    def _add(self, place: Path, value: object) -> None:
        key = place[-1]
        if key in _AS_TABLES and isinstance(value, dict):
            self._put(self._end_of(place[:-1], str(key)), place, value)
        elif key in _AS_TABLES and isinstance(value, list) and _is_tables(value):
            self._arrange(value, [], place)
        else:
            self._set(place, value)

    def _set(self, place: Path, value: object) -> None:
        """A key of the block that has it, or else of the nearest table around it."""
        piece = self._statements.get(place) or self._around(place[:-1])
        assert piece.path is not None
        piece.body = with_key(piece.body, place[len(piece.path) :], value)

    def _around(self, path: Path) -> _Piece:
        while True:
            for piece in self._pieces:
                if piece.path == path:
                    return piece
            path = path[:-1]

    def _remove(self, place: Path) -> None:
        holders = [p for s, p in self._statements.items() if s[: len(place)] == place]
        for piece in {id(piece): piece for piece in holders}.values():
            if piece.path is not None and len(piece.path) < len(place):
                piece.body = without_key(piece.body, place[len(piece.path) :])
        self._drop(place)

    def _arrange(self, new: list[Any], old: list[Json], place: Path) -> None:
        """Edits a list of tables: some are removed, some stay or move, some are new."""
        origins = [self._origin.get(id(table)) for table in new]
        where = [int(o[-1]) if o is not None and o[:-1] == place else -1 for o in origins]
        for index in range(len(old)):
            if index not in where:
                self._drop((*place, index))
        for table, index in zip(new, where, strict=True):
            if index >= 0:
                self._change(table, old[index], (*place, index))
        stay = _ascending([index for index in where if index >= 0])
        at = -1
        for table, index in zip(new, where, strict=True):
            mine = (*place, index)
            if index in stay:
                at = self._last(mine) + 1
                continue
            at = at if at >= 0 else self._head_of(place)
            at = self._move(mine, at) if index >= 0 else self._put(at, mine, table)

    # -- places among the pieces ----------------------------------------------------------

    def _within(self, path: Path) -> list[int]:
        return [
            number
            for number, piece in enumerate(self._pieces)
            if piece.path is not None and piece.path[: len(path)] == path
        ]

    def _stands(self, path: Path) -> bool:
        return bool(self._within(path))

    def _last(self, path: Path) -> int:
        return self._within(path)[-1]

    def _head_of(self, place: Path) -> int:
        """Where the first element of a list goes."""
        if self._stands(place):
            return self._within(place)[0]
        return self._end_of(place[:-1], str(place[-1]))

    def _end_of(self, path: Path, key: str) -> int:
        """The place after all of a table; at the top, after the tables that come before `key`."""
        if path:
            return self._last(path) + 1
        before = TABLES[: TABLES.index(key)]
        return max((self._last((name,)) for name in before if self._stands((name,))), default=0) + 1

    def _put(self, at: int, path: Path, table: Json) -> int:
        header, end, body = table_text(path, table).partition("\n")
        self._pieces.insert(at, _Piece(path, self._lead(at, path), header + end, body))
        return at + 1

    def _move(self, path: Path, at: int) -> int:
        """A table with all that is below it to another place; loose comments stay."""
        numbers = self._within(path)
        moved = [self._pieces[number] for number in numbers]
        self._drop(path)
        at -= sum(number < at for number in numbers)
        for number, piece in enumerate(moved):
            piece.loose = "" if number else self._lead(at, path)
            self._pieces.insert(at + number, piece)
        return at + len(moved)

    def _lead(self, at: int, path: Path) -> str:
        """The loose text before a table inserted at `at`; at a list's head, what was there."""
        if path[-1] == _TIGHT:
            return ""
        following = self._pieces[at]
        if following.path is None or following.path[: len(path) - 1] != path[:-1]:
            return "\n"
        lead, following.loose = following.loose, "\n"
        return lead

    def _drop(self, path: Path) -> None:
        for number in reversed(self._within(path)):
            loose = self._pieces.pop(number).loose
            if "#" in loose:
                following = self._pieces[number]
                following.loose = loose.rstrip("\n") + "\n" + (following.loose or "\n")


def _ascending(numbers: list[int]) -> set[int]:
    """A longest ascending subsequence, so that as few of the others as possible move."""
    runs: list[list[int]] = [[]]
    for number in numbers:
        before = [run for run in runs if not run or run[-1] < number]
        runs.append([*sorted(before, key=len)[-1], number])
    return set(sorted(runs, key=len)[-1])


def _pieces(text: str, blocks: list[Block]) -> Iterator[_Piece]:
    """The blocks with what belongs to them; TOML knows no other end of line than a line feed."""
    rows = [f"{row}\n" for row in text.split("\n")]
    rows[-1] = rows[-1][:-1]
    headers = [*(block.line for block in blocks[1:]), len(rows) + 1]
    done = 0
    for block, next_header in zip(blocks, headers, strict=True):
        head = max(block.line - 1, done)
        while head > done and rows[head - 1].startswith("#"):
            head -= 1
        end = _body_end(block, next_header, rows) or _about_the_file(rows)
        loose, header, body = rows[done:head], rows[head : block.line], rows[block.line : end]
        yield _Piece(block.path, *map("".join, (loose, header, body)))
        done = end
    yield _Piece(None, "".join(rows[done:]))


def _body_end(block: Block, next_header: int, rows: list[str]) -> int:
    """The last line of a block: of its statements, and of comments that go on below them.

    Comments that touch the next header belong to that one.
    """
    end = block.statements[-1].last if block.statements else block.line
    last = end
    while last < len(rows) and rows[last].lstrip().startswith("#"):
        last += 1
    return end if last + 1 == next_header or not end else last


def _about_the_file(rows: list[str]) -> int:
    """How many lines at the top are a comment on the whole: a blank line follows them."""
    count = next((n for n, row in enumerate(rows) if not row.startswith("#")), 0)
    return count if rows[count].strip() == "" and rows[count].endswith("\n") else 0
