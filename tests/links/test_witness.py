"""`witnesshb` through a real witness server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from clptools.arbiters.witness import MailExchange, Post
from clptools.arbiters.witness_server import MAX_AGE_MS, MAX_BOXES, Mailboxes
from clptools.faults import ClpError
from clptools.links.notices import WitnessTakesBeats, WitnessTakesNoBeats
from clptools.links.witness import WitnessLink
from tests.arbiters.parts import Witness, context
from tests.conftest import until
from tests.noticed import Noticed


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    program = Witness(tmp_path, longest=0.2)
    program.start()
    yield program
    program.kill()


async def test_datagrams_arrive_once_and_the_newest_alone(witness: Witness) -> None:
    one, two = (MailExchange(witness.url, context(s)) for s in ("server1", "server2"))
    await one({"server2": b"old"})
    await one({"server2": b"new", "server3": b"x" * 60_000})
    assert await two({"server1": b"\x00\xff"}) == {"server1": b"new"}
    assert await two({}) == {}
    assert await one({}) == {"server2": b"\x00\xff"}
    assert await MailExchange(witness.url, context("server3"))({}) == {"server1": b"x" * 60_000}


async def test_strangers_are_refused(witness: Witness) -> None:
    stranger = msgspec.structs.replace(context("server1"), authkey=bytes(32))
    with pytest.raises(ClpError, match="does not know this cluster's authkey"):
        await MailExchange(witness.url, stranger)({})


def test_old_beats_are_no_sign_of_life_and_boxes_are_bounded() -> None:
    boxes = Mailboxes()

    def exchange(server: str, now: int, **beats: bytes) -> dict[str, bytes]:
        asked = Post(cluster="c", server=server, nonce="", beats=beats)
        return boxes.exchange("k", asked, now).beats

    exchange("a", 0, b=b"1")
    assert exchange("b", MAX_AGE_MS + 1) == {}
    exchange("a", 5000, b=b"2")
    assert exchange("b", 5000 + MAX_AGE_MS) == {"a": b"2"}
    exchange("a", 0, **{f"s{n}": b"" for n in range(2 * MAX_BOXES)})
    assert len(boxes._clusters["k c"]) == MAX_BOXES
    for n in range(100):
        exchange(f"t{n}", 0, s1=bytes(100_000))
    assert sum(map(len, exchange("s1", 0).values())) < 200_000


async def test_a_link_exchanges_in_its_interval_and_tells_a_lost_witness_once(
    witness: Witness,
) -> None:
    got: list[tuple[str, bytes, str]] = []
    said = Noticed()

    links = [
        WitnessLink(
            "witnesshb1",
            50,
            MailExchange(witness.url, context(server, timeout_ms=5_000)),
            lambda link, data, server: got.append((link, data, server)),
            said.take,
        )
        for server in ("server1", "server2")
    ]
    for link in links:
        link.start()
    links[0].send("server2", b"beat")
    await until(lambda: got == [("witnesshb1", b"beat", "server1")])
    links[1].close()
    witness.kill()
    await until(lambda: said)
    await until(lambda: links[0].counters["send_failed"] > 5)
    assert len(said) == 1
    assert said[0].startswith(f"interconnect witnesshb1: cannot exchange beats: {witness.url}:")
    await asyncio.to_thread(witness.start)
    await until(lambda: len(said) == 2)
    assert said.kinds == [WitnessTakesNoBeats, WitnessTakesBeats]
    assert said[1] == "interconnect witnesshb1: exchanges beats again"
    links[0].close()


async def test_pages_go_with_the_beat_and_take_its_place_never() -> None:
    """Two with each beat, in turn; mail that is no bundle of datagrams is counted and dropped."""
    sent: list[bytes] = []
    got: list[bytes] = []
    mail = [b"\0garbage", b"\0\x91\x01"]

    async def exchange(outgoing: dict[str, bytes]) -> dict[str, bytes]:
        sent.append(outgoing.get("server2", b""))
        return {"server2": mail.pop() if mail else sent[-1]}

    link = WitnessLink(
        "witnesshb1", 10, exchange, lambda _, data, __: got.append(data), lambda _: None
    )
    for beat in (b"\1old", b"\1new"):
        link.send("server2", beat)
    for page in (b"\2a", b"\2b", b"\2c"):
        link.send("server2", page, page=True)
    for n in range(2):
        await link._once()
        link.send("server2", b"\1%d" % n)
    assert link.counters["malformed"] == 2
    await link._once()
    assert got == [b"\x011"], "without pages the mail is the beat, as earlier versions have it"
    link.send("server2", b"\1x", page=False)
    for n in range(1000):
        link.send("server2", b"\2%d" % n, page=True)
    await link._once()
    assert got[1:] == [b"\1x", b"\x02936", b"\x02937"]


async def test_an_exchange_that_fails_in_an_unforeseen_way_is_one_lost_beat() -> None:
    """A server out of threads or file handles: the path comes back with them."""
    got: list[bytes] = []
    said = Noticed()
    ends: list[Exception] = [RuntimeError("can't start new thread"), OSError(24, "no handle")] * 2

    async def exchange(_: dict[str, bytes]) -> dict[str, bytes]:
        if ends:
            raise ends.pop()
        return {"server2": b"beat"}

    link = WitnessLink("witnesshb1", 10, exchange, lambda _, data, __: got.append(data), said.take)
    link.start()
    await until(lambda: len(got) > 1)
    link.close()
    told, ended = said
    assert told.endswith(
        """witnesshb1: cannot exchange beats: RuntimeError("can't start new thread")"""
    )
    assert ended == "interconnect witnesshb1: exchanges beats again"
