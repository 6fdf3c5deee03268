"""One run of `clpcfset` over one file: read under a lock, edited, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager

from clptools.common.foreign_files import whole
from clptools.config.clpconf import Node
from clptools.config.document import Document
from clptools.config.edit import SORTS, Configuration, Found
from clptools.config.files import CONFIG_MODE, replace_file
from clptools.config.importer import translated
from clptools.config.lines import MAX_BYTES
from clptools.config.references import script_folder
from clptools.config.told import SUFFIX, kept_of, tree_of
from clptools.config.translation import Translation
from clptools.faults import ClpError, ExitCode
from clptools.registries import registries

HEAD = """\
# Made by clpcfset; every key is in clp.toml(5).  Check it: clpcfchk FILE.  It takes effect by
# clpcfctrl --push -x FOLDER.

"""
"""Begins a new file."""


class Session:
    """The file, its configuration, and what is to be said and done when it is written."""

    def __init__(self, path: str, text: str, *, new: bool = False) -> None:
        """Raises ClpError (INVALID_CONFIG) for what is no TOML."""
        self.path = path
        self.new = new
        try:
            self.document = Document(text, path)
        except (tomllib.TOMLDecodeError, RecursionError) as fault:
            from clptools.config.load import loads  # only to say what is wrong with it

            report = loads(text, registries(), path).reports[0]
            raise ClpError(ExitCode.INVALID_CONFIG, str(report), report.hint) from fault
        self.config = Configuration(self.document, registries())
        self.notes: list[str] = []
        self.made: list[Found] = []
        """Objects that were added."""
        self.joined: list[str] = []
        """Servers that were added to others."""
        self.renamed: list[tuple[str, str]] = []
        """Folders of scripts, below `scripts/`: before and after."""
        self._tree: Node | None = None
        self._translation: Translation | None = None

    @property
    def folder(self) -> str:
        """Where the file lies, and `scripts/` beside it."""
        return os.path.dirname(self.path)

    @property
    def told_path(self) -> str:
        """Where what was told in the original's words is kept."""
        return os.path.realpath(self.path) + SUFFIX

    @property
    def tree(self) -> Node:
        """What was told in the original's words, and what else there is, in its form."""
        if self._tree is None:
            kept = b""
            if not self.new:
                with contextlib.suppress(OSError):
                    kept = whole(self.told_path, MAX_BYTES)
            self._tree = tree_of(self.config, kept)
        return self._tree

    @property
    def translation(self) -> Translation:
        """What that tree means."""
        if self._translation is None:
            self._translation = translated(self.tree)
        return self._translation

    def told(self, tree: Node, translation: Translation) -> None:
        """Takes another tree; `config` already says what it means."""
        self._tree, self._translation = tree, translation

    def remember(self, tree: Node, text: str) -> None:
        """Keeps what was told with a `clp.toml` of that text, so that later steps know of it."""
        try:
            replace_file(self.told_path, kept_of(tree, text), CONFIG_MODE)
        except OSError as fault:
            raise _cannot(self.told_path, fault) from fault

    def note(self, text: str) -> None:
        """Something that the operator should know, once it is done."""
        if text not in self.notes:
            self.notes.append(text)

    def place_noted(self, wanted: int, there: int) -> None:
        """Says so where a place was asked for that there is not yet."""
        if wanted > there:
            self.note(f"It is at place {there} from 0: there are no more before it yet.")

    def rename_scripts(self, found: Found, new: str) -> None:
        """The scripts of an object follow its new name."""
        old = script_folder(found)
        if old:
            self.renamed.append((old, script_folder(found, new)))

    def save(self) -> bool:
        """Writes what changed, then makes and moves scripts; False: nothing changed.

        Raises ClpError; the file is then as it was.
        """
        text = self.document.text()
        changed = text != self.document.original or self.new
        if changed:
            try:
                self._write(text)
            except OSError as fault:
                raise _cannot(self.path, fault) from fault
        if self._tree is not None:
            self.remember(self._tree, text)
        try:
            self._scripts()
        except OSError as fault:
            raise _cannot(fault.filename or "scripts", fault) from fault
        return changed

    def _write(self, text: str) -> None:
        os.makedirs(self.folder or ".", mode=0o750, exist_ok=True)
        target, mode = os.path.realpath(self.path), CONFIG_MODE
        if os.path.exists(target):
            mode = os.stat(target).st_mode & 0o777
        replace_file(target, text.encode(), mode)

    def _scripts(self) -> None:
        from clptools.config.scripts import make

        base = os.path.join(self.folder, "scripts")
        for old, new in self.renamed:
            before, after = os.path.join(base, old), os.path.join(base, new)
            if os.path.isdir(before) and os.path.lexists(after):
                self.note(f"{after} is there already: the scripts of {before} stay there.")
            elif os.path.isdir(before):
                os.rename(before, after)
                self.note(f"Its scripts are in {after} now.")
        added = {id(found.table) for found in self.made}
        for found in self.config.all_of("resource"):
            if id(found.table) in added and found.table.get("type") == "exec":
                for path in make(self.folder, found.owner, found.name):
                    self.note(f"{path} made: fill it in.")


def _cannot(what: str, fault: OSError) -> ClpError:
    code = ExitCode.NOT_PERMITTED if isinstance(fault, PermissionError) else ExitCode.FAILED
    return ClpError(code, f"{what}: cannot be written: {(fault.strerror or str(fault)).lower()}.")


def read(path: str) -> str:
    """The text of a configuration file.  Raises ClpError, and FileNotFoundError as it is."""
    try:
        raw = whole(path, MAX_BYTES)
    except FileNotFoundError:
        raise
    except OSError as fault:
        code = ExitCode.NOT_PERMITTED if isinstance(fault, PermissionError) else ExitCode.FAILED
        if fault.errno == errno.EFBIG:
            code = ExitCode.INVALID_CONFIG
            raise ClpError(code, f"{path}: {fault.strerror}.") from fault
        raise ClpError(code, f"{path}: {(fault.strerror or 'cannot be read').lower()}.") from fault
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ClpError(ExitCode.INVALID_CONFIG, f"{path}: not UTF-8 text.") from None


def opened(path: str) -> Session:
    """A session over a file that is there.  Raises ClpError."""
    return Session(path, text_at(path))


def text_at(path: str) -> str:
    """The text of a configuration file that must be there.  Raises ClpError."""
    try:
        return read(path)
    except FileNotFoundError:
        from clptools.config.load import of_the_original

        raise ClpError(
            ExitCode.FAILED,
            f"{path}: no such file.",
            of_the_original(path) or "Make it: clpcfset create NAME; or say where it is: -x DIR",
        ) from None


@contextmanager
def alone(path: str) -> Iterator[None]:
    """One command at a time edits the files of a folder; another one waits."""
    folder = os.path.dirname(path) or "."
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield  # writing says what is wrong with it
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


# ---------------------------------------------------------------------- used by all forms


def usage(verb: str, form: str, hint: str = "") -> ClpError:
    """The fault of words that do not fit."""
    return ClpError(ExitCode.USAGE, f"The words do not fit: clpcfset {verb} {form}", hint)


def digits(what: str, word: str) -> int:
    """A number, not negative.  Raises ClpError (USAGE)."""
    if not (word.isascii() and word.isdigit() and len(word) < 6):
        raise ClpError(ExitCode.USAGE, f"{word}: {what} is a number.")
    return int(word)


def path_of(found: Found) -> str:
    """The path of an object, for its keys."""
    if found.kind in ("snmpv3_user", "trap"):
        return f"{SORTS[found.kind].within}.{found.owner}.{found.kind}.{found.name}"
    return f"{found.kind}.{found.name}"


def make(
    session: Session, kind: str, name: str = "", *, type: str = "", owner: str = "", at: str = ""
) -> Found:
    """An object, new or there already; `at`: its place among its like, from 0."""
    count = len(session.config.all_of(kind))
    found, new = session.config.add(
        kind, name, type=type, owner=owner, at=min(int(at), count) if at else None
    )
    if not new:
        session.note(f"{found.label} is there already.")
        return found
    session.made.append(found)
    session.place_noted(int(at or 0), count)
    return found
