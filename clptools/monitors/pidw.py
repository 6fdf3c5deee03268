"""`pidw`: whether a program still runs.

By a file with its process id, or without one by what the target's start script left running:
its processes carry the script's `CLP_*` environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os

from clptools.common.foreign_files import beginning
from clptools.common.threads import one_at_a_time
from clptools.core.model.options import PerServer, VariantOptions, on_server, read
from clptools.core.model.settings import Monitor
from clptools.faults import ClpError, ExitCode
from clptools.monitors.base import NORMAL, MonitorContext, Verdict, error


class Options(VariantOptions, frozen=True, kw_only=True):
    """The file with the process id."""

    pid_file: PerServer = ""


async def check(monitor: Monitor, context: MonitorContext) -> Verdict:
    """Whether the process, or any of the target's processes, is there."""
    file = on_server(read(Options, monitor.options).pid_file, context.server)
    if file:
        async with asyncio.timeout(monitor.timeout_ms / 1000):
            return await _by_file(file)
    group = context.settings.group_of(monitor.target)
    if group is None or group.name == monitor.target:
        raise ClpError(
            ExitCode.FAILED,
            f"monitor {monitor.name} knows no process",
            "`pid_file` names a file with its id, or `target` an exec resource",
        )
    if any(_is_of(pid, group.name, monitor.target) for pid in _pids()):
        return NORMAL
    return error(f"no process that {group.name}/{monitor.target} started runs any more")


async def _by_file(path: str) -> Verdict:
    try:
        read_file = functools.partial(beginning, path, 64)
        text = (await one_at_a_time(("pidw", path), f"read {path}", read_file)).strip()
    except FileNotFoundError:
        return error(f"{path} is not there")
    if not text.isdigit():
        return error(f"{path} holds no process id")
    if not _alive(int(text)):
        return error(f"process {int(text)} ({path}) does not run")
    return NORMAL


def _alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _is_of(pid: int, group: str, resource: str) -> bool:
    """Whether a live process has the environment of that resource's script."""
    wanted = {b"CLP_GROUPNAME=" + group.encode(), b"CLP_RESOURCENAME=" + resource.encode()}
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return wanted <= set(file.read().split(b"\0")) and _alive(pid)
    return False
