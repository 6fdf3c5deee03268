"""`clpwait`: for scripts, wait until the cluster is as it should be."""

from __future__ import annotations

import time

from clptools.api.client import Client, Silent
from clptools.cli.command import Answer, Args, Command, Option
from clptools.cli.requests import Json, find, objects
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpwait",
    summary="wait until the cluster is in a state",
    synopsis=("--until CONDITION [--timeout SEC]",),
    description=(
        (
            "Conditions: 'group G online|offline [on S]', 'server S online|offline', "
            "'monitor M normal|error|stall [on S]', 'cluster normal'."
        ),
        (
            "Exit code 0: the condition is true, or already was. Exit code 7: it did not become "
            "true in time. Without --timeout, the command waits as long as it takes."
        ),
        "With --timeout, it also waits for a node agent that is starting or restarting.",
    ),
    options=(
        Option("--until", metavar="CONDITION", help="What to wait for."),
        Option("--timeout", metavar="SEC", help="Wait at most this long.", number=True),
    ),
    examples=(
        (
            "clpwait --until 'group failover1 online on server2' --timeout 30",
            "waits for the end of a move",
        ),
        ("clpwait --until 'cluster normal' && ./next-step", "goes on when the cluster is normal"),
    ),
)

RETRY_S = 0.1
STATES = {
    "group": ("online", "offline"),
    "server": ("online", "offline"),
    "monitor": ("normal", "error", "stall"),
    "cluster": ("normal",),
}


class Condition:
    """What is waited for; `name` is empty for the cluster, `server` where none is named."""

    __slots__ = ("kind", "name", "server", "state", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        words = text.split()
        self.kind = words[0] if words else ""
        states = STATES.get(self.kind)
        if states is None:
            raise self._wrong(f"begins with none of {', '.join(STATES)}")
        self.name = "" if self.kind == "cluster" else "".join(words[1:2])
        rest = words[1 if self.kind == "cluster" else 2 :]
        self.state = rest[0].lower() if rest else ""
        if self.state not in states:
            raise self._wrong(f"names no state: {' or '.join(states)}")
        self.server = rest[2] if len(rest) == 3 and rest[1] == "on" else ""
        placed = self.kind in ("group", "monitor")
        if len(rest) > 1 and not (self.server and placed):
            raise self._wrong(f"{' '.join(rest[1:])!r} does not belong there")

    def _wrong(self, why: str) -> ClpError:
        return ClpError(
            ExitCode.USAGE,
            f"The condition {self.text!r}: {why}.",
            "Like: 'group failover1 online on server2'. More: clpwait --help",
        )

    def holds(self, status: Json) -> bool:
        """Whether the condition holds.  Raises ClpError (NO_SUCH) for a name that is not there."""
        if self.kind == "cluster":
            cluster = status.get("cluster")
            return isinstance(cluster, dict) and _is(cluster, self.state)
        if self.server:
            find(objects(status, "servers"), "server", self.server)
        found = find(objects(status, f"{self.kind}s"), self.kind, self.name)
        if self.kind == "group":
            return self._group(found)
        if self.kind == "monitor" and self.server:
            on = found.get("servers")
            there = on.get(self.server) if isinstance(on, dict) else None
            return isinstance(there, dict) and _is(there, self.state)
        return _is(found, self.state)

    def _group(self, group: Json) -> bool:
        if not self.server:
            return _is(group, self.state)
        here = group.get("current") == self.server
        return here and _is(group, "online") if self.state == "online" else not here


def _is(item: Json, state: str) -> bool:
    return str(item.get("status", "")).lower() == state


def run(args: Args) -> Answer:
    if not args.given("until"):
        raise ClpError(ExitCode.USAGE, "--until is missing.", "More: clpwait --help")
    condition = Condition(args.text("until"))
    seconds = args.number("timeout")
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        try:
            return _watch(condition, deadline)
        except ClpError as error:
            late = deadline is not None and time.monotonic() + RETRY_S >= deadline
            silent = isinstance(error, Silent)
            if error.code == ExitCode.TIMED_OUT and deadline is not None and not silent:
                raise ClpError(
                    ExitCode.TIMED_OUT,
                    f"Not within {seconds:g} s: {condition.text}.",
                    "Nothing was changed by waiting. See: clpstat",
                ) from error
            may_pass = silent or error.code == ExitCode.NO_AGENT
            if not may_pass or deadline is None or late:
                raise
        time.sleep(RETRY_S)


def _watch(condition: Condition, deadline: float | None) -> Answer:
    with Client() as client:
        client.finish_within(None if deadline is None else max(deadline - time.monotonic(), 0.001))
        for reply in client.stream("WatchStatus"):
            status = reply.get("status")
            if isinstance(status, dict) and condition.holds(status):
                return Answer("", {"condition": condition.text, "holds": True})
    raise ClpError(ExitCode.NO_AGENT, "The node agent stopped.", "Start it here: clpcl -s")
