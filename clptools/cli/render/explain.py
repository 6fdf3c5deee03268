"""`clpstat --explain`: the state, why it is so, what follows and what the operator can do."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from clptools.cli.render.text import clean, clock, duration, names, pad, width, wrap

if TYPE_CHECKING:
    from clptools.cli.json_types import BecauseJson, ExplanationJson, GroupJson, StatusJson

COLUMNS = 80


_COMMAND = re.compile(r": (?=clp[a-z]+(?: |$))")
"""Before a command."""
_NEXT_SENTENCE = re.compile(r"\. (?=[A-Z])")
"""Behind a command."""


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
    """A line of what follows: its time in a column, each command on a line of its own."""
    when, _, what = line.rpartition("  ")
    first = f"  {when}  " if when else "  "
    indent = " " * width(first) if when else "    "
    if width(first + what) <= columns:
        return [first + what]
    lines: list[str] = []
    while len(parts := _COMMAND.split(what, maxsplit=1)) > 1:
        text, rest = parts
        command, *more = _NEXT_SENTENCE.split(rest, maxsplit=1)
        lines += [*wrap(f"{text}:", columns, indent, first=first), f"{indent}{command}"]
        first, what = indent, "".join(more)
    return [*lines, *wrap(what, columns, indent, first=first)] if what else lines


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


# ---------------------------------------------------------------------- why it does not start


PROOF_COLUMNS = 12
"""`forced stop` and a blank."""


def planned_words(group: GroupJson) -> str:
    """The planned move of a group as a sentence; empty: there is none.

    Older agents do not send `planned_move`.
    """
    planned = group.get("planned_move")
    if planned is None:
        return ""
    to = clean(planned["to"]) or "another server"
    why = f"{clean(planned['monitor'])} expects a failure: {clean(planned['why'])}"
    if planned["stage"] == "moving":
        return f"The planned move to {to} has begun ({why})."
    when = clean(planned["when"]) or "the next quiet window"
    left = planned["in_s"]
    if left:
        when += f", in {duration(left)}"
    waits = f" Now it would wait: {clean(planned['waits_for'])}." if planned["waits_for"] else ""
    return (
        f"Planned move to {to}: {when} ({why}).{waits} "
        f"Call it off: clpgrp --cancel {clean(group['name'])}"
    )


def waiting_lines(
    view: StatusJson, group: GroupJson, columns: int = 80, now: float | None = None
) -> list[str]:
    """The lines for a group that waits (none for one that does not); `now`: wall clock."""
    waiting = group["waiting_for"]
    if waiting is None:
        return []
    now = time.time() if now is None else now
    since = clock(now - waiting["since_s"], now)
    lines = wrap(
        f"{clean(group['name'])} is {clean(group['status'])} and {clean(waiting['text'])} "
        f"since {since} ({duration(waiting['since_s'])}).",
        columns,
    )
    heard = last_heard(view, waiting["server"], now) if waiting["server"] else ""
    if heard:
        lines += wrap(f"It may still run on {clean(waiting['server'])}, {heard}.", columns, "  ")
    if waiting["proofs"]:
        for proof, why in waiting["proofs"].items():
            start = f"  {proof:<{PROOF_COLUMNS - 1}} "
            lines += wrap(clean(why), columns, " " * len(start), first=start)
    return lines + mend_lines(waiting["server"], waiting["proofs"], waiting["mend"], columns)


def mend_lines(server: str, proofs: dict[str, str], mend: str, columns: int) -> list[str]:
    """What happens next, and the command that allows it now."""
    lines: list[str] = []
    by_itself = any(not why.startswith(("no:", "not ")) for why in proofs.values())
    if proofs:
        lines.append(
            "It goes on as soon as one of them is there."
            if by_itself
            else "Nothing else will happen by itself."
        )
    if not mend:
        return lines
    if "confirm-down" in mend:
        advice = f"If you have made sure that {clean(server)} is down and stays down:"
    else:
        advice = "What would allow it now:"
    return [*wrap(" ".join([*lines, advice]), columns), f"  {clean(mend)}"]


def last_heard(view: StatusJson, server: str, now: float) -> str:
    """`last heard 03:12:06.3 on lankhb1 and lanhb1`, as the answering server tells it."""
    seen: dict[str, float] = {}
    for local in view["servers"]:
        if not local["local"]:
            continue
        for beat in local["heartbeats"]:
            age = beat["peers"].get(server, {"status": "", "last_seen_s": None})["last_seen_s"]
            if age is not None:
                seen[beat["name"]] = age
    if not seen:
        return "not heard since this server started" if server else ""
    newest = min(seen.values())
    # Paths that fell silent together (one or two heartbeats apart) are named together.
    paths = [clean(name) for name, age in seen.items() if age - newest < 1.0]
    return f"last heard {clock(now - newest, now)} on {names(paths)}"
