"""PETs: the class table row by row, the worked example, and what BMCs do in the field."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clptools.config.trap_names import row_fault
from clptools.core.model.trap_profiles import TrapProfile
from clptools.core.model.words import EventClass
from clptools.intake import ber, decoded_trap, pet
from clptools.intake.class_table import ClassTable
from clptools.intake.decoded_trap import DecodedTrap
from clptools.intake.pet import decode_pet
from clptools.intake.rehearsal import PetEvent, pet_event
from tests.conftest import SLOWEST_MS

TABLE = ClassTable()
NOW = 1_760_000_000.0

ROWS = {
    "FATAL": (
        "*/07/3 */07/6 */01/4 */01/B 07h/6F/0 07h/6F/1 07h/6F/2 07h/6F/3 07h/6F/4 07h/6F/6 "
        "07h/6F/B 0Ch/6F/1 0Ch/6F/2 0Ch/6F/3 0Ch/6F/A 13h/6F/4 13h/6F/5 13h/6F/8 13h/6F/9 "
        "13h/6F/A 09h/6F/2 09h/6F/3 09h/6F/5 09h/6F/6 19h/6F/1 20h/6F/0 20h/6F/1 23h/6F/1 "
        "23h/6F/2 23h/6F/3 12h/6F/2"
    ),
    "ERROR": (
        "*/07/2 */07/5 */01/2 */01/9 08h/6F/1 08h/6F/3 0Dh/6F/1 0Dh/6F/6 29h/6F/1 28h/6F/2 "
        "28h/6F/3 28h/6F/4 28h/6F/5"
    ),
    "PREDICT": "*/04/1 08h/6F/2 09h/6F/7 0Dh/6F/2 29h/6F/0",
    "PERFORMANCE": "*/06/1 */0A/6 07h/6F/A 0Ch/6F/9 13h/6F/B",
    "REDUNDANCY": "*/0B/1 */0B/2 */0B/3 */0B/5 */0B/6 */0B/7",
    "INFO": "10h/6F/2 12h/6F/0 12h/6F/5 1Dh/6F/1 1Fh/6F/6 2Ah/6F/0 27h/6F/1",
}
CASES = [(row, EventClass(c)) for c, rows in ROWS.items() for row in rows.split()]


def number(row: str, deasserted: bool = False) -> int:
    sensor, event, offset = row.replace("*", "01h").replace("h", "").split("/")
    bit = 0x80 if deasserted else 0
    return int(sensor, 16) << 16 | int(event, 16) << 8 | bit | int(offset, 16)


def told(specific: int | None, severity: int = 0, **keys: object) -> DecodedTrap:
    event = PetEvent(specific=specific or 0, severity=severity, **keys)  # type: ignore[arg-type]
    return decode_pet(specific, event.octets(), TABLE, NOW)


@pytest.mark.parametrize("row, event_class", CASES)
def test_each_row_gives_its_class_and_its_end_clears_it(row: str, event_class: EventClass) -> None:
    # Whatever the severity byte says, unless that is OK.
    for severity in (0x00, 0x01, 0x02, 0x08, 0x10, 0x20):
        found = told(number(row), severity)
        assert (found.event_class, found.clears, found.assertion) == (event_class, None, True)
    for severity in (0x00, 0x04, 0x20):
        end = told(number(row, deasserted=True), severity)
        assert (end.event_class, end.clears) == (EventClass.CLEAR, event_class)
        assert end.key == found.key
        assert end.assertion is False
    ok = told(number(row), 0x04)
    assert (ok.event_class, ok.clears) == (EventClass.CLEAR, event_class)
    assert ok.key == found.key


@pytest.mark.parametrize("row, event_class", CASES)
def test_each_row_means_something_in_words(row: str, event_class: EventClass) -> None:
    found = told(number(row))
    assert "event type" not in found.meaning
    assert ": " in found.meaning


@pytest.mark.parametrize(
    "good, bad, clears",
    [
        ("*/04/0", ["*/04/1"], EventClass.PREDICT),
        ("*/06/0", ["*/06/1"], EventClass.PERFORMANCE),
        ("*/0B/0", ["*/0B/1", "*/0B/2", "*/0B/7"], EventClass.REDUNDANCY),
        ("*/07/0", ["*/07/2", "*/07/3", "*/07/6"], None),
    ],
)
def test_the_good_state_closes_what_the_bad_ones_opened(
    good: str, bad: list[str], clears: EventClass | None
) -> None:
    # "Transition to OK" is a clear, whatever the severity byte claims.
    end = told(number(good), 0x10)
    assert (end.event_class, end.clears) == (EventClass.CLEAR, clears)
    closed = {end.key_of(offset) for offset in end.closes}
    assert end.key in closed
    assert {told(number(row)).key for row in bad} <= closed


GONE = {
    # A number, and what it means when it is asserted, or deasserted, again.
    552832: ("REDUNDANCY", 0x086F00),
    487303: ("ERROR", 0x076F07),
    0x0D6F80: ("REDUNDANCY", 0x0D6F00),
    0x256F80: ("REDUNDANCY", 0x256F00),
    0x0C6F86: ("ERROR", 0x0C6F06),
    0x1B6F80: ("ERROR", 0x1B6F00),
    0x216F82: ("REDUNDANCY", 0x216F02),
    0x296F82: ("ERROR", 0x296F02),
    0x2C6F84: ("ERROR", 0x2C6F04),
    0x0A0881: ("REDUNDANCY", 0x0A0801),
    0x040881: ("REDUNDANCY", 0x040801),
    0x080881: ("REDUNDANCY", 0x080801),
    0x0D0881: ("REDUNDANCY", 0x0D0801),
    0x070881: ("ERROR", 0x070801),
    0x080B80: ("REDUNDANCY", 0x080B00),
    0x090B80: ("REDUNDANCY", 0x090B00),
    0x0C0B80: ("REDUNDANCY", 0x0C0B00),
    0x0D0480: ("PREDICT", 0x0D0400),
    0x0D0400 | 0x8000: ("PREDICT", 0x0D0400),
    0x0C0680: ("PERFORMANCE", 0x0C0600),
    0x010188: ("ERROR", 0x010108),
    0x01018A: ("FATAL", 0x01010A),
    0x070380: ("FATAL", 0x070300),
}


@pytest.mark.parametrize("severity", [0x00, 0x02, 0x08, 0x10, 0x20])
@pytest.mark.parametrize("gone", GONE)
def test_a_good_state_that_ends_is_bad_news_until_it_is_back(gone: int, severity: int) -> None:
    event_class, back = GONE[gone]
    found, end = told(gone, severity), told(back, severity)
    assert (found.event_class, found.assertion) == (event_class, False)
    assert (end.event_class, end.assertion) == ("CLEAR", True)
    assert found.key in ({end.key_of(offset) for offset in end.closes} or {end.key})
    assert "no longer" in found.meaning
    # What says OK, means OK.
    assert told(gone, 0x04).event_class == "CLEAR"


@pytest.mark.parametrize(
    "bad, good", [(0x070900, 0x070901), (0x0D0A04, 0x0D0A00), (0x0D0A06, 0x0D0A03)]
)
def test_what_is_enabled_or_runs_again_ends_what_was_not(bad: int, good: int) -> None:
    opened, end = told(bad, 0x10), told(good, 0x10)
    assert opened.event_class in ("ERROR", "PERFORMANCE")
    assert end.event_class == "CLEAR"
    assert opened.key in {end.key_of(offset) for offset in end.closes}
    # It ends: bad news as grave as the BMC says.
    for severity, event_class in ((0x20, "FATAL"), (0x10, "ERROR"), (0x02, "INFO")):
        assert told(good | 0x80, severity).event_class == event_class


def test_a_part_that_no_row_knows_is_missing_by_its_severity() -> None:
    assert told(0x150881, 0x10).event_class == "ERROR"
    assert told(0x150881, 0x20).event_class == "FATAL"
    assert told(0x150881, 0x02).event_class == "INFO"
    end = told(0x150801, 0x10)
    assert end.event_class == "CLEAR"
    assert told(0x150881, 0x10).key in {end.key_of(offset) for offset in end.closes}


SUPERMICRO = {
    788208: "PREDICT",
    792304: "FATAL",
    796400: "ERROR",
    800496: "FATAL",
    800497: "FATAL",
    800498: "FATAL",
    800499: "PERFORMANCE",
    808688: "REDUNDANCY",
    812784: "PREDICT",
    816881: "PERFORMANCE",
    13332389: "FATAL",
    **dict.fromkeys(range(13397767, 13397810), "ERROR"),
    159489: "FATAL",
    159490: "INFO",
    487178: "PERFORMANCE",
    814848: "INFO",
    814849: "FATAL",
}


@pytest.mark.parametrize("severity", [0x00, 0x02, 0x08, 0x10, 0x20])
@pytest.mark.parametrize("maker", [10876, 47488, 0x7C2A0000, 0x2A7C])
@pytest.mark.parametrize("specific", SUPERMICRO)
def test_supermicros_numbers_mean_what_their_maker_says(
    specific: int, maker: int, severity: int
) -> None:
    found = told(specific, severity, manufacturer=maker)
    assert found.event_class == SUPERMICRO[specific]
    assert found.assertion is True


@pytest.mark.parametrize("specific", [n for n in SUPERMICRO if n not in (159489, 159490)])
def test_they_mean_the_same_where_the_trap_does_not_say_its_maker(specific: int) -> None:
    for octets in (PetEvent(specific=specific, severity=0x10).octets(), None, b"", b"\0" * 20):
        assert decode_pet(specific, octets, TABLE, NOW).event_class == SUPERMICRO[specific]


def test_supermicros_codes_and_shifted_numbers_have_keys_of_their_own() -> None:
    keys = {told(n, 0x10, manufacturer=10876).key for n in SUPERMICRO}
    assert len(keys) == len(SUPERMICRO)
    drive = told(788208, manufacturer=10876)
    assert (drive.sensor_type, drive.event_type, drive.offset) == (0xC0, 0x6F, 0)
    assert "Supermicro" in drive.meaning
    for end, severity in ((0xC06F80, 0x10), (0xC0EF00, 0x10), (0xC0EF0, 0x02)):
        over = told(end, severity, manufacturer=10876)
        assert (over.event_class, over.clears, over.key) == ("CLEAR", "PREDICT", drive.key)
    # Shifted and with bit 15 is a guess.
    assert told(0xC0EF0, 0x10, manufacturer=10876).event_class == "ERROR"
    assert told(192258, 0x10, manufacturer=10876).event_class == "CLEAR"
    prochot = told(519946, 0x10, manufacturer=10876)
    assert (prochot.event_class, prochot.key) == ("CLEAR", told(487178).key)


DOUBTFUL = [
    *(n for n in SUPERMICRO if 0xC0000 <= n < 0xC8000 and n not in (814848, 814849)),
    0x0C06F0,  # event type 06, all reserved bits
    0x0D6FF0,  # a drive slot, all reserved bits
    0x076F90,
    0x0D0440,  # "no failure predicted", a reserved bit
    0x0C0685,  # event type 06 has two offsets
    0x0C0089 | 0x8000,  # bit 15 with no event type
    0x03F301,  # bit 15 with an OEM event type: two bytes swapped
    0x0C0D81,  # event type 0Dh is none
    0x6F0781,  # two bytes swapped
    0x016F0D << 8 | 0x80,  # wider than it can be
]


@pytest.mark.parametrize("maker", [674, 119, 99_999])
@pytest.mark.parametrize("specific", DOUBTFUL)
def test_a_doubtful_number_never_ends_anything_while_it_is_grave(specific: int, maker: int) -> None:
    for severity, event_class in ((0x20, "FATAL"), (0x10, "ERROR"), (0x08, "UNKNOWN")):
        found = told(specific, severity, manufacturer=maker)
        assert (found.event_class, found.clears) == (event_class, None)
        assert found.quirks
    assert told(specific, 0x00, manufacturer=maker).event_class in ("UNKNOWN", "ERROR", "FATAL")
    # Another doubtful number of the same sensor is another fault; only OK for the same ends it.
    found, ok = (told(specific, severity, manufacturer=maker) for severity in (0x10, 0x04))
    assert ok.event_class == "CLEAR"
    assert found.key != told(specific ^ 0x01, 0x10, manufacturer=maker).key


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**24 - 1), st.sampled_from((0x08, 0x10, 0x20)), st.integers(0, 0xFF))
def test_fuzz_whatever_ends_in_clear_while_it_is_grave_is_a_regular_number(
    specific: int, severity: int, data: int
) -> None:
    found = told(specific, severity, event_data=bytes((data, 1, 3)), manufacturer=119)
    if found.event_class == "CLEAR":
        doubts = ("reserved", "none", "swapped", "has no offset", "in the event data", "wider")
        assert not any(doubt in quirk for quirk in found.quirks for doubt in doubts)


def test_an_offset_that_the_event_data_deny_ends_nothing_while_it_is_grave() -> None:
    for specific in (0x0D0400, 0x0D6F81, 0x086F00, 0x010108):
        assert told(specific, 0x10, event_data=b"\xa2\x01\x03").event_class == "ERROR"
        assert told(specific, 0x02, event_data=b"\xa2\x01\x03").event_class == "CLEAR"
    # Event data that say nothing deny nothing.
    assert told(0x0D6F81, 0x10, event_data=bytes(8)).event_class == "CLEAR"


@pytest.mark.parametrize("maker", [674, 0, 0xA2020000])
def test_the_end_of_dells_power_warning_is_the_next_offset(maker: int) -> None:
    for begun in (2322180, 2322182):
        found = told(begun, 0x10, manufacturer=maker)
        end = told(begun + 1, 0x10, manufacturer=maker)
        assert (found.event_class, end.event_class) == ("PERFORMANCE", "CLEAR")
        assert end.closes == (found.offset,)
        assert end.key == found.key


@pytest.mark.parametrize("maker", [674, 0])
@pytest.mark.parametrize(
    "specific, event_class",
    [
        (12611334, "PERFORMANCE"),
        (1404932, "ERROR"),
        (13201154, "ERROR"),
        (13201280, "ERROR"),
        (13201152, "CLEAR"),
    ],
)
def test_dells_own_sensors_are_known(specific: int, event_class: str, maker: int) -> None:
    for severity in (0x00, 0x10):
        found = told(specific, severity, manufacturer=maker)
        assert (found.event_class, found.profile) == (event_class, "dell")
    over = told(12611462, 0x10, manufacturer=maker)
    assert (over.event_class, over.key) == ("CLEAR", told(12611334, manufacturer=maker).key)


CISCO = {
    # Cisco UCS C-Series CLI configuration guide 1.5, "Platform Event Trap Descriptions".
    0: "INFO",
    65799: "UNKNOWN",
    65801: "ERROR",
    131330: "ERROR",
    131337: "ERROR",
    262402: "ERROR",
    459776: "CLEAR",
    459777: "PREDICT",
    460032: "CLEAR",
    524533: "ERROR",
}


@pytest.mark.parametrize("specific", CISCO)
def test_ciscos_numbers_are_read_as_its_guide_has_them(specific: int) -> None:
    for octets in (None, PetEvent(specific=specific, severity=0, sensor=0).octets()):
        assert decode_pet(specific, octets, TABLE, NOW).event_class == CISCO[specific]


def test_an_oem_sensor_of_another_maker_is_not_dells() -> None:
    assert told(12611334, 0x10, manufacturer=119).event_class == "ERROR"
    assert told(788208, 0x10, manufacturer=674).event_class == "ERROR"


THRESHOLDS = [(0x9, 0x8), (0xB, 0xA), (0x2, 0x3), (0x4, 0x5), (0xB, 0x8), (0x4, 0x3), (0x9, 0x6)]


@pytest.mark.parametrize("sensor_type", [0x01, 0x02, 0x03, 0x04, 0x0A, 0x0B, 0xC5])
@pytest.mark.parametrize("passed, back", THRESHOLDS)
def test_a_threshold_that_is_passed_on_the_way_back_closes(
    sensor_type: int, passed: int, back: int
) -> None:
    for severity in (0x00, 0x02, 0x08, 0x10, 0x20):
        opened = told(sensor_type << 16 | 0x0100 | passed, severity)
        closed = told(sensor_type << 16 | 0x0100 | back, severity)
        assert opened.event_class in ("ERROR", "FATAL")
        assert closed.event_class == "CLEAR"
        assert opened.key in {closed.key_of(offset) for offset in closed.closes}
        other = told(sensor_type << 16 | 0x0100 | (0x2 if passed >= 0x6 else 0x9), severity)
        assert other.key not in {closed.key_of(offset) for offset in closed.closes}


def test_caterr_is_fatal_and_ends_by_the_state_that_is_not() -> None:
    for severity in (0x00, 0x08, 0x10):
        found = told(459521, severity)
        assert found.event_class == "FATAL"
        for end in (0x070300, 0x070381):
            over = told(end, severity)
            assert over.event_class == "CLEAR"
            assert over.key == found.key


@pytest.mark.parametrize("maker", [343, 0, 0x57010000])
def test_intels_swapped_number_is_read_as_its_maker_means_it(maker: int) -> None:
    for severity in (0x00, 0x10):
        swapped, right = (told(n, severity, manufacturer=maker) for n in (258817, 15926017))
        assert (swapped.event_class, right.event_class) == ("ERROR", "ERROR")
        assert swapped.key == right.key
        over = told(258945, severity, manufacturer=maker)
        assert (over.event_class, over.key) == ("CLEAR", right.key)


@pytest.mark.parametrize(
    "row, event_class",
    [
        *((f"13h/6F/{n}", "ERROR") for n in "126"),
        *((f"08h/6F/{n}", "ERROR") for n in "456"),
        *((f"07h/6F/{n}", "ERROR") for n in "58"),
        *((f"0Ch/6F/{n}", "ERROR") for n in "47"),
        *((f"2Bh/6F/{n}", "ERROR") for n in "2345"),
        *((f"11h/6F/{n}", "FATAL") for n in "01234"),
        ("09h/6F/4", "ERROR"),
        ("0Fh/6F/0", "ERROR"),
        ("19h/6F/0", "ERROR"),
        ("21h/6F/0", "ERROR"),
        ("2Ch/6F/7", "ERROR"),
        ("0Dh/6F/5", "REDUNDANCY"),
        ("0Dh/6F/8", "REDUNDANCY"),
        ("25h/6F/1", "REDUNDANCY"),
        ("08h/08/0", "REDUNDANCY"),
        ("07h/08/0", "ERROR"),
    ],
)
def test_what_is_plainly_bad_has_a_class_without_a_severity(row: str, event_class: str) -> None:
    found, end = told(number(row)), told(number(row, deasserted=True))
    assert found.event_class == event_class
    assert (end.event_class, end.clears, end.key) == ("CLEAR", event_class, found.key)


@pytest.mark.parametrize(
    "severity, event_class",
    [(0xFF, "UNKNOWN"), (0x50, "ERROR"), (0x40, "UNKNOWN"), (0xA0, "FATAL"), (0xC4, "CLEAR")],
)
def test_bits_of_a_severity_that_there_are_not_do_not_count(
    severity: int, event_class: str
) -> None:
    assert told(number("05h/6F/0"), severity).event_class == event_class


@pytest.mark.parametrize("size", range(47))
def test_truncated_octets_never_make_an_end_of_a_fault(size: int) -> None:
    for specific in (0x076F00, 788208, 459521, 552832):
        octets = PetEvent(specific=specific, severity=0x10).octets()[:size]
        found = decode_pet(specific, octets, TABLE, NOW)
        assert found.event_class in ("FATAL", "PREDICT", "REDUNDANCY")


@pytest.mark.parametrize(
    "severity, event_class",
    [
        (0x20, "FATAL"),
        (0x10, "ERROR"),
        (0x08, "UNKNOWN"),
        (0x04, "CLEAR"),
        (0x02, "INFO"),
        (0x01, "INFO"),
        (0x00, "UNKNOWN"),
        (0x30, "FATAL"),
        (0x06, "CLEAR"),
    ],
)
def test_without_a_row_the_severity_tells(severity: int, event_class: str) -> None:
    assert told(number("05h/6F/0"), severity).event_class == event_class


def test_a_hardware_failure_is_no_news_because_other_system_events_are() -> None:
    failure = told(number("12h/6F/2"), 0x20)
    assert (failure.event_class, failure.row) == ("FATAL", "12h/6F/2")
    assert failure.meaning == "system event: undetermined hardware failure"
    # Whatever severity a BMC gives to its presence or to a boot, nothing is recovered for it.
    for row in ("12h/6F/1", "1Dh/6F/0", "1Fh/6F/6", "27h/6F/0"):
        assert told(number(row), 0x20).event_class == "INFO"


def test_what_a_severity_alone_opened_is_closed_by_its_deassertion() -> None:
    opened = told(number("05h/6F/0"), 0x10)
    closed = told(number("05h/6F/0", deasserted=True), 0x04)
    assert (opened.event_class, closed.event_class) == ("ERROR", "CLEAR")
    assert opened.key == closed.key


def test_ok_on_a_generic_event_type_closes_its_other_states() -> None:
    opened = told(number("*/03/1"), 0x10)
    closed = told(number("*/03/0"), 0x04)
    assert opened.key in {closed.key_of(offset) for offset in closed.closes}


def test_sensors_are_told_apart() -> None:
    keys = {
        told(number("0Ch/6F/1"), sensor=sensor, entity=entity).key
        for sensor in (1, 2)
        for entity in ((8, 1), (8, 2))
    }
    assert len(keys) == 4


DELL = bytes.fromhex(
    "44454C4C50001059 8043B2C04F333358 0002 19E87E26 FFFF 20 20 04 20 73 18 00"
    "80 01 FF 00 00 00 00 00 19 000002A2 0100 C1"
)


def test_the_worked_example_of_an_intrusion_that_ended() -> None:
    found = decode_pet(356224, DELL, TABLE, NOW)
    assert found == msgspec.structs.replace(
        found,
        specific=356224,
        sensor_type=5,
        event_type=0x6F,
        assertion=False,
        offset=0,
        severity=4,
        guid="44454c4c-5000-1059-8043-b2c04f333358",
        sequence=2,
        timestamp="2011-10-10T20:50:46",
        utc_offset=None,
        trap_source=0x20,
        event_source=0x20,
        sensor_device=0x20,
        sensor=0x73,
        entity=(0x18, 0),
        event_data="8001ff",
        language=0x19,
        manufacturer=674,
        system=0x0100,
        oem=None,
        event_class=EventClass.CLEAR,
        meaning="physical security: chassis intrusion (cleared)",
        quirks=(),
    )


def test_the_json_contract_has_every_key_with_null_for_what_is_unspecified() -> None:
    found = msgspec.to_builtins(decode_pet(880385, None, TABLE, NOW))
    wanted = (
        "format version specific sensor_type event_type assertion offset severity guid sequence "
        "timestamp sensor_device sensor entity event_data manufacturer system oem event_class "
        "clears meaning quirks"
    )
    assert set(wanted.split()) <= set(found)
    assert (found["sensor_type"], found["event_type"], found["offset"]) == (13, 111, 1)
    assert (found["event_class"], found["meaning"]) == ("ERROR", "drive slot: drive fault")
    for key in ("severity", "guid", "sequence", "timestamp", "sensor", "entity", "event_data"):
        assert found[key] is None
    unspecified = bytes(16) + b"\0\0" + bytes(4) + b"\xff\xff\xff\xff\0\xff\xff" + bytes(2)
    unspecified += b"\xff" * 8 + b"\xff" + bytes(6) + b"\xc1"
    blank = msgspec.to_builtins(decode_pet(880385, unspecified, TABLE, NOW))
    assert {**blank, "quirks": []} == {**found, "quirks": []}


SUPERMICRO_TEST = bytes.fromhex(
    "4330303143 4D53AC1F6BB730440000 00 0004 32E4E46E FFFF 20 20 02 00 00 00 00"
    "00 00 00 00 00 00 00 00 19 7C2A0000 3408 80 00 01 00 C1"
)


def test_supermicros_test_trap_is_information_with_swapped_manufacturer() -> None:
    found = decode_pet(0, SUPERMICRO_TEST, TABLE, NOW)
    assert (found.event_class, found.meaning) == (EventClass.INFO, "test trap (Supermicro)")
    assert found.manufacturer == 10876
    assert "manufacturer in little-endian order" in found.quirks


def test_a_trap_number_of_zero_with_a_real_alarm_is_no_test() -> None:
    found = told(0, 0x20, sensor=0x30)
    assert found.event_class is EventClass.FATAL


def test_a_time_stamp_from_1970_is_recognised() -> None:
    seconds = int(NOW) - 3600
    data = PetEvent(specific=1).octets()
    found = decode_pet(1, data[:18] + seconds.to_bytes(4, "big") + data[22:], TABLE, NOW)
    assert found.timestamp == "2025-10-09T07:53:20"
    assert "time stamp counts from 1970, not 1998" in found.quirks


@pytest.mark.parametrize(
    "offset, zone", [(None, ""), (540, "+09:00"), (-210, "-03:30"), (0, "+00:00")]
)
def test_the_zone_is_told_only_where_the_bmc_gave_it(offset: int | None, zone: str) -> None:
    found = told(1, unix_time=NOW, utc_offset=offset)
    assert found.timestamp == f"2025-10-09T08:53:20{zone}"
    assert found.utc_offset == offset


def test_direction_in_bit_15_is_understood() -> None:
    found = told(0x07EF00)
    assert (found.event_class, found.clears) == (EventClass.CLEAR, EventClass.FATAL)
    assert (found.event_type, found.assertion) == (0x6F, False)
    assert found.key == told(0x076F00).key


@pytest.mark.parametrize("shifted", [0x0C0101 << 4, 0x010102 << 4, 0x046F80 >> 4, 0x0C6F01 >> 4])
def test_a_number_that_is_shifted_is_never_taken_for_the_end_of_something(shifted: int) -> None:
    for severity, event_class in ((0x20, "FATAL"), (0x10, "ERROR"), (0x00, "UNKNOWN")):
        found = told(shifted & 0xFFFFFF, severity, manufacturer=10876)
        assert (found.event_class, found.clears) == (event_class, None)
        assert any("the trap number may be shifted" in quirk for quirk in found.quirks)
    # A site that knows the number says so.
    site = TrapProfile(name="mine", rows={f"specific {shifted & 0xFFFFFF}": "PREDICT"})
    octets = PetEvent(specific=0, severity=0x20, manufacturer=10876).octets()
    found = decode_pet(shifted & 0xFFFFFF, octets, ClassTable((site,)), NOW)
    assert found.event_class == "PREDICT"


def test_dells_departures_are_data() -> None:
    assert decode_pet(1001, None, TABLE, NOW).event_class is EventClass.INFO
    assert decode_pet(1001, None, TABLE, NOW).meaning == "test trap"
    dell = told(0x040100, 0x08, manufacturer=674)
    assert (dell.event_class, dell.profile) == (EventClass.PREDICT, "dell")
    assert told(0x040100, 0x08).event_class is EventClass.UNKNOWN
    voltage = told(131841, 0x10, manufacturer=674)
    over = told(131840, 0x02, manufacturer=674)
    assert (voltage.event_class, over.event_class) == ("ERROR", "CLEAR")
    assert over.key == voltage.key


def test_conflicting_offsets_are_both_kept() -> None:
    found = told(0x0D6F01, event_data=b"\xa2\x01\x03")
    assert (found.offset, found.event_data, found.event_class) == (1, "a20103", "ERROR")
    assert any("2h in the event data" in quirk for quirk in found.quirks)


def test_without_a_usable_header_the_offset_comes_from_the_event_data() -> None:
    found = told(None, 0x20, event_data=b"\x03\xff\xff")
    assert (found.offset, found.event_class) == (3, EventClass.FATAL)
    assert told(0x0D6F01_00 << 4, 0x10).event_class is EventClass.ERROR


@pytest.mark.parametrize(
    "oem, text",
    [
        (b"\xc1", None),
        (b"", None),
        (b"\xc4ABCD\xc1", "ABCD"),
        (b"\xc4ABCD\x02\x01\x02\xc1", "ABCD; 0102"),
        (b"plain words\xc1", "plain words"),
        (b"\xff\x00\x01", "ff0001"),
        (b"\x00\x00", None),
    ],
)
def test_no_oem_field_spoils_a_trap(oem: bytes, text: str | None) -> None:
    found = told(0x0D6F01, 0x10, oem=oem)
    assert (found.oem, found.event_class) == (text, EventClass.ERROR)


def test_presence_is_for_the_heartbeat_and_its_loss_is_not() -> None:
    assert told(0x276F01, 0x02).presence
    assert not told(0x276F00, 0x10).presence
    assert not told(0x0D6F01, 0x02).presence


def test_the_site_overrides_and_switches_off_rows() -> None:
    table = ClassTable(
        [
            TrapProfile(
                name="site",
                rows={
                    "0Ch/6F/5": "PREDICT",
                    "*/0A/6": "off",
                    "0Dh/6F/1": "FATAL",
                    "oid 1.3.6.1.4.1.49871.1.0.0.1": "ERROR",
                },
                meanings={"0Dh/6F/1": "a drive died"},
            ),
            TrapProfile(name="dell here", manufacturers=(674,), rows={"04h/01/0": "INFO"}),
        ]
    )

    def seen(specific: int, severity: int = 0, manufacturer: int = 0) -> DecodedTrap:
        event = PetEvent(specific=specific, severity=severity, manufacturer=manufacturer)
        return decode_pet(specific, event.octets(), table, NOW)

    assert seen(0x0C6F05).event_class is EventClass.PREDICT
    assert seen(0x010A06, 0x02).event_class is EventClass.INFO
    drive = seen(0x0D6F01)
    assert (drive.event_class, drive.meaning, drive.profile) == ("FATAL", "a drive died", "site")
    assert seen(0x040100, 0x10, 674).event_class is EventClass.INFO
    assert seen(0x040100, 0x10).event_class is EventClass.ERROR
    assert table.exact(None, "oid 1.3.6.1.4.1.49871.1.0.0.1")


@pytest.mark.parametrize(
    "row, fault",
    [
        ("0Dh/6F/2", ""),
        ("*/04/*", ""),
        ("0Dh/*/*", ""),
        ("specific 1001", ""),
        ("specific 4294967295", ""),
        ("oid 1.3.6.1.4", ""),
        ("0D/6F/2", "is no row"),
        ("0Dh/6F", "is no row"),
        ("0dh/6f/2", "is no row"),
        ("0Dh/6F/12", "is no row"),
        ("00h/6F/2", "matches nothing"),
        ("0Dh/00/2", "matches nothing"),
        ("0Dh/6F/F", "matches nothing"),
        ("0Dh/*/2", "matches nothing"),
        ("*/*/*", "matches nothing"),
        ("specific 01001", "is no row"),
        ("specific 4294967296", "32 bits"),
        ("specific 0x3E9", "is no row"),
        ("oid .1.3.6.1.4.1.232.0.9014", "is no row"),
        ("oid 1..2", "is no row"),
        ("oid 1.3.6.1.", "is no row"),
        ("oid 1.3.06", "is no row"),
        ("oid 1", "is no row"),
        ("oid 3.1.6", "no such OID"),
        ("oid 1.40.6", "no such OID"),
        ("oid 1.3.6.4294967296", "no such OID"),
        ("oid  1.3.6", "is no row"),
        ("oid iso.3.6", "is no row"),
    ],
)
def test_faults_of_rows_are_told(row: str, fault: str) -> None:
    found = row_fault(row)
    assert fault in found
    assert bool(fault) is bool(found)
    # A row that the configuration should not have let through breaks nothing.
    ClassTable([TrapProfile(name="site", rows={row: "PREDICT"})])


@settings(max_examples=300, deadline=SLOWEST_MS)
@given(
    st.one_of(st.none(), st.integers(0, 2**32 - 1)), st.one_of(st.none(), st.binary(max_size=130))
)
def test_fuzz_any_number_and_octets_can_be_told(specific: int | None, octets: bytes | None) -> None:
    found = decode_pet(specific, octets, TABLE, NOW)
    assert found.meaning and found.key
    assert msgspec.json.encode(found)
    if found.event_class is EventClass.CLEAR:
        assert found.severity in (None, 0x01, 0x02, 0x04) or found.assertion is not None


@pytest.mark.parametrize("name", list(EventClass))
def test_a_rehearsal_of_every_class_has_that_class(name: str) -> None:
    event = pet_event(name, unix_time=time.time())
    found = decode_pet(event.specific, event.octets(), TABLE, time.time())
    assert found.event_class == name
    assert found.quirks == ()


def test_duplicates_are_known_by_guid_sequence_and_time() -> None:
    from clptools.intake import snmp
    from clptools.intake.rehearsal import build_pet_trap

    def key(event: PetEvent) -> str:
        trap = snmp.decode(build_pet_trap(event))
        assert isinstance(trap, snmp.Trap)
        return decoded_trap.duplicate_key(trap, pet.decode_trap(trap, TABLE, NOW), "10.0.0.1")

    first = pet_event("FATAL", sequence=1, unix_time=NOW)
    assert key(first) == key(first) != ""
    assert key(first) != key(pet_event("FATAL", sequence=2, unix_time=NOW))
    assert key(msgspec.structs.replace(first, guid=bytes(16))) == ""


def test_traps_of_a_bmc_that_counts_nothing_are_told_apart_by_what_they_say() -> None:
    from clptools.intake import snmp
    from clptools.intake.rehearsal import build_pet_trap

    def key(data: bytes) -> str:
        trap = snmp.decode(data)
        assert isinstance(trap, snmp.Trap)
        return decoded_trap.duplicate_key(trap, pet.decode_trap(trap, TABLE, NOW), "10.0.0.1")

    def generic(value: bytes, request_id: int = 1, uptime: int = 7, inform: bool = False) -> bytes:
        binds = (
            snmp.varbind(snmp.SYS_UPTIME, ber.integer(uptime, ber.TIME_TICKS)),
            snmp.varbind(snmp.TRAP_OID, ber.oid("1.3.6.1.4.1.232.0.6050")),
            snmp.varbind("1.3.6.1.4.1.232.11.2.11.1.0", ber.octets(value)),
        )
        tag = snmp.INFORM if inform else snmp.V2_TRAP
        body = snmp.pdu(tag, request_id, b"".join(binds))
        return ber.sequence(ber.integer(1), ber.octets(b"public"), body)

    assert key(generic(b"bay 1")) == key(generic(b"bay 1")) != ""
    assert key(generic(b"bay 1")) != key(generic(b"bay 2"))
    # Nothing is counted: a trap, which nobody sends twice, is what it says each time that it comes.
    assert key(generic(b"bay 1", 0)) == key(generic(b"bay 1", 5, uptime=0)) == ""
    assert key(generic(b"bay 1", 5, uptime=0, inform=True)) != ""
    for version in (snmp.Version.V1, snmp.Version.V2C):
        one = PetEvent(specific=0x086F01, sensor=1)
        assert key(build_pet_trap(one, version=version)) != key(
            build_pet_trap(msgspec.structs.replace(one, sensor=2), version=version)
        )
