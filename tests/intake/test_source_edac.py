"""MCE: memory errors and machine checks, as the kernel prints and counts them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clptools.intake.edac import read_line
from tests.intake.source_room import Heard, finding, listening, mrw, put, spoken

CE = (
    "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (channel:1 slot:0 "
    "page:0x12345 offset:0x0 grain:32 syndrome:0x0)"
)
UE = "EDAC MC0: 1 UE memory scrubbing error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (channel:1 slot:0)"


def counters(tmp: Path, corrected: int, uncorrected: int = 0) -> None:
    put(tmp / "sys/devices/system/edac/mc/mc0", ce_count=corrected, ue_count=uncorrected)


async def test_corrected_errors_predict_a_failure_once_there_are_many(tmp_path: Path) -> None:
    kernel, kmsg, _ = spoken(tmp_path)
    counters(tmp_path, 1000)

    one = mrw("MCE", "mc0", correctable_count=10, correctable_window_ms=3_000)
    async with Heard(one, kernel=kernel) as heard:
        await listening(kmsg)
        for more in range(1, 10):
            counters(tmp_path, 1000 + more)
            kmsg.say(CE)
        await asyncio.sleep(0.02)
        assert heard.told == []
        counters(tmp_path, 1060)  # lines were lost, the counter knows
        kmsg.say(CE)
        event = await heard.count(1)
        assert event.predictive and event.fault == "corrected"
        assert "60 corrected errors within 3 s" in event.text
        assert (await heard.count(2)).recovered


async def test_an_uncorrected_error_is_a_fault(tmp_path: Path) -> None:
    kernel, kmsg, _ = spoken(tmp_path)

    async with Heard(mrw("MCE"), kernel=kernel) as heard:
        await listening(kmsg)
        kmsg.say(UE)
        kmsg.say("mce: [Hardware Error]: CPU 2: Machine Check: 0 Bank 5: be00000000800400")
        await heard.count(2)
        assert [(e.keyword, e.fault, e.predictive) for e in heard.told] == [
            ("mc0", "uncorrected", False),
            ("cpu2", "uncorrected", False),
        ]


@pytest.mark.parametrize(
    ("line", "device", "fault"),
    [
        (CE, "mc0", "corrected"),
        (UE, "mc0", "uncorrected"),
        ("mce: [Hardware Error]: CPU 4: Machine Check: 0 Bank 7: 8c00004000010090", "cpu4",
         "corrected"),
        ("mce: [Hardware Error]: CPU 0: Machine Check Exception: 5 Bank 3: be00000000000150",
         "cpu0", "uncorrected"),
        (("[Hardware Error]: CPU:2 (17:31:0) MC17_STATUS[Over|CE|MiscV|AddrV|-|-|SyndV|CECC|-|-|-]:"
         " 0xdc2040000000011b"), "cpu2", "corrected"),
        ("[Hardware Error]: CPU:1 (19:1:1) MC0_STATUS[-|UE|MiscV|AddrV|PCC|-]: 0xbe", "cpu1",
         "uncorrected"),
        ("{1}[Hardware Error]: event severity: recoverable", "platform", "uncorrected"),
        ("{2}[Hardware Error]: event severity: corrected", "platform", "corrected"),
    ],
)  # fmt: skip
def test_lines(line: str, device: str, fault: str) -> None:
    found = finding(read_line, line)
    assert found is not None and (found.device, found.fault) == (device, fault)


async def test_nothing_happened(tmp_path: Path) -> None:
    kernel, kmsg, _ = spoken(tmp_path)
    counters(tmp_path, 7)

    async with Heard(mrw("MCE"), mrw("MCE", "mc0"), kernel=kernel) as heard:
        await listening(kmsg)
        for _ in range(200):
            kmsg.say(
                "EDAC MC: Ver: 3.0.0",
                "EDAC MC0: Giving out device to module skx_edac controller Skylake Socket#0",
                "mce: [Hardware Error]: Machine check events logged",
                "{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source",
                "{1}[Hardware Error]: event severity: info",
                "mce: CPU2: Core temperature above threshold, cpu clock throttled",
            )
        await asyncio.sleep(0.05)
        assert heard.told == []


async def test_lines_that_were_lost_are_made_up_for_by_the_counters(tmp_path: Path) -> None:
    kernel, kmsg, _ = spoken(tmp_path)
    counters(tmp_path, 5, 0)

    async with Heard(mrw("MCE", "mc0"), kernel=kernel) as heard:
        await listening(kmsg)
        counters(tmp_path, 25, 1)
        kmsg.look_again()
        await heard.count(2)
        assert [(e.fault, e.predictive) for e in heard.told] == [
            ("uncorrected", False),
            ("corrected", True),
        ]
