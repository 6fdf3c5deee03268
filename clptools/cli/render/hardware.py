"""`clpstat --hw`: open hardware events of each server, and what came in and was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.cli.render.text import clean, duration, wrap

if TYPE_CHECKING:
    from clptools.cli.json_types import HardwareJson, OpenHardwareJson

COLUMNS = 80


def hardware(view: HardwareJson, now: float, columns: int = COLUMNS) -> str:
    """All servers, one after the other; `now` is the wall clock."""
    lines: list[str] = []
    closable = ""
    for server in view["servers"]:
        count = len(server["open"])
        many = f"{count or 'no'} open hardware event{'' if count == 1 else 's'}"
        lines.append(f"{clean(server['name'])}: {many}")
        for event in server["open"]:
            lines += open_event(event, now, columns)
            if not event["acknowledged"]:
                place = f"-m {event['monitor']} --event {event['id']} -h {server['name']}"
                closable = closable or place
        if server["unreachable"]:
            text = f"not known: {clean(server['unreachable'])}"
            lines += wrap(text, columns, " " * 9, first="  Traps  ")
        counted = [f"{name.replace('_', ' ')} {n}" for name, n in server["counters"].items() if n]
        if counted:
            lines += wrap(clean(", ".join(counted)), columns, " " * 9, first="  Traps  ")
    if closable:
        lines.append("Close one that never deasserts:")
        lines.append(f"  clpmonctrl --acknowledge {clean(closable)}")
    return "\n".join(lines) + "\n" if lines else "No server is configured.\n"


def open_event(event: OpenHardwareJson, now: float, columns: int) -> list[str]:
    """One open event: what it means, where it shows, how often and when."""
    first, last, count = now - event["first"], now - event["last"], event["count"]
    when = f"{duration(first)} ago"
    if count > 1:
        when = f"{count} times, first {when}, last {duration(last)} ago"
    closed = "; acknowledged" if event["acknowledged"] else ""
    start = f"  {event['id']:<6} {event['class']:<11} "
    text = f"{event['meaning']} ({event['monitor']}; {when}{closed})"
    return wrap(clean(text), columns, " " * len(start), first=start)
