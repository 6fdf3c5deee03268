"""`clpcfset add`, `del` and `show`: objects, by the original's words or clearer ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile

from clptools.cli import cfset_devices
from clptools.cli import cfset_original as of_the_original
from clptools.cli.cfset_session import Session, digits, make, path_of, usage
from clptools.cli.command import Answer
from clptools.config.edit import SORTS, Configuration, Found, kind_of
from clptools.config.field import Field, near
from clptools.config.lines import Json
from clptools.config.references import forget
from clptools.config.statements import written
from clptools.config.table import SINGLE, fields_of, inner_of
from clptools.faults import ClpError, ExitCode, plain

ADD = {
    "srv": "SERVER [PRIORITY]",
    "device": "SERVER lan|bmc|witness|ping|http ID INFO [EXTEND]",
    "hb": "TYPE DEVICE PRIORITY [HOST:PORT]",
    "interconnect": "TYPE [NAME]",
    "pingnp": "pingnp DEVICE PRIORITY GROUP LIST ADDRESS",
    "httpnp": "httpnp DEVICE PRIORITY HOST:PORT",
    "np": "TYPE [NAME]",
    "fence": "NAME",
    "svg": "NAME",
    "grp": "[TYPE] NAME",
    "grpparam": "TYPE NAME TAG VALUE",
    "rsc": "GROUP TYPE NAME",
    "rscparam": "TYPE NAME TAG VALUE",
    "rscdep": "TYPE NAME DEPENDS-ON",
    "mon": "TYPE [NAME]",
    "monparam": "TYPE NAME TAG VALUE",
    "clsparam": "TAG VALUE",
    "snmpv3_user": "MONITOR USER",
    "trap_profile": "NAME",
    "trap": "PROFILE [NAME]",
    "snmpsrv": "HOST PORT v1|v2c COMMUNITY",
}
"""Word -> the words that follow; objects also take KEY=VALUE after them."""
DEL = {
    "device": "SERVER [TYPE] ID",
    "rscdep": "TYPE NAME DEPENDS-ON",
    "grpparam": "TYPE NAME TAG",
    "rscparam": "TYPE NAME TAG",
    "monparam": "TYPE NAME TAG",
    "clsparam": "TAG",
}
_SAME = {
    "server": "srv", "group": "grp", "resource": "rsc", "monitor": "mon", "server_group": "svg",
}  # fmt: skip
_NOT = {
    **dict.fromkeys(
        ("alertservice", "alert"),
        ("there are no warning lamps", "Let alert.script switch one."),
    ),
    "smtpsrv": (
        "is set by its keys",
        "clpcfset set alert.smtp=HOST:PORT alert.mail_to=ADDRESS",
    ),
}


def add(session: Session, words: list[str]) -> None:
    """`clpcfset add ...`."""
    if not words:
        raise usage("add", "KIND ...", f"Kinds: {', '.join(ADD)}")
    word, rest = _SAME.get(words[0], words[0]), words[1:]
    if word in _NOT:
        reason, mend = _NOT[word]
        raise ClpError(ExitCode.INVALID_CONFIG, f"{word}: {reason}.", mend)
    if word in of_the_original.FREE:
        of_the_original.FREE[word](session, rest)
        return
    if word == "hb" and not (len(rest) > 1 and rest[1].isdigit()):
        word = "interconnect"
    if word == "np" and rest[:1] in (["pingnp"], ["httpnp"]):
        word = rest[0]
    if word not in ADD:
        raise ClpError(ExitCode.USAGE, f"{word}: cannot be added.", near(word, (*ADD, *_SAME)))
    ours = word in _OBJECTS and any("=" in given for given in rest)
    if word == "mon" and len(rest) < 2:
        ours = True  # the original asks for a name
    if word in of_the_original.ADD and words[0] not in _SAME and not ours:
        of_the_original.ADD[word](session, _fit(word, ADD[word], rest))
        return
    if word in _OBJECTS:
        names = list(takewhile(lambda given: "=" not in given, rest))
        more = rest[len(names) :]
        if any("=" not in given for given in more):
            raise usage("add", f"{words[0]} {ADD[word]} [KEY=VALUE...]")
        found = _OBJECTS[word](session, _fit(word, ADD[word], names))
        for pair in more:
            key, _, value = pair.partition("=")
            session.config.set(f"{path_of(found)}.{key}", value)
        if found in session.made and found.table.get("type") == "ocf":
            from clptools.cli.cfset_agents import offer

            offer(session, found)


def delete(session: Session, words: list[str]) -> None:
    """`clpcfset del ...`."""
    if not words:
        raise usage("del", "KIND NAME")
    word, rest = words[0], words[1:]
    if word in DEL:
        of_the_original.DEL[word](session, _fit(word, DEL[word], rest, verb="del"))
        return
    if rest and of_the_original.forgotten(session, kind_of(word), rest[-1]):
        return
    found = named(session.config, kind_of(word), rest, "del")
    session.config.delete(found)
    still = forget(session.config, found)
    if still:
        session.note(f"Still named: {found.name} in {'; '.join(still)}.")


def named(config: Configuration, kind: str, words: list[str], verb: str) -> Found:
    """The object that the last word names; those before it are what the original asks for."""
    if not words:
        raise usage(verb, f"{kind} NAME")
    *before, name = words
    if kind in ("interconnect", "np") and len(before) == 1 and name.isdigit():
        return cfset_devices.by_device(config, kind, before[0], int(name))
    # Users of SNMPv3 may have one name in several monitors, traps in several profiles.
    owner = before[0] if before and kind in ("snmpv3_user", "trap") else ""
    found = config.find(kind, name, owner)
    told = [found.owner, str(found.table.get("type", "failover"))] if before else []
    for given in before:
        if given not in told:
            text = f"{found.label} is of {' '.join(filter(None, told))}, not of {given}."
            raise ClpError(ExitCode.NO_SUCH, text)
    return found


# ---------------------------------------------------------------------- reading the words


def _fit(word: str, form: str, words: list[str], verb: str = "add") -> list[str]:
    """The words in the order of the form; those left out are empty.  Raises ClpError (USAGE)."""
    slots = form.split()
    optional = [slot.startswith("[") for slot in slots]
    missing = len(slots) - len(words)
    shown = f"np {form}" if form.startswith(word) else f"{word} {form}"
    if not 0 <= missing <= sum(optional):
        raise usage(verb, shown)
    values: list[str] = []
    rest = list(words)
    for slot, may_lack in zip(slots, optional, strict=True):
        lacking = may_lack and missing > 0
        missing -= lacking
        value = "" if lacking else rest.pop(0)
        if value and slot in ("PRIORITY", "[PRIORITY]", "DEVICE", "ID", "PORT"):
            digits(slot.strip("[]"), value)
        values.append(value)
    return values


# ---------------------------------------------------------------------- objects


def _server(session: Session, words: list[str]) -> Found:
    name, priority = words
    session.joined.append(name)
    return make(session, "server", name, at=priority)


def _interconnect(session: Session, words: list[str]) -> Found:
    kind, name = words
    return make(session, "interconnect", name, type=kind)


def _np(session: Session, words: list[str]) -> Found:
    kind, name = words
    return make(session, "np", name, type=kind)


def _group(session: Session, words: list[str]) -> Found:
    kind, name = words
    return make(session, "group", name, type=kind)


def _resource(session: Session, words: list[str]) -> Found:
    group, kind, name = words
    return make(session, "resource", name, type=kind, owner=group)


def _monitor(session: Session, words: list[str]) -> Found:
    kind, name = words
    return make(session, "monitor", name, type=kind)


def _user(session: Session, words: list[str]) -> Found:
    monitor, name = words
    session.config.place(f"monitor.{monitor}.category")  # of an mrw alone
    return make(session, "snmpv3_user", name, owner=monitor)


def _trap(session: Session, words: list[str]) -> Found:
    profile, name = words
    return make(session, "trap", name, owner=profile)


def _plain(kind: str) -> Callable[[Session, list[str]], Found]:
    return lambda session, words: make(session, kind, words[0])


_OBJECTS: dict[str, Callable[[Session, list[str]], Found]] = {
    "srv": _server,
    "interconnect": _interconnect,
    "np": _np,
    "fence": _plain("fence"),
    "svg": _plain("server_group"),
    "grp": _group,
    "rsc": _resource,
    "mon": _monitor,
    "snmpv3_user": _user,
    "trap_profile": _plain("trap_profile"),
    "trap": _trap,
}


# ---------------------------------------------------------------------- show


def overview(config: Configuration) -> Answer:
    """The objects by kind."""
    lines = [f"{'cluster':<13} {config.tables.get('cluster', {}).get('name', 'cluster')}"]
    for kind in SORTS:
        shown = [
            f"{one.name} ({one.table['type']})" if "type" in one.table else one.name
            for one in config.all_of(kind)
        ]
        if shown:
            lines.append(plain(f"{kind:<13} {', '.join(shown)}"))
    return Answer("\n".join(lines), {"configuration": config.tables})


def keys(config: Configuration, path: str) -> Answer:
    """Every key of one object: what is set, then what is not, with its default."""
    lines = lines_of(config, path)
    if path in SINGLE:
        return Answer("\n".join(lines), {"path": path, "keys": config.tables.get(path, {})})
    found, _ = config.object_at(path)
    lines += _within(config, found)
    return Answer("\n".join(lines), {"path": path, "keys": found.table})


def _within(config: Configuration, owner: Found) -> list[str]:
    """The objects in it, by what follows its own PATH in theirs; they are shown one by one."""
    lines = []
    for kind, sort in SORTS.items():
        if sort.within != owner.kind:
            continue
        for one in config.all_of(kind):
            if one.owner == owner.name:
                said = "; ".join(f"{key} = {written(value)}" for key, value in one.table.items())
                lines.append(plain(f"{f'{kind}.{one.name}':<38}  # {said}"))
    return lines


def lines_of(config: Configuration, path: str) -> list[str]:
    """The keys of an object or single table, a line each."""
    if path in SINGLE:
        kind, table = path, config.tables.get(path, {})
    else:
        found, _ = config.object_at(path)
        kind, table = found.kind, found.table
    lines = _lines(table, fields_of(kind, table, config.registries), "")
    for name, inner in inner_of(kind).items():
        below = table.get(name, {})
        lines += _lines(below if isinstance(below, dict) else {}, inner, f"{name}.")
    return lines


def _lines(table: Json, fields: dict[str, Field], before: str) -> list[str]:
    lines = []
    for name, field in fields.items():
        if name in table:
            said = f"{before}{name} = {written(table[name])}"
        elif field.default is not None:
            said = f"# {before}{name} = {written(field.default)}"
        else:
            said = f"# {before}{name}"
        lines.append(f"{said:<38}  # {field.help}")
    return lines


def key(config: Configuration, path: str) -> Answer:
    """The value of one key, or its default; nothing where it has none."""
    place = config.place(path)
    value = place.value
    if value is None and not place.entry:
        value = place.field.default
    shown = value if isinstance(value, str) else "" if value is None else written(value)
    return Answer(shown, {"path": path, "value": value, "set": place.value is not None})
