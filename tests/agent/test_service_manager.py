"""What the service manager is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from clptools.agent.process import Notifier
from tests.conftest import LIMIT_S


@pytest.mark.parametrize("abstract", [True, False])
def test_ready_status_watchdog_and_stopping_arrive(
    abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"@clptools-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(LIMIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        notifier = Notifier()
        assert notifier.watchdog_ms == 20_000
        assert "NOTIFY_SOCKET" not in os.environ
        notifier.ready("cluster up")
        notifier.watchdog()
        notifier.status("two\nlines")
        notifier.stopping()
        said = [manager.recv(200).decode() for _ in range(4)]
    assert said == ["READY=1\nSTATUS=cluster up", "WATCHDOG=1", "STATUS=two lines", "STOPPING=1"]


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready()
    monkeypatch.setenv("NOTIFY_SOCKET", "/no/such/socket")
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    notifier = Notifier()
    notifier.ready()
    assert notifier.watchdog_ms == 0
