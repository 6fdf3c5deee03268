"""The configuration on this server's disk: read, checked aside, put in force, remembered.

A pushed configuration is written into a folder of its own and checked there.  Putting it in
force moves the scripts first and `clp.toml` last, each by rename, so a crash leaves the old one
or the new one.  `history/NNNN.toml` keeps every `clp.toml` that was in force; the highest number
is the revision.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
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
from clptools.config.files import sync_folder
from clptools.config.load import Alert, Loaded, load
from clptools.config.scripts import script_text
from clptools.core.model.settings import Settings
from clptools.faults import ClpError, ExitCode
from clptools.registries import registries
from clptools.reports import Report

DISK_S = 15.0
"""A disk that hangs is told of before the server that asks gives up (`push.PREPARE_TIMEOUT_S`)."""
MAX_FILES = 2_000
MAX_BYTES = 12 * 1024 * 1024
_MAIN = "clp.toml"
_PATH = re.compile(r"clp\.toml|scripts(/[A-Za-z0-9_@%+=,.-][A-Za-z0-9_@%+=,. -]*){1,8}")
_PUSH = re.compile(r"[A-Za-z0-9-]{1,64}")

T = TypeVar("T")


def exists() -> bool:
    """Whether this server has a configuration."""
    return os.path.exists(paths.config_file())


def in_force() -> tuple[Loaded, bool]:
    """What `clp.toml` says now, and whether it was edited since it was last in force.

    An edited one counts as the next revision: the number tells people that this server has
    something that was not distributed.
    """
    loaded = load(paths.config_file(), registries())
    if loaded.settings is None:
        return loaded, False
    number = history.revision()
    edited = number > 0 and _remembered(number) != loaded.text
    if number == 0 or edited:
        number += 1
        with contextlib.suppress(OSError):  # a full disk must not keep the agent from starting
            history.remember(number, loaded.text)
    settings = msgspec.structs.replace(loaded.settings, revision=number)
    return msgspec.structs.replace(loaded, settings=settings), edited


def _remembered(number: int) -> str | None:
    """A revision's text; None where its file cannot be read, which keeps no agent from starting."""
    try:
        return history.content(number)
    except ClpError:
        return None


def alert() -> Alert:
    """Who is told of alerts, by the configuration on the disk."""
    return load(paths.config_file(), registries()).alert


def fingerprint() -> str:
    """Changes when `clp.toml` on the disk does; empty when it is not there."""
    try:
        with open(paths.config_file(), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""


def files() -> ConfigFiles:
    """`clp.toml` and all scripts.  Raises ClpError when there is none, or one cannot be sent."""
    found: dict[str, str] = {}
    base = paths.config_dir()
    try:
        found[_MAIN] = _read(paths.config_file())
        for folder, _, names in os.walk(paths.scripts_dir()):
            for name in sorted(names):
                path = os.path.join(folder, name)
                found[os.path.relpath(path, base)] = script_text(path)
    except FileNotFoundError as error:
        raise ClpError(
            ExitCode.FAILED,
            f"{error.filename}: not there",
            "Write it, then distribute it: clpcfctrl --push",
        ) from None
    except UnicodeDecodeError:
        raise ClpError(
            ExitCode.FAILED,
            f"{paths.config_file()}: not text, so it cannot be distributed",
            "Save it as UTF-8.",
        ) from None
    return ConfigFiles(revision=history.revision(), files=found)


def hashes(config: ConfigFiles) -> dict[str, str]:
    """Path -> SHA-256 in hex."""
    return {path: hashlib.sha256(text.encode()).hexdigest() for path, text in config.files.items()}


def stage(push: str, config: ConfigFiles) -> tuple[Settings | None, tuple[Report, ...]]:
    """Write it aside and check it.

    Returns:
        The settings, or None where there are errors among the reports.

    Raises:
        ClpError: it holds what no configuration may, or cannot be written.
    """
    _check_shape(push, config)
    folder = _staged(push)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in config.files.items():
            _write(os.path.join(folder, path), text, _mode(path))
    except OSError as error:
        drop(push)
        raise ClpError(ExitCode.FAILED, f"{folder}: {error.strerror}") from None
    loaded = load(os.path.join(folder, _MAIN), registries())
    place = f"{folder}/"
    reports = tuple(
        msgspec.structs.replace(report, file=report.file.removeprefix(place))
        for report in loaded.reports
    )
    if loaded.settings is None:
        drop(push)
        return None, reports
    return msgspec.structs.replace(loaded.settings, revision=config.revision), reports


def put_in_force(push: str, config: ConfigFiles) -> None:
    """Replace the configuration by the staged one.  Raises OSError.

    On the disk when this returns: servers that join are told because all others have it.
    """
    folder = _staged(push)
    history.remember(config.revision, config.files[_MAIN])
    folders = set()
    for path in sorted(config.files, key=lambda path: path == _MAIN):
        target = os.path.join(paths.config_dir(), path)
        os.makedirs(os.path.dirname(target), mode=0o750, exist_ok=True)
        os.replace(os.path.join(folder, path), target)
        folders.add(os.path.dirname(target))
    for each in sorted(folders):
        sync_folder(each)
    drop(push)


def forget() -> None:
    """This server has no configuration any more; `history/` keeps it.  Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(paths.config_file())
    sync_folder(paths.config_dir())


def drop(push: str) -> None:
    """Forget a staged configuration."""
    shutil.rmtree(_staged(push), ignore_errors=True)


def drop_all() -> None:
    """Forget what an earlier agent had staged."""
    shutil.rmtree(os.path.dirname(_staged("x")), ignore_errors=True)


class Disk:
    """The thread in which the configuration is read and staged: a disk that hangs holds one."""

    def __init__(self) -> None:
        self._doing: asyncio.Future[Any] | None = None
        """What the thread does, or did last."""

    async def stage(
        self, push: str, config: ConfigFiles
    ) -> tuple[Settings | None, tuple[Report, ...]]:
        """As `stage`, but what comes too late is dropped.  Raises ClpError, also as `run`."""
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


def _check_shape(push: str, config: ConfigFiles) -> None:
    fault = ""
    if not _PUSH.fullmatch(push):
        fault = "the push has no proper name"
    elif _MAIN not in config.files:
        fault = "it has no clp.toml"
    elif len(config.files) > MAX_FILES:
        fault = f"it has {len(config.files)} files, more than {MAX_FILES}"
    elif sum(len(text) for text in config.files.values()) > MAX_BYTES:
        fault = f"it is larger than {MAX_BYTES} bytes"
    for path in config.files:
        if not _PATH.fullmatch(path):
            fault = f"{path[:100]!r} is neither clp.toml nor below scripts/"
    if fault:
        raise ClpError(ExitCode.INVALID_CONFIG, f"configuration refused: {fault}")


def _staged(push: str) -> str:
    return f"{paths.config_dir()}/.staged/{push}"


def _mode(path: str) -> int:
    return 0o640 if path == _MAIN else 0o750


def _read(path: str) -> str:
    # As it is loaded: a byte order mark is no part of the text.
    with open(path, encoding="utf-8-sig", newline="") as file:
        return file.read()


def _write(path: str, text: str, mode: int) -> None:
    os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(fd, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fchmod(fd, mode)
        os.fsync(fd)
