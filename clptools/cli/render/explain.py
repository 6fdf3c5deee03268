"""`clpstat --explain`: what is, why it is there, what follows and what the operator can do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from clptools.cli.render.text import clean, clock, pad, width, wrap
from clptools.cli.render.waiting import waiting_lines

if TYPE_CHECKING:
    from clptools.cli.json_types import BecauseJson, ExplanationJson, StatusJson

COLUMNS = 80


def explanation(
    told: ExplanationJson, status: StatusJson, columns: int = COLUMNS, now: float | None = None
) -> str:
    """The story as text; a waiting group begins with the table of missing proofs.

    `status` is the view the story belongs to; `now` is wall clock, seconds since 1970.
    """
    now = time.time() if now is None else now
    group = next((g for g in status["groups"] if g["name"] == told["subject"]), None)
    if group is not None and group["waiting_for"] is not None:
        lines = waiting_lines(status, group, columns, now)
    else:
        lines = wrap(clean(told["state"]), columns)
    if told["because"]:
        somewhere = group is not None and group["current"] is not None
        lines += ["", "Why there" if somewhere else "Why", *steps(told, columns, now)]
    if told["then"]:
        lines.append("Then" if told["because"] else "")
        for line in told["then"]:
            lines += afterwards(clean(line), columns)
    return "\n".join(lines) + "\n"


def afterwards(line: str, columns: int) -> list[str]:
    """A line of what follows: its time in a column, its command on a line of its own."""
    when, _, what = line.rpartition("  ")
    first = f"  {when}  " if when else "  "
    indent = " " * width(first) if when else "    "
    if width(first + what) <= columns:
        return [first + what]
    text, found, command = what.partition(": clp")
    if not found:
        return wrap(what, columns, indent, first=first)
    return [*wrap(f"{text}:", columns, indent, first=first), f"{indent}clp{command}"]


def steps(told: ExplanationJson, columns: int, now: float) -> list[str]:
    """The chain of what happened, a time before each step."""
    times = [clock(step["time"], now) for step in told["because"]]
    column = max(map(width, times)) + 4
    lines: list[str] = []
    for when, step in zip(times, told["because"], strict=True):
        lines += wrap(sentence(step), columns, " " * column, first=pad(f"  {when}", column))
    return lines


def sentence(step: BecauseJson) -> str:
    """What happened, with its source where that is a hardware event."""
    event = step["event"]
    source = [str(event["monitor"])] if "monitor" in event else []
    source += [f"event {event['id']}"] if "id" in event else []
    text = clean(step["text"])
    return f"{text} ({clean(', '.join(source))})" if source else text
