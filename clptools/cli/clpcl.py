"""`clpcl`: the cluster service, started, stopped, restarted, suspended, resumed."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from clptools.api.agent_process import beside, described, is_stopped
from clptools.api.client import READ_TIMEOUT_S, Client, Silent
from clptools.cli.command import APITO, Answer, Args, Command, Option, done, host, wait
from clptools.cli.requests import change, one_of
from clptools.faults import ClpError, ExitCode
from clptools.paths import log_dir, root, socket_file

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
            "The node agent stays up when the cluster service stops, so -a and -h work from any "
            "server. A local -s also starts the agent if it is down; if an agent hangs, it "
            "starts no other and names the process (exit code 7)."
        ),
        (
            "Stopping one server moves its groups to others first; stopping all stops them. "
            "A server stopped with -t stays so until -s or its next boot."
        ),
        "While the cluster is suspended, its groups run on and nothing acts: for maintenance.",
        (
            "What is already in the requested state is left alone, and the command says so (exit "
            "code 0). Without -w it waits until the work is done; -w 0 does not wait. A time-out "
            "(exit code 7) does not stop the work."
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
        Option("--ib", help="With -r, for old scripts: nothing is restarted."),
        Option("--web", help="The same."),
        Option("--alert", help="The same."),
        Option("--api", help="The same."),
        Option("--md", help="Accepted for old scripts: there is no mirror agent."),
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


# ---------------------------------------------------------------------- the agent of this server


ANSWERS_WITHIN_S = 15.0
RETRY_S = 0.05
POLL_TIMEOUT_S = 1.0
UNIT = "clpnode.service"


def start_agent() -> bool:
    """Starts the agent unless one runs; returns when it answers.  True: it was started.

    By systemd where that is process 1 and the node is the machine's own; else as a process of
    its own, its output in `clpnode.log`.  Raises ClpError.
    """
    # An agent that hangs is no reason to start another.
    if _answers(READ_TIMEOUT_S):
        return False
    by_systemd = not root() and os.path.isdir("/run/systemd/system")
    starting = _systemctl() if by_systemd else _spawn()
    its_words = f"journalctl -u {UNIT}" if by_systemd else log_file()
    deadline = time.monotonic() + ANSWERS_WITHIN_S
    while not (answering := _answers(POLL_TIMEOUT_S)):
        # systemctl ends with 0 when the unit runs; if the agent itself ends, it failed.
        ended = starting.poll()
        holder = beside(socket_file())
        if ended == ExitCode.REFUSED and is_stopped(holder):
            raise ClpError(ExitCode.TIMED_OUT, *described(holder, socket_file()))
        if ended == ExitCode.REFUSED and not by_systemd and time.monotonic() <= deadline:
            # Another agent runs whose socket was removed; it makes the socket again.
            time.sleep(RETRY_S)
            continue
        if ended is not None and (ended != 0 or not by_systemd):
            why = f"ended at once (exit code {ended})"
        elif time.monotonic() > deadline:
            why = f"has not answered within {ANSWERS_WITHIN_S:g} s"
        else:
            time.sleep(RETRY_S)
            continue
        raise ClpError(
            ExitCode.FAILED, f"The node agent was started and {why}.", f"Its own words: {its_words}"
        )
    # Another agent may have run, whose socket was removed.
    return by_systemd or answering == starting.pid


def log_file() -> str:
    """Where an agent that runs without systemd writes its output."""
    return log_dir() + "/clpnode.log"


def _answers(within_s: float) -> int:
    """Process id of the agent that answers; 0: none does.

    Raises ClpError if the caller may not ask, or if the agent hangs.
    """
    try:
        with Client(timeout_s=within_s) as client:
            client.call("GetCounters")
            return client.agent_pid
    except Silent:
        raise
    except ClpError as error:
        if error.code == ExitCode.NOT_PERMITTED:
            raise
        return 0


def _systemctl() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["systemctl", "start", UNIT], stdin=subprocess.DEVNULL)


def _spawn() -> subprocess.Popen[bytes]:
    """The agent in a session of its own: it outlives the terminal."""
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "clpnode")
    line = [beside] if os.access(beside, os.X_OK) else [sys.executable, "-m", "clptools.agent.main"]
    os.makedirs(log_dir(), mode=0o750, exist_ok=True)
    with open(log_file(), "ab") as log:
        return subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
