"""The variants that a configuration may name, and those of the original that are not carried.

The loader imports no variant itself.
"""

from __future__ import annotations

import msgspec

from clptools.config.field import Field
from clptools.config.offers import AGENTS, CHECKS, MIRRORS

Variants = dict[str, tuple[Field, ...]]
"""Type name -> the keys that only this type understands."""


class Registries(msgspec.Struct, frozen=True, kw_only=True):
    """Every type that a configuration may name."""

    links: Variants
    resources: Variants
    monitors: Variants
    arbiters: Variants
    sources: Variants = {}
    """Category of message receive monitors -> the keys that its source understands."""


# ---------------------------------------------------------------------- what is not carried


_NO_MIRROR = "there are no mirror disks"
_REPLICATE = "Let DRBD or the storage replicate the data: docs/storage.md."
_CHECK = "Let the script of a genw monitor check it."
_CHECK_DRBD = "With DRBD, let the script of a genw monitor look at drbdadm status: docs/storage.md."
_LINK = "Use lankhb or lanhb for a network, bmchb for the BMCs, witnesshb for a witness server."

_LINKS = {
    "comhb": ("heartbeats over a serial line are not carried", _LINK),
    "diskhb": ("heartbeats over a shared disk are not carried", _LINK),
    **dict.fromkeys(
        ("mdc", "mirror", "mirrorhb"),
        (
            f"{_NO_MIRROR}, so there is no mirror communication",
            "DRBD has connections of its own: docs/storage.md.",
        ),
    ),
}
_RESOURCES = {
    **{
        kind: ("is no type of its own", f"Use type ocf with the agent {agent.name}.")
        for kind, agent in AGENTS.items()
    },
    **dict.fromkeys(MIRRORS, (_NO_MIRROR, _REPLICATE)),
    **dict.fromkeys(
        ("azuredns", "gcdns"), ("no installed agent does it", "Use exec with the cloud's command.")
    ),
}
_MONITORS = {
    **dict.fromkeys(("mdw", "mdnw", "hdw", "hdnw"), (_NO_MIRROR, _CHECK_DRBD)),
    "mtw": ("monitors are not combined", "Give each of them its own recovery."),
    **dict.fromkeys(
        (kind for kind, check in CHECKS.items() if not check.of),
        ("this check is not carried", _CHECK),
    ),
    **dict.fromkeys(
        (kind for kind, check in CHECKS.items() if check.of),
        ("this check is not carried", "The monitor of the resource's agent does it: ocfw."),
    ),
}
_NPS = {
    "comnp": ("serial lines are not carried", "Use witness or etcd."),
    "disknp": ("the original's partition is not read", 'Use type = "disk" with a path.'),
    "pingnp": ("is called ping here", 'Write type = "ping".'),
    "httpnp": ("is called http here", 'Write type = "http".'),
}
REFUSED = {
    "interconnect": _LINKS,
    "group resource": _RESOURCES,
    "monitor": _MONITORS,
    "np": _NPS,
}
"""What -> type -> (reason, mend)."""
