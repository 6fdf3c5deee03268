"""What systematic runs play, as lines of `verbs.py`: the stories, and every single fault.

A fault is mended soon or late: `LATE` is longer than every proof takes, so that the others have
gone on without the server that it met.  Some are over by themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from clptools.core.model import actions as a
from clptools.core.model.settings import Settings

LATE = -1.0
"""Seconds that follow from the configuration: `late_s`."""


class Row(NamedTuple):
    """Some lines, what mends them, and after how many seconds each time."""

    kind: str
    """Which actions it may matter to: see `touches`."""
    do: str
    undo: str = ""
    spans: tuple[float, ...] = (0.0,)
    short: bool = False
    """Its last span is on the short list, of which pairs are made."""


EACH = (
    Row("process", "kill {s}", "start {s}", (5.0, 0.1), short=True),
    Row("process", "kill {s}; forget {s}", "start {s}", (0.2,), short=True),
    Row("process", "off {s}", "on {s}", (LATE,), short=True),
    Row("process", "reset {s}", short=True),
    Row("process", "pause {s} 10", short=True),
    Row("process", "stall {s} 1"),
    Row("process", "stall {s} 10", short=True),
    Row("network", "isolate {s}", "heal", (0.01, LATE), short=True),
    Row("network", "deaf {s}", "heal", (LATE,)),
    Row("network", "mute {s}", "heal", (LATE,), short=True),
    Row("network", "authkey {s} differs", "authkey {s} mend", (LATE,)),
    Row("clock", "drift {s} 10000"),
    Row("clock", "drift {s} -10000"),
    Row("script", "script {s} * start fails", "script {s} mend", (LATE,)),
    Row("script", "script {s} * stop fails", "script {s} mend", (LATE,), short=True),
    Row("script", "script {s} * start hangs", "script {s} mend", (LATE,)),
    Row("script", "script {s} * stop hangs", "script {s} mend", (LATE,)),
    Row("watchdog", "watchdog {s} broken", "watchdog {s} works", (LATE,)),
    Row("guard", "watchdog {s} dies", "watchdog {s} works", (LATE,)),
    Row("write", "run {s} fails", "run {s} works", (2.0,), short=True),
)
"""Of each server."""

EACH_BMC = (
    Row("lie", "bmc {s} lies-off", "bmc {s} mend", (0.5,), short=True),
    Row("bmc", "bmc {s} restart 2", "bmc {s} mend", (LATE,), short=True),
    Row("bmc", "bmc {s} dead", "bmc {s} mend", (LATE,), short=True),
    Row("bmc", "isolate {s}; bmc {s} cut", "heal; bmc {s} mend", (2.0,), short=True),
    Row("bmc", "isolate {s}; bmc {s} restart 2", "heal; bmc {s} mend", (LATE,), short=True),
    Row("bmc", "off {s}; bmc {s} dead", "bmc {s} mend; on {s}", (LATE,)),
    Row("question", "bmc {s} slow 1", "bmc {s} mend", (LATE,)),
    Row("question", "bmc {s} stuck-on", "bmc {s} mend", (LATE,)),
    Row("question", "bmc {s} restart 10 silent", "bmc {s} mend", (LATE,)),
    Row("strike", "bmc {s} fence-fails", "bmc {s} mend", (LATE,)),
    Row("strike", "bmc {s} fence-lies", "bmc {s} mend", (LATE,), short=True),
    Row("strike", "bmc {s} fence-late 2", "bmc {s} mend", (LATE,)),
)
"""Of each server with a BMC; with `isolate` a switch or a shared port, with `off` the cord."""

PAIR = (
    Row("network", "hold {a} {b}", "release {a} {b}", (4.0,)),
    Row("control", "hold {a} {b} control", "release {a} {b}", (1.0, 8.0), short=True),
)
"""Of each two servers, both ways round."""

ONEWAY = (Row("network", "cut-oneway {a} {b}", "heal {a} {b}", (LATE,)),)
TWO = (Row("network", "cut {a} {b}", "heal {a} {b}", (LATE,), short=True),)
"""Of each two servers where there are others; of two alone, rows of `EACH` say the same."""

ARBITER = (
    Row("arbiter", "arbiter down", "arbiter mend", (2.0, LATE), short=True),
    Row("arbiter", "arbiter slow 2", "arbiter mend", (LATE,)),
)

EACH_ARBITER = (Row("arbiter", "arbiter cut {s}", "arbiter mend", (LATE,)),)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: lines, each some seconds after the first."""

    kind: str
    lines: tuple[tuple[float, str], ...]
    servers: tuple[str, ...]
    """The servers that it meets; none: all."""
    short: bool


def late_s(settings: Settings) -> float:
    """Longer than it takes to find a server lost, to wait for its lease, and to take over."""
    cluster = settings.cluster
    rules = cluster.heartbeat_timeout_ms + 2 * cluster.lease_ms + cluster.self_stop_ms
    return round(rules * 1.05 / 1000 + 3.0, 1)


def catalogue(settings: Settings) -> tuple[Fault, ...]:
    """All faults of a cluster."""
    late, names = late_s(settings), settings.names
    found: list[Fault] = []
    for name in names:
        found += _made(EACH, late, (name,), s=name)
    for server in settings.servers:
        if server.has_power_control:
            found += _made(EACH_BMC, late, (server.name,), s=server.name)
    for one in names:
        for two in (n for n in names if n != one):
            found += _made(PAIR, late, (one, two), a=one, b=two)
            if len(names) > 2:
                found += _made(ONEWAY, late, (one, two), a=one, b=two)
            if len(names) > 2 and one < two:
                found += _made(TWO, late, (one, two), a=one, b=two)
    if any(x.decides for x in settings.arbiters):
        found += _made(ARBITER, late, ())
        for name in names:
            found += _made(EACH_ARBITER, late, (name,), s=name)
    return tuple(found)


def _made(rows: tuple[Row, ...], late: float, who: tuple[str, ...], **names: str) -> list[Fault]:
    made = []
    for row in rows:
        for span in row.spans:
            lines = [(0.0, x) for x in _lines(row.do, names)]
            lines += [(late if span == LATE else span, x) for x in _lines(row.undo, names)]
            short = row.short and span == row.spans[-1]
            made.append(Fault(kind=row.kind, lines=tuple(lines), servers=who, short=short))
    return made


def _lines(text: str, names: dict[str, str]) -> list[str]:
    return [line.strip().format(**names) for line in text.split(";") if line]


_INERT = (a.SetTimer, a.ClearTimer, a.Record, a.Progress, a.PetWatchdog, a.Reply)
"""Actions that no other server sees: breaking off before or after one is the same."""


def is_seen(action: a.Action) -> bool:
    """Whether it matters, to anything but words, if this action was done."""
    return not isinstance(action, _INERT)


def touches(fault: Fault, server: str, action: a.Action) -> bool:
    """Whether a fault right before an action of that server changes how the action turns out."""
    met = not fault.servers or server in fault.servers
    kind = fault.kind
    match action:
        case a.SendBeat():
            if kind == "network":
                return _on_path(fault, server, action.via or action.beat.to)
        case a.SendControl():
            if kind in ("network", "control"):
                return _on_path(fault, server, action.to)
        case a.ReadPower():
            if kind in ("bmc", "lie", "question"):
                return action.server in fault.servers
        case a.Fence():
            if kind in ("bmc", "lie", "question", "strike"):
                return action.server in fault.servers
        case a.ArmDeadman() | a.StandDown() | a.HostAction():
            if kind == "bmc":
                return met
        case a.Persist():
            if kind == "write":
                return met
        case a.RunResource():
            if kind == "script":
                return met and f" {action.op} " in fault.lines[0][1]
        case a.ArmWatchdog():
            if kind == "watchdog":
                return met
    return kind == "process" and met and is_seen(action)


def _on_path(fault: Fault, sender: str, to: str) -> bool:
    if len(fault.servers) == 1:
        return fault.servers[0] in (sender, to)
    if fault.lines[0][1].startswith("cut "):
        return sender in fault.servers and to in fault.servers
    return (sender, to) == fault.servers


def comes_between(fault: Fault, server: str) -> bool:
    """Whether it is played when a step of that server is through.

    What does nothing but to a certain kind of action comes right before that; and a clock that
    is wrong or a watchdog that is gone matters only later on, so it is enough that its own
    server's steps end.
    """
    if fault.kind in ("clock", "guard"):
        return server in fault.servers
    return fault.kind in ("process", "network", "bmc", "lie", "arbiter")


# --- stories -----------------------------------------------------------------------------------
# What a cluster lives through.  `{h}` holds the first group when the story begins, `{o}` is another
# server, `{g}` that group, `{mrw}` and `{genw}` are monitors.  Each ends in a cluster that works.

NEW = "start"
"""How most stories begin: agents that have run long enough to be members on disk."""
_LONG = 35
"""Seconds until the disk has it for sure."""


class Tale(NamedTuple):
    """One story; in its text `LATE` stands for the seconds after which the others have gone on."""

    name: str
    needs: str
    """What the cluster must have: two, three, bmc, arbiter, mrw, genw; `ordered`: a group that
    starts after the first one; `few`: three servers at most, its course being the same with more.
    """
    text: str


TALES = (
    Tale("first-start", "", "start; advance 12"),
    Tale("start-again", "few", "kill; advance 0.3; start; advance 10"),
    Tale("boot-all", "few", "off; advance 2; on; advance 15"),
    Tale("boot-holder", "two", "reset {h}; advance 12"),
    Tale("agent-restart", "few", "kill {h}; advance 0.5; start {h}; advance 8"),
    Tale("agent-leaves", "two", "leave {h}; advance 6; start {h}; advance 8"),
    Tale("move", "two", "request {h} move {g} {o}; advance 5"),
    Tale(
        "move-back", "few two", "request {o} move {g} {o}; until {g} {o} 20;"
        "request {o} move {g} {h}; advance 5"
    ),
    Tale(
        "group-stop-start", "few", "request {h} stop {g}; advance 3;"
        "request {h} start {g}; advance 3"
    ),
    Tale(
        "trap", "two mrw", "trap {h} {mrw} FATAL cpu1; advance 8; trap {h} {mrw} CLEAR cpu1;"
        "advance 3"
    ),
    Tale(
        "traps-everywhere", "few two mrw", "trap {h} {mrw} FATAL cpu1; advance 1;"
        "trap {o} {mrw} FATAL cpu1; advance 8; trap {h} {mrw} CLEAR cpu1;"
        "trap {o} {mrw} CLEAR cpu1; advance 4"
    ),
    Tale("monitor", "few genw", "monitor {h} {genw} error; advance 14; monitor {h} {genw} normal"),
    Tale("power-loss", "two", "off {h}; advance LATE; on {h}; advance 12"),
    Tale("standby-power-loss", "few two", "off {o}; advance LATE; on {o}; advance 12"),
    Tale("cut-long", "two", "isolate {h}; advance LATE; heal; advance 9"),
    Tale("cut-short", "two", "isolate {h}; advance 4; heal; advance 8"),
    Tale("standby-cut", "three", "isolate {o}; advance LATE; heal; advance 6"),
    Tale("holder-mute", "few two", "mute {h}; advance LATE; heal; advance 9"),
    Tale("holder-deaf", "two", "deaf {h}; advance LATE; heal; advance 9"),
    Tale("holder-hangs", "two", "stall {h} 30; advance 32"),
    Tale(
        "bmc-gone-power-loss", "few two bmc", "bmc {h} dead; advance 3; off {h}; advance 6;"
        "request {o} confirm-down {h}; advance LATE; bmc {h} mend; on {h}; advance 12"
    ),
    Tale(
        "confirm-down", "two", "off {h}; advance 4; request {o} confirm-down {h}; advance 8;"
        "on {h}; advance 12"
    ),
    Tale("suspend", "few", "request {o} suspend; advance 2; request {h} resume; advance 3"),
    Tale(
        "suspend-power-loss", "two", "request {o} suspend; advance 1; off {h}; advance 8;"
        "request {o} resume; advance LATE; on {h}; advance 12"
    ),
    Tale(
        "service-stop", "few two", "request {h} service-stop {h}; advance 6;"
        "request {h} service-start {h}; advance 8"
    ),
    Tale(
        "service-stop-all", "", "request {h} service-stop *; advance 6;"
        "request {h} service-start *; request {o} service-start *; advance 10"
    ),
    Tale(
        "awaited-group-stays-down", "ordered two", "request {h} stop {g}; advance 3;"
        "reset {o}; advance LATE; request {h} start {g}; advance 8"
    ),
    Tale(
        "awaited-group-moves", "ordered two", "off {h}; advance LATE; on {h}; advance 8;"
        "request {h} move {g} {h}; advance 5"
    ),
    Tale("push-same", "few", "revise {h} same; advance 4"),
    Tale("push-shorter", "", "revise {h} leases 2 3 20; advance 8"),
    Tale("push-longer", "few", "revise {h} leases 5 10 30; advance 8"),
    Tale(
        "push-server", "three", "request {o} service-stop {o}; advance 4; revise {h} remove {o};"
        "advance 3; revise {h} add {o}; advance 8"
    ),
    Tale(
        "push-group", "few", "request {h} stop {g}; advance 3;"
        "revise {h} remove-group {g}; advance 3; revise {h} add-group {g}; advance 3;"
        "request {h} start {g}; advance 3"
    ),
    Tale(
        "push-arbiter", "two arbiter", "revise {h} remove-arbiter; advance 5;"
        "revise {h} add-arbiter; advance 6"
    ),
    Tale(
        "push-arbiter-lost-word", "two arbiter", "revise {h} remove-arbiter -{o}; isolate {h};"
        "advance LATE; heal; revise {h} again; advance 6"
    ),
)  # fmt: skip


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A tale of one cluster."""

    name: str
    begin: tuple[str, ...]
    """Lines before any fault comes."""
    lines: tuple[str, ...]


def stories(settings: Settings) -> tuple[Story, ...]:
    """All stories that this cluster can live through; none where it has no group."""
    if not settings.groups:
        return ()
    group = settings.groups[0]
    holder = group.servers[0] if group.servers else settings.names[0]
    kinds = {m.type: m.name for m in settings.monitors if holder in m.servers}
    words = {
        "h": holder,
        "o": next((n for n in settings.names if n != holder), holder),
        "g": group.name,
        "mrw": kinds.get("mrw", ""),
        "genw": kinds.get("genw", ""),
    }
    has = _has(settings) | {kind for kind in ("mrw", "genw") if kind in kinds}
    begin = ("start", f"until {group.name} {holder} 120", f"advance {_LONG}")
    return tuple(
        Story(
            name=tale.name,
            begin=() if tale.text.startswith(NEW) else begin,
            lines=_story_lines(tale.text, late_s(settings), words),
        )
        for tale in TALES
        if set(tale.needs.split()) <= has
    )


def _has(settings: Settings) -> set[str]:
    has = set()
    if len(settings.names) > 1:
        has.add("two")
    if len(settings.names) > 2:
        has.add("three")
    if len(settings.names) < 4:
        has.add("few")
    if all(s.has_power_control for s in settings.servers):
        has.add("bmc")
    if any(x.decides for x in settings.arbiters):
        has.add("arbiter")
    if any(settings.groups[0].name in group.start_after for group in settings.groups):
        has.add("ordered")
    return has


def _story_lines(text: str, late: float, words: dict[str, str]) -> tuple[str, ...]:
    whole = text.replace("LATE", f"{late:g}").format(**words)
    return tuple(line.strip() for line in whole.split(";") if line.strip())
