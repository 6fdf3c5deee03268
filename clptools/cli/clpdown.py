"""`clpdown`: one server stopped and shut down."""

from __future__ import annotations

from clptools.cli.command import TYPE_CHECKING, Answer, Args, Command, Option, host, wait
from clptools.cli.requests import change

if TYPE_CHECKING:
    from clptools.cli.json_types import ServiceStopJson

COMMAND = Command(
    "clpdown",
    summary="stop the cluster service of one server and shut the server down",
    synopsis=("[-r] [-h HOST] [-w SEC]",),
    description=(
        "Its groups move to other servers first.",
        (
            "A node with CLP_ROOT set never shuts the machine down. action_command in its "
            "configuration is run instead."
        ),
    ),
    options=(
        Option("-r", "--reboot", help="Reboot it instead."),
        host("Shut this server down instead of the local one."),
        wait("Wait this long until it is done."),
    ),
    examples=(("clpdown -h server2 -r", "reboots server2"),),
)


def run(args: Args) -> Answer:
    request: ServiceStopJson = {
        "type": "service-stop",
        "server": args.text("host"),
        "then": "reboot" if args.given("reboot") else "shutdown",
    }
    return change(args, request, args.number("wait"))
