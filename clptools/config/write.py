"""Writing `clp.toml`: checked first, whole or not at all.

What is refused changes nothing; a crash or a full disk leaves the old file.
"""

from __future__ import annotations

import contextlib
import os
import tempfile

from clptools.config.load import Loaded, loads
from clptools.config.variants import Registries
from clptools.faults import ClpError, ExitCode

CONFIG_MODE = 0o640


def replace_file(path: str, content: bytes, mode: int) -> None:
    """Put `content` in the place of `path`, by rename, on the disk.  Raises OSError."""
    folder = os.path.dirname(path) or "."
    fd, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Returns when the names in a folder are on the disk.  Raises OSError."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def dumps(document: dict[str, object]) -> str:
    """A configuration document as TOML text.  Comments do not survive `tomllib`."""
    import tomli_w

    return tomli_w.dumps(document)


def save(text: str, path: str, registries: Registries) -> Loaded:
    """Check `text`, and make it the file at `path` if it has no error.

    Returns:
        What was read; where `settings` is None, the file is as it was.

    Raises:
        ClpError: it cannot be written; the file is as it was.
    """
    loaded = loads(text, registries, path)
    if loaded.settings is None:
        return loaded
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o750, exist_ok=True)
        replace_file(path, text.encode(), CONFIG_MODE)
    except OSError as fault:
        code = ExitCode.NOT_PERMITTED if isinstance(fault, PermissionError) else ExitCode.FAILED
        reason = (fault.strerror or "failed").lower()
        raise ClpError(code, f"{path}: cannot be written: {reason}") from fault
    return loaded
