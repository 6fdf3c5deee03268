"""What a server knows, packed for those who look into an incident, without its secrets.

`pack` writes a gzipped tar archive.  The agent has a child do it for another server's sake
(`python -m clptools.packing SERVER`: the state as JSON on standard input, the archive on standard
output), so that its own loop waits for no disk.
"""

from __future__ import annotations

import io
import os
import tarfile
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from clptools.common.secret_names import SECRET, is_secret
from clptools.config.lines import Lines, Path
from clptools.paths import config_dir, data_dir, log_dir

_LEFT_OUT = '"(left out)"'


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
            inside = f"{folder}/config/{os.path.relpath(path, base)}"
            with open(path, encoding="utf-8-sig", errors="replace") as file:
                text = without_secrets(file.read())
            if text is None:
                said = f"{path} is left out: it is not TOML, so its secrets cannot be told.\n"
                _write(archive, f"{inside}.left-out", said.encode())
            else:
                _write(archive, inside, text.encode())
        for name, text in state.items():
            _write(archive, f"{folder}/{name}", text.encode())


def without_secrets(text: str) -> str | None:
    """A configuration with its secrets blanked, and every line in its place.

    None where `text` is not TOML: keys and values cannot be told apart then.
    """
    try:
        document = tomllib.loads(text)
        values = Lines(text).values
        cut = [
            (start, end, _blank(text[start:end]))
            for path, (start, end) in values.items()
            if _is_secret(path, _at(document, path))
        ]
        strings = [(start, end) for start, end in values.values() if text[start] in "\"'"]
        cut += [
            (start, end, "# (left out)")
            for start, end in _comments(text, strings)
            if SECRET.search(text, start, end) or _has_credentials(text[start:end])
        ]
        told, at = "", 0
        for start, end, instead in sorted(cut):
            if start >= at:  # else it lies within what is left out already
                told += text[at:start] + instead
                at = end
        told += text[at:]
        tomllib.loads(told)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    return told


def _is_secret(path: Path, value: object) -> bool:
    if any(is_secret(key) for key in path if isinstance(key, str)):
        return True
    return isinstance(value, str) and _has_credentials(value)


def _has_credentials(text: str) -> bool:
    """Whether it contains a URL with a user and his password, `user:password@`."""
    return any(0 <= word.find(":") < word.rfind("@") for word in text.split())


def _at(document: Any, path: Path) -> object:
    for step in path:
        document = document[step]
    return document


def _blank(value: str) -> str:
    lines = value.count("\n")
    return f"[{_LEFT_OUT}" + "\n" * lines + "]" if lines else _LEFT_OUT


def _comments(text: str, strings: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Where each comment stands: from a `#` outside of the strings to the end of its line."""
    at = text.find("#")
    while at >= 0:
        inside = [end for start, end in strings if start <= at < end]
        end = inside[0] if inside else text.find("\n", at)
        end = len(text) if end < 0 else end
        if not inside:
            yield at, end
        at = text.find("#", end)


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
