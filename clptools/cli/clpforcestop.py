"""`clpforcestop`: a server powered off by its forced stop, and read back."""

from __future__ import annotations

from clptools.cli.command import TYPE_CHECKING, Answer, Args, Argument, Command, Option, wait
from clptools.cli.requests import change
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.cli.json_types import ForceStopJson

COMMAND = Command(
    "clpforcestop",
    summary="power a server off by its forced stop, and prove that it is off",
    synopsis=("SERVER --yes [-w SEC]",),
    description=(
        (
            "The BMC or fence agent cuts the server's power at once, as in a forced stop of the "
            "cluster. Then the power is read back: off is proof, and a group that waited for this "
            "proof starts elsewhere. Data that its groups had not written is lost. clpdown shuts a "
            "server down in order."
        ),
        (
            "Exit code 6: refused, because SERVER is this server itself, or the last one that runs "
            "a group which could start nowhere else. Exit code 1: not done, with the reason; it is "
            "then not known whether the server is off."
        ),
        "The command is recorded with your name.",
    ),
    options=(
        Option("--yes", help="Confirm that the server shall lose power."),
        wait("Wait this long until it is done."),
    ),
    arguments=(
        Argument("SERVER", help="The server to power off.", required=True, complete="server"),
    ),
    examples=(("clpforcestop server1 --yes", "proves that server1, which hangs, is off"),),
)


def run(args: Args) -> Answer:
    server = args.word()
    if not args.given("yes"):
        raise ClpError(
            ExitCode.USAGE,
            f"Nothing was done: {server} would lose power at once.",
            f"If you mean it: clpforcestop {server} --yes.  In order: clpdown -h {server}",
        )
    request: ForceStopJson = {"type": "force-stop", "down": server}
    return change(args, request, args.number("wait"))
