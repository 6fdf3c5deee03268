"""What `clpcfset` was told in the original's words, as the tree of a `clp.conf`.

`clp.toml` cannot hold all of it: numbers of lists, a resource that is not carried and what depends
on it.  So the tree lies in a file of its own beside it, and each step is translated whole, as an
import is: the order of steps does not matter, and the result is that of the import.  Where both
files differ, `clp.toml` counts.
"""

from __future__ import annotations

import hashlib
from typing import Any

from clptools.config.clpconf import Node, parsed, written
from clptools.config.document import Document, rendered
from clptools.config.edit import Configuration
from clptools.config.exporter import exported
from clptools.config.importer import translated
from clptools.config.original import PASSWORDS
from clptools.faults import ClpError

SUFFIX = ".clpcfset"
"""Behind the name of the `clp.toml`."""
_SECTIONS = {
    "heartbeat": "interconnect", "networkpartition": "np", "resource": "resource",
    "monitor": "monitor",
}  # fmt: skip
_OBJECTS = ("server", "group", *_SECTIONS)
_Tables = dict[str, Any]


def kept_of(tree: Node, text: str) -> bytes:
    """The file of what was told, for a `clp.toml` of that text; without passwords."""
    kept = tree.copy()
    for tag, leaf in kept.leaves():
        if tag.rpartition("/")[2] in PASSWORDS:
            leaf.text = ""
    return written(kept, comment=_stamp(text))


def tree_of(config: Configuration, kept: bytes) -> Node:
    """The tree of a configuration, with what `kept` knows beyond it."""
    try:
        old = parsed(kept, "")
    except ClpError:  # there is none yet, or somebody edited it: clp.toml is enough
        return exported(config).root
    if _stamp(config.document.original).encode() in kept[:300]:
        return old
    now = exported(config).root
    carried = translated(old).tables
    document = Document(rendered(carried))
    was = translated(exported(Configuration(document, config.registries)).root).tables
    return _Merge(now, old, was, translated(now).tables).result()


def _stamp(text: str) -> str:
    """By which a file of what was told knows its `clp.toml`."""
    return f"clp.toml {hashlib.sha256(text.encode()).hexdigest()}"


class _Merge:
    """`now` is the tree of `clp.toml`, `old` what was told; `was` and `tables` are their tables."""

    def __init__(self, now: Node, old: Node, was: _Tables, tables: _Tables) -> None:
        self.now = now
        self.old = old
        self.was = was
        self.tables = tables

    def result(self) -> Node:
        for section, kind in _SECTIONS.items():
            self._section(section, kind)
        for server in self.old.all("server"):
            self._server(server)
        for group in self.old.all("group"):
            self._group(group)
        self._rest()
        return self.now

    def _same(self, kind: str, name: str) -> bool:
        return _find(self.was, kind, name) == _find(self.tables, kind, name)

    def _same_order(self, kind: str) -> bool:
        return [*_named(self.was, kind)] == [*_named(self.tables, kind)]

    def _section(self, section: str, kind: str) -> None:
        holder = self.now.find(section)
        ordered = self._same_order(kind)
        told = [one for part in self.old.all(section) for one in part.children if one.label]
        for one in told:
            if one.tag == "types":
                continue
            there = holder.find(one.step) if holder is not None else None
            if there is not None and holder is not None:
                if self._same(kind, one.label):
                    priority = there.value("priority")
                    holder.children[holder.children.index(there)] = one
                    if priority and not ordered:
                        one.set("priority", priority)
            elif _find(self.was, kind, one.label) is None:
                # Not carried, so clp.toml never had it.
                holder = self.now.make(section)
                holder.make(f"types@{one.tag}")
                holder.children.append(one)

    def _server(self, server: Node) -> None:
        there = self.now.find(server.step)
        if there is None:
            return
        if self._same_order("server") and server.find("priority") is not None:
            there.set("priority", server.value("priority"))
        for one in server.children:
            if there.find(one.step) is None:
                there.children.append(one)

    def _group(self, group: Node) -> None:
        there = self.now.find(group.step)
        was = _find(self.was, "group", group.label)
        if there is None:
            if was is None:
                self.now.children.append(group)
            return
        known = {one.label for one in there.all("resource")}
        names = set(_named(self.was, "resource")) | set(_named(self.tables, "resource"))
        refused = [
            one
            for one in group.all("resource")
            if one.label not in known and one.label.rpartition("@")[2] not in names
        ]
        is_ = _find(self.tables, "group", group.label)
        if was is not None and is_ is not None and _without(was) == _without(is_):
            own = [one for one in group.children if one.tag != "resource"]
            there.children = [*own, *there.all("resource")]
        there.children += refused

    def _rest(self) -> None:
        """What belongs to no object."""
        same = all(self.was.get(key) == self.tables.get(key) for key in ("cluster", "alert"))
        for one in self.old.children:
            there = self.now.find(one.step)
            if one.tag in _OBJECTS or one.tag == "webmgr":
                continue
            if there is None:
                self.now.children.append(one)
            elif same:
                self.now.children[self.now.children.index(there)] = one


def _without(group: _Tables) -> _Tables:
    return {key: value for key, value in group.items() if key != "resource"}


def _named(tables: _Tables, kind: str) -> dict[str, _Tables]:
    """The objects of a sort by name."""
    if kind == "resource":
        groups = tables.get("group", ())
        return {one["name"]: one for group in groups for one in group.get("resource", ())}
    return {one["name"]: one for one in tables.get(kind, ())}


def _find(tables: _Tables, kind: str, name: str) -> _Tables | None:
    return _named(tables, kind).get(name)
