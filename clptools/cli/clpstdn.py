"""`clpstdn`: the whole cluster stopped and shut down."""

from __future__ import annotations

from clptools.cli.command import TYPE_CHECKING, Answer, Args, Command, Option, wait
from clptools.cli.requests import change

if TYPE_CHECKING:
    from clptools.cli.json_types import ServiceStopJson

COMMAND = Command(
    "clpstdn",
    summary="stop the cluster service of all servers and shut them down",
    synopsis=("[-r] [-w SEC]",),
    description=(
        "Groups are stopped, not moved.",
        (
            "A node with CLP_ROOT set never shuts the machine down. action_command in its "
            "configuration is run instead."
        ),
    ),
    options=(
        Option("-r", "--reboot", help="Reboot them instead."),
        wait("Wait this long until it is done."),
    ),
    examples=(("clpstdn", "stops all servers before a planned power cut"),),
)


def run(args: Args) -> Answer:
    request: ServiceStopJson = {
        "type": "service-stop",
        "then": "reboot" if args.given("reboot") else "shutdown",
        "server": "*",
    }
    return change(args, request, args.number("wait"))
