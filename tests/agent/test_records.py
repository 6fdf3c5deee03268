"""Every record reaches the alert log and whoever follows, once, and outlives the agent."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clptools import paths
from clptools.agent.records import Records
from clptools.api.messages import EventRecord
from clptools.core.model.actions import Record
from tests.conftest import LIMIT_S
from tests.noticed import Noticed


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    os.makedirs(paths.data_dir())
    return tmp_path


def records(server: str = "server1", incarnation: str = "abc") -> Records:
    return Records(server, incarnation, ThreadPoolExecutor(1))


def said(text: str, level: str = "INFO") -> Record:
    return Record(module="rc", event_id=10, level=level, subjects=("failover1",), text=text)


async def test_the_alert_log_has_the_known_line_shape() -> None:
    story = records()
    story.add(said("Activating group failover1\nhas \x1b[31mstarted.", "WARN"))
    await story.close()
    line = Path(paths.alert_log_file()).read_text()
    assert re.fullmatch(
        r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3} WARN  \[rc   \] "
        r"server1: Activating group failover1 has \?\[31mstarted\.\n",
        line,
    )


async def test_the_next_agent_knows_the_story_and_goes_on_with_it() -> None:
    first = records()
    for n in range(5):
        first.add(said(f"step {n}"))
    await first.close()
    with open(paths.data_dir() + "/records.ndjson", "ab") as file:
        file.write(b'{"half a li')
    second = records(incarnation="def")
    second.load()
    second.add(said("step 5"))
    await second.close()
    third = records(incarnation="ghi")
    third.load()
    assert [r.text for r in third.all()] == [f"step {n}" for n in range(6)]


@pytest.mark.parametrize("bad", [b"\xf3tep 1", b"\xff", b"step \\ud800"])
async def test_a_bit_that_the_disk_lost_costs_one_record_and_no_start(bad: bytes) -> None:
    first = records()
    for n in range(3):
        first.add(said(f"step {n}"))
    await first.close()
    kept = Path(paths.data_dir() + "/records.ndjson")
    kept.write_bytes(kept.read_bytes().replace(b"step 1", bad))
    with kept.open("ab") as file:
        file.write(b'{"because":' + b"[" * 100_000 + b"\n")
    second = records(incarnation="def")
    second.load()
    assert [r.text for r in second.all()] == ["step 0", "step 2"]


async def test_a_peer_that_was_away_gets_what_it_lacks_and_nothing_twice() -> None:
    one, two = records(), records("server2", "xyz")
    for n in range(3):
        one.add(said(f"step {n}"))
    two.merge(one.after(two.lacking()[0], 500))
    for n in range(3, 6):
        one.add(said(f"step {n}"))
    lacking = one.after(two.lacking()[0], 500)
    assert [r.text for r in lacking] == ["step 3", "step 4", "step 5"]
    two.merge(lacking)
    two.merge(lacking)
    assert [r.text for r in two.all()] == [f"step {n}" for n in range(6)]
    await one.close()
    await two.close()


async def test_what_a_peer_tells_as_it_comes_back_hides_nothing_that_was_missed() -> None:
    """Its first news are quicker than our question: a "CRITICAL" from before was never known."""
    here, peer = records(), records("server2", "xyz")
    peer.add(said("known"))
    here.merge(peer.all())
    for text in ("missed 1", "missed 2", "live"):
        peer.add(said(text))
    here.wait_for("server2")
    here.merge(peer.all()[-1:])
    cursors, present = here.lacking()
    here.take_back(peer.after(cursors, 500, "server1", present), "server2")
    peer.add(said("after"))
    here.merge(peer.all()[-1:])
    assert [r.text for r in here.all()] == ["known", "missed 1", "missed 2", "live", "after"]
    assert [r.heard > 0 for r in here.all()] == [True, False, False, True, True]
    await here.close()
    await peer.close()


async def test_a_peer_that_does_not_say_what_was_missed_is_heard_all_the_same() -> None:
    here, peer = records(), records("server2", "xyz")
    peer.add(said("live"))
    here.wait_for("server2")
    here.merge(peer.all())
    assert here.all() == ()
    here.give_up("server2")
    assert [r.text for r in here.all()] == ["live"]
    await here.close()
    await peer.close()


async def test_what_an_agent_told_before_it_was_killed_comes_back_from_a_peer() -> None:
    killed, peer = records(), records("server2", "xyz")
    killed.add(said("on the disk"))
    await killed.close()
    killed.add(said("only told"))
    peer.merge(killed.all())
    again = records(incarnation="def")
    again.load()
    again.add(said("since then"))
    after, present = again.lacking()
    peer.merge(again.all())
    back = peer.after(after, 500, "server1", present)
    assert [r.text for r in back] == ["only told"]
    again.take_back(back, "server2")
    assert {r.text for r in again.all()} == {"on the disk", "only told", "since then"}
    await again.close()
    third = records(incarnation="ghi")
    third.load()
    assert len(third.all()) == 3
    await peer.close()


async def test_what_came_live_has_our_time_and_what_was_caught_up_has_none() -> None:
    """By it records of several servers are put into one order, whatever their clocks say."""

    live, missed = (
        EventRecord(
            cursor=f"server1:abc:{n}", time=0, server="server1", module="rc", event_id=1,
            level="INFO", text=text, heard=5.0,
        )
        for n, text in enumerate(("live", "missed"))
    )  # fmt: skip
    two = records("server2", "xyz")
    before = time.time()
    two.merge([live])
    two.take_back([missed], "server1")
    two.add(said("own"))
    await two.close()
    again = records("server2", "uvw")
    again.load()
    for kept in (two, again):
        heard = {r.text: r.heard for r in kept.all()}
        assert before <= heard["live"] <= time.time()
        assert (heard["missed"], heard["own"]) == (-1.0, 0.0)


async def test_a_peer_cannot_write_records_in_our_name() -> None:
    one = records()
    forged = EventRecord(
        cursor="server1:abc:9", time=0, server="server1", module="rc", event_id=1,
        level="INFO", text="forged",
    )  # fmt: skip
    one.merge([forged])
    one.take_back([forged], "server2")
    assert one.all() == ()


async def test_following_gives_the_past_after_the_cursor_and_then_the_new() -> None:
    story = records()
    for n in range(3):
        story.add(said(f"step {n}"))
    texts: list[str] = []

    async def follow() -> None:
        async for record in story.follow(story.all()[0].cursor, True):
            texts.append(record.text)
            if len(texts) == 4:
                return

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    story.add(said("step 3"))
    story.add(said("step 4"))
    await following
    assert texts == ["step 1", "step 2", "step 3", "step 4"]
    kept = [r.text async for r in story.follow("never:heard:1", False)]
    assert kept == [f"step {n}" for n in range(5)]
    await story.close()


async def test_a_log_that_cannot_be_written_is_counted_and_nothing_else() -> None:
    Path(paths.log_dir()).parent.mkdir(parents=True)
    Path(paths.log_dir()).write_text("a file where the folder belongs")
    story = records()
    story.add(said("one"))
    await story.close()
    assert story.unwritten == 1
    assert len(story.all()) == 1


@pytest.mark.parametrize("name", ["var/lib/clptools/records.ndjson", "var/log/clptools/alert.log"])
async def test_a_fifo_in_a_files_place_holds_nobody_up_and_is_told(root: Path, name: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(root / name)
    told = Noticed()
    story = records()
    story.on_refused = told.take
    story.load()
    for number in range(100):  # more than a pipe holds
        story.add(said(f"{number}" * 700))
    async with asyncio.timeout(LIMIT_S):
        await story.close()
    assert story.unwritten
    assert "is no plain file" in told[0] and name in told[0]


async def test_syslog_gets_this_servers_records_with_their_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "log")
    monkeypatch.setattr("clptools.agent.records.SYSLOG", address)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(address)
        log.settimeout(LIMIT_S)
        story = records()
        story.merge(
            [
                EventRecord(
                    cursor="server2:x:1", time=0, server="server2", module="rc", event_id=1,
                    level="INFO", text="of another",
                )
            ]
        )  # fmt: skip
        story.add(said("Activating group failover1 has failed.", "ERROR"))
        await story.close()
        assert log.recv(2000) == (
            b"<27>clptools: [E] <type: rc><event: 10> Activating group failover1 has failed."
        )


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """File -> how much of it was there when it was last brought to the disk."""
    found: dict[str, int] = {}
    real = os.fsync

    def fsync(fd: int) -> None:
        found[os.readlink(f"/proc/self/fd/{fd}")] = os.fstat(fd).st_size
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


async def test_what_was_said_before_a_reset_survives_it(synced: dict[str, int]) -> None:
    story = records()
    story.add(said("first"))
    await story.close()
    story.add(said("last"))
    await story.durable()
    log = paths.alert_log_file()
    assert Path(log).read_text().splitlines()[-1].endswith("last")
    assert synced[log] == os.stat(log).st_size


async def test_an_error_of_this_server_is_on_the_disk_without_being_asked_for(
    synced: dict[str, int],
) -> None:
    story = records()
    story.add(said("ordinary"))
    await story.close()
    assert not synced
    story.add(said("server1 has no lease", "ERROR"))
    await story.close()
    assert synced[paths.alert_log_file()] == os.stat(paths.alert_log_file()).st_size
