"""`clpcfset show`: what a configuration says, and what else it could."""

from __future__ import annotations

from clptools.cli.answer import Answer
from clptools.config.document import written
from clptools.config.edit import SORTS, Configuration
from clptools.config.field import Field
from clptools.config.lines import Json
from clptools.config.table import SINGLE, fields_of, inner_of


def overview(config: Configuration) -> Answer:
    """The objects by kind."""
    lines = [f"{'cluster':<13} {config.tables.get('cluster', {}).get('name', 'cluster')}"]
    for kind in SORTS:
        shown = [
            f"{one.name} ({one.table['type']})" if "type" in one.table else one.name
            for one in config.all_of(kind)
        ]
        if shown:
            lines.append(f"{kind:<13} {', '.join(shown)}")
    return Answer("\n".join(lines), {"configuration": config.tables})


def keys(config: Configuration, path: str) -> Answer:
    """Every key of one object: what is set, then what is not, with its default."""
    table = config.tables.get(path, {}) if path in SINGLE else config.object_at(path)[0].table
    return Answer("\n".join(lines_of(config, path)), {"path": path, "keys": table})


def lines_of(config: Configuration, path: str) -> list[str]:
    """The keys of an object or single table, a line each."""
    if path in SINGLE:
        kind, table = path, config.tables.get(path, {})
    else:
        found, _ = config.object_at(path)
        kind, table = found.kind, found.table
    lines = _lines(table, fields_of(kind, table, config.registries), "")
    for name, inner in inner_of(kind, config.registries).items():
        below = table.get(name, {})
        lines += _lines(below if isinstance(below, dict) else {}, inner, f"{name}.")
    return lines


def _lines(table: Json, fields: dict[str, Field], before: str) -> list[str]:
    lines = []
    for name, field in fields.items():
        if name in table:
            said = f"{before}{name} = {written(table[name])}"
        elif field.default is not None:
            said = f"# {before}{name} = {written(field.default)}"
        else:
            said = f"# {before}{name}"
        lines.append(f"{said:<38}  # {field.help}")
    return lines


def key(config: Configuration, path: str) -> Answer:
    """The value of one key, or its default; nothing where it has none."""
    place = config.place(path)
    value = place.value
    if value is None and not place.entry:
        value = place.field.default
    shown = value if isinstance(value, str) else "" if value is None else written(value)
    return Answer(shown, {"path": path, "value": value, "set": place.value is not None})
