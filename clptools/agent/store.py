"""What the rules must find again: the state in `/run`, the `member` bit, and who holds the lock.

The state is one file of fixed size with two slots that are written in turn, in place, so a
full disk cannot stop it and a torn write leaves the other slot whole.  A slot is

    magic 4 | sequence 8 | boot id 16 | length 4 | blake2b 16 | MessagePack of `Saved`

all big-endian.  Each write marks its slot as unfinished, then fills it, then finishes the head.
The whole slot with the highest sequence and this boot's id stands, also beside an unfinished
one: what was being written there was not yet told to anybody.  A *finished* slot that does not
match its checksum is another matter: something was told from it, so the state counts as lost.
Nothing in the file survives a boot; no fsync, since power loss ends the boot and the state.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import struct

import msgspec

from clptools import paths
from clptools.core.durable import Durable
from clptools.reports import ClpError, ExitCode

SLOT_BYTES = 256 * 1024
"""Room for 32 servers' worth of groups with long names; a state above it is refused."""

_FINISHED = b"CLPS"
_UNFINISHED = b"CLPw"
_MEMBER = struct.Struct(">cI")
_STARTS_LIMIT = 2**31 - 1
_HEAD = struct.Struct(">4sQ16sI16s")


class Saved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One slot's content."""

    durable: Durable | None = None
    """None: the agent has no state (it never had, or it left)."""
    stopped: bool = False
    """`clpcl -t` stopped the cluster service since the last boot."""


_decoder = msgspec.msgpack.Decoder(Saved)


class Store:
    """The files that outlive an agent; one agent for each root, enforced by `flock`."""

    def __init__(self, boot_id: bytes) -> None:
        self._boot_id = boot_id
        self._sequence = 0
        self._slot = 0
        self._state = -1
        self._member_fd = -1
        self._lock = -1
        self.saved = Saved()
        self.member = False
        self.starts = 0
        """How often an agent was started here, this one included; for ever."""
        self.complaint = ""
        """One line when the state was there but could not be used; else empty."""

    def open(self) -> None:
        """Take the lock and read what is there.

        Raises ClpError when another agent has this root, or the files cannot be made.
        """
        try:
            os.makedirs(paths.run_dir(), mode=0o755, exist_ok=True)
            os.makedirs(paths.data_dir(), mode=0o700, exist_ok=True)
            self._take_lock()
            self._state = _preallocated(paths.state_file(), 2 * SLOT_BYTES)
            self._member_fd = _preallocated(_member_file(), _MEMBER.size)
        except OSError as error:
            self.close()
            raise ClpError(
                ExitCode.FAILED,
                f"{error.filename or paths.run_dir()}: {error.strerror}",
                "The agent needs a writable /run and /var/lib, with room for its state.",
            ) from None
        self._read_state()
        self._read_member()

    def close(self) -> None:
        """Close the files; the lock goes with them."""
        for fd in (self._state, self._member_fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._state = self._member_fd = self._lock = -1

    def persist(self, durable: Durable | None) -> None:
        """Write the state, before returning.  Raises OSError, or ClpError if it is too large."""
        self._write(msgspec.structs.replace(self.saved, durable=durable))

    def set_stopped(self, stopped: bool) -> None:
        """Remember whether the cluster service is stopped.  Raises like `persist`."""
        if stopped != self.saved.stopped:
            self._write(msgspec.structs.replace(self.saved, stopped=stopped))

    def set_member(self, member: bool) -> None:
        """Write the disk's bit; clearing is on the disk when this returns.  Raises OSError.

        A set bit that a power loss undoes only makes the next start more careful; a cleared
        bit that comes back would not.
        """
        self._write_member(member, self.starts)
        if not member:
            os.fsync(self._member_fd)
        self.member = member

    def _write(self, saved: Saved) -> None:
        body = msgspec.msgpack.encode(saved)
        if len(body) > SLOT_BYTES - _HEAD.size:
            raise ClpError(
                ExitCode.FAILED,
                f"{paths.state_file()}: the state has {len(body)} bytes, more than fit",
                "Fewer or shorter names of groups and resources make it fit.",
            )
        sequence = self._sequence + 1
        slot = 1 - self._slot
        at = slot * SLOT_BYTES
        os.pwrite(self._state, _UNFINISHED, at)
        if os.pwrite(self._state, body, at + _HEAD.size) != len(body):
            raise OSError(errno.EIO, "short write", paths.state_file())
        os.pwrite(self._state, _head(sequence, self._boot_id, body), at)
        self._sequence, self._slot, self.saved = sequence, slot, saved

    def _take_lock(self) -> None:
        path = paths.run_dir() + "/lock"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            raise ClpError(
                ExitCode.FAILED,
                f"{path}: another clpnode already runs here (process {other or 'unknown'})",
                "One root has one agent; CLP_ROOT=DIR gives another node its own.",
            ) from None
        with contextlib.suppress(OSError):  # the number is for people; a full disk may lack it
            os.pwrite(self._lock, f"{os.getpid():<16d}\n".encode(), 0)

    def _read_state(self) -> None:
        best: tuple[int, int, Saved] | None = None
        wrong = ""
        for slot in (0, 1):
            found = _slot_content(os.pread(self._state, SLOT_BYTES, slot * SLOT_BYTES))
            if isinstance(found, str):
                wrong = f"slot {slot} is {found}"
            elif found is not None and found[1] == self._boot_id:
                sequence, _, saved = found
                if best is None or sequence > best[0]:
                    best = (sequence, slot, saved)
        if best is not None:
            self._sequence, self._slot, self.saved = best
        if not wrong:
            return
        self.complaint = (
            f"{paths.state_file()}: {wrong}; starting without state: "
            "this server stops its groups before it says that it holds none"
        )
        self.saved = Saved(stopped=self.saved.stopped)
        for slot in (0, 1):
            os.pwrite(self._state, bytes(_HEAD.size), slot * SLOT_BYTES)

    def _read_member(self) -> None:
        bit, starts = _MEMBER.unpack(os.pread(self._member_fd, _MEMBER.size, 0))
        self.member = bit == b"1"
        self.starts = (starts + 1) % _STARTS_LIMIT
        self._write_member(self.member, self.starts)

    def _write_member(self, member: bool, starts: int) -> None:
        os.pwrite(self._member_fd, _MEMBER.pack(b"1" if member else b"0", starts), 0)


def _member_file() -> str:
    return paths.data_dir() + "/member"


def _preallocated(path: str, size: int) -> int:
    """Open `path`, with `size` bytes allocated on its file system."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        os.close(fd)
        error.filename = path
        raise
    return fd


def _checksum(sequence: int, boot_id: bytes, body: bytes) -> bytes:
    return hashlib.blake2b(struct.pack(">Q", sequence) + boot_id + body, digest_size=16).digest()


def _head(sequence: int, boot_id: bytes, body: bytes) -> bytes:
    checksum = _checksum(sequence, boot_id, body)
    return _HEAD.pack(_FINISHED, sequence, boot_id, len(body), checksum)


def _slot_content(data: bytes) -> tuple[int, bytes, Saved] | str | None:
    """(sequence, boot id, content); None where nothing was finished; or what is wrong."""
    if len(data) < _HEAD.size:
        return "cut short"
    magic, sequence, boot_id, length, checksum = _HEAD.unpack_from(data)
    if magic in (_UNFINISHED, bytes(4)):
        return None
    if magic != _FINISHED:
        return "garbled"
    body = data[_HEAD.size : _HEAD.size + length]
    if len(body) != length or _checksum(sequence, boot_id, body) != checksum:
        return "garbled"
    try:
        return sequence, boot_id, _decoder.decode(body)
    except msgspec.MsgspecError as error:
        return f"not understood ({error})"
