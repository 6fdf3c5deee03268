"""Which keys a table of a document may have, and what a word of a command line says for one.

The keys are the `Field`s by which the loader reads; nothing is listed a second time here.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from clptools.config import fields
from clptools.config import fields_of_monitors as of_monitors
from clptools.config import fields_of_traps as of_traps
from clptools.config.document import Json
from clptools.config.field import Fault, Field
from clptools.config.registries import Registries
from clptools.config.table import near, shown
from clptools.faults import ClpError, ExitCode

SINGLE = ("cluster", "forced_stop", "alert")
"""Tables that there are once, and so have no name."""

_NUMBER = re.compile(r"[+-]?\d+", re.ASCII)
_FRACTION = re.compile(r"[+-]?\d*\.\d+|[+-]?\d+\.", re.ASCII)


def fields_of(kind: str, table: Json, registries: Registries) -> dict[str, Field]:
    """The keys that a table may have, as its type and category are now."""
    own: tuple[Field, ...] = ()
    name = str(table.get("type", ""))
    match kind:
        case "cluster":
            common = fields.cluster(registries)
        case "forced_stop":
            common = fields.FORCED_STOP
        case "alert":
            common = of_monitors.ALERT
        case "server":
            common = fields.SERVER
        case "interconnect":
            common, own = fields.INTERCONNECT, registries.links.get(name, ())
        case "np":
            common, own = fields.NP, registries.arbiters.get(name, ())
        case "server_group":
            common = fields.SERVER_GROUP
        case "group":
            common = fields.GROUP
        case "resource":
            common, own = fields.resource(registries), registries.resources.get(name, ())
        case "monitor":
            common, own = of_monitors.MONITOR, registries.monitors.get(name, ())
            if name == "mrw":
                source = registries.sources.get(str(table.get("category")), ())
                own = (*of_monitors.MRW, *own, *source)
        case "snmpv3_user":
            common = of_monitors.SNMP_USER
        case _:
            common = of_traps.TRAP_PROFILE
    return {field.name: field for field in (*common, *own)}


def inner_of(kind: str, registries: Registries) -> dict[str, dict[str, Field]]:
    """The tables within a table of that kind that there are once."""
    if kind == "server":
        return {"bmc": {field.name: field for field in fields.BMC}}
    if kind == "monitor":
        return {"recovery": {field.name: field for field in of_monitors.recovery(registries)}}
    return {}


def checked(label: str, field: Field, value: Any) -> Any:
    """`value` for the file, if the key takes it.  Raises ClpError (INVALID_CONFIG)."""
    read = field.parse(value)
    if not isinstance(read, Fault):
        return value
    hint = read.hint
    if not hint and field.parse.choices and isinstance(value, str):
        close = near(value, field.parse.choices)
        hint = close if close.startswith("Did") else ""
    at = "".join(f".{step}" for step in read.at if isinstance(step, str))
    message = f"{label}{field.name}{at} = {shown(value)}: {read.text}."
    raise ClpError(ExitCode.INVALID_CONFIG, message, hint)


def from_word(field: Field, word: str) -> Any:
    """What a word of a command line says, as a value of the file; `checked` judges it.

    Lists stand with commas, tables as `server1=…,server2=…`; both may also stand as in the file.
    """
    shape = field.parse.shape
    if shape in ("list", "numbers"):
        if word.startswith("["):
            return _as_in_the_file(word)
        items = [item.strip() for item in word.split(",")] if word.strip() else []
        return [_number(item) for item in items] if shape == "numbers" else items
    if "table" in shape and word.startswith("{"):
        return _as_in_the_file(word)
    if shape == "table":
        pairs = [pair.partition("=") for pair in word.split(",") if pair.strip()]
        if all(equals for _, equals, _ in pairs):
            return {key.strip(): value.strip() for key, _, value in pairs}
        return word
    if shape == "number":
        return _number(word)
    if shape == "boolean":
        return {"true": True, "false": False}.get(word, word)
    return word


def _number(word: str) -> int | float | str:
    if _NUMBER.fullmatch(word):
        return int(word) if len(word) < 20 else word
    return float(word) if _FRACTION.fullmatch(word) else word


def _as_in_the_file(word: str) -> Any:
    try:
        return tomllib.loads(f"value = {word}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return word
