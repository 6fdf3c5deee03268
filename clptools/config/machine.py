"""What this machine has: devices that keywords name, systemd units and what starts them at boot.

Names of devices (hardware guide 3.4.1) as the sources of `clptools.intake` understand them, from
`/sys`, `/dev` and the places of unit files.  A machine without such devices has none.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator

UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""systemd.unit(5), without generators."""
KEYWORD_SUFFIXES = frozenset(
    {".service", ".socket", ".target", ".mount", ".path", ".timer", ".swap"}
)
RESOURCES = frozenset({"cpu", "io", "memory", "files", "processes"})


def devices() -> dict[str, frozenset[str]]:
    """Category -> names of its devices."""
    maps = set(_texts("/sys/block", "dm/name"))
    block = set(_names("/sys/class/block"))
    return {
        "NIC": frozenset(name for _, name in socket.if_nameindex()),
        "FC": frozenset(_fibre_channel()),
        "HA/SS": frozenset({*block, *_names("/sys/class/nvme"), *maps, *_persistent()}),
        "HA/AM": frozenset(name for folder in UNIT_FOLDERS for name in _names(folder)),
        "HA/RS": RESOURCES,
        "SPS": frozenset({*maps, *block}),
        "MCE": frozenset(
            {"platform", *_named("/sys/devices/system/edac/mc", r"mc\d+"),
             *_named("/sys/devices/system/cpu", r"cpu\d+")}
        ),
    }  # fmt: skip


def is_device(keyword: str, category: str, known: frozenset[str]) -> bool:
    """Whether a keyword that is no path names one of the known devices."""
    if keyword in known:
        return True
    if category != "HA/AM":
        return False
    unit = keyword if f".{keyword.rpartition('.')[2]}" in KEYWORD_SUFFIXES else f"{keyword}.service"
    # An instance's file is its template's: getty@tty1.service, getty@.service.
    template = re.sub(r"@[^@]*(\.\w+)$", r"@\1", unit)
    return unit in known or template in known


def _fibre_channel() -> Iterator[str]:
    for folder in ("/sys/class/fc_host", "/sys/class/fc_remote_ports"):
        yield from _names(folder)
        yield from _texts(folder, "port_name")


def _persistent() -> Iterator[str]:
    for folder in _names("/dev/disk"):
        yield from _names(f"/dev/disk/{folder}")


def _texts(folder: str, file: str) -> Iterator[str]:
    for name in _names(folder):
        with contextlib.suppress(OSError), open(f"{folder}/{name}/{file}") as one:
            yield one.read().strip()


def _named(folder: str, pattern: str) -> list[str]:
    return [name for name in _names(folder) if re.fullmatch(pattern, name)]


def _names(folder: str) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(folder)
    return []


# ---------------------------------------------------------------------- systemd units

UNIT_SUFFIXES = (
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
    return unit if unit.rpartition(".")[2] in UNIT_SUFFIXES else f"{unit}.service"


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
