"""HTTP over h11: every length is bounded, and nothing that arrives does more than fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clptools.common import http_client
from clptools.common.http import (
    MAX_ASKED_HEAD_BYTES,
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    HttpError,
    Places,
    Request,
    Response,
    Server,
    source_of,
)
from clptools.common.http_client import Site
from tests.conftest import LIMIT_S

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: h\r\n"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
ROOM = 10
"""How long a body the server under test takes."""


# ---------------------------------------------------------------------- client


def answered(
    pieces: tuple[bytes, ...], ask: Callable[[Site], Awaitable[Response]] | None = None
) -> Response:
    """What the client makes of a server that sends `pieces` and closes."""

    async def story() -> Response:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        site = Site(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            async with asyncio.timeout(LIMIT_S):
                return await (ask(site) if ask else site.request("POST", "/x", body=b"x"))
        finally:
            server.close()

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ((OK + b"Content-Length: 3\r\n\r\nabc",), b"abc"),
        ((OK + b"Content-Length: 3\r\n\r\nabc and more",), b"abc"),
        ((OK + b"Content-Length: 0\r\n\r\n",), b""),
        ((OK + b"Content-Length: 3, 3\r\n\r\nabc",), b"abc"),
        ((OK + b"\r\nabc", b"def"), b"abcdef"),
        ((b"HTTP/1.0 200 OK\r\n\r\n", b"abc"), b"abc"),
        ((OK + CHUNKED, b"2\r\nab\r\n", b"1;x=y\r", b"\nc\r\n0\r\n\r\n"), b"abc"),
        ((OK + CHUNKED + b"3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",), b"abc"),
        ((OK + b"Content-Length: 9\r\n" + CHUNKED + b"1\r\na\r\n0\r\n\r\n",), b"a"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", OK + b"Content-Length: 1\r\n\r\na"), b"a"),
        ((b"HTTP/1.1 204 No Content\r\n\r\nabc",), b""),
        ((OK + b"Content-Length: %d\r\n\r\n" % MAX_BODY_BYTES, bytes(MAX_BODY_BYTES)), None),
    ],
)
def test_bodies_are_read_however_they_are_framed(
    pieces: tuple[bytes, ...], body: bytes | None
) -> None:
    assert answered(pieces).body == (bytes(MAX_BODY_BYTES) if body is None else body)


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ((OK + b"Content-Length: 3\r\n\r\nab",), "the answer is cut off"),
        ((OK + CHUNKED + b"3\r\nab",), "the answer is cut off"),
        ((OK + CHUNKED + b"3\r\nabc\r\n",), "the answer is cut off"),
        ((OK + b"Content-Le",), "the answer is cut off"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n",), "the answer is cut off"),
        ((OK + b"Content-Length: -1\r\n\r\n",), "the answer is not HTTP"),
        ((OK + b"Content-Length: 0x10\r\n\r\n",), "the answer is not HTTP"),
        ((OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",), "the answer is not HTTP"),
        ((OK + b"Transfer-Encoding: gzip\r\n\r\n",), "the answer is not HTTP"),
        ((OK + b"no colon\r\n\r\n",), "the answer is not HTTP"),
        ((b"HTTP/1.1 099 Low\r\n\r\n",), "the answer is not HTTP"),
        ((b"HTTP/1.1 101 Switching Protocols\r\n\r\n",), "the answer is not HTTP"),
        ((OK + CHUNKED + b"-1\r\na\r\n0\r\n\r\n",), "the answer is malformed"),
        ((OK + CHUNKED + b"zz\r\n",), "the answer is malformed"),
        ((OK + CHUNKED + b"1\r\nabc0\r\n\r\n",), "the answer is malformed"),
        ((OK + b"Content-Length: 999999999999\r\n\r\n",), "the answer is too long"),
        ((OK + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),), "the answer is too long"),
        ((OK + b"\r\n", bytes(MAX_BODY_BYTES + 1)), "the answer is too long"),
        ((OK + CHUNKED, b"fffffff\r\n", bytes(2 * MAX_BODY_BYTES)), "the answer is too long"),
        ((OK + CHUNKED, b"1\r\na\r\n" * MAX_HEAD_BYTES), "the answer is too long"),
        ((OK + CHUNKED, *(b"1;" + b"x" * 9000 + b"\r\na\r\n",) * 50), "the answer is too long"),
        ((OK, b"X: " + b"x" * MAX_HEAD_BYTES), "the answer is too long"),
        ((OK, b"X: y\r\n" * MAX_HEAD_BYTES), "the answer is too long"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_HEAD_BYTES,), "the answer is too long"),
    ],
)
def test_an_answer_that_is_none_or_without_end_is_said(
    pieces: tuple[bytes, ...], text: str
) -> None:
    with pytest.raises(HttpError) as raised:
        answered(pieces)
    assert str(raised.value) == text


def test_a_body_that_nobody_wants_is_not_waited_for() -> None:
    head = OK + b"Content-Length: 999999999999\r\n\r\n"
    assert answered((head,), lambda site: site.request("HEAD")).status == 200
    found = answered((head,), lambda site: site.request("GET", status_only=True))
    assert (found.status, found.body) == (200, b"")


@pytest.mark.parametrize("value", ["secret\r\nX: y", "sécret"])
def test_what_http_cannot_carry_is_not_sent_and_not_shown(value: str) -> None:
    async def ask(site: Site) -> Response:
        return await site.request("POST", headers=[("Authorization", value)])

    with pytest.raises(HttpError) as raised:
        answered((OK + b"\r\n",), ask)
    assert str(raised.value) == "the request has what HTTP cannot carry"


FRAGMENTS = st.one_of(
    st.sampled_from(
        [
            *(OK, b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No\r\n", b"HTTP/1.1 100 Go\r\n\r\n"),
            *(b"HTTP/1.1 ", b"HTTP/9.9 200 OK\r\n", POST, GET, b"HEAD / HTTP/1.0\r\n\r\n"),
            *(b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\n", b"Expect: 100-continue\r\n"),
            *(b"Content-Length: 3\r\n", b"Content-Length: 99999999\r\n", b"Content-Length: \r\n"),
            *(CHUNKED, b"\r\n", b"\n", b"\r\n\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"fffff\r\n"),
            *(b"3;" + b"x" * 9000, b"x" * 20_000, b"X: \xff\r\n", b" folded\r\n", b"\x16\x03\x01"),
        ]
    ),
    st.binary(max_size=20),
)


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(FRAGMENTS, max_size=12), status_only=st.booleans())
async def test_fuzz_the_client_gets_an_answer_or_a_fault(
    pieces: list[bytes], status_only: bool
) -> None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    lines = [("Host", "h"), ("Connection", "close")]
    for event in (h11.Request(method="GET", target="/", headers=lines), h11.EndOfMessage()):
        connection.send(event)
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    async with asyncio.timeout(LIMIT_S):
        with contextlib.suppress(HttpError):
            found = await http_client._response(connection, reader, status_only)
            assert 200 <= found.status < 1000
            assert len(found.body) <= MAX_BODY_BYTES


# ---------------------------------------------------------------------- server


class Echo:
    """Answers `POST /echo` with the body, and `GET /` with `root`."""

    asked = 0

    def room(self, request: Request) -> int:
        if request.path not in ("/", "/echo"):
            raise HttpError("no such path", 404)
        return ROOM if request.method == "POST" else 0

    def respond(self, request: Request) -> Response:
        self.asked += 1
        return Response(status=200, body=request.body or b"root", headers={"X-From": "echo"})


def got(*pieces: bytes, goes: bool = False) -> tuple[bytes, int]:
    """All that the server sends to this client, and how many requests it carried out.

    With `goes` the client closes instead of waiting.
    """

    async def story() -> tuple[bytes, int]:
        echo = Echo()
        server = Server(echo)
        port = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = b""
        async with asyncio.timeout(LIMIT_S):
            with contextlib.suppress(OSError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if goes:
                    writer.transport.abort()
                else:
                    answer = await reader.read()
            writer.close()
            while server._places._taken:
                await asyncio.sleep(0)
        await server.close()
        return answer, echo.asked

    return asyncio.run(story())


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ((GET,), 200),
        ((b"GET / HTTP/1.0\r\n\r\n",), 200),
        ((POST + b"Content-Length: 3\r\n\r\n", b"abc"), 200),
        ((POST + CHUNKED, b"2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n"), 200),
        ((POST + CHUNKED, b"b\r\nabcdefghijk\r\n0\r\n\r\n"), 413),
        ((POST + CHUNKED, b"zz\r\n"), 400),
        ((POST + CHUNKED, *(b"1;" + b"x" * 7000 + b"\r\na\r\n",) * 4), 431),
        ((POST + CHUNKED, b"1;" + b"x" * 100_000), 431),
        ((POST + b"Content-Length: 11\r\n\r\n",), 413),
        ((POST + b"Content-Length: 99999999999999999999\r\n\r\n",), 413),
        ((POST + b"Content-Length: 999999999999999999999\r\n\r\n",), 400),
        ((POST + b"Content-Length: -1\r\n\r\n",), 400),
        ((POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",), 400),
        ((POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",), 501),
        ((b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n",), 404),
        ((b"GET / HTTP/1.1\r\n\r\n",), 400),
        ((b"GET / HTTP/2.0\r\n\r\n",), 505),
        ((b"GET /\r\n\r\n",), 400),
        ((b"\x16\x03\x01\x02\x00\r\n\r\n",), 400),
        ((b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 10_000), 431),
        ((b"X" * 100_000,), 431),
    ],
)
def test_a_server_takes_what_is_http_and_short_enough(pieces: tuple[bytes, ...], code: int) -> None:
    answer, asked = got(*pieces)
    assert status(answer) == code
    assert asked == (code == 200)
    assert b"Connection: close\r\n" in answer


def test_a_head_as_long_as_the_limit_is_taken() -> None:
    begun = b"GET / HTTP/1.1\r\nHost: h\r\nX: "
    fill = MAX_ASKED_HEAD_BYTES - len(begun) - 4
    assert status(got(begun + b"x" * fill + b"\r\n\r\n")[0]) == 200
    assert status(got(begun + b"x" * (fill + 1) + b"\r\n\r\n")[0]) == 431


def test_only_the_first_of_many_requests_on_a_connection_is_answered() -> None:
    answer, asked = got(GET * 3)
    assert (answer.count(b"HTTP/1.1 "), asked) == (1, 1)
    assert answer.endswith(b"\r\n\r\nroot")


def test_head_tells_the_length_and_sends_no_body() -> None:
    answer, _ = got(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert b"Content-Length: 4\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "pieces",
    [(), (b"GE",), (POST + b"Content-Length: 3\r\n\r\n", b"ab"), (POST + CHUNKED + b"3\r\nab",)],
)
def test_a_client_that_goes_early_asked_nothing(pieces: tuple[bytes, ...]) -> None:
    assert got(*pieces, goes=True) == (b"", 0)


async def test_a_server_and_a_site_understand_each_other() -> None:
    server = Server(Echo())
    site = Site(f"http://127.0.0.1:{await server.start('127.0.0.1', 0)}/")
    for body in (b"abc", b"0123456789"):
        found = await site.request("POST", "/echo", body=body)
        assert (found.status, found.body, found.header("X-From")) == (200, body, "echo")
    assert (await site.request("GET")).body == b"root"
    assert (await site.request("HEAD")).body == b""
    assert (await site.request("DELETE", "/else")).status == 404
    await server.close()


@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(FRAGMENTS, max_size=12))
def test_fuzz_the_server_answers_once_or_hangs_up(pieces: list[bytes]) -> None:
    faults: list[dict[str, object]] = []

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: faults.append(what))
        server = Server(Echo())
        port = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(LIMIT_S):
            with contextlib.suppress(OSError):
                writer.write(b"".join(pieces))
                writer.write_eof()
                answer = await reader.read()
                assert answer.count(b"HTTP/1.1 ") <= 1
                assert not answer or 200 <= status(answer) < 600
            writer.close()
            while server._places._taken:
                await asyncio.sleep(0)
        await server.close()

    # A loop of its own for each example: what its end finds unfinished is a fault, too.
    asyncio.run(story())
    assert not faults


# ---------------------------------------------------------------------- places


def test_a_site_with_a_whole_network_of_addresses_is_one_source() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") != source_of("2001:db8:1::1")
    assert source_of("fe80::1%eth0") == "fe80::/64"
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1") == "192.0.2.1"


def test_places_come_back_and_the_memory_of_servers_is_bounded() -> None:
    places = Places()
    for n in range(5000):
        taken = places.take(f"source{n}")
        assert taken
        places.know(f"source{n}")
        places.give_back(taken)
    assert not places._taken
    assert len(places._known) == 1024
