"""`clpcl`: the cluster service, started, stopped, restarted, suspended, resumed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

from clptools.api.agent_process import beside, described, is_stopped, state
from clptools.api.client import READ_TIMEOUT_S, Client, Silent
from clptools.cli.command import APITO, SUCCEEDED, Answer, Args, Command, Option, done, host, wait
from clptools.cli.requests import change, one_of, status
from clptools.faults import ClpError, ExitCode
from clptools.paths import log_dir, root, socket_file

COMMAND = Command(
    "clpcl",
    summary="start, stop, restart, suspend and resume the cluster service",
    synopsis=(
        "-s [-a | -h HOST] [-w SEC]",
        "-t [-a | -h HOST] [-w SEC]",
        "-t --agent [-w SEC]",
        "-r [-a | -h HOST] [-w SEC]",
        "--suspend [--force] [-w SEC]",
        "--resume",
        "-r --ib|--web|--alert|--api [-a | -h HOST]",
    ),
    description=(
        (
            "The node agent keeps running when the cluster service stops, so -a and -h work from "
            "any server. -s on the local server also starts the agent if it is down. If an agent "
            "hangs, -s starts no other and names the process (exit code 7). Without a "
            "configuration the agent waits for a first push, which starts the service; this is not "
            "an error."
        ),
        (
            "Stopping one server moves its groups to others first; stopping all stops them. A "
            "server stopped with -t stays stopped until -s or its next boot. With --agent, the "
            "node agent of this server also ends. Until -s on this server or its next boot, no "
            "command is answered here, and no other server can start anything here."
        ),
        (
            "While the cluster is suspended, its groups keep running, and nothing recovers, fences "
            "or starts by itself. Use this for maintenance."
        ),
        (
            "If a server is already in the requested state, nothing is done, and the command says "
            "so (exit code 0). Without -w it waits until the work is done; -w 0 does not wait. A "
            "time-out (exit code 7) does not stop the work."
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
        Option("--agent", help="With -t: end the node agent of this server, too."),
        Option("--ib", help="With -r, accepted for old scripts: nothing is restarted."),
        Option("--web", help="The same."),
        Option("--alert", help="The same."),
        Option("--api", help="The same."),
        Option("--md", help="Accepted for old scripts: there is no mirror agent."),
        Option("--force", help="Suspend even though a server does not answer."),
        wait("Wait this long until it is done."),
        APITO,
    ),
    examples=(
        ("clpcl -s -a", "starts the cluster"),
        ("clpcl -t -h server2", "stops the service on server2; its groups move first"),
        ("clpcl -t --agent", "before clptools is removed from this server"),
        ("clpcl --suspend", "before maintenance"),
    ),
)


SIDE_SERVICES = ("ib", "web", "alert", "api")


def run(args: Args) -> Answer:
    what = one_of(COMMAND, args, "start", "stop", "restart", "suspend", "resume")
    if args.given("all") and args.given("host"):
        raise ClpError(ExitCode.USAGE, "Give -a or -h, not both.")
    if args.given("agent") and (what != "stop" or args.given("all") or args.given("host")):
        raise ClpError(ExitCode.USAGE, "--agent goes with -t, and is for this server alone.")
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
        if not args.given("host") and not args.given("all") and (none := _belongs_to_none()):
            ran = "was started" if started else "runs"
            return done(f"The node agent {ran}. {none}\nFrom a server that has one: {PUSH}")
        answer = change(args, {"type": "service-start", "server": server}, timeout_s)
        # A starting agent starts the service: "already running" would be our own doing.
        return done() if started and not args.given("all") else answer
    if args.given("agent"):
        return stop_with_agent(args, timeout_s)
    return change(
        args,
        {"type": "service-stop", "server": server, "then": "start" if what == "restart" else ""},
        timeout_s,
    )


PUSH = "clpcfctrl --push"


def _belongs_to_none() -> str:
    """Why this server belongs to no cluster; empty: it does."""
    with Client() as client:
        cluster = status(client, local=True).get("cluster")
    return str(cluster.get("none", "")) if isinstance(cluster, dict) else ""


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


ENDS_WITHIN_S = 60.0


def stop_with_agent(args: Args, timeout_s: float | None) -> Answer:
    """Stops the cluster service here, then the agent; returns when its process has ended."""
    try:
        with Client() as client:
            client.call("GetCounters")
            pid = client.agent_pid
    except ClpError as error:
        if error.code != ExitCode.NO_AGENT:
            raise
        return done("No node agent runs here.")
    said = "" if _belongs_to_none() else _service_stopped(args, timeout_s)
    if _is_units(pid):
        # Else systemd might start it again.
        subprocess.run(["systemctl", "stop", UNIT], stdin=subprocess.DEVNULL, check=False)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + (ENDS_WITHIN_S if timeout_s is None else timeout_s)
    while state(pid) not in ("", "Z"):
        if time.monotonic() > deadline:
            text = f"The node agent (process {pid}) was told to end, and has not yet."
            raise ClpError(ExitCode.TIMED_OUT, text, f"See what it does: {log_file()}")
        time.sleep(RETRY_S)
    return done("\n".join(filter(None, (said, "The node agent has ended.", SUCCEEDED))))


def _service_stopped(args: Args, timeout_s: float | None) -> str:
    """Stops the cluster service here; returns what was said, less that it succeeded."""
    answer = change(args, {"type": "service-stop", "server": "", "then": ""}, timeout_s)
    return answer.text.removesuffix(SUCCEEDED).rstrip()


def _is_units(pid: int) -> bool:
    """Whether systemd keeps that process."""
    if root() or not os.path.isdir("/run/systemd/system"):
        return False
    asked = ["systemctl", "show", "--property=MainPID", "--value", UNIT]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    return told.stdout.strip() == str(pid)


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
