"""Scripts that outlive their agent: found again by the next one.

An agent killed with SIGKILL leaves its scripts running (systemd's `KillMode=process` means them
to).  The next agent must not run the same resource's script beside them.  So each running script
has a small file in `/run/clptools/scripts`, written before the script exists: name, a token that
the script carries in its environment, and, once known, process id and start time.  The two
together never name another process, because a process id that is used again has a later start
time (proc(5), `starttime`).

A script that is run every few seconds gets its file once it has run for `NOTED_AFTER_S`: a monitor
mostly ends before that, and the file would cost as much as all else that is done to run it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from urllib.parse import quote

import msgspec

from clptools import paths

RESERVE_BYTES = 256 * 1024
"""Room for the files of a few dozen scripts on a full file system."""
NOTED_AFTER_S = 0.2
POLL_S = 0.02
"""Pause between checks whether a process that is not our child has ended."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A script that runs, or ran when its agent ended."""

    name: str
    """Its resource: `failover1/exec1`."""
    token: str
    """`CLP_RUN_ID` in its environment."""
    boot: str
    pid: int = 0
    """The script, leader of its session and process group; 0: not known yet."""
    started: int = 0
    """Its start time in clock ticks since boot."""


def boot_id() -> str:
    """This boot's id, as text."""
    with open(paths.boot_id_file(), encoding="ascii") as file:
        return file.read().strip()


def start_time(pid: int) -> int | None:
    """Start time of a live process in clock ticks since boot; None: gone, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


class Register:
    """The files of running scripts in one directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._boot = boot_id()
        self._reserve()

    def open(self, name: str, token: str) -> Running:
        """Write that a script is about to run.

        Raises:
            OSError: the directory cannot be written; then nothing may be run.
        """
        entry = self.unwritten(name, token)
        self._put(entry)
        return entry

    def unwritten(self, name: str, token: str) -> Running:
        """The entry of a script that has no file yet."""
        return Running(name=name, token=token, boot=self._boot)

    def started(self, entry: Running, pid: int) -> Running:
        """Add the process to the entry.  Raises OSError."""
        entry = msgspec.structs.replace(entry, pid=pid, started=start_time(pid) or 0)
        self._put(entry)
        return entry

    def close(self, entry: Running) -> None:
        """Removes the entry of a script that ended, unless a later one took the name."""
        known = self._read(self._path(entry.name))
        if known is not None and known.token == entry.token:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(entry.name))
            self._reserve()

    def entries(self) -> tuple[Running, ...]:
        """Every entry whose script still runs; files of scripts that ended are removed.

        The process of a script whose file names none yet is found by its token.
        """
        alive = []
        for path in self._paths():
            entry = self._read(path)
            found = None if entry is None else self._find(entry)
            if found is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            else:
                alive.append(found)
        return tuple(alive)

    def _find(self, entry: Running) -> Running | None:
        if entry.boot != self._boot:
            return None
        if entry.pid:
            return entry if start_time(entry.pid) == entry.started else None
        for pid in _sessions_with(entry.token):
            started = start_time(pid)
            if started is not None:
                return msgspec.structs.replace(entry, pid=pid, started=started)
        return None

    def _path(self, name: str) -> str:
        return f"{self._directory}/{quote(name, safe='')}"

    def _reserve(self) -> None:
        """Reserve some space for when the file system is full."""
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._directory), mode=0o755, exist_ok=True)
            fd = os.open(self._reserve_file(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(fd).st_size < RESERVE_BYTES:
                    os.posix_fallocate(fd, 0, RESERVE_BYTES)
            finally:
                os.close(fd)

    def _give_up_reserve(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._reserve_file())

    def _reserve_file(self) -> str:
        return f"{self._directory}.reserve"

    def _paths(self) -> list[str]:
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        return [f"{self._directory}/{name}" for name in sorted(names) if not name.endswith("~")]

    def _put(self, entry: Running) -> None:
        try:
            self._write(entry)
        except FileNotFoundError:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            self._write(entry)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            # A full disk must not prevent the stop script that a failover waits for.
            self._give_up_reserve()
            self._write(entry)

    def _write(self, entry: Running) -> None:
        path = self._path(entry.name)
        with open(path + "~", "wb", opener=_private) as file:
            file.write(msgspec.json.encode(entry))
        os.rename(path + "~", path)

    @staticmethod
    def _read(path: str) -> Running | None:
        try:
            with open(path, "rb") as file:
                return msgspec.json.decode(file.read(), type=Running)
        except (FileNotFoundError, msgspec.DecodeError):
            return None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sessions_with(token: str) -> Iterator[int]:
    """Session leaders whose environment carries the token."""
    wanted = b"CLP_RUN_ID=" + token.encode()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
            if wanted in file.read().split(b"\0") and os.getsid(int(name)) == int(name):
                yield int(name)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a process group that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


async def end(entry: Running, grace_ms: int) -> bool:
    """TERM to the script's process group, KILL after the grace; whether it is gone."""
    for number, patience_ms in ((signal.SIGTERM, grace_ms), (signal.SIGKILL, 2_000)):
        if start_time(entry.pid) != entry.started:
            return True
        signal_group(entry.pid, number)
        if await wait_gone(entry, patience_ms):
            return True
    return False


async def wait_gone(entry: Running, timeout_ms: int) -> bool:
    """Wait until the script ended; False: it did not within the time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_ms / 1000):
            while start_time(entry.pid) == entry.started:
                await asyncio.sleep(POLL_S)
            return True
    return start_time(entry.pid) != entry.started
