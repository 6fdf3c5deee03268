"""What Redfish events mean: classes, keys, ends, and records that are none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clptools.config.trap_names import row_fault
from clptools.core.model.trap_profiles import TrapProfile
from clptools.core.model.words import EventClass
from clptools.intake.redfish_events import EventTable, Told, entry_of, events_of
from clptools.intake.redfish_push import StreamParser

CPU = "/redfish/v1/Systems/1/Processors/CPU0"
PSU = "/redfish/v1/Chassis/1/PowerSubsystem/PowerSupplies/0"
FAN = "/redfish/v1/Chassis/1/ThermalSubsystem/Fans/0"


def told(message: str, severity: str = "Critical", origin: str = PSU, **more: Any) -> Told:
    row = {"MessageId": message, "Severity": severity, "Message": "text", **more}
    if origin:
        row["OriginOfCondition"] = {"@odata.id": origin}
    (found,) = events_of({"Events": [row]})
    return found


@pytest.mark.parametrize(
    ("message", "severity", "origin", "event_class"),
    [
        ("ResourceEvent.1.3.0.ResourceStatusChangedCritical", "Critical", CPU, "FATAL"),
        ("ResourceEvent.1.0.ResourceStatusChangedWarning", "Warning", CPU, "PREDICT"),
        ("ResourceEvent.1.0.3.ResourceStatusChangedCritical", "Critical", PSU, "ERROR"),
        ("ResourceEvent.1.0.3.ResourceStatusChangedWarning", "Warning", PSU, "INFO"),
        ("Environmental.1.0.FanFailed", "Warning", FAN, "ERROR"),
        ("Environmental.1.0.FanRemoved", "OK", FAN, "REDUNDANCY"),
        ("Environmental.1.1.0.FanGroupCritical", "Critical", FAN, "ERROR"),
        ("Environmental.1.0.TemperatureAboveUpperFatalThreshold", "Critical", FAN, "FATAL"),
        ("Environmental.1.0.TemperatureAboveUpperCriticalThreshold", "Critical", FAN, "ERROR"),
        ("SensorEvent.1.0.ReadingBelowLowerFatalThreshold", "Critical", FAN, "FATAL"),
        ("Power.1.0.PowerSupplyFailed", "Critical", PSU, "ERROR"),
        ("Power.1.0.PowerSupplyPredictiveFailure", "Warning", PSU, "PREDICT"),
        ("StorageDevice.1.0.DrivePredictiveFailure", "Warning", PSU, "PREDICT"),
        ("Platform.1.0.OperatingSystemCrash", "Critical", "", "FATAL"),
        ("OpenBMC.0.1.PowerSupplyFailurePredicted", "Warning", PSU, "PREDICT"),
        ("IDRAC.2.8.CPU0000", "Critical", CPU, "FATAL"),
        ("CPU0000", "Critical", CPU, "FATAL"),
        ("IDRAC.2.8.CPU0010", "Warning", CPU, "PERFORMANCE"),
        ("IDRAC.2.8.CPU0703", "Critical", CPU, "FATAL"),
        ("IDRAC.2.8.PSU0001", "Critical", PSU, "ERROR"),
        ("iLOEvents.3.1.SomethingNew", "Critical", PSU, "ERROR"),
        ("iLOEvents.3.1.SomethingNew", "Warning", PSU, "UNKNOWN"),
        ("iLOEvents.3.1.SomethingNew", "", PSU, "UNKNOWN"),
        ("0x8101", "Critical", PSU, "ERROR"),
        ("ResourceEvent.1.2.1.TestMessage", "Critical", PSU, "INFO"),
    ],
)
def test_classes(message: str, severity: str, origin: str, event_class: str) -> None:
    assert EventTable().judge(told(message, severity, origin)).event_class == event_class


@pytest.mark.parametrize(
    ("opens", "closes"),
    [
        (
            "ResourceEvent.1.0.ResourceStatusChangedCritical",
            "ResourceEvent.1.3.ResourceStatusChangedOK",
        ),
        ("Environmental.1.0.FanFailed", "Environmental.1.0.FanRestored"),
        (
            "Environmental.1.0.TemperatureAboveUpperCriticalThreshold",
            "Environmental.1.0.TemperatureNormal",
        ),
        ("SensorEvent.1.0.ReadingCritical", "SensorEvent.1.0.SensorReadingNormalRange"),
        ("Power.1.0.PowerSupplyFailed", "Power.1.0.PowerSupplyRestored"),
        ("StorageDevice.1.0.DrivePredictiveFailure", "StorageDevice.1.0.DriveOK"),
        ("StorageDevice.1.0.DriveFailure", "StorageDevice.1.0.DriveOK"),
        ("IDRAC.2.8.MEM0001", "IDRAC.2.9.MEM0016"),
        ("OpenBMC.0.1.PowerSupplyFailed", "OpenBMC.0.2.PowerSupplyRecovered"),
        ("iLOEvents.3.1.SomethingNew", "iLOEvents.3.2.SomethingNew"),
    ],
)
def test_an_end_closes_its_fault_on_that_thing_alone(opens: str, closes: str) -> None:
    table = EventTable()
    fault, end = table.judge(told(opens)), table.judge(told(closes, "OK"))
    assert end.event_class is EventClass.CLEAR
    assert fault.key in (end.closes or (end.key,))
    other = table.judge(told(opens, origin=f"{PSU}1"))
    assert other.key not in (end.closes or (end.key,))
    unlike = table.judge(told("IDRAC.2.8.BAT0017"))
    assert unlike.key not in (end.closes or (end.key,))


def test_without_an_origin_the_first_argument_is_the_thing() -> None:
    table = EventTable()
    keys = {
        table.judge(told("OpenBMC.0.1.PowerSupplyFailed", origin="", MessageArgs=[name])).key
        for name in ("PSU1", "PSU2")
    }
    assert keys == {"redfish/PSU1/power supply", "redfish/PSU2/power supply"}


def test_the_bmcs_own_watchdog_is_known_as_that() -> None:
    judged = EventTable().judge(told("IDRAC.2.8.ASR0001"))
    assert (judged.event_class, judged.own_watchdog) == (EventClass.FATAL, True)


def test_the_sites_row_goes_before() -> None:
    row = "redfish iLOEvents.SomethingNew"
    assert row_fault(row) == ""
    assert row_fault("redfish Something")
    table = EventTable(
        [TrapProfile(name="mine", rows={row: "FATAL", "redfish IDRAC.CPU0000": "off"})]
    )
    assert table.judge(told("iLOEvents.3.1.SomethingNew", "OK")).event_class is EventClass.FATAL
    off = table.judge(told("IDRAC.2.8.CPU0000", "Critical"))
    assert (off.event_class, off.known) == (EventClass.ERROR, False)


def test_an_event_and_its_entry_in_the_log_are_one() -> None:
    message = "Power.1.0.PowerSupplyFailed"
    event = told(message, EventTimestamp="2026-11-30T10:00:00+09:00", EventId="17")
    entry = entry_of(
        {
            "Id": "4",
            "Created": "2026-11-30T01:00:00Z",
            "MessageId": message,
            "Severity": "Critical",
            "Message": "text",
            "Links": {"OriginOfCondition": {"@odata.id": PSU}},
        }
    )
    assert entry is not None
    assert entry.identity == event.identity
    assert entry.id != event.id


def test_a_test_of_ours_is_news_alone() -> None:
    test = told("Power.1.0.PowerSupplyFailed", Message="clptools test abc")
    assert test.test == "abc"
    assert EventTable().judge(test).event_class is EventClass.INFO


def test_an_event_stream_is_read_however_it_is_cut() -> None:
    stream = b": hello\r\n\r\nid: 7\r\ndata: {}\r\ndata: x\r\n\r\nretry: 1\n\ndata:y\n\n"
    whole = StreamParser().feed(stream)
    assert whole == [("7", b"{}\nx"), ("7", b"y")]
    for cut in range(len(stream)):
        parser = StreamParser()
        assert parser.feed(stream[:cut]) + parser.feed(stream[cut:]) == whole
        assert not parser.inside


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_fuzz_no_piece_of_a_stream_raises(pieces: list[bytes]) -> None:
    parser = StreamParser()
    for piece in pieces:
        parser.feed(piece)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
names = st.sampled_from(
    [
        *("MessageId", "Message", "Severity", "MessageSeverity", "MessageArgs", "EventId", "Id"),
        *("OriginOfCondition", "EventTimestamp", "Created", "Links"),
    ]
)


@given(st.lists(st.dictionaries(names, json) | json, max_size=4) | json)
def test_fuzz_no_record_raises(rows: Any) -> None:
    table = EventTable()
    for each in events_of({"Events": rows}):
        table.judge(each)
