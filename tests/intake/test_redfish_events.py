"""What Redfish events mean: classes, keys, ends, and records that are none."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clptools.common.redfish import RedfishError
from clptools.config.trap_names import row_fault
from clptools.core.model.trap_profiles import TrapProfile
from clptools.core.model.words import EventClass
from clptools.intake import redfish_events
from clptools.intake.rates import JUDGE_S, Pace
from clptools.intake.redfish_delivery import Seen
from clptools.intake.redfish_events import (
    EventTable,
    Judged,
    Told,
    entry_of,
    events_of,
    makers_of,
    unread_of,
)
from clptools.intake.redfish_push import StreamParser
from clptools.intake.redfish_reports import KEPT
from tests.intake.family_rows import DELL_IDS

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
        ("iLOEvents.2.1.PowerSupplyACPowerLoss", "Critical", PSU, "ERROR"),
        ("iLOEvents.0.9.PowerSupplyRemoved", "Warning", PSU, "REDUNDANCY"),
        ("iLOEvents.2.3.0.FanRedundancyLost", "Warning", FAN, "REDUNDANCY"),
        ("iLOEvents.2.3.ThermalStatusDegradedSysShutdown", "Critical", FAN, "FATAL"),
        ("iLOEvents.2.3.ThermalStatusDegradedSysContinue", "Critical", FAN, "ERROR"),
        ("iLOEvents.2.3.CorrectableOrUncorrectableMemoryErrors", "Warning", CPU, "PREDICT"),
        ("iLOEvents.2.3.MirroredMemoryEngaged", "Warning", CPU, "REDUNDANCY"),
        ("iLOEvents.2.3.SystemBatteryFailed", "Warning", PSU, "PREDICT"),
        ("iLOEvents.3.7.ServerResetDetected", "Critical", CPU, "INFO"),
        ("iLOEvents.2.3.ResourceUpdated", "OK", CPU, "INFO"),
        ("iLOEvents.2.1.ServerPoweredOff", "OK", CPU, "INFO"),
        ("0x8101", "Critical", PSU, "ERROR"),
        ("ResourceEvent.1.2.1.TestMessage", "Critical", PSU, "INFO"),
        # Other letters, and other forms of the version.
        ("idrac.2.8.psu0001", "critical", PSU, "ERROR"),
        ("psu0002", "WARNING", PSU, "PREDICT"),
        ("PDR16", "Warning", PSU, "PREDICT"),
        ("ILOEVENTS.2.3.FANFAILED", "Critical", FAN, "ERROR"),
        ("ResourceEvent.v1_0_3.ResourceStatusChangedCritical", "Critical", CPU, "FATAL"),
        ("iLOEvents.3.1.SomethingNew", "CRITICAL", PSU, "ERROR"),
        ("iLOEvents.3.1.SomethingNew", "Ok", PSU, "CLEAR"),
        # What ends in the name of something worse.
        ("Environmental.1.0.TemperatureNoLongerCritical", "Warning", FAN, "CLEAR"),
        ("Environmental.1.3.0.FlowRateNoLongerCritical", "Warning", FAN, "CLEAR"),
        ("Environmental.1.3.0.FlowRateNoLongerFatal", "Critical", FAN, "ERROR"),
        ("Environmental.1.3.0.FlowRateFatal", "Critical", FAN, "FATAL"),
        ("Power.1.0.1.VoltageNoLongerCritical", "Warning", PSU, "CLEAR"),
        ("Power.1.0.1.FrequencyWarning", "Warning", PSU, "INFO"),
        ("Power.1.0.1.PowerSupplyWarning", "Warning", PSU, "INFO"),
        ("Power.1.0.1.PowerSupplyGroupWarning", "Warning", PSU, "REDUNDANCY"),
        ("Power.1.0.1.BreakerTripped", "Critical", PSU, "ERROR"),
        ("Environmental.1.1.0.LeakDetectedCritical", "Critical", FAN, "FATAL"),
        ("ResourceEvent.1.0.ResourceErrorsDetected", "Critical", PSU, "ERROR"),
        ("ResourceEvent.1.0.ResourceErrorsDetected", "Warning", PSU, "INFO"),
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
        ("ResourceEvent.1.0.ResourceErrorsDetected", "ResourceEvent.1.3.ResourceErrorsCorrected"),
        ("Environmental.1.0.TemperatureCritical", "Environmental.1.0.TemperatureNoLongerCritical"),
        ("Power.1.0.1.PowerCritical", "Power.1.0.1.PowerNoLongerCritical"),
        ("Power.1.0.1.PowerSupplyGroupWarning", "Power.1.0.1.PowerSupplyGroupNormal"),
        ("Power.1.0.1.BreakerFault", "Power.1.0.1.BreakerReset"),
        ("Environmental.1.1.0.LeakDetectedWarning", "Environmental.1.1.0.LeakDetectedNormal"),
        ("IDRAC.2.8.MEM0001", "mem0016"),
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


@pytest.mark.parametrize(("messages", "event_class", "ends"), DELL_IDS)
def test_dells_messages_mean_by_redfish_what_they_mean_in_traps(
    messages: str, event_class: str, ends: str
) -> None:
    table = EventTable()
    for message in messages.split():
        opened = table.judge(told(f"IDRAC.2.8.{message}"))
        assert (opened.event_class, opened.known) == (event_class, True), message
        for end in [message] if ends == "same" else ends.split():
            ended = table.judge(told(f"IDRAC.2.8.{end}", "OK"))
            assert ended.event_class is EventClass.CLEAR, end
            assert opened.key in ended.closes, (message, end)


def test_one_message_of_the_bus_does_not_end_another() -> None:
    table = EventTable()
    opened = table.judge(told("IDRAC.2.8.PCI1318"))
    for other in ("PCI1302", "PCI1314", "CPU0703"):
        assert opened.key not in table.judge(told(f"IDRAC.2.8.{other}", "OK")).closes


ILO = "/redfish/v1/Chassis/1/Power"
ILO_ROWS: tuple[tuple[str, str, str], ...] = (
    # Messages, class, messages that end it: as HPE's list of iLO's events has them.
    ("PowerSupplyACPowerLoss PowerSupplyDegraded PowerSupplyFailed", "ERROR", "PowerSupplyOK"),
    ("PowerSupplyRemoved", "REDUNDANCY", "PowerSupplyInserted"),
    ("PowerRedundancyLost", "REDUNDANCY", "PowerRedundancyRestored"),
    ("FanRemoved", "REDUNDANCY", "FanInserted"),
    ("FanFailed FanDegraded", "ERROR", "FanInserted"),
    ("FanRedundancyLost", "REDUNDANCY", "FanRedundancyRestored"),
    ("LiquidCoolingModuleRedundancyLost", "REDUNDANCY", "LiquidCoolingModuleRedundancyRestored"),
    ("ThermalStatusDegradedSysContinue ThermalStatusFailure", "ERROR", "ThermalStatusOK"),
    ("ThermalStatusDegradedSysShutdown", "FATAL", "ServerOperational"),
    ("AutoShutdownInitiated", "ERROR", "AutoShutdownCancelled ServerPostDiscoveryComplete"),
    ("SeCpuUncorrectableError", "FATAL", "ServerPostDiscoveryComplete"),
    ("PowerFailureRuntime PowerFailureUnknown", "FATAL", "ServerPostDiscoveryComplete"),
    ("ServerPowerOnFailure", "ERROR", "ServerPostDiscoveryComplete ServerPoweredOn"),
    ("NvdimmPersistencyLost", "ERROR", "NvdimmPersistencyRestored"),
    ("DrvArrControllerFailed", "ERROR", "DrvArrControllerOK"),
    ("DrvArrLogDrvFailed DrvArrLogDrvNoAccessEncryptedMissingKey", "ERROR", "DrvArrLogDrvOK"),
    ("DrvArrLogDrvRecovering DrvArrLogDrvRebuilding", "REDUNDANCY", "DrvArrLogDrvOK"),
    ("DrvArrPhysDrvFailed", "ERROR", "DrvArrPhysDrvOK"),
    ("DrvArrPhysDrvPredictiveFailure DrvArrPhysDrvWearOut", "PREDICT", "DrvArrPhysDrvOK"),
    ("DrvArrSolidStateDiskTwoPercentThresholdPassed", "PREDICT", "DrvArrSolidStateDiskWearOK"),
    ("DriveFailed", "ERROR", "DriveOk"),
    ("DriveFailed2", "ERROR", "DriveOk2"),
    ("DriveSmartError2", "PREDICT", "DriveOk2"),
    ("PCIeDriveWearStatusFivePercentThreshold", "PREDICT", "PCIeDriveWearStatusOk"),
    ("DrvArrayAccBoardTempDisabled_LowBatteryPower", "PERFORMANCE", "DrvArrayAccBoardEnabled"),
    ("DrvArrayAccBoardPermDisabled_ReadFailure", "ERROR", "DrvArrayAccBoardEnabled"),
    ("StorageSystemFanFailed", "ERROR", "StorageSystemFanOK"),
    ("NicAllLinksDown", "ERROR", "NicAllLinksDownRepaired"),
    ("FirmwareValidationScanFailed", "ERROR", "FirmwareValidationScanErrorRepaired"),
    ("PMMHealthFailure NvdimmInterleaveOn", "FATAL", ""),
    ("IPMIWatchdogTimerReset", "FATAL", ""),
    ("ServerResetDetected OSSecurityScan TPMSecureEraseFailed HoodRemoved TestAlert", "INFO", ""),
    ("DrvArrLogDrvErasing StorageSystemNoFan ComputeOpsManagerConnected", "INFO", ""),
)


@pytest.mark.parametrize(("messages", "event_class", "ends"), ILO_ROWS)
def test_ilos_messages_and_what_ends_them(messages: str, event_class: str, ends: str) -> None:
    table = EventTable()
    for message in messages.split():
        opened = table.judge(told(f"iLOEvents.3.1.{message}", origin=ILO))
        assert (opened.event_class, opened.known) == (event_class, True), message
        for end in ends.split():
            ended = table.judge(told(f"iLOEvents.3.2.{end}", "OK", ILO))
            assert ended.event_class is EventClass.CLEAR, end
            assert opened.key in ended.closes, (message, end)
            elsewhere = table.judge(told(f"iLOEvents.3.2.{end}", "OK", f"{ILO}/other"))
            assert opened.key not in elsewhere.closes


@pytest.mark.parametrize(
    ("opens", "args", "closes", "others"),
    [
        ("PowerSupplyFailed", ["1", "2", "m"], "PowerSupplyOK", ["1", "1", "m"]),
        ("PowerSupplyRemoved", ["1", "2"], "PowerSupplyInserted", ["1", "1"]),
        ("PowerRedundancyLost", ["1"], "PowerRedundancyRestored", ["2"]),
        ("FanFailed", ["3", "1"], "FanInserted", ["4", "1"]),
        ("ThermalStatusDegradedSysContinue", ["1", "2"], "ThermalStatusOK", ["1", "3"]),
    ],
)
def test_an_event_of_ilo_without_an_origin_names_its_part_by_its_arguments(
    opens: str, args: list[str], closes: str, others: list[str]
) -> None:
    table = EventTable()

    def judged(message: str, args: list[str]) -> Judged:
        return table.judge(told(f"iLOEvents.2.3.{message}", origin="", MessageArgs=args))

    end = judged(closes, args)
    assert judged(opens, args).key in end.closes
    assert judged(opens, others).key not in end.closes
    assert judged("FanDegraded", ["1", "3"]).key == judged("FanFailed", ["3", "1"]).key


def test_names_are_read_as_ilo_4_writes_them_and_numbers_as_arguments() -> None:
    row = {"MessageID": "iLOEvents.0.9.FanFailed", "Severity": "Critical", "MessageArgs": [3, 1]}
    (event,) = events_of({"Events": [row]})
    assert event.args == ("3", "1")
    assert EventTable().judge(event).key == "redfish/[3, 1]/fan"


@pytest.mark.parametrize(
    ("opens", "event_class", "ends"),
    [
        ("DriveMissing", "ERROR", "DriveMissingCleared"),
        ("DriveOffline", "ERROR", "DriveOfflineCleared"),
        ("VolumeOffine", "ERROR", "VolumeOfflineCleared"),
        ("ControllerPortDegraded", "REDUNDANCY", "ControllerPortOK"),
        ("BatteryFailure", "ERROR", "BatteryOK"),
        ("WriteCacheDataLoss", "FATAL", "WriteCacheProtected"),
        ("WriteCacheTemporarilyDegraded", "PERFORMANCE", "WriteCacheProtected"),
    ],
)
def test_storage_devices(opens: str, event_class: str, ends: str) -> None:
    table = EventTable()
    opened = table.judge(told(f"StorageDevice.1.1.{opens}"))
    assert opened.event_class == event_class
    assert opened.key in table.judge(told(f"StorageDevice.1.1.{ends}", "OK")).closes


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


def test_a_row_with_a_manufacturer_is_for_the_bmcs_of_that_one() -> None:
    row = "redfish ResourceEvent.ResourceStatusChangedCritical"
    profiles = [
        TrapProfile(name="all", rows={row: "PREDICT"}),
        TrapProfile(name="dell", rows={row: "PERFORMANCE"}, manufacturers=(674,)),
    ]
    table = EventTable(profiles)
    event = told(row.removeprefix("redfish "))

    def by(*said: str) -> str:
        return table.judge(event, makers_of(said)).event_class

    assert table.asks_maker
    assert not EventTable(profiles[:1]).asks_maker
    assert by("Dell") == by("Dell Inc.") == "PERFORMANCE"
    assert by("HPE") == by("") == by("Delloite") == "PREDICT"


@pytest.mark.parametrize(
    ("said", "number"),
    [
        (["HPE"], 47196), (["Hewlett Packard Enterprise"], 11), ([None, "Hpe"], 232),
        (["Lenovo"], 19046), (["FUJITSU"], 10368), ([None, "ts_fujitsu"], 231),
        (["Supermicro"], 10876), (["Super Micro Computer, Inc."], 47488),
        (["NEC Corporation"], 119),
        (["Huawei"], 2011), (["Cisco Systems Inc"], 5771), (["ASUSTeK COMPUTER INC."], 2623),
    ],
)  # fmt: skip
def test_the_maker_is_known_by_its_names(said: list[str | None], number: int) -> None:
    assert number in makers_of(said)


def test_what_is_no_makers_name_names_none() -> None:
    assert makers_of([None, 7, "", "Connect", "OpenBMC", "x" * 10_000]) == frozenset()


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


def test_a_stream_whose_event_never_ends_is_given_up_before_it_costs_much() -> None:
    """Neither lines without a word nor a line that comes byte by byte takes memory or time."""
    parser = StreamParser()
    with pytest.raises(RedfishError):
        for _ in range(100):
            parser.feed(b"data:\n" * 1000)
    parser = StreamParser()
    parser.feed(b"data:")
    line = parser._rest
    for _ in range(1000):
        parser.feed(b"x")
    assert parser._rest is line, "what came before is not copied for each byte"
    parser = StreamParser()
    with pytest.raises(RedfishError):
        parser.feed(b"data:x\n" * 1_000_000)


def test_an_id_that_no_header_can_carry_is_left_out() -> None:
    assert StreamParser().feed("id: 7é\ndata: {}\n\n".encode()) == [("7", b"{}")]


def record(number: int, **more: Any) -> Told:
    row = {"MessageId": "Base.1.0.X", "EventId": f"{number}"} | more
    (found,) = events_of({"Events": [row]})
    return found


def test_a_service_without_a_clock_is_heard_for_ever() -> None:
    seen = Seen()
    assert all(seen.first("stream", record(number)) for number in range(3 * KEPT))
    assert not seen.first("stream", record(3 * KEPT - 1))


def test_what_has_neither_time_nor_id_is_always_news() -> None:
    seen = Seen()
    assert all(seen.first("push", record(0, EventId=None)) for _ in range(3))


def test_a_number_is_an_id_too() -> None:
    assert record(0, EventId=17).id == "17"
    seen = Seen()
    stamp = "2026-01-01T00:00:00Z"
    first, second = (record(0, EventId=n, EventTimestamp=stamp) for n in (1, 2))
    assert seen.first("stream", first)
    assert seen.first("stream", second)


def test_the_memory_of_events_is_bounded_however_alike_they_are() -> None:
    seen = Seen()
    for second in range(20):
        for number in range(KEPT):
            seen.first("log", record(number, EventTimestamp=f"2026-01-01T00:00:{second:02}Z"))
    held = sum(len(i.last) for ways in seen._events.values() for i in ways.values())
    assert held == seen._ids <= 8 * KEPT


def test_what_a_log_had_at_first_is_still_news_by_a_stream() -> None:
    """Else an event that happens while the log is read for the first time would be lost."""
    seen = Seen()
    seen.remember("log", record(1))
    assert seen.first("stream", record(1))
    assert not seen.first("log", record(1))
    assert not seen.first("stream", record(1))


def test_things_that_are_no_records_are_counted() -> None:
    row = {"MessageId": "Base.1.0.X"}
    assert unread_of({"Events": [row, 7, {}, None]}) == 3
    assert unread_of({"Events": [row] * 300}) == 44
    assert unread_of({}) == 1


def test_invented_messages_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that sends thousands of them must not hold up heartbeats."""
    compared: list[str] = []

    def compare(name: str, pattern: str) -> bool:
        compared.append(pattern)
        return fnmatchcase(name, pattern)

    monkeypatch.setattr(redfish_events, "fnmatchcase", compare)
    table = EventTable()
    assert not table.judge(record(1, MessageId="Invented.1.0.Now")).known
    assert not compared, "no row is looked at"
    assert table.judge(told("Environmental.1.0.FanFailed")).known
    assert len(compared) < 40, "the rows of one family alone"


async def test_whoever_never_stops_talking_leaves_the_loop_to_others() -> None:
    class Clock:
        now = 0.0

        def time(self) -> float:
            self.now += JUDGE_S / 4
            return self.now

    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    task = asyncio.get_running_loop().create_task(other())
    pace = Pace(cast(asyncio.AbstractEventLoop, Clock()))
    for _ in range(100):
        await pace.turn()
    task.cancel()
    assert others > 20
