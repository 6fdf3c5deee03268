"""`clpgrp`: failover groups, started, stopped, moved, found."""

from __future__ import annotations

from clptools.api.client import Client
from clptools.cli.answer import Answer
from clptools.cli.change import change, one_of
from clptools.cli.names import known_group
from clptools.cli.options import APITO, FORCE, Args, Argument, Command, Option, host

COMMAND = Command(
    "clpgrp",
    summary="start, stop and move failover groups",
    synopsis=(
        "-s [GROUP] [-h HOST] [-f]",
        "-t [GROUP] [-h HOST] [-f]",
        "-m [GROUP] [-h HOST] [-a DEST] [-f]",
        "-n GROUP",
    ),
    description=(
        (
            "Without GROUP it concerns all groups; with -h those of that server. -m alone moves "
            "those of this server."
        ),
        "The command waits until it is done; a terminal shows each step as it happens.",
        "A group that is already as asked is left alone, and that is said (exit code 0).",
        "A group that cannot go there is refused with what would allow it (exit code 6).",
    ),
    options=(
        Option("-s", "--start", help="Start GROUP: on HOST, or where its order puts it."),
        Option("-t", "--stop", help="Stop GROUP. It stays stopped until it is started again."),
        Option("-m", "--move", help="Move GROUP to DEST, or to the next server in its order."),
        Option("-n", "--where", help="Print the name of the server it is active on; else nothing."),
        Option("-a", "--to", metavar="DEST", help="Where to move it.", complete="server"),
        host(
            "Start it on this server; stop or move what runs on this server. Refused if GROUP runs "
            "on another."
        ),
        FORCE,
        APITO,
    ),
    arguments=(Argument("GROUP", help="A failover group.", complete="group"),),
    examples=(
        ("clpgrp -m failover1 -a server2", "moves failover1 to server2"),
        ('test "$(clpgrp -n failover1)" = "$(hostname -s)"', "true where failover1 is active"),
    ),
)


def run(args: Args) -> Answer:
    """Carries it out."""
    what = one_of(COMMAND, args, "start", "stop", "move", "where")
    group = args.word()
    if what == "where":
        return where(group)
    request: dict[str, object] = {"type": f"group-{what}", "group": group}
    request |= {"server": args.text("host"), "force": args.given("force")}
    if what == "move":
        request["to"] = args.text("to")
    return change(args, request, timeout_s=args.number("apito"))


def where(group: str) -> Answer:
    """The server the group is active on."""
    with Client() as client:
        current = known_group(client, group)["current"]
    return Answer(str(current or ""), {"group": group, "current": current})
