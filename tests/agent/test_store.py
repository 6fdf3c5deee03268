"""An agent that is killed at any moment finds its state again; a garbled one is no state."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from clptools import paths
from clptools.agent import clock, notices
from clptools.agent.store import LEDGER_BYTES, Store
from clptools.agent.store import STATE_BYTES as SLOT_BYTES
from clptools.core.model.durable import Durable, HeldGroup, LedgerFile, OpenEntry
from clptools.core.model.messages import Epoch, Term
from clptools.faults import ClpError, ExitCode

BOOT = bytes(range(16))


def durable(n: int) -> Durable:
    held = HeldGroup(group="failover1", seen=Epoch(3, "inc", n), held=True, state="online")
    return Durable(term=Term(n, "inc"), vote="server1", groups=(held,))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    yield tmp_path


def opened(boot: bytes = BOOT) -> Store:
    store = Store(boot)
    store.lock()
    store.open()
    return store


def reopened(store: Store, boot: bytes = BOOT) -> Store:
    store.close()
    return opened(boot)


def test_a_first_start_has_no_state(root: Path) -> None:
    store = opened()
    assert store.saved.durable is None
    assert not store.member
    assert store.complaints == []


def test_what_was_written_last_is_found(root: Path) -> None:
    store = opened()
    for n in range(1, 6):
        store.persist(durable(n))
        store = reopened(store)
        assert store.saved.durable == durable(n)


def test_a_garbled_member_file_is_told_and_counts_as_left(root: Path) -> None:
    store = opened()
    store.set_member(True)
    store.close()
    path = root / "var/lib/clptools/member"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    store = opened()
    assert not store.member
    assert store.complaints == [notices.MemberUnusable(str(path))]
    assert reopened(store).complaints == []


def test_another_boot_has_no_state_but_still_the_member_bit(root: Path) -> None:
    store = opened()
    store.persist(durable(1))
    store.set_stopped(True)
    store.set_member(True)
    store = reopened(store, b"x" * 16)
    assert store.saved.durable is None
    assert not store.saved.stopped
    assert store.member
    assert store.complaints == []


def test_leaving_deletes_the_state_and_clears_the_bit(root: Path) -> None:
    store = opened()
    store.set_member(True)
    store.persist(durable(1))
    store.set_stopped(True)
    store.set_member(False)
    store.persist(None)
    store = reopened(store)
    assert store.saved.durable is None
    assert store.saved.stopped
    assert not store.member


@pytest.mark.parametrize("keep", [0, 4, 100])
def test_a_write_cut_off_by_a_kill_leaves_the_state_before_it(root: Path, keep: int) -> None:
    """The marker and part of the body are written, then the agent dies."""
    store = opened()
    store.persist(durable(1))
    store.persist(durable(2))  # in slot 0, since the first went to slot 1
    store.close()
    with open(paths.state_file(), "r+b") as file:
        file.seek(SLOT_BYTES)
        file.write(b"CLPw")
        file.seek(SLOT_BYTES + 48)
        file.write(b"\xff" * keep)
    store = opened()
    assert store.saved.durable == durable(2)
    assert store.complaints == []


@pytest.mark.parametrize("at", [0, 30, 60])
def test_a_garbled_state_is_no_state_and_is_said_once(root: Path, at: int) -> None:
    store = opened()
    store.persist(durable(1))
    store.set_stopped(True)
    store.persist(durable(2))
    store.close()
    with open(paths.state_file(), "r+b") as file:
        for slot in (0, 1):
            file.seek(slot * SLOT_BYTES + at)
            file.write(b"\xa5\xa5")
    store = opened()
    assert store.saved.durable is None
    (complaint,) = store.complaints
    assert isinstance(complaint, notices.StateUnusable)
    assert paths.state_file() in complaint.told()
    assert "\n" not in complaint.told()
    store = reopened(store)
    assert store.complaints == []


def test_a_newest_slot_garbled_after_it_was_finished_does_not_bring_the_older_back(
    root: Path,
) -> None:
    store = opened()
    store.persist(durable(1))
    store.persist(durable(2))
    store.close()
    with open(paths.state_file(), "r+b") as file:
        file.seek(60)
        file.write(b"\xa5\xa5")
    store = opened()
    assert store.saved.durable is None
    assert store.complaints


def test_a_state_that_does_not_fit_is_refused_and_the_old_one_stays(root: Path) -> None:
    store = opened()
    store.persist(durable(1))
    huge = Durable(vote="x" * SLOT_BYTES)
    with pytest.raises(ClpError, match="do not fit"):
        store.persist(huge)
    store = reopened(store)
    assert store.saved.durable == durable(1)


def test_two_agents_never_share_a_root(root: Path) -> None:
    first = opened()
    with pytest.raises(ClpError, match=f"already runs here .process {os.getpid()}"):
        opened()
    first.close()
    opened().close()


def entry(n: int, text: str = "processor 1: internal error") -> OpenEntry:
    return OpenEntry(
        id=n, monitor="mrw1", key=f"k{n}", event_class="FATAL", meaning=text, source="192.0.2.1",
        first_at=1_000 + n, last_at=2_000 + n,
    )  # fmt: skip


def test_open_hardware_events_outlive_the_boot_with_their_ages(root: Path) -> None:
    store = opened()
    ledger = LedgerFile(next_event=3, entries=(entry(1), entry(2)))
    store.keep_ledger(ledger, now=10_000, wall=500.0)
    same = reopened(store)
    assert same.ledger(now=11_000, wall=501.0) == ledger
    later = reopened(same, b"x" * 16)
    found = later.ledger(now=4_000, wall=560.0)
    assert found.next_event == 3
    # The first began 8.999 s before it was kept, that is 68.999 s before now.
    assert [e.first_at for e in found.entries] == [4_000 - 68_999, 4_000 - 68_998]
    back = later.ledger(now=4_000, wall=100.0)  # a wall clock that went back
    assert [e.first_at for e in back.entries] == [4_000 - 8_999, 4_000 - 8_998]


def test_a_ledger_that_does_not_fit_loses_its_oldest_events(root: Path) -> None:
    store = opened()
    ledger = LedgerFile(entries=tuple(entry(n, "x" * 1_000) for n in range(2_000)))
    store.keep_ledger(ledger, now=10_000, wall=500.0)
    kept = reopened(store).ledger(now=10_000, wall=500.0).entries
    assert 100 < len(kept) < 2_000
    assert kept[-1] == ledger.entries[-1]


def test_a_ledger_that_does_not_fit_loses_its_fatal_events_last(root: Path) -> None:
    store = opened()
    lesser = [
        msgspec.structs.replace(entry(n, "x" * 1_000), event_class="INFO") for n in range(999)
    ]
    ledger = LedgerFile(entries=(*(entry(n) for n in range(100)), *lesser))
    store.keep_ledger(ledger, now=10_000, wall=500.0)
    kept = reopened(store).ledger(now=10_000, wall=500.0).entries
    assert 100 < len(kept) < 1_000
    assert kept[:100] == ledger.entries[:100]
    assert kept[-1] == ledger.entries[-1]


def test_a_garbled_ledger_is_said_and_empty(root: Path) -> None:
    store = opened()
    store.keep_ledger(LedgerFile(entries=(entry(1),)), now=1, wall=1.0)
    store.close()
    with open(paths.data_dir() + "/ledger", "r+b") as file:
        file.seek(LEDGER_BYTES + 60)
        file.write(b"\xa5\xa5")
    store = opened()
    assert store.ledger(now=2, wall=2.0) == LedgerFile()
    assert isinstance(store.complaints[0], notices.LedgerUnusable)


def test_starts_are_counted_for_ever(root: Path) -> None:
    store = opened()
    assert store.starts == 1
    store.set_member(True)
    store = reopened(store, b"x" * 16)
    assert store.starts == 2
    assert store.member


# The boot


def boot_file() -> Path:
    return Path(paths.data_dir() + "/boot")


def test_the_first_agent_of_each_boot_knows_that_it_is(root: Path) -> None:
    store = opened()
    assert (store.first_of_boot, store.noted) == (True, True), "the first agent ever"
    store = reopened(store)
    assert (store.first_of_boot, store.noted) == (False, True)
    store = reopened(store, b"x" * 16)
    assert (store.first_of_boot, store.noted) == (True, True)
    assert boot_file().read_text().strip() == (b"x" * 16).hex()
    store = reopened(store, b"x" * 16)
    assert not store.first_of_boot


@pytest.mark.parametrize("left", ["journal", "ledger", "member"])
def test_where_an_older_version_ran_nothing_is_known_of_this_boot(root: Path, left: str) -> None:
    os.makedirs(paths.data_dir())
    Path(paths.data_dir(), left).touch()
    store = opened()
    assert (store.first_of_boot, store.noted) == (False, True)


@pytest.mark.parametrize("content", [None, b"", b"\xff\x00", b"0" * 31, b"0" * 33])
def test_a_note_that_is_lost_or_garbled_within_a_boot_is_no_boot(
    root: Path, content: bytes | None
) -> None:
    store = opened()
    store.close()
    if content is None:
        boot_file().unlink()
    else:
        boot_file().write_bytes(content)
    store = opened()
    assert (store.first_of_boot, store.noted) == (False, True)


def test_a_state_of_this_boot_says_that_an_agent_ran_whatever_the_note_says(root: Path) -> None:
    store = opened()
    store.persist(durable(1))
    store.close()
    boot_file().write_text("0" * 32)
    assert not opened().first_of_boot


@pytest.mark.parametrize("before", [None, b"0" * 32])
def test_purged_or_restored_within_a_boot_is_not_first_of_it(
    root: Path, before: bytes | None
) -> None:
    """What the agent of before started may run: a grant elsewhere would make it two."""
    opened().close()
    shutil.rmtree(paths.data_dir())
    shutil.rmtree(paths.run_dir())
    if before is not None:
        os.makedirs(paths.data_dir())
        boot_file().write_bytes(before)
    store = opened()
    assert (store.first_of_boot, store.noted) == (False, True)
    store = reopened(store, b"x" * 16)
    assert (store.first_of_boot, store.noted) == (True, True)


def test_a_mark_of_somebody_else_says_nothing_and_is_replaced(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = Path(paths.boot_mark_file())
    target = root / "target"
    target.write_bytes(BOOT)
    mark.parent.mkdir(parents=True)
    mark.symlink_to(target)
    store = opened()
    assert store.first_of_boot
    assert not mark.is_symlink()
    assert (mark.read_bytes(), target.read_bytes()) == (BOOT, BOOT)
    assert not store.complaints


def test_a_boot_that_cannot_be_marked_is_told_and_all_else_is_as_before(root: Path) -> None:
    Path(paths.boot_mark_file()).mkdir(parents=True)
    store = opened()
    assert (store.first_of_boot, store.noted) == (True, True)
    assert [type(each) for each in store.complaints] == [notices.BootNotMarked]


def test_the_boot_is_on_the_disk_before_anybody_hears_of_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file first, then its name."""
    synced: list[str] = []
    fsync = os.fsync

    def noting(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noting)
    opened()
    assert synced == [f"{boot_file()}.new", paths.data_dir()]


def test_a_boot_that_cannot_be_noted_is_told_with_the_mend(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = opened()
    store.close()
    monkeypatch.setattr(os, "fsync", full)
    store = opened(b"x" * 16)
    assert (store.first_of_boot, store.noted) == (True, False)
    path = f"{paths.data_dir()}/boot"
    assert store.complaints == [notices.BootNotNoted(path, "No space left on device")]
    with pytest.raises(OSError):
        store.note_boot_again()
    monkeypatch.undo()
    monkeypatch.setenv("CLP_ROOT", str(root))
    assert store.note_boot_again() and store.noted
    assert not store.note_boot_again(), "it is noted already"
    again = reopened(store, b"x" * 16)
    assert (again.first_of_boot, again.noted) == (False, True)


def test_a_node_below_a_root_boots_when_its_file_says_so(root: Path) -> None:
    machine = clock.boot_id()
    own = root / "proc/sys/kernel/random/boot_id"
    own.parent.mkdir(parents=True)
    own.write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    assert clock.boot_id().hex() == "0123456789abcdef" * 2
    own.unlink()
    assert clock.boot_id() == machine


# What is gone from /run


@pytest.mark.parametrize("by", ["agent", "write"])
def test_a_state_that_was_removed_is_written_again(root: Path, by: str) -> None:
    store = opened()
    store.persist(durable(1))
    assert not store.keep_run()
    shutil.rmtree(paths.run_dir())
    if by == "agent":
        assert store.keep_run()
        assert not store.keep_run()
    else:
        store.persist(durable(1))
    store = reopened(store)
    assert store.saved.durable == durable(1)


def test_a_file_put_in_place_of_the_state_does_not_count(root: Path) -> None:
    store = opened()
    for n in range(1, 9):
        store.persist(durable(n))
    os.rename(paths.state_file(), str(root / "old"))
    store.keep_run()
    store.persist(durable(9))
    os.rename(str(root / "old"), paths.state_file())
    assert store.keep_run()
    store = reopened(store)
    assert store.saved.durable == durable(9)


def test_an_old_boots_state_is_not_made_one_of_this_boot(root: Path) -> None:
    store = opened()
    store.persist(durable(1))
    store = reopened(store, b"x" * 16)
    os.unlink(paths.state_file())
    assert store.keep_run()
    assert reopened(store, b"x" * 16).saved.durable is None


@pytest.mark.parametrize("place", ["run", "data"])
def test_a_lock_that_was_removed_keeps_the_second_agent_out(root: Path, place: str) -> None:
    store = opened()
    folder = paths.run_dir() if place == "run" else paths.data_dir()
    os.unlink(folder + "/lock")
    for made in (True, False):
        second = Store(BOOT)
        with pytest.raises(ClpError, match=f"process {os.getpid()}") as raised:
            second.lock()
        assert raised.value.code == ExitCode.REFUSED
        second.close()
        assert (store.keep_run() or store.keep_disk()) is made


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="SKIPPED LOUDLY: another user needs root")
def test_another_users_process_with_the_agents_name_keeps_no_agent_out(root: Path) -> None:
    """The kernel's names are open to everybody."""
    squat = """
import os, socket, sys, ctypes
sock = socket.socket(socket.AF_UNIX)
os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 0)  # not dumpable: its folder in /proc is root's
sock.bind("\\0" + sys.argv[1])
print("bound", flush=True)
sys.stdin.read()
"""
    found = os.stat(root)
    name = f"clptools/agent/{found.st_dev:x}:{found.st_ino:x}"
    line = [sys.executable, "-c", squat, name]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        store = opened()
        (complaint,) = store.complaints
        assert isinstance(complaint, notices.NameTaken)
        assert f"process {other.pid}" in complaint.told()
        other.communicate()
    store.close()
