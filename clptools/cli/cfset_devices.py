"""The original's forms of `clpcfset` for devices, by number, and for what is on them.

A heartbeat or an NP resolution is known by the number of its device, which every server has.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from clptools.cli.cfset_session import Session, usage
from clptools.cli.cfset_told import drop_below, object_in, set_place, siblings, tell
from clptools.config.clpconf import Node
from clptools.config.edit import SORTS, Configuration, Found
from clptools.config.field import near
from clptools.config.original import DEVICES, HEARTBEAT_DEVICES, LINK_DEVICES, device_number
from clptools.config.variants import REFUSED
from clptools.faults import ClpError, ExitCode

_HOST = re.compile(r"(\[[\w.:%-]+\]|[\w.-]+)(?::(\d+))?", re.ASCII)


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


def device(session: Session, words: list[str]) -> None:
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


def no_device(session: Session, words: list[str]) -> None:
    server, kind, number = words
    session.config.find("server", server)
    wanted = {int(number)} | ({device_number(kind, int(number))} if kind in DEVICES else set())
    node = session.tree.find(f"server@{server}")
    devices = node.all("device") if node is not None else []
    found = [one for one in devices if int(one.label) in wanted and kind in ("", one.value("type"))]
    if not found:
        raise ClpError(ExitCode.NO_SUCH, f"{server} has no device {number}.")
    tell(session, lambda root: drop_below(root, f"server@{server}", found[0].step))


def heartbeat(session: Session, words: list[str]) -> None:
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
        node = object_in(root, "heartbeat", kind, name)
        set_place(siblings(root, "heartbeat"), node, "priority", int(priority))
        node.set("device", str(number))
        _set_host(node, *where)

    tell(session, edit)


def ping(session: Session, words: list[str]) -> None:
    _, device, priority, group, item, address = words

    def more(node: Node) -> None:
        node.set(f"grp@{group}/list@{item}/ip", address)

    _np(session, "ping", device, priority, more)


def http(session: Session, words: list[str]) -> None:
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
        node = object_in(root, "networkpartition", f"{kind}np", name)
        set_place(siblings(root, "networkpartition"), node, "priority", int(priority))
        node.set("device", str(number))
        more(node)

    tell(session, edit)


def _lans(root: Node) -> list[int]:
    devices = [one for server in root.all("server") for one in server.all("device")]
    return sorted({int(one.label) for one in devices if one.value("type") == "lan"})


def _of_device(root: Node, section: str, number: int) -> Node | None:
    return next((one for one in siblings(root, section) if one.number("device") == number), None)


def _free(session: Session, kind: str, stem: str) -> str:
    """The first free name `stem1`, `stem2`, ..."""
    section = {"interconnect": "heartbeat", "np": "networkpartition"}[kind]
    taken = {one.label for one in siblings(session.tree, section)}
    taken |= set(session.config.names(kind))
    number = 1
    while f"{stem}{number}" in taken:
        number += 1
    return f"{stem}{number}"


def _host(text: str) -> tuple[str, str]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ClpError(ExitCode.INVALID_CONFIG, f"{text}: not a HOST:PORT.")
    return found[1].strip("[]"), found[2] or ""


def _set_host(node: Node, host: str, port: str) -> None:
    if host:
        node.set("host", host)
        if port:
            node.set("port", port)
