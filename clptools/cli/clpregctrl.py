"""`clpregctrl`: the count of final actions that ended this server, shown and cleared."""

from __future__ import annotations

from clptools.cli.command import TYPE_CHECKING, Answer, Args, Command, Option, Query
from clptools.cli.requests import GET_STATUS, ask, change, objects, one_of, status_in
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.cli.command import Told
    from clptools.cli.json_types import ClearHaltsJson

COMMAND = Command(
    "clpregctrl",
    summary="show and clear the count of final actions that ended this server",
    synopsis=("-g", "--clear -t rc|rm -r haltcount"),
    description=(
        (
            "A final action that ends a server (shutdown, reboot, panic, an action of its BMC) is "
            "not run again after it has run max_reboots times in a row. A fault that a restart "
            "does not cure must not restart the server for ever. The count starts again when the "
            "server has run for max_reboots_reset seconds, or with this command."
        ),
    ),
    options=(
        Option("-g", "--get", help="Show the counts of this server."),
        Option("-c", "--clear", help="Start a count again."),
        Option("-t", "--type", metavar="TYPE", help="rc: of resources; rm: of monitors."),
        Option("-r", "--registry", metavar="NAME", help="haltcount is the only name."),
    ),
    examples=(
        ("clpregctrl --clear -t rm -r haltcount", "after the fault of the monitor was corrected"),
    ),
)

TYPES = ("rc", "rm")


def run(args: Args) -> Answer:
    if one_of(COMMAND, args, "get", "clear") == "get":
        return ask(counts())
    kind = args.text("type")
    if kind not in TYPES or args.text("registry") != "haltcount":
        raise ClpError(ExitCode.USAGE, "--clear needs -t rc or -t rm, and -r haltcount.")
    request: ClearHaltsJson = {"type": "clear-halts", "kind": kind}
    return change(args, request)


def query(args: Args) -> Query | None:
    """`--get`; `--clear` changes something."""
    return counts() if one_of(COMMAND, args, "get", "clear") == "get" else None


def counts() -> Query:
    """The counts of this server, a line each."""

    def answer(told: Told, _columns: int) -> Answer:
        servers = objects(status_in(told[0]), "servers")
        found = next((s for s in servers if s.get("local")), {}).get("halts")
        halts = found if isinstance(found, dict) else {}
        shown = {kind: int(halts.get(kind, 0)) for kind in TYPES}
        text = "\n".join(f"{kind} haltcount : {count}" for kind, count in shown.items())
        return Answer(text, {"haltcount": shown})

    return Query(GET_STATUS, answer)
