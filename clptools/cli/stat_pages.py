"""`clpstat --graph` and `--html`: what is written into a file for people to look at."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from typing import TYPE_CHECKING, cast

import msgspec

from clptools.api.messages import EventRecord
from clptools.cli.command import Answer, Args, done
from clptools.core.report.order import in_order
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.cli.json_types import HardwareJson, StatusJson
    from clptools.cli.past import Past
    from clptools.cli.render.incident import Incident
    from clptools.cli.stat_past import Wanted

SVG, HTML = (".svg",), (".html", ".htm")
LAST = 30
"""Events at the end of the page of the present state."""
SPAN_S = 3600.0
"""With `--to` alone, an incident begins at most so long before it."""
LAPSE_S = 0.1
"""The picture begins so long before its first event."""


def graph(args: Args) -> Answer:
    """`--graph`: the picture of an incident.  Raises ClpError."""
    from clptools.cli import stat_past
    from clptools.cli.past import gather, short_of
    from clptools.cli.render import timeline, web_pages
    from clptools.cli.render.incident import incident

    path = output(args, (*SVG, *HTML))
    asked = stat_past.wanted(args)
    found = gather(asked.begin, asked.end)
    if asked.of:
        stat_past.check_name(found, asked.of)
    begin, end = _range(found, asked)
    drawn = incident(found.present, found.records, begin, end, found.now, asked.of)
    if not drawn.marks:
        raise ClpError(
            ExitCode.FAILED,
            f"Nothing was recorded from {timeline.day(begin)} to {timeline.day(end)}.",
            "See what there is: clpstat --events --text",
        )
    cluster = found.present.cluster.name
    heading = f"Cluster {cluster}: {timeline.day(drawn.begin)} to {timeline.clock(drawn.end)}"
    lines = summary(drawn)
    remarks = [*found.remarks, short_of(found, begin)]
    footer = [web_pages.as_of(found.now, found.me), *filter(None, remarks)]
    if path.endswith(SVG):
        text = timeline.picture(drawn, heading, [*lines, *footer])
    else:
        text = web_pages.incident_page(drawn, heading, lines, footer)
    stat_past.remark(*remarks)
    write(path, text)
    many = f"{len(drawn.marks)} event{'' if len(drawn.marks) == 1 else 's'}"
    told = f"{path} written: {many} from {timeline.day(begin)} to {timeline.clock(end)}."
    return done(told, file=path, begin=begin, end=end, events=len(drawn.marks))


def _range(found: Past, asked: Wanted) -> tuple[float, float]:
    """From when to when.  Raises ClpError where nothing went wrong and nothing was named."""
    from clptools.cli.render.incident import newest

    if asked.begin is not None or asked.end is not None:
        end = asked.end if asked.end is not None else found.now
        begin = asked.begin if asked.begin is not None else end - SPAN_S
        inside = [r.time for r in found.records if begin <= r.time <= end and asked.takes(r)]
        # The hours before and after what happened would only take its room.
        if inside:
            return max(begin, inside[0] - LAPSE_S), min(end, inside[-1] + 1.0)
        return begin, end
    records = [r for r in found.records if asked.takes(r)]
    last = newest(records)
    if last is None:
        raise ClpError(
            ExitCode.FAILED,
            "Nothing went wrong since the oldest record that is kept.",
            "Choose a time: --from '2026-11-29 03:00' --to 04:00",
        )
    return last[0] - LAPSE_S, last[1] + 1.0


def summary(drawn: Incident) -> list[str]:
    """What it meant for each group, and what is not in the picture."""
    from clptools.cli.render.text import duration
    from clptools.cli.render.timeline import clock

    lines = []
    for gap in drawn.outages:
        if gap.end is None:
            lines.append(
                f"{gap.group} was in service on {gap.was} until {clock(gap.begin)}, and nowhere "
                f"after that until {clock(drawn.end)}."
            )
        else:
            where = f"on {gap.came} again" if gap.came == gap.was else f"on {gap.came}"
            lines.append(
                f"{gap.group} was out of service for {duration(gap.end - gap.begin)}: on "
                f"{gap.was} until {clock(gap.begin)}, {where} from {clock(gap.end)}."
            )
    if not drawn.outages:
        lines.append("No group was out of service.")
    if drawn.left_out:
        lines.append(f"{drawn.left_out} more events are left out; see clpstat --events --text.")
    return lines


def state(args: Args) -> Answer:
    """`--html`: the present state.  Raises ClpError."""
    from clptools.api.client import Client
    from clptools.cli.render import web_pages

    path = output(args, HTML)
    with Client() as client:
        view = cast("StatusJson", client.call("GetStatus")["status"])
        hardware = cast("HardwareJson", client.call("GetHardware")["hardware"])
        records: list[EventRecord] = []
        for reply in client.stream("GetEvents", since="", follow=False):
            records += msgspec.convert(reply["events"], list[EventRecord])
    now = time.time()
    me = next((s["name"] for s in view["servers"] if s["local"]), "this server")
    events = in_order(records, me)[-LAST:]
    write(path, web_pages.state_page(view, hardware, events, now, [web_pages.as_of(now, me)]))
    return done(f"{path} written.", file=path)


# ---------------------------------------------------------------------- the file


def output(args: Args, endings: tuple[str, ...]) -> str:
    """Where to write.  Raises ClpError (USAGE)."""
    path = args.text("output")
    known = " or ".join(f"FILE{ending}" for ending in endings if ending != ".htm")
    if not path:
        raise ClpError(ExitCode.USAGE, f"-o is missing; write -o {known}.")
    if not path.endswith(endings):
        raise ClpError(ExitCode.USAGE, f"-o {path}: what is that? Write -o {known}.")
    return path


def write(path: str, text: str) -> None:
    """The file, whole or not at all: a browser may be reading the one before.  Raises ClpError."""
    folder = os.path.dirname(path) or "."
    try:
        handle, temporary = tempfile.mkstemp(prefix=".clpstat.", dir=folder)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
                os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        refused = isinstance(error, PermissionError)
        code = ExitCode.NOT_PERMITTED if refused else ExitCode.FAILED
        raise ClpError(
            code, f"{path}: {error.strerror}.", "Write somewhere else: -o FILE"
        ) from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
