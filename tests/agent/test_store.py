"""An agent that is killed at any moment finds its state again; a garbled one is no state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from clptools import paths
from clptools.agent.store import SLOT_BYTES, Store
from clptools.core.durable import Durable, HeldGroup
from clptools.core.messages import Epoch, Term
from clptools.reports import ClpError

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
    store.open()
    return store


def reopened(store: Store, boot: bytes = BOOT) -> Store:
    store.close()
    return opened(boot)


def test_a_first_start_has_no_state(root: Path) -> None:
    store = opened()
    assert store.saved.durable is None
    assert not store.member
    assert store.complaint == ""


def test_what_was_written_last_is_found(root: Path) -> None:
    store = opened()
    for n in range(1, 6):
        store.persist(durable(n))
        store = reopened(store)
        assert store.saved.durable == durable(n)


def test_another_boot_has_no_state_but_still_the_member_bit(root: Path) -> None:
    store = opened()
    store.persist(durable(1))
    store.set_stopped(True)
    store.set_member(True)
    store = reopened(store, b"x" * 16)
    assert store.saved.durable is None
    assert not store.saved.stopped
    assert store.member
    assert store.complaint == ""


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
    assert store.complaint == ""


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
    assert paths.state_file() in store.complaint
    assert "\n" not in store.complaint
    store = reopened(store)
    assert store.complaint == ""


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
    assert store.complaint


def test_a_state_that_does_not_fit_is_refused_and_the_old_one_stays(root: Path) -> None:
    store = opened()
    store.persist(durable(1))
    huge = Durable(vote="x" * SLOT_BYTES)
    with pytest.raises(ClpError, match="more than fit"):
        store.persist(huge)
    store = reopened(store)
    assert store.saved.durable == durable(1)


def test_two_agents_never_share_a_root(root: Path) -> None:
    first = opened()
    with pytest.raises(ClpError, match=f"already runs here .process {os.getpid()}"):
        opened()
    first.close()
    opened().close()
