"""A file system in a loop device, which every node sees as on shared storage."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

AGENTS = Path("/usr/lib/ocf/resource.d/heartbeat")


@contextmanager
def loop_device(folder: Path, mib: int, *needed: str) -> Iterator[str]:
    """Its name; skips the test where one of the programs or files that it needs is missing.

    No LVM, which needs a device mapper.
    """
    wanted = [*needed, str(AGENTS / "Filesystem"), "mkfs.ext4", "losetup", "modprobe"]
    missing = [each for each in wanted if shutil.which(each) is None]
    if missing:
        pytest.skip(f"NOT TESTED: not installed: {', '.join(missing)}")
    image = folder / "disk.img"
    with open(image, "wb") as file:
        file.truncate(mib << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    done = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"NOT TESTED: no loop device: {done.stderr.strip()}")
    device = done.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=False)
