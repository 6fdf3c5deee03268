"""HA/AM: an application's main process and its health command.

The kernel says at once that a process ended (pidfd_open(2)); the exit status of a health command
says whether an application is well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from clptools import paths
from clptools.common.foreign_files import beginning, check_script
from clptools.core.model.settings import Monitor
from clptools.faults import ClpError
from clptools.intake.sources import Faults

PID_MAX = 1 << 22
"""No process has a higher id (proc(5), `pid_max`)."""

MONITOR_SCRIPTS = "monitor.s"
OUTPUT_BYTES = 4096
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Process:
    """One process, until it ends."""

    def __init__(self, pid: int, ended: Callable[[], None]) -> None:
        """Raises ProcessLookupError: it has ended already."""
        self.pid = pid
        self._ended = ended
        self._fd = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        self.close()
        self._ended()


async def watch_pid_file(keyword: str, path: str, faults: Faults, look_s: float = 2.0) -> None:
    """Watch an application that writes its main process's id into a file.

    The file is read again, every `look_s`, only while there is no such process.
    """
    while True:
        ended = asyncio.Event()
        process = None
        with contextlib.suppress(OSError, ValueError, ClpError):
            process = Process(await asyncio.to_thread(_pid, path), ended.set)
        if process is None:
            await asyncio.sleep(look_s)
            continue
        faults.well(keyword, "process", f"{keyword} runs again, process {process.pid}")
        try:
            await ended.wait()
        finally:
            process.close()
        faults.fault(keyword, "process", f"{keyword}: the main process {process.pid} is gone")


def _pid(path: str) -> int:
    """The process id in the file.  Raises OSError, ValueError and ClpError."""
    pid = int(beginning(path, 32))
    if not 0 < pid <= PID_MAX:
        raise ValueError(path)
    return pid


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
        # Its session is its own: this ends what it left running, too.
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
