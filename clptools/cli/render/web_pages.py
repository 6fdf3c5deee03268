"""Pages for a browser: an incident, and the present state.  Each is one file without a script.

Nothing is fetched from elsewhere, and the page itself forbids it (Content-Security-Policy), so that
even hostile text of a trap, all of which is escaped, could do nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from clptools.api.messages import EventRecord
from clptools.cli.render import shapes, timeline
from clptools.cli.render.explain import planned_words, waiting_lines
from clptools.cli.render.incident import Incident
from clptools.cli.render.screen import AWAY, WELL, ages, bmc_word, since
from clptools.cli.render.status import condition_text, remarks, stopped, where
from clptools.cli.render.text import duration
from clptools.cli.render.timeline import clock, day, told

if TYPE_CHECKING:
    from clptools.cli.json_types import HardwareJson, StatusJson

STYLE = """
:root{color-scheme:light}
body{font:14px/1.45 system-ui,"DejaVu Sans",Arial,sans-serif;color:#111;background:#fff;
margin:0 auto;padding:16px 20px;max-width:1160px}
h1{font-size:20px;margin:0 0 8px}h2{font-size:16px;margin:22px 0 6px}
p{margin:4px 0}ul{margin:4px 0;padding-left:22px}
table{border-collapse:collapse;width:100%}
th,td{border-bottom:1px solid #ccc;padding:3px 10px 3px 0;text-align:left;vertical-align:top}
th{border-bottom:2px solid #444}
td:last-child,h1,p{overflow-wrap:anywhere}
td.n,th.n{text-align:right;white-space:nowrap}.t{white-space:nowrap}
figure{margin:10px 0;break-inside:avoid}figure svg{width:100%;height:auto;display:block}
tr{break-inside:avoid}
.legend span{display:inline-block;margin:0 14px 4px 0;white-space:nowrap}
.legend svg,td svg{vertical-align:middle}
.good::before{content:"● ";color:#2c7a3a}.warn::before{content:"▲ ";color:#8a5a00}
.bad::before{content:"✖ ";color:#b00020}.none::before{content:"○ ";color:#666}
.bad,.warn{font-weight:600}
.state{border:2px solid #222;padding:8px 12px;margin:8px 0}
pre{white-space:pre-wrap;margin:4px 0;overflow-wrap:anywhere;
font:13px ui-monospace,"DejaVu Sans Mono",monospace}
footer{margin-top:24px;border-top:1px solid #ccc;color:#333;font-size:12px}
@page{size:A4 landscape;margin:12mm}
@media print{body{padding:0;font-size:11px}thead{display:table-header-group}}
"""
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
REFRESH_S = 30
"""A timer that writes the page again is seen by whoever has it open."""


def _page(title: str, body: Iterable[str], *, refresh_s: int = 0, style: str = "") -> str:
    again = f'<meta http-equiv="refresh" content="{refresh_s}">\n' if refresh_s else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f'{again}<link rel="icon" href="data:,">\n'
        f"<title>{told(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


# ---------------------------------------------------------------------- an incident


def incident_page(
    found: Incident, heading: str, lines: Sequence[str], footer: Sequence[str]
) -> str:
    """The picture, what its shapes mean, and every sentence."""
    return _page(heading, _incident(found, heading, lines, footer), style=shapes.STYLE)


def _incident(
    found: Incident, heading: str, lines: Sequence[str], footer: Sequence[str]
) -> Iterator[str]:
    yield f"<h1>{told(heading)}</h1>"
    yield from (f"<p>{told(line)}</p>" for line in lines)
    yield f'<svg class="clp" width="0" height="0" aria-hidden="true">{shapes.DEFINITIONS}</svg>'
    for number, strip in enumerate(timeline.strips(found), 1):
        words = f"Time line, part {number}: {clock(strip.begin)} to {clock(strip.end)}"
        high = timeline.height(found, strip)
        yield f'<figure><svg class="clp" viewBox="0 0 {timeline.WIDTH} {high}" role="img">'
        yield f"<title>{words}</title>"
        yield from timeline.strip_parts(found, strip)
        yield "</svg></figure>"
    yield '<p class="legend">'
    for kind, words in shapes.WORDS.items():
        yield f"<span>{shapes.shape(kind, 'INFO')} {words}</span>"
    for name, words in shapes.LEGEND_SPANS:
        piece = shapes.swatch(name)
        drawn = f'<svg class="clp" width="24" height="18" viewBox="-12 -9 24 18">{piece}</svg>'
        yield f"<span>{drawn} {words}</span>"
    yield f"</p>\n<p>{shapes.SCALE}</p>"
    yield "<h2>What happened</h2>\n<table>\n<thead><tr>"
    heads = ("#", "time", "after", "", "server", "level", "what")
    yield "".join(
        f'<th class="n">{h}</th>' if h in "#after" and h else f"<th>{h}</th>" for h in heads
    )
    yield "</tr></thead>\n<tbody>"
    before = None
    for mark in found.marks:
        after = timeline.later(mark.time - before) if before is not None else ""
        before = mark.time
        yield (
            f'<tr><td class="n">{mark.number}</td><td class="t">{timeline.exact(mark.time)}</td>'
            f'<td class="n">{after}</td><td>{shapes.shape(mark.kind, mark.level)}</td>'
            f"<td>{told(mark.server)}</td><td>{told(mark.level)}</td>"
            f"<td>{told(mark.text)}</td></tr>"
        )
    yield "</tbody></table>"
    yield from _footer(footer)


def _footer(lines: Sequence[str]) -> Iterator[str]:
    yield "<footer>"
    yield from (f"<p>{told(line)}</p>" for line in lines)
    yield "</footer>"


# ---------------------------------------------------------------------- the present state


def state_page(
    view: StatusJson,
    hardware: HardwareJson,
    events: Sequence[EventRecord],
    now: float,
    footer: Sequence[str],
) -> str:
    """What `--watch` shows, with what waits and why, and the open hardware events."""
    view = stopped(view)
    title = f"Cluster {view['cluster']['name']}: {view['cluster']['status']}"
    return _page(title, _state(view, hardware, events, now, footer), refresh_s=REFRESH_S)


def _state(
    view: StatusJson,
    hardware: HardwareJson,
    events: Sequence[EventRecord],
    now: float,
    footer: Sequence[str],
) -> Iterator[str]:
    cluster = view["cluster"]
    yield f"<h1>Cluster {told(cluster['name'])}</h1>"
    voters = cluster["electorate"]
    alive = sum(s["status"] not in AWAY and s["name"] in voters for s in view["servers"])
    yield f'<p class="state">{_word(cluster["status"])}'
    if cluster["suspended"]:
        by = f" by {told(cluster['suspended_by'])}" if cluster["suspended_by"] else ""
        yield f', <span class="warn">suspended{by}</span>: nothing moves by itself'
    yield (
        f" &nbsp; coordinator {told(cluster['coordinator']) or 'none'} &nbsp; "
        f"quorum {alive}/{len(voters)} &nbsp; revision {cluster['revision']} &nbsp; "
        f"as of {day(now)[:-2]}</p>"
    )
    yield from _waiting(view, now)
    yield from _not_well(view, now)
    yield from _groups_and_servers(view)
    yield from _monitors(view)
    yield from _hardware(hardware, now)
    yield from _table(
        "Last",
        ("time", "server", "level", "what"),
        (
            (
                f'<span class="t">{day(event.time)}</span>',
                *(told(event.server), told(event.level), told(event.text)),
            )
            for event in reversed(events)
        ),
    )
    yield from _footer(footer)


def _groups_and_servers(view: StatusJson) -> Iterator[str]:
    yield from _table(
        "Groups",
        ("group", "state", "on", "since", "resources"),
        (
            (
                told(group["name"]),
                _word(group["status"]),
                told(where(group)),
                since(group["since_s"]),
                ", ".join(f"{told(r['name'])} {_word(r['status'])}" for r in group["resources"]),
            )
            for group in view["groups"]
        ),
    )
    yield from _table(
        "Servers",
        ("server", "state", "heartbeats (age in ms)", "NP resolution", "BMC"),
        (
            (
                told(server["name"]) + (" (this one)" if server["local"] else ""),
                _word(server["status"]),
                told(ages(view, server)),
                ", ".join(f"{told(np['name'])} {_word(np['status'])}" for np in server["np"]),
                told(bmc_word(server)),
            )
            for server in view["servers"]
        ),
    )


def _monitors(view: StatusJson) -> Iterator[str]:
    names = [server["name"] for server in view["servers"]]
    yield from _table(
        "Monitors",
        ("monitor", "state", *map(told, names), "what it found"),
        (
            (
                told(monitor["name"]),
                _word(monitor["status"]),
                *(
                    _word(monitor["servers"][name]["status"]) if name in monitor["servers"] else ""
                    for name in names
                ),
                told("; ".join(f["text"] for f in monitor["servers"].values() if f["text"])),
            )
            for monitor in view["monitors"]
        ),
    )


def _waiting(view: StatusJson, now: float) -> Iterator[str]:
    """Groups that cannot start, why, and what would allow it: as `--explain` says it."""
    for group in view["groups"]:
        lines = waiting_lines(view, group, 110, now)
        if lines:
            text = "\n".join(map(told, lines))
            yield f'<div class="state"><p class="bad">It waits</p><pre>{text}</pre></div>'
        elif group.get("copies"):
            text = (
                f"{told(group['name'])} runs twice, on {told(where(group))}: its data is at risk."
            )
            yield f'<p class="state bad">{text}</p>'


def _not_well(view: StatusJson, now: float) -> Iterator[str]:
    """What no status word says, or not why: as `-s` has it below its table."""
    lines = list(remarks(view, now))
    moves = ((group["name"], planned_words(group)) for group in view["groups"])
    lines += [(f"{name}: {words}", "") for name, words in moves if words]
    # Older agents do not send conditions.
    lines += [
        (f"{server['name']}: {condition_text(condition)}", "")
        for server in view["servers"]
        for condition in server.get("conditions") or ()
    ]
    if lines:
        yield "<h2>To be looked after</h2>\n<ul>"
        for text, mend in lines:
            yield f"<li>{told(text)}{f' <code>{told(mend)}</code>' if mend else ''}</li>"
        yield "</ul>"


def _hardware(hardware: HardwareJson, now: float) -> Iterator[str]:
    rows = [
        (
            told(server["name"]),
            str(event["id"]),
            told(event["class"]),
            told(event["meaning"]),
            told(event["monitor"]),
            f"{duration(now - event['first'])} ago",
            str(event["count"]),
        )
        for server in hardware["servers"]
        for event in server["open"]
        if not event["acknowledged"]
    ]
    heads = ("server", "event", "class", "what", "monitor", "first", "times")
    if rows:
        yield from _table("Open hardware events", heads, rows)
    else:
        yield "<h2>Open hardware events</h2>\n<p>None.</p>"
    for server in hardware["servers"]:
        if server["unreachable"]:
            yield f"<p>{told(server['name'])}: not known: {told(server['unreachable'])}</p>"


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Cells are HTML already."""
    body = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    if not body:
        return
    yield f"<h2>{title}</h2>\n<table>\n<thead><tr>"
    yield "".join(f"<th>{head}</th>" for head in heads)
    yield "</tr></thead>\n<tbody>"
    yield from (f"<tr>{cells}</tr>" for cells in body)
    yield "</tbody></table>"


def _word(status: str) -> str:
    """A status, with a sign that says the same where there is no colour."""
    kind = "bad"
    if status in WELL:
        kind = "good"
    elif status in AWAY:
        kind = "none"
    elif status in ("Caution", "Stall", "Suspend") or status.endswith("Pending"):
        kind = "warn"
    return f'<span class="{kind}">{told(status)}</span>'


def as_of(now: float, me: str) -> str:
    """For a footer: when and where it was made."""
    zone = time.strftime("%Z", time.localtime(now))
    return f"Written {day(now)[:-2]} {zone} on {me}; all times are by the clock of {me}."
