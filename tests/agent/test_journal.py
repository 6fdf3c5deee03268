"""What the core was told can be read back, whatever happens to the disk or the agent."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clptools.agent.journal import Journal
from clptools.agent.notices import JournalUnwritten, JournalWritten
from clptools.core.model.events import BeatSeen, Event, MessageSeen, TimerFired
from clptools.core.model.messages import Beat, Epoch, Holding, Term
from clptools.core.model.settings import Settings
from clptools.core.report import journal as form
from tests.noticed import Noticed


class Bench:
    """A journal in a folder, with what it told people."""

    def __init__(self, folder: Path, budget: int = 1 << 20) -> None:
        self.folder = folder
        self.alerts = Noticed()
        self.stepped = 0
        self.disk = ThreadPoolExecutor(1)
        self.journal = Journal(str(folder), budget, self.head, self.disk, self.alerts.take)

    def head(self, number: int) -> form.Head:
        return form.Head(
            server="server1",
            incarnation="abc",
            number=number,
            now=self.stepped,
            wall=0.0,
            settings=Settings(),
            snapshot=b"stepped %d" % self.stepped,
        )

    def tell(self, event: Event) -> None:
        self.journal.append(self.stepped, event)
        self.stepped += 1

    def segments(self) -> list[tuple[form.Head, list[form.Entry]]]:
        files = sorted(self.folder.glob("*.clpj"))
        return [(head, list(rest)) for head, rest in (form.read(f.read_bytes()) for f in files)]


def beat(n: int) -> BeatSeen:
    return BeatSeen(
        link="lankhb1",
        beat=Beat(
            sender="server2",
            to="server1",
            incarnation="0123456789abcdef",
            seq=n,
            sent_at=n * 200,
            term=Term(3, "0123456789abcdef"),
            coordinator="server1",
            hears=("server1",),
            holdings=(
                Holding(group="failover1", seen=Epoch(3, "x", 2), held=True, state="online"),
            ),
        ),
    )


async def test_events_come_back_as_they_were_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "journal")
    told: list[Event] = [beat(1), TimerFired(name="beat"), MessageSeen(category="NIC")]
    for event in told:
        bench.tell(event)
    await bench.journal.durable()
    [(head, entries)] = bench.segments()
    assert head.snapshot == b"stepped 0"
    assert [(e.now, e.event) for e in entries] == list(enumerate(told))
    await bench.journal.close()


async def test_a_segment_cut_anywhere_gives_what_came_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "journal")
    for n in range(40):
        bench.tell(beat(n))
        await bench.journal.durable()
    await bench.journal.close()
    [file] = bench.folder.glob("*.clpj")
    whole = file.read_bytes()
    counts = []
    for end in range(len(whole), 600, -37):
        _, entries = form.read(whole[:end])
        numbers = [e.now for e in entries]
        assert numbers == list(range(len(numbers)))
        counts.append(len(numbers))
    assert counts[0] == 40
    assert counts == sorted(counts, reverse=True)
    for end in range(60):
        with pytest.raises(form.BadJournal):
            form.read(whole[:end])


async def test_heartbeats_take_few_bytes(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "journal")
    for n in range(600):  # a minute of one peer, flushed as it would be
        bench.tell(beat(n))
        if n % 20 == 19:
            await bench.journal.durable()
    await bench.journal.close()
    [file] = bench.folder.glob("*.clpj")
    assert file.stat().st_size / 600 < 40


async def test_segments_begin_with_a_snapshot_and_stay_within_their_budget(tmp_path: Path) -> None:
    budget = 512 * 1024
    bench = Bench(tmp_path / "journal", budget)
    import random

    chance = random.Random(1)
    for _ in range(300):
        bench.tell(MessageSeen(category="NIC", text=chance.randbytes(2_400).hex()))
        await bench.journal.durable()
    await bench.journal.close()
    used = sum(f.stat().st_size for f in bench.folder.glob("*.clpj"))
    assert used <= budget * 1.05
    segments = bench.segments()
    assert len(segments) > 3
    for head, entries in segments:
        assert head.snapshot == b"stepped %d" % entries[0].now


async def test_a_disk_that_takes_nothing_costs_one_alert_and_the_journal_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clptools.agent.journal._RETRY_S", 0.05)

    bench = Bench(tmp_path / "journal")
    bench.folder.write_text("a file where the folder belongs")
    for _ in range(3):
        bench.tell(MessageSeen(category="NIC"))
        with pytest.raises(OSError):
            await bench.journal.durable()
    assert len(bench.alerts) == 1
    assert bench.alerts.kinds == [JournalUnwritten]
    assert "goes on without it" in bench.alerts[0]
    bench.folder.unlink()
    await asyncio.sleep(0.06)
    bench.tell(MessageSeen(category="FC"))
    await bench.journal.durable()
    assert bench.alerts.kinds[1:] == [JournalWritten]
    assert bench.journal.lost == 3
    [(head, entries)] = bench.segments()
    assert head.snapshot == b"stepped 3"
    assert len(entries) == 1
    await bench.journal.close()


@pytest.mark.parametrize("room", [0, 100])
async def test_a_full_disk_is_not_littered_with_segments_that_nobody_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """A file can still be made there, but its head finds no room."""
    monkeypatch.setattr("clptools.agent.journal._RETRY_S", 0.0)
    real = os.write
    left = room

    def full(fd: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(fd, data[:left])
        left -= written
        return written

    bench = Bench(tmp_path / "journal")
    with monkeypatch.context() as patch:
        patch.setattr("clptools.agent.journal.os.write", full)
        for _ in range(20):
            left = room
            bench.tell(MessageSeen(category="NIC"))
            with pytest.raises(OSError):
                await bench.journal.durable()
    assert not list(bench.folder.iterdir())
    bench.tell(MessageSeen(category="NIC"))
    await bench.journal.durable()
    assert len(bench.segments()) == 1
    await bench.journal.close()


async def test_short_segments_are_bounded_in_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that ends as soon as it has begun, again and again."""
    monkeypatch.setattr("clptools.agent.journal._MOST_SEGMENTS", 5)

    for n in range(20):
        bench = Bench(tmp_path / "journal")
        bench.tell(MessageSeen(category="NIC", text=str(n)))
        await bench.journal.close()
    newest = [entry.event for _, entries in bench.segments() for entry in entries]
    assert newest == [MessageSeen(category="NIC", text=str(n)) for n in range(15, 20)]


async def test_a_disk_that_hangs_leaves_no_hole_in_a_segment_and_nobody_is_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More comes than memory may hold: what is lost is said, and replay begins anew behind it."""
    monkeypatch.setattr("clptools.agent.journal._RETRY_S", 0.2)
    monkeypatch.setattr("clptools.agent.journal._BUFFER_LIMIT", 10_000)

    bench = Bench(tmp_path / "journal")
    goes_on = threading.Event()
    bench.disk.submit(goes_on.wait)
    try:
        bench.tell(MessageSeen(category="NIC"))
        before = asyncio.get_running_loop().create_task(bench.journal.durable())
        await asyncio.sleep(0.01)  # its write is under way
        while not bench.journal.lost:
            bench.tell(MessageSeen(category="NIC", text="x" * 1000))
        kept = bench.stepped - 1
        with pytest.raises(OSError, match="the newest events are lost"):
            await asyncio.wait_for(bench.journal.durable(), 1)
    finally:
        goes_on.set()
    await before
    bench.tell(MessageSeen(category="FC"))
    with pytest.raises(OSError):
        await bench.journal.durable()
    await asyncio.sleep(0.25)
    bench.tell(MessageSeen(category="HA"))
    await bench.journal.durable()
    assert bench.journal.lost == 2
    assert ["goes on without it" in text for text in bench.alerts] == [True, False]
    assert bench.alerts[1] == "The journal is written again; 2 events are not in it."
    (_, first), (head, second) = bench.segments()
    assert [entry.now for entry in first] == list(range(kept))
    assert head.snapshot == b"stepped %d" % (kept + 2)
    assert [entry.now for entry in second] == [kept + 2]
    await bench.journal.close()


async def test_a_stream_of_messages_does_not_put_off_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clptools.agent.journal._RETRY_S", 0.1)

    bench = Bench(tmp_path / "journal")
    bench.folder.write_text("a file where the folder belongs")
    bench.tell(MessageSeen(category="NIC"))
    with pytest.raises(OSError):
        await bench.journal.durable()
    bench.folder.unlink()
    for _ in range(200):
        await asyncio.sleep(0.01)
        bench.tell(MessageSeen(category="NIC"))
        try:
            await bench.journal.durable()
        except OSError:
            continue
        break
    assert len(bench.segments()) == 1
    await bench.journal.close()


async def test_those_who_wait_together_share_one_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = 0
    real = __import__("os").fdatasync

    def counted(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        real(fd)

    monkeypatch.setattr("clptools.agent.journal.os.fdatasync", counted)

    bench = Bench(tmp_path / "journal")

    async def message() -> None:
        bench.tell(MessageSeen(category="NIC"))
        await bench.journal.durable()

    await asyncio.gather(*(message() for _ in range(200)))
    await bench.journal.close()
    assert syncs <= 3
