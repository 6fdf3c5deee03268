"""Which scripts a server runs under a configuration, where they lie, and templates."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from clptools import paths
from clptools.common.foreign_files import beginning
from clptools.config.field import SCRIPT, Field
from clptools.config.monitors import MONITOR_SCRIPTS
from clptools.config.variants import Registries
from clptools.core.model.settings import Option, Settings
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


# ---------------------------------------------------------------------- frames to fill in


START = """\
#!/bin/sh
# Starts {resource} of {group}.  Exit status 0: it runs; anything else: it does not, and the group
# is stopped here and tried on the next server.
set -eu

# A restart on this server, by a monitor for example, has the CLP_EVENT of the start before it.
case "${{CLP_EVENT:-}}" in
START)      # by an operator, or with the cluster
    ;;
FAILOVER)   # taken over from ${{CLP_SERVER_PREV:-another server}}: data may need a check
    ;;
*)
    echo "not started by the cluster (CLP_EVENT is not set)" >&2
    exit 1
    ;;
esac

# Start the application here, and return when it answers.
"""
STOP = """\
#!/bin/sh
# Stops {resource} of {group}.  Exit status 0 is a promise that it no longer runs here: another
# server starts it next.  Stopping what does not run is success.
set -eu

# Stop the application here, and wait until it is gone.  CLP_FACTOR says why it is stopped.
"""
MODE = 0o750


def make(folder: str, group: str, resource: str) -> list[str]:
    """Makes `scripts/GROUP/RESOURCE/start.sh` and `stop.sh` where they are missing.

    Returns the paths of those made.  Raises OSError.
    """
    place = os.path.join(folder, "scripts", group, resource)
    made: list[str] = []
    for name, frame in (("start.sh", START), ("stop.sh", STOP)):
        path = os.path.join(place, name)
        if os.path.lexists(path):
            continue
        os.makedirs(place, mode=0o750, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w") as file:
            os.fchmod(file.fileno(), MODE)
            file.write(frame.format(group=group, resource=resource))
        made.append(path)
    return made
