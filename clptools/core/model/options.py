"""Keys that only one variant understands, as that variant declares them.

The settings carry them by name, because the core knows variants by name only. A variant declares
its keys in a struct called `Options` and reads them once, through `read`. Options that the core
itself uses are declared here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from clptools.core.model.settings import Monitor, Option, Settings

PerServer = str | dict[str, str]
"""One value for all servers, or one for each."""


class VariantOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every variant's `Options`."""


_Options = TypeVar("_Options", bound=VariantOptions)


def read(kind: type[_Options], options: Mapping[str, Option]) -> _Options:
    """The options as their variant declares them; unset ones have their defaults.

    Raises msgspec.ValidationError if the configuration was not checked.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return msgspec.convert(given, kind)


def on_server(value: PerServer, server: str) -> str:
    """The value for that server; empty if it has none."""
    return value.get(server, "") if isinstance(value, dict) else value


WATCHED = frozenset({"fip"})
"""Types of resources that notice their own loss. Their start may be repeated while they are online:
it keeps what is there and restores what is gone."""


BESIDES: Mapping[str, frozenset[str]] = {
    "exec": frozenset({"migrate", "prepare"}),
    "ocf": frozenset({"monitor_interval_ms", "monitor_timeout_ms", "depth"}),
}
"""Type of resource -> its keys that affect neither start nor stop, so they may change while it
runs."""


class WatchdogOptions(VariantOptions, frozen=True, kw_only=True):
    """Options of a `userw` monitor."""

    method: str = "none"
    """`softdog`, `ipmi`, `guard`, or `none`; `keepalive` is read as `guard`."""
    guard_action: str = "reboot"


class HealthOptions(VariantOptions, frozen=True, kw_only=True):
    """Options of an `mrw` monitor that also checks by itself."""

    health_command: str = ""


def watchdog_monitor(settings: Settings, server: str) -> Monitor | None:
    """The `userw` monitor of that server."""
    return next(
        (m for m in settings.monitors if m.type == "userw" and server in m.servers),
        None,
    )


def watchdog_method(settings: Settings, server: str) -> str:
    """The method by which that server's watchdog is armed; `none` if it has no watchdog."""
    monitor = watchdog_monitor(settings, server)
    return read(WatchdogOptions, monitor.options).method if monitor is not None else "none"
