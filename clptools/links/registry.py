"""Heartbeat types: name -> module, and the keys that only that type understands."""

from __future__ import annotations

from clptools.config.field import Field
from clptools.config.kinds import URL

VARIANTS: dict[str, str] = {
    "lankhb": "clptools.links.lan",
    "lanhb": "clptools.links.lan",
    "bmchb": "clptools.links.bmc",
    "witnesshb": "clptools.links.witness",
}

FIELDS: dict[str, tuple[Field, ...]] = {
    "lankhb": (),
    "lanhb": (),
    "bmchb": (),
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
