"""A small file that is overwritten in place, so that neither a full disk nor a kill harms it.

Two slots of fixed size are written in turn.  A slot is

    magic 4 | sequence 8 | boot id 16 | length 4 | blake2b 16 | content

all big-endian.  Each write marks its slot as unfinished, then fills it, then finishes the head.
The finished slot with the highest sequence counts, even next to an unfinished one, whose content
nobody was told yet.  A *finished* slot that does not match its checksum is different: others may
have been told its content, so the content of both counts as lost.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct

MAY_PASS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM)
"""Write errors that may pass, by themselves or once an operator makes room."""
_FINISHED = b"CLPS"
_UNFINISHED = b"CLPw"
_HEAD = struct.Struct(">4sQ16sI16s")


class TooLarge(Exception):
    """The content does not fit into a slot; the text says by how much."""


class Slots:
    """The file; `content` is what was found or written last, `boot` in which boot."""

    def __init__(self, path: str, size: int, boot_id: bytes) -> None:
        """`size`: of a slot, with its head."""
        self.path = path
        self.content: bytes | None = None
        self.boot = b""
        self.wrong = ""
        """What is wrong with the file found; its content counts as lost."""
        self._size = size
        self._boot_id = boot_id
        self._fd = -1
        self._sequence = 0
        self._slot = 0

    def open(self) -> None:
        """Allocate both slots and read them.  Raises OSError."""
        self._fd = preallocated(self.path, 2 * self._size)
        best: tuple[int, int, bytes, bytes] | None = None
        for slot in (0, 1):
            found = _parse(os.pread(self._fd, self._size, slot * self._size))
            if isinstance(found, str):
                self.wrong = f"slot {slot} is {found}"
            elif found is not None and (best is None or found[0] > best[0]):
                best = (found[0], slot, found[1], found[2])
        if best is not None:
            self._sequence, self._slot, self.boot, self.content = best
        if self.wrong:
            self.forget()

    def keep(self) -> bool:
        """Make the file again if it is gone or was replaced; returns whether it was.

        Raises OSError; then we go on writing to the old file, although it is removed.
        """
        if self._fd < 0 or same_file(self.path, self._fd):
            return False
        old, content = self._fd, self.content
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        self._fd = preallocated(self.path, 2 * self._size)
        try:
            self._empty()  # a file put there by others must not win by its sequence
            if content is not None and self.boot == self._boot_id:
                self.write(content)
        except OSError:
            os.close(self._fd)
            self._fd = old
            raise
        os.close(old)
        return True

    def forget(self) -> None:
        """Empty both slots.  Raises OSError."""
        self.content = None
        self._empty()

    def _empty(self) -> None:
        for slot in (0, 1):
            os.pwrite(self._fd, bytes(_HEAD.size), slot * self._size)

    def write(self, content: bytes) -> None:
        """Replace the content.  Raises OSError or TooLarge; then the old one stands."""
        if len(content) > self._size - _HEAD.size:
            raise TooLarge(f"{len(content)} bytes do not fit into {self._size - _HEAD.size}")
        sequence, slot = self._sequence + 1, 1 - self._slot
        at = slot * self._size
        os.pwrite(self._fd, _UNFINISHED, at)
        if os.pwrite(self._fd, content, at + _HEAD.size) != len(content):
            raise OSError(errno.EIO, "short write", self.path)
        checksum = _checksum(sequence, self._boot_id, content)
        head = _HEAD.pack(_FINISHED, sequence, self._boot_id, len(content), checksum)
        os.pwrite(self._fd, head, at)
        self._sequence, self._slot, self.boot, self.content = sequence, slot, self._boot_id, content

    def sync(self) -> None:
        """Return once what was written is on the disk.  Raises OSError."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def same_file(path: str, fd: int) -> bool:
    """Whether `path` still leads to the open file."""
    try:
        there = os.stat(path)
    except OSError:
        return False
    here = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def preallocated(path: str, size: int) -> int:
    """Open `path`, with `size` bytes allocated on its file system.  Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        os.close(fd)
        error.filename = path
        raise
    return fd


def _checksum(sequence: int, boot_id: bytes, content: bytes) -> bytes:
    head = struct.pack(">Q", sequence) + boot_id
    return hashlib.blake2b(head + content, digest_size=16).digest()


def _parse(data: bytes) -> tuple[int, bytes, bytes] | str | None:
    """(sequence, boot id, content); None where nothing was finished; or what is wrong."""
    if len(data) < _HEAD.size:
        return "cut short"
    magic, sequence, boot_id, length, checksum = _HEAD.unpack_from(data)
    if magic in (_UNFINISHED, bytes(4)):
        return None
    content = data[_HEAD.size : _HEAD.size + length]
    whole = len(content) == length and _checksum(sequence, boot_id, content) == checksum
    return (sequence, boot_id, content) if magic == _FINISHED and whole else "garbled"
