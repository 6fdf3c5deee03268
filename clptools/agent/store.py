"""What the next agent must find: the state in `/run`, the `member` bit, the ledger, the boot.

The state ends with the boot, and needs no fsync for that reason: power loss ends the boot.  The
bit, the ledger of open hardware events and the id of the boot are on the disk.  The files but the
last are allocated when the agent starts, and overwritten in place; what is gone from `/run` while
the agent lives is made again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import stat
import struct

import msgspec

from clptools import paths
from clptools.agent import notices
from clptools.agent.lock import AgentLock
from clptools.agent.slots import MAY_PASS, Slots, TooLarge, preallocated
from clptools.core.model.durable import Durable, LedgerFile, OpenEntry
from clptools.core.model.words import EventClass
from clptools.core.notices.form import Notice
from clptools.faults import ClpError, ExitCode

logger = logging.getLogger(__name__)

STATE_BYTES = 256 * 1024
"""Room for 32 servers' worth of groups with long names; a state above it is refused."""
LEDGER_BYTES = 512 * 1024

_BOOT_ID_BYTES = 16
_BOOT_ID = re.compile(rb"[0-9a-f]{32}")
_MEMBER = struct.Struct(">cI")
_STARTS_LIMIT = 2**31 - 1


class NoRoom(ClpError):
    """`/run` cannot be written now; it may be tried again."""


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
    """The files that outlive an agent, and the locks that leave one agent for each root."""

    def __init__(self, boot_id: bytes) -> None:
        self._boot_id = boot_id
        self._state = Slots(paths.state_file(), STATE_BYTES, boot_id)
        self._ledger = Slots(paths.data_dir() + "/ledger", LEDGER_BYTES, boot_id)
        self._member_fd = -1
        self._lock = AgentLock()
        self._known = False
        """An agent ran here before, perhaps of a version that noted no boot."""
        self.saved = Saved()
        self.member = False
        self.starts = 0
        """How often an agent was started here, this one included; for ever."""
        self.first_of_boot = False
        """No agent was started here before since the host booted."""
        self.noted = False
        """This boot's id is on the disk, so that the next agent knows that it is not the first."""
        self.complaints: list[Notice] = []
        """One for each file that was there but could not be used."""

    def lock(self) -> None:
        """Make sure that no other agent has this root; needs nothing of `/run`.

        Raises ClpError: REFUSED for another agent, FAILED if `/var/lib` cannot be written.
        """
        try:
            os.makedirs(paths.data_dir(), mode=0o700, exist_ok=True)
            self._lock.take_disk()
            traces = ("journal", "ledger", "member")
            self._known = any(os.path.exists(f"{paths.data_dir()}/{name}") for name in traces)
        except OSError as error:
            raise _unusable(error, paths.data_dir()) from None
        if self._lock.foreign:
            self.complaints.append(notices.NameTaken(self._lock.foreign))

    def open(self) -> None:
        """Read what is there; `lock` came before.

        Raises ClpError: REFUSED for another agent, FAILED if the files cannot be made; `open` may
        be tried again if only `/run` is short of room (`NoRoom`).
        """
        try:
            self._ledger.open()
            self._member_fd = preallocated(paths.data_dir() + "/member", _MEMBER.size)
            self._open_run()
            self._read_state()
            self._read_member()
        except OSError as error:
            self._close_files()
            raise _unusable(error, paths.run_dir()) from None
        except ClpError:
            self._close_files()
            raise
        self._note_boot()

    def _open_run(self) -> None:
        try:
            os.makedirs(paths.run_dir(), mode=0o755, exist_ok=True)
            self._lock.take_run()
            self._state.open()
        except OSError as error:
            if error.errno not in MAY_PASS:
                raise
            raise NoRoom(
                ExitCode.FAILED,
                f"{error.filename or paths.run_dir()}: {error.strerror}; nothing is started or "
                "stopped until the state can be written",
                f"It is tried again by itself.  See: df -h {paths.run_dir()}; mount",
            ) from None

    def close(self) -> None:
        """Close the files and give up the locks."""
        self._close_files()
        self._lock.release()

    def _close_files(self) -> None:
        self._state.close()
        self._ledger.close()
        if self._member_fd >= 0:
            os.close(self._member_fd)
        self._member_fd = -1

    def keep_run(self) -> bool:
        """Recreate what is missing from `/run`; returns whether anything was.

        Raises OSError, ClpError.
        """
        locked = self._lock.keep_run()
        return self._state.keep() or locked

    def keep_disk(self) -> bool:
        """The same for the lock below `/var/lib`; may block on a disk that hangs."""
        return self._lock.keep_disk()

    # The boot

    def _note_boot(self) -> None:
        """Find out whether this is the first agent of this boot, and note the boot on the disk.

        It is on the disk before anything is stopped: after an agent that was killed meanwhile, the
        next one must not think that nothing runs yet.  Where no boot is noted the first agent ever
        is the first of this boot; an older version's successor may not be.

        Nor is an agent whose folders were purged within the boot, or restored from an earlier copy,
        as the mark in `/dev/shm` shows.
        """
        path = paths.data_dir() + "/boot"
        marked = _marked_boot() == self._boot_id
        ran = marked or (self._state.content is not None and self._state.boot == self._boot_id)
        try:
            with open(path, "rb") as file:
                noted = file.read(64).strip()
        except FileNotFoundError:
            noted = b""
        except OSError as error:
            self._not_noted(error)
            return
        present = self._boot_id.hex().encode()
        self.noted = noted == present
        another = bool(_BOOT_ID.fullmatch(noted)) and not self.noted
        self.first_of_boot = not ran and (another or (not noted and not self._known))
        if not self.noted:
            try:
                _write_durably(path, present + b"\n")
            except OSError as error:
                self._not_noted(error)
                return
            self.noted = True
        if not marked:
            self._mark_boot()

    def note_boot_again(self) -> bool:
        """Note the boot on the disk if that failed at the start; returns whether it had.

        May block on a disk that hangs.  Raises OSError.
        """
        if self.noted:
            return False
        _write_durably(paths.data_dir() + "/boot", self._boot_id.hex().encode() + b"\n")
        self.noted = True
        if _marked_boot() != self._boot_id:
            self._mark_boot()
        return True

    def _mark_boot(self) -> None:
        """Make the mark in `/dev/shm`; without it the folders alone tell."""
        path = paths.boot_mark_file()
        try:
            if paths.root():
                os.makedirs(os.path.dirname(path), exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            # Any user may make files there: never write to one that is there already.
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, self._boot_id)
            finally:
                os.close(fd)
        except OSError as error:
            self.complaints.append(notices.BootNotMarked(path, str(error.strerror)))

    def _not_noted(self, error: OSError) -> None:
        path = f"{paths.data_dir()}/boot"
        self.complaints.append(notices.BootNotNoted(path, str(error.strerror)))

    # The state

    def persist(self, durable: Durable | None) -> None:
        """Write the state, before returning.  Raises OSError, or ClpError if it is too large."""
        self._write(msgspec.structs.replace(self.saved, durable=durable))

    def set_stopped(self, stopped: bool) -> None:
        """Remember whether the cluster service is stopped.  Raises like `persist`."""
        if stopped != self.saved.stopped:
            self._write(msgspec.structs.replace(self.saved, stopped=stopped))

    def _write(self, saved: Saved) -> None:
        # Otherwise others would be told of a state in a removed file, which is not kept.
        self._state.keep()
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
            self.complaints.append(notices.StateUnusable(self._state.path, wrong))

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
        found = os.pread(self._member_fd, _MEMBER.size, 0)
        bit, starts = _MEMBER.unpack(found)
        if bit not in (b"0", b"1") and found != bytes(_MEMBER.size):  # zeros: a new file
            self.complaints.append(notices.MemberUnusable(paths.data_dir() + "/member"))
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
            self.complaints.append(notices.LedgerUnusable(self._ledger.path, wrong))
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


def _marked_boot() -> bytes:
    """The boot in which an agent marked that it ran; empty: there is no mark of ours.

    Any user may put a file there.  It would only make an agent more careful, and is ignored.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(paths.boot_mark_file(), flags)
    except OSError:
        return b""
    try:
        found = os.fstat(fd)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid in (0, os.geteuid())
        return os.read(fd, _BOOT_ID_BYTES) if ours else b""
    except OSError:
        return b""
    finally:
        os.close(fd)


def _write_durably(path: str, content: bytes) -> None:
    """Replace a small file; it is on the disk when this returns.  Raises OSError."""
    new = path + ".new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(fd, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), new)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(new, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _unusable(error: OSError, where: str) -> ClpError:
    return ClpError(
        ExitCode.FAILED,
        f"{error.filename or where}: {error.strerror}",
        "The agent needs a writable /run and /var/lib, with room for its state.",
    )


def _fewer(entries: tuple[OpenEntry, ...]) -> tuple[OpenEntry, ...]:
    """The same without its oldest quarter; fatal ones go last."""
    ranked = sorted(entries, key=lambda entry: entry.event_class == EventClass.FATAL)
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
