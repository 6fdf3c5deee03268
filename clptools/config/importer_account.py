"""The account of an import: what is in the file, and what became of each of its leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clptools.config import original
from clptools.config.clpconf import Node
from clptools.config.offers import MIRRORS
from clptools.config.original import Grade, NotCarried, row_of
from clptools.config.translation import Entry, Remark
from clptools.config.variants import REFUSED

_NAMES_ALONE = ("types", "depend", "policy")
"""Elements that have a name and no text."""


def put(table: dict[str, Any], path: str, value: Any) -> None:
    """Sets the key at a path of names with dots; tables on the way are made."""
    key, _, rest = path.partition(".")
    if rest:
        put(table.setdefault(key, {}), rest, value)
    else:
        table[key] = value


class Account:
    """Reads parameters by the table, and notes each leaf once: whoever reads it first decides."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.done: dict[int, Entry] = {}
        """What became of each leaf, by its identity."""
        self.remarks: list[Remark] = []
        self.refused: dict[str, str] = {}
        self.offered_resources: list[tuple[str, Node]] = []
        """Group, and a resource in it that is not carried and that something else can do."""
        self.offered_monitors: list[Node] = []
        servers = sorted(self.once(root.all("server")), key=lambda one: one.number("priority"))
        self.servers = servers
        self.groups = self.once(root.all("group"))
        self.resources = {one.step: one for one in self.objects("resource")}
        self.named = {one.label: one for one in self.resources.values()}
        self.windows = root.value("all/serveros").lower().startswith("win")
        self.group_of: dict[str, str] = {}
        """Group resource -> the group that is carried and has it."""
        self.kept: set[str] = set()
        """Group resources that are carried."""
        failover = [one for one in self.groups if group_type(one) == "failover"]
        self.failover = {one.label: place for place, one in enumerate(failover)}
        """Failover group -> its place."""
        self.apart = [
            one.label for one in failover if original.EXCLUSIVE.get(one.value("exclusive"))
        ]
        """Failover groups that are exclusive."""
        for group in failover:
            for one in group.all("resource"):
                kind, _, name = one.label.rpartition("@")
                self.group_of.setdefault(name, group.label)
                if kind in original.RESOURCES and one.label in self.resources:
                    self.kept.add(name)

        self._strays(root, "")

    def _strays(self, owner: Node, before: str) -> None:
        """Notes what nobody looks for, before anybody reads: a value that is there twice, and text
        where only elements or names stand."""
        seen: set[str] = set()
        for node in owner.children:
            path = f"{before}{node.step}"
            if node.text and not node.children:
                if node.step in seen:
                    reason = "it is there twice: the first one counts"
                    self.end(node, "cluster", path, Grade.LOST, reason)
                elif node.label and node.tag in _NAMES_ALONE:
                    self.end(node, "cluster", path, Grade.LOST, "its name alone counts")
                seen.add(node.step)
            self._strays(node, f"{path}/")
        if (owner.children and owner.text) or (owner is self.root and owner.label):
            tag = before.rstrip("/") or owner.step
            self.end(owner, "cluster", tag, Grade.LOST, "text between elements means nothing")

    # -- what became of a leaf ----------------------------------------------------------

    def end(
        self, node: Node | None, label: str, tag: str, grade: Grade, reason: str = "",
        hint: str = "", offer: str = "",
    ) -> None:  # fmt: skip
        """Notes what became of a leaf, unless that is known; None: the file has no such leaf."""
        if node is not None and id(node) not in self.done:
            self.done[id(node)] = Entry(
                label=label, tag=tag, value=node.text, grade=grade, reason=reason, hint=hint,
                line=node.line, offer=offer,
            )  # fmt: skip

    def carried(self, owner: Node, label: str, *tags: str) -> None:
        """These leaves of an object are read by special code; not what else is below them."""
        wanted = frozenset(tags)
        for tag, leaf in owner.leaves():
            if tag in wanted:
                self.end(leaf, label, tag, Grade.CARRIED)

    def switches(self, owner: Node, label: str, *tags: str) -> None:
        """These leaves of an object are 0 or 1, and read by special code."""
        for tag in tags:
            leaf = owner.find(tag)
            if leaf is not None and leaf.text not in ("", "0", "1"):
                self.end(leaf, label, tag, Grade.LOST, "it is neither 0 nor 1, and counts as 0")
        self.carried(owner, label, *tags)

    def placed(self, owner: Node, label: str, *tags: str) -> None:
        """These leaves of an object are places among its like, or device numbers."""
        for tag in tags:
            leaf = owner.find(tag)
            try:
                if leaf is not None and leaf.text:
                    original.number(tag).read(leaf.text)
            except NotCarried as reason:
                self.end(leaf, label, tag, reason.grade, f"{reason}: it counts as 0")
        self.carried(owner, label, *tags)

    def all_lost(self, owner: Node, label: str, reason: str, hint: str = "") -> None:
        """An object that is not carried, with everything that it has."""
        self._all(owner, label, Grade.LOST, reason, hint)

    def _all(
        self, owner: Node, label: str, grade: Grade, reason: str, hint: str, offer: str = ""
    ) -> None:
        for tag, leaf in list(owner.leaves()) or [("", owner)]:
            self.end(leaf, label, tag, grade, reason, hint, offer)

    def refuse(
        self, what: str, owner: Node, kind: str, label: str, *, offer: str = "", why_not: str = ""
    ) -> str:
        """An object of a type that is not carried.

        `offer`: its name, where something else does its work and the text for that is written;
        `why_not`: why nothing does, whatever is usual for the type.
        """
        default = f"no such {what} type"
        if self.windows and kind not in REFUSED[what]:
            default = f"no such {what} type here: the file is of Windows"
        reason, mend = REFUSED[what].get(kind, (default, ""))
        if why_not:
            reason, mend = why_not, ""
        grade = Grade.DECISION if offer and kind not in MIRRORS else Grade.LOST
        self._all(owner, f"{label} ({kind})", grade, reason, mend, offer)
        return reason

    def once(self, nodes: Iterable[Node]) -> list[Node]:
        """The objects, each once."""
        found: dict[str, Node] = {}
        for node in nodes:
            if node.step in found:
                self.all_lost(node, node.step, "it is in the file twice: the first one counts")
            else:
                found[node.step] = node
        return list(found.values())

    def objects(self, section: str) -> list[Node]:
        """The objects of a section: one element each, named by its type."""
        found = [
            one
            for part in self.root.all(section)
            if not part.label
            for one in part.children
            if one.tag != "types" and one.label
        ]
        return self.once(found)

    def rows(
        self, owner: Node, table: dict[str, Any], label: str, section: str, kind: str = ""
    ) -> None:
        """Sets the keys that the parameters of an object mean."""
        seen: set[str] = set()
        for tag, leaf in owner.leaves():
            if id(leaf) in self.done:
                continue
            if tag in seen:
                reason = "it is there twice: the first one counts"
                self.end(leaf, label, tag, Grade.LOST, reason)
            else:
                self.row(leaf, tag, table, label, section, kind)
            seen.add(tag)
        if not owner.children:
            self.empty(owner, label)

    def empty(self, owner: Node, label: str) -> None:
        """An object of which the file says nothing but its name."""
        if owner.text:
            self.end(owner, label, owner.step, Grade.LOST, "its name alone counts")
        self.end(owner, label, "", Grade.CARRIED)

    def row(
        self, leaf: Node, tag: str, table: dict[str, Any], label: str, section: str, kind: str
    ) -> None:
        server, below = "", tag
        if tag.startswith("server@") and section in ("resource", "monitor"):
            server, _, below = tag.removeprefix("server@").partition("/")
        row = row_of(section, kind, below)
        try:
            if not leaf.text and (row.key or not row.why.startswith("there is no")):
                self.end(leaf, label, tag, Grade.CARRIED)
                return
            value = row.read(leaf.text)
        except NotCarried as reason:
            if row is original.EDITOR:
                label, tag = "cluster", tag if section == "cluster" else f"{label}: {tag}"
            self.end(leaf, label, tag, reason.grade, str(reason))
            return
        if server and not row.by_server:
            self.end(leaf, label, tag, Grade.LOST, "all servers have the same")
            return
        self.end(leaf, label, tag, Grade.CARRIED)
        put(table, f"{row.key}_on.{server}" if server else row.key, value)

    def target(self, node: Node | None, tag: str, label: str) -> str:
        """A group or group resource; of one that is not carried, the group that had it."""
        if node is None:
            return ""
        name = node.text.rpartition("@")[2]
        resources = {one.label for one in self.resources.values()} | set(self.group_of)
        if name in self.kept or name not in resources:
            self.end(node, label, tag, Grade.CARRIED)
            return name
        group = self.group_of.get(name, "")
        if group:
            reason = f"it is not carried: group {group}, which had it, stands for it"
            self.end(node, label, tag, Grade.EQUIVALENT, reason)
        else:
            self.end(node, label, tag, Grade.LOST, "it is not carried, and no group has it")
        return group


def parts(owner: Node, within: str, tag: str) -> list[Node]:
    """Numbered elements below another one."""
    node = owner.find(within)
    return node.all(tag) if node is not None else []


def group_type(group: Node) -> str:
    """`failover` where the file does not say it."""
    return group.value("type", "failover")
