"""`clprsc`: one group resource, started, stopped, found."""

from __future__ import annotations

from clptools.api.client import Client
from clptools.cli.answer import Answer
from clptools.cli.change import change, one_of
from clptools.cli.names import known_resource
from clptools.cli.options import APITO, Args, Argument, Command, Option, host

COMMAND = Command(
    "clprsc",
    summary="start and stop one group resource",
    synopsis=(
        "-s RESOURCE [-h HOST] [-f]",
        "-t RESOURCE [-h HOST] [-f]",
        "-n RESOURCE",
    ),
    description=(
        "The resource's group must be online. A group whose resource was stopped stays online.",
        "A resource that is already as asked is left alone, and that is said (exit code 0).",
    ),
    options=(
        Option("-s", "--start", help="Start RESOURCE."),
        Option("-t", "--stop", help="Stop RESOURCE."),
        Option("-n", "--where", help="Print the name of the server it is active on; else nothing."),
        host("The server on which its group is active; refused if it is active elsewhere."),
        Option(
            "-f",
            "--force",
            help="With -s also what it depends on, with -t also what depends on it.",
        ),
        APITO,
    ),
    arguments=(Argument("RESOURCE", help="A group resource.", required=True, complete="resource"),),
    examples=(("clprsc -t exec1 -f", "stops exec1 and what depends on it"),),
)


def run(args: Args) -> Answer:
    """Carries it out."""
    what = one_of(COMMAND, args, "start", "stop", "where")
    resource = args.word()
    if what == "where":
        return where(resource)
    request: dict[str, object] = {"type": f"resource-{what}", "resource": resource}
    request |= {"server": args.text("host"), "force": args.given("force")}
    return change(request, timeout_s=args.number("apito"))


def where(name: str) -> Answer:
    """The server on which the resource is online."""
    with Client() as client:
        group, resource = known_resource(client, name)
    current = group["current"] if resource.get("status") == "Online" else None
    return Answer(str(current or ""), {"resource": name, "current": current})
