"""What refers to an object by its name: followed when it is renamed, forgotten when it goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from clptools.config.edit import SORTS, Configuration, Found
from clptools.config.field import Field
from clptools.config.lines import Json
from clptools.config.monitors import MONITOR_SCRIPTS
from clptools.config.table import fields_of, inner_of
from clptools.faults import ClpError, ExitCode

_LISTS = {
    "server": ("servers",),
    "server_group": ("server_groups",),
    "group": ("start_after", "start_after_same_server", "stop_after", "exclusive_with"),
    "resource": ("depends",),
    "trap": ("closes",),
}
_BY_OWNER = ("snmpv3_user", "trap")
"""Names that count within the object in which they stand."""
_STANDS_IN = ("address_on", "interface_on", "path_on", "targets_on")
"""Values of single servers in place of a common one: no server has to be in them.  A keyword is of
one server alone."""
_TEXTS = {"group": ("target",), "resource": ("target",)}


class _Key(NamedTuple):
    table: Json
    field: Field
    label: str
    """`monitor mrw1: recovery.target`."""
    owner: str
    """Name of the object in which the object stands, if it stands in one."""

    @property
    def value(self) -> object:
        return self.table[self.field.name]


def rename(config: Configuration, found: Found, new: str) -> list[str]:
    """Gives an object another name, wherever it is named; returns where that was.

    Raises ClpError: INVALID_CONFIG for what is no name, REFUSED where it is taken.
    """
    kind, old = found.kind, found.name
    config.check_name(kind, new)
    sorts = ("group", "resource") if kind in ("group", "resource") else (kind,)
    for other in (one for sort in sorts for one in config.all_of(sort)):
        if other.name == new and (kind not in _BY_OWNER or other.owner == found.owner):
            raise ClpError(ExitCode.REFUSED, f"{other.label}: is there already.")
    followed = list(_references(config, found))
    with config.names_kept(kind, but=found.table):
        found.table[SORTS[kind].name] = new
    for key in followed:
        key.table[key.field.name] = _with(key.value, old, new)
    return [key.label for key in followed]


def forget(config: Configuration, found: Found) -> list[str]:
    """Takes a name out of lists and tables; returns where it is still named.

    A list may be left empty: without it, "all of them" would be meant.
    """
    still: list[str] = []
    for key in list(_references(config, found)):
        value = key.value
        if isinstance(value, dict):
            key.table[key.field.name] = {k: v for k, v in value.items() if k != found.name}
        elif isinstance(value, list):
            key.table[key.field.name] = [one for one in value if one != found.name]
        else:
            still.append(key.label)
    return still


def lacking(config: Configuration, server: str) -> list[str]:
    """The paths of the keys that have a value for each server, and none for this one."""
    found = []
    for one in config.all_of("server"):
        if "bmc" in one.table and "bmc" not in config.find("server", server).table:
            found = [f"server.{server}.bmc.address", f"server.{server}.bmc.user"]
    for kind in ("interconnect", "np", "monitor"):
        for one in config.all_of(kind):
            among = one.table.get("servers")
            if isinstance(among, list) and server not in among:
                continue
            for key in _set(one, one.table, fields_of(kind, one.table, config.registries), ""):
                value = key.value
                if key.field.name in _STANDS_IN or not key.field.parse.by_server:
                    continue
                if isinstance(value, dict) and server not in value:
                    found.append(f"{kind}.{one.name}.{key.field.name}.{server}")
    return found


def script_folder(found: Found, name: str = "") -> str:
    """Where an object's scripts lie below `scripts/`; empty: it has none."""
    name = name or found.name
    if found.kind == "resource":
        return f"{found.owner}/{name}"
    return {"group": name, "monitor": f"{MONITOR_SCRIPTS}/{name}"}.get(found.kind, "")


def _references(config: Configuration, found: Found) -> Iterator[_Key]:
    for key in _keys(config):
        value = key.value
        name = key.field.name
        if found.kind in _BY_OWNER and key.owner != found.owner:
            continue
        if isinstance(value, dict):
            if found.kind == "server" and key.field.parse.by_server and found.name in value:
                yield key
        elif isinstance(value, list):
            if name in _LISTS.get(found.kind, ()) and found.name in value:
                yield key
        elif name in _TEXTS.get(found.kind, ()) and value == found.name:
            yield key


def _keys(config: Configuration) -> Iterator[_Key]:
    """Every key that is set in an object."""
    for kind in SORTS:
        for one in config.all_of(kind):
            fields = fields_of(kind, one.table, config.registries)
            yield from _set(one, one.table, fields, "")
            for name, inner in inner_of(kind).items():
                table = one.table.get(name)
                if isinstance(table, dict):
                    yield from _set(one, table, inner, f"{name}.")


def _set(one: Found, table: Json, fields: dict[str, Field], prefix: str) -> Iterator[_Key]:
    for name, field in fields.items():
        if name in table:
            yield _Key(table, field, f"{one.label}: {prefix}{name}", one.owner)


def _with(value: object, old: str, new: str) -> object:
    if isinstance(value, dict):
        return {new if key == old else key: one for key, one in value.items()}
    if isinstance(value, list):
        return [new if one == old else one for one in value]
    return new
