"""`clpbwctrl -c`: in the original it ends the wait for other servers; here that takes a proof."""

from __future__ import annotations

from clptools.api.client import Client
from clptools.cli.command import Answer, Args, Command, Option, done
from clptools.cli.requests import local_server, objects, status
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpbwctrl",
    summary="show what a starting server waits for, and how to end that wait",
    synopsis=("-c",),
    description=(
        (
            "A starting server takes part as soon as every other server counts it or is proven to "
            "be down. This wait cannot be ended without a proof: if it took part while another "
            "server may still run, groups could run twice. The command names the servers that it "
            "waits for. If you have made sure that one of them is down, confirm it: clpnode "
            "confirm-down SERVER --yes."
        ),
    ),
    options=(
        Option("-c", "--cancel", help="As in the original. It is refused while the server waits."),
    ),
    examples=(("clpbwctrl -c", "names the servers that the local one waits for"),),
)


def run(args: Args) -> Answer:
    """Done if there is nothing to wait for; otherwise refused, with what to do instead."""
    if not args.given("cancel"):
        raise ClpError(ExitCode.USAGE, "Give -c.", "More: clpbwctrl --help")
    with Client() as client:
        state = status(client)
    name = local_server(state)
    own = next((s for s in objects(state, "servers") if s.get("name") == name), {})
    if not own.get("newcomer"):
        return done(f"{name} waits for no server.")
    lacks = own.get("lacks")
    missing = [str(each) for each in lacks] if isinstance(lacks, list) else []
    others = " and ".join(missing) or "the other servers"
    raise ClpError(
        ExitCode.REFUSED,
        f"{name} waits for {others}: without a proof that it is down, its groups could run twice.",
        "When you have made sure that it is down: "
        + " && ".join(f"clpnode confirm-down {each} --yes" for each in missing or ["SERVER"]),
    )
