"""`clpstat --events`: the cluster's story, a line an event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from clptools.cli.render.text import clean

if TYPE_CHECKING:
    from clptools.cli.json_types import EventJson


def event_line(event: EventJson) -> str:
    """One event as text, with full date: `2026-11-23 03:12:06.9 server1 ERROR rm 9 ...`."""
    tenths = int(event["time"] * 10 + 0.5)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(tenths // 10))
    because = "".join(f" | {clean(reason)}" for reason in event["because"])
    return (
        f"{when}.{tenths % 10}  {clean(event['server'])}  {event['level']:<5}  "
        f"{clean(event['module'])} {event['event_id']}  {clean(event['text'])}{because}"
    )
