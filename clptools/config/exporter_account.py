"""The account of an export: the tree that is made, and which keys a `clp.conf` cannot say."""

from __future__ import annotations

import copy
import re

from clptools.config.clpconf import Node
from clptools.config.edit import SORTS, Configuration, Found
from clptools.config.field import ON_SERVERS, Fault, Field
from clptools.config.lines import Json
from clptools.config.original import Row
from clptools.config.statements import written
from clptools.config.table import fields_of, inner_of

_SECTIONS = ("heartbeat", "networkpartition", "resource", "monitor")
_UNWRITABLE = re.compile("[\ufffd-\uffff]")
"""Letters that XML forbids, and the one that stands for what cannot be read."""


class Account:
    """Writes keys by the table, and names what is left of each object."""

    def __init__(self, config: Configuration) -> None:
        self.config = config
        self.root = Node("root")
        self.unsaid: list[str] = []
        """Objects, and keys with their values."""
        self.servers = config.names("server")
        self._types: dict[str, list[str]] = {section: [] for section in _SECTIONS}

    def table(self, found: Found) -> Json:
        """A copy of an object's keys; what is no value of its key is named and left out."""
        kept = self._valid(found.label, found.table, found.kind, found.table)
        for name, fields in inner_of(found.kind).items():
            inner = found.table.get(name)
            if isinstance(inner, dict):
                kept[name] = self._checked(f"{found.label}: {name}.", inner, fields)
        return kept

    def single(self, kind: str) -> Json:
        table = self.config.tables.get(kind, {})
        return self._valid(kind, table, kind, table) if isinstance(table, dict) else {}

    def _valid(self, label: str, table: Json, kind: str, of: Json) -> Json:
        known = fields_of(kind, of, self.config.registries)
        inner = (*SORTS, *inner_of(kind))
        own = {key: value for key, value in table.items() if key not in inner}
        return self._checked(f"{label}: ", own, known)

    def _checked(self, label: str, table: Json, known: dict[str, Field]) -> Json:
        kept: Json = {}
        for key, value in table.items():
            valid = key in known and not isinstance(known[key].parse(value), Fault)
            if valid and not _UNWRITABLE.search(written(value)):
                kept[key] = copy.deepcopy(value)
            else:
                self.unsaid.append(f"{label}{key} = {written(value)}")
        return kept

    def left(self, label: str, table: Json, kind: str, of: Json | None = None) -> None:
        """Names the keys that are left of a table, other than those that say our default."""
        inner = inner_of(kind)
        known = fields_of(kind, of if of is not None else table, self.config.registries)
        for key, value in table.items():
            if isinstance(value, dict) and key in inner:
                for name, one in value.items():
                    self._unsaid(f"{label}: {key}.{name}", one, inner[key].get(name))
            elif key not in SORTS:
                self._unsaid(f"{label}: {key}", value, known.get(key))

    def _unsaid(self, what: str, value: object, field: Field | None) -> None:
        if field is None or value != field.default:
            self.unsaid.append(f"{what} = {written(value)}")

    def add(self, section: str, type: str, name: str) -> Node:
        """An object, and its type in front of all."""
        holder = self.root.make(section)
        if type not in self._types[section]:
            self._types[section].append(type)
            holder.children.insert(len(self._types[section]) - 1, Node("types", type))
        node = Node(type, name)
        holder.children.append(node)
        return node

    def rows(self, node: Node, table: Json, rows: dict[str, Row]) -> None:
        """The parameters of the keys that have one; takes those keys out of the table."""
        for tag, row in rows.items():
            key = row.key.removeprefix("cluster.")
            if not key or "." in key:
                continue
            value = table.get(key)
            if isinstance(value, dict) and row.by_server:
                self._by_server(node, tag, table.pop(key))
            elif value is not None and (said := row.write(value)):  # an empty one means the default
                node.set(tag, said)
                del table[key]
            if row.by_server and isinstance(table.get(key + ON_SERVERS), dict):
                self._by_server(node, tag, table.pop(key + ON_SERVERS))

    def _by_server(self, node: Node, tag: str, values: dict[str, str]) -> None:
        if not node.value(tag):
            node.set(tag, next((values[s] for s in self.servers if s in values), ""))
        for server, value in values.items():
            node.set(f"server@{server}/{tag}", value)
