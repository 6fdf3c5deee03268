"""SPS: uevents of dm-multipath as dm-uevent.rst has them, and its status line."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from clptools.intake import multipath
from clptools.intake.multipath import DM_IOCTL, DM_TARGET_SPEC, Maps, read_status, table_status
from tests.intake.source_room import Heard, SpokenUevents, Told, mrw, put, spoken

STATUS = "2 0 0 0 2 1 A 0 1 2 8:16 {sdb} 0 0 1 E 0 1 2 8:32 {sdc} 1 0 1 "


def disks(tmp: Path) -> None:
    for name, number in (("sdb", "8:16"), ("sdc", "8:32")):
        put(tmp / f"sys/class/block/{name}", dev=number)
    put(tmp / "sys/block/dm-3/dm", name="mpatha", uuid="mpath-3600508b400105e210000900000490000")
    put(tmp / "sys/block/dm-4/dm", name="root", uuid="LVM-abc")


def path_event(uevents: SpokenUevents, path: str, failed: bool, left: int) -> None:
    uevents.say(
        "change@/devices/virtual/block/dm-3",
        SUBSYSTEM="block",
        DM_TARGET="multipath",
        DM_ACTION="PATH_FAILED" if failed else "PATH_REINSTATED",
        DM_SEQNUM="1",
        DM_PATH=path,
        DM_NR_VALID_PATHS=str(left),
        DM_NAME="mpatha",
        DM_UUID="mpath-3600508b400105e210000900000490000",
    )


async def watching(heard: Heard) -> None:
    await heard.until(lambda: heard.sources.kernel.uevents._listeners)


@pytest.mark.parametrize("keyword", ["", "mpatha", "dm-3", "/dev/mapper/mpatha"])
async def test_a_path_then_the_last_one_and_back(tmp_path: Path, keyword: str) -> None:
    kernel, _, uevents = spoken(tmp_path)
    kernel.dev = "/dev"
    disks(tmp_path)

    async with Heard(mrw("SPS", keyword), kernel=kernel) as heard:
        await watching(heard)
        path_event(uevents, "8:16", True, 1)
        path_event(uevents, "8:32", True, 0)
        path_event(uevents, "8:16", False, 1)
        path_event(uevents, "8:32", False, 2)
        await heard.count(6)
        name = keyword or "mpatha"
        assert heard.lines == [
            f"{name}#path 8:16 warning: mpatha: path sdb failed, 1 left",
            f"{name}#path 8:32 warning: mpatha: path sdc failed, 0 left",
            f"{name}#paths error: mpatha: the last path is lost",
            f"{name}#path 8:16 ok: mpatha: path sdb works again",
            f"{name}#paths ok: mpatha has 1 working paths again",
            f"{name}#path 8:32 ok: mpatha: path sdc works again",
        ]


@pytest.mark.parametrize("keyword", ["sdb", "{dev}/sdb", "wwn-0x5000c500a1b2c3d4"])
async def test_a_path_may_be_named_itself(tmp_path: Path, keyword: str) -> None:
    kernel, _, uevents = spoken(tmp_path)
    disks(tmp_path)
    keyword = keyword.format(dev=kernel.dev)
    (tmp_path / "dev/sdb").touch()
    (tmp_path / "dev/disk/by-id").mkdir(parents=True)
    (tmp_path / "dev/disk/by-id/wwn-0x5000c500a1b2c3d4").symlink_to(tmp_path / "dev/sdb")

    async with Heard(mrw("SPS", keyword), kernel=kernel) as heard:
        await watching(heard)
        path_event(uevents, "8:32", True, 1)
        path_event(uevents, "8:16", True, 0)
        await heard.count(1)
        assert heard.lines == [f"{keyword}#path error: path sdb of mpatha failed"]


async def test_how_things_are_when_we_come_or_lost_events(tmp_path: Path) -> None:
    kernel, _, _ = spoken(tmp_path)
    disks(tmp_path)

    told = Told(mrw("SPS"), was_open=["SPS/mpatha#path 8:16"])
    status = STATUS.format(sdb="A", sdc="F")
    maps = Maps(kernel, told.faults, lambda control, name: status)
    maps.look()
    assert told.lines == [
        "mpatha#path 8:16 ok: mpatha: path sdb works again",
        "mpatha#path 8:32 warning: mpatha: path sdc failed, 1 left",
    ]
    status = STATUS.format(sdb="F", sdc="F")
    maps.look()
    assert told.lines[-1] == "mpatha#paths error: mpatha: the last path is lost"


async def test_nothing_happened(tmp_path: Path) -> None:
    kernel, _, uevents = spoken(tmp_path)
    disks(tmp_path)

    async with Heard(mrw("SPS"), kernel=kernel) as heard:
        await watching(heard)
        for number in range(200):
            uevents.say("change@/devices/virtual/block/dm-4", SUBSYSTEM="block", DM_NAME="root")
            uevents.say("change@/x/block/sdb", SUBSYSTEM="block", DEVTYPE="disk")
            path_event(uevents, "8:16", False, 2)
            uevents.message(b"garbage\0" * (number % 3))
        await asyncio.sleep(0.05)
        assert heard.told == [] and heard.notes == []


def test_a_reply_of_the_device_mapper() -> None:
    line = STATUS.format(sdb="A", sdc="F").encode()
    target = DM_TARGET_SPEC.pack(0, 2048, 0, 0, b"multipath") + line + b"\0"
    head = DM_IOCTL.pack(4, 48, 0, 4096, DM_IOCTL.size, 1, 1, 0, 0, 0, 0, b"mpatha", b"", b"")
    assert DM_IOCTL.size == 312
    assert read_status(head + target + bytes(64)) == line.decode()


def test_without_a_device_mapper_the_status_is_simply_not_known() -> None:
    if os.path.exists("/dev/mapper/control"):
        with pytest.raises(OSError):
            table_status("/dev/mapper/control", "clptools-no-such-map")
    else:
        with pytest.raises(FileNotFoundError):
            table_status("/dev/mapper/control", "x")
    assert multipath.DM_TABLE_STATUS == 0xC138FD0C
