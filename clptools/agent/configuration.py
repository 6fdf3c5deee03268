"""The configuration on this server's disk: read, checked aside, put in force, mended.

What is in force is the newest revision in `history/` (`config/history.py`); `clp.toml` and
`scripts/` are copies of it that people edit.  A pushed configuration is written into a folder of
its own and checked there.  It is in force from the instant at which its `clp.toml` is renamed into
`history/`, before anything else changes; an agent that ends before its files are in their places
puts them there when it starts again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from clptools import paths
from clptools.agent import clock
from clptools.api.messages import ConfigFiles
from clptools.common.threads import in_daemon_thread
from clptools.config import history
from clptools.config.files import CONFIG_MODE, sync_folder
from clptools.config.load import Alert, Loaded, load, loads
from clptools.config.scripts import script_text
from clptools.core.model.settings import FIRST_START, Pushed, Settings
from clptools.faults import ClpError, ExitCode
from clptools.registries import registries
from clptools.reports import Report

DISK_S = 15.0
"""A disk that hangs is told of before the server that asks gives up (`push.PREPARE_TIMEOUT_S`)."""
MAX_FILES = 2_000
MAX_BYTES = 12 * 1024 * 1024
MAX_NAME, MAX_PATH = 200, 1000
"""Characters of a file's name, and of its path: below what file systems take."""
_MAIN = history.MAIN
_PATH = re.compile(r"clp\.toml|scripts(/[A-Za-z0-9_@%+=,.-][A-Za-z0-9_@%+=,. -]*){1,8}")
_PUSH = re.compile(r"[A-Za-z0-9-]{1,64}")

T = TypeVar("T")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent starts with."""

    loaded: Loaded
    number: int
    edit: str = ""
    """What is wrong with the `clp.toml` beside it; empty: nothing."""
    is_first: bool = False
    """There is no history: the file is taken as it is, and becomes the first revision."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What a server runs, as it is compared with others; all of one revision."""

    revision: int
    files: dict[str, str]
    """Path -> SHA-256 in hex: of the `clp.toml` in force, and the scripts as they lie here."""
    edit: str = ""
    """How its `clp.toml` differs from what is in force; empty: it does not."""
    before: tuple[str, ...] | None = None
    """The servers of the revision before; None: it is not known here."""


def exists() -> bool:
    """Whether this server has a configuration."""
    if history.is_removed():
        return False
    return history.revision() > 0 or os.path.lexists(paths.config_file())


def found() -> Found | None:
    """The configuration in force; None: there is none.  Nothing is written.

    A revision that cannot be read or used any more must keep no agent from starting: then the file
    counts, as the revision whose text it has, or else as this one.
    """
    if not exists():
        return None
    number = history.revision()
    if not number:
        loaded = load(paths.config_file(), registries())
        return Found(loaded=_numbered(loaded, 1), number=1, is_first=True)
    path = f"{paths.history_dir()}/{number:04d}.toml"
    fault = ""
    try:
        loaded = loads(history.content(number), registries(), path)
    except ClpError as error:
        fault = error.message
    else:
        if loaded.settings is not None:
            edit = history.edit(number)
            return Found(loaded=_numbered(loaded, number), number=number, edit=edit)
        fault = str(loaded.errors[0])
    file = load(paths.config_file(), registries())
    if file.settings is None:
        raise ClpError(
            ExitCode.INVALID_CONFIG,
            f"what is in force cannot be used: {fault}; nor can {file.errors[0]}",
            f"Copy {paths.config_file()} from another server, or correct it, then start again.",
        )
    same = next((n for n in _older(number) if _remembered(n) == file.text), number)
    edit = f"is used: revision {number} cannot be ({fault})"
    return Found(loaded=_numbered(file, same), number=same, edit=edit)


def _numbered(loaded: Loaded, number: int) -> Loaded:
    if loaded.settings is None:
        return loaded
    settings = msgspec.structs.replace(loaded.settings, revision=number)
    return msgspec.structs.replace(loaded, settings=settings)


def _older(number: int) -> list[int]:
    return [entry.number for entry in reversed(history.entries()) if entry.number < number]


def _remembered(number: int) -> str | None:
    """A revision's text; None where its file cannot be read, which keeps no agent from starting."""
    try:
        return history.content(number)
    except ClpError:
        return None


def adopt(text: str, server: str) -> None:
    """The file that the very first agent found is the first revision.

    A full disk must not keep it from starting.
    """
    pushed = Pushed(server=server, how=FIRST_START, at=clock.wall_s())
    with contextlib.suppress(OSError):
        os.makedirs(paths.history_dir(), mode=0o750, exist_ok=True)
        with contextlib.suppress(ClpError):
            history.store(1, {_MAIN: text, **_scripts()}, pushed)
        history.remember(1, text)


def mend() -> int:
    """Put the files in their places whose push was interrupted here.

    Returns its number; 0: there was none, or it had not come into force.
    """
    number = history.unfinished()
    if not number:
        return 0
    ours = number == history.revision()
    with contextlib.suppress(OSError, ClpError):
        if ours:
            history.write_out(number, main=not _is_edit())
        history.finish()
    return number if ours else 0


def edit() -> str:
    """How `clp.toml` differs from what is in force; empty: it does not."""
    number = history.in_force()
    return history.edit(number) if number else ""


def edit_and_time() -> tuple[str, str]:
    """The same, and when the file was last written, in local time."""
    found = edit()
    return found, history.written_at() if history.is_text(found) else ""


def _names_before(number: int) -> tuple[str, ...] | None:
    text = _remembered(number - 1)
    settings = None if text is None else loads(text, registries(), _MAIN).settings
    return None if settings is None else settings.names


def alert() -> Alert:
    """Who is told of alerts, by the configuration in force."""
    try:
        text, _ = history.text_in_force()
    except (ClpError, OSError, UnicodeDecodeError):
        return load(paths.config_file(), registries()).alert
    return loads(text, registries(), paths.config_file()).alert


def files() -> ConfigFiles:
    """What is in force: `clp.toml` and all scripts.

    Raises ClpError when there is none, or one cannot be sent.
    """
    number = history.in_force()
    if not number:
        return _on_disk()
    scripts = history.scripts(number)
    if scripts is None:
        scripts = _scripts()
    kept = history.manifest(number)
    return ConfigFiles(
        revision=number,
        files={_MAIN: history.content(number), **scripts},
        pushed=kept.pushed if kept is not None else None,
    )


def compared() -> Compared:
    """What this server runs.  Raises ClpError when there is nothing, or it cannot be read."""
    number = history.in_force()
    if not number:
        found = _on_disk()
        return Compared(revision=found.revision, files=hashes(found))
    files = ConfigFiles(revision=number, files={_MAIN: history.content(number), **_scripts()})
    return Compared(
        revision=number,
        files=hashes(files),
        edit=history.edit(number),
        before=_names_before(number),
    )


def _on_disk() -> ConfigFiles:
    try:
        found = {_MAIN: history.read_text(paths.config_file()), **_scripts()}
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


def _scripts() -> dict[str, str]:
    """The scripts on the disk.  Raises ClpError when one cannot be sent."""
    found: dict[str, str] = {}
    for folder, _, names in os.walk(paths.scripts_dir()):
        for name in sorted(names):
            path = os.path.join(folder, name)
            found[os.path.relpath(path, paths.config_dir())] = script_text(path)
    return found


def hashes(config: ConfigFiles) -> dict[str, str]:
    """Path -> SHA-256 in hex."""
    return {path: history.digest(text) for path, text in config.files.items()}


def stage(push: str, config: ConfigFiles) -> tuple[Settings | None, tuple[Report, ...]]:
    """Write it aside and check it.

    Returns:
        The settings, or None where there are errors among the reports.

    Raises:
        ClpError: it holds what no configuration may, or cannot be written.
    """
    _check_shape(push, config)
    _check_places(config)
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


def put_in_force(push: str, config: ConfigFiles) -> str:
    """Replace the configuration by the staged one.

    On the disk when this returns: servers that join are told because all others have it.

    Returns:
        Where an edit of `clp.toml` that nobody pushed is kept; empty: there was none.

    Raises:
        OSError: it is not in force, and nothing was changed.
    """
    before = history.revision()
    if before and history.manifest(before) is None:
        _keep_scripts(before)
    history.store(config.revision, config.files, config.pushed or Pushed())
    history.begin(config.revision)
    history.remember(config.revision, config.files[_MAIN])
    kept = ""
    # From here on it is in force; `mend` does what fails, at the latest in the next agent.
    with contextlib.suppress(OSError):
        if _is_edit():
            kept = f"{paths.config_file()}.edited"
            if os.path.lexists(kept):
                kept = f"{kept}.{config.revision}"  # the one before stays
            os.replace(paths.config_file(), kept)
        _move(config.files, _staged(push))
        _take_away(before, config)
        history.finish()
    drop(push)
    return kept


def _is_edit() -> bool:
    """Whether `clp.toml` has a text that no revision has."""
    try:
        text = history.read_text(paths.config_file())
    except (OSError, UnicodeDecodeError):
        return os.path.isfile(paths.config_file())
    return all(_remembered(entry.number) != text for entry in reversed(history.entries()))


def _keep_scripts(number: int) -> None:
    """A revision that an earlier version put in force gets the scripts that are there now."""
    with contextlib.suppress(ClpError):
        text = history.content(number)
        history.store(number, {_MAIN: text, **_scripts()}, Pushed(how="by an earlier version"))


def _move(files: Iterable[str], folder: str) -> None:
    folders = set()
    for path in sorted(files, key=lambda path: path == _MAIN):
        target = os.path.join(paths.config_dir(), path)
        os.makedirs(os.path.dirname(target), mode=0o750, exist_ok=True)
        os.replace(os.path.join(folder, path), target)
        folders.add(os.path.dirname(target))
    for each in sorted(folders):
        sync_folder(each)


def _take_away(before: int, config: ConfigFiles) -> None:
    """Scripts of the revision before that this one does not have; `history/` keeps them."""
    kept = history.manifest(before)
    for path in kept.files if kept is not None else ():
        if path not in config.files:
            target = os.path.join(paths.config_dir(), path)
            with contextlib.suppress(OSError):
                os.unlink(target)
                os.removedirs(os.path.dirname(target))


def forget() -> None:
    """This server has no configuration any more; `history/` keeps it.  Raises OSError."""
    history.remove()
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
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
        fault = fault or _ill_named(path)
    if fault:
        raise ClpError(ExitCode.INVALID_CONFIG, f"configuration refused: {fault}")


def _ill_named(path: str) -> str:
    """Why no file of a configuration may be called so; empty: it may."""
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


def _staged(push: str) -> str:
    return f"{paths.config_dir()}/.staged/{push}"


def _mode(path: str) -> int:
    return CONFIG_MODE if path == _MAIN else history.SCRIPT_MODE


def _write(path: str, text: str, mode: int) -> None:
    os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(fd, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fchmod(fd, mode)
        os.fsync(fd)
