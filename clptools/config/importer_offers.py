"""Text to uncomment for what a `clp.conf` has and `clp.toml` has no type for (`offers`).

Each object is a block of lines that begin with `#`.  Without the first `#` of each it is a table
of `clp.toml`, with remarks that remain comments.  A value is one of the file, or is named as
missing; none is made up.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Iterator
from typing import Any

from clptools.common.ocf import ADDRESS, place
from clptools.config import offers, original
from clptools.config.clpconf import Node, spelled
from clptools.config.document import table_text
from clptools.config.importer_groups import GroupAccount
from clptools.config.importer_monitors import MonitorAccount
from clptools.config.monitors import MONITOR_SCRIPTS
from clptools.config.offers import MIRRORS, Agent, Check, agent_for
from clptools.config.original import Grade, NotCarried
from clptools.config.translation import Entry, Offer, marker

_SCRIPT = "genw.sh"
_SHARED = frozenset(key for key, row in original.RESOURCE.items() if row.key)
"""Parameters that every group resource has."""


class OfferAccount(GroupAccount, MonitorAccount):
    """Writes the text of what is offered, once all tables are known."""

    def offers(self, tables: dict[str, Any]) -> Iterator[Offer]:
        """The text of each object that is not carried and can be done, in the order of the file.

        `tables`: what is carried.
        """
        groups = {one["name"]: one for one in tables.get("group", ())}
        for group, resource in self.offered_resources:
            agent = agent_for(resource)
            assert isinstance(agent, Agent)
            yield _offer(resource, group, self._resource_text(resource, groups[group], agent))
        there = {resource.label: resource for _, resource in self.offered_resources}
        for monitor in self.offered_monitors:
            target = _watched(monitor, offers.CHECKS[monitor.tag], there)
            # What this one notes of a leaf is known nowhere else.
            scratch = copy.copy(self)
            scratch.done, scratch.remarks = {}, []
            scratch.kept = self.kept | {target} - {""}
            yield _offer(monitor, "", scratch.monitor_text(monitor, target))

    # -- group resources ----------------------------------------------------------------

    def _resource_text(self, resource: Node, group: dict[str, Any], agent: Agent) -> list[str]:
        found: dict[str, Any] = {"type": "ocf", "name": resource.label, "agent": agent.name}
        used = {tag for kind, tag, _ in offers.INSTEAD if kind == resource.tag}
        parameters: dict[str, str] = {}
        on: dict[str, dict[str, str]] = {}
        for name, tag in agent.parameters.items():
            if value := resource.value(tag):
                parameters[name] = value
                used.add(tag)
            for server in resource.all("server"):
                if value := server.value(tag):
                    on.setdefault(server.label, {})[name] = value
                    used.add(f"{server.step}/{tag}")
        found |= {"parameters": parameters} if parameters else {}
        found |= {"parameters_on": on} if on else {}
        for key, tag in agent.keys.items():
            _put_read(found, original.number(key), resource, tag, used)
        found["start_retries"] = original.START_RETRIES_OF_OTHERS
        for tag in sorted(_SHARED):
            _put_read(found, original.RESOURCE[tag], resource, tag, used)
        depends = self._offered_depends(resource, group["name"], used)
        found |= {"depends": depends} if depends else {}
        lines = [
            *_head(resource, f"{agent.name} does it, in group {spelled(group['name'])}"),
            *_code(table_text(("group", 0, "resource", 0), found)),
        ]
        given = set(parameters).union(*on.values()) if on else set(parameters)
        lines += [
            f"## MISSING: {name} of parameters. The clp.conf does not say it; without it, the "
            "agent does not work."
            for name in agent.needs
            if name not in given
        ]
        rest = [name for name in agent.parameters if name not in {*given, *agent.needs}]
        rest += [key for key in agent.keys if key not in found]
        if rest:
            lines.append(f"## Not in the clp.conf, so the default holds: {', '.join(rest)}.")
        if not resource.value("act/retry"):
            lines.append("## start_retries is the original's default, which the file leaves out.")
        lines += [f"## {note}" for note in agent.notes]
        lines += self._order_to_write(resource, group, agent, depends)
        return [*lines, *_beside(resource, used)]

    def _offered_depends(self, resource: Node, group: str, used: set[str]) -> list[str]:
        """What it waits for and is carried or offered, too."""
        offered = {one.label for _, one in self.offered_resources}
        found = []
        for one in resource.all("depend"):
            name = one.label.rpartition("@")[2]
            if name in self.kept | offered and self.group_of.get(name) == group:
                found.append(name)
                used.add(one.step)
        return list(dict.fromkeys(found))

    def _order_to_write(
        self, resource: Node, group: dict[str, Any], agent: Agent, depends: list[str]
    ) -> Iterator[str]:
        """What others have to say of it once it is there."""
        name = resource.label
        is_storage = place(agent.name) < ADDRESS
        for other in group.get("resource", ()):
            node = self.named.get(other["name"])
            waits = [one.label.rpartition("@")[2] for one in node.all("depend")] if node else []
            if "depends" in other and (name in waits or not waits):
                yield (
                    f'## Then also write "{spelled(name)}" into depends of '
                    f"{spelled(other['name'])}, which otherwise does not wait for it."
                )
            elif is_storage and other["name"] in depends and "depends" not in other:
                yield (
                    f"## Then also write depends = [] into {spelled(other['name'])}: by default "
                    "it waits for storage, and this waits for it."
                )

    # -- monitors -----------------------------------------------------------------------

    def monitor_text(self, monitor: Node, target: str) -> list[str]:
        """A `genw`, or an `ocfw` of `target`; it notes leaves as its own."""
        check = offers.CHECKS[monitor.tag]
        plain = Node("genw", monitor.label, "", monitor.line)
        plain.children = [
            one for one in monitor.children if one.tag not in ("parameters", "server", "target")
        ]
        used: set[str] = set()
        if target:
            used |= {"target", "parameters/object", "parameters/devname"}
        elif (node := monitor.find("target")) is not None:
            plain.children.append(node)
        found = self.monitor(plain)
        assert found is not None
        if target:
            found = {"type": "ocfw", "name": monitor.label, "target": target} | {
                key: value
                for key, value in found.items()
                if key not in ("type", "name", "script", "timing")
            }
            how = f"the monitor of {spelled(target)}'s agent does it"
        else:
            how = "a script of genw does it"
        entries = list(self.done.values())
        used |= {entry.tag for entry in entries if entry.grade is Grade.CARRIED}
        why = {entry.tag: entry.reason for entry in entries}
        lines = [*_head(monitor, how), *_code(table_text(("monitor", 0), found))]
        if not target:
            lines += _script_lines(monitor, check, used)
        lines += [f"## {spelled(remark.text)}." for remark in self.remarks]
        return [*lines, *_beside(monitor, used, why)]


def _offer(node: Node, group: str, lines: list[str]) -> Offer:
    grade = Grade.LOST if node.tag in MIRRORS else Grade.DECISION
    return Offer(name=node.label, group=group, grade=grade, text="\n".join(lines) + "\n")


def _head(node: Node, how: str) -> tuple[str, str]:
    return (
        f"{marker(node.label)} of type {node.tag} in the clp.conf, needs your decision: {how}.",
        "## To use it, take away the first # of each line of this block.",
    )


def _code(text: str) -> list[str]:
    return [f"#{line}" for line in text.rstrip("\n").split("\n")]


def _put_read(
    found: dict[str, Any], row: original.Row, node: Node, tag: str, used: set[str]
) -> None:
    """Sets a key as an import of it would; what has no value here stays among the rest."""
    value = node.value(tag)
    if not value:
        return
    try:
        found[row.key] = row.read(value)
        used.add(tag)
    except NotCarried:
        return


def _watched(monitor: Node, check: Check, offered: dict[str, Node]) -> str:
    """The offered resource whose agent's monitor does what this one did; empty: none."""
    of_type = {name: one for name, one in offered.items() if one.tag in check.of}
    for tag in ("target", "parameters/object", "relation/name"):
        name = monitor.value(tag).rpartition("@")[2]
        if name in of_type:
            return name
    devices = monitor.value("parameters/devname")
    same = [n for n, one in of_type.items() if devices == one.value("parameters/devname") != ""]
    return same[0] if len(same) == 1 else ""


def _script_lines(monitor: Node, check: Check, used: set[str]) -> Iterator[str]:
    path = f"scripts/{MONITOR_SCRIPTS}/{spelled(monitor.label)}/{_SCRIPT}"
    words = _web(monitor, used) if monitor.tag == "httpw" else _words(monitor, check, used)
    if words:
        yield f"## {path} does not exist yet; its last line can be:"
        yield f"##     {spelled(shlex.join(words))}"
    else:
        yield f"## {path} does not exist yet: write what checks it."
    if check.agents:
        yield (
            f"## Where {' or '.join(check.agents)} is to run the program, its own monitor does "
            "it: monitor_interval."
        )


def _words(monitor: Node, check: Check, used: set[str]) -> list[str]:
    """The command with what the file says; what it leaves out is the command's default.

    Nothing, where the file says none of it.
    """
    found: list[str] = []
    if not any(monitor.value(word[1]) for word in check.command if not isinstance(word, str)):
        return found
    for word in check.command:
        if isinstance(word, str):
            found.append(word)
            continue
        option, tag = word
        if value := monitor.value(tag):
            found += [option, value]
            used.add(tag)
    return found


def _web(monitor: Node, used: set[str]) -> list[str]:
    """HEAD, or GET with `requesttype` 1; nothing where the file does not say of which server."""
    tags = {one: f"parameters/{one}" for one in ("servername", "port", "requesturi")}
    server, port, uri = (monitor.value(tag) for tag in tags.values())
    if not server:
        return []
    secure, get = (monitor.value(f"parameters/{one}") == "1" for one in ("https", "requesttype"))
    used |= {*tags.values(), "parameters/https", "parameters/requesttype"}
    server = f"[{server}]" if ":" in server else server
    where = f"{server}:{port}" if port else server
    url = f"http{'s' if secure else ''}://{where}/{uri.removeprefix('/')}"
    return ["curl", "-fsS", "-o", "/dev/null", *([] if get else ["-I"]), url]


def _beside(node: Node, used: set[str], why: dict[str, str] | None = None) -> Iterator[str]:
    """What else the file says, one value a line."""
    rest = [(tag, leaf) for tag, leaf in node.leaves() if tag not in used and leaf.text]
    rest += [(tag, leaf) for tag, leaf in node.leaves() if leaf.tag == "depend" and tag not in used]
    if rest:
        yield "## The file also says, and no key here does:"
    for tag, leaf in rest:
        entry = Entry(label="", tag=tag, value=leaf.text, grade=Grade.DECISION)
        reason = (why or {}).get(tag, "")
        yield f"##     {entry.shown}{f' ({spelled(reason)})' if reason else ''}"
