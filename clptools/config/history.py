"""Configurations that were in force: the highest number is the revision in force.

    history/0005.toml      its clp.toml; its rename is the instant from which it is in force
    history/0005.json      who put it in force, from where and how; the digest of each file
    history/files/DIGEST   the text of a script, under its SHA-256; equal ones are kept once
    history/unfinished     the number of a push whose files are being put in their places
    history/removed        this server was taken out of the cluster

`clp.toml` and `scripts/` beside it are copies: an agent starts with what is in force, whatever lies
there.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
import os
import time

import msgspec

from clptools import paths
from clptools.common.foreign_files import whole
from clptools.config.files import CONFIG_MODE, replace_file, sync_folder
from clptools.config.lines import MAX_BYTES
from clptools.core.model.settings import Pushed
from clptools.faults import ClpError, ExitCode

MAIN = "clp.toml"
SCRIPT_MODE = 0o750


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the history."""

    number: int
    saved_at: float
    """Wall clock, seconds since 1970."""
    size: int
    pushed: Pushed | None = None
    """None: by an earlier version, which did not note it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a revision consists of."""

    pushed: Pushed
    files: dict[str, str]
    """Path relative to the configuration folder -> SHA-256 in hex."""


def has_kept(text: str) -> bool:
    """Whether a revision has a script with this text."""
    return os.path.exists(_kept(digest(text)))


def digest(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def entries() -> tuple[Revision, ...]:
    """All revisions kept on this server, oldest first."""
    found: list[Revision] = []
    with contextlib.suppress(FileNotFoundError), os.scandir(paths.history_dir()) as folder:
        for entry in folder:
            number = _number(entry.name)
            if number is not None:
                info = entry.stat()
                kept = manifest(number)
                found.append(
                    Revision(
                        number=number,
                        saved_at=info.st_mtime,
                        size=info.st_size,
                        pushed=kept.pushed if kept is not None else None,
                    )
                )
    return tuple(sorted(found, key=lambda revision: revision.number))


def revision() -> int:
    """The newest revision; 0 where nothing was ever put in force."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        names = os.listdir(paths.history_dir())
        return max((n for name in names if (n := _number(name)) is not None), default=0)
    return 0


def in_force() -> int:
    """The revision in force; 0: there is none, or this server was taken out of the cluster."""
    return 0 if is_removed() else revision()


def text_in_force() -> tuple[str, int]:
    """The `clp.toml` in force and its number; without any the file itself, as 0.

    Raises ClpError or OSError where it cannot be read.
    """
    number = in_force()
    if number:
        return content(number), number
    return read_text(paths.config_file()), 0


def content(number: int) -> str:
    """The `clp.toml` of a revision.  Raises ClpError if there is no such revision here."""
    try:
        with open(_file(number, "toml"), encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        kept = [entry.number for entry in entries()]
        known = f"{kept[0]} to {kept[-1]}" if kept else "none"
        raise ClpError(
            ExitCode.NO_SUCH,
            f"revision {number}: not in the history of this server (kept: {known})",
            "List them: clpcfctrl --history",
        ) from None
    except (OSError, UnicodeDecodeError) as fault:
        path = _file(number, "toml")
        raise ClpError(ExitCode.FAILED, f"{path}: cannot be read: {fault}") from fault


def manifest(number: int) -> Manifest | None:
    """What a revision consists of; None if an earlier version kept it, or it is unreadable."""
    try:
        with open(_file(number, "json"), "rb") as file:
            return msgspec.json.decode(file.read(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None


def scripts(number: int) -> dict[str, str] | None:
    """The scripts of a revision, by path; None where they were not kept with it."""
    kept = manifest(number)
    if kept is None:
        return None
    found: dict[str, str] = {}
    for path, name in kept.files.items():
        if path != MAIN:
            try:
                text = read_text(_kept(name))
            except (OSError, UnicodeDecodeError):
                return None
            found[path] = text
    return found


# ---------------------------------------------------------------------- keeping


def store(number: int, files: dict[str, str], pushed: Pushed) -> None:
    """Keep scripts and origin of a revision, ahead of its `clp.toml`.  Raises OSError."""
    os.makedirs(f"{paths.history_dir()}/files", mode=0o750, exist_ok=True)
    names = {path: digest(text) for path, text in files.items()}
    for path, text in files.items():
        if path != MAIN and not os.path.exists(_kept(names[path])):
            replace_file(_kept(names[path]), text.encode(), CONFIG_MODE)
    content = msgspec.json.encode(Manifest(pushed=pushed, files=names))
    replace_file(_file(number, "json"), content, CONFIG_MODE)


def remember(number: int, text: str) -> None:
    """Keep `text` as revision `number`, which is in force from then on.  Raises OSError."""
    os.makedirs(paths.history_dir(), mode=0o750, exist_ok=True)
    replace_file(_file(number, "toml"), text.encode(), CONFIG_MODE)
    _unlink("removed")


def begin(number: int) -> None:
    """From now on until `finish` the files may be of either revision.  Raises OSError."""
    replace_file(f"{paths.history_dir()}/unfinished", b"%d\n" % number, CONFIG_MODE)


def unfinished() -> int:
    """The revision whose push was interrupted while files were put in place; 0: none."""
    try:
        with open(f"{paths.history_dir()}/unfinished", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def finish() -> None:
    """The files are those of the revision in force.  Raises OSError."""
    _unlink("unfinished")


def remove() -> None:
    """This server is no longer one of the cluster.  Raises OSError."""
    os.makedirs(paths.history_dir(), mode=0o750, exist_ok=True)
    replace_file(f"{paths.history_dir()}/removed", b"", CONFIG_MODE)


def is_removed() -> bool:
    """Whether it was taken out of the cluster since the newest revision."""
    return os.path.exists(f"{paths.history_dir()}/removed")


def write_out(number: int, *, main: bool = True) -> int:
    """Put the files of a revision in their places again; returns how many.

    Without `main` not `clp.toml`.  Raises ClpError or OSError.
    """
    files = scripts(number) or {}
    if main:
        files[MAIN] = content(number)
    for path, text in files.items():
        target = os.path.join(paths.config_dir(), path)
        if os.path.isdir(target) and not os.path.islink(target):
            mend = f"Take it away first: mv {target} {target}.away"
            raise ClpError(ExitCode.REFUSED, f"{target}: is a directory.", mend)
        os.makedirs(os.path.dirname(target), mode=0o750, exist_ok=True)
        replace_file(target, text.encode(), CONFIG_MODE if path == MAIN else SCRIPT_MODE)
    return len(files)


EDITED = "was edited and not pushed"
"""Of a `clp.toml`, and of scripts: it can be seen, pushed and dropped."""
_DIRECTORY = "is a directory"
_NO_FILE = "is no plain file"


def edit(number: int) -> str:
    """How the `clp.toml` on the disk differs from that of a revision; empty: it does not."""
    try:
        found = read_text(paths.config_file())
    except FileNotFoundError:
        return "is not there"
    except IsADirectoryError:
        return _DIRECTORY
    except UnicodeDecodeError:
        return f"{EDITED}, and is not text"
    except OSError as fault:
        if fault.errno == errno.EINVAL:
            return _NO_FILE
        if fault.errno == errno.EFBIG:
            return f"{EDITED}, and is {fault.strerror}"
        return f"cannot be read ({fault.strerror})"
    with contextlib.suppress(ClpError):
        return "" if found == content(number) else EDITED
    return ""


def edited_scripts(number: int) -> tuple[str, ...]:
    """Scripts on the disk that are not as that revision has them: changed, missing, or more.

    Unlike `clp.toml` they run as they are.  Nothing is said where they were not kept with it.
    """
    then = scripts(number)
    if then is None:
        return ()
    now: dict[str, str | None] = {}
    for folder, _, names in os.walk(paths.scripts_dir()):
        for name in names:
            path = os.path.join(folder, name)
            now[os.path.relpath(path, paths.config_dir())] = None
            with contextlib.suppress(OSError, UnicodeDecodeError):
                now[os.path.relpath(path, paths.config_dir())] = read_text(path)
    return tuple(sorted(p for p in {*then, *now} if p not in now or now[p] != then.get(p)))


def is_edited(edit: str) -> bool:
    """Whether an `edit` can be seen and pushed; else the file is to be written again."""
    return edit.startswith(EDITED)


def written_at() -> str:
    """When `clp.toml` was last written, in local time; empty: it cannot be asked."""
    try:
        wall_s = os.stat(paths.config_file()).st_mtime
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_s))
    except (OSError, OverflowError, ValueError):
        return ""


def mend(number: int, edit: str, server: str) -> str:
    """What a person can do about an `edit` on `server`: see, push or drop it, or restore the file.

    It is read on other servers, too, where the same commands concern their own file.
    """
    again = f"clpcfctrl --rollback {number}"
    if edit in (_DIRECTORY, _NO_FILE):
        # A file cannot take the place of a folder, and a pipe may be somebody's.
        away = f"mv {paths.config_file()} {paths.config_file()}.away"
        return f"Move it away on {server} ({away}), then write the file again there: {again}"
    if not is_edited(edit):
        return f"Write the file again on {server}: {again}"
    return (
        f"See it on {server}: clpcfctrl --diff. Push it there, once clpcfchk finds no fault in it: "
        f"clpcfctrl --push. Drop it there: {again}"
    )


def diff(old: str, new: str, old_name: str, new_name: str) -> str:
    """A unified diff of two texts; empty where they are equal."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), old_name, new_name
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def read_text(path: str) -> str:
    """A file as it is loaded: a byte order mark is no part of it.

    Raises UnicodeDecodeError, and OSError also for what is no plain file, or larger than it may be.
    """
    return whole(path, MAX_BYTES).decode("utf-8-sig")


def _number(name: str) -> int | None:
    stem, dot, rest = name.partition(".")
    return int(stem) if stem.isascii() and stem.isdigit() and dot and rest == "toml" else None


def _file(number: int, kind: str) -> str:
    return f"{paths.history_dir()}/{number:04d}.{kind}"


def _kept(name: str) -> str:
    return f"{paths.history_dir()}/files/{name}"


def _unlink(name: str) -> None:
    try:
        os.unlink(f"{paths.history_dir()}/{name}")
    except FileNotFoundError:
        return
    sync_folder(paths.history_dir())
