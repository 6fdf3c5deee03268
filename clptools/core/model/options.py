"""Keys that only one variant understands, as that variant declares them.

The settings carry them by name, since the core knows variants by name only.  A variant says in a
struct called `Options` which it has, and reads them once, through `read`.  What the core itself
goes by is declared here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from clptools.core.model.settings import Monitor, Option, Settings

PerServer = str | dict[str, str]
"""One value for all servers, or one for each."""


class VariantOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what a variant declares."""


_Options = TypeVar("_Options", bound=VariantOptions)


def read(kind: type[_Options], options: Mapping[str, Option]) -> _Options:
    """The options as their variant declares them; what is not set has its default.

    Raises msgspec.ValidationError where the configuration was not checked.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return msgspec.convert(given, kind)


def on_server(value: PerServer, server: str) -> str:
    """The value on that server; empty where it has none."""
    return value.get(server, "") if isinstance(value, dict) else value


WATCHED = frozenset({"fip"})
"""Types of resources that notice their own loss.  Their start may be repeated while they are
online: it finds what is there and puts back what is gone."""


BESIDES: Mapping[str, frozenset[str]] = {
    "exec": frozenset({"migrate", "prepare"}),
    "ocf": frozenset({"monitor_interval_ms", "monitor_timeout_ms", "depth"}),
}
"""Type of resource -> its keys on which neither start nor stop depends: they may change while it
runs."""


class WatchdogOptions(VariantOptions, frozen=True, kw_only=True):
    """Of a `userw` monitor."""

    method: str = "none"
    """`softdog`, `ipmi`, `guard`, or `none`; `keepalive` is read as `guard`."""
    guard_action: str = "reboot"


class HealthOptions(VariantOptions, frozen=True, kw_only=True):
    """Of an `mrw` monitor, as far as it also checks by itself."""

    health_command: str = ""


def watchdog_monitor(settings: Settings, server: str) -> Monitor | None:
    """The `userw` monitor of that server."""
    return next(
        (m for m in settings.monitors if m.type == "userw" and server in m.servers),
        None,
    )


def watchdog_method(settings: Settings, server: str) -> str:
    """By what the watchdog of that server is armed; `none` where there is none."""
    monitor = watchdog_monitor(settings, server)
    return read(WatchdogOptions, monitor.options).method if monitor is not None else "none"
