"""Heartbeat types, and the keys that only that type understands.

`agent/surroundings.py` opens their links: ARCHITECTURE.md, *Where to add what*, names all places.
"""

from __future__ import annotations

from clptools.config.field import URL, Field, choice

FIELDS: dict[str, tuple[Field, ...]] = {
    "lankhb": (),
    "lanhb": (),
    "bmchb": (
        Field(
            section="interconnect",
            name="carrier",
            parse=choice("timer", "power"),
            default="timer",
            help="What carries the heartbeat: the BMC's watchdog timer, or only the power state, "
            "if another program uses that timer. The power state shows a server that is off, but "
            "not one that hangs.",
        ),
    ),
    "witnesshb": (
        Field(
            section="interconnect",
            name="url",
            parse=URL,
            required=True,
            help="URL of the witness server.",
        ),
    ),
}
