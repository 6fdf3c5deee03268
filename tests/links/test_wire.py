"""The heartbeat datagram: what gets through, and the reason for whatever does not."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clptools.core.model.datagram import datagram_bytes
from clptools.core.model.messages import Beat, Echo, Epoch, Holding, Line, Term, Vote
from clptools.links.credentials import derive
from clptools.links.wire import WINDOW, DecodeError, Replays, ReplayWindow, Wire

KEY = b"k" * 32
WIRE = Wire("cluster", [KEY])


WIRE_2 = b"\2" + WIRE.encode(Beat(sender="", to="", incarnation="", seq=0, sent_at=0))[1:9]
"""The head of the second form."""


def beat(**changes: object) -> Beat:
    full = Beat(
        sender="server1",
        to="server2",
        incarnation="a1",
        seq=7,
        sent_at=123456,
        echo=Echo(incarnation="b1", sent_at=99),
        term=Term(3, "a1"),
        vote=Vote(term=Term(3, "a1"), sent_at=5),
        holdings=(Holding(group="failover1", seen=Epoch(3, "a1", 2), held=True, state="online"),),
        hears=("server2", "server3"),
    )
    return msgspec.structs.replace(full, **changes)


def reason(frame: bytes, wire: Wire = WIRE) -> str:
    with pytest.raises(DecodeError) as caught:
        wire.decode(frame)
    return caught.value.reason.value


def resign(change: Callable[[bytearray], None], key: bytes = KEY) -> bytes:
    """A frame changed by somebody who has the key."""
    import hmac

    data = bytearray(WIRE.encode(beat())[:-32])
    change(data)
    return bytes(data) + hmac.digest(derive(key, "heartbeat"), bytes(data), "sha256")


def test_a_heartbeat_arrives_as_it_was_sent() -> None:
    assert WIRE.decode(WIRE.encode(beat())) == beat()


def test_32_servers_and_50_groups_fit_and_an_ordinary_beat_needs_one_packet() -> None:
    assert len(WIRE.encode(beat())) < 500
    servers = tuple(f"server{n}" for n in range(32))
    assert len(WIRE.encode(beat(hears=servers, out=servers, lacks=servers))) < 1_400
    holding = Holding(
        group="failover-group-with-a-name", seen=Epoch(3, "a" * 32, 2), held=True, state="online"
    )
    assert len(WIRE.encode(beat(hears=servers, holdings=(holding,) * 50))) < 10_000


NAMES = tuple(f"server{n}" for n in range(1, 33))
LINE = Line(
    number=3,
    holding=Holding(group="failover1", seen=Epoch(3, "a1", 2), held=True, state="online"),
    unproven=True,
)


def test_a_listed_beat_and_a_page_arrive_as_they_were_sent() -> None:
    wire = Wire("cluster", [KEY], NAMES)
    listed = beat(listed=7, count=2, total=9, holdings=(), out=NAMES[:2], lacks=NAMES[3:], hears=())
    for sent in (listed, beat(page=(LINE,), hears=(), holdings=())):
        frame = wire.encode(sent)
        assert wire.decode(frame) == sent
        assert len(frame) == datagram_bytes(sent)


def test_in_a_key_roll_every_two_servers_read_what_the_other_one_signs() -> None:
    new = b"n" * 32
    before, accepts, uses, after = (
        Wire("cluster", keys, NAMES) for keys in ([KEY], [KEY, new], [new, KEY], [new])
    )
    for stages in ((before, accepts), (accepts, uses), (uses, after)):
        for sender in stages:
            for receiver in stages:
                assert receiver.decode(sender.encode(beat())) == beat()
    with pytest.raises(DecodeError, match="bad_mac"):
        before.decode(uses.encode(beat()))


def test_an_earlier_version_drops_what_it_would_take_for_no_holdings() -> None:
    """It compares the first byte with 1."""
    assert WIRE.encode(beat())[0] == 1
    assert WIRE.encode(beat(listed=1, holdings=()))[0] == 2
    assert WIRE.encode(beat(page=(LINE,)))[0] == 2


def test_a_name_that_is_not_known_is_nobody_and_is_passed_on_as_it_came() -> None:
    sent = beat(listed=7, lacks=("server9", "server1"))
    here = Wire("cluster", [KEY], ["server1"]).decode(Wire("cluster", [KEY], NAMES).encode(sent))
    assert here.lacks[1] == "server1"
    assert here.lacks[0] not in NAMES
    passed = Wire("cluster", [KEY], ["server1"]).encode(here)
    assert Wire("cluster", [KEY], NAMES).decode(passed) == sent


def test_a_form_says_what_it_brings() -> None:
    """A beat without its list in the form of one that is whole would say that nothing is held."""
    plain = resign(lambda data: data.__setitem__(0, 2))
    assert reason(plain) == "malformed"
    bare = msgspec.msgpack.encode(beat(listed=7))
    assert reason(resign(lambda data: data.__setitem__(slice(9, None), bare))) == "malformed"

    def half(data: bytearray) -> None:
        data[0] = 2
        data[9:] = msgspec.msgpack.encode([beat(listed=7, hears=()), b"abc", b"", b""])

    assert reason(resign(half)) == "malformed"


def test_a_beat_that_cannot_be_sent_says_so() -> None:
    with pytest.raises(DecodeError):
        WIRE.encode(beat(coordinator="x" * 60_000))


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b"", "truncated"),
        (b"\x01" * 41, "truncated"),
        (b"\x01" * 60_001, "oversized"),
        (b"GET / HTTP/1.1\r\nHost: server1\r\nUser-Agent: x\r\n\r\n", "bad_version"),
        (WIRE.encode(beat())[:-1], "bad_mac"),
        (WIRE.encode(beat()) + b"\0", "bad_mac"),
        (Wire("cluster", [b"j" * 32]).encode(beat()), "bad_mac"),
        (Wire("other", [KEY]).encode(beat()), "other_cluster"),
        (resign(lambda data: data.__setitem__(slice(9, None), b"\xc1" * 20)), "malformed"),
        (resign(lambda data: data.extend(b"\0")), "malformed"),
        (resign(lambda data: data.__setitem__(slice(9, None), b"\x91" * 5000)), "malformed"),
        (resign(lambda data: data.__setitem__(slice(9, None), b"\xa2\xff\xfe" * 9)), "malformed"),
    ],
)
def test_garbage_is_dropped_with_its_reason(frame: bytes, expected: str) -> None:
    assert reason(frame) == expected


def test_every_flipped_bit_is_noticed() -> None:
    frame = WIRE.encode(beat())
    for at in range(0, len(frame) * 8, 7):
        broken = bytearray(frame)
        broken[at // 8] ^= 1 << at % 8
        with pytest.raises(DecodeError):
            WIRE.decode(bytes(broken))


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_fuzz_random_bytes_never_raise_anything_else(data: bytes) -> None:
    with pytest.raises(DecodeError):
        WIRE.decode(data)
    with pytest.raises(DecodeError):
        WIRE.decode(resign(lambda frame: frame.__setitem__(slice(9, None), data or b"\xc1")))
    with pytest.raises(DecodeError):
        WIRE.decode(resign(lambda frame: frame.__setitem__(slice(0, None), WIRE_2 + data)))


@settings(max_examples=200)
@given(st.lists(st.integers(0, 3 * WINDOW), max_size=300))
def test_the_window_lets_each_number_through_once(numbers: list[int]) -> None:
    window, seen, newest = ReplayWindow(), set[int](), -1
    for number in numbers:
        expected = number not in seen and number > newest - WINDOW
        assert window.fresh(number) is expected
        seen.add(number)
        newest = max(newest, number)


def test_the_same_beat_counts_once_on_each_path() -> None:
    replays = Replays()
    assert replays.fresh("lankhb1", "server1", "a", 5)
    assert replays.fresh("lanhb1", "server1", "a", 5)
    assert not replays.fresh("lankhb1", "server1", "a", 5)
    assert replays.fresh("lankhb1", "server1", "b", 5), "a new incarnation begins anew"


def test_old_captures_push_no_living_incarnation_out() -> None:
    replays = Replays()
    for number in range(100):
        assert replays.fresh("lankhb1", "server1", "living", number)
        assert replays.fresh("lankhb1", "server1", f"old{number}", 1)
    assert not replays.fresh("lankhb1", "server1", "living", 50)


def test_keys_of_different_purposes_differ_and_a_short_secret_is_refused() -> None:
    assert derive(KEY, "heartbeat") != derive(KEY, "authority")
    assert len(derive(KEY, "x", 100)) == 100
    with pytest.raises(ValueError, match="at least 16"):
        derive(b"short", "heartbeat")


def test_hkdf_agrees_with_the_library() -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    theirs = HKDF(algorithm=SHA256(), length=80, salt=b"clptools 1", info=b"label").derive(KEY)
    assert derive(KEY, "label", 80) == theirs
