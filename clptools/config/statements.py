"""The statements below one header of `clp.toml`, changed by tomlkit: the layout of the rest stays.

The library is loaded only where there is a layout to keep: it takes a tenth of a command's time.
"""

from __future__ import annotations

import tomllib
from typing import Any

from clptools.config.files import dumps
from clptools.config.lines import Json, Lines, Path


def with_key(statements: str, path: Path, value: object) -> str:
    """A block's statements with the key at `path` set."""
    plainly = _with_key_plainly(statements, path, value)
    if plainly is not None:
        return plainly
    import tomlkit

    if isinstance(value, list):
        statements = _comma_at_the_end(statements, path, len(value))
    document = tomlkit.parse(statements)
    inside: Any = document
    for number, step in enumerate(path[:-1]):
        if step not in inside:
            inside.append(tomlkit.key(str(name) for name in path[number:]), _item(value))
            return document.as_string()
        inside = inside[step]
    key = path[-1]
    if key not in inside:
        inside[key] = _item(value)
        return document.as_string()
    before = _item_of(inside, key)
    width = len(before.as_string()) if before is not None else 0
    _update(inside, key, value)
    item = _item_of(inside, key)
    if item is not None and "\n" not in item.as_string():
        _keep_column(item.trivia, len(item.as_string()) - width)
    return document.as_string()


def _with_key_plainly(statements: str, path: Path, value: object) -> str | None:
    """The same for a key of the block itself, where all stands as we write it; else None."""
    if len(path) > 1:
        return None
    tables = tomllib.loads(statements)
    if statements != _lines_of(tables):
        return None
    key, old = str(path[0]), tables.get(str(path[0]))
    if isinstance(old, list) and any(isinstance(one, dict | list) for one in old):
        return None
    if isinstance(old, dict) and isinstance(value, dict) and _tidy(old, value):
        value = {name: value[name] for name in (*old, *value)}
    return _lines_of({**tables, key: value})


def _lines_of(tables: Json) -> str:
    return "".join(f"{written_key(key)} = {written(one)}\n" for key, one in tables.items())


def _item_of(inside: Any, key: str | int) -> Any:
    """The item with its comment; None where dotted keys have others between them."""
    items = inside if hasattr(inside, "item") else inside.value
    return items.item(key) if hasattr(items, "item") else None


def _keep_column(trivia: Any, wider: int) -> None:
    """The comment stays in its column, as long as there is room."""
    gap = trivia.comment_ws
    if trivia.comment and len(gap) > 1 and not gap.strip(" "):
        trivia.comment_ws = " " * max(1, len(gap) - wider)


def _comma_at_the_end(statements: str, path: Path, wanted: int) -> str:
    """Adds a comma after the last item of a list with comments that is to get more items.

    tomlkit puts new ones after the comment of the last one, and no comma between (0.15.2).
    """
    values = Lines(statements).values
    start, end = values.get(path, (0, 0))
    ends = [stop for place, (_, stop) in values.items() if place[:-1] == path]
    if not 0 < len(ends) < wanted or "#" not in statements[start:end]:
        return statements
    behind = statements[max(ends) : end - 1]
    if any(row.strip().startswith(",") for row in behind.split("\n")):
        return statements
    return f"{statements[: max(ends)]},{statements[max(ends) :]}"


def without_key(statements: str, path: Path) -> str:
    """A block's statements without the key at `path`, or the dotted keys below it."""
    import tomlkit

    document = tomlkit.parse(statements)
    inside: Any = document
    for step in path[:-1]:
        inside = inside[step]
    del inside[path[-1]]
    return document.as_string()


def _item(value: object) -> Any:
    import tomlkit

    return tomlkit.value(written(value))


def _update(inside: Any, key: str | int, new: Any) -> None:
    """Changes only what differs, so that the rest of a list or table keeps its layout."""
    old: Any = inside[key]
    if isinstance(old, dict) and isinstance(new, dict) and _updated_in_place(old, new):
        _update_table(old, new)
    elif isinstance(old, list) and isinstance(new, list):
        _update_list(old, new)
    elif difference(_plain(old), new) is not None:
        inside[key] = _item(new)


def _update_table(table: Any, new: Json) -> None:
    for gone in [name for name in table if name not in new]:
        del table[gone]
    for name in [name for name in new if name in table]:
        _update(table, name, new[name])
    room = table.as_string().endswith(" }")
    added = {name: _item(value) for name, value in new.items() if name not in table}
    for count, (name, item) in enumerate(added.items(), 1):
        if room and count == len(added):
            item.trivia.trail = " "
        table[name] = item


def _updated_in_place(old: Any, new: Json) -> bool:
    """Whether a table on one line is edited key by key, and not written anew.

    tomlkit leaves odd blanks where keys go or several come, so such a table is written anew unless
    that would lose a comment.
    """
    return bool(old and new) and (_tidy(old, new) or "#" in old.as_string())


def _tidy(old: Json, new: Json) -> bool:
    """Whether no key goes, and at most one comes."""
    return set(old) <= set(new) and len(new) <= len(old) + 1


def _plain(item: Any) -> object:
    return item.unwrap() if hasattr(item, "unwrap") else item


def _update_list(array: Any, new: list[Any]) -> None:
    """Edits, item by item, what lies between the common beginning and the common end."""
    old = _plain(array)
    assert isinstance(old, list)
    start = _same_items(old, new)
    end = _same_items(old[start:][::-1], new[start:][::-1])
    was, now = len(old) - end, len(new) - end
    for index in range(start, min(was, now)):
        _update(array, index, new[index])
    for index in range(was - 1, now - 1, -1):
        del array[index]
    for index in range(was, now):
        array.insert(index, _item(new[index]))


def _same_items(one: list[Any], other: list[Any]) -> int:
    """How many items are the same, from the first on."""
    pairs = enumerate(zip(one, other, strict=False))
    unlike = (n for n, (a, b) in pairs if difference(a, b) is not None)
    return next(unlike, min(len(one), len(other)))


# ---------------------------------------------------------------------- values


def written_key(key: str) -> str:
    return dumps({key: 0}).partition(" = ")[0]


def written(value: object) -> str:
    """A value as it stands after the equals sign, on one line."""
    if isinstance(value, dict):
        inside = ", ".join(f"{written_key(key)} = {written(one)}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(written(one) for one in value)}]"
    return dumps({"k": value}).partition(" = ")[2].rstrip("\n")


def difference(one: object, other: object, path: str = "") -> str | None:
    """Where two values first differ, as a dotted path; None: nowhere.

    Unlike `==` it tells 1 from 1.0 and from true, and -0.0 from 0.0; nan is equal to nan.
    """
    if type(one) is not type(other):
        return path
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            inner = f"{path}.{key}" if path else str(key)
            if key not in one or key not in other:
                return inner
            found = difference(one[key], other[key], inner)
            if found is not None:
                return found
        return None
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return path
        pairs = enumerate(zip(one, other, strict=True))
        found_in = (difference(a, b, f"{path}.{index}") for index, (a, b) in pairs)
        return next((found for found in found_in if found is not None), None)
    return None if repr(one) == repr(other) else path
