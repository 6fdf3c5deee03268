"""`clpstat --events`: the recorded events of the cluster, as they come."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from clptools.api.client import READ_TIMEOUT_S, Client
from clptools.cli.command import Answer, as_json
from clptools.cli.render.text import event_line
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clptools.cli.command import Args
    from clptools.cli.json_types import EventJson


def events(args: Args) -> Answer:
    """`--events`: each event is written as it comes."""
    follow = args.given("follow")
    if any(args.given(name) for name in RANGE):
        return of_the_past(args)
    filtered = args.given("level") or args.given("of")
    if filtered and not follow and not args.given("since"):
        return of_the_past(args)
    cursor = args.text("since")
    if cursor and not is_cursor(cursor):
        raise ClpError(
            ExitCode.USAGE,
            f"--since: {cursor!r} is no cursor, as events carry it.",
            "See: clpstat --events --json",
        )
    with Client(timeout_s=None if follow else READ_TIMEOUT_S) as client:
        try:
            stream = recorded(client, cursor, follow)
            for event in _filtered(args, stream) if filtered else stream:
                cursor = event["cursor"]
                write_event(event, as_text=as_text(args))
        except ClpError as error:
            if follow and cursor and error.code is ExitCode.NO_AGENT:
                error.hint += f"\nTo go on from here: clpstat --events --follow --since {cursor}"
            raise
    return Answer()


RANGE = ("from", "to")


def of_the_past(args: Args) -> Answer:
    """Sorted and filtered, from all that is kept; such a list has an end and no cursor."""
    for name in ("since", "follow"):
        if args.given(name):
            other = next(f"--{x}" for x in RANGE if args.given(x))
            raise ClpError(
                ExitCode.USAGE, f"--{name} and {other} do not go together; leave one of them out."
            )
    from clptools.cli import stat_past

    return stat_past.events(args, in_text=as_text(args))


def _filtered(args: Args, stream: Iterator[EventJson]) -> Iterator[EventJson]:
    from clptools.cli.stat_past import follow

    return follow(args, stream)


def as_text(args: Args) -> bool:
    """Whether people read it."""
    if args.given("text") and args.given("json"):
        raise ClpError(ExitCode.USAGE, "--text and --json do not go together; leave one out.")
    return args.given("text") or (sys.stdout.isatty() and not args.given("json"))


def is_cursor(text: str) -> bool:
    """Whether a text has the form of a cursor: SERVER:INCARNATION:NUMBER.

    The agent would take any other text for an event that it no longer keeps.
    """
    parts = text.split(":")
    return len(parts) == 3 and all(parts) and parts[2].isascii() and parts[2].isdigit()


def recorded(client: Client, cursor: str, follow: bool) -> Iterator[EventJson]:
    """The events after `cursor`, as the agent sends them."""
    for reply in client.stream("GetEvents", since=cursor, follow=follow):
        yield from cast("list[EventJson]", reply["events"])
        sys.stdout.flush()


def write_event(event: EventJson, *, as_text: bool) -> None:
    if as_text:
        line = event_line(event)
    else:
        line = as_json(cast("dict[str, object]", event))
    sys.stdout.write(line + "\n")
