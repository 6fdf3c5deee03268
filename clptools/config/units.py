"""Names of systemd units, and what of this host starts one at boot without being asked."""

from __future__ import annotations

import os

SUFFIXES = (
    "service",
    "socket",
    "target",
    "mount",
    "automount",
    "swap",
    "path",
    "timer",
    "slice",
    "scope",
)
DIRECTORIES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""Where links to enabled units lie (systemd.unit(5))."""
_STARTERS = ("socket", "timer", "path")
"""Units that, enabled themselves, start the service of their name."""


def unit_name(unit: str) -> str:
    """The unit with its suffix."""
    return unit if unit.rpartition(".")[2] in SUFFIXES else f"{unit}.service"


def enabled_by(unit: str) -> str:
    """The enabled unit that starts `unit` at boot: itself, or its socket, timer or path.

    Empty: none is enabled here.
    """
    unit = unit_name(unit)
    stem, _, suffix = unit.rpartition(".")
    starters = [f"{stem}.{other}" for other in _STARTERS] if suffix == "service" else []
    enabled = _enabled()
    return next((one for one in (unit, *starters) if one in enabled), "")


def _enabled() -> set[str]:
    """What a `*.wants` or `*.requires` directory pulls in: that is what `enable` makes."""
    found: set[str] = set()
    for directory in DIRECTORIES:
        for name in _names(directory):
            if name.endswith((".wants", ".requires")):
                found.update(_names(f"{directory}/{name}"))
    return found


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
