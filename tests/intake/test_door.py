"""The message door: who may speak, what is understood, when it is answered."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clptools.core.model.events import MessageSeen
from clptools.intake.message_socket import MessageDoor, bind_door, read_message
from tests.conftest import LIMIT_S, SLOWEST_MS, until


class Open:
    """A door in a folder, and what came through it."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "message.sock")
        self.events: list[MessageSeen] = []
        self.durable = asyncio.Event()
        self.durable.set()
        self.door = MessageDoor(bind_door(self.path), self._take, lambda event: ("nicw",))

    async def _take(self, event: MessageSeen) -> None:
        await self.durable.wait()
        if event.text == "disk full":
            raise OSError("no space left")
        self.events.append(event)

    async def __aenter__(self) -> Open:
        self.door.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.durable.set()
        await self.door.close()

    @property
    def counters(self) -> dict[str, int]:
        return {k: v for k, v in self.door.counters.as_dict().items() if v}


async def ask(path: str, data: bytes) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind("")
        sock.connect(path)
        sock.send(data)
        answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 65536), LIMIT_S)
    return json.loads(answer)


def say(path: str, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(data, path)


async def test_a_message_becomes_an_event_and_is_answered(tmp_path: Path) -> None:
    async with Open(tmp_path) as door:
        message = {"category": "NIC", "keyword": "eth0", "text": "link\n down"}
        assert await ask(door.path, json.dumps(message).encode()) == {
            "accepted": True,
            "monitors": ["nicw"],
        }
        (event,) = door.events
        assert (event.category, event.keyword, event.text) == ("NIC", "eth0", "link down")
        assert not event.recovered
        assert f"(pid {os.getpid()})" in event.origin


async def test_the_answer_waits_for_the_disk(tmp_path: Path) -> None:
    async with Open(tmp_path) as door:
        door.durable.clear()
        data = b'{"category": "NIC", "text": "up", "state": "recovered"}'
        asked = asyncio.create_task(ask(door.path, data))
        await until(lambda: door.counters.get("received"))
        await asyncio.sleep(0.02)
        assert not asked.done()
        door.durable.set()
        assert await asked == {"accepted": True, "monitors": ["nicw"]}
        assert door.events[0].recovered


async def test_an_unbound_sender_is_heard_without_an_answer(tmp_path: Path) -> None:
    async with Open(tmp_path) as door:
        say(door.path, b'{"category": "SPS", "text": "path lost"}')
        await until(lambda: door.events)


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "not a message"),
        (b"\xff\xfe", "not a message"),
        (b"[]", "not a message"),
        (b'{"category": "NIC"}', "text"),
        (b'{"category": "NIC", "text": "x", "colour": 1}', "colour"),
        (b'{"category": "NIC", "text": "x", "state": "odd"}', "odd"),
        (b'{"category": "", "text": "x"}', "category is empty"),
        (b'{"category": "N\\nC", "text": "x"}', "not printable"),
        (b'{"category": "NIC", "text": "\\ud800"}', "message"),
        (json.dumps({"category": "x" * 33, "text": "x"}).encode(), "33 bytes"),
        (json.dumps({"category": "NIC", "keyword": "x" * 1024, "text": "x"}).encode(), "1024"),
        (json.dumps({"category": "NIC", "text": "x" * 5000}).encode(), "5000"),
        (b'{"category": ' + b"[" * 9000, "not a message"),
        (b"x" * 17_000, "more than"),
        (b'{"category": "NIC", "text": "disk full"}', "no space left"),
    ],
)
async def test_what_is_no_message_is_refused_with_the_reason(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    async with Open(tmp_path) as door:
        answer = await ask(door.path, data)
        assert answer["accepted"] is False
        assert reason in str(answer["error"])
        good = b'{"category": "NIC", "text": "x"}'
        assert await ask(door.path, good) == {"accepted": True, "monitors": ["nicw"]}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_other_users_are_turned_away(tmp_path: Path) -> None:
    async with Open(tmp_path) as door:
        assert stat.S_IMODE(os.stat(door.path).st_mode) == 0o600
        # Even where the file's mode was loosened, the kernel's word for the sender decides.
        os.chmod(door.path, 0o777)
        folder = tmp_path
        while folder != folder.parent:
            if not os.stat(folder).st_mode & 1 and folder.owner() == "root":
                os.chmod(folder, 0o755)
            folder = folder.parent
        code = (
            "import os, socket, sys; os.setuid(65534); "
            "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
            's.sendto(b\'{"category": "NIC", "text": "x"}\', sys.argv[1])'
        )
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/env", "python3", "-c", code, door.path
        )
        assert await process.wait() == 0
        await until(lambda: door.counters.get("not_permitted"))
        assert not door.events


def test_a_dead_socket_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "message.sock")
    bind_door(path).close()
    bind_door(path).close()
    other = tmp_path / "file"
    other.write_text("mine")
    with pytest.raises(OSError):
        bind_door(str(other))
    assert other.read_text() == "mine"


async def test_gifts_of_file_descriptors_are_closed(tmp_path: Path) -> None:
    async with Open(tmp_path) as door:
        before = len(os.listdir("/proc/self/fd"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(door.path)
            for _ in range(20):
                socket.send_fds(sock, [b'{"category": "NIC", "text": "x"}'], [0, 1, 2])
                # The kernel holds ten datagrams; the door must get its turn.
                await asyncio.sleep(0)
        await until(lambda: len(door.events) == 20)
        assert len(os.listdir("/proc/self/fd")) <= before


@settings(max_examples=200, deadline=SLOWEST_MS)
@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda t: json.dumps(t).encode()))
def test_fuzz_no_datagram_raises_anything_else(data: bytes) -> None:
    try:
        read_message(data, "fuzz")
    except ValueError:
        return
