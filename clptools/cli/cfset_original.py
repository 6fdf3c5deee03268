"""The original's forms of `clpcfset`: objects by type and name, devices by number, tag paths.

Each changes the tree of what was told (`config/told.py`); `cfset_told` brings that into `clp.toml`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from clptools.cli.cfset_session import Session, usage
from clptools.cli.cfset_told import is_refused, refused, tell
from clptools.config.clpconf import Node, spelled, tag_of
from clptools.config.edit import SORTS, Configuration, Found
from clptools.config.field import near
from clptools.config.original import (
    DEVICES,
    HEARTBEAT_DEVICES,
    LINK_DEVICES,
    device_number,
)
from clptools.config.variants import REFUSED
from clptools.faults import ClpError, ExitCode

_HOST = re.compile(r"(\[[\w.:%-]+\]|[\w.-]+)(?::(\d+))?", re.ASCII)
_STEP = r"[A-Za-z_][\w.-]*(@[^/\x00-\x20\x7f]+)?"
_TAG = re.compile(f"{_STEP}(/{_STEP})*", re.ASCII)


def _host(text: str) -> tuple[str, str]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ClpError(ExitCode.INVALID_CONFIG, f"{text}: not a HOST:PORT.")
    return found[1].strip("[]"), found[2] or ""


# ---------------------------------------------------------------------- the original's devices


def by_device(config: Configuration, kind: str, type: str, number: int) -> Found:
    """The interconnect or NP resolution that the original knows by this number."""
    device = HEARTBEAT_DEVICES.get(type)
    numbers = {number, device_number(device, number)} if device else {number}
    for found in config.all_of(kind):
        same = found.table.get("type") == type.removesuffix("np")
        if same and found.table.get("device") in numbers:
            return found
    text = f"{type} {number}: no such {SORTS[kind].word}."
    raise ClpError(ExitCode.NO_SUCH, text, near(type, config.names(kind)))


def _device(session: Session, words: list[str]) -> None:
    server, kind, number, info, extend = words
    session.config.find("server", server)
    if kind not in DEVICES:
        raise ClpError(ExitCode.INVALID_CONFIG, f"{kind}: no such device.", near(kind, DEVICES))
    if kind in LINK_DEVICES:
        reason, mend = REFUSED["interconnect"][LINK_DEVICES[kind]]
        raise ClpError(ExitCode.INVALID_CONFIG, f"{kind} device: {reason}.", mend)

    def edit(root: Node) -> None:
        node = root.make(f"server@{server}/device@{device_number(kind, int(number))}")
        node.set("type", kind)
        node.set("info", info)
        if extend:
            node.set("extend", extend)

    tell(session, edit)


def _heartbeat(session: Session, words: list[str]) -> None:
    kind, given, priority, host = words
    session.config.check_type("interconnect", kind)
    if kind == "witnesshb" and not host:
        raise usage("add", "hb witnesshb DEVICE PRIORITY HOST:PORT")
    where = _host(host) if kind == "witnesshb" else ("", "")
    device = HEARTBEAT_DEVICES[kind]
    number = device_number(device, int(given))
    if device == "lan":
        known = _lans(session.tree)
        if number not in known:
            hint = f"Known: {', '.join(map(str, known))}." if known else (
                "Add it: clpcfset add device SERVER lan ..."
            )  # fmt: skip
            raise ClpError(ExitCode.NO_SUCH, f"{given}: no such lan device.", hint)
    link = _of_device(session.tree, "heartbeat", number)
    if link is not None and link.tag != kind:
        raise ClpError(ExitCode.REFUSED, f"Device {given} is there already, as {link.tag}.")
    if link is not None:
        session.note(f"{kind} {given} is there already.")
    name = link.label if link else _free(session, "interconnect", kind)

    def edit(root: Node) -> None:
        node = _object(root, "heartbeat", kind, name)
        _place(_siblings(root, "heartbeat"), node, "priority", int(priority))
        node.set("device", str(number))
        _set_host(node, *where)

    tell(session, edit)


def _lans(root: Node) -> list[int]:
    devices = [one for server in root.all("server") for one in server.all("device")]
    return sorted({int(one.label) for one in devices if one.value("type") == "lan"})


def _of_device(root: Node, section: str, number: int) -> Node | None:
    return next((one for one in _siblings(root, section) if one.number("device") == number), None)


def _siblings(root: Node, section: str) -> list[Node]:
    holder = root.find(section)
    return [one for one in holder.children if one.tag != "types"] if holder is not None else []


def _free(session: Session, kind: str, stem: str) -> str:
    """The first free name `stem1`, `stem2`, ..."""
    section = {"interconnect": "heartbeat", "np": "networkpartition"}[kind]
    taken = {one.label for one in _siblings(session.tree, section)}
    taken |= set(session.config.names(kind))
    number = 1
    while f"{stem}{number}" in taken:
        number += 1
    return f"{stem}{number}"


def _object(root: Node, section: str, type: str, name: str) -> Node:
    holder = root.make(section)
    holder.make(f"types@{type}")
    return holder.make(f"{type}@{name}")


def _place(siblings: list[Node], node: Node, tag: str, place: int) -> None:
    """Sets a place; an object that has it already moves back, with those behind it."""
    if node.value(tag) == str(place):
        return
    taken = place
    for one in sorted(siblings, key=lambda one: one.number(tag)):
        if one is not node and one.find(tag) is not None and one.number(tag) == taken:
            taken += 1
            one.set(tag, str(taken))
    node.set(tag, str(place))


def _set_host(node: Node, host: str, port: str) -> None:
    if host:
        node.set("host", host)
        if port:
            node.set("port", port)


def _ping(session: Session, words: list[str]) -> None:
    _, device, priority, group, item, address = words

    def more(node: Node) -> None:
        node.set(f"grp@{group}/list@{item}/ip", address)

    _np(session, "ping", device, priority, more)


def _http(session: Session, words: list[str]) -> None:
    _, device, priority, host = words
    where = _host(host)
    _np(session, "http", device, priority, lambda node: _set_host(node, *where))


def _np(
    session: Session, kind: str, device: str, priority: str, more: Callable[[Node], None]
) -> None:
    number = device_number(kind, int(device))
    np = _of_device(session.tree, "networkpartition", number)
    name = np.label if np else _free(session, "np", f"{kind}np")

    def edit(root: Node) -> None:
        node = _object(root, "networkpartition", f"{kind}np", name)
        _place(_siblings(root, "networkpartition"), node, "priority", int(priority))
        node.set("device", str(number))
        more(node)

    tell(session, edit)


def _no_device(session: Session, words: list[str]) -> None:
    server, kind, number = words
    session.config.find("server", server)
    wanted = {int(number)} | ({device_number(kind, int(number))} if kind in DEVICES else set())
    node = session.tree.find(f"server@{server}")
    devices = node.all("device") if node is not None else []
    found = [one for one in devices if int(one.label) in wanted and kind in ("", one.value("type"))]
    if not found:
        raise ClpError(ExitCode.NO_SUCH, f"{server} has no device {number}.")
    tell(session, lambda root: _drop(root, f"server@{server}", found[0].step))


def _drop(root: Node, owner: str, path: str) -> None:
    """Takes out what is below an object; the object stays."""
    node = root.find(owner) if owner else root
    if node is not None:
        node.drop(path)


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
        _place(root.all("server"), node, "priority", place)

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
        _object(root, "resource", kind, name)

    _new(session, "resource", name, edit)


def _monitor(session: Session, words: list[str]) -> None:
    kind, name = words
    session.config.check_name("monitor", name)
    if kind not in REFUSED["monitor"]:
        session.config.check_type("monitor", kind)
    _new(session, "monitor", name, lambda root: void(_object(root, "monitor", kind, name)))


def void(_: object) -> None:
    """For an edit that is one expression."""


def _new(session: Session, kind: str, name: str, edit: Callable[[Node], None]) -> None:
    """An object; one that is not carried is remembered, so that its lines say so."""
    if name in session.config.names(kind):
        session.note(f"{SORTS[kind].word} {name} is there already.")
    tell(session, edit, keep=True)
    refused(session, name)  # it was told before, so this step lost nothing more


# ---------------------------------------------------------------------- the original's parameters


def _tag(text: str) -> str:
    tag = tag_of(text)
    if not _TAG.fullmatch(tag):
        raise ClpError(ExitCode.USAGE, f"{spelled(text)}: not a tag path.")
    return tag


def _value(text: str) -> str:
    if not text.isprintable():
        raise ClpError(ExitCode.INVALID_CONFIG, f"{spelled(text)}: has control characters.")
    return text


def _owner(session: Session, kind: str, type: str, name: str) -> str:
    """The tag path of an object.  Raises ClpError where it is not there, or of another type."""
    refused(session, name)
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
                _place(node.all("policy"), node.make(step), "order", int(value))
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
        tell(session, lambda root: _drop(root, before, tag))

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
    tell(session, lambda root: _drop(root, "", tag))


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
    tell(session, lambda root: _drop(root, before, f"depend@{other}"))


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
    "device": _device,
    "hb": _heartbeat,
    "pingnp": _ping,
    "httpnp": _http,
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
    "device": _no_device,
    "rscdep": _no_depends,
    "grpparam": _no_parameter("group"),
    "rscparam": _no_parameter("resource"),
    "monparam": _no_parameter("monitor"),
    "clsparam": _no_cluster,
}
