"""`clpmonctrl`: monitors suspended, resumed, their counters, rehearsed failures."""

from __future__ import annotations

from clptools.cli.command import (
    SUCCEEDED,
    TYPE_CHECKING,
    Answer,
    Args,
    Argument,
    Command,
    Option,
    Query,
    done,
    host,
    wait,
)
from clptools.cli.requests import (
    GET_STATUS,
    Json,
    ask,
    change,
    find,
    local_server,
    objects,
    one_of,
    server_called,
    status_in,
)
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.cli.command import Told
    from clptools.cli.json_types import (
        AcknowledgeJson,
        MonitorClearJson,
        MonitorFaultJson,
        MonitorResumeJson,
        MonitorSuspendJson,
    )

COMMAND = Command(
    "clpmonctrl",
    summary="suspend, resume and rehearse monitors",
    synopsis=(
        "-s [-m NAME...] [-h HOST] [-w SEC]",
        "-r [-m NAME...] [-h HOST] [-w SEC]",
        "-c [-m NAME...] [-h HOST]",
        "-v [-m NAME...] [-h HOST]",
        "-e -m NAME... [-h HOST]",
        "-n [-m NAME...] [-h HOST]",
        "--acknowledge -m NAME [--event ID] [-h HOST]",
    ),
    description=(
        (
            "Without -m, the command applies to every monitor of the server. A suspended monitor "
            "keeps recording, but does not act, until -r or until the cluster service stops."
        ),
        (
            "A hardware event that its sender never clears stays open, and its server gets no "
            "group. --acknowledge closes the event and records it with your name. When no event is "
            "open any more, the monitor's recovery counts start again."
        ),
    ),
    options=(
        Option("-s", "--suspend", help="Suspend monitoring."),
        Option("-r", "--resume", help="Resume monitoring."),
        Option("-c", "--clear", help="Set the counters of recovery actions to zero."),
        Option("-v", "--counters", help="Show the counters of recovery actions."),
        Option("-e", "--dummy-on", help="Turn on a dummy failure: the monitor reports an error."),
        Option("-n", "--dummy-off", help="Turn the dummy failure off."),
        Option("--acknowledge", help="Close open hardware events of a message receive monitor."),
        Option("-m", "--monitor", metavar="NAME", help="A monitor.", many=True, complete="monitor"),
        Option(
            "--event", metavar="ID", help="Close only this event (clpstat --hw).", whole=True, low=1
        ),
        host(),
        wait("Wait this long for it (5)."),
    ),
    arguments=(Argument("NAME", help="More monitors, after -m.", many=True, complete="monitor"),),
    examples=(
        ("clpmonctrl -s -m mrw1", "mrw1 of this server records, but starts no recovery"),
        (
            "clpmonctrl --acknowledge -m mrw1 --event 4711",
            "closes event 4711, after the part was replaced",
        ),
    ),
)

WAIT_S = 5.0


def run(args: Args) -> Answer:
    what = one_of(COMMAND, args, *ACTIONS)
    monitors = named(args)
    given_s = args.number("wait")
    wait_s = WAIT_S if given_s is None else given_s
    server = args.text("host")
    if what == "counters":
        return ask(counters(monitors, server))
    if what == "acknowledge":
        return acknowledge(args, monitors, server, wait_s)
    if what in ("dummy-on", "dummy-off"):
        return dummy(args, monitors, server, wait_s)
    return change(args, request_of(what, list(monitors), server), timeout_s=wait_s)


ACTIONS = ("suspend", "resume", "clear", "counters", "dummy-on", "dummy-off", "acknowledge")


def named(args: Args) -> tuple[str, ...]:
    """The monitors that were named.  Raises ClpError (USAGE)."""
    if args.words and not args.given("monitor"):
        raise ClpError(ExitCode.USAGE, f"{args.words[0]!r}: names of monitors follow -m.")
    return (*args.many("monitor"), *args.words)


def query(args: Args) -> Query | None:
    """`-v`; all else changes something."""
    if one_of(COMMAND, args, *ACTIONS) != "counters":
        return None
    return counters(named(args), args.text("host"))


def request_of(
    what: str, monitors: list[str], server: str
) -> MonitorSuspendJson | MonitorResumeJson | MonitorClearJson:
    if what == "suspend":
        return {"type": "monitor-suspend", "monitors": monitors, "server": server}
    if what == "resume":
        return {"type": "monitor-resume", "monitors": monitors, "server": server}
    return {"type": "monitor-clear", "monitors": monitors, "server": server}


def acknowledge(args: Args, monitors: tuple[str, ...], server: str, wait_s: float) -> Answer:
    """Closes what is open, on the record."""
    if len(monitors) != 1:
        raise ClpError(ExitCode.USAGE, "--acknowledge needs one monitor: -m NAME.")
    event = args.whole("event", 0)  # 0: all of it
    request: AcknowledgeJson = {"type": "acknowledge", "monitor": monitors[0], "event": event}
    return change(args, request | {"server": server}, timeout_s=wait_s)


def dummy(args: Args, monitors: tuple[str, ...], server: str, wait_s: float) -> Answer:
    """Dummy failure on or off; off without names: all."""
    on = args.given("dummy-on")
    if on and not monitors:
        raise ClpError(ExitCode.USAGE, "-e needs a monitor: -m NAME.")
    request: MonitorFaultJson = {"type": "monitor-fault", "on": on, "server": server}
    said = dict.fromkeys(
        line
        for monitor in monitors or ("",)
        for line in change(args, request | {"monitor": monitor}, timeout_s=wait_s).text.splitlines()
        if line != SUCCEEDED
    )
    return done("\n".join([*said, SUCCEEDED]))


def counters(monitors: tuple[str, ...], server: str) -> Query:
    """The counters of a server: scripts read the name as third word of its line."""

    def answer(told: Told, _columns: int) -> Answer:
        return counted(status_in(told[0]), monitors, server)

    return Query(GET_STATUS, answer)


def counted(state: Json, monitors: tuple[str, ...], server: str) -> Answer:
    """The counters of these monitors, or of all, in a status."""
    where = server_called(state, server) if server else local_server(state)
    found = find(objects(state, "servers"), "server", where)
    if not found.get("local") and found.get("status") in UNHEARD:
        raise ClpError(
            ExitCode.NO_AGENT, f"{where} reports no counters: it is not online.", "See: clpstat"
        )
    known = objects(state, "monitors")
    chosen = [find(known, "monitor", name) for name in monitors] if monitors else known
    shown = []
    for monitor in chosen:
        on = monitor.get("servers")
        own = on.get(where) if isinstance(on, dict) else None
        if isinstance(own, dict):
            shown.append({"name": monitor["name"], **{k: own.get(k, 0) for k in COUNTED}})
    lines = []
    for entry in shown:
        lines.append(f"Monitor Resource: {entry['name']}")
        lines += [f"  {label:<18}: {entry[key]}" for key, label in COUNTED.items()]
    return Answer("\n".join(lines), {"server": where, "monitors": shown})


UNHEARD = ("Offline", "Unknown")
"""Such a server reports no counters, and zeros would be wrong."""
COUNTED = {"scripts": "Script executed", "restarts": "Restarted", "failovers": "Failed over"}
