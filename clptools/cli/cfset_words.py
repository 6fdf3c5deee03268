"""What may follow on a line of `clpcfset`: for the shells, which ask with every word of it.

    add resource G ocf fs1 agent=  ->  agent=ocf:heartbeat:Filesystem ...
    add resource G ocf fs1 agent=ocf:heartbeat:Filesystem  ->  parameters.device= timeout= ...
    set resource.fs1.parameters.  ->  resource.fs1.parameters.device= ...

A word that goes on (a path, a key) ends with `.` or `=`; the shells put no space behind these.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from clptools import paths
from clptools.cli.cfset_session import Session, read
from clptools.cli.clpcfset import COMMAND, MAIN
from clptools.cli.command import UsageError, parse
from clptools.common import ocf
from clptools.common.agent_metadata import Kind, Metadata
from clptools.config.edit import SORTS, Configuration, kind_of
from clptools.config.field import Field
from clptools.config.lines import Json
from clptools.config.table import SINGLE, fields_of, inner_of
from clptools.config.variants import Registries
from clptools.faults import ClpError
from clptools.registries import registries

_OBJECTS: dict[str, tuple[str, ...]] = {
    "resource": ("group", "type", ""),
    "monitor": ("type", ""),
    "interconnect": ("type", ""),
    "np": ("type", ""),
    "snmpv3_user": ("monitor", ""),
    "trap": ("trap_profile", ""),
}
"""Kind -> what the words behind `add KIND` name; of the others one word: the name."""
_AGENT = "agent"
_PARAMETERS = ("parameters", "parameters_from")


def offered(line: list[str]) -> list[str]:
    """The words that may stand in the place of the last one of `line`, as far as it goes."""
    *before, current = line or [""]
    try:
        args = parse(COMMAND, before)
    except UsageError:
        return []
    path = args.text("file") or os.path.join(args.text("dir"), MAIN)
    try:
        return [word for word in _offered(list(args.words), current, path) if word]
    except (ClpError, OSError, UnicodeError):
        return []


def _offered(words: list[str], current: str, path: str) -> Iterable[str]:
    match words:
        case []:
            return COMMAND.arguments[0].complete.split()
        case ["add" | "del" | "rename" | "move"]:
            return tuple(SORTS)
        case ["add", word, *rest]:
            return _to_add(kind_of(word), rest, current, path)
        case ["set", *_]:
            return _paths(_configuration(path), current, "=")
        case ["unset", *_]:
            return _paths(_configuration(path), current, "")
        case ["show", *_]:
            shown = path if os.path.lexists(path) else paths.config_file()
            return _paths(_configuration(shown), current, "")
        case ["del" | "rename" | "move", word]:
            return _configuration(path).names(kind_of(word))
    return ()


def _configuration(path: str) -> Configuration:
    """Raises ClpError: there is none, or it is no TOML."""
    return Session(path, read(path)).config


# ---------------------------------------------------------------------- add


def _to_add(kind: str, words: list[str], current: str, path: str) -> Iterable[str]:
    """`words`: those behind the kind, without the current one."""
    names = [word for word in words if "=" not in word]
    slots = _OBJECTS.get(kind, ("",))
    if len(names) == len(words) < len(slots) and "=" not in current:
        slot = slots[len(words)]
        if slot == "type":
            return _types(kind, registries())
        return _configuration(path).names(slot) if slot else ()
    of_type = dict(zip(slots, names, strict=False)).get("type", "")
    given = dict(word.split("=", 1) for word in words if "=" in word)
    table: Json = {"type": of_type, **given}
    keys = fields_of(kind, table, registries())
    inner = {f"{name}.{key}": one for name, of in inner_of(kind).items() for key, one in of.items()}
    agent = _metadata(kind, given.get(_AGENT, ""))
    return _pairs({**keys, **inner}, agent, given, kind, current)


def _types(kind: str, known: Registries) -> Iterable[str]:
    return {
        "resource": known.resources,
        "monitor": known.monitors,
        "interconnect": known.links,
        "np": known.arbiters,
    }[kind]


def _pairs(
    keys: dict[str, Field], agent: Metadata | None, given: Json, kind: str, current: str
) -> Iterator[str]:
    """`KEY=` of every key that is not given, or the values of the one that the word gives."""
    key, equals, value = current.partition("=")
    if equals:
        yield from (f"{key}={one}" for one in _values(keys, agent, kind, key, value))
        return
    for name in keys:
        if name not in given and name != SORTS[kind].name:
            yield f"{name}="
    if "parameters" in keys:
        of_agent = (f"parameters.{name}" for name in _names(agent))
        yield from (f"{one}=" for one in of_agent if one not in given)


def _values(
    keys: dict[str, Field], agent: Metadata | None, kind: str, key: str, value: str
) -> Iterable[str]:
    """What may stand behind `KEY=`."""
    if key == _AGENT:
        return _agents(kind)
    table, _, name = key.partition(".")
    if table in _PARAMETERS and name:
        return _choices(agent, name) if table == "parameters" else ()
    if table in _PARAMETERS:
        return _in_table(agent, value)
    return keys[key].parse.choices if key in keys else ()


def _in_table(agent: Metadata | None, value: str) -> Iterable[str]:
    """`device=/dev/sda,directory=`: the last part of a table on the command line goes on."""
    before, comma, last = value.rpartition(",")
    name, equals, _ = last.partition("=")
    told = f"{before}{comma}"
    if equals:
        return (f"{told}{name}={one}" for one in _choices(agent, name))
    given = {part.partition("=")[0] for part in before.split(",")}
    return (f"{told}{one}=" for one in _names(agent) if one not in given)


# ---------------------------------------------------------------------- agents


def _agents(kind: str) -> Iterable[str]:
    if kind != "fence":
        return ocf.installed()
    return sorted(
        name for name in os.listdir(paths.fence_agents_dir()) if name.startswith("fence_")
    )


def _metadata(kind: str, agent: str) -> Metadata | None:
    """What the agent says of itself; None: nothing that is known here."""
    from clptools.common.agent_files import metadata_of

    if not agent or kind not in ("resource", "fence"):
        return None
    try:
        if kind == "resource":
            return ocf.metadata(ocf.named(agent))
        path = os.path.join(paths.fence_agents_dir(), os.path.basename(agent))
        return metadata_of(path, ("-o", "metadata"))
    except (ClpError, ValueError):
        return None


def _names(agent: Metadata | None) -> list[str]:
    """Its parameters; those that it cannot do without first."""
    found = [one for one in agent.parameters if not one.deprecated] if agent is not None else []
    return [one.name for one in sorted(found, key=lambda one: not one.must_be_given)]


def _choices(agent: Metadata | None, name: str) -> Iterable[str]:
    known = agent.parameter(name) if agent is not None else None
    if known is None:
        return ()
    return ("true", "false") if known.kind is Kind.BOOLEAN else known.choices


# ---------------------------------------------------------------------- set, unset, show


def _paths(config: Configuration, current: str, end: str) -> Iterator[str]:
    """Paths that go on where the word ends; `end`: what follows a whole one."""
    path, equals, value = current.partition("=")
    if equals and not end:
        return
    head, dot, _ = path.partition(".")
    if not dot:
        yield from (f"{one}." for one in (*SINGLE, *SORTS))
        return
    if head in SINGLE:
        keys = fields_of(head, config.tables.get(head, {}), config.registries)
        yield from _whole(keys, None, head, f"{head}.", path if equals else "", value, end)
        return
    for found in config.all_of(kind_of(head)):
        start = f"{head}.{found.name}."
        if not path.startswith(start):
            yield start
            continue
        keys = dict(fields_of(found.kind, found.table, config.registries))
        for name, of in inner_of(found.kind).items():
            keys |= {f"{name}.{key}": one for key, one in of.items()}
        agent = _metadata(found.kind, str(found.table.get(_AGENT, "")))
        yield from _whole(keys, agent, found.kind, start, path if equals else "", value, end)


def _whole(
    keys: dict[str, Field],
    agent: Metadata | None,
    kind: str,
    start: str,
    path: str,
    value: str,
    end: str,
) -> Iterator[str]:
    """Every key behind `start`, or the values of the one that `path` names."""
    if path:
        key = path.removeprefix(start)
        yield from (f"{path}={one}" for one in _values(keys, agent, kind, key, value))
        return
    yield from (f"{start}{name}{end}" for name in keys)
    if "parameters" in keys:
        yield from (f"{start}parameters.{name}{end}" for name in _names(agent))
