"""BER read and written: the same cases both ways, in pieces, and with garbage behind."""

from __future__ import annotations

import pytest

from clptools.intake import ber
from clptools.intake.ber import DecodeError

OIDS = [
    ("1.3.6.1.4.1.3183.1.1.1", "060a2b06010401986f010101"),
    ("1.3", "06012b"),
    ("0.0", "060100"),
    ("2.999.1", "0603883701"),
    ("1.3.6.4294967295", "06072b068fffffff7f"),
]
INTEGERS = [
    (0, "020100"),
    (127, "02017f"),
    (128, "02020080"),
    (-1, "0201ff"),
    (-128, "020180"),
    (-129, "0202ff7f"),
    (2**31 - 1, "02047fffffff"),
    (2**32 - 1, "020500ffffffff"),
]


@pytest.mark.parametrize("text, wire", OIDS)
def test_object_identifiers_both_ways(text: str, wire: str) -> None:
    data = bytes.fromhex(wire)
    assert ber.oid(text) == data
    start, end = ber.expect(data, 0, len(data), ber.OID, "oid")
    assert ber.oid_value(data[start:end]) == text


@pytest.mark.parametrize("number, wire", INTEGERS)
def test_integers_both_ways(number: int, wire: str) -> None:
    data = bytes.fromhex(wire)
    assert ber.integer(number) == data
    assert ber.read_integer(data, 0, len(data), "n") == (number, len(data))
    assert ber.read_integer(data + b"behind", 0, len(data), "n") == (number, len(data))


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths_both_ways(size: int) -> None:
    data = ber.octets(b"x" * size)
    assert ber.read_octets(data, 0, len(data), "o", size) == (b"x" * size, len(data))
    for cut in {0, 1, 2, len(data) - 1} - {len(data)}:
        with pytest.raises(DecodeError):
            ber.read_octets(data[:cut], 0, cut, "o", size)


@pytest.mark.parametrize(
    "wire, reason",
    [
        ("", "cut off"),
        ("04", "cut off"),
        ("0480", "unusable form"),
        ("0485000000000100", "unusable form"),
        ("0484ffffffff00", "longer than what holds it"),
        ("048200", "cut off"),
        ("1f0100", "several bytes"),
        ("0402aa", "longer than what holds it"),
    ],
)
def test_hostile_elements_are_refused_with_their_reason(wire: str, reason: str) -> None:
    data = bytes.fromhex(wire)
    with pytest.raises(DecodeError, match=reason):
        ber.read(data, 0, len(data))


@pytest.mark.parametrize(
    "wire", ["", "ff", "2b80", "2bffffffffff7f", "2b" + "81" * 600 + "01"], ids=lambda w: w[:12]
)
def test_hostile_object_identifiers_are_refused(wire: str) -> None:
    with pytest.raises(DecodeError):
        ber.oid_value(bytes.fromhex(wire))


@pytest.mark.parametrize("wire", ["", "00" * 10])
def test_integers_of_no_or_absurd_length_are_refused(wire: str) -> None:
    with pytest.raises(DecodeError):
        ber.integer_value(bytes.fromhex(wire))
    with pytest.raises(DecodeError):
        ber.unsigned_value(bytes.fromhex(wire))
