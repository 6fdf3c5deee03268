"""`clphealthchk`: a liveness probe with the original's exit codes."""

from __future__ import annotations

from clptools.api.client import Client, SocketMissing
from clptools.cli.command import TYPE_CHECKING, Answer, Args, Command, Option, Query
from clptools.cli.requests import Json, status, status_in
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.cli.command import Told

COMMAND = Command(
    "clphealthchk",
    summary="say whether the cluster's processes are alive",
    synopsis=("[-t pm|rc|rm|nm]",),
    description=(
        (
            "The original has a process each for pm, rc, rm and nm. In clptools the node agent "
            "does the work of all four, so they have the same state."
        ),
        "The exit codes are the original's, but for a wrong option.",
    ),
    exit_codes=(
        ("0", "alive"),
        ("1", "not permitted to use the node agent's socket"),
        ("2", "wrong option"),
        ("11", "the cluster service is stopped, or there is no node agent"),
        ("12", "suspended"),
        ("100", "the node agent does not answer"),
        ("255", "anything else that failed"),
    ),
    fault_codes=(
        (ExitCode.NOT_PERMITTED, 1),
        (ExitCode.FAILED, 255),
    ),
    options=(
        Option("-t", "--type", metavar="TYPE", help="Show only this one.", complete="pm rc rm nm"),
        Option(
            "--timeout",
            metavar="SEC",
            help="If an agent has not answered by then, it is not alive (5).",
            number=True,
        ),
    ),
    examples=(("clphealthchk", "a liveness probe of a container"),),
)

PROCESSES = ("pm", "rc", "rm", "nm")
STOPPED, SUSPENDED, NOT_ALIVE = 11, 12, 100
TIMEOUT_S = 5.0


def run(args: Args) -> Answer:
    chosen = processes(args)
    seconds = args.number("timeout")
    try:
        with Client(timeout_s=TIMEOUT_S if seconds is None else max(seconds, 0.001)) as client:
            found = status(client, local=True)
    except SocketMissing as error:
        return _say(error.message, NOT_ALIVE)
    except ClpError as error:
        if error.code == ExitCode.NO_AGENT:
            return _say("The cluster has been stopped: no node agent answers.", STOPPED)
        if error.code == ExitCode.TIMED_OUT:
            return _say("\n".join(f"{name} NG" for name in chosen), NOT_ALIVE)
        raise
    return _told(chosen, found)


def query(args: Args) -> Query | None:
    """The agent's own word, where nothing limits the wait for it."""
    chosen = processes(args)
    if args.given("timeout"):
        return None

    def answer(told: Told, _columns: int) -> Answer:
        return _told(chosen, status_in(told[0]))

    return Query((("GetStatus", {"local": True}),), answer)


def processes(args: Args) -> tuple[str, ...]:
    """Those that are asked for.  Raises ClpError."""
    chosen = (args.text("type"),) if args.given("type") else PROCESSES
    if not set(chosen) <= set(PROCESSES):
        text = f"-t {chosen[0]}: not one of pm, rc, rm, nm."
        raise ClpError(ExitCode.USAGE, text, f"More: {COMMAND.name} --help")
    return chosen


def _told(chosen: tuple[str, ...], found: Json) -> Answer:
    cluster = found.get("cluster")
    cluster = cluster if isinstance(cluster, dict) else {}
    if cluster.get("status") == "Stopped":
        return _say("The cluster has been stopped.", STOPPED)
    if cluster.get("suspended"):
        return _say("The cluster has been suspended.", SUSPENDED)
    return _say("\n".join(f"{name} OK" for name in chosen), 0)


def _say(text: str, code: int) -> Answer:
    return Answer(text, {"text": text, "code": code}, code)
