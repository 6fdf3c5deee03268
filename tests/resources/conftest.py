"""A node of its own below a temporary directory."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MakeScript = Callable[[str, str], str]


@pytest.fixture(autouse=True)
def node_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`CLP_ROOT` and a name for this node; scripts that a failed test left are ended."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    yield tmp_path
    mark = f"CLP_ROOT={tmp_path}".encode()
    for proc in Path("/proc").iterdir():
        if proc.name.isdigit() and int(proc.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (proc / "environ").read_bytes().split(b"\0"):
                    os.kill(int(proc.name), signal.SIGKILL)


@pytest.fixture
def make_script(node_root: Path) -> MakeScript:
    """Write an executable shell script; returns its path."""

    def make(name: str, body: str) -> str:
        path = node_root / "etc/clptools/scripts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(0o755)
        return str(path)

    return make
