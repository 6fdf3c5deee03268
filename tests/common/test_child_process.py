"""Messages between the agent and its processes."""

from __future__ import annotations

import asyncio
import signal
import socket

import msgspec
import pytest

from clptools.arbiters.disk_worker import Command, Result, Setup
from clptools.common.child_process import framed, read, receive, start
from tests.conftest import LIMIT_S


class Said(msgspec.Struct, frozen=True):
    text: str


async def test_each_end_reads_what_the_other_wrote_and_sees_it_end() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    writer.write(framed(Said("one")) + framed(Said("two")))
    await writer.drain()
    assert [receive(theirs, Said), receive(theirs, Said)] == [Said("one"), Said("two")]
    theirs.sendall(framed(Said("back")))
    assert await read(reader, Said, 100) == Said("back")
    theirs.sendall(framed(Said("x" * 100)))
    with pytest.raises(ValueError, match="a message of"):
        await read(reader, Said, 100)
    writer.write(framed(Said("cut off"))[:-1])
    writer.close()
    await writer.wait_closed()
    assert receive(theirs, Said) is None
    theirs.close()


async def test_ctrl_c_does_not_reach_it_and_it_ends_with_its_socket() -> None:
    process, ours = await start("clptools.arbiters.disk_worker")
    reader, writer = await asyncio.open_connection(sock=ours)
    writer.write(framed(Setup(path="/none", cluster="c", server="s", token="t", preferred=0)))
    for number in range(2):
        writer.write(framed(Command(number=number, op="join", lease_ms=1000)))
        assert (await read(reader, Result, 1000)).held.error == "no such file or directory"
        process.send_signal(signal.SIGINT)
    writer.close()
    assert await asyncio.wait_for(process.wait(), LIMIT_S) == 0
