"""`ping` and `http`: one answer is enough, and what is said when there is none."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clptools.arbiters.base import Held
from clptools.arbiters.http import HttpArbiter
from clptools.arbiters.ping import PingArbiter
from clptools.core.model.settings import Arbiter
from tests.arbiters.parts import context
from tests.conftest import LIMIT_S, free_port

NOBODY = "192.0.2.1"
"""TEST-NET-1 (RFC 5737)."""


def ping(*targets: str, timeout_ms: int = 5_000) -> Held:
    definition = Arbiter(name="ping1", type="ping", options={"targets": targets})
    return asyncio.run(PingArbiter(definition, context("server1", timeout_ms=timeout_ms)).hold(1))


def test_one_target_that_answers_is_enough() -> None:
    try:
        assert ping("127.0.0.1") == Held(held=True)
    except PermissionError:
        pytest.skip("NOT TESTED: no ICMP socket is permitted")
    assert ping("127.0.0.1", "127.0.0.2") == Held(held=True)


def test_ping_over_ipv6() -> None:
    answer = ping("::1")
    if "address" in answer.error:
        pytest.skip(f"NOT TESTED: no IPv6 here: {answer.error}")
    assert answer.held


def test_no_answer_is_said_in_time() -> None:
    """In a network of its own, where nobody is."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("NOT TESTED: a network namespace needs root, unshare and ip")
    asked = (
        "from tests.arbiters.test_weak import ping, NOBODY; "
        "answer = ping(NOBODY, timeout_ms=300); print(answer.held, answer.error)"
    )
    commands = (
        "ip link add d0 type veth peer name d1 && ip addr add 192.0.2.2/24 dev d0 && "
        'ip link set d1 up && ip link set d0 up && exec "$0" -c "$1"'
    )
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", commands, sys.executable, asked],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    said = f"False ping1: no answer from {NOBODY} within 0.3 s"
    assert done.stdout.startswith(said), done.stdout + done.stderr


def serve(answer: bytes, story: Callable[[str], Awaitable[Held]]) -> Held:
    """Run `story(url)` while a server sends `answer` to everybody."""

    async def played() -> Held:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            refuses = answer.startswith(b"HTTP/1.1 405") and head.startswith(b"GET")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if refuses else answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        try:
            return await story(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/alive?x=1")
        finally:
            server.close()

    return asyncio.run(played())


async def http(url: str, timeout_ms: int = 5_000) -> Held:
    definition = Arbiter(name="http1", type="http", options={"url": url})
    return await HttpArbiter(definition, context("server1", timeout_ms=timeout_ms)).hold(1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 302 Found\r\nLocation: /login\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 405 Method Not Allowed\r\n\r\n",
    ],
)
def test_an_answer_of_a_web_server_is_enough(answer: bytes) -> None:
    assert serve(answer, http) == Held(held=True)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered with status 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 \xff\xff\xff\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "the answer is cut off"),
        (b"X" * 100_000 + b"\r\n\r\n", "the answer is too long"),
        (b"", "the answer is cut off"),
    ],
)
def test_what_is_no_answer_is_said(answer: bytes, text: str) -> None:
    held = serve(answer, http)
    assert not held.held
    assert held.error.startswith("http1: http://127.0.0.1:")
    assert held.error.endswith(f": {text}")


async def test_a_port_where_nobody_listens_and_one_that_hangs() -> None:
    held = await http(f"http://127.0.0.1:{free_port()}/")
    assert held.error.endswith("connection refused")

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    held = await http(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", 500)
    server.close()
    assert held.error.endswith("no answer within 0.5 s")


def test_a_name_service_that_hangs_is_a_late_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    real = __import__("socket").getaddrinfo
    hangs, goes_on = False, threading.Event()

    def slow(host: object, *rest: object, **more: object) -> object:
        if host == "alive.example":
            if hangs:
                goes_on.wait(LIMIT_S)
            host = "127.0.0.1"
        return real(host, *rest, **more)

    monkeypatch.setattr("socket.getaddrinfo", slow)

    async def story(url: str) -> Held:
        nonlocal hangs
        definition = Arbiter(
            name="http1",
            type="http",
            options={"url": url.replace("127.0.0.1", "alive.example")},
        )
        arbiter = HttpArbiter(definition, context("server1"))
        assert (await arbiter.hold(1)).held
        hangs = True
        assert (await arbiter.hold(1)).held, "the address of before serves"
        assert (await arbiter.hold(1)).held
        fresh = HttpArbiter(definition, context("server1", timeout_ms=200))
        held = await fresh.hold(1)
        goes_on.set()
        return held

    held = serve(b"HTTP/1.1 200 OK\r\n\r\n", story)
    assert held.error.endswith("no answer within 0.2 s")
