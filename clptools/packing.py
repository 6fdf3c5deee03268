"""What a server knows, packed for whoever looks into an incident, and without its secrets.

`pack` writes a gzipped tar archive.  The agent has a child do it for another server's sake
(`python -m clptools.packing SERVER`: the state as JSON on standard input, the archive on standard
output), so that its own loop waits for no disk.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from clptools.paths import config_dir, data_dir, log_dir

SECRET = re.compile(r"(?ms)^(\s*(?:community|password|passphrase)\w*\s*=)\s*(?:\[.*?\]|[^\n]*)")


def name_of(server: str) -> str:
    """The archive's file name, as the original has it."""
    return f"{server}-log.tar.gz"


def pack(out: BinaryIO, server: str, state: Mapping[str, str]) -> None:
    """Logs, data, configurations, and `state` (file name -> text), to `out`.

    No key and no password is in it, and no script.  Raises OSError.
    """
    folder = f"{server}-log"
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for place, inside in ((log_dir(), "log"), (data_dir(), "data")):
            for path in _files(place):
                _add(archive, path, f"{folder}/{inside}/{os.path.relpath(path, place)}")
        base = config_dir()
        for path in _configurations(base):
            with open(path, encoding="utf-8", errors="replace") as file:
                text = SECRET.sub(r'\1 "(left out)"', file.read())
            _write(archive, f"{folder}/config/{os.path.relpath(path, base)}", text.encode())
        for name, text in state.items():
            _write(archive, f"{folder}/{name}", text.encode())


def _files(folder: str) -> Iterator[str]:
    for place, _, names in sorted(os.walk(folder, onerror=_told)):
        for name in sorted(names):
            path = os.path.join(place, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def _told(error: OSError) -> None:
    """A folder that is not there holds nothing; one that may not be read is no empty one."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _configurations(base: str) -> Iterator[str]:
    for folder in (base, f"{base}/history"):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if name.endswith(".toml"):
                yield os.path.join(folder, name)


def _add(archive: tarfile.TarFile, path: str, inside: str) -> None:
    """A file as it is at this moment: the agent writes to it and puts others in its place."""
    try:
        with open(path, "rb") as file:
            content = file.read()
            _write(archive, inside, content, os.fstat(file.fileno()).st_mtime)
    except FileNotFoundError:
        return


def _write(archive: tarfile.TarFile, inside: str, content: bytes, changed_s: float = 0.0) -> None:
    info = tarfile.TarInfo(inside)
    info.size = len(content)
    info.mode = 0o600
    info.mtime = changed_s
    archive.addfile(info, io.BytesIO(content))


def main() -> None:
    """The agent's child."""
    import json
    import sys

    os.nice(19)
    try:
        pack(sys.stdout.buffer, sys.argv[1], json.load(sys.stdin))
    except OSError as error:
        sys.exit(f"{error.filename or 'the archive'}: {error.strerror}")


if __name__ == "__main__":
    main()
