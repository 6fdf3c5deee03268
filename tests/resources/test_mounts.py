"""Where a device is mounted, as the kernel lists it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clptools.resources.mounts import elsewhere

BLOCK = 0o060660


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """`/dev/sda` (8:0), also by its uuid, and `/dev/sdb` (8:16)."""
    numbers = {"/dev/sda": (8, 0), "/dev/disk/by-uuid/1-2": (8, 0), "/dev/sdb": (8, 16)}

    def stat(path: str) -> os.stat_result:
        if path not in numbers:
            raise FileNotFoundError(path)
        known = dict.fromkeys(range(10), 0) | {0: BLOCK}
        return os.stat_result(tuple(known.values()), {"st_rdev": os.makedev(*numbers[path])})

    monkeypatch.setattr("clptools.resources.mounts.os.stat", stat)


def found(tmp_path: Path, line: str, **given: str) -> str:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"21 1 0:20 / /proc rw shared:5 - proc proc rw\n{line}\n")
    return elsewhere({"directory": "/srv/db", **given}, str(mounts))


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("30 1 8:0 / /srv/db rw - ext4 /dev/sda rw", ""),
        ("30 1 8:0 / /mnt rw - ext4 /dev/sda rw", "/mnt"),
        ("30 1 8:0 / /by\\040hand rw shared:1 master:2 - ext4 /dev/sda rw", "/by hand"),
        ("30 1 8:16 / /mnt rw - ext4 /dev/sdb rw", ""),
        ("30 1 0:45 /sub /mnt rw - btrfs /dev/sda rw", "/mnt"),
        ("30 1 0:45 / /mnt rw - tmpfs sda rw", ""),
    ],
)
def test_a_device_by_its_number(tmp_path: Path, devices: None, line: str, place: str) -> None:
    assert found(tmp_path, line, device="/dev/sda") == place
    assert found(tmp_path, line, device="-U 1-2") == place
    assert found(tmp_path, line, device="nfs:/share") == ""
    assert found(tmp_path, line, device="/dev/sda", fstype="gfs2") == ""
