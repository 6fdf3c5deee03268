"""The control channel over real TLS on loopback addresses, with friends and with others."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from clptools.api.messages import (
    OUTSIDE as OUTSIDE_TYPES,
)
from clptools.api.messages import (
    AskConfig,
    AskConfigHash,
    ConfigFiles,
    PeerNotice,
    PeerRequest,
    PushPrepare,
    Transaction,
)
from clptools.core.model.messages import Answer, Epoch, Grant
from clptools.core.model.requests import ExternalNotice, Outcome
from clptools.core.model.settings import Cluster, Interconnect, Server, Settings
from clptools.faults import ClpError, ExitCode
from clptools.links import connection, delivery, sockets
from clptools.links.connection import Hello, Said, encode_frame
from clptools.links.credentials import OUTSIDE, Minting, context, mint
from clptools.links.notices import LinkGivenUp, LinkNotOpen, PeerConnected, PeerLost
from clptools.links.peer import PeerChannel
from clptools.links.sockets import Listener
from tests.conftest import LIMIT_S, free_port, until
from tests.noticed import Noticed

KEY = b"k" * 32
NAMES = ("server1", "server2", "server3")


def cluster(port: int, servers: int = 2, nets: tuple[str, ...] = ("127.78.1.",)) -> Settings:
    names = NAMES[:servers]
    return Settings(
        cluster=Cluster(name="cluster", port=port),
        servers=tuple(Server(name=name) for name in names),
        interconnects=tuple(
            Interconnect(
                name=f"lanhb{n}",
                type="lanhb",
                addresses={name: f"{net}{i}" for i, name in enumerate(names, 1)},
            )
            for n, net in enumerate(nets, 1)
        ),
    )


class Agent:
    """As much of an agent as the channel needs."""

    def __init__(self, name: str, key: bytes = KEY) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.connected: list[str] = []
        self.told = Noticed()
        self.asked: list[tuple[str, Any]] = []
        self.sources: list[str] = []
        self.denied: list[tuple[str, str]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.channel = PeerChannel(
            name,
            lambda: Minting((key,), name).identities(),
            delivery.Handlers(
                notices=PeerNotice,
                requests=PeerRequest,
                outside=OUTSIDE_TYPES,
                on_control=lambda sender, message: self.heard.append((sender, message)),
                on_call=self.answer,
                on_denied=lambda address, why: self.denied.append((address, why)),
            ),
            on_connected=self.connected.append,
            on_change=self.told.take,
        )

    async def answer(self, sender: str, request: Any, source: str) -> msgspec.Struct:
        self.asked.append((sender, request))
        self.sources.append(source)
        await self.hold.wait()
        if isinstance(request, AskConfigHash):
            raise ClpError(ExitCode.REFUSED, "not now", "try later")
        if isinstance(request, AskConfig):
            raise RuntimeError("a bug")
        return Outcome(text=f"done for {sender}")


@asynccontextmanager
async def agents(settings: Settings, *names: str) -> AsyncIterator[list[Agent]]:
    made = [Agent(name) for name in names]
    await asyncio.gather(*(agent.channel.start(settings) for agent in made))
    try:
        yield made
    finally:
        for agent in made:
            await agent.channel.close()


def grant(group: str) -> Grant:
    return Grant(group=group, epoch=Epoch(1, "a", 1), incarnation="b", sent_at=5)


PREPARE = PushPrepare(push="p", files=ConfigFiles(revision=1, files={}), user="root")


async def test_control_messages_arrive_in_order_with_their_sender() -> None:
    async with agents(cluster(free_port()), "server1", "server2") as (one, two):
        await until(lambda: one.connected and two.connected)
        for n in range(50):
            one.channel.send("server2", grant(f"g{n}"))
            two.channel.send("server1", grant(f"h{n}"))
        await until(lambda: len(two.heard) == 50 and len(one.heard) == 50)
        assert two.heard == [("server1", grant(f"g{n}")) for n in range(50)]
        assert one.heard == [("server2", grant(f"h{n}")) for n in range(50)]
        assert one.channel.connected == ("server2",)
        one.channel.send("server9", grant("x"))
        assert one.channel.counters["no_such_peer"] == 1


async def test_a_server_that_was_taken_out_and_comes_anew_is_heard_at_once() -> None:
    port = free_port()
    both, alone = cluster(port), cluster(port, servers=1)
    async with agents(both, "server1", "server2") as (one, two):
        await until(lambda: one.connected and two.connected)
        for n in range(20):
            one.channel.send("server2", grant(f"g{n}"))
        await until(lambda: len(two.heard) == 20)
        one.channel.apply(alone)
        await until(lambda: not two.channel.connected)
        one.channel.apply(both)
        one.channel.send("server2", grant("again"))
        await until(lambda: two.heard[20:] == [("server1", grant("again"))])
        assert two.told.kinds == [PeerConnected, PeerLost, PeerConnected]
        assert two.told[1] == "control channel: lost server1"


async def test_what_is_sent_before_the_connection_is_there_arrives() -> None:
    async with agents(cluster(free_port()), "server1", "server2") as (one, two):
        one.channel.send("server2", grant("early"))
        await until(lambda: two.heard == [("server1", grant("early"))])


async def test_requests_are_answered_refused_or_failed_in_words() -> None:
    async with agents(cluster(free_port()), "server1", "server2") as (one, two):
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        done = await one.channel.call("server2", PREPARE, Outcome, LIMIT_S)
        assert done == Outcome(text="done for server1")
        with pytest.raises(ClpError) as refused:
            await one.channel.call("server2", AskConfigHash(), Outcome, LIMIT_S)
        assert (refused.value.code, refused.value.hint) == (ExitCode.REFUSED, "try later")
        with pytest.raises(ClpError, match="server2 failed on the request"):
            await one.channel.call("server2", AskConfig(), ConfigFiles, 5)
        with pytest.raises(ClpError, match="server2 does not understand"):
            await one.channel.call("server2", grant("no request"), Outcome, LIMIT_S)
        with pytest.raises(ClpError, match="no server server9"):
            await one.channel.call("server9", PREPARE, Outcome, LIMIT_S)
        two.hold.clear()
        with pytest.raises(ClpError, match="not answered within") as late:
            await one.channel.call("server2", PREPARE, Outcome, 0.1)
        assert late.value.code == ExitCode.TIMED_OUT


async def test_a_configuration_of_some_megabytes_passes_and_one_too_long_is_refused() -> None:
    async with agents(cluster(free_port()), "server1", "server2") as (one, two):
        big = msgspec.structs.replace(
            PREPARE, files=ConfigFiles(revision=1, files={"clp.toml": "x" * (4 << 20)})
        )
        assert (await one.channel.call("server2", big, Outcome, LIMIT_S)).code == 0
        assert two.asked == [("server1", big)]
        files = ConfigFiles(revision=1, files={"clp.toml": "x" * (9 << 20)})
        with pytest.raises(ClpError, match="too long"):
            await one.channel.call(
                "server2", msgspec.structs.replace(PREPARE, files=files), Outcome, 5
            )


async def test_a_peer_that_is_not_there_is_told_soon_and_with_the_reason() -> None:
    async with agents(cluster(free_port()), "server1") as (one,):
        await until(lambda: one.channel._peers["server2"].fault)
        with pytest.raises(ClpError, match=r"server2 cannot be reached: .*refused") as fault:
            await one.channel.call("server2", PREPARE, Outcome, 30)
        assert fault.value.code == ExitCode.FAILED


async def test_a_server_that_comes_back_is_connected_again_and_loses_nothing_said_meanwhile() -> (
    None
):
    settings = cluster(free_port())
    async with agents(settings, "server1", "server2") as (one, two):
        await until(lambda: one.connected and two.connected)
        two.hold.clear()
        asking = asyncio.create_task(one.channel.call("server2", PREPARE, Outcome, LIMIT_S))
        await until(lambda: two.asked)
        await two.channel.close()
        await until(lambda: not one.channel.connected)
        one.channel.send("server2", grant("g"))
        again = Agent("server2")
        await again.channel.start(settings)
        await until(lambda: again.heard == [("server1", grant("g"))])
        with pytest.raises(ClpError, match="server2 restarted before it answered"):
            await asking
        await again.channel.close()


async def test_the_path_of_best_priority_is_used_and_the_next_when_it_goes_silent() -> None:
    """Interconnect 1 takes bytes and delivers nothing, as a cut cable does."""
    settings = cluster(free_port(), nets=("127.78.1.", "127.78.2."))
    async with agents(settings, "server1", "server2") as (one, two):
        await until(lambda: len(one.channel.paths("server2")) == 2)
        best = next(iter(one.channel._open[("server2", "lanhb1")]))
        written: list[bytes] = []
        best.write = lambda data: written.append(data) or True  # type: ignore
        one.channel.send("server2", grant("g"))
        await until(lambda: two.heard)
        assert len(written) == 1, "it went over the best path first"
        done = await one.channel.call("server2", PREPARE, Outcome, LIMIT_S)
        assert done.text == "done for server1"


async def test_doubled_messages_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery.Delivery, "acknowledged", lambda self, number: None)
    monkeypatch.setattr(delivery, "LIFETIME_S", 1.0)

    settings = cluster(free_port(), nets=("127.78.1.", "127.78.2."))
    async with agents(settings, "server1", "server2") as (one, two):
        await until(lambda: len(one.channel.paths("server2")) == 2)
        one.channel.send("server2", grant("g"))
        await until(lambda: one.channel.counters["not_delivered"] == 1)
        assert two.heard == [("server1", grant("g"))]


async def test_an_agent_without_configuration_takes_a_push_from_one_that_names_it() -> None:
    port = free_port()
    old, new = cluster(port, servers=2), cluster(port, servers=3)
    async with agents(old, "server1", "server2") as (one, _):
        three = Agent("server3")
        await three.channel.start(new)  # its address alone; a real one listens everywhere
        three.channel.apply(msgspec.structs.replace(new, servers=()))
        with pytest.raises(ClpError):
            await one.channel.call("server3", PREPARE, Outcome, 1)
        one.channel.introduce(new)
        done = await one.channel.call("server3", PREPARE, Outcome, LIMIT_S)
        assert done.text == "done for server1"
        one.channel.apply(old)
        assert "server3" not in one.channel.connected
        await three.channel.close()


async def test_an_agent_without_configuration_listens_everywhere(monkeypatch: Any) -> None:
    port = free_port()
    monkeypatch.setattr("clptools.links.peer.DEFAULT_PORT", port)

    settings = cluster(port)
    bare = Agent("server2")
    await bare.channel.start(None)
    # The wildcard address would collide with server1's own on this one machine.
    server1 = msgspec.structs.replace(
        settings.interconnects[0], addresses={"server1": "127.0.0.1", "server2": "127.78.1.2"}
    )
    one = Agent("server1")
    await one.channel.start(msgspec.structs.replace(settings, interconnects=(server1,)))
    done = await one.channel.call("server2", PREPARE, Outcome, LIMIT_S)
    assert done.text == "done for server1"
    await bare.channel.close()
    await one.channel.close()


# whoever has no business here


async def knock(
    settings: Settings, name: str = "server1", key: bytes = KEY
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    tls = context(mint(key, name), serving=False)
    return await asyncio.open_connection(
        "127.78.1.2", settings.cluster.port, ssl=tls, local_addr=("127.78.1.1", 0)
    )


@asynccontextmanager
async def alone() -> AsyncIterator[tuple[Settings, Agent]]:
    settings = cluster(free_port())
    async with agents(settings, "server2") as (two,):
        await asyncio.sleep(0)
        yield settings, two


@pytest.mark.parametrize(
    ("name", "key", "counter"),
    [
        ("server1", b"x" * 32, "bad_certificate"),
        ("server2", KEY, "own_name"),
    ],
)
async def test_a_wrong_key_and_our_own_name_are_refused(
    name: str, key: bytes, counter: str
) -> None:
    async with alone() as (settings, two):
        tls = context(mint(key, name), serving=False)
        tls.verify_mode = ssl.CERT_NONE
        _, writer = await asyncio.open_connection(
            "127.78.1.2", settings.cluster.port, ssl=tls, local_addr=("127.78.1.1", 0)
        )
        await until(lambda: two.channel.counters[counter] == 1)
        writer.close()
        assert two.channel.connected == ()
        assert two.denied == [], "a server's address: no request from outside"


async def test_a_server_that_answers_under_another_name_is_not_used() -> None:
    settings = cluster(free_port(), servers=3)
    swapped = dict(settings.interconnects[0].addresses)
    swapped["server2"], swapped["server3"] = swapped["server3"], swapped["server2"]
    path = msgspec.structs.replace(settings.interconnects[0], addresses=swapped)
    one, three = Agent("server1"), Agent("server3")
    await one.channel.start(msgspec.structs.replace(settings, interconnects=(path,)))
    await three.channel.start(settings)
    await until(lambda: "answers as server3" in one.channel._peers["server2"].fault)
    assert "server2" not in one.channel.connected
    await one.channel.close()
    await three.channel.close()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\0" * 999])
async def test_whoever_speaks_no_tls_is_hung_up_on(data: bytes) -> None:
    async with alone() as (settings, two):
        reader, writer = await asyncio.open_connection("127.78.1.2", settings.cluster.port)
        writer.write(data)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), LIMIT_S)
        await until(lambda: two.channel.counters["bad_tls"] + two.channel.counters["hung_up"])
        writer.close()


async def test_half_open_handshakes_end_in_time_and_keep_no_server_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sockets, "GREETING_TIMEOUT_S", 3.0)

    async with alone() as (settings, two):
        where = ("127.78.1.2", settings.cluster.port)
        silent = [
            await asyncio.open_connection(*where, local_addr=("127.78.1.77", 0))
            for _ in range(sockets.MAX_STRANGERS + 4)
        ]
        await until(lambda: two.channel.counters["busy"] == 4)
        one = Agent("server1")
        await one.channel.start(settings)
        await until(lambda: one.connected)
        await until(lambda: two.channel.counters["half_open"] == sockets.MAX_STRANGERS)
        for _, writer in silent:
            writer.close()
        await one.channel.close()


async def test_one_that_greets_slowly_or_not_at_all_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "GREETING_TIMEOUT_S", 1.0)
    monkeypatch.setattr(connection, "SILENCE_S", 1.0)

    async with alone() as (settings, two):
        reader, writer = await knock(settings)
        await asyncio.wait_for(reader.read(), LIMIT_S)
        assert two.channel.counters["half_open"] == 1
        writer.close()
        reader, writer = await knock(settings)
        writer.write(encode_frame(Hello(session="s")))
        writer.write((1000).to_bytes(4) + b"byte by byte, never all")
        await asyncio.wait_for(reader.read(), LIMIT_S)
        await until(lambda: not two.channel.connected)
        writer.close()


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        ((9 << 20).to_bytes(4), "oversized"),
        (b"\0\0\0\x05hello", "malformed"),
        (b"\0\0\0\0", "malformed"),
        (encode_frame(Hello(session="again")), "malformed"),
        (
            encode_frame(Said(number=1, body=msgspec.Raw(b"\xa3abc"))),
            "malformed",
        ),
        (
            encode_frame(Said(number=1, body=msgspec.Raw(b"\x91\x91"))),
            "malformed",
        ),
    ],
)
async def test_a_peer_that_talks_nonsense_is_counted(data: bytes, counter: str) -> None:
    async with alone() as (settings, two):
        _, writer = await knock(settings)
        writer.write(encode_frame(Hello(session="s")))
        writer.write(data)
        await until(lambda: two.channel.counters[counter] == 1)
        writer.close()
        assert two.heard == []


async def test_an_unknown_server_with_the_key_may_ask_but_not_tell() -> None:
    async with alone() as (settings, two):
        _, writer = await knock(settings, "server9")
        body = msgspec.msgpack.encode(Answer(id="1", outcome=Outcome()))
        writer.write(encode_frame(Hello(session="s")))
        writer.write(encode_frame(Said(number=1, body=msgspec.Raw(body))))
        await until(lambda: two.channel.counters["unknown_sender"] == 1)
        writer.close()
        await until(lambda: "server9" not in two.channel._peers)
        assert two.heard == []


async def test_from_outside_only_the_permitted_requests_are_taken() -> None:
    async with alone() as (settings, two):
        reader, writer = await knock(settings, OUTSIDE)
        notice = Transaction(request=ExternalNotice(category="MY"))
        writer.write(encode_frame(Hello(session="s")))
        for number, request in enumerate((AskConfig(), notice), 1):
            body = msgspec.Raw(msgspec.msgpack.encode(request))
            writer.write(encode_frame(connection.Asked(number=number, body=body)))
        told = {}
        while len(told) < 2:
            frame = await connection.read_frame(reader, 1 << 16, LIMIT_S)
            if isinstance(frame, connection.Told):
                told[frame.asked] = frame
        assert "only a server" in told[1].error
        assert told[2].error == ""
        assert two.asked == [(OUTSIDE, notice)]
        writer.close()


async def test_who_has_the_port_of_an_address_is_waited_for_until_nobody_wants_it() -> None:
    told = Noticed()
    with socket.socket() as holder:
        holder.bind(("127.77.1.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        listening = asyncio.create_task(
            Listener("127.77.1.1", port).accept(lambda accepted, _: accepted.close(), told.take)
        )
        await until(lambda: told.kinds == [LinkNotOpen])
        listening.cancel()
        await until(listening.done)
    assert told.kinds == [LinkNotOpen, LinkGivenUp]
    assert told[1] == "control channel: no longer tries to listen on 127.77.1.1"
