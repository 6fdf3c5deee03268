"""What the next agent must find: the state in `/run`, the `member` bit, the ledger, the lock.

The state ends with the boot, and needs no fsync for that reason: power loss ends the boot.  The
bit and the ledger of open hardware events are on the disk.  All of these files are allocated
when the agent starts, and overwritten in place.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct

import msgspec

from clptools import paths
from clptools.agent.slots import Slots, TooLarge, preallocated
from clptools.core.durable import Durable, LedgerFile, OpenEntry
from clptools.reports import ClpError, ExitCode

logger = logging.getLogger(__name__)

STATE_BYTES = 256 * 1024
"""Room for 32 servers' worth of groups with long names; a state above it is refused."""
LEDGER_BYTES = 512 * 1024

_MEMBER = struct.Struct(">cI")
_STARTS_LIMIT = 2**31 - 1


class Saved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state in `/run`."""

    durable: Durable | None = None
    """None: the agent has no state (it never had, or it left)."""
    stopped: bool = False
    """`clpcl -t` stopped the cluster service since the last boot."""


class _KeptLedger(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger on the disk, with what turns its instants into those of a later boot."""

    now: int
    wall: float
    ledger: LedgerFile


_saved = msgspec.msgpack.Decoder(Saved)
_kept = msgspec.msgpack.Decoder(_KeptLedger)


class Store:
    """The files that outlive an agent; one agent for each root, enforced by `flock`."""

    def __init__(self, boot_id: bytes) -> None:
        self._boot_id = boot_id
        self._state = Slots(paths.state_file(), STATE_BYTES, boot_id)
        self._ledger = Slots(paths.data_dir() + "/ledger", LEDGER_BYTES, boot_id)
        self._member_fd = -1
        self._lock = -1
        self.saved = Saved()
        self.member = False
        self.starts = 0
        """How often an agent was started here, this one included; for ever."""
        self.complaints: list[str] = []
        """A line for each file that was there but could not be used."""

    def open(self) -> None:
        """Take the lock and read what is there.

        Raises ClpError when another agent has this root, or the files cannot be made.
        """
        try:
            os.makedirs(paths.run_dir(), mode=0o755, exist_ok=True)
            os.makedirs(paths.data_dir(), mode=0o700, exist_ok=True)
            self._take_lock()
            self._state.open()
            self._ledger.open()
            self._member_fd = preallocated(paths.data_dir() + "/member", _MEMBER.size)
            self._read_state()
            self._read_member()
        except OSError as error:
            self.close()
            raise ClpError(
                ExitCode.FAILED,
                f"{error.filename or paths.run_dir()}: {error.strerror}",
                "The agent needs a writable /run and /var/lib, with room for its state.",
            ) from None

    def close(self) -> None:
        """Close the files; the lock goes with them."""
        self._state.close()
        self._ledger.close()
        for fd in (self._member_fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._member_fd = self._lock = -1

    # The state

    def persist(self, durable: Durable | None) -> None:
        """Write the state, before returning.  Raises OSError, or ClpError if it is too large."""
        self._write(msgspec.structs.replace(self.saved, durable=durable))

    def set_stopped(self, stopped: bool) -> None:
        """Remember whether the cluster service is stopped.  Raises like `persist`."""
        if stopped != self.saved.stopped:
            self._write(msgspec.structs.replace(self.saved, stopped=stopped))

    def _write(self, saved: Saved) -> None:
        try:
            self._state.write(msgspec.msgpack.encode(saved))
        except TooLarge as error:
            raise ClpError(
                ExitCode.FAILED,
                f"{self._state.path}: {error}",
                "Fewer or shorter names of groups and resources make the state fit.",
            ) from None
        self.saved = saved

    def _read_state(self) -> None:
        wrong = self._state.wrong
        if self._state.content is not None and self._state.boot == self._boot_id:
            try:
                self.saved = _saved.decode(self._state.content)
            except msgspec.MsgspecError as error:
                wrong = f"not understood ({error})"
                self._state.forget()
        if wrong:
            self.complaints.append(
                f"{self._state.path}: {wrong}; starting without state: "
                "this server stops its groups before it says that it holds none"
            )

    # The bit

    def set_member(self, member: bool) -> None:
        """Write the disk's bit; clearing is on the disk when this returns.  Raises OSError.

        A set bit that a power loss undoes only makes the next start more careful; a cleared
        bit that comes back would not.
        """
        self._write_member(member, self.starts)
        if not member:
            os.fsync(self._member_fd)
        self.member = member

    def _read_member(self) -> None:
        bit, starts = _MEMBER.unpack(os.pread(self._member_fd, _MEMBER.size, 0))
        self.member = bit == b"1"
        self.starts = (starts + 1) % _STARTS_LIMIT
        self._write_member(self.member, self.starts)

    def _write_member(self, member: bool, starts: int) -> None:
        os.pwrite(self._member_fd, _MEMBER.pack(b"1" if member else b"0", starts), 0)

    # The ledger

    def ledger(self, now: int, wall: float) -> LedgerFile:
        """The open hardware events, their instants on this boot's clock."""
        wrong = self._ledger.wrong
        content = self._ledger.content
        if content is not None:
            try:
                return _shifted(_kept.decode(content), now, wall, self._ledger.boot, self._boot_id)
            except msgspec.MsgspecError as error:
                wrong = f"not understood ({error})"
        if wrong:
            self.complaints.append(
                f"{self._ledger.path}: {wrong}; no hardware event counts as open"
            )
        return LedgerFile()

    def keep_ledger(self, ledger: LedgerFile, now: int, wall: float) -> None:
        """Bring the ledger to the disk; may block, so the disk thread calls it.  Raises OSError.

        What does not fit loses its oldest events, those that are not fatal first: 2,000 open
        faults are one fault.
        """
        entries = ledger.entries
        while True:
            kept = msgspec.structs.replace(ledger, entries=entries)
            try:
                self._ledger.write(
                    msgspec.msgpack.encode(_KeptLedger(now=now, wall=wall, ledger=kept))
                )
            except TooLarge:
                entries = _fewer(entries)
            else:
                self._ledger.sync()
                return

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


def _fewer(entries: tuple[OpenEntry, ...]) -> tuple[OpenEntry, ...]:
    """The same without its oldest quarter; fatal ones go last."""
    ranked = sorted(entries, key=lambda entry: entry.event_class == "FATAL")
    gone = set(map(id, ranked[: len(entries) // 4 + 1]))
    return tuple(entry for entry in entries if id(entry) not in gone)


def _shifted(
    kept: _KeptLedger, now: int, wall: float, written_in: bytes, boot_id: bytes
) -> LedgerFile:
    """The ledger with instants of this boot: by wall clock, where the boot is another."""
    if written_in == boot_id:
        return kept.ledger
    away_ms = max(0, round((wall - kept.wall) * 1000))
    shift = now - away_ms - kept.now
    return msgspec.structs.replace(
        kept.ledger,
        entries=tuple(
            msgspec.structs.replace(
                entry, first_at=entry.first_at + shift, last_at=entry.last_at + shift
            )
            for entry in kept.ledger.entries
        ),
    )
