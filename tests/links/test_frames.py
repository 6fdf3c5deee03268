"""Frames of the control channel: nothing but a FrameError comes of garbage."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clptools.links import connection


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_fuzz_garbage_is_a_frame_or_a_frame_error(data: bytes) -> None:
    try:
        again = connection.decode_frame(data)
    except connection.FrameError as error:
        assert error.reason == "malformed"
    else:
        assert connection.decode_frame(connection.encode_frame(again)[4:]) == again


async def test_a_frame_arrives_whole_byte_by_byte_and_with_another_behind() -> None:
    sent = [connection.Hello(session="s"), connection.Ping(), connection.Ack(number=7)]
    for size in (1, 3, 1000):
        reader = asyncio.StreamReader()
        data = b"".join(connection.encode_frame(frame) for frame in sent)
        for at in range(0, len(data), size):
            reader.feed_data(data[at : at + size])
        assert [await connection.read_frame(reader, 100, 1.0) for _ in sent] == sent


def test_a_length_beyond_the_limit_is_refused_before_a_byte_of_it_is_kept() -> None:
    with pytest.raises(connection.FrameError, match="oversized"):
        connection.length_of(b"\0\0\1\0", 255)
