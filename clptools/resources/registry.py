"""Group resource types: name -> module, and the keys that only that type understands."""

from __future__ import annotations

from clptools.config.field import Field
from clptools.config.kinds import NAME, NETWORK, SCRIPT, text

VARIANTS: dict[str, str] = {
    "exec": "clptools.resources.exec",
    "fip": "clptools.resources.fip",
    "service": "clptools.resources.service",
}

FIELDS: dict[str, tuple[Field, ...]] = {
    "exec": (
        Field(
            section="group.resource",
            name="start",
            parse=SCRIPT,
            default="start.sh",
            help="Start script, under scripts/GROUP/RESOURCE/ or an absolute path.",
        ),
        Field(
            section="group.resource",
            name="stop",
            parse=SCRIPT,
            default="stop.sh",
            help="Stop script, under scripts/GROUP/RESOURCE/ or an absolute path.",
        ),
    ),
    "fip": (
        Field(
            section="group.resource",
            name="address",
            parse=NETWORK,
            required=True,
            help="The floating address with its prefix length.",
        ),
        Field(
            section="group.resource",
            name="interface",
            parse=NAME,
            help="Network interface; found by the address's network when left out.",
        ),
    ),
    "service": (
        Field(
            section="group.resource",
            name="unit",
            parse=text(min_bytes=1, max_bytes=255, what="systemd unit"),
            required=True,
            help="The systemd unit that is started and stopped.",
        ),
    ),
}
