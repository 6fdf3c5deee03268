"""The child that touches disks needs nothing but its path, and says what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clptools.common import disk_child


def child(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", disk_child.CHILD, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.returncode, disk_child.last_line(done.stdout)


@pytest.mark.parametrize("task", ["read", "try"])
def test_a_file_is_read(tmp_path: Path, task: str) -> None:
    (tmp_path / "disk").write_bytes(bytes(8192))
    assert child(task, str(tmp_path / "disk")) == (0, "")
    assert child(task, str(tmp_path / "none")) == (1, "No such file or directory")


def test_a_directory_is_written_to_and_stays_empty(tmp_path: Path) -> None:
    assert child("try", str(tmp_path)) == (0, "")
    assert list(tmp_path.iterdir()) == []
    assert child("read", str(tmp_path))[0] == 1


def test_what_is_no_nvme_controller_has_no_warnings_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(8192))
    status, said = child("smart", str(tmp_path / "disk"))
    assert status == 1 and said
