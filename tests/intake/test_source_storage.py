"""HA/SS: disks, file systems, arrays and NVMe, as a real kernel or its documentation has them."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from clptools.common import disk_child
from clptools.core.model.settings import Monitor
from clptools.core.report import journal
from clptools.intake import storage
from clptools.intake.disks import Disks, read_mounts
from clptools.intake.kernel import Kernel, NotifyingFiles
from clptools.intake.storage import read_line
from tests.intake.source_room import Heard, finding, listening, mrw, put, spoken
from tests.namespaces import mount, own_mounts

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and loop devices need root")


def disk(tmp: Path, name: str, number: str = "8:16", state: str = "running") -> Path:
    folder = put(tmp / f"sys/devices/{name}", dev=number)
    put(folder / "device", state=state)
    for place in ("sys/class/block", "sys/block"):
        (tmp / place).mkdir(parents=True, exist_ok=True)
        (tmp / place / name).symlink_to(folder)
    (tmp / "dev").mkdir(exist_ok=True)
    (tmp / "dev" / name).write_bytes(bytes(8192))
    return folder


class Table(NotifyingFiles):
    """A table of mounts that the test writes."""

    def __init__(self, tmp: Path, *lines: str) -> None:
        super().__init__()
        self._file = put(tmp / "proc/thread-self") / "mountinfo"
        self._write(*lines)
        self.changed: list[Callable[[], None]] = []

    def watch(self, fd: int, look: Callable[[], None]) -> Callable[[], None]:
        self.changed.append(look)
        return lambda: None

    def now(self, *lines: str) -> None:
        self._write(*lines)
        self.changed[0]()

    def _write(self, *lines: str) -> None:
        self._file.write_text("".join(f"{line}\n" for line in lines), errors="surrogateescape")


@needs_root
def test_a_file_system_that_becomes_read_only(tmp_path: Path) -> None:
    point = tmp_path / "my data"
    point.mkdir()

    async def body() -> None:
        mount("-t", "tmpfs", "none", str(point))
        async with Heard(mrw("HA/SS", str(point), probe_interval_ms=0)) as heard:
            await heard.until(lambda: heard.sources.kernel.files._files)
            mount("-t", "tmpfs", "none", "/mnt")  # others may come and be read-only
            mount("-o", "remount,ro", "/mnt")
            mount("-o", "remount,ro", str(point))
            assert heard.told == [] or heard.lines
            event = await heard.count(1)
            assert (event.keyword, event.fault) == (str(point), "read-only")
            assert "has become read-only" in event.text
            mount("-o", "remount,rw", str(point))
            assert (await heard.count(2)).recovered
            assert len(heard.told) == 2

    own_mounts(body())


@needs_root
def test_a_real_disk_that_is_remounted_read_only_and_can_be_read(tmp_path: Path) -> None:
    """A loop device with ext4; the keyword is the device's own name."""
    image = tmp_path / "image"
    image.write_bytes(b"")
    os.truncate(image, 4 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    done = subprocess.run(
        ["losetup", "--find", "--show", str(image)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr}")
    device = done.stdout.strip()
    name = device.rpartition("/")[2]

    async def body() -> None:
        mount(device, "/mnt")
        link = tmp_path / "persistent"
        link.symlink_to(device)
        kernel = Kernel()
        async with Heard(mrw("HA/SS", name, probe_interval_ms=50.0), kernel=kernel) as heard:
            await heard.until(lambda: kernel.files._files)
            Path(f"/sys/block/{name}/uevent").write_text("change")  # real noise
            await asyncio.sleep(0.3)  # several reads, all well
            assert heard.told == []
            mount("-o", "remount,ro", "/mnt")
            event = await heard.count(1)
            assert (event.keyword, event.fault) == (name, "read-only")
            mount("-o", "remount,rw", "/mnt")
            assert (await heard.count(2)).recovered
        subprocess.run(["umount", "/mnt"], check=True)

    try:
        own_mounts(body())
    finally:
        subprocess.run(["losetup", "--detach", device], capture_output=True)


async def test_a_file_system_that_says_it_is_read_only_is_so_until_it_is_unmounted(
    tmp_path: Path,
) -> None:
    """As Linux 6.1.0-50 of Debian has it: `rw` in the table of mounts, and the log knows better."""
    kernel, kmsg, _ = spoken(tmp_path, proc=f"{tmp_path}/proc")
    disk(tmp_path, "sdb")
    device = f"{tmp_path}/dev/sdb"
    line = f"157 26 8:16 / /srv/data rw,relatime - ext4 {device} rw,errors=remount-ro"
    kernel.files = table = Table(tmp_path, line)

    one = mrw("HA/SS", "/srv/data", probe_interval_ms=0, quiet_ms=50.0)
    async with Heard(one, kernel=kernel) as heard:
        await heard.until(lambda: table.changed and kmsg._heard)
        kmsg.say("EXT4-fs error (device sdb): __ext4_find_entry:1683: inode #2: comm mkdir")
        kmsg.say("EXT4-fs (sdb): Remounting filesystem read-only")
        await heard.count(3)
        assert heard.lines[1] == (
            f"/srv/data#read-only error: /srv/data ({device}) has become read-only"
        )
        # The error was a moment.
        assert heard.told[2].fault == "file system" and heard.told[2].recovered
        await asyncio.sleep(0.2)  # far beyond `quiet`
        assert len(heard.told) == 3
        table.now()
        gone = await heard.count(4)
        assert gone.fault == "read-only" and gone.recovered


async def test_a_mount_point_that_is_no_text_can_be_written_down(tmp_path: Path) -> None:
    kernel, _, _ = spoken(tmp_path, proc=f"{tmp_path}/proc")
    disk(tmp_path, "sdb")
    tail = f"- ext4 {tmp_path}/dev/sdb rw"
    kernel.files = table = Table(tmp_path, f"157 26 8:16 / /srv/m\udcff rw {tail}")

    async with Heard(mrw("HA/SS"), kernel=kernel) as heard:
        await heard.until(lambda: table.changed)
        table.now(f"157 26 8:16 / /srv/m\udcff ro {tail}")
        event = await heard.count(1)
        assert (event.keyword, event.fault) == ("/srv/m\\xff", "read-only")
        journal.record(journal.Entry(1, event))
        table.now()
        assert (await heard.count(2)).recovered


async def test_a_users_own_file_system_is_no_disk_whatever_source_it_shows(tmp_path: Path) -> None:
    """With fusermount any user mounts, read-only too, and chooses the source."""
    kernel, _, _ = spoken(tmp_path, proc=f"{tmp_path}/proc")
    disk(tmp_path, "sdb")
    dev = f"{tmp_path}/dev"

    def lines(mode: str) -> list[str]:
        return [
            f"99 25 0:55 / /home/eve/a {mode} - fuse {dev}/sdb {mode},user_id=1000",
            f"99 25 0:56 / /home/eve/b {mode} - fuse.sshfs {dev}/sdb {mode},user_id=1000",
            f"99 25 0:57 / /home/eve/c {mode} - fuse.sshfs {dev}/sdz9 {mode},user_id=1000",
            f"99 25 0:58 / /home/eve/d {mode} - other {dev}/sdz9 {mode}",
            f"99 25 0:40 / /srv {mode} - btrfs {dev}/sdb {mode}",
        ]

    kernel.files = table = Table(tmp_path, *lines("rw"))
    async with Heard(mrw("HA/SS"), mrw("HA/SS", "sdb"), kernel=kernel) as heard:
        await heard.until(lambda: table.changed)
        (tmp_path / "sys/class/block/sdb").unlink()  # a disk that vanished was one
        table.now(*lines("ro"))
        event = await heard.count(1)
        assert "/srv (" in event.text
        table.now(*lines("rw"))
        assert (await heard.count(2)).recovered
        assert len(heard.told) == 2


async def test_io_errors_name_the_disk_and_stay_open(tmp_path: Path) -> None:
    kernel, kmsg, _ = spoken(tmp_path)
    disk(tmp_path, "sdb")
    disk(tmp_path, "sdc", "8:32")
    by_id = tmp_path / "dev/disk/by-id"
    by_id.mkdir(parents=True)
    (by_id / "wwn-0x5000c500a1b2c3d4").symlink_to("../../sdb")

    one = mrw("HA/SS", "wwn-0x5000c500a1b2c3d4", probe_interval_ms=0)
    async with Heard(one, kernel=kernel) as heard:
        await listening(kmsg)
        kmsg.say("I/O error, dev sdc, sector 1 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2")
        kmsg.say("I/O error, dev sdb, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2")
        kmsg.say(*["Buffer I/O error on dev sdb, logical block 1, async page read"] * 500)
        await heard.count(1)
        assert heard.lines == ["wwn-0x5000c500a1b2c3d4#io error: sdb: I/O error"]


@pytest.mark.parametrize(
    ("line", "device", "fault"),
    [
        ("blk_update_request: I/O error, dev sda, sector 123 op 0x1:(WRITE)", "sda", "io"),
        ("critical medium error, dev sdd, sector 99 op 0x0:(READ) flags 0x0", "sdd", "io"),
        ("device offline error, dev sde, sector 0 op 0x1:(WRITE) flags 0x800", "sde", "io"),
        ("timeout error, dev sdf, sector 7 op 0x0:(READ)", "sdf", "io"),
        ("Buffer I/O error on device dm-3, logical block 12", "dm-3", "io"),
        ("nvme nvme0: I/O 23 QID 4 timeout, aborting", "nvme0", "timeout"),
        ("nvme nvme1: I/O tag 1 (1001) opcode 0x2 (Read) QID 3 timeout, reset controller",
         "nvme1", "timeout"),
        ("nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10",
         "nvme0", "timeout"),
        ("EXT4-fs error (device sdb1): ext4_lookup:1855: inode #2: comm ls: iget: checksum invalid",
         "sdb1", "file system"),
        ("EXT4-fs (dm-0): Remounting filesystem read-only", "dm-0", "read-only"),
        ("XFS (sdc1): Metadata corruption detected ... Shutting down filesystem", "sdc1",
         "read-only"),
        ("BTRFS error (device sdd state EA): bdev /dev/sdd errs: wr 1", "sdd", "file system"),
        ("md/raid1:md0: Disk failure on sdb1, disabling device.", "md0", "degraded"),
    ],
)  # fmt: skip
def test_lines_of_the_block_layer(line: str, device: str, fault: str) -> None:
    found = finding(read_line, line)
    assert found is not None and (found.device, found.fault) == (device, fault)


@pytest.mark.parametrize(
    "line",
    [
        "operation not supported error, dev sda, sector 0 op 0x3:(DISCARD) flags 0x800",
        "reservation conflict error, dev sdb, sector 0 op 0x1:(WRITE)",
        "EXT4-fs (sdb1): mounted filesystem with ordered data mode. Quota mode: none.",
        "XFS (sdc1): Mounting V5 Filesystem",
        "XFS (sdc1): Unmounting Filesystem",
        "sd 2:0:0:0: [sdb] Attached SCSI disk",
        "nvme nvme0: 8/0/0 default/read/poll queues",
        "BTRFS info (device sdd): disk space caching is enabled",
        "TCP: request_sock_TCP: Possible SYN flooding: timeout, 3",
    ],
)
def test_lines_that_say_nothing_of_a_fault(line: str) -> None:
    assert finding(read_line, line) is None


async def test_nothing_happened(tmp_path: Path) -> None:
    """Disks come and go, discards are refused, loop devices fail: no monitor's business."""
    kernel, kmsg, uevents = spoken(tmp_path)
    disk(tmp_path, "sda")

    async with Heard(mrw("HA/SS", probe_interval_ms=20.0), kernel=kernel) as heard:
        await listening(kmsg)
        for number in range(200):
            kmsg.say(
                "operation not supported error, dev sda, sector 0 op 0x3:(DISCARD)",
                "I/O error, dev loop3, sector 0 op 0x0:(READ)",
                "usb 1-1: new high-speed USB device number 4",
            )
            action = ("add", "change", "remove")[number % 3]
            uevents.say(
                f"{action}@/devices/x/block/sdq",
                SUBSYSTEM="block",
                DEVTYPE="disk",
            )
        await asyncio.sleep(0.2)
        assert heard.told == [] and heard.notes == []


async def test_a_disk_that_goes_offline_or_vanishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "AGAIN_S", 0.05)
    kernel, kmsg, uevents = spoken(tmp_path)
    folder = disk(tmp_path, "sdb")

    async with Heard(mrw("HA/SS", "sdb", probe_interval_ms=0), kernel=kernel) as heard:
        await listening(kmsg)
        put(folder / "device", state="offline")
        uevents.say("change@/devices/x/2:0:0:0", SUBSYSTEM="scsi")
        assert (await heard.count(1)).text == "sdb is offline"
        put(folder / "device", state="running")  # of which the kernel tells nobody
        assert (await heard.count(2)).recovered
        for name, action in (("away", "remove"), ("sdb", "add")):
            was = "sdb" if name == "away" else "away"
            for place in ("sys/class/block", "sys/block"):
                (tmp_path / place / was).rename(tmp_path / place / name)
            uevents.say(f"{action}@/x/block/sdb", SUBSYSTEM="block", DEVTYPE="disk")
            await heard.count(3 if action == "remove" else 4)
        assert heard.lines[2:] == [
            "sdb#gone error: sdb is gone",
            "sdb#gone ok: sdb is there again",
        ]


async def test_an_array_that_is_degraded_rebuilt_and_broken(tmp_path: Path) -> None:
    kernel, kmsg, uevents = spoken(tmp_path)
    md = disk(tmp_path, "md0", "9:0") / "md"
    put(md, array_state="clean", degraded=0, raid_disks=2, sync_action="idle")

    def change() -> None:
        uevents.say("change@/devices/virtual/block/md0", SUBSYSTEM="block", DEVTYPE="disk")

    async with Heard(mrw("HA/SS"), kernel=kernel) as heard:
        await listening(kmsg)
        put(md, degraded=1)
        kmsg.say("md/raid1:md0: Disk failure on sdb1, disabling device.")
        await heard.count(1)
        put(md, sync_action="recover")
        change()
        put(md, degraded=0, sync_action="idle")
        change()
        await heard.count(2)
        put(md, array_state="broken", degraded=0)
        change()
        await heard.count(3)
        assert heard.lines == [
            "md0#degraded warning: md0 is degraded: 1 of 2 members missing",
            "md0#degraded ok: md0 has all its members again",
            "md0#array error: md0 does not run (broken)",
        ]


async def test_an_nvme_controllers_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller's answer is a file here; the real one comes by an ioctl."""
    kernel, kmsg, uevents = spoken(tmp_path)
    put(tmp_path / "sys/class/nvme/nvme0", state="live")
    disk(tmp_path, "nvme0n1", "259:0")
    answer = tmp_path / "dev/nvme0"
    answer.write_text("0")
    asked = tmp_path / "asked"
    child = tmp_path / "child.py"
    child.write_text(
        f"import sys\nprint(open(sys.argv[2]).read().strip())\nopen({str(asked)!r}, 'a').write('x')"
    )
    monkeypatch.setattr(disk_child, "CHILD", str(child))
    monkeypatch.setattr(storage, "SMART_S", 0.05)

    async def body(one: Monitor, by_event: bool) -> None:
        asked.write_text("")
        async with Heard(one, kernel=kernel) as heard:
            await listening(kmsg)
            await heard.until(asked.read_text)
            assert heard.told == []
            answer.write_text("5")  # spare space, reliability
            if by_event:
                uevents.say("change@/devices/nvme/nvme0", SUBSYSTEM="nvme", NVME_AEN="0x00020001")
            await heard.count(2)
            answer.write_text("0")
            await heard.count(4)
            assert heard.lines[:2] == [
                "nvme0n1#warning 0 warning: nvme0: its spare space is below the threshold",
                f"nvme0n1#warning 2 error: nvme0: {storage.WARNINGS[2][0]}",
            ]
            assert all(e.recovered for e in heard.told[2:])

    # The kernel tells of them only where somebody switched those events on.
    await body(mrw("HA/SS", "nvme0n1", probe_interval_ms=0), by_event=True)
    often = mrw("HA/SS", "nvme0n1", probe_interval_ms=0, smart_interval_ms=50.0)
    await body(often, by_event=False)


async def test_an_nvme_controller_that_nobody_wants_is_not_asked_and_one_that_comes_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, kmsg, uevents = spoken(tmp_path)
    put(tmp_path / "sys/class/nvme/nvme0", state="live")
    disk(tmp_path, "nvme1n1", "259:1")
    asked = tmp_path / "asked"
    asked.touch()
    child = tmp_path / "child.py"
    child.write_text(f"import sys\nprint(4)\nopen({str(asked)!r}, 'a').write(sys.argv[2] + '\\n')")
    monkeypatch.setattr(disk_child, "CHILD", str(child))

    one = mrw("HA/SS", "nvme1n1", probe_interval_ms=0, smart_interval_ms=20.0)
    async with Heard(one, kernel=kernel) as heard:
        await listening(kmsg)
        put(tmp_path / "sys/class/nvme/nvme1", state="live")
        uevents.say("add@/devices/nvme/nvme1", SUBSYSTEM="nvme")
        event = await heard.count(1)
        assert (event.keyword, event.fault) == ("nvme1n1", "warning 2")
        assert set(asked.read_text().split()) == {f"{tmp_path}/dev/nvme1"}


async def test_a_disk_that_hangs_is_told_and_never_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, _, _ = spoken(tmp_path)
    disk(tmp_path, "sdb")
    hang = tmp_path / "hang"
    hang.touch()
    child = tmp_path / "child.py"
    child.write_text(f"import os,time\nwhile os.path.exists({str(hang)!r}): time.sleep(0.01)")
    monkeypatch.setattr(disk_child, "CHILD", str(child))

    one = mrw("HA/SS", "sdb", probe_interval_ms=20.0, probe_timeout_ms=300.0)
    async with Heard(one, kernel=kernel) as heard:
        event = await heard.count(1)
        assert event.text == "sdb does not answer a read within 0.3 s"
        hang.unlink()
        assert (await heard.count(2)).recovered


async def test_a_disk_that_came_after_the_agent_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path or a volume may be there only later."""
    kernel, _, _ = spoken(tmp_path)
    child = tmp_path / "child.py"
    child.write_text("import sys\nsys.exit('Input/output error')")
    monkeypatch.setattr(disk_child, "CHILD", str(child))

    async with Heard(mrw("HA/SS", "sdb", probe_interval_ms=20.0), kernel=kernel) as heard:
        await asyncio.sleep(0.1)  # several rounds without a disk
        assert heard.told == []
        disk(tmp_path, "sdb")
        event = await heard.count(1)
        assert event.text == "sdb cannot be read: Input/output error"


def test_names_of_devices(tmp_path: Path) -> None:
    disk(tmp_path, "sdb")
    part = put(tmp_path / "sys/devices/sdb/sdb1", dev="8:17", partition=1)
    (tmp_path / "sys/class/block/sdb1").symlink_to(part)
    put(tmp_path / "sys/devices/sdb/sdb2", dev="8:18", partition=2)
    (tmp_path / "sys/class/block/sdb2").symlink_to(tmp_path / "sys/devices/sdb/sdb2")
    disks = Disks(f"{tmp_path}/sys", f"{tmp_path}/dev")
    assert disks.whole("sdb1") == "sdb" and disks.whole("sdb") == "sdb"
    assert disks.same("sdb", "sdb1") and disks.same("sdb1", "sdb")
    assert not disks.same("sdb1", "sdb2") and not disks.same("sdb", "sdc")
    assert disks.same("nvme0n1", "nvme0") and not disks.same("nvme0n1", "nvme1")
    assert disks.of_number("8:17") == "sdb1" and disks.of_number("9:9") == ""
    disks.sources["/data"] = "sdb1"
    assert disks.same("sdb", "/data") and disks.same("/data", "/data")
    assert not disks.same("sdb2", "/data")


def test_the_mount_table() -> None:
    found = read_mounts(
        "36 35 8:17 / /my\\040data rw,noatime shared:1 - ext4 /dev/sdb1 rw,errors=remount-ro\n"
        "37 35 8:18 / /b rw - ext4 /dev/sdb2 rw,emergency_ro\n"
        "38 35 8:19 / /c ro,relatime - xfs /dev/sdb3 rw\n"
        "broken line\n"
    )
    assert [(m.point, m.read_only) for m in found] == [
        ("/my data", False), ("/b", True), ("/c", True),
    ]  # fmt: skip
