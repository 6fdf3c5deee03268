"""`diskw`: whether a disk answers; a child process tries it, as it may hang."""

from __future__ import annotations

import asyncio
import contextlib

from clptools.common import disk_child
from clptools.core.model.options import PerServer, VariantOptions, on_server, read
from clptools.core.model.settings import Monitor
from clptools.monitors.base import NORMAL, MonitorContext, Status, Verdict, error

_stuck: dict[str, asyncio.subprocess.Process] = {}
"""Probes that hang, by path: a second probe of that path would only hang too."""


class Options(VariantOptions, frozen=True, kw_only=True):
    """What is read, or written below."""

    path: PerServer


async def check(monitor: Monitor, context: MonitorContext) -> Verdict:
    """Read a device or file, or write below a directory."""
    path = on_server(read(Options, monitor.options).path, context.server)
    stuck = _stuck.get(path)
    process = stuck or await disk_child.start("try", path)
    try:
        async with asyncio.timeout(monitor.timeout_ms / 1000):
            await process.wait()
    except TimeoutError:
        _stuck[path] = process
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        text = f"{path} does not answer since {monitor.timeout_ms / 1000:g} s"
        return Verdict(status=Status.ERROR, text=text, timed_out=True)
    if stuck is not None:
        # It could be killed: the disk may answer again.
        del _stuck[path]
        return await check(monitor, context)
    if process.returncode == 0:
        return NORMAL
    assert process.stdout is not None
    said = disk_child.last_line(await process.stdout.read(10_000))
    return error(f"{path}: {said or 'the probe was killed'}")
