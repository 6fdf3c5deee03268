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
            help="What carries the beat: the BMC's watchdog timer, or (where another program has "
            "that timer) nothing but the power state, which shows a server that is off and not "
            "one that hangs.",
        ),
    ),
    "witnesshb": (
        Field(
            section="interconnect",
            name="url",
            parse=URL,
            required=True,
            help="Where the witness server answers.",
        ),
    ),
}
