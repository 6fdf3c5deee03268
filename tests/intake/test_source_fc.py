"""FC: states in a sysfs as scsi_transport_fc lays it out, with the kernel's words for a change."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clptools.intake import fc
from tests.intake.source_room import Heard, SpokenUevents, listening, mrw, put, spoken

HOST_WWPN = "0x21000024ff000001"
TARGET_WWPN = "0x500507680b000001"


def host(tmp: Path, state: str = "Online", name: str = "host3") -> None:
    put(tmp / f"sys/class/fc_host/{name}", port_state=state, port_name=HOST_WWPN)


def target(tmp: Path, state: str = "Online") -> None:
    put(
        tmp / "sys/class/fc_remote_ports/rport-3:0-1",
        port_state=state, port_name=TARGET_WWPN, roles="FCP Target",
    )  # fmt: skip


def change(uevents: SpokenUevents) -> None:
    uevents.say("change@/devices/x/host3/rport-3:0-1", SUBSYSTEM="fc_remote_ports")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fc, "LOOK_S", 0.001)
    monkeypatch.setattr(fc, "AGAIN_S", ())


@pytest.mark.parametrize("keyword", ["", "host3", HOST_WWPN])
async def test_a_link_that_is_lost_and_restored(tmp_path: Path, keyword: str) -> None:
    kernel, kmsg, uevents = spoken(tmp_path)
    host(tmp_path)
    target(tmp_path)

    async with Heard(mrw("FC", keyword), kernel=kernel) as heard:
        await listening(kmsg)
        host(tmp_path, "Linkdown")
        target(tmp_path, "Blocked")
        kmsg.say("lpfc 0000:3b:00.0: 0:1305 Link Down Event x2 received Data: x2 x20 x80110")
        await heard.count(1)
        host(tmp_path, "Online")
        target(tmp_path)
        change(uevents)
        await heard.count(2)
        name = keyword or "host3"
        assert heard.lines == [
            f"{name}#link error: host3: the link is linkdown",
            f"{name}#link ok: host3 has its link again",
        ]


async def test_a_target_that_is_blocked_and_then_gone(tmp_path: Path) -> None:
    kernel, kmsg, uevents = spoken(tmp_path)
    host(tmp_path)
    target(tmp_path)

    async with Heard(mrw("FC", "host3"), kernel=kernel) as heard:
        await listening(kmsg)
        target(tmp_path, "Blocked")
        change(uevents)
        assert (await heard.count(1)).predictive
        target(tmp_path, "Not Present")
        kmsg.say(" rport-3:0-1: blocked FC remote port time out: saving binding")
        event = await heard.count(2)
        assert not event.predictive and "not present" in event.text
        target(tmp_path)
        change(uevents)
        await heard.count(4)
        assert all(e.recovered for e in heard.told[2:])


async def test_nothing_happened(tmp_path: Path) -> None:
    """An unused port never had a link; switches reorganise; another monitor's port is down."""
    kernel, kmsg, uevents = spoken(tmp_path)
    host(tmp_path)
    target(tmp_path)
    host(tmp_path, "Linkdown", "host4")

    async with Heard(mrw("FC"), mrw("FC", "host3"), kernel=kernel) as heard:
        await listening(kmsg)
        for _ in range(50):
            kmsg.say("qla2xxx [0000:05:00.0]-500a:3: LOOP UP detected (16 Gbps).")
            kmsg.say("scsi 3:0:0:0: Direct-Access     IBM      2145  PQ: 0 ANSI: 6")
            change(uevents)
            await asyncio.sleep(0.002)
        assert heard.told == []
