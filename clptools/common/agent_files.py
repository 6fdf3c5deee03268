"""Installed agents: which may be run, and their meta-data, asked once for each state of a file.

An agent prints its meta-data itself, so reading it means running a program as root: it must be
root's alone, gets a clean environment, a time limit and an output limit, and is not run again
while its file stays as it is.  What it printed is kept in a folder that root alone writes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from typing import IO

import msgspec

from clptools import paths
from clptools.common.agent_metadata import MAX_BYTES, Metadata, parse
from clptools.common.foreign_files import check_script, whole
from clptools.faults import ClpError, ExitCode, plain

TIMEOUT_S = 15.0
"""The slowest agent of Debian 12 (gcp-vpc-move-vip) needs 0.7 s; on an emulated server with
other work pgsql, whose own time is 0.1 s, needed more than 5 s."""
_KEPT_VERSION = 3
"""Of the files in the cache; those of another one are read anew."""
_SAID = 2_000
"""Most of the standard error that is read, in bytes."""
_CHUNK = 65_536
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Identity = tuple[int, int, int, int]
"""Device, inode, size in bytes, time of change in nanoseconds."""


class _Kept(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One file of the cache."""

    version: int
    identity: Identity
    command: tuple[str, ...]
    environment: dict[str, str]
    metadata: Metadata


_known: dict[tuple[str, ...], _Kept] = {}
"""What this process knows, by the command."""


def identity(path: str) -> Identity:
    """Of the file as it is now.  Raises OSError."""
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def metadata_of(
    path: str,
    arguments: tuple[str, ...],
    environment: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Metadata:
    """The meta-data of the agent at `path`, run with `arguments` (`meta-data`; `-o metadata`).

    `environment` is added to a `PATH` and to `LC_ALL`.  It may block for the time-out: not for the
    agent's loop.

    Raises:
        ClpError: there is no such file, it may not be run, or it prints no meta-data.
    """
    check_script(path)
    command = (path, *arguments)
    variables = {"PATH": PATH, "LC_ALL": "C", **(environment or {})}
    try:
        now = identity(path)
    except OSError as fault:
        raise ClpError(ExitCode.FAILED, f"{path}: {fault.strerror}") from fault
    file = _cache_file(command)
    kept = _known.get(command) or _read(file)
    expected = (_KEPT_VERSION, now, command, variables)
    if kept is None or (kept.version, kept.identity, kept.command, kept.environment) != expected:
        printed = _printed(command, variables, timeout_s)
        try:
            metadata = parse(printed)
        except ClpError as fault:
            hint = f"Look at it yourself: {' '.join(command)}"
            raise ClpError(ExitCode.FAILED, f"{path}: {fault.message}", hint) from None
        kept = _Kept(
            version=_KEPT_VERSION,
            identity=now,
            command=command,
            environment=variables,
            metadata=metadata,
        )
        # Without a cache it is only slower.
        with contextlib.suppress(OSError):
            _write(file, kept)
    _known[command] = kept
    return kept.metadata


# ---------------------------------------------------------------------------------- running


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run of an agent ended."""

    output: bytes
    errors: bytes
    """The end of its standard error."""
    in_time: bool
    status: int
    """Its exit status; negative: the signal that ended it."""


def run(command: tuple[str, ...], variables: Mapping[str, str], timeout_s: float) -> Ended:
    """Run an agent in that environment; a limit of time and of output ends it.

    It blocks.  Raises ClpError: it cannot be run.
    """
    path = command[0]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables,
            cwd="/",
            start_new_session=True,
        )
    except OSError as fault:
        raise ClpError(ExitCode.FAILED, f"{path}: cannot be run: {fault.strerror}") from fault
    assert process.stdout is not None and process.stderr is not None
    try:
        with process.stdout, process.stderr:
            text, said, in_time = _collect(process, process.stdout, process.stderr, timeout_s)
    finally:
        # Before it is reaped: until then nothing else can have its number.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return Ended(output=text, errors=said, in_time=in_time, status=process.returncode)


def _printed(command: tuple[str, ...], variables: dict[str, str], timeout_s: float) -> bytes:
    """What it writes to its standard output until it ends.  Raises `ClpError`."""
    path = command[0]
    ended = run(command, variables, timeout_s)
    text = ended.output
    asked = " ".join(command[1:])
    if len(text) > MAX_BYTES:
        raise ClpError(ExitCode.FAILED, f"{path}: {asked} prints more than {MAX_BYTES >> 10} KiB")
    if not ended.in_time:
        raise ClpError(
            ExitCode.FAILED,
            f"{path}: {asked} did not end within {timeout_s:g} s",
            f"Look at it yourself: {' '.join(command)}",
        )
    if ended.status != 0 and not text.strip():
        lines = ended.errors.decode("utf-8", "replace").strip().splitlines()
        last = f': "{plain(lines[-1][:200])}"' if lines else ""
        raise ClpError(
            ExitCode.FAILED,
            f"{path}: {asked} prints nothing and ends with status {ended.status}{last}",
            f"Look at it yourself: {' '.join(command)}",
        )
    return text


def _collect(
    process: subprocess.Popen[bytes], output: IO[bytes], errors: IO[bytes], timeout_s: float
) -> tuple[bytes, bytes, bool]:
    """Its output, the end of its standard error, and whether it ended in time.

    Its end counts, and not that of the pipes, which a daemon that it left may hold for ever.
    """
    deadline = time.monotonic() + timeout_s
    text, said = bytearray(), bytearray()
    end = os.pidfd_open(process.pid)
    ended = False
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(end, selectors.EVENT_READ)
            for pipe, into in ((output, text), (errors, said)):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, into)
            while not ended and len(text) <= MAX_BYTES:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                for key, _ in selector.select(left_s):
                    if key.data is None:
                        ended = True
                    elif (data := _available(key.fd)) == b"":
                        selector.unregister(key.fileobj)
                    else:
                        key.data.extend(data or b"")
                del said[:-_SAID]
        while ended and len(text) <= MAX_BYTES and (data := _available(output.fileno())):
            text += data
    finally:
        os.close(end)
    return bytes(text), bytes(said), ended


def _available(fd: int) -> bytes | None:
    """What is there to read; None: nothing now, empty: nothing any more."""
    try:
        return os.read(fd, _CHUNK)
    except BlockingIOError:
        return None


# ---------------------------------------------------------------------------------- cache


def _cache_file(command: tuple[str, ...]) -> str:
    name = os.path.basename(command[0])
    digest = hashlib.sha256("\0".join(command).encode()).hexdigest()[:16]
    return os.path.join(paths.agents_cache_dir(), f"{name[:100]}-{digest}")


def _read(file: str) -> _Kept | None:
    """What is kept there; None: nothing that can be relied on."""
    try:
        if not _is_ours(os.lstat(os.path.dirname(file))) or not _is_ours(os.lstat(file)):
            return None
        return msgspec.msgpack.decode(whole(file, 2 * MAX_BYTES), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(file: str, kept: _Kept) -> None:
    """Whole or not at all.  Raises OSError."""
    folder = os.path.dirname(file)
    os.makedirs(folder, 0o755, exist_ok=True)
    if not _is_ours(os.lstat(folder)):
        return
    # A name of our own: two processes may write at once.
    part = f"{file}.{os.getpid()}"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with open(fd, "wb") as out:
            out.write(msgspec.msgpack.encode(kept))
        os.rename(part, file)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def _is_ours(found: os.stat_result) -> bool:
    """Whether only root, or the user that we run as, can have written it."""
    return (
        found.st_uid in (0, os.geteuid())
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        and not stat.S_ISLNK(found.st_mode)
    )
