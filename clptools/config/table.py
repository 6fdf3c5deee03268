"""One table of `clp.toml` by its fields: read, with what is wrong with it and where, or edited.

A fault never ends the reading: it is reported, and a stand-in value takes its place, so that one
run reports every fault.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from clptools.config import fields
from clptools.config import fields_of_fences as of_fences
from clptools.config import fields_of_monitors as of_monitors
from clptools.config import fields_of_traps as of_traps
from clptools.config.field import Fault, Field, near
from clptools.config.lines import Json, Lines, Path
from clptools.config.variants import Registries
from clptools.core.model.settings import Option
from clptools.faults import ClpError, ExitCode
from clptools.reports import Report, legible

_SHOWN = 60
"""Longer values are cut in messages."""


def shown(value: object) -> str:
    """A value as it is written in TOML, cut where it is long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        text = "[" + ", ".join(shown(one) for one in value) + "]"
        return text if len(text) <= _SHOWN else "[…]"
    return "{…}" if isinstance(value, dict) else str(value)


class Source:
    """One configuration text, with the reports on it so far."""

    def __init__(self, file: str, lines: Lines) -> None:
        self.file = file
        self.lines = lines
        self.reports: list[Report] = []

    def say(self, severity: str, path: Path, key: str, message: str, hint: str = "") -> None:
        """Note an `error`, `warning` or `note` on what stands at `path`."""
        report = Report(
            severity=severity,
            message=legible(message),
            hint=legible(hint),
            file=self.file,
            line=self.lines.line(path),
            key=key,
        )
        self.reports.append(report)

    @property
    def failed(self) -> bool:
        """Whether any error was noted."""
        return any(report.severity == "error" for report in self.reports)


class Table:
    """One table: its content, its place, and what it is called in messages."""

    def __init__(
        self, source: Source, path: Path, raw: dict[str, object], label: str, key: str
    ) -> None:
        self.source = source
        self.path = path
        self.raw = raw
        self.label = label
        """`monitor mrw1`."""
        self.key = key
        """`monitor.mrw1`."""
        self.prefix = ""
        """Of a nested table within its object: `recovery.`."""

    def inner(self, name: str, raw: dict[str, object], *more: str | int) -> Table:
        """A nested table, spoken of as part of this one."""
        inner = Table(self.source, (*self.path, name, *more), raw, self.label, f"{self.key}.{name}")
        inner.prefix = f"{self.prefix}{name}."
        return inner

    # -- reports ------------------------------------------------------------------------

    def error(
        self,
        name: str,
        text: str,
        hint: str = "",
        at: tuple[str | int, ...] = (),
        *,
        secret: bool = False,
    ) -> None:
        """Say what is wrong with the value of key `name` (or, by `at`, inside it).

        `secret`: without the value.
        """
        value: object = self.raw.get(name)
        where = name
        for step in at:
            if isinstance(step, str):
                where += f".{step}"
            try:
                value = value[step]  # type: ignore[index]  # a path that its reader has just walked
            except (LookupError, TypeError):
                break
        given = f" = {shown(value)}" if name in self.raw and not secret else ""
        message = f"{self.label}: {self.prefix}{where}{given}: {text}."
        key = f"{self.key}.{where}".lstrip(".")
        self.source.say("error", (*self.path, name, *at), key, message, hint)

    def say(self, severity: str, name: str, text: str, hint: str = "") -> None:
        """Note a whole sentence on this object, at its key `name` (empty: at the table)."""
        path = (*self.path, name) if name else self.path
        key = f"{self.key}.{name}" if name else self.key
        self.source.say(severity, path, key, f"{self.label}: {text}.", hint)

    # -- reading ------------------------------------------------------------------------

    def read(self, *fields: Sequence[Field], inner: Sequence[str] = ()) -> dict[str, Option]:
        """The values by `Field.option`, defaults filled in; `inner` are tables read elsewhere.

        A key that is not set and has no default is None.
        """
        known = {field.name: field for some in fields for field in some}
        values: dict[str, Option] = {}
        for field in known.values():
            values[field.option] = self._value(field)
        for name in self.raw:
            if name not in known and name not in inner:
                self.source.say(
                    "error",
                    (*self.path, name),
                    f"{self.key}.{name}",
                    f'{self.label}: unknown key "{self.prefix}{name}".',
                    near(name, [*known, *inner]),
                )
        return values

    def _value(self, field: Field) -> Option:
        if field.name not in self.raw:
            if field.required:
                hint = field.help if field.help.endswith(".") else field.help + "."
                self.error(field.name, "is missing", hint)
                return field.parse.empty
            return field.default_value()
        value = field.parse(self.raw[field.name])
        if not isinstance(value, Fault):
            return value
        hint = value.hint
        if not hint and field.parse.choices and isinstance(self.raw[field.name], str):
            close = near(self.raw[field.name], field.parse.choices)
            hint = close if close.startswith("Did") else ""
        self.error(field.name, value.text, hint, value.at, secret=value.secret)
        return field.parse.empty if field.required else field.default_value()

    def one(self, name: str) -> Table | None:
        """The nested table `[…name]`, or None if there is none (or it is no table)."""
        raw = self.raw.get(name)
        if raw is None:
            return None
        if not isinstance(raw, dict):
            self.error(name, f"must be a table: write [{self.place(name)}]")
            return None
        return self.inner(name, raw)

    def many(self, name: str) -> Iterator[Table]:
        """The elements of `[[…name]]`."""
        raw = self.raw.get(name)
        if raw is None:
            return
        if not isinstance(raw, list):
            self.error(name, f"must be a list of tables: write [[{self.place(name)}]]")
            return
        for index, element in enumerate(raw):
            if isinstance(element, dict):
                yield self.inner(name, element, index)
            else:
                self.error(name, f"must be a list of tables: write [[{self.place(name)}]]")

    def place(self, name: str) -> str:
        """`name` as a heading below this table: `monitor.recovery`."""
        return ".".join([str(step) for step in self.path if isinstance(step, str)] + [name])


def elements(source: Source, document: dict[str, object], name: str) -> Iterator[Table]:
    """The elements of a top-level `[[name]]`, each called by its own `name` key."""
    word = name.replace("_", " ")
    root = Table(source, (), document, "configuration", "")
    for index, table in enumerate(root.many(name)):
        given = table.raw.get("name")
        if not isinstance(given, str) or not given:
            kind = table.raw.get("type")
            given = kind if isinstance(kind, str) and kind else str(index + 1)
        yield Table(source, table.path, table.raw, f"{word} {given}", f"{name}.{given}")


def element(source: Source, document: dict[str, object], name: str) -> Table:
    """A top-level `[name]`; empty where it is left out."""
    raw = document.get(name, {})
    if not isinstance(raw, dict):
        source.say("error", (name,), name, f"{name}: must be a table: write [{name}].")
        raw = {}
    return Table(source, (name,), raw, name, name)


_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def build(cls: type[_Struct], values: dict[str, Option], **more: object) -> _Struct:
    """A settings struct from read values and what was resolved; None leaves its default."""
    given = {name: value for name, value in values.items() if value is not None}
    return msgspec.convert(given | more, cls)


class Names:
    """Names of one space, each used once."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lines: dict[str, int] = {}

    def take(self, table: Table, name: str) -> bool:
        """Note `name` for `table`; False, with an error, if it is taken."""
        if name in self._lines:
            line = self._lines[name]
            table.error("name", f"{self._what} of this name is already on line {line}")
            return False
        self._lines[name] = table.source.lines.line((*table.path, "name"))
        return True

    def is_taken(self, name: str) -> bool:
        """Whether a table has that name."""
        return name in self._lines

    def number(self, stem: str) -> str:
        """The first free `stem1`, `stem2`, ..."""
        index = 1
        while f"{stem}{index}" in self._lines:
            index += 1
        return f"{stem}{index}"


def known_servers(table: Table, name: str, given: Iterable[str], servers: Sequence[str]) -> None:
    """Say which of the servers named in `name` are not configured.

    Nothing where a server has no name, which is an error of its own: it may be the one meant.
    """
    if "" in servers:
        return
    is_list = isinstance(table.raw.get(name), list)
    for index, server in enumerate(given):
        if server not in servers:
            hint = near(server, servers)
            at: tuple[str | int, ...] = (index,) if is_list else (server,)
            table.error(name, f'no such server "{server}"', hint, at)


# ---------------------------------------------------------------------- keys that are edited


SINGLE = ("cluster", "forced_stop", "alert")
"""Tables that there are once, and so have no name."""

_NUMBER = re.compile(r"[+-]?\d+|0x[0-9A-Fa-f]+", re.ASCII)
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
        case "fence":
            common = of_fences.FENCE
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
        case "trap":
            common = of_traps.TRAP
        case _:
            common = of_traps.TRAP_PROFILE
    return {field.name: field for field in (*common, *own)}


def inner_of(kind: str, registries: Registries) -> dict[str, dict[str, Field]]:
    """The tables within a table of that kind that there are once."""
    if kind == "server":
        return {"bmc": {field.name: field for field in fields.BMC}}
    if kind == "monitor":
        return {"recovery": {field.name: field for field in of_monitors.recovery(registries)}}
    if kind in ("trap_profile", "trap"):
        condition = {field.name: field for field in of_traps.CONDITION}
        return dict.fromkeys(of_traps.CONDITIONS, condition)
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
    # Of a table not its whole, in which there may be a password.
    seen = "" if at or read.secret else f" = {shown(value)}"
    message = f"{label}{field.name}{at}{seen}: {read.text}."
    raise ClpError(ExitCode.INVALID_CONFIG, message, hint)


def from_word(field: Field, word: str) -> Any:
    """What a word of a command line says, as a value of the file; `checked` judges it.

    Lists stand with commas, tables as `server1=…,server2=…`; both may also stand as in the file.
    """
    shape = field.parse.shape
    if shape == "list or table":
        shape = "table" if "=" in word else "list"
    elif shape == "text or list":
        shape = "list" if "," in word or word.startswith("[") else "text"
    if shape in ("list", "numbers"):
        if word.startswith("["):
            return _as_in_the_file(word)
        items = [item.strip() for item in word.split(",")] if word.strip() else []
        return [_number(item) for item in items] if shape == "numbers" else items
    if "table" in shape and word.startswith("{"):
        return _as_in_the_file(word)
    if shape == "table":
        table = table_from_word(word)
        return word if table is None else table
    if shape == "number":
        return _number(word)
    if shape == "boolean":
        return {"true": True, "false": False}.get(word, word)
    return word


def table_from_word(word: str) -> Json | None:
    """A table, as `A=1,B=2` or as in the file; None: it is none."""
    if word.startswith("{"):
        read = _as_in_the_file(word)
        return read if isinstance(read, dict) else None
    pairs = [pair.partition("=") for pair in word.split(",") if pair.strip()]
    if not all(equals for _, equals, _ in pairs):
        return None
    return {key.strip(): value.strip() for key, _, value in pairs}


def _number(word: str) -> int | float | str:
    if _NUMBER.fullmatch(word):
        return int(word, 16 if word.startswith("0x") else 10) if len(word) < 20 else word
    return float(word) if _FRACTION.fullmatch(word) else word


def _as_in_the_file(word: str) -> Any:
    try:
        return tomllib.loads(f"value = {word}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return word
