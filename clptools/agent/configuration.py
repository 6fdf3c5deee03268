"""The configuration on this server's disk: read, put in force, mended.

What is in force is the newest revision in `history/` (`config/history.py`); `clp.toml` and
`scripts/` are copies of it that people edit.  A pushed configuration (`staging.py`) is in force
from the instant at which its `clp.toml` is renamed into `history/`, before anything else changes;
an agent that ends before its files are in their places puts them there when it starts again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

import msgspec

from clptools import paths
from clptools.agent import clock
from clptools.agent.staging import drop, folder_of
from clptools.api.messages import ConfigFiles
from clptools.config import history
from clptools.config.files import sync_folder
from clptools.config.load import Alert, Loaded, load, loads
from clptools.config.scripts import script_text
from clptools.core.model.settings import FIRST_START, Pushed
from clptools.faults import ClpError, ExitCode
from clptools.registries import registries

_MAIN = history.MAIN


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


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What was edited here and never pushed, when another configuration came."""

    main: str = ""
    """Where the edited `clp.toml` is; empty: it was not edited."""
    scripts: tuple[str, ...] = ()
    """Edited scripts, which are below `scripts_kept()`, by their paths there."""


def exists() -> bool:
    """Whether this server has a configuration."""
    if history.is_removed():
        return False
    return history.revision() > 0 or os.path.lexists(paths.config_file())


def found() -> Found | None:
    """The configuration in force; None: there is none.  Nothing is written.

    A revision that cannot be read or used any more must not keep an agent from starting: the file
    counts instead, as the revision whose text it has, or else as this one.
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
    """A revision's text; None if its file cannot be read, which must not stop an agent."""
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
    return found, history.written_at() if history.is_edited(found) else ""


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


def put_in_force(push: str, config: ConfigFiles) -> Kept:
    """Replace the configuration by the staged one.

    It is on the disk when this returns: servers that join get it only once all others have it.

    Returns:
        Where the edits are kept that nobody pushed.

    Raises:
        OSError: it is not in force, and nothing was changed.
    """
    before = history.revision()
    if before and history.manifest(before) is None:
        _keep_scripts(before)
    edited = _edited_scripts(before, config) if before else ()
    history.store(config.revision, config.files, config.pushed or Pushed())
    history.begin(config.revision)
    history.remember(config.revision, config.files[_MAIN])
    main = ""
    scripts: list[str] = []
    # From here on it is in force; `mend` does what fails, at the latest in the next agent.
    with contextlib.suppress(OSError):
        if _is_edit():
            main = f"{paths.config_file()}.edited"
            if os.path.lexists(main):
                main = f"{main}.{config.revision}"  # the one before stays
            os.replace(paths.config_file(), main)
        for path in edited:
            target = os.path.join(os.path.dirname(scripts_kept()), _beside(path))
            os.makedirs(os.path.dirname(target), mode=0o750, exist_ok=True)
            os.replace(os.path.join(paths.config_dir(), path), target)
            scripts.append(path)
        _move(config.files, folder_of(push))
        _take_away(before, config)
        history.finish()
    drop(push)
    return Kept(main=main, scripts=tuple(scripts))


def scripts_kept() -> str:
    """The folder of scripts that were edited here when a push replaced them."""
    return f"{paths.scripts_dir()}.edited"


def _beside(path: str) -> str:
    """Where a script goes that was edited, relative to the configuration folder."""
    return f"{os.path.basename(scripts_kept())}/{path.partition('/')[2]}"


def _edited_scripts(before: int, config: ConfigFiles) -> tuple[str, ...]:
    """Scripts here that `config` replaces or takes away and whose text no revision has."""
    kept = history.manifest(before)
    found = []
    for path in sorted({*config.files, *(kept.files if kept is not None else ())} - {_MAIN}):
        with contextlib.suppress(OSError, UnicodeDecodeError, ClpError):
            text = script_text(os.path.join(paths.config_dir(), path))
            if text != config.files.get(path) and not history.has_kept(text):
                found.append(path)
    return tuple(found)


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
    """Remove scripts of the revision before that this one does not have; `history/` keeps them."""
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
