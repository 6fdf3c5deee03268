"""The original's forms of `clpcfset`: devices by number, parameters by tag path.

The original numbers devices (`add device server1 lan 0 192.168.0.1`) and says elsewhere what they
are for (`add hb lankhb 0 0`).  Here an interconnect has its addresses, so a device of a LAN is an
interconnect whose type comes later; its number is kept in the key `device`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from clptools.cli.cfset_session import Session, make, path_of, usage
from clptools.config import original
from clptools.config.edit import SORTS, Configuration, Found
from clptools.config.field import near
from clptools.config.lines import Json
from clptools.config.original import Meant, NotCarried
from clptools.config.variants import REFUSED
from clptools.faults import ClpError, ExitCode

_DEVICES = ("lan", "mdc", "disk", "bmc", "witness", "ping", "http", "com")
_HOST = re.compile(r"\[?[\w.:-]+\]?(:\d+)?", re.ASCII)


def _url(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise ClpError(ExitCode.INVALID_CONFIG, f"{host}: not a HOST:PORT.")
    return f"http://{host}/"


# ---------------------------------------------------------------------- the original's devices


def _with_device(config: Configuration, kind: str, number: int) -> Json | None:
    """The interconnect or NP resolution that the original knows by this number."""
    found = (one.table for one in config.all_of(kind))
    return next((table for table in found if table.get("device") == number), None)


def by_device(config: Configuration, kind: str, type: str, number: int) -> Found:
    table = _with_device(config, kind, number)
    for found in config.all_of(kind):
        if found.table is table and found.table.get("type") == type.removesuffix("np"):
            return found
    text = f"{type} {number}: no such {SORTS[kind].word}."
    raise ClpError(ExitCode.NO_SUCH, text, near(type, config.names(kind)))


def _device(session: Session, words: list[str]) -> None:
    server, kind, number, info, _ = words
    config = session.config
    config.find("server", server)
    if kind not in _DEVICES:
        raise ClpError(ExitCode.INVALID_CONFIG, f"{kind}: no such device.", near(kind, _DEVICES))
    refused = {"mdc": "mdc", "disk": "diskhb", "com": "comhb"}.get(kind)
    if refused:
        reason, mend = REFUSED["interconnect"][refused]
        raise ClpError(ExitCode.INVALID_CONFIG, f"{kind} device: {reason}.", mend)
    if kind == "bmc":
        config.set(f"server.{server}.bmc.address", info)
    elif kind == "lan":
        table = _with_device(config, "interconnect", int(number))
        if table is None:
            table = {"device": int(number)}
            with config.names_kept("interconnect"):
                config.tables.setdefault("interconnect", []).append(table)
        found = next(one for one in config.all_of("interconnect") if one.table is table)
        config.set(f"{path_of(found)}.address.{server}", info)
    elif info == "0":
        text = f"{kind} device: every server asks, so {server} cannot leave it out."
        raise ClpError(ExitCode.INVALID_CONFIG, text)


def _heartbeat(session: Session, words: list[str]) -> None:
    kind, number, priority, host = words
    config = session.config
    config.check_type("interconnect", kind)
    if kind == "witnesshb" and not host:
        raise usage("add", "hb witnesshb DEVICE PRIORITY HOST:PORT")
    table = _with_device(config, "interconnect", int(number))
    if table is None and kind in ("lankhb", "lanhb"):
        tables = [one.table for one in config.all_of("interconnect")]
        known = ", ".join(str(one["device"]) for one in tables if "device" in one)
        hint = f"Known: {known}." if known else "Add it: clpcfset add device SERVER lan ..."
        raise ClpError(ExitCode.NO_SUCH, f"{number}: no such lan device.", hint)
    if table is not None and "type" in table:
        if table["type"] != kind:
            text = f"Device {number} is there already, as {table['type']}."
            raise ClpError(ExitCode.REFUSED, text)
        session.note(f"{kind} {number} is there already.")
        return
    name = config.free_name("interconnect", kind)
    if table is None:
        table = make(session, "interconnect", name, type=kind).table
        table["device"] = int(number)
    else:
        table |= {"type": kind, "name": name}
    _place(session, config.find("interconnect", name), int(priority))
    if kind == "witnesshb":
        table["url"] = _url(host)


def _place(session: Session, found: Found, priority: int) -> None:
    """Puts an interconnect behind so many others; devices without a type do not count."""
    others = [one for one in found.siblings if one is not found.table]
    typed = [n for n, one in enumerate(others) if "type" in one]
    session.place_noted(priority, len(typed))
    place = typed[priority] if priority < len(typed) else typed[-1] + 1 if typed else 0
    session.config.move(found, place)


def _ping(session: Session, words: list[str]) -> None:
    _, device, priority, _, _, address = words
    table = _with_device(session.config, "np", int(device))
    if table is None:
        table = make(session, "np", type="ping", at=priority).table
        table["device"] = int(device)
    found = by_device(session.config, "np", "ping", int(device))
    place = session.config.place(f"{path_of(found)}.targets")
    session.config.put(place, list(dict.fromkeys([*(place.value or []), address])))


def _http(session: Session, words: list[str]) -> None:
    _, device, priority, host = words
    table = _with_device(session.config, "np", int(device))
    if table is None:
        table = make(session, "np", type="http", at=priority).table
        table["device"] = int(device)
    found = by_device(session.config, "np", "http", int(device))
    session.config.set(f"{path_of(found)}.url", _url(host))


def _no_device(session: Session, words: list[str]) -> None:
    server, kind, number = words
    config = session.config
    found = config.find("server", server)
    table = _with_device(config, "interconnect", int(number))
    if table is not None and server in table.get("address", {}):
        table["address"] = {k: v for k, v in table["address"].items() if k != server}
    elif kind in ("", "bmc") and "bmc" in found.table:
        del found.table["bmc"]
    else:
        raise ClpError(ExitCode.NO_SUCH, f"{server} has no device {number}.")


# ---------------------------------------------------------------------- the original's parameters


def _apply(session: Session, path: str, label: str, tag: str, meant: Callable[[], Meant]) -> None:
    try:
        found = meant()
    except NotCarried as reason:
        raise ClpError(ExitCode.INVALID_CONFIG, f"{label}{tag}: not carried: {reason}.") from None
    config = session.config
    for key in found.keys:
        where = f"{path}.{key.path}".lstrip(".")
        if key.value is None:
            config.drop(config.place(where))
        else:
            config.put(config.place(where, make=True), key.value)
    for note in found.notes:
        session.note(f"{label}{note.removesuffix('.')}.")


def _parameter(kind: str) -> Callable[[Session, list[str]], None]:
    def apply(session: Session, words: list[str]) -> None:
        type, name, tag, value = (*words, "")[:4]
        found = session.config.find(kind, name)
        if type != found.table.get("type", "failover"):
            text = f"{found.label} is {found.table.get('type')}, not {type}."
            raise ClpError(ExitCode.NO_SUCH, text)
        readers = {
            "group": original.group_parameter,
            "resource": original.resource_parameter,
            "monitor": original.monitor_parameter,
        }
        tag = original.tag_of(tag)
        label = f"{found.label}: "
        for part in tag.split("/"):
            if part.startswith(("policy@", "server@")):
                session.config.find("server", part.partition("@")[2])
        _apply(session, path_of(found), label, tag, lambda: readers[kind](found.table, tag, value))

    return apply


def _cluster(session: Session, words: list[str]) -> None:
    tag, value = (*words, "")[:2]
    tag = original.tag_of(tag)
    _apply(session, "", "cluster: ", tag, lambda: original.cluster_parameter(tag, value))


def _depends(session: Session, words: list[str]) -> None:
    found, other = _pair(session, words)
    place = session.config.place(f"{path_of(found)}.depends")
    session.config.put(place, list(dict.fromkeys([*(place.value or []), other])))


def _no_depends(session: Session, words: list[str]) -> None:
    found, other = _pair(session, words)
    place = session.config.place(f"{path_of(found)}.depends")
    if other not in (place.value or []):
        raise ClpError(ExitCode.NO_SUCH, f"{found.label} does not depend on {other}.")
    session.config.put(place, [one for one in place.value if one != other])


def _pair(session: Session, words: list[str]) -> tuple[Found, str]:
    kind, name, other = words
    found = session.config.find("resource", name)
    if kind != found.table.get("type"):
        text = f"{found.label} is {found.table.get('type')}, not {kind}."
        raise ClpError(ExitCode.NO_SUCH, text)
    return found, session.config.find("resource", other.rpartition("@")[2], found.owner).name


def _snmp(session: Session, words: list[str]) -> None:
    host, port, version, community = words
    config = session.config
    place = config.place("alert.snmp_to", make=True)
    shown = f"[{host}]" if ":" in host else host
    config.put(place, list(dict.fromkeys([*(place.value or []), f"{shown}:{port}"])))
    config.set("alert.snmp_version", version.removeprefix("v"))
    config.set("alert.snmp_community", community)


ADD: dict[str, Callable[[Session, list[str]], None]] = {
    "device": _device,
    "hb": _heartbeat,
    "pingnp": _ping,
    "httpnp": _http,
    "grpparam": _parameter("group"),
    "rscparam": _parameter("resource"),
    "monparam": _parameter("monitor"),
    "clsparam": _cluster,
    "rscdep": _depends,
    "snmpsrv": _snmp,
}
DEL: dict[str, Callable[[Session, list[str]], None]] = {
    "device": _no_device,
    "rscdep": _no_depends,
    "grpparam": _parameter("group"),
    "rscparam": _parameter("resource"),
    "monparam": _parameter("monitor"),
    "clsparam": _cluster,
}
