"""The original's forms of `clpcfset`: objects by type and name, and their tag paths.

Each changes the tree of what was told (`config/told.py`); `cfset_told` brings that into `clp.toml`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from clptools.cli import cfset_devices
from clptools.cli.cfset_session import Session
from clptools.cli.cfset_told import (
    drop_below,
    is_offered,
    is_refused,
    object_in,
    refused,
    set_place,
    tell,
)
from clptools.config.clpconf import MAX_DEPTH, Node, spelled, tag_of
from clptools.config.edit import SORTS
from clptools.config.variants import REFUSED
from clptools.faults import ClpError, ExitCode

_STEP = r"[A-Za-z_][\w.-]*(@[^/\x00-\x20\x7f]+)?"
_TAG = re.compile(f"{_STEP}(/{_STEP})*", re.ASCII)
_MAX_STEPS = MAX_DEPTH - 5
"""Of a tag path below an object, so that the whole can be read again."""


# ---------------------------------------------------------------------- the original's objects


def _server(session: Session, words: list[str]) -> None:
    name, priority = words
    session.config.check_name("server", name)
    if name in session.config.names("server"):
        session.note(f"server {name} is there already.")
    else:
        session.joined.append(name)
    place = int(priority) if priority else len(session.tree.all("server"))

    def edit(root: Node) -> None:
        node = root.make(f"server@{name}")
        set_place(root.all("server"), node, "priority", place)

    tell(session, edit)


def _group(session: Session, words: list[str]) -> None:
    kind, name = words
    session.config.check_name("group", name)

    def edit(root: Node) -> None:
        node = root.make(f"group@{name}")
        if kind not in ("", "failover"):
            node.set("type", kind)

    _new(session, "group", name, edit)


def _resource(session: Session, words: list[str]) -> None:
    group, kind, name = words
    refused(session, group)
    session.config.find("group", group)
    session.config.check_name("resource", name)
    if kind not in REFUSED["group resource"]:
        session.config.check_type("resource", kind)

    def edit(root: Node) -> None:
        root.make(f"group@{group}").make(f"resource@{kind}@{name}")
        object_in(root, "resource", kind, name)

    _new(session, "resource", name, edit)


def _monitor(session: Session, words: list[str]) -> None:
    kind, name = words
    session.config.check_name("monitor", name)
    if kind not in REFUSED["monitor"]:
        session.config.check_type("monitor", kind)
    _new(session, "monitor", name, lambda root: void(object_in(root, "monitor", kind, name)))


def void(_: object) -> None:
    """For an edit that is one expression."""


def _new(session: Session, kind: str, name: str, edit: Callable[[Node], None]) -> None:
    """An object; one that is not carried is remembered, so that its lines say so.

    One that something else does is no failure: its text is told, with each line about it.
    """
    if name in session.config.names(kind):
        session.note(f"{SORTS[kind].word} {name} is there already.")
    tell(session, edit, keep=True)
    refused(session, name)  # it was told before, so this step lost nothing more


# ---------------------------------------------------------------------- the original's parameters


def _tag(text: str) -> str:
    tag = tag_of(text)
    if not _TAG.fullmatch(tag) or tag.count("/") > _MAX_STEPS:
        hint = "A tag path names elements of a clp.conf: parameters/act/path."
        raise ClpError(ExitCode.USAGE, f"{spelled(text[:80])!r}: not a tag path.", hint)
    return tag


def _value(text: str) -> str:
    if not text.isprintable():
        raise ClpError(ExitCode.INVALID_CONFIG, f"{spelled(text)}: has control characters.")
    return text


def _owner(session: Session, kind: str, type: str, name: str) -> str:
    """The tag path of an object.  Raises ClpError where it is not there, or of another type."""
    refused(session, name)
    if is_offered(session, name):
        path = f"{kind}/{type}@{name}"
        if session.tree.find(path) is None:
            raise ClpError(ExitCode.NO_SUCH, f"{SORTS[kind].word} {name} is not {spelled(type)}.")
        return path
    found = session.config.find(kind, name)
    if type != found.table.get("type", "failover"):
        text = f"{found.label} is {found.table.get('type', 'failover')}, not {type}."
        raise ClpError(ExitCode.NO_SUCH, text)
    return f"group@{name}" if kind == "group" else f"{kind}/{type}@{name}"


def _parameter(kind: str) -> Callable[[Session, list[str]], None]:
    def apply(session: Session, words: list[str]) -> None:
        type, name, given, value = words
        before, tag = _owner(session, kind, type, name), _tag(given)
        _known_servers(session, tag)

        def edit(root: Node) -> None:
            node = root.make(before)
            step, _, last = tag.partition("/")
            placed = kind == "group" and step.startswith("policy@") and last == "order"
            if placed and value.isdecimal() and len(value) < 6:
                set_place(node.all("policy"), node.make(step), "order", int(value))
            else:
                node.set(tag, _value(value))

        tell(session, edit)

    return apply


def _no_parameter(kind: str) -> Callable[[Session, list[str]], None]:
    def apply(session: Session, words: list[str]) -> None:
        type, name, given = words
        before, tag = _owner(session, kind, type, name), _tag(given)
        node = session.tree.find(before)
        if node is None or node.find(tag) is None:
            session.note(f"{name}: {tag} was not set.")
            return
        tell(session, lambda root: drop_below(root, before, tag))

    return apply


def _known_servers(session: Session, tag: str) -> None:
    for part in tag.split("/"):
        if part.startswith(("policy@", "server@")):
            session.config.find("server", part.partition("@")[2])


def _cluster(session: Session, words: list[str]) -> None:
    given, value = words
    tag = _tag(given)
    _known_servers(session, tag)
    tell(session, lambda root: root.set(tag, _value(value)))


def _no_cluster(session: Session, words: list[str]) -> None:
    tag = _tag(words[0])
    if session.tree.find(tag) is None:
        session.note(f"{tag} was not set.")
        return
    tell(session, lambda root: drop_below(root, "", tag))


def _depends(session: Session, words: list[str]) -> None:
    kind, name, given = words
    if is_refused(session, name):
        # It counts all the same: what depends on that one waits for this one in its place.
        other = given.rpartition("@")[2]
        session.note(f"{spelled(name)} was refused; what depends on it waits for {other} instead.")
        path = f"resource/{kind}@{name}/depend@{other}"
        tell(session, lambda root: void(root.make(path)), lose=True)
        return
    before, other = _pair(session, words)
    if other == name:
        text = f"group resource {name}: cannot depend on itself."
        raise ClpError(ExitCode.INVALID_CONFIG, text)
    tell(session, lambda root: void(root.make(before).make(f"depend@{other}")))


def _no_depends(session: Session, words: list[str]) -> None:
    before, other = _pair(session, words)
    node = session.tree.find(before)
    if node is None or node.find(f"depend@{other}") is None:
        raise ClpError(ExitCode.NO_SUCH, f"group resource {words[1]} does not depend on {other}.")
    tell(session, lambda root: drop_below(root, before, f"depend@{other}"))


def _pair(session: Session, words: list[str]) -> tuple[str, str]:
    """The tag path of a resource, and the one that it depends on."""
    kind, name, given = words
    before, other = _owner(session, "resource", kind, name), given.rpartition("@")[2]
    group = session.config.find("resource", name).owner
    node = session.tree.find(f"group@{group}")
    told = {one.label.rpartition("@")[2] for one in node.all("resource")} if node else set()
    if other not in told:
        session.config.find("resource", other, group)
    return before, other


def _snmp(session: Session, words: list[str]) -> None:
    host, port, version, community = words

    def edit(root: Node) -> None:
        holder = root.make("cluster/trap")
        servers = holder.all("snmpsrv")
        same = next((one for one in servers if one.value("srvname") == host), None)
        node = same or holder.make(f"snmpsrv@{len(servers)}")
        node.set("srvname", host)
        node.set("port", port)
        for one in (*servers, node):  # all receivers have one version and community
            one.set("snmpver", version)
            one.set("snmpcom", _value(community))

    tell(session, edit)


def _messages(session: Session, words: list[str]) -> None:
    named = " ".join(words[:2])
    session.note(f"messages {named}: alerts are chosen by alert.level, not one by one.")


def _no_web(session: Session, words: list[str]) -> None:
    session.note("There is no Cluster WebUI: nothing is to be set for it.")


def forgotten(session: Session, kind: str, name: str) -> bool:
    """Takes out what was told and is not carried; False: there is no such object."""
    if kind not in ("group", "resource", "monitor") or name in session.config.names(kind):
        return False
    if not os.path.lexists(session.told_path) or not is_refused(session, name):
        return False

    def edit(root: Node) -> None:
        for holder in (root, *root.all("group"), *root.all("resource"), *root.all("monitor")):
            holder.children = [
                one
                for one in holder.children
                if one.tag in ("types", "server") or one.label.rpartition("@")[2] != name
            ]

    tell(session, edit, lose=True)
    return True


ADD: dict[str, Callable[[Session, list[str]], None]] = {
    "srv": _server,
    "device": cfset_devices.device,
    "hb": cfset_devices.heartbeat,
    "pingnp": cfset_devices.ping,
    "httpnp": cfset_devices.http,
    "grp": _group,
    "grpparam": _parameter("group"),
    "rsc": _resource,
    "rscparam": _parameter("resource"),
    "rscdep": _depends,
    "mon": _monitor,
    "monparam": _parameter("monitor"),
    "clsparam": _cluster,
    "snmpsrv": _snmp,
}
FREE: dict[str, Callable[[Session, list[str]], None]] = {
    "messages": _messages,
    "webmgr": _no_web,
    "objnum": _no_web,
    "rscguid": _no_web,
}
"""Words that need nothing here; what follows them is not read."""
DEL: dict[str, Callable[[Session, list[str]], None]] = {
    "device": cfset_devices.no_device,
    "rscdep": _no_depends,
    "grpparam": _no_parameter("group"),
    "rscparam": _no_parameter("resource"),
    "monparam": _no_parameter("monitor"),
    "clsparam": _no_cluster,
}
