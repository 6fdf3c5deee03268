"""`clpgrp`: failover groups, started, stopped, moved, found."""

from __future__ import annotations

from clptools.cli.command import (
    APITO,
    FORCE,
    TYPE_CHECKING,
    Answer,
    Args,
    Argument,
    Command,
    Option,
    Query,
    host,
)
from clptools.cli.requests import GET_STATUS, ask, change, known_group, one_of, status_in
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.cli.command import Told
    from clptools.cli.json_types import (
        GroupCancelJson,
        GroupMoveJson,
        GroupStartJson,
        GroupStopJson,
    )

COMMAND = Command(
    "clpgrp",
    summary="start, stop and move failover groups",
    synopsis=(
        "-s [GROUP] [-h HOST] [-f]",
        "-t [GROUP] [-h HOST] [-f]",
        "-m [GROUP] [-h HOST] [-a DEST] [-f]",
        "--cancel GROUP",
        "-n GROUP",
    ),
    description=(
        (
            "Without GROUP, the command applies to all groups, or with -h to those of that server. "
            "-m without GROUP and -h moves the groups of this server."
        ),
        "The command waits until it is done; a terminal shows each step as it happens.",
        (
            "If a group is already in the requested state, nothing is done, and the command says "
            "so (exit code 0)."
        ),
        (
            "A group that starts or stops after other groups (start_after, stop_after in clp.toml) "
            "waits for them; with -f it does not. If a start has waited for start_wait, the "
            "command ends with exit code 7, and the group starts later, as soon as it can. -s "
            "cancels a stop that still waits."
        ),
        (
            "If a group cannot go there, the command refuses and says what would allow it (exit "
            "code 6)."
        ),
    ),
    options=(
        Option(
            "-s",
            "--start",
            help="Start GROUP on HOST, or on the first suitable server in its order.",
        ),
        Option("-t", "--stop", help="Stop GROUP. It stays stopped until it is started again."),
        Option("-m", "--move", help="Move GROUP to DEST, or to the next server in its order."),
        Option(
            "-l",
            "--migrate",
            help="Refused. In the original it migrates the virtual machine of a group; clptools "
            "has no such groups. Resources with migrate carry their state over by themselves.",
        ),
        Option(
            "--cancel",
            help="Cancel the planned move of GROUP (prepare_on_stall). It is not planned again for "
            "the same hardware event.",
        ),
        Option(
            "-n", "--where", help="Print the name of the server on which it is active, or nothing."
        ),
        Option("-a", "--to", metavar="DEST", help="The server to move it to.", complete="server"),
        host(
            "Start it on this server; stop or move groups that run on this server. Refused if "
            "GROUP runs on another server."
        ),
        FORCE,
        APITO,
    ),
    arguments=(Argument("GROUP", help="A failover group.", complete="group"),),
    examples=(
        ("clpgrp -m failover1 -a server2", "moves failover1 to server2"),
        ("clpgrp --cancel failover1", "failover1 stays where it is in the next quiet window"),
        (
            'test "$(clpgrp -n failover1)" = "$(hostname -s)"',
            "is true on the server where failover1 is active",
        ),
    ),
)

WHAT = ("start", "stop", "move", "cancel", "where")


def run(args: Args) -> Answer:
    if args.given("migrate"):
        to = f" -a {args.text('to')}" if args.text("to") else ""
        raise ClpError(
            ExitCode.REFUSED,
            "There are no groups of virtual machines, which alone could be migrated.",
            f"Stop it here and start it there: clpgrp -m {args.word() or 'GROUP'}{to}",
        )
    what = one_of(COMMAND, args, *WHAT)
    if what == "where":
        return ask(where(args.word()))
    return change(args, request_of(what, args), timeout_s=args.number("apito"))


def request_of(
    what: str, args: Args
) -> GroupStartJson | GroupStopJson | GroupMoveJson | GroupCancelJson:
    group, server, force = args.word(), args.text("host"), args.given("force")
    if what != "move" and args.text("to"):
        raise ClpError(
            ExitCode.USAGE,
            f"-a names where -m moves a group; --{what} takes -h SERVER.",
            "More: clpgrp --help",
        )
    if what == "start":
        return {"type": "group-start", "group": group, "server": server, "force": force}
    if what == "stop":
        return {"type": "group-stop", "group": group, "server": server, "force": force}
    if what == "cancel":
        if not group:
            raise ClpError(ExitCode.USAGE, "The name of a group is missing.")
        return {"type": "group-cancel", "group": group}
    to = args.text("to")
    return {"type": "group-move", "group": group, "server": server, "to": to, "force": force}


def query(args: Args) -> Query | None:
    """`-n`; all else changes something, or is refused."""
    asks = not args.given("migrate") and one_of(COMMAND, args, *WHAT) == "where"
    return where(args.word()) if asks else None


def where(group: str) -> Query:
    """The server the group is active on."""

    def answer(told: Told, _columns: int) -> Answer:
        current = known_group(status_in(told[0]), group)["current"]
        return Answer(str(current or ""), {"group": group, "current": current})

    return Query(GET_STATUS, answer)
