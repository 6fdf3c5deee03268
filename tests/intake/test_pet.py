"""PETs: the class table row by row, the worked example, and what BMCs do in the field."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clptools.core.model.settings import TrapProfile
from clptools.core.model.words import EventClass
from clptools.intake import pet
from clptools.intake.pet import DecodedTrap, decode_pet
from clptools.intake.profile import ClassTable, row_fault
from clptools.intake.rehearse import PetEvent, pet_event

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


def test_the_end_of_a_good_state_closes_nothing_that_is_open() -> None:
    end = told(number("*/04/0", deasserted=True))
    assert (end.event_class, end.clears, end.closes) == (EventClass.CLEAR, None, ())
    assert end.key != told(number("*/04/1")).key


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
    "row, event_class, fault",
    [
        ("0Dh/6F/2", "PREDICT", ""),
        ("*/04/*", "off", ""),
        ("specific 1001", "INFO", ""),
        ("oid 1.3.6.1.4", "FATAL", ""),
        ("0D/6F/2", "PREDICT", "is no row"),
        ("0Dh/6F/2", "LOUD", "is no class"),
    ],
)
def test_faults_of_rows_are_told(row: str, event_class: str, fault: str) -> None:
    found = row_fault(row, event_class)
    assert fault in found
    assert bool(fault) is bool(found)


@settings(max_examples=300, deadline=200)
@given(
    st.one_of(st.none(), st.integers(0, 2**32 - 1)), st.one_of(st.none(), st.binary(max_size=130))
)
def test_fuzz_any_number_and_octets_can_be_told(specific: int | None, octets: bytes | None) -> None:
    found = decode_pet(specific, octets, TABLE, NOW)
    assert found.meaning and found.key
    assert msgspec.json.encode(found)
    if found.assertion is False and not found.row.startswith("specific"):
        assert found.event_class is EventClass.CLEAR


@pytest.mark.parametrize("name", list(EventClass))
def test_a_rehearsal_of_every_class_has_that_class(name: str) -> None:
    event = pet_event(name, unix_time=time.time())
    found = decode_pet(event.specific, event.octets(), TABLE, time.time())
    assert found.event_class == name
    assert found.quirks == ()


def test_duplicates_are_known_by_guid_sequence_and_time() -> None:
    from clptools.intake import snmp
    from clptools.intake.rehearse import build_pet_trap

    def key(event: PetEvent) -> str:
        trap = snmp.decode(build_pet_trap(event))
        assert isinstance(trap, snmp.Trap)
        return pet.duplicate_key(trap, pet.decode_trap(trap, TABLE, NOW), "10.0.0.1")

    first = pet_event("FATAL", sequence=1, unix_time=NOW)
    assert key(first) == key(first) != ""
    assert key(first) != key(pet_event("FATAL", sequence=2, unix_time=NOW))
    assert key(msgspec.structs.replace(first, guid=bytes(16))) == ""
