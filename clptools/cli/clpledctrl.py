"""`clpledctrl`: the identify LED of a server's chassis."""

from __future__ import annotations

from clptools.api.client import Client, user
from clptools.cli.command import Answer, Args, Command, Option, done, host, wait
from clptools.cli.requests import local_server, objects, one_of, server_called, status
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpledctrl",
    summary="switch the identify LED of a server on or off",
    synopsis=("-i [-a | -h HOST] [-w SEC]", "-d [-a | -h HOST] [-w SEC]"),
    description=(
        (
            "The local server asks the BMC over the BMC network (IPMI Chassis Identify, or "
            "Redfish), so the command also works for a server that is down. The LED stays on "
            "until -d. A BMC that cannot do that switches it on for 255 seconds, and the command "
            "says so. Nothing else in clptools switches the LED."
        ),
    ),
    options=(
        Option("-i", "--identify", help="Switch the LED on."),
        Option("-d", "--dark", help="Switch the LED off."),
        Option("-a", "--all", help="The LEDs of all servers."),
        host("The LED of this server instead of the local one."),
        wait("Wait this long for each BMC (10)."),
    ),
    examples=(("clpledctrl -i -h server2", "shows which of the machines is server2"),),
)

WAIT_S = 10.0


def run(args: Args) -> Answer:
    """Carries it out; every server is tried."""
    on = one_of(COMMAND, args, "identify", "dark") == "identify"
    if args.given("all") and args.given("host"):
        raise ClpError(ExitCode.USAGE, "Give -a or -h, not both.")
    patience_s = args.number("wait")
    with Client() as client:
        state = status(client)
        names = [server_called(state, args.text("host")) or local_server(state)]
        if args.given("all"):
            names = [str(server.get("name")) for server in objects(state, "servers")]
        told: list[str] = []
        faults: list[ClpError] = []
        for name in names:
            client.finish_within(patience_s or WAIT_S)
            try:
                reply = client.call("Identify", server=name, on=on, user=user())
            except ClpError as error:
                faults.append(error)
                if error.code == ExitCode.TIMED_OUT:
                    break  # a late answer would be taken for that to the next one
                continue
            outcome = reply.get("outcome")
            told.append(str(outcome.get("text", "")) if isinstance(outcome, dict) else "")
    if faults:
        first = faults[0]
        said = [error.message.rstrip(".") for error in faults] + told
        raise ClpError(first.code, "; ".join(said), first.hint)
    return done("\n".join(told))
