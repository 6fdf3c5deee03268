"""Starting the node agent of this server where it does not run."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from clptools.api.agent_process import beside, described, is_stopped
from clptools.api.client import READ_TIMEOUT_S, Client, Silent
from clptools.faults import ClpError, ExitCode
from clptools.paths import log_dir, root, socket_file

ANSWERS_WITHIN_S = 15.0
RETRY_S = 0.05
POLL_TIMEOUT_S = 1.0
UNIT = "clpnode.service"


def start_agent() -> bool:
    """Starts the agent unless one runs; returns when it answers.  True: it was started.

    By systemd where that is process 1 and the node is the machine's own; else as a process of
    its own, its output in `clpnode.log`.  Raises ClpError.
    """
    # One that is there and stands still is no reason to start another.
    if _answers(READ_TIMEOUT_S):
        return False
    by_systemd = not root() and os.path.isdir("/run/systemd/system")
    starting = _systemctl() if by_systemd else _spawn()
    its_words = f"journalctl -u {UNIT}" if by_systemd else log_file()
    deadline = time.monotonic() + ANSWERS_WITHIN_S
    while not (answering := _answers(POLL_TIMEOUT_S)):
        # systemctl ends well when the unit runs; the agent itself ends only to its harm.
        ended = starting.poll()
        holder = beside(socket_file())
        if ended == ExitCode.REFUSED and is_stopped(holder):
            raise ClpError(ExitCode.TIMED_OUT, *described(holder, socket_file()))
        if ended == ExitCode.REFUSED and not by_systemd and time.monotonic() <= deadline:
            # Another agent runs, whose socket was removed: it makes it again.
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
    """Where an agent that systemd does not look after writes."""
    return log_dir() + "/clpnode.log"


def _answers(within_s: float) -> int:
    """Process id of the agent that answers; 0: none does.

    Raises ClpError where nobody could say, and for an agent that gives no sign of life.
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
