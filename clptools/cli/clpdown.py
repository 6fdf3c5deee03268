"""`clpdown`: one server stopped and shut down."""

from __future__ import annotations

from clptools.cli.answer import Answer
from clptools.cli.change import change
from clptools.cli.options import Args, Command, Option, host, wait

COMMAND = Command(
    "clpdown",
    summary="stop the cluster service of one server and shut the server down",
    synopsis=("[-r] [-h HOST] [-w SEC]",),
    description=(
        "Its groups move to other servers first.",
        (
            "A node with CLP_ROOT set never shuts the machine down: its configuration names what "
            "stands for that (action_command)."
        ),
    ),
    options=(
        Option("-r", "--reboot", help="Reboot it instead."),
        host("Shut this server down instead of the local one."),
        wait("Wait this long for it."),
    ),
    examples=(("clpdown -h server2 -r", "reboots server2"),),
)


def run(args: Args) -> Answer:
    """Carries it out."""
    then = "reboot" if args.given("reboot") else "shutdown"
    request: dict[str, object] = {"type": "service-stop", "then": then}
    return change(args, {**request, "server": args.text("host")}, args.number("wait"))
