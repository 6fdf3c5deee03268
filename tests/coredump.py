"""Whether a process leaves its memory behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest


def dumps(process: subprocess.Popen[Any], folder: Path) -> bool:
    """End it as systemd ends an agent that stalls; `folder` is where it runs."""
    resource.prlimit(process.pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status) or bool(list(folder.glob("core*")))


def needs_dumps(folder: Path) -> None:
    """Skip the test where no process leaves a dump."""
    if not dumps(subprocess.Popen(["sleep", "60"], cwd=folder, text=True), folder):
        pytest.skip("SKIPPED LOUDLY: this system dumps nothing")
    for core in folder.glob("core*"):
        core.unlink()
