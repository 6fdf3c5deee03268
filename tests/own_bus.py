"""A D-Bus of a test's own, where the system bus is looked for."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_bus = pytest.mark.skipif(
    shutil.which("dbus-daemon") is None, reason="there is no dbus-daemon on this machine"
)


@contextmanager
def own_bus(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """Its daemon, which a test may stop."""
    address = f"unix:path={folder}/bus"
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}",
         "--print-address"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert daemon.stdout is not None and daemon.stdout.readline()
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield daemon
    finally:
        daemon.kill()
        daemon.wait()
