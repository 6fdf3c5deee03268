"""A configuration that was pushed to this server: kept aside and checked before it is in force.

It comes from another server, so nothing of it is taken on trust: names, sizes and places are
checked before the first byte is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from clptools import paths
from clptools.api.messages import ConfigFiles
from clptools.common.threads import in_daemon_thread
from clptools.config import history
from clptools.config.files import CONFIG_MODE
from clptools.config.load import load
from clptools.core.model.settings import Settings
from clptools.faults import ClpError, ExitCode
from clptools.registries import registries
from clptools.reports import Report

DISK_S = 15.0
"""A disk that hangs is reported before the server that asks gives up (`push.PREPARE_TIMEOUT_S`)."""
MAX_FILES = 2_000
MAX_BYTES = 12 * 1024 * 1024
MAX_NAME, MAX_PATH = 200, 1000
"""Characters of a file's name, and of its path: below what file systems take."""
_PATH = re.compile(r"clp\.toml|scripts(/[A-Za-z0-9_@%+=,.-][A-Za-z0-9_@%+=,. -]*){1,8}")
_PUSH = re.compile(r"[A-Za-z0-9-]{1,64}")

T = TypeVar("T")


def stage(push: str, config: ConfigFiles) -> tuple[Settings | None, tuple[Report, ...]]:
    """Write it aside and check it.

    Returns:
        The settings, or None where there are errors among the reports.

    Raises:
        ClpError: it holds what no configuration may, or cannot be written.
    """
    _check_shape(push, config)
    _check_places(config)
    folder = folder_of(push)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in config.files.items():
            _write(os.path.join(folder, path), text, _mode(path))
    except OSError as error:
        drop(push)
        raise ClpError(ExitCode.FAILED, f"{folder}: {error.strerror}") from None
    loaded = load(os.path.join(folder, history.MAIN), registries())
    place = f"{folder}/"
    reports = tuple(
        msgspec.structs.replace(report, file=report.file.removeprefix(place))
        for report in loaded.reports
    )
    if loaded.settings is None:
        drop(push)
        return None, reports
    return msgspec.structs.replace(loaded.settings, revision=config.revision), reports


def drop(push: str) -> None:
    """Forget a staged configuration."""
    shutil.rmtree(folder_of(push), ignore_errors=True)


def drop_all() -> None:
    """Forget what an earlier agent had staged."""
    shutil.rmtree(os.path.dirname(folder_of("x")), ignore_errors=True)


def folder_of(push: str) -> str:
    """Where it is written aside."""
    return f"{paths.config_dir()}/.staged/{push}"


def _check_shape(push: str, config: ConfigFiles) -> None:
    fault = ""
    if not _PUSH.fullmatch(push):
        fault = "the push has no proper name"
    elif history.MAIN not in config.files:
        fault = "it has no clp.toml"
    elif len(config.files) > MAX_FILES:
        fault = f"it has {len(config.files)} files, more than {MAX_FILES}"
    elif sum(len(text) for text in config.files.values()) > MAX_BYTES:
        fault = f"it is larger than {MAX_BYTES} bytes"
    for path in config.files:
        fault = fault or _ill_named(path)
    if fault:
        raise ClpError(ExitCode.INVALID_CONFIG, f"configuration refused: {fault}")


def _ill_named(path: str) -> str:
    """Why a configuration may not contain a file of that name; empty: it may."""
    parts = path.split("/")
    shown = repr(path[:100])
    if len(path) > MAX_PATH or any(len(part) > MAX_NAME for part in parts):
        return f"{shown}: its name is too long"
    if not _PATH.fullmatch(path) or not {".", ".."}.isdisjoint(parts):
        return f"{shown} is neither clp.toml nor below scripts/"
    return ""


def _check_places(config: ConfigFiles) -> None:
    """Each file of it can be put in its place, which no symbolic link leads away from.

    Raises ClpError.
    """
    base = paths.config_dir()
    names = set(config.files)
    for path in sorted(names):
        folder = base
        for part in path.split("/")[:-1]:
            folder = f"{folder}/{part}"
            if os.path.islink(folder):
                raise _no_place(folder, "is a symbolic link")
            if os.path.relpath(folder, base) in names:
                raise _no_place(folder, "is a file of this configuration and a folder of it")
            if os.path.lexists(folder) and not os.path.isdir(folder):
                raise _no_place(folder, "is no folder")
        target = os.path.join(base, path)
        if os.path.isdir(target) and not os.path.islink(target):
            raise _no_place(target, "is a directory")


def _no_place(path: str, why: str) -> ClpError:
    mend = f"On {paths.server_name()} take it away, then push again."
    return ClpError(ExitCode.REFUSED, f"configuration refused: {path} {why}", mend)


def _mode(path: str) -> int:
    return CONFIG_MODE if path == history.MAIN else history.SCRIPT_MODE


def _write(path: str, text: str, mode: int) -> None:
    os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(fd, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fchmod(fd, mode)
        os.fsync(fd)


class Disk:
    """The thread that reads and stages configurations: a hanging disk blocks only this one."""

    def __init__(self) -> None:
        self._doing: asyncio.Future[Any] | None = None
        """What the thread does, or did last."""

    async def stage(
        self, push: str, config: ConfigFiles
    ) -> tuple[Settings | None, tuple[Report, ...]]:
        """As `stage`, but a result that comes too late is dropped.

        Raises ClpError, also as `run`.
        """
        given_up = threading.Event()

        def staged() -> tuple[Settings | None, tuple[Report, ...]]:
            found = stage(push, config)
            if given_up.is_set():
                drop(push)
            return found

        try:
            return await self.run(staged)
        except ClpError:
            given_up.set()
            raise

    async def drop(self, push: str) -> None:
        """Forget what is staged; on a disk that hangs the next agent does."""
        with contextlib.suppress(ClpError):
            await self.run(lambda: drop(push))

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns: each file is synced, and heartbeats go on meanwhile.

        Raises ClpError: as `work` does, or TIMED_OUT.
        """
        try:
            async with asyncio.timeout(DISK_S):
                while self._doing is not None and not self._doing.done():
                    await asyncio.wait({self._doing})
                doing = self._doing = in_daemon_thread("configuration", work)
                return await asyncio.shield(doing)
        except TimeoutError:
            raise ClpError(
                ExitCode.TIMED_OUT,
                f"{paths.config_dir()}: no answer within {DISK_S:g} s, its disk hangs",
                f"See on {paths.server_name()}: dmesg; mount.  Try again once the disk answers.",
            ) from None
