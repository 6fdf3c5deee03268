"""HA/AM: a health command, whose exit status says whether an application is well."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from clptools import paths
from clptools.common.foreign_files import check_script
from clptools.core.model.settings import Monitor
from clptools.faults import ClpError
from clptools.intake.source import Faults

MONITOR_SCRIPTS = "monitor.s"
OUTPUT_BYTES = 4096
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def watch_health(keyword: str, command: str, monitor: Monitor, faults: Faults) -> None:
    """Run it every interval; `retries` failures in a row are not yet a fault."""
    path = os.path.join(paths.scripts_dir(), MONITOR_SCRIPTS, monitor.name, command)
    failures = 0
    await asyncio.sleep(monitor.start_wait_ms / 1000)
    while True:
        wrong = await ask(path, keyword, monitor)
        failures = failures + 1 if wrong else 0
        if not wrong:
            faults.well(keyword, "health", f"{keyword} is well again")
        elif failures > monitor.retries:
            faults.fault(keyword, "health", f"{keyword}: {wrong}")
        await asyncio.sleep(monitor.interval_ms / 1000)


async def ask(path: str, keyword: str, monitor: Monitor) -> str:
    """What is wrong; empty: nothing."""
    try:
        check_script(path)
        process = await asyncio.create_subprocess_exec(
            path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env={
                "PATH": PATH,
                "CLP_MONITORNAME": monitor.name,
                "CLP_CATEGORY": monitor.category,
                "CLP_KEYWORD": keyword,
            },
        )
    except ClpError as fault:
        return fault.message
    except OSError as fault:
        return f"{path}: {fault.strerror}"
    try:
        async with asyncio.timeout(monitor.timeout_ms / 1000):
            said = await _last_line(process)
            status = await process.wait()
    except TimeoutError:
        return f"the health command did not end within {monitor.timeout_ms / 1000:g} s"
    finally:
        # Also what it left running: its session is its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if status == 0:
        return ""
    return f"the health command says {said or 'nothing'} (exit status {status})"


async def _last_line(process: asyncio.subprocess.Process) -> str:
    """The end of its output; a flood is read and thrown away."""
    assert process.stdout is not None
    kept = b""
    while part := await process.stdout.read(OUTPUT_BYTES):
        kept = (kept + part)[-OUTPUT_BYTES:]
    lines = kept.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:200] if lines else ""
