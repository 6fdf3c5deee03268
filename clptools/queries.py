"""Lines of commands that only read, as the agent answers them for thin clients.

The agent's one way to the commands: what it gets from here is made by their own code, of replies
that the caller might have asked for itself, and without a look at a file or an environment.
Everything that this needs is loaded with it, so an agent goes on with the version that it has.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from clptools.cli import (
    clpgrp,
    clphealthchk,
    clpmonctrl,
    clpregctrl,
    clprsc,
    clpstat,
    clptoratio,
)
from clptools.cli.command import Args, Command, Query, UsageError, parse, printed
from clptools.cli.render import explain, maps, plugin, status
from clptools.cli.render.text import text_columns
from clptools.faults import ClpError


class _Command(Protocol):
    COMMAND: Command

    @staticmethod
    def query(args: Args) -> Query | None:
        """What a line asks."""


COMMANDS: dict[str, _Command] = {
    module.COMMAND.name: module  # type: ignore[misc]  # a module is no instance of a protocol
    for module in (
        *(clpgrp, clphealthchk, clpmonctrl, clpregctrl),
        *(clprsc, clpstat, clptoratio),
    )
}
LOADED = (explain, maps, plugin, status)
"""What the commands themselves import only where they show it."""


REPLY_BYTES = 131_072
"""Of all replies to a query.  What is made of more takes longer than 3 ms, and while a library
works at one object, the agent's loop cannot.  It is the status of some 8 servers with 32 groups.
"""


class AskedQuery:
    """A line that was understood."""

    def __init__(self, query: Query, in_json: bool) -> None:
        self.calls = query.calls
        """Method and parameters of what it asks, in order."""
        self._query = query
        self._in_json = in_json

    def written(self, replies: Sequence[msgspec.Struct], columns: int) -> tuple[int, str] | None:
        """Exit code, and text in UTF-8 without its last newline, of the replies to `calls`.

        `columns` has the caller's terminal, 0: it has none.  None: the command itself is to say.
        """
        time.tzset()  # the host's time zone may have changed since the agent started
        said = [msgspec.json.encode(reply) for reply in replies]
        if sum(map(len, said)) > REPLY_BYTES:
            return None
        told = [msgspec.json.decode(each) for each in said]
        try:
            answer = self._query.answer(told, text_columns(columns))
        except ClpError:
            return None
        return int(answer.code), printed(answer, self._in_json, "utf-8")


def understood(command: str, line: Sequence[str]) -> AskedQuery | None:
    """The words after a command's name; None: only the command itself can answer them."""
    asked = COMMANDS.get(command)
    if asked is None or "TZ" in os.environ:
        return None  # an agent with a time zone of its own has not the caller's
    try:
        query = asked.query(parse(asked.COMMAND, list(line)))
    except (UsageError, ClpError):
        return None
    return None if query is None else AskedQuery(query, "--json" in line)
