"""Files that are made from data of the package: `python -m clptools.cli.generate`.

Man pages and completions come from the commands, the page of scenarios from their language, the
page of events from the catalogue of notices, that of EXPRESSCLUSTER from the table of its
parameters, the types of the socket's JSON from the structs of the
agent.  Run it after a change of these; a test
compares the files with what it would write.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import get_args

from msgspec.inspect import (
    BoolType,
    DictType,
    EnumType,
    FloatType,
    IntType,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from clptools.api.messages import EventRecord, Explanation, HardwareView
from clptools.cli.command import Command
from clptools.cli.daemons import DAEMONS
from clptools.cli.pages import completions
from clptools.cli.pages.docs import events_page, scenarios_page
from clptools.cli.pages.from_original import original_page
from clptools.cli.pages.man_pages import config_page, page
from clptools.cli.pages.reference import reference_page
from clptools.cli.registry import COMMANDS
from clptools.core.model.requests import Request
from clptools.core.model.view import StatusView
from clptools.registries import registries

ROOT = Path(__file__).parent.parent.parent
"""The source tree."""


def commands() -> tuple[Command, ...]:
    """All commands and daemons, by name."""
    every: list[Command] = [import_module(module).COMMAND for module in COMMANDS.values()]
    return tuple(sorted((*every, *DAEMONS), key=lambda command: command.name))


def files() -> dict[str, str]:
    """Path below the source tree -> content."""
    every = commands()
    return {
        **{f"man/{command.name}.8": page(command, every) for command in every},
        "docs/scenarios.md": scenarios_page(),
        "docs/events.md": events_page(),
        "docs/from-expresscluster.md": original_page(),
        "docs/reference.md": reference_page(every),
        "man/clp.toml.5": config_page(registries()),
        "completions/clptools.bash": completions.bash(every),
        "completions/_clptools": completions.zsh(every),
        "completions/clptools.fish": completions.fish(every),
        "clptools/cli/json_types.py": json_types(),
    }


def main() -> int:
    """Writes them; removes man pages of commands that are gone."""
    wanted = files()
    for path, text in wanted.items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text)
    for page_file in (ROOT / "man").glob("*.8"):
        if f"man/{page_file.name}" not in wanted:
            page_file.unlink()
    return 0


# ---------------------------------------------------------------------- types of JSON


JSON_TYPES = '''\
"""The JSON of the agent's socket, as `json` reads and writes it.

Made by python -m clptools.cli.generate from the structs that each type names; do not edit.
For the type checker only: import this module under `TYPE_CHECKING`.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict
'''
PLAIN: dict[type[Type], str] = {
    StrType: "str", IntType: "int", FloatType: "float", BoolType: "bool", NoneType: "None"
}  # fmt: skip


SHOWN = (StatusView, EventRecord, Explanation, HardwareView)
"""What the agent answers."""


_WIDTH = 100
"""Of a line, in characters."""


def json_types() -> str:
    """The text of `json_types.py`: the structs of the socket's JSON, as types for mypy.

    A command that answers in the time of two interpreter starts works on the decoded JSON: the
    import of msgspec alone takes as long as one.
    """
    found: dict[str, StructType] = {}
    for struct in (*SHOWN, *get_args(Request)):
        found |= {_type_name(one.cls): one for one in _structs(type_info(struct))}
    parts = [JSON_TYPES, *(_type(name, found[name]) for name in sorted(found))]
    either = "\n    | ".join(_type_name(struct) for struct in get_args(Request))
    parts.append(f"RequestJson: TypeAlias = (\n    {either}\n)\n")
    return "\n\n".join(parts)


def _type_name(struct: type) -> str:
    return struct.__name__.removesuffix("View").removesuffix("Record") + "Json"


def _structs(of: Type) -> Iterator[StructType]:
    """The structs of which a type is made."""
    match of:
        case StructType(fields=fields):
            yield of
            for field in fields:
                yield from _structs(field.type)
        case DictType(value_type=inner) | VarTupleType(item_type=inner):
            yield from _structs(inner)
        case UnionType(types=types):
            for one in types:
                yield from _structs(one)


def _as_json(of: Type) -> str:
    match of:
        case StructType(cls=struct):
            return _type_name(struct)
        case DictType(value_type=inner):
            return f"dict[str, {_as_json(inner)}]"
        case VarTupleType(item_type=inner):
            return f"list[{_as_json(inner)}]"
        case UnionType(types=types):
            return " | ".join(_as_json(one) for one in types)
        case EnumType(cls=enum):
            return f"Literal[{', '.join(json.dumps(one.value) for one in enum)}]"
        case _:
            return PLAIN[type(of)]


def _type(name: str, of: StructType) -> str:
    """A field that the struct omits at its default is not required."""
    keys = {of.tag_field: f'Literal["{of.tag}"]'} if of.tag_field else {}
    for field in of.fields:
        optional = of.cls.__struct_config__.omit_defaults and not field.required
        said = _as_json(field.type)
        keys[field.encode_name] = f"NotRequired[{said}]" if optional else said
    said = f'"""`{of.cls.__module__.removeprefix("clptools.")}.{of.cls.__name__}`."""'
    if not any(map(iskeyword, keys)):
        lines = [_field(key, value) for key, value in keys.items()]
        return "\n".join([f"class {name}(TypedDict):", f"    {said}", "", *lines]) + "\n"
    lines = [f'        "{key}": {value},' for key, value in keys.items()]
    start = [f"{name} = TypedDict(", f'    "{name}",', "    {"]
    return "\n".join([*start, *lines, "    },", ")", said]) + "\n"


def _field(key: str, value: str) -> str:
    """A line, or several where it would be too long: then it is a choice of many words."""
    line = f"    {key}: {value}"
    if len(line) <= _WIDTH:
        return line
    begins, _, words = value.partition("Literal[")
    words, ends = words.removesuffix("]" * value.count("[")), "]" * begins.count("[")
    each = "".join(f"            {word},\n" for word in words.split(", "))
    return f"    {key}: {begins}\n        Literal[\n{each}        ]\n    {ends}"


if __name__ == "__main__":
    sys.exit(main())
