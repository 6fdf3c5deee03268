"""Configurations that were in force: `history/NNNN.toml`, the highest number is the revision."""

from __future__ import annotations

import contextlib
import difflib
import os

import msgspec

from clptools import paths
from clptools.config.files import CONFIG_MODE, replace_file
from clptools.faults import ClpError, ExitCode


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the history."""

    number: int
    saved_at: float
    """Wall clock, seconds since 1970."""
    size: int


def _file(number: int) -> str:
    return f"{paths.history_dir()}/{number:04d}.toml"


def entries() -> tuple[Revision, ...]:
    """All revisions kept on this server, oldest first."""
    found: list[Revision] = []
    with contextlib.suppress(FileNotFoundError), os.scandir(paths.history_dir()) as folder:
        for entry in folder:
            stem, dot, rest = entry.name.partition(".")
            if stem.isascii() and stem.isdigit() and dot and rest == "toml":
                info = entry.stat()
                found.append(Revision(number=int(stem), saved_at=info.st_mtime, size=info.st_size))
    return tuple(sorted(found, key=lambda revision: revision.number))


def revision() -> int:
    """The revision in force; 0 where nothing was ever put in force."""
    return max((entry.number for entry in entries()), default=0)


def remember(number: int, text: str) -> None:
    """Keep `text` as revision `number`.  Raises OSError."""
    os.makedirs(paths.history_dir(), mode=0o750, exist_ok=True)
    replace_file(_file(number), text.encode(), CONFIG_MODE)


def content(number: int) -> str:
    """The text of a revision: what a rollback puts in force again, as a new revision.

    Raises ClpError if there is no such revision here.
    """
    try:
        with open(_file(number), encoding="utf-8", newline="") as file:
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
        raise ClpError(ExitCode.FAILED, f"{_file(number)}: cannot be read: {fault}") from fault


def diff(old: str, new: str, old_name: str, new_name: str) -> str:
    """A unified diff of two texts; empty where they are equal."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), old_name, new_name
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
