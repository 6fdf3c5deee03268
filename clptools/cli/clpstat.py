"""`clpstat`: everything an operator sees of the cluster.

People and scripts use it more than any other command, so the plain status imports nothing but the
client of the socket and its own layout.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, NoReturn, cast

from clptools.cli.command import Answer, Args, Argument, Command, Option, Query, host
from clptools.faults import ClpError, ExitCode, no_such

if TYPE_CHECKING:
    from collections.abc import Callable

    from clptools.api.client import Client
    from clptools.cli.command import Told
    from clptools.cli.json_types import (
        ExplanationJson,
        HardwareJson,
        StatusJson,
    )
    from clptools.cli.render.plugin import Range

COMMAND = Command(
    "clpstat",
    summary="show the status and the configuration of the cluster",
    synopsis=(
        "[-s] [--long] [--detail] [--local] [-h HOST]",
        "-g|-m|-n|-p|-f [--local] [-h HOST]",
        "-i|--cl [--detail]",
        "--sv|--hb|--np|--fnc|--svg|--grp|--rsc|--mon|--xcl [NAME] [--detail]",
        "--explain [NAME] [--at TIME]",
        "--watch",
        "--events [--since CURSOR] [--follow] [--level L] [--of NAME] [--text]",
        "--events [--from TIME] [--to TIME] [--level L] [--of NAME] [--text]",
        "--graph [--from TIME] [--to TIME] [--of NAME] -o FILE.svg|FILE.html",
        "--html -o FILE",
        "--hw",
        "--metrics",
        "--check [-w RANGE] [-c RANGE]",
    ),
    description=(
        (
            "Without options, or with -s, shows servers with their heartbeat and NP resolution "
            "resources, groups with their resources, and monitor resources. The columns are those "
            "that scripts written for EXPRESSCLUSTER X parse."
        ),
        (
            "When the cluster service is stopped, everything is Offline and the exit status is 0. "
            "Without a node agent, the same layout is made from the configuration file, with one "
            "line on stderr and exit status 3."
        ),
        (
            "With -h, the status is the one that HOST last reported to this server. If the cluster "
            "service is stopped on HOST, everything is Offline. The command fails if HOST cannot "
            "be reached from this server."
        ),
        (
            "--explain without NAME explains every group. With --json the explanations are then in "
            "the list `explanations`."
        ),
        (
            "--watch needs a terminal; a pipe is refused. Keys: q ends, e explains one group "
            "(monitor, server) after the other, h shows hardware events, f shows only what has a "
            "fault, p pauses, b goes back."
        ),
        (
            "--events writes text to a terminal, and otherwise one JSON object on each line "
            "(NDJSON). --json always writes NDJSON."
        ),
        (
            "With --since, it begins after the event with that `cursor`. The newest 10,000 events "
            "are kept. If the event is no longer among them, all of them are written: a reader may "
            "see some events again, but misses none that is kept. An empty CURSOR means the "
            "beginning."
        ),
        (
            "TIME is 03:05, 'yesterday 03:05', 'monday 22:00', '2026-11-29 03:05', "
            "2026-11-29T03:05:12, -2h, -1h30m, '2 h ago', or the value of `time` of an event. A "
            "time of day means the most recent one."
        ),
        (
            "With --from, --to, --level, --of or --at, the command does not only read what the "
            "agent keeps. Older events come from the records on the disk, from the alert log with "
            "its rotations, and from the journal of this server, which root may read. Without an "
            "agent everything comes from there, also below CLP_ROOT=DIR with the files of another "
            "server. Events of several servers are in the order in which they happened, by cursors "
            "and epochs, and never by different clocks. Text has all times by the clock of this "
            "server; stderr says if another clock is off by more than a second."
        ),
        (
            "--graph draws an incident. Each server, each BMC and each group has a lane. The lanes "
            "show when heartbeats were heard. Traps, actions of people, decisions, stops, proofs "
            "and starts are shapes with numbers; the table below the drawing explains each number. "
            "Without --from and --to it draws the newest incident. --html writes the present state "
            "as one page. Neither page has scripts or loads anything from elsewhere; both can be "
            "printed without colour."
        ),
        (
            "--metrics writes what `[cluster] metrics` would serve: Prometheus text, for example "
            "for a textfile collector."
        ),
        (
            "--check is a plug-in for Nagios, Icinga and similar systems. It prints one line with "
            "performance data, and ends with 0 OK, 1 WARNING, 2 CRITICAL or 3 UNKNOWN. CRITICAL: a "
            "group that should run and does not, a group that runs twice, a monitor in Error, or a "
            "cluster without a coordinator. WARNING: anything else that is not Normal or Online, a "
            "suspended cluster, or an open hardware event. RANGE limits the number of servers that "
            "are away (neither Online nor Caution), in the form of plug-ins (`1` is 0 to 1, `@1:2` "
            "alarms inside the range). -w is 0 by default; -c has no limit by default."
        ),
    ),
    options=(
        Option("-s", help="Show the status. This is the default."),
        Option("--long", help="Show names in wide columns and do not cut them."),
        Option(
            "--local",
            help="Accepted for old scripts. The command always shows what this server knows, and "
            "asks no other server.",
        ),
        host("Show what this server sees."),
        Option("-g", help="Show the map of groups."),
        Option("-m", help="Show each monitor resource on each server."),
        Option("-n", help="Show which server hears which, by heartbeat resource."),
        Option("-p", help="Show NP resolution resources on each server."),
        Option(
            "-f",
            help="Show the same as -p, and whether each server's BMC answers, which a forced stop "
            "needs.",
        ),
        Option("-i", help="Show the whole configuration."),
        Option("--cl", help="Show the configuration of the cluster itself."),
        Option("--sv", help="Show the configuration of servers, or of the one called NAME."),
        Option("--hb", help="Show the configuration of heartbeat resources."),
        Option("--np", help="Show the configuration of NP resolution resources."),
        Option(
            "--fnc",
            help="Show the configuration of NP resolution resources and of the forced stop.",
        ),
        Option("--svg", help="Show the configuration of server groups."),
        Option("--grp", help="Show the configuration of groups."),
        Option("--rsc", help="Show the configuration of group resources."),
        Option("--mon", help="Show the configuration of monitor resources."),
        Option(
            "--xcl", help="Show which groups are kept apart. Each rule has the name of its group."
        ),
        Option(
            "--detail", help="Show more: keys that are rarely needed, and what a group waits for."
        ),
        Option(
            "--explain",
            help="Explain the state of a group, resource, monitor, server or heartbeat.",
        ),
        Option("--watch", help="Show a live screen until q is pressed."),
        Option("--events", help="Write the recorded events of the cluster, oldest first."),
        Option("--since", metavar="CURSOR", help="Only events after the event with this cursor."),
        Option("--follow", help="Keep writing events as they come."),
        Option("--at", metavar="TIME", help="With --explain: explain the state at that time."),
        Option("--from", metavar="TIME", help="Begin here, with --events or --graph."),
        Option("--to", metavar="TIME", help="End here."),
        Option(
            "--level",
            metavar="LEVEL",
            help="Only events of this level (INFO, WARN, ERROR) or above.",
            complete="INFO WARN ERROR",
        ),
        Option("--of", metavar="NAME", help="Only events about this object.", complete="any"),
        Option("--text", help="Write events as text, also into a pipe."),
        Option("--graph", help="Draw the time line of an incident."),
        Option("--html", help="Write the present state as a page for a browser."),
        Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The file that --graph and --html write.",
            complete="file",
        ),
        Option("--metrics", help="Write all figures as Prometheus text."),
        Option("--check", help="Answer as a monitoring plug-in."),
        Option(
            "-w",
            metavar="RANGE",
            help="With --check: servers that may be away before WARNING.",
        ),
        Option(
            "-c",
            metavar="RANGE",
            help="With --check: servers that may be away before CRITICAL.",
        ),
        Option("--hw", help="Show open hardware events and trap counters of each server."),
    ),
    arguments=(Argument("NAME", help="Only the object of this name.", complete="any"),),
    examples=(
        ("clpstat", "shows the status"),
        ("clpstat --explain failover1", "explains why failover1 is where it is"),
        ("clpstat --json | jq -r '.groups[].current'", "prints where the groups are"),
        (
            "clpstat --explain failover1 --at 'yesterday 03:05'",
            "explains why it was there at that time",
        ),
        (
            "clpstat --events --from 03:00 --to 04:00 --level WARN --text",
            "shows what went wrong in that hour",
        ),
        ("clpstat --graph -o incident.html", "draws the newest incident"),
        ("clpstat --events --follow | while read -r event; do ...; done", "feeds a script"),
    ),
)

MAPS = ("g", "m", "n", "p", "f")
KINDS = ("cl", "sv", "hb", "np", "fnc", "svg", "grp", "rsc", "mon", "xcl")
NAMED = (*KINDS[1:], "explain")
VIEWS = (
    *("s", *MAPS, "i", *KINDS, "explain", "watch", "events", "graph", "html", "hw"),
    *("metrics", "check"),
)
ALSO = {
    "long": ("", "s"),
    "local": ("", "s", *MAPS),
    "host": ("", "s", *MAPS),
    "detail": ("", "s", "i", *KINDS),
    "since": ("events",),
    "follow": ("events",),
    "at": ("explain",),
    "from": ("events", "graph"),
    "to": ("events", "graph"),
    "level": ("events",),
    "of": ("events", "graph"),
    "text": ("events",),
    "output": ("graph", "html"),
    "w": ("check",),
    "c": ("check",),
}
"""Option -> the views it may be given with (empty: none named)."""
SHORT = {"host": "h", "output": "o"}
"""Options that have a short form, and are called by it."""


def run(args: Args) -> Answer:
    view = asked_view(args)
    if view in ("graph", "html") or args.given("at"):
        return past(args, view)
    if view == "explain":
        return explain(args)
    if view == "events":
        from clptools.cli.stat_events import events

        return events(args)
    if view == "hw":
        return hardware()
    if view == "watch":
        return watch(args)
    if view == "metrics":
        return metrics()
    if view == "check":
        return check(args)
    if view == "i" or view in KINDS:
        from clptools.cli.stat_configuration import configuration

        return configuration(args, view)
    return status(args, view)


def query(args: Args) -> Query | None:
    """What the line asks and shows; None: it needs more than replies of this server's agent."""
    view = asked_view(args)
    if args.given("host") or args.given("at"):
        return None
    status: tuple[str, dict[str, object]] = ("GetStatus", {})
    if view in ("", "s", *MAPS):
        return Query((status,), lambda told, _: shown(args, view, status_in(told[0])))
    if view == "hw":
        return Query((("GetHardware", {}),), lambda told, wide: hardware_shown(told[0], wide))
    if view == "metrics":
        return Query((("GetMetrics", {}),), lambda told, _: metrics_shown(told[0]))
    if view == "check":
        return Query((status,), lambda told, _: checked(args, status_in(told[0])))
    if view == "explain" and args.word():
        return Query(
            (status, ("Explain", {"subject": args.word()})),
            lambda told, wide: explained(args, status_in(told[0]), told[1:], wide),
        )
    return None


def status_in(reply: dict[str, object]) -> StatusJson:
    """The status that an agent told."""
    return cast("StatusJson", reply["status"])


def asked_view(args: Args) -> str:
    """The one view that was asked for; empty: the status.  Raises for what does not go together."""
    views = [view for view in VIEWS if args.given(view)]
    if len(views) > 1:
        wrong(f"{flag(views[0])} and {flag(views[1])} do not go together.")
    view = views[0] if views else ""
    for option, places in ALSO.items():
        if args.given(option) and view not in places:
            where = f"{flag(view)} takes no" if view else "The status takes no"
            wrong(f"{where} {flag(SHORT.get(option, option))}.")
    if args.word() and view not in NAMED:
        wrong(f"{args.word()!r}: a NAME goes with {', '.join(flag(named) for named in NAMED)}.")
    return view


def past(args: Args, view: str) -> Answer:
    """`--explain --at`, and what is written as a picture or a page."""
    if view == "explain":
        from clptools.cli import stat_past

        return stat_past.explain(args)
    from clptools.cli import stat_pages

    return stat_pages.graph(args) if view == "graph" else stat_pages.state(args)


def wrong(message: str) -> NoReturn:
    """The options do not fit together."""
    raise ClpError(ExitCode.USAGE, message, "More: clpstat --help")


def flag(name: str) -> str:
    """An option as it is typed."""
    return f"-{name}" if len(name) == 1 else f"--{name}"


def status(args: Args, view: str) -> Answer:
    """`-s` and the maps."""
    from clptools.api.client import Client, SocketMissing

    try:
        with Client() as client:
            # With --local, too: an agent never asks others for its answer.
            found = status_in(client.call("GetStatus"))
            if args.given("host"):
                found = as_seen_by(client, found, args.text("host"))
    except SocketMissing:
        raise  # nothing is Offline
    except ClpError as error:
        if error.code is not ExitCode.NO_AGENT or args.given("host"):
            raise
        return without_agent(args, view, error)
    return shown(args, view, found)


def shown(args: Args, view: str, found: StatusJson) -> Answer:
    """The status as `view` shows it."""
    if args.given("json"):
        return Answer(fields=cast("dict[str, object]", found))
    none = found["cluster"].get("none", "")  # an older agent does not say
    return Answer(layout(args, view, found) + (f"\n{none}\n{PUSH}" if none else ""))


PUSH = "A push of a configuration that names it takes it in: clpcfctrl --push"


def layout(args: Args, view: str, found: StatusJson) -> str:
    """The text of a status view, without its last newline."""
    if view in MAPS:
        from clptools.cli.render import maps

        drawn: dict[str, Callable[[StatusJson], str]] = {
            "g": maps.group_map,
            "m": maps.monitor_map,
            "n": maps.heartbeat_map,
            "p": maps.np_map,
            "f": maps.fencing_map,
        }
        return drawn[view](found)[:-1]
    from clptools.cli.render import status as page

    return page.status(found, long=args.given("long"), detail=args.given("detail"))[:-1]


def as_seen_by(client: Client, found: StatusJson, name: str) -> StatusJson:
    """The status with `name` as the server that answers, if it can be reached from here.

    `name` may also be an address of the server.
    """
    from clptools.cli.requests import server_called

    name = server_called(cast("dict[str, object]", found), name)
    server = next((server for server in found["servers"] if server["name"] == name), None)
    if server is None:
        raise no_such("server", name, [server["name"] for server in found["servers"]])
    if server["local"]:
        return found
    seen: StatusJson = {
        **found,
        "servers": [{**one, "local": one["name"] == name} for one in found["servers"]],
    }
    if server["status"] not in ("Offline", "Unknown"):
        return seen
    if server["status"] == "Offline" and service_stopped(client, found, name):
        from clptools.cli.render.status import stopped

        return stopped({**seen, "cluster": {**seen["cluster"], "status": "Stopped"}})
    raise ClpError(
        ExitCode.NO_AGENT,
        f"Could not connect to {name}: this server does not hear it.",
        "See: clpstat -n",
    )


def service_stopped(client: Client, found: StatusJson, name: str) -> bool:
    """Whether a server that is Offline is so because its service was stopped: its agent answers.

    If ours is stopped as well, all are Offline to us, whatever their agents would say.
    """
    if found["cluster"]["status"] == "Stopped":
        return False
    asked = cast("HardwareJson", client.call("GetHardware")["hardware"])
    return any(one["name"] == name and one["unreachable"] is None for one in asked["servers"])


def without_agent(args: Args, view: str, error: ClpError) -> Answer:
    """The status from the configuration, everything offline; the fault goes to stderr."""
    import json

    import msgspec

    from clptools.cli.stat_configuration import offline

    try:
        configured = offline()
    except ClpError:
        raise error from None
    found = cast("StatusJson", json.loads(msgspec.json.encode(configured)))
    if args.given("json"):
        told = {
            "code": int(error.code),
            "name": error.code.name,
            "message": error.message,
            "hint": error.hint,
        }
        return Answer(fields={**found, "error": told}, code=int(error.code))
    sys.stdout.write(layout(args, view, found) + "\n")
    sys.stdout.flush()
    # One line: the answer is above; this only says where it came from.
    raise ClpError(error.code, f"{error.message} {error.hint}")


def explain(args: Args) -> Answer:
    """`--explain NAME`, or of every group."""
    from clptools.api.client import Client
    from clptools.cli.render.text import screen_columns

    with Client() as client:
        found = status_in(client.call("GetStatus"))
        names = [args.word()] if args.word() else [group["name"] for group in found["groups"]]
        replies = [client.call("Explain", subject=name) for name in names]
    return explained(args, found, replies, screen_columns())


def explained(args: Args, found: StatusJson, replies: Told, columns: int) -> Answer:
    """What the agent told of each name, beside the status that it goes with."""
    from clptools.cli.render.explain import explanation

    told = [cast("ExplanationJson", reply["explanation"]) for reply in replies]
    if args.given("json"):
        # The same object as in the status: the sentence alone has no server, proofs or mend.
        waiting = {group["name"]: group["waiting_for"] for group in found["groups"]}
        all_told = [{**one, "waiting_for": waiting.get(one["subject"])} for one in told]
        return Answer(fields=all_told[0] if args.word() else {"explanations": all_told})
    return Answer("\n".join(explanation(one, found, columns) for one in told).rstrip("\n"))


def hardware() -> Answer:
    """`--hw`."""
    from clptools.api.client import Client
    from clptools.cli.render.text import screen_columns

    with Client() as client:
        reply = client.call("GetHardware")
    return hardware_shown(reply, screen_columns())


def hardware_shown(reply: dict[str, object], columns: int) -> Answer:
    """What every server reports."""
    from clptools.cli.render.status import hardware as page

    found = cast("HardwareJson", reply["hardware"])
    return Answer(page(found, time.time(), columns)[:-1], cast("dict[str, object]", found))


def metrics() -> Answer:
    """`--metrics`."""
    from clptools.api.client import Client

    with Client() as client:
        return metrics_shown(client.call("GetMetrics"))


def metrics_shown(reply: dict[str, object]) -> Answer:
    """All figures."""
    text = cast("str", reply["text"])
    return Answer(text.rstrip("\n"), {"metrics": text})


def check(args: Args) -> Answer:
    """`--check`: whatever goes wrong is UNKNOWN, as plug-ins have it."""
    from clptools.api.client import Client
    from clptools.cli.render import plugin

    try:
        ranges(args)  # wrong ones are told before the agent is asked
        with Client() as client:
            found = status_in(client.call("GetStatus"))
        return checked(args, found)
    except ClpError as error:
        code, text = plugin.UNKNOWN, plugin.line("UNKNOWN", error.message)
    return Answer(text, {"code": code, "text": text}, code=code)


def ranges(args: Args) -> tuple[Range, Range]:
    """-w and -c.  Raises ClpError."""
    from clptools.cli.render import plugin

    return plugin.Range(args.text("w") or "0"), plugin.Range(args.text("c") or "0:")


def checked(args: Args, found: StatusJson) -> Answer:
    """The status as a plug-in sees it.  Raises ClpError."""
    from clptools.cli.render import plugin

    code, text = plugin.verdict(found, *ranges(args))
    return Answer(text, {"code": code, "text": text}, code=code)


def watch(args: Args) -> Answer:
    """`--watch`: on a terminal only; a program reads `--json` or `--events --follow`."""
    if args.given("json") or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        raise ClpError(
            ExitCode.USAGE,
            "--watch needs a terminal.",
            "For programs: clpstat --json, or clpstat --events --follow",
        )
    from clptools.api.client import Client

    with Client() as client:
        found = status_in(client.call("GetStatus"))
    from clptools.cli.render import live

    live.watch(found)
    return Answer()
