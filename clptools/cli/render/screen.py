"""`clpstat --watch`: one frame of the live screen, as lines of styled pieces.

Pure: view, events, clock and size in, lines out; `live` draws them.  What does not fit is
counted, never silently left out; what is not well comes first then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from clptools.cli.render.status import notes, reasons, where
from clptools.cli.render.text import clean, clock, cut, duration, field, width

if TYPE_CHECKING:
    from clptools.cli.json_types import (
        EventJson,
        GroupJson,
        MonitorJson,
        ServerJson,
        StatusJson,
    )

GOOD, WARN, BAD, FAINT, TITLE = "green", "yellow", "bold red", "dim", "bold"

STYLES = {
    "Normal": GOOD,
    "Online": GOOD,
    "Caution": WARN,
    "Stall": WARN,
    "Suspend": WARN,
    "Online Pending": WARN,
    "Offline Pending": WARN,
    "Error": BAD,
    "Online Failure": BAD,
    "Offline Failure": BAD,
    "Stopped": BAD,
    "Offline": FAINT,
    "Unused": FAINT,
    "Unknown": FAINT,
}
WELL = frozenset({"Normal", "Online", "Unused"})
AWAY = frozenset({"Offline", "Unknown"})
KEYS = " [q]uit  [e]xplain  [h]ardware  [f]ilter  [p]ause"
TEXT_KEYS = " [q]uit  [b]ack"

CLASS_WORDS = {
    "FATAL": "fatal",
    "ERROR": "error",
    "PREDICT": "predictive",
    "PERFORMANCE": "performance",
    "REDUNDANCY": "redundancy",
}

_LEAST_LINES = 10
"""Kept for the sections, header and footer: on a tiny terminal notes are cut first."""
_ROWS_KEPT = (4, 3, 1, 1)
"""Of servers, groups, monitors and events, these rows come before notes."""
_LEAST_NOTES = 3
"""Lines that notes have, above `_LEAST_LINES`, whatever rows there are."""

NAME_COLUMNS = 17
"""At most this wide, blank included: the original's field."""

Line = list[tuple[str, str]]
"""Pieces of one line: text and style (empty: none)."""


class Row(NamedTuple):
    """One line of a section, and whether what it shows is well."""

    line: Line
    well: bool


class Section(NamedTuple):
    """A heading and its rows."""

    title: str
    rows: list[Row]


class Size(NamedTuple):
    """Of the terminal, in characters."""

    columns: int
    lines: int


def frame(
    view: StatusJson,
    events: Sequence[EventJson],
    size: Size,
    now: float,
    *,
    only_bad: bool = False,
    paused: bool = False,
    lost: str = "",
) -> list[Line]:
    """The main screen.  `events`: newest last; `lost`: why the agent does not answer, if so."""
    sections = [server_section(view, size), group_section(view, size), monitor_section(view, size)]
    if only_bad:
        sections = [Section(s.title, [r for r in s.rows if not r.well]) for s in sections]
    sections.append(event_section(events, now))
    told: list[Line] = [
        [(line, BAD if "CRITICAL" in line else WARN)]
        for line in (*notes(view, now, size.columns), *reasons(view, size.columns, mends=False))
    ]
    told = notes_within(told, size.lines - lines_kept(sections, size.lines))
    body = fit(sections, size.lines - 2 - len(told))
    blank: list[Line] = [[] for _ in range(size.lines - 2 - len(told) - len(body))]
    lines = [header(view, now, lost, size.columns), *told, *body, *blank, footer(only_bad, paused)]
    return [clip(line, size.columns) for line in lines[: max(size.lines, 1)]]


def text_frame(title: str, text: str, size: Size, now: float) -> list[Line]:
    """A screen of plain text (an explanation, the hardware events) under a title line."""
    body = text.splitlines()
    room = max(size.lines - 2, 0)
    if len(body) > room:
        more = len(body) - room + 1
        body = [*body[: max(room - 1, 0)], f"... {more} more lines: enlarge the terminal"][:room]
    body += [""] * (room - len(body))
    head = f" {clean(title)}".ljust(max(size.columns - 9, 0))
    lines: list[Line] = [[(f"{head}{clock(now, now)[:8]}", TITLE)]]
    lines += [[(" " + line, "")] for line in body]
    lines.append([(TEXT_KEYS, FAINT)])
    return [clip(line, size.columns) for line in lines[: max(size.lines, 1)]]


def header(view: StatusJson, now: float, lost: str, room: int = 80) -> Line:
    """Cluster, its word, who coordinates, quorum, time; what does not fit goes, the last first."""
    cluster = view["cluster"]
    if lost:
        return [(f" {clean(cluster['name'])}  ", TITLE), (clean(lost), BAD)]
    electorate = cluster["electorate"]
    alive = sum(s["status"] not in AWAY and s["name"] in electorate for s in view["servers"])
    coordinator = clean(cluster["coordinator"]) or "none"
    state = cluster["status"]
    if cluster["suspended"]:
        state += ", suspended"
    ratio = cluster.get("toratio", 1)  # an agent older than clptoratio does not say
    if ratio > 1:
        state += f", time-outs x{ratio}"
    warn = cluster["suspended"] or ratio > 1
    style = WARN if warn else STYLES.get(cluster["status"], "")
    pieces = [
        (f" {clean(cluster['name'])}  ", TITLE),
        (f"{state:<13} ", style),
        (f"coordinator {coordinator:<9} ", "" if cluster["coordinator"] else BAD),
        (f"quorum {alive}/{len(electorate)}".ljust(16) + " ", "" if cluster["quorate"] else BAD),
        (clock(now, now)[:8], ""),
        (f"  rev {cluster['revision']}", FAINT),
    ]
    if sum(width(text) for text, _ in pieces) > room:
        pieces = [(f"{text.rstrip()}  ", style) for text, style in pieces]
        pieces[0] = (f" {pieces[0][0].lstrip()}", TITLE)
    while len(pieces) > 2 and sum(width(text) for text, _ in pieces) - 2 > room:
        pieces.pop()
    return pieces


def footer(only_bad: bool, paused: bool) -> Line:
    """The keys, and which of them are on."""
    on = [word for word, state in (("not well only", only_bad), ("paused", paused)) if state]
    return [(KEYS, FAINT), (f"   ({', '.join(on)})" if on else "", WARN)]


def server_section(view: StatusJson, size: Size) -> Section:
    """Servers with the age of their heartbeats, their BMC and open hardware events.

    On a narrow screen the ages stand without the names of their paths, in their order.
    """
    name = columns(s["name"] for s in view["servers"])
    state = columns((s["status"] for s in view["servers"]), 8)
    beats, power, short = (
        columns((ages(view, server) for server in view["servers"]), 26, 60),
        16,
        False,
    )
    opened_at = max([8, *(width(hardware_word(server)) for server in view["servers"])])
    if 1 + name + state + beats + power + opened_at > size.columns:
        short, power = True, 12
        beats = columns((ages(view, server, short=True) for server in view["servers"]), 9, 30)
    heading = "AGE (ms)" if short else "HEARTBEATS (age ms)"
    title = f" {'SERVER':<{name}}{'STATE':<{state}}{heading:<{beats}}{'BMC':<{power}}HARDWARE"
    rows = []
    for server in view["servers"]:
        opened = hardware_word(server)
        bmc = server["bmc"]
        mute = bmc is not None and bool(bmc["error"])
        well = server["status"] in WELL and not opened and not mute
        line: Line = [
            ("*" if server["local"] else " ", TITLE),
            (field(server["name"], name), ""),
            (field(server["status"], state), STYLES.get(server["status"], "")),
            (field(ages(view, server, short=short), beats), ""),
            (f"{bmc_word(server):<{power}}", WARN if mute else ""),
            (opened or "-", WARN if opened else ""),
        ]
        rows.append(Row(line, well))
    return Section(title, rows)


def group_section(view: StatusJson, size: Size) -> Section:
    """Groups, where they are, their resources or what they wait for."""
    name = columns(g["name"] for g in view["groups"])
    state = columns((g["status"] for g in view["groups"]), 8)
    on = columns((g["current"] or "" for g in view["groups"]), 9)
    rest = max(size.columns - 2 - name - state - on - 10, 12)
    title = f" {'GROUP':<{name}}{'STATE':<{state}}{'ON':<{on}}{'RESOURCES':<{rest}}SINCE"
    rows = []
    for group in view["groups"]:
        waiting, planned = group["waiting_for"], group.get("planned_move") is not None
        line: Line = [
            (" " + field(group["name"], name), ""),
            (field(group["status"], state), STYLES.get(group["status"], "")),
            (field(group["current"] or "-", on), ""),
            (field(resource_words(group), rest), WARN if waiting is not None or planned else ""),
            (since(waiting["since_s"] if waiting is not None else group["since_s"]), ""),
        ]
        well = group["status"] in WELL or not group["wanted"]
        rows.append(Row(line, well and waiting is None and not planned))
    return Section(title, rows)


def monitor_section(view: StatusJson, size: Size) -> Section:
    """Monitors and their word on each server, with the text of what is not well."""
    name = columns(m["name"] for m in view["monitors"])
    there = [s["name"] for s in view["servers"]]
    each = columns(there, 9, 14)
    shown = there[: max((size.columns - 1 - name - 9) // each, 1)]
    heads = "".join(field(server, each) for server in shown)
    if len(shown) < len(there):
        heads += f"+{len(there) - len(shown)}"
    title = f" {'MONITOR':<{name}}{'STATE':<9}{heads}"
    rows = []
    for monitor in view["monitors"]:
        line: Line = [
            (" " + field(monitor["name"], name), ""),
            (field(monitor["status"], 9), STYLES.get(monitor["status"], "")),
        ]
        for server in shown:
            found = monitor["servers"].get(server)
            word = found["status"] if found is not None else "-"
            line.append((field(word, each), STYLES.get(word, "")))
        line.append((" " + bad_text(monitor), ""))
        rows.append(Row(line, monitor["status"] in WELL))
    return Section(title, rows)


def event_section(events: Sequence[EventJson], now: float) -> Section:
    """The newest events, newest first; none of them counts as well."""
    styles = {"ERROR": BAD, "WARN": WARN}
    rows = [
        Row(
            [
                (f" {clock(event['time'], now)[:-2]}  ", FAINT),
                (clean(event["text"]), styles.get(event["level"], "")),
            ],
            False,
        )
        for event in reversed(events)
    ]
    return Section(" LAST", rows)


def fit(sections: list[Section], lines: int) -> list[Line]:
    """The sections in at most `lines`: each gets its title and, in turn, a row while they last.

    Without room for titles they go first.  The last section (events) fills what remains.
    """
    titles = lines >= 2 * len(sections)
    room = max(lines - (len(sections) if titles else 0), 0)
    given = [0] * len(sections)
    while room > 0:
        wanting = [i for i, s in enumerate(sections) if given[i] < len(s.rows)]
        if not wanting:
            break
        fixed = [i for i in wanting if i < len(sections) - 1] or wanting
        for index in wanting if given[-1] == 0 else fixed:
            if room > 0:
                given[index] += 1
                room -= 1
    result: list[Line] = []
    for index, section in enumerate(sections):
        if titles:
            result.append([(section.title, TITLE)])
        last = index == len(sections) - 1
        result += rows_within(section.rows, given[index], counted=not last)
    return result


def lines_kept(sections: list[Section], lines: int) -> int:
    """What notes leave to header, footer and sections on a screen of so many lines."""
    rows = sum(min(len(s.rows), most) for s, most in zip(sections, _ROWS_KEPT, strict=True))
    return max(min(2 + len(sections) + rows, lines - _LEAST_NOTES), _LEAST_LINES)


def notes_within(told: list[Line], room: int) -> list[Line]:
    """As many as there is room for; the last line counts the rest."""
    if len(told) <= room:
        return told
    if room <= 0:
        return []
    more = len(told) - room + 1
    return [*told[: room - 1], [(f"  ... {more} more lines: clpstat -s", WARN)]]


def rows_within(rows: list[Row], room: int, *, counted: bool) -> list[Line]:
    """As many rows as there is room for; of the rest, how many and whether they are well."""
    if len(rows) <= room or not counted:
        return [row.line for row in rows[:room]]
    if room == 0:
        return []
    order = sorted(rows, key=lambda row: row.well)
    rest = order[max(room - 1, 0) :]
    ill = sum(not row.well for row in rest)
    words = f"{ill} of them not well" if ill else "all well"
    many = f"... {len(rest)} more" if room > 1 else f"{len(rest)} in all"
    tail: Line = [(f" {many}, {words}", BAD if ill else FAINT)]
    if room == 1 and len(rows) > 1 and ill:
        # A single line says most by the row that is not well.
        return [order[0].line]
    return [*(row.line for row in order[: room - 1]), tail]


def columns(words: Iterable[str], least: int = 9, most: int = NAME_COLUMNS) -> int:
    """Width of a column that holds these words and a blank, within bounds."""
    widest = max((width(clean(word)) for word in words), default=0)
    return min(max(widest + 1, least), most)


def ages(view: StatusJson, server: ServerJson, *, short: bool = False) -> str:
    """`lankhb1 40  lanhb1 41`: the age of its newest heartbeat, as this server heard it.

    `short`: without the names.

    If this server hears none, as the others heard it.  BMC heartbeats are in the column of the BMC.
    """
    others = [s for s in view["servers"] if s is not server and s["status"] not in AWAY]
    newest: dict[str, float | None] = {
        beat["name"]: None for beat in server["heartbeats"] if beat["type"] != "bmchb"
    }
    for observer in [s for s in others if s["local"]] or others:
        for beat in observer["heartbeats"]:
            seen = beat["peers"].get(server["name"])
            age = seen["last_seen_s"] if seen is not None else None
            if beat["name"] not in newest or age is None:
                continue
            known = newest[beat["name"]]
            if known is None or age < known:
                newest[beat["name"]] = age
    if short:
        return " ".join(milliseconds(age).strip() for age in newest.values())
    return "  ".join(f"{clean(name)} {milliseconds(age)}" for name, age in newest.items())


def milliseconds(age: float | None) -> str:
    """An age in three or four columns; from a second on in seconds."""
    if age is None:
        return "  -"
    if age < 0.9995:
        return f"{age * 1000:3.0f}"
    return f"{age:.1f}s" if age < 9.95 else f"{min(age, 999):.0f}s"


def bmc_word(server: ServerJson) -> str:
    """`on    3 ms`, or why it is not known."""
    bmc = server["bmc"]
    if bmc is None:
        return "-"
    if not bmc["reachable"]:
        return "no answer" if bmc["error"] else "-"
    latency = bmc["latency_ms"]
    return f"{bmc['power']:<4}" + (f"{latency:4.0f} ms" if latency is not None else "")


def hardware_word(server: ServerJson) -> str:
    """`1 predictive`, or nothing."""
    counts: dict[str, int] = {}
    for event in server["open_events"]:
        word = CLASS_WORDS.get(event["class"], clean(event["class"]).lower())
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def resource_words(group: GroupJson) -> str:
    """`fip1 ok  exec1 ok`, or what a waiting group waits for."""
    waiting = group["waiting_for"]
    if group.get("copies"):
        return f"RUNS TWICE: on {clean(where(group))}"
    if waiting is not None:
        return clean(waiting["text"])
    planned = group.get("planned_move")
    if planned is not None:
        left = planned["in_s"]
        when = f"in {duration(left)}" if left else "in its quiet window"
        waits = f", waits: {clean(planned['waits_for'])}" if planned["waits_for"] else ""
        to = clean(planned["to"]) or "another server"
        return f"moves to {to} {when} ({clean(planned['monitor'])}){waits}"
    return "  ".join(
        f"{clean(r['name'])} {'ok' if r['status'] == 'Online' else r['status']}"
        for r in group["resources"]
    )


def bad_text(monitor: MonitorJson) -> str:
    """The text of the first server on which the monitor is not well."""
    for found in monitor["servers"].values():
        if found["status"] not in WELL and found["text"]:
            return clean(found["text"])
    return ""


def since(seconds: float) -> str:
    """`2 d 03:11`, `03:11:24`: in nine columns."""
    whole = int(max(seconds, 0.0))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    return f"{days} d {hours:02}:{minutes:02}" if days else f"{hours:02}:{minutes:02}:{left:02}"


def clip(line: Line, room: int) -> Line:
    """The line, cut to the width of the screen; a mark at its end says that it goes on."""
    if room > 1 and sum(width(text) for text, _ in line) > room:
        text = "".join(piece for piece, _ in line).rstrip()
        if width(text) > room:
            return [*_cut(line, room - 1), (MORE, FAINT)]
    return _cut(line, room)


MORE = "…"


def _cut(line: Line, room: int) -> Line:
    result: Line = []
    for text, style in line:
        if not text:
            continue
        result.append((cut(text, room), style))
        room -= width(text)
        if room <= 0:
            break
    return result
