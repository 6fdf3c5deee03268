"""Whatever drivers write, the sources read it or leave it, and go on."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clptools.intake import edac, fc, netlink, storage
from clptools.intake.disks import read_mounts
from clptools.intake.kernel import read_uevent
from clptools.intake.kmsg import line_of

FRAGMENTS = [
    "EDAC MC0: 1 CE ", "mce: [Hardware Error]: ", "CPU 2: Machine Check: 0 Bank 5: be", "CPU:1 (",
    "MC0_STATUS[", "UE|", "]", "event severity: ", "I/O error, dev ", "sda", ", sector 8", "error",
    "Buffer I/O error on dev ", "nvme nvme0: I/O 1 timeout, ", "EXT4-fs error (device ", ")",
    "XFS (", "): Shutting down", "BTRFS error (device ", "md/raid1:md0: Disk failure on ",
    "NETDEV WATCHDOG: ", "eth0 (", "): transmit queue 0 timed out", "0000:3b:00.0", "mlx5_core ",
    "firmware", "fatal", "FW ", "rport-3:0-1: ", ": ", " ", "\n DEVICE=n3", "\n DEVICE=b8:16",
    "\n", "\\x0a", "é", "\0",
]  # fmt: skip
LINES = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=12).map("".join)


@pytest.mark.parametrize("source", [edac, fc, netlink, storage])
def test_fuzz_lines_of_the_log(source: ModuleType) -> None:
    @settings(max_examples=400, deadline=None)
    @given(LINES)
    def lines(text: str) -> None:
        found = source.read_line(line_of(text.encode()))
        assert found is None or isinstance(found.device, str)

    lines()


@pytest.mark.parametrize("read", [read_uevent, lambda data: line_of(data)])
def test_fuzz_messages(read: Callable[[bytes], object]) -> None:
    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def messages(data: bytes) -> None:
        read(data)
        read(b"change@/devices/x\0" + data)

    messages()


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=" -\\0147/ro,\nabc", max_size=200))
def test_fuzz_mount_tables(text: str) -> None:
    for mount in read_mounts(text):
        assert isinstance(mount.read_only, bool)
