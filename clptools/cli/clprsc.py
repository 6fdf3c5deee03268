"""`clprsc`: one group resource, started, stopped, found."""

from __future__ import annotations

from clptools.cli.command import (
    APITO,
    TYPE_CHECKING,
    Answer,
    Args,
    Argument,
    Command,
    Option,
    Query,
    host,
)
from clptools.cli.requests import (
    GET_STATUS,
    Json,
    ask,
    change,
    find,
    known_resource,
    objects,
    one_of,
    status_in,
)
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.cli.command import Told
    from clptools.cli.json_types import ResourceStartJson, ResourceStopJson

COMMAND = Command(
    "clprsc",
    summary="start, stop and find one group resource, show its failover counter",
    synopsis=(
        "-s RESOURCE [-h HOST] [-f]",
        "-t RESOURCE [-h HOST] [-f]",
        "-n RESOURCE",
        "-v [RESOURCE]",
    ),
    description=(
        "The resource's group must be online. A group whose resource was stopped stays online.",
        (
            "If a resource is already in the requested state, nothing is done, and the command "
            "says so (exit code 0)."
        ),
        (
            "The failover counter belongs to the resource's group, because a group moves as a "
            "whole. It is the number of servers on which the start failed since the group last "
            "ran. After each failure the group goes to the next server, until failover_on_failure "
            "of its resources is used up. The counter starts again after a pause, or when an "
            "operator starts the group."
        ),
    ),
    options=(
        Option("-s", "--start", help="Start RESOURCE."),
        Option("-t", "--stop", help="Stop RESOURCE."),
        Option(
            "-n", "--where", help="Print the name of the server on which it is active, or nothing."
        ),
        Option(
            "-v", "--counter", help="Show the failover counter; without RESOURCE, of all resources."
        ),
        host("The server on which its group is active. Refused if the group is active elsewhere."),
        Option(
            "-f",
            "--force",
            help="With -s, also start what it depends on. With -t, also stop what depends on it.",
        ),
        APITO,
    ),
    arguments=(Argument("RESOURCE", help="A group resource.", complete="resource"),),
    examples=(("clprsc -t exec1 -f", "stops exec1 and what depends on it"),),
)

WHAT = ("start", "stop", "where", "counter")


def run(args: Args) -> Answer:
    what = one_of(COMMAND, args, *WHAT)
    resource = args.word()
    if what == "counter":
        return ask(counter(resource))
    if not resource:
        raise ClpError(ExitCode.USAGE, "RESOURCE is missing.", "More: clprsc --help")
    if what == "where":
        return ask(where(resource))
    request: ResourceStartJson | ResourceStopJson
    server, force = args.text("host"), args.given("force")
    if what == "start":
        request = {"type": "resource-start", "resource": resource, "server": server, "force": force}
    else:
        request = {"type": "resource-stop", "resource": resource, "server": server, "force": force}
    return change(args, request, timeout_s=args.number("apito"))


def query(args: Args) -> Query | None:
    """`-n` and `-v`; all else changes something."""
    what, resource = one_of(COMMAND, args, *WHAT), args.word()
    if what == "counter":
        return counter(resource)
    return where(resource) if what == "where" and resource else None


def counter(name: str) -> Query:
    """The counter of one resource's group, or of every resource's."""

    def answer(told: Told, _columns: int) -> Answer:
        groups = objects(status_in(told[0]), "groups")
        every = [(group, item) for group in groups for item in objects(group, "resources")]
        chosen = find([item for _, item in every], "resource", name) if name else None
        lines: list[str] = []
        shown: list[Json] = []
        for group, item in every:
            if chosen is None or item is chosen:
                count = group.get("failures", 0)
                lines += [f"Group Resource: {item['name']}", f"  {'Failover Counter':<18}: {count}"]
                shown.append({"name": item["name"], "group": group["name"], "failovers": count})
        return Answer("\n".join(lines), {"resources": shown})

    return Query(GET_STATUS, answer)


def where(name: str) -> Query:
    """The server on which the resource is online."""

    def answer(told: Told, _columns: int) -> Answer:
        group, resource = known_resource(status_in(told[0]), name)
        current = group["current"] if resource.get("status") == "Online" else None
        return Answer(str(current or ""), {"resource": name, "current": current})

    return Query(GET_STATUS, answer)
