"""`clpcl`: the cluster service, started, stopped, restarted, suspended, resumed."""

from __future__ import annotations

from clptools.cli.change import change, one_of
from clptools.cli.command import APITO, Answer, Args, Command, Option, done, host, wait
from clptools.cli.start_agent import start_agent
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpcl",
    summary="start, stop, restart, suspend and resume the cluster service",
    synopsis=(
        "-s [-a | -h HOST] [-w SEC]",
        "-t [-a | -h HOST] [-w SEC]",
        "-r [-a | -h HOST] [-w SEC]",
        "--suspend [--force] [-w SEC]",
        "--resume",
        "-r --ib|--web|--alert|--api [-a | -h HOST]",
    ),
    description=(
        (
            "The node agent stays up when the cluster service stops: so -a and -h work from any "
            "server. A local -s also starts the agent, if it is down; beside one that stands still "
            "it starts none, and names that one's process (exit code 7)."
        ),
        (
            "Stopping one server moves its groups to others first; stopping all stops them. "
            "A server stopped with -t stays so until -s or its next boot."
        ),
        "A suspended cluster keeps its groups running, and nothing acts: for maintenance.",
        (
            "What is already so is left alone, and that is said (exit code 0). Without -w it waits "
            "until it is done; -w 0 does not wait. A time-out (exit code 7) does not stop the work."
        ),
    ),
    options=(
        Option("-s", "--start", help="Start the cluster service."),
        Option("-t", "--stop", help="Stop the cluster service."),
        Option("-r", "--restart", help="Stop it, then start it."),
        Option("--suspend", help="Suspend the cluster: all its servers."),
        Option("--resume", help="Resume a suspended cluster."),
        Option("-a", "--all", help="On all servers."),
        host(),
        Option("--ib", help="With -r, for the sake of old scripts: nothing is restarted."),
        Option("--web", help="The same."),
        Option("--alert", help="The same."),
        Option("--api", help="The same."),
        Option("--md", help="Taken for the sake of old scripts: there is no mirror agent."),
        Option("--force", help="Suspend even though a server does not answer."),
        wait("Wait this long for it."),
        APITO,
    ),
    examples=(
        ("clpcl -s -a", "starts the cluster"),
        ("clpcl -t -h server2", "stops server2's part; its groups move first"),
        ("clpcl --suspend", "before maintenance"),
    ),
)


SIDE_SERVICES = ("ib", "web", "alert", "api")


def run(args: Args) -> Answer:
    """Carries it out."""
    what = one_of(COMMAND, args, "start", "stop", "restart", "suspend", "resume")
    if args.given("all") and args.given("host"):
        raise ClpError(ExitCode.USAGE, "Give -a or -h, not both.")
    side = [name for name in SIDE_SERVICES if args.given(name)]
    if side:
        if what != "restart":
            raise ClpError(ExitCode.USAGE, f"--{side[0]} goes with -r.")
        # The cluster service, which -r alone restarts, stays as it is.
        return done(f"Nothing to restart for --{side[0]}: the node agent is all there is.")
    timeout_s = args.number("wait") if args.given("wait") else args.number("apito")
    if what == "suspend":
        return change(args, {"type": "suspend", "force": args.given("force")}, timeout_s)
    if what == "resume":
        return change(args, {"type": "resume"}, timeout_s)
    server = "*" if args.given("all") else args.text("host")
    if what == "start":
        started = not args.given("host") and start_agent()
        answer = change(args, {"type": "service-start", "server": server}, timeout_s)
        # A starting agent starts the service: "already running" would be our own doing.
        return done() if started and not args.given("all") else answer
    then = "start" if what == "restart" else ""
    return change(args, {"type": "service-stop", "server": server, "then": then}, timeout_s)
