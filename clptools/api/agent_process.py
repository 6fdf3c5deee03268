"""The agent's process, as the kernel shows it to a command that gets no answer.

Which process it is where the socket is gone (`/run` may be wiped under a running agent, which
makes its sockets again within a second), why it gives no sign of life, and what mends that.

Source of the states: proc_pid_stat(5), field 3; of locks: proc(5).
"""

from __future__ import annotations

import os

from clptools.paths import data_dir, server_name

STOPPED, TRACED, DISK = "T", "t", "D"
_THEN = "It then refuses every change that was asked for more than 10 s before."


def state(pid: int) -> str:
    """The letter of a process's state; empty where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold anything.
            return file.read(4096).rpartition(b")")[2].split()[0].decode("ascii", "replace")
    except (OSError, IndexError):
        return ""


def is_stopped(pid: int) -> bool:
    """Whether it is stopped, so that it does nothing until it is continued."""
    return pid > 0 and state(pid) in (STOPPED, TRACED)


def beside(path: str) -> int:
    """Process id of the agent whose socket this is, by its lock file; 0: unknown."""
    try:
        with open(os.path.dirname(path) + "/lock", "rb") as file:
            return int(file.read(32))
    except (OSError, ValueError):
        return 0


def described(pid: int, path: str) -> tuple[str, str]:
    """What an agent that gives no sign of life is doing, and what mends it."""
    now = state(pid)
    name = f"clpnode (pid {pid})"
    if now == STOPPED:
        return f"{name} is stopped (state T).", f"Let it go on: kill -CONT {pid}.  {_THEN}"
    if now == TRACED:
        by = _tracer(pid)
        return (
            f"{name} is stopped by a debugger (state t{by}).",
            f"End the debugger, and it goes on.  {_THEN}",
        )
    if now == DISK:
        mend = (
            "No signal ends that: dmesg tells which disk hangs.  If it cannot be mended, on "
            f"another server: clpforcestop {server_name()} --yes"
        )
        return f"{name} does not answer (state D: waits for the disk).", mend
    if now:
        return (
            f"{name} does not answer (state {now}).",
            f"If it stays so: kill -KILL {pid}, then clpcl -s; the groups run on meanwhile.",
        )
    return (
        f"The node agent at {path} does not answer.",
        "Is it alive? systemctl status clpnode",
    )


def _tracer(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            by = next(line.split()[1] for line in file if line.startswith("TracerPid:"))
    except (OSError, StopIteration, IndexError):
        return ""
    return "" if by == "0" else f", by pid {by}"


_LOCKS = "/proc/locks"
"""Columns: number, FLOCK, ADVISORY, WRITE, pid, major:minor:inode, start, end."""


def agent_pid() -> int:
    """The process that holds the agent's lock below `/var/lib`; 0: none, or we may not look."""
    try:
        inode = str(os.stat(data_dir() + "/lock").st_ino)
        with open(_LOCKS, encoding="ascii", errors="replace") as file:
            locks = [line.split() for line in file]
    except OSError:
        return 0
    for words in locks:
        # A waiting lock has an arrow after its number, and holds nothing.
        if words[1:2] == ["FLOCK"] and words[5].rpartition(":")[2] == inode:
            return max(int(words[4]), 0)
    return 0
