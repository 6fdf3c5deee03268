"""Which scripts a server runs under a configuration, and where they lie."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from clptools import paths
from clptools.common.plainfile import beginning
from clptools.config.field import Field
from clptools.config.kinds import SCRIPT
from clptools.config.monitors import MONITOR_SCRIPTS
from clptools.config.registries import Registries
from clptools.core.settings import Option, Settings
from clptools.faults import ClpError, ExitCode

SCRIPT_BYTES_MAX = 4 * 1024 * 1024


class ScriptUse(msgspec.Struct, frozen=True, kw_only=True):
    """One script of one object."""

    path: str
    table: str
    """`group.resource`, `monitor` or `monitor.recovery`."""
    owner: str
    """Name of the group resource or monitor."""
    key: str
    """The key that names it: `start`."""


def _set_scripts(own: tuple[Field, ...], options: dict[str, Option]) -> Iterator[tuple[str, str]]:
    for field in own:
        value = options.get(field.option)
        if field.parse is SCRIPT and isinstance(value, str) and value:
            yield field.name, value


def scripts_of(settings: Settings, registries: Registries, server: str) -> Iterator[ScriptUse]:
    """Every script that `server` may have to run."""
    base = paths.scripts_dir()
    for group in settings.groups:
        if server not in group.servers:
            continue
        for resource in group.resources:
            own = registries.resources.get(resource.type, ())
            for key, script in _set_scripts(own, resource.options):
                path = (
                    script
                    if script.startswith("/")
                    else (f"{base}/{group.name}/{resource.name}/{script}")
                )
                yield ScriptUse(path=path, table="group.resource", owner=resource.name, key=key)
    for monitor in settings.monitors:
        if server not in monitor.servers:
            continue
        own = (
            *registries.monitors.get(monitor.type, ()),
            *registries.sources.get(monitor.category, ()),
        )
        folder = f"{base}/{MONITOR_SCRIPTS}/{monitor.name}"
        for key, script in _set_scripts(own, monitor.options):
            path = script if script.startswith("/") else f"{folder}/{script}"
            yield ScriptUse(path=path, table="monitor", owner=monitor.name, key=key)
        recovery = monitor.recovery
        for key, script in (
            ("script", recovery.script),
            ("pre_action_script", recovery.pre_action_script),
        ):
            if script:  # the loader put the monitor's folder before it
                path = script if script.startswith("/") else f"{base}/{script}"
                yield ScriptUse(path=path, table="monitor.recovery", owner=monitor.name, key=key)


def script_text(path: str) -> str:
    """The content of a script that is to be distributed.  Raises ClpError naming it, or OSError."""
    try:
        content = beginning(path, SCRIPT_BYTES_MAX + 1)
    except ClpError:
        raise _unfit(path, "not a regular file") from None
    if len(content) > SCRIPT_BYTES_MAX:
        raise _unfit(path, f"larger than {SCRIPT_BYTES_MAX >> 20} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _unfit(path, "not text") from None


def _unfit(path: str, why: str) -> ClpError:
    hint = "Keep it outside of scripts/, and let a script call it."
    return ClpError(ExitCode.FAILED, f"{path}: {why}, so it cannot be distributed.", hint)
